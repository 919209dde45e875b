"""From a problem to numbers: pad to a bucket, run the compiled program, cut back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from jaxglmm.ascent import Estimate, maximise_rows
from jaxglmm.ascent.reduction import expand, reduce, reduce_params
from jaxglmm.blas import one_thread
from jaxglmm.control import Control
from jaxglmm.design import Problem
from jaxglmm.factor import choose
from jaxglmm.frontend import programs, second
from jaxglmm.inference import bounds, effects, slopes, vcov
from jaxglmm.inference.basis import Basis, change_basis
from jaxglmm.inference.natural import Natural, natural
from jaxglmm.layout import bucket
from jaxglmm.params import Params
from jaxglmm.predict.linear import Design
from jaxglmm.restriction import Restriction, Share, joined
from jaxglmm.rows import Rows, arrange


class Fitted(NamedTuple):
    """A fit in NumPy, without padding.

    `covariance` is that of all parameters (`inference.vcov.joint`), `at_bound` tells which of the
    covariance parameters in `natural` are at a bound. `b` and `b_variance` are (column, level) for
    each factor: conditional modes and their variance with all parameters known. Where that costs
    as much as an evaluation of the log-likelihood it is None, and computed on demand by
    `conditional_variances`; what the parameters' uncertainty adds always is, from `mode_slopes`.
    """

    estimate: Estimate
    covariance: np.ndarray
    natural: Natural
    at_bound: np.ndarray
    b: tuple[np.ndarray, ...]
    b_variance: tuple[np.ndarray, ...] | None
    compile_seconds: float
    run_seconds: float


def fit(problem: Problem, control: Control, start: Params | None) -> Fitted:
    """Maximise and describe in one compiled program, shared by all problems of a bucket; from a
    start of its own again where that may lead higher (`second`)."""
    whole = problem
    problem, basis = change_basis(reduce(problem, xp=np))
    integrated = problem.integrated
    rows = padded_rows(problem)
    given = None if start is None else _given(start, whole, problem, basis, rows)
    done = _maximised(problem, rows, given, control)
    estimate, natural_, at_bound, b, b_variance = done.outputs
    estimate = _cut_estimate(estimate, problem, rows)
    return Fitted(
        estimate=outward(whole, basis, integrated, estimate),
        covariance=covariance_outward(whole, basis, estimate.hessian),
        natural=natural_,
        at_bound=at_bound,
        b=_cut_levels(b, problem),
        b_variance=None if b_variance is None else _cut_levels(b_variance, problem),
        compile_seconds=done.compile_seconds,
        run_seconds=done.run_seconds,
    )


def _maximised(
    problem: Problem, rows: Rows, given: Params | None, control: Control
) -> programs.Run:
    """What `maximise_and_describe` makes of the rows, in NumPy."""
    number, num_levels = problem.num_obs, [g.num_levels for g in problem.groupings]
    again = given is None and second.may_look_again(rows, num_levels, number, control)

    def look(raised: int) -> programs.Run:
        which = np.int32(raised) if again else None
        with jax.enable_x64(True):
            done = run(maximise_and_describe, rows, given, which, control=control.of_optimiser)
        return done._replace(outputs=jax.tree.map(np.asarray, done.outputs))

    done = look(0)
    if not again or not second.unsettled(rows, num_levels, number, done.outputs[0]):
        return done
    for raised, _ in second.looks(done.outputs[0]):
        other = look(raised)
        outputs, first, found = done.outputs, done.outputs[0], other.outputs[0]
        if second.is_higher(found, first):
            outputs = (second.with_both(found, first), *other.outputs[1:])
        compiled = done.compile_seconds + other.compile_seconds
        done = programs.Run(outputs, compiled, done.run_seconds + other.run_seconds)
    return done


def run(function: Callable[..., Any], rows: Rows, *arguments: Any, **static: Any) -> programs.Run:
    """function(rows, *arguments, **static) as a compiled program."""
    nodes = rows.family.num_nodes
    with threads_for(rows):
        return programs.run(function, (rows, *arguments), num_nodes=nodes, **static)


def threads_for(rows: Rows) -> AbstractContextManager[None]:
    """Where these rows are worked on: crossed factors have matrices that BLAS would share out."""
    return one_thread() if len(rows.groupings) > 1 else nullcontext()


def maximise_and_describe(
    rows: Rows, given: Params | None, raised: Array | None = None, *, control: Control
) -> Any:
    """The program of a fit: the estimate, and what a `Fitted` has beside it."""
    estimate = maximise_rows(rows, control, given, raised)
    params, u, rows = estimate.params, estimate.u, rows.random_only
    variances = None if choose(rows).keeps else effects.conditional_variances(rows, params, u)
    values, at_bound = natural(rows, params), bounds.at_bound(rows, params, u)
    return estimate, values, at_bound, effects.modes(rows, params, u), variances


def _given(
    start: Params, whole: Problem, problem: Problem, basis: Basis | None, rows: Rows
) -> Params:
    """The caller's parameters as those of the fit."""
    start = reduce_params(whole, start)
    return _pad_params(start if basis is None else basis.inward(start), problem, rows)


