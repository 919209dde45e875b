"""Profiles of the likelihood, and intervals by all methods: names and tables."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import check_choice, check_level, check_whole
from jaxglmm.frontend.many.followed import Followed, followed_of
from jaxglmm.frontend.many.limits import Ends, find_ends
from jaxglmm.frontend.ordinal import threshold_names
from jaxglmm.frontend.parameters import Names, covariance_rows, parameter_names
from jaxglmm.frontend.tables import depend_on_deviations, every_parameter
from jaxglmm.inference.quantiles import t_quantile

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.frontend.result import GLMM

METHODS = ("wald", "profile", "bootstrap")
KINDS = ("fixed", "threshold", "sd", "corr", "range", "shape", "family")
_BETTER = 1e-4  # of log-likelihood above the fit's that is no rounding


def confint(
    fit: GLMM,
    method: str,
    level: float,
    parameters: str | Sequence[str] | None,
    num_draws: int,
    seed: int | None,
    progress: bool | None,
) -> pd.DataFrame:
    """The table of intervals."""
    check_choice("method", method, METHODS)
    level, names = check_level(level), _asked(fit, parameters)
    if method == "bootstrap" and seed is None:
        raise InputError("seed: method='bootstrap' draws responses; give a whole number, seed=1.")
    everything = parameter_names(fit.data, fit.problem)
    place = [everything.index(name) for name in names]
    estimate, *ends = every_parameter(fit, "estimate", "conf_low", "conf_high", level=level)[:, 0]
    if method == "wald":
        low, high = (end[place] for end in ends)
    elif method == "bootstrap":
        boot = fit.bootstrap(num_draws, seed if seed is not None else 0, progress=progress)
        table = boot.confint(level)
        low, high = (table[c].to_numpy(float)[place] for c in ("conf_low", "conf_high"))
    else:
        low, high = _limits(fit, names, level, progress, every=parameters is None)
    return _table(
        fit, names, place, {"estimate": estimate[place], "conf_low": low, "conf_high": high}
    )


def _table(
    fit: GLMM, names: list[str], place: list[int], numbers: dict[str, np.ndarray]
) -> pd.DataFrame:
    import pandas as pd

    kinds = _kinds(fit)
    return pd.DataFrame({"parameter": names, "type": [kinds[k] for k in place], **numbers})


def _kinds(fit: GLMM) -> list[str]:
    """Of all parameters in the order of the tables."""
    fixed, thresholds = fit.labels.fixed, threshold_names(fit.data.categories)
    rows = covariance_rows(fit.data, fit.problem)
    return ["fixed"] * len(fixed) + ["threshold"] * len(thresholds) + [row.kind for row in rows]


def _asked(fit: GLMM, parameters: str | Sequence[str] | None) -> list[str]:
    """Names as the tables have them; kinds stand for all parameters of theirs."""
    everything, kinds = parameter_names(fit.data, fit.problem), _kinds(fit)
    if parameters is None:
        return everything
    known, found = Names(fit.problem, fit.data), list[str]()
    for name in [parameters] if isinstance(parameters, str) else parameters:
        if name in everything:
            found.append(name)
        elif name in KINDS:
            own = [n for n, kind in zip(everything, kinds, strict=True) if kind == name]
            if not own:
                raise InputError(f"parameters: the model has none of the kind '{name}'.")
            found += own
        else:
            found.append(known.find("parameters", name).name)
    return list(dict.fromkeys(found))


def _limits(
    fit: GLMM, names: list[str], level: float, progress: bool | None, *, every: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Profile limits, NaN for what is held."""
    followed = followed_of(fit, names, every=every)
    low, high = np.full(len(names), np.nan), np.full(len(names), np.nan)
    if followed:
        z = float(t_quantile(0.5 - 0.5 * level))
        zeta = np.repeat([-z, z], len(followed))
        ends = _ends(fit, [*followed, *followed], zeta, progress)
        _warn_of_better(ends.gain)
        place = [names.index(one.name) for one in followed]
        low[place], high[place] = np.split(ends.value, 2)
    return low, high


