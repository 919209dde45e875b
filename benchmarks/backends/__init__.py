"""The backends by name; each is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module

from benchmarks.protocol import Backend, Unavailable

_WHERE = {
    "jaxglmm-engine": ("jaxglmm_", "Engine"),
    "jaxglmm": ("jaxglmm_", "Call"),
    "glmm": ("glmm_", "Glmm"),
    "glmm-lean": ("glmm_", "GlmmLean"),
    "gpboost": ("gpboost_", "GPBoost"),
    "gpboost-cholesky": ("gpboost_", "GPBoostCholesky"),
    "gpboost-tight": ("gpboost_", "GPBoostTight"),
    "gpboost-cholesky-tight": ("gpboost_", "GPBoostCholeskyTight"),
    "lme4": ("r_", "Lme4"),
    "glmmTMB": ("r_", "GlmmTMB"),
}
NAMES = tuple(_WHERE)
R_BACKENDS = ("lme4", "glmmTMB")


def make(name: str) -> Backend:
    """The backend called `name`; `Unavailable` where its package cannot be imported."""
    module, attribute = _WHERE[name]
    try:
        return getattr(import_module(f"benchmarks.backends.{module}"), attribute)()
    except ImportError as error:
        raise Unavailable(f"{name}: {error}") from error
