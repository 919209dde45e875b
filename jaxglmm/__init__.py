"""Generalized linear mixed models on JAX: `glmm` for a formula and a table, `build`,
`log_likelihood` and `maximise` for JAX code.

Importing this module loads nothing heavy and changes no global state; names resolve on first use.
"""

from __future__ import annotations

import gc
import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "glmm": "jaxglmm.frontend.glmm",
    "GLMM": "jaxglmm.frontend.result",
    "fit_many": "jaxglmm.frontend.many.fit",
    "Batch": "jaxglmm.frontend.batch",
    "Bootstrap": "jaxglmm.frontend.bootstrap",
    "compare": "jaxglmm.frontend.compare",
    "Comparison": "jaxglmm.frontend.compare",
    "Means": "jaxglmm.frontend.means.table",
    "build": "jaxglmm.frontend.build",
    "simulate": "jaxglmm.frontend.simulate",
    "load": "jaxglmm.frontend.storage",
    "Scenario": "jaxglmm.study.scenario",
    "Study": "jaxglmm.study.study",
    "StudyResults": "jaxglmm.study.results",
    "UnfinishedStudy": "jaxglmm.study.run",
    "power": "jaxglmm.study.power",
    "Power": "jaxglmm.study.power",
    "power_curve": "jaxglmm.study.power_curve",
    "PowerCurve": "jaxglmm.study.power_curve",
    "extend": "jaxglmm.study.extend",
    "initial_params": "jaxglmm.engine",
    "log_likelihood": "jaxglmm.engine",
    "log_prior": "jaxglmm.engine",
    "maximise": "jaxglmm.engine",
    "Control": "jaxglmm.control",
    "Params": "jaxglmm.params",
    "Estimate": "jaxglmm.ascent.estimate",
    "InputError": "jaxglmm.errors",
}
_MODULES = ("datasets", "families", "links", "covariance", "priors")

__all__ = [*_HOMES, *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from jaxglmm import covariance as covariance
    from jaxglmm import datasets as datasets
    from jaxglmm import families as families
    from jaxglmm import links as links
    from jaxglmm import priors as priors
    from jaxglmm.ascent.estimate import Estimate as Estimate
    from jaxglmm.control import Control as Control
    from jaxglmm.engine import initial_params as initial_params
    from jaxglmm.engine import log_likelihood as log_likelihood
    from jaxglmm.engine import log_prior as log_prior
    from jaxglmm.engine import maximise as maximise
    from jaxglmm.errors import InputError as InputError
    from jaxglmm.frontend.batch import Batch as Batch
    from jaxglmm.frontend.bootstrap import Bootstrap as Bootstrap
    from jaxglmm.frontend.build import build as build
    from jaxglmm.frontend.compare import Comparison as Comparison
    from jaxglmm.frontend.compare import compare as compare
    from jaxglmm.frontend.glmm import glmm as glmm
    from jaxglmm.frontend.many.fit import fit_many as fit_many
    from jaxglmm.frontend.means.table import Means as Means
    from jaxglmm.frontend.result import GLMM as GLMM
    from jaxglmm.frontend.simulate import simulate as simulate
    from jaxglmm.frontend.storage import load as load
    from jaxglmm.params import Params as Params
    from jaxglmm.study.extend import extend as extend
    from jaxglmm.study.power import Power as Power
    from jaxglmm.study.power import power as power
    from jaxglmm.study.power_curve import PowerCurve as PowerCurve
    from jaxglmm.study.power_curve import power_curve as power_curve
    from jaxglmm.study.results import StudyResults as StudyResults
    from jaxglmm.study.run import UnfinishedStudy as UnfinishedStudy
    from jaxglmm.study.scenario import Scenario as Scenario
    from jaxglmm.study.study import Study as Study


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(_load(_HOMES[name]), name)
    if name in _MODULES:
        return _load(f"jaxglmm.{name}")
    raise AttributeError(f"module 'jaxglmm' has no attribute '{name}'")


def _load(module: str) -> ModuleType:
    """Import without collecting garbage: importing JAX and pandas makes none, and looking for it
    takes a tenth of their time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        if collecting:
            gc.enable()


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