def _ends(fit: GLMM, followed: list[Followed], zeta: np.ndarray, progress: bool | None) -> Ends:
    """Where walks lead. Parameters that mean nothing where a standard deviation is zero (its
    correlations) have a likelihood at least as high as there, whatever their value."""
    rows = covariance_rows(fit.data, fit.problem)
    lost = depend_on_deviations(rows)
    none = np.zeros(len(rows), bool)
    needs = [lost[one.place] if 0 <= one.place < len(rows) else none for one in followed]
    deviations = np.flatnonzero(np.any(needs, axis=0))
    names = [rows[k].name for k in deviations if rows[k].name not in fit.held]
    also = followed_of(fit, names, every=True)
    farthest = np.full(len(also), -np.max(np.abs(zeta)))
    ends = find_ends(fit, [*followed, *also], np.append(zeta, farthest), progress)
    number, value, own, met = len(followed), ends.value.copy(), ends.zeta.copy(), ends.met.copy()
    at_zero = {
        int(one.place): abs(own[number + k])
        for k, one in enumerate(also)
        if not met[number + k] and value[number + k] == 0.0
    }
    for k, one in enumerate(followed):
        known = [at_zero[place] for place in np.flatnonzero(needs[k]).tolist() if place in at_zero]
        if known and min(known) < abs(zeta[k]):
            side = int(zeta[k] > 0)
            value[k], met[k] = one.bounds[side], False
            own[k] = np.copysign(min(known), zeta[k])
    return Ends(value[:number], own[:number], met[:number], ends.gain)


def profile(
    fit: GLMM,
    parameters: str | Sequence[str] | None,
    level: float,
    num_points: int,
    progress: bool | None,
) -> pd.DataFrame:
    """The table of profiles."""
    import pandas as pd

    level = check_level(level)
    check_whole("num_points", num_points, 1, 1000)
    followed = followed_of(fit, _asked(fit, parameters), every=parameters is None)
    z = float(t_quantile(0.5 - 0.5 * level))
    grid = np.delete(np.linspace(-z, z, 2 * num_points + 1), num_points)
    columns = ("parameter", "value", "zeta", "deviance")
    if not followed:
        return pd.DataFrame({name: [] for name in columns})
    each = [one for one in followed for _ in grid]
    ends = _ends(fit, each, np.tile(grid, len(followed)), progress)
    _warn_of_better(ends.gain)
    parts = []
    for k, one in enumerate(followed):
        own = slice(k * len(grid), (k + 1) * len(grid))
        value, zeta, met = ends.value[own], ends.zeta[own], ends.met[own]
        # A bound that the likelihood reaches is a point of the profile, once.
        bound = ~met & np.isfinite(value)
        first = bound & ~np.isin(np.arange(len(grid)), _repeated(bound, value))
        value, zeta = value[met | first], zeta[met | first]
        value, zeta = np.append(value, one.estimate), np.append(zeta, 0.0)
        order = np.argsort(zeta, kind="stable")
        parts.append((one.name, value[order], zeta[order]))
    zeta = np.concatenate([part[2] for part in parts])
    return pd.DataFrame(
        {
            "parameter": np.repeat([part[0] for part in parts], [len(part[1]) for part in parts]),
            "value": np.concatenate([part[1] for part in parts]),
            "zeta": zeta,
            "deviance": fit.deviance - 2.0 * fit.log_prior + zeta**2,
        },
        columns=list(columns),
    )


def _repeated(bound: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Places of bounds that stand in the table before."""
    places = np.flatnonzero(bound)
    first = np.unique(value[places], return_index=True)[1]
    return np.delete(places, first)


def _warn_of_better(gain: float) -> None:
    if gain > _BETTER:
        warnings.warn(
            f"On the way along a profile the log-likelihood is {gain:.3g} higher than that of the "
            "fit, which is a local maximum. Refit from other starting values (start=).",
            UserWarning,
            stacklevel=5,
        )
