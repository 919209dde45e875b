"""From a problem to numbers: pad to a bucket, run the compiled program, cut back."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxglmm.ascent import Estimate, maximise_rows
from jaxglmm.control import Control
from jaxglmm.design import Problem
from jaxglmm.frontend import programs
from jaxglmm.inference import bounds, effects, vcov
from jaxglmm.inference.basis import Basis, change_basis
from jaxglmm.inference.natural import Natural, natural
from jaxglmm.layout import bucket, make_layout
from jaxglmm.params import Params
from jaxglmm.rows import Rows, arrange


class Fitted(NamedTuple):
    """A fit in NumPy, without padding.

    `covariance` is that of all parameters (`inference.vcov.joint`), `at_bound` tells which of the
    covariance parameters in `natural` are at a bound. `b` and `b_variance` are (column, level) for
    each factor: conditional modes and their variance with all parameters known; what their
    uncertainty adds is computed on demand by `mode_variances`.
    """

    estimate: Estimate
    covariance: np.ndarray
    natural: Natural
    at_bound: np.ndarray
    b: tuple[np.ndarray, ...]
    b_variance: tuple[np.ndarray, ...]
    compile_seconds: float
    run_seconds: float


def fit(problem: Problem, control: Control, start: Params | None) -> Fitted:
    """Maximise and describe in one compiled program, shared by all problems of a bucket."""
    integrated = problem.method == "reml"
    problem, basis = change_basis(problem)
    rows = padded_rows(problem)
    if start is not None and basis is not None:
        start = basis.inward(start)
    given = None if start is None else _pad_params(start, problem, rows)
    with jax.enable_x64(True):
        done = programs.run(_maximise_and_describe, (rows, given), control=control)
    outputs = jax.tree.map(np.asarray, done.outputs)
    estimate, natural_, at_bound, b, b_variance = outputs
    levels = [g.num_levels for g in problem.groupings]
    estimate = _cut_estimate(estimate, problem, rows)
    covariance = vcov.joint(estimate.hessian)
    if basis is not None:
        estimate = basis.outward(estimate, integrated=integrated)
        covariance = basis.covariance_outward(covariance)
    return Fitted(
        estimate=estimate,
        covariance=covariance,
        natural=natural_,
        at_bound=at_bound,
        b=tuple(v[:, :n] for v, n in zip(b, levels, strict=True)),
        b_variance=tuple(v[:, :n] for v, n in zip(b_variance, levels, strict=True)),
        compile_seconds=done.compile_seconds,
        run_seconds=done.run_seconds,
    )


def _maximise_and_describe(rows: Rows, given: Params | None, *, control: Control) -> Any:
    estimate = maximise_rows(rows, control, given)
    params, u, rows = estimate.params, estimate.u, rows.random_only
    covariances = effects.conditional_covariances(rows, params, u)
    diagonals = tuple(jax.numpy.einsum("iil->il", c) for c in covariances)
    values, at_bound = natural(rows, params), bounds.at_bound(rows, params, u)
    return estimate, values, at_bound, effects.modes(rows, params, u), diagonals


def padded_rows(problem: Problem) -> Rows:
    """The problem's rows in a layout of bucketed shape, as NumPy arrays."""
    groupings = tuple(
        dataclasses.replace(g, num_levels=bucket(g.num_levels, fine=k > 0))
        for k, g in enumerate(problem.groupings)
    )
    codes = problem.groupings[0].codes if groupings else None
    levels = groupings[0].num_levels if groupings else 1
    layout = make_layout(problem.num_obs, codes, levels, padded=True)
    pattern = problem.pattern.padded(tuple(g.num_levels for g in groupings))
    padded = problem.replace(groupings=groupings, layout=layout, pattern=pattern)
    return arrange(padded, num_fixed=bucket(problem.X.shape[1]), xp=np)


def conditional_vcov(problem: Problem, estimate: Estimate) -> np.ndarray:
    """Cov(beta) given theta and phi; shape (fixed, fixed)."""
    rows, params, u, basis = _at_estimate(problem, estimate)
    with jax.enable_x64(True):
        matrix = np.asarray(programs.run(vcov.conditional, (rows, params, u)).outputs)
    p = problem.X.shape[1]
    matrix = matrix[:p, :p]
    return matrix if basis is None else basis.covariance_outward(matrix)


def mode_variances(
    problem: Problem, estimate: Estimate, covariance: np.ndarray
) -> tuple[np.ndarray, ...]:
    """The share of the parameters' uncertainty in the variance of the random effects."""
    rows, params, u, basis = _at_estimate(problem, estimate)
    size = rows.num_fixed + rows.num_theta + rows.family.num_phi
    kept = _kept(problem, rows, size)
    full = np.zeros((size, size))
    known = np.nan_to_num(covariance, nan=0.0)
    full[np.ix_(kept, kept)] = known if basis is None else basis.covariance_inward(known)
    with jax.enable_x64(True):
        outputs = programs.run(effects.mode_variances, (rows, params, u, full)).outputs
    levels = [g.num_levels for g in problem.groupings]
    return tuple(np.asarray(v)[:, :n] for v, n in zip(outputs, levels, strict=True))


def _at_estimate(
    problem: Problem, estimate: Estimate
) -> tuple[Rows, Params, tuple[np.ndarray, ...], Basis | None]:
    """What the programs about a fit ask for, in the basis of the fit; whatever the method, the
    fixed effects are parameters there."""
    problem, basis = change_basis(problem)
    rows = padded_rows(problem).random_only
    params = estimate.params if basis is None else basis.inward(estimate.params)
    return rows, _pad_params(params, problem, rows), _pad_effects(estimate.u, rows), basis


def _kept(problem: Problem, rows: Rows, size: int) -> np.ndarray:
    """Which entries of the padded parameter vector are the problem's own."""
    index = np.arange(size)
    return index[(index < problem.X.shape[1]) | (index >= rows.X.shape[0])]


def _pad_params(params: Params, problem: Problem, rows: Rows) -> Params:
    extra = rows.X.shape[0] - problem.X.shape[1]
    as_float = [np.asarray(v, rows.dtype) for v in (params.beta, params.theta, params.phi)]
    return Params(np.pad(as_float[0], (0, extra)), as_float[1], as_float[2])


def _pad_effects(u: tuple[np.ndarray, ...], rows: Rows) -> tuple[np.ndarray, ...]:
    return tuple(
        np.pad(v, ((0, 0), (0, g.num_levels - v.shape[1])))
        for v, g in zip(u, rows.groupings, strict=True)
    )


def _cut_estimate(estimate: Estimate, problem: Problem, rows: Rows) -> Estimate:
    p = problem.X.shape[1]
    kept = _kept(problem, rows, estimate.hessian.shape[0])
    params = dataclasses.replace(estimate.params, beta=estimate.params.beta[:p])
    return dataclasses.replace(
        estimate,
        params=params,
        hessian=estimate.hessian[np.ix_(kept, kept)],
        u=tuple(v[:, : g.num_levels] for v, g in zip(estimate.u, problem.groupings, strict=True)),
    )
