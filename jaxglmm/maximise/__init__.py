"""Maximum likelihood: start, climb, certify."""

from jaxglmm.maximise.estimate import Estimate
from jaxglmm.maximise.optimum import maximise_rows
from jaxglmm.maximise.start import start

__all__ = ["Estimate", "maximise_rows", "start"]