def outward(
    problem: Problem, basis: Basis | None, integrated: tuple[int, ...], estimate: Estimate
) -> Estimate:
    """The estimate of the caller's problem from that in free parameters and the basis of the fit;
    of many models one by one, along first axes."""
    if basis is not None:
        estimate = basis.outward(estimate, integrated=integrated)
    return expand(problem, estimate)


def covariance_outward(problem: Problem, basis: Basis | None, hessian: np.ndarray) -> np.ndarray:
    """The covariance matrix of all parameters from the Hessian in the free ones of the fit."""
    covariance = vcov.joint(hessian)
    if basis is not None:
        covariance = basis.covariance_outward(covariance)
    return covariance if problem.restriction is None else spread(problem.restriction, covariance)


def spread(restriction: Restriction, covariance: np.ndarray) -> np.ndarray:
    """The covariance of all parameters from that of the free ones; of many models one by one."""
    return share_of_all(restriction).spread(covariance)


def share_of_all(restriction: Restriction) -> Share:
    """Of (beta, theta, phi)."""
    return joined(restriction.beta, restriction.theta, restriction.phi, xp=np)


def padded_rows(problem: Problem) -> Rows:
    """The problem's rows in a layout of bucketed shape, as NumPy arrays."""
    groupings = tuple(
        dataclasses.replace(g, num_levels=bucket(g.num_levels, fine=k > 0))
        for k, g in enumerate(problem.groupings)
    )
    layout = problem.layout.padded(groupings[0].num_levels if groupings else problem.num_obs)
    pattern = problem.pattern.padded(tuple(g.num_levels for g in groupings))
    padded = problem.replace(groupings=groupings, layout=layout, pattern=pattern)
    return arrange(padded, num_fixed=bucket(problem.X.shape[1]), xp=np)


def conditional_vcov(problem: Problem, estimate: Estimate) -> np.ndarray:
    """Cov(beta) given theta and phi; shape (fixed, fixed)."""
    return _beta_outward(problem, estimate, vcov.conditional)


def conditional_slopes(problem: Problem, estimate: Estimate) -> tuple[np.ndarray, np.ndarray]:
    """The same and its derivatives in the free (theta, phi), (param, fixed, fixed)."""
    matrix, moved = _beta_outward(problem, estimate, slopes.conditional_with_slopes)
    if problem.restriction is None:
        return matrix, moved
    both = joined(problem.restriction.theta, problem.restriction.phi, xp=np)
    return matrix, both.pull(moved)


def _beta_outward(problem: Problem, estimate: Estimate, function: Callable[..., Any]) -> Any:
    """What the program `function` says of Cov(beta), (..., fixed, fixed) each, for the caller."""
    at = run_at_estimate(function, problem, estimate)
    p = at.problem.X.shape[1]

    def outward(matrix: Any) -> np.ndarray:
        return beta_outward(problem, at.basis, np.asarray(matrix)[..., :p, :p])

    return jax.tree.map(outward, at.outputs)


class AtEstimate(NamedTuple):
    """Outputs of a program, and the problem that it saw: in free fixed effects and the basis."""

    outputs: Any
    problem: Problem
    basis: Basis | None


def run_at_estimate(
    function: Callable[..., Any],
    problem: Problem,
    estimate: Estimate,
    *of_levels: tuple[np.ndarray, ...],
    **static: Any,
) -> AtEstimate:
    """function(rows, params, u, *of_levels, **static) of the free fixed effects, as a compiled
    program; `of_levels` have the levels of each grouping factor along last axes."""
    reduced = reduce(problem, xp=np)
    free = dataclasses.replace(estimate, params=reduce_params(problem, estimate.params))
    rows, params, u, basis = at_estimate(reduced, free)
    with jax.enable_x64(True):
        padded = (pad_effects(values, rows) for values in of_levels)
        outputs = run(function, rows, params, u, *padded, **static).outputs
    return AtEstimate(outputs, reduced if basis is None else change_basis(reduced)[0], basis)


