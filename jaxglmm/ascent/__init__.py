"""Maximum likelihood: start, climb, certify. (`jaxglmm.maximise` is the verb, in `engine`.)"""

from jaxglmm.ascent.estimate import Estimate
from jaxglmm.ascent.optimum import maximise_rows
from jaxglmm.ascent.start import start

__all__ = ["Estimate", "maximise_rows", "start"]
