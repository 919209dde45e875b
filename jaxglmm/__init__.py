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
    "build": "jaxglmm.frontend.build",
    "load": "jaxglmm.frontend.storage",
    "initial_params": "jaxglmm.engine",
    "log_likelihood": "jaxglmm.engine",
    "maximise": "jaxglmm.engine",
    "Control": "jaxglmm.control",
    "Params": "jaxglmm.params",
    "Estimate": "jaxglmm.ascent.estimate",
    "InputError": "jaxglmm.errors",
}
_MODULES = ("datasets", "families", "links", "covariance")

__all__ = [*_HOMES, *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from jaxglmm import covariance as covariance
    from jaxglmm import datasets as datasets
    from jaxglmm import families as families
    from jaxglmm import links as links
    from jaxglmm.ascent.estimate import Estimate as Estimate
    from jaxglmm.control import Control as Control
    from jaxglmm.engine import initial_params as initial_params
    from jaxglmm.engine import log_likelihood as log_likelihood
    from jaxglmm.engine import maximise as maximise
    from jaxglmm.errors import InputError as InputError
    from jaxglmm.frontend.build import build as build
    from jaxglmm.frontend.glmm import glmm as glmm
    from jaxglmm.frontend.result import GLMM as GLMM
    from jaxglmm.frontend.storage import load as load
    from jaxglmm.params import Params as Params


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