def beta_outward(problem: Problem, basis: Basis | None, matrix: np.ndarray) -> np.ndarray:
    """Cov(beta) of the caller from that of the free fixed effects in the basis of the fit;
    (..., fixed, fixed)."""
    matrix = matrix if basis is None else basis.covariance_outward(matrix)
    return matrix if problem.restriction is None else problem.restriction.beta.spread(matrix)


def conditional_variances(problem: Problem, estimate: Estimate) -> tuple[np.ndarray, ...]:
    """Variances of the random effects with all parameters known, where the fit has none."""
    rows, params, u, _ = at_estimate(problem, estimate)
    with jax.enable_x64(True):
        outputs = run(effects.conditional_variances, rows, params, u).outputs
    return _cut_levels(outputs, problem)


def mode_slopes(problem: Problem, estimate: Estimate) -> tuple[np.ndarray, ...]:
    """db / d(beta, theta, phi) at the mode; (param, column, level) for each factor."""
    rows, params, u, basis = at_estimate(problem, estimate)
    with jax.enable_x64(True):
        outputs = run(effects.mode_slopes, rows, params, u).outputs
    p = problem.X.shape[1]
    kept = _kept(problem, rows, rows.num_fixed + rows.num_theta + rows.family.num_phi)
    found = []
    for values, grouping in zip(outputs, problem.groupings, strict=True):
        slopes = np.asarray(values)[kept, :, : grouping.num_levels]
        if basis is not None:
            slopes[:p] = np.einsum("jk,jcl->kcl", basis.A, slopes[:p])
        found.append(slopes)
    return tuple(found)


def row_covariances(problem: Problem, estimate: Estimate, design: Design) -> np.ndarray:
    """Cov(z_a' b, z_c' b | y) of rows with all parameters known; (predictor, predictor, obs)."""
    rows, params, u, _ = at_estimate(problem, estimate)
    n = len(design.X)
    index = np.minimum(np.arange(bucket(max(n, 1))), n - 1)
    Z = tuple(np.asarray(z)[index] for z in design.Z)
    codes = tuple(np.asarray(c)[index] for c in design.codes)
    factors = zip(design.codes[1:], design.Z[1:], rows.groupings[1:], strict=True)
    wanted = tuple(_places(c, z.shape[1], g.num_levels) for c, z, g in factors)
    with jax.enable_x64(True):
        outputs = run(effects.row_covariances, rows, params, u, Z, codes, wanted).outputs
    return np.asarray(outputs)[..., :n]


def _places(codes: np.ndarray, num_columns: int, beyond: int) -> tuple[np.ndarray, np.ndarray]:
    """Levels that occur and all their columns, in a shape of the coarse grid."""
    levels = np.unique(codes[codes >= 0])
    padded = np.full(bucket(max(len(levels), 1)), beyond)
    padded[: len(levels)] = levels
    columns = np.tile(np.arange(num_columns), len(padded))
    return np.repeat(padded, num_columns), columns


def at_estimate(
    problem: Problem, estimate: Estimate
) -> tuple[Rows, Params, tuple[np.ndarray, ...], Basis | None]:
    """What the programs about a fit ask for, in the basis of the fit; whatever the method, the
    fixed effects are parameters there."""
    problem, basis = change_basis(problem)
    rows = padded_rows(problem).random_only
    params = estimate.params if basis is None else basis.inward(estimate.params)
    return rows, _pad_params(params, problem, rows), pad_effects(estimate.u, rows), basis


def _kept(problem: Problem, rows: Rows, size: int) -> np.ndarray:
    """Which entries of the padded parameter vector are the problem's own."""
    index = np.arange(size)
    return index[(index < problem.X.shape[1]) | (index >= rows.X.shape[0])]


def _pad_params(params: Params, problem: Problem, rows: Rows) -> Params:
    extra = rows.X.shape[0] - problem.X.shape[1]
    as_float = [np.asarray(v, rows.dtype) for v in (params.beta, params.theta, params.phi)]
    return Params(np.pad(as_float[0], (0, extra)), as_float[1], as_float[2])


def pad_effects(u: tuple[np.ndarray, ...], rows: Rows) -> tuple[np.ndarray, ...]:
    """Values (..., level) of each factor, zero for levels that pad."""
    return tuple(
        np.pad(v, [(0, 0)] * (v.ndim - 1) + [(0, g.num_levels - v.shape[-1])])
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
        u=_cut_levels(estimate.u, problem),
    )


def _cut_levels(values: Any, problem: Problem) -> tuple[np.ndarray, ...]:
    pairs = zip(values, problem.groupings, strict=True)
    return tuple(np.asarray(v)[:, : g.num_levels] for v, g in pairs)
