"""Models on bundled data: the library's call, the same model in NumPy, and shared fits."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd

import jaxglmm as jg

from .reference import Model

# name -> formula, data set, arguments
CALLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "cbpp": ("incidence / size ~ period + (1 | herd)", "cbpp", {"family": "binomial"}),
    "sleep": ("Reaction ~ Days + (Days | Subject)", "sleepstudy", {}),
    "sleep_diag": ("Reaction ~ Days + (Days || Subject)", "sleepstudy", {}),
    "epil": ("y ~ lbase * trt + (1 | subject)", "epil", {"family": "nbinom2"}),
    "gasoline": ("yield ~ temp + (1 | batch)", "GasolineYield", {"family": "beta"}),
    "gamma": ("Reaction ~ Days + (1 | Subject)", "sleepstudy", {"family": "gamma"}),
    "lm": ("Reaction ~ Days", "sleepstudy", {}),
    "glm_poisson": ("y ~ lbase * trt", "epil", {"family": "poisson"}),
    "glm_gamma": ("Reaction ~ Days", "sleepstudy", {"family": "gamma"}),
    "glm_binomial": ("r / n ~ seed * root", "seeds", {"family": "binomial"}),
}
MIXED = ("cbpp", "sleep", "sleep_diag", "epil", "gasoline", "gamma")


@functools.cache
def data(name: str) -> pd.DataFrame:
    """The data of a model; do not change it."""
    return jg.datasets.load(CALLS[name][1])


def fit_anew(name: str) -> jg.GLMM:
    """A fit of one's own, whose programs are in memory after it."""
    formula, _, arguments = CALLS[name]
    return jg.glmm(formula, data(name), **arguments)


@functools.cache
def fit(name: str) -> jg.GLMM:
    """The shared fit of a model."""
    return fit_anew(name)


def _columns(name: str, d: pd.DataFrame) -> list[Any]:
    if name == "cbpp":
        return [1, *[d["period"] == k for k in "234"]]
    if name in ("epil", "glm_poisson"):
        treated = d["trt"] == "progabide"
        return [1, d["lbase"], treated, d["lbase"] * treated]
    if name == "gasoline":
        return [1, d["temp"]]
    if name == "glm_binomial":
        second, cucumber = d["seed"] == "O75", d["root"] == "cucumber"
        return [1, second, cucumber, second & cucumber]
    return [1, d["Days"]]


RESPONSES = {
    "cbpp": "incidence",
    "epil": "y",
    "glm_poisson": "y",
    "gasoline": "yield",
    "glm_binomial": "r",
}
GROUPS = {"cbpp": "herd", "epil": "subject", "gasoline": "batch"}
TRIALS = {"cbpp": "size", "glm_binomial": "n"}
NUM_FAMILY = {"gaussian": 1, "nbinom2": 1, "beta": 1, "gamma": 1}


@functools.cache
def reference(name: str) -> Model:
    """The model in NumPy, its design written by hand."""
    d, n = data(name), len(data(name))
    family = CALLS[name][2].get("family", "gaussian")
    X = np.stack([np.broadcast_to(np.asarray(c, float), n) for c in _columns(name, d)], axis=1)
    if name in MIXED:
        codes = d[GROUPS.get(name, "Subject")].cat.codes.to_numpy().astype(int)
        Z = X[:, :2] if name.startswith("sleep") else X[:, :1]
    else:
        codes, Z = np.zeros(n, int), np.zeros((n, 0))
    return Model(
        family=family,
        y=d[RESPONSES.get(name, "Reaction")].to_numpy(float),
        X=X,
        Z=Z,
        codes=codes,
        weight=d[TRIALS[name]].to_numpy(float) if name in TRIALS else np.ones(n),
        offset=np.zeros(n),
        correlated=name != "sleep_diag",
        num_family=NUM_FAMILY.get(family, 0),
    )


def natural(fit: jg.GLMM) -> np.ndarray:
    """A fit's parameters in the order of `Model`."""
    tables = fit.fixed_effects(), fit.covariance_parameters()
    return np.concatenate([table["estimate"].to_numpy() for table in tables])


def natural_errors(fit: jg.GLMM) -> np.ndarray:
    """Their standard errors."""
    tables = fit.fixed_effects(), fit.covariance_parameters()
    return np.concatenate([table["std_error"].to_numpy() for table in tables])
