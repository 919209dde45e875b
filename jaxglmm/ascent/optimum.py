"""The maximum: start, ascent, rectified parameters and one honest status."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm import curvature, status
from jaxglmm.ascent.estimate import Estimate
from jaxglmm.ascent.least_squares import by_least_squares, suits
from jaxglmm.ascent.maximum import Maximum, by_laplace
from jaxglmm.ascent.scales import term_scales
from jaxglmm.ascent.start import Start, start
from jaxglmm.control import Control
from jaxglmm.curvature import Spectrum
from jaxglmm.factor import choose
from jaxglmm.families.base import BOUNDARY, UNBOUNDED
from jaxglmm.marginal import laplace
from jaxglmm.marginal.inside import constant, inward, outward
from jaxglmm.params import Params, flatten, free_params, unflatten
from jaxglmm.predictor import Effects
from jaxglmm.rows import Rows, by_term

_SEPARATED = 1e-7  # information left along some contrast, relative to that at the constant mean
_FLAT = 1e-9  # eigenvalue of the scaled Hessian that counts as zero


def maximise_rows(
    rows: Rows, control: Control = Control(), given: Params | None = None
) -> Estimate:
    """Fit: pure, jit-able, vmap-able, differentiable in the arrays of `rows`."""
    return _solve(rows, given, control)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _solve(rows: Rows, given: Params | None, control: Control) -> Estimate:
    begin = start(rows.random_only)
    first = begin.params if given is None else given
    tolerance = control.tolerance or max(1e-7, 1e3 * float(jnp.finfo(rows.dtype).eps))
    route = by_least_squares if suits(rows) else by_laplace
    return _estimate(rows, begin, route(rows, first, tolerance, control.max_iterations))


def _estimate(rows: Rows, begin: Start, end: Maximum) -> Estimate:
    params, u, signs = _rectify(rows, end.params, end.u)
    curved = end.hessian * signs[:, None] * signs[None, :]
    gradient = end.gradient * signs
    s = curvature.spectrum(-curved)
    singular = _is_singular(rows.random_only, params, u)
    limit = rows.family.limit(params.phi, jnp.maximum(begin.phi, begin.params.phi))
    code = _status(rows.random_only, begin, end, s, curved, singular, limit)
    return Estimate(
        params=params,
        log_likelihood=end.value + constant(rows),
        u=u,
        hessian=curved,
        status=code,
        singular=singular,
        limit=limit,
        iterations=end.iterations,
        passes=end.passes,
        decrement=gradient @ curvature.ascent_metric(s) @ gradient,
        smallest_eigenvalue=_smallest(s, rows),
        monte_carlo_error=end.error,
    )


def _rectify(rows: Rows, params: Params, u: Effects) -> tuple[Params, Effects, Array]:
    """The reported theta, and u turned with it: the effects b = Lambda u stay what they are.

    Also the diagonal of the Jacobian of (beta, theta, phi), +1 or -1 each.
    """
    none = jnp.zeros((0,), rows.dtype)
    theta, slopes = [none], [none]
    signs: list[list[Array]] = [[] for _ in u]
    for own in by_term(rows, params.theta):
        representative = own.covariance.rectify(own.theta)
        theta.append(representative.theta)
        slopes.append(representative.slope)
        signs[own.grouping].append(representative.signs)
    turned = tuple(
        jnp.concatenate(of)[:, None] * values for of, values in zip(signs, u, strict=True)
    )
    ones = [jnp.ones_like(params.beta), *slopes, jnp.ones_like(params.phi)]
    rectified = Params(params.beta, jnp.concatenate(theta), params.phi)
    return rectified, turned, jnp.concatenate(ones)


def _is_singular(rows: Rows, params: Params, u: Effects) -> Array:
    """Whether a covariance structure is at a bound of its parameters, or singular."""
    found = jnp.asarray(False)
    for own, scale in zip(by_term(rows, params.theta), term_scales(rows, params, u), strict=True):
        found = found | own.covariance.is_singular(own.theta, own.constants, scale)
    return found


def _status(
    rows: Rows,
    begin: Start,
    end: Maximum,
    s: Spectrum,
    hessian: Array,
    singular: Array,
    limit: Array,
) -> Array:
    p = rows.num_fixed
    left = _least_information(-hessian[:p, :p], begin.information)
    finite = jnp.isfinite(end.value) & jnp.all(jnp.isfinite(end.gradient))
    code = jnp.asarray(status.CONVERGED)
    code = jnp.where(_smallest(s, rows) < _FLAT, status.RANK_DEFICIENT, code)
    code = jnp.where(singular | (limit == BOUNDARY), status.CONVERGED_BOUNDARY, code)
    code = jnp.where(~end.certified, status.MAX_ITERATIONS, code)
    code = jnp.where(left < _SEPARATED, status.SEPARATED, code)
    return jnp.where(~finite | (limit == UNBOUNDED), status.NONFINITE, code)


def _smallest(s: Spectrum, rows: Rows) -> Array:
    """The smallest eigenvalue; infinite where there is nothing to estimate."""
    return jnp.min(s.values, initial=jnp.asarray(jnp.inf, rows.dtype))


def _least_information(final: Array, reference: Array) -> Array:
    """The smallest eigenvalue of `final` relative to `reference`."""
    if final.shape[0] == 0:
        return jnp.asarray(jnp.inf, final.dtype)
    s = curvature.spectrum(reference)
    root = (s.vectors / jnp.sqrt(jnp.maximum(s.values, 1e-14))) * s.scale[:, None]
    relative = root.T @ final @ root
    return jnp.linalg.eigvalsh(0.5 * (relative + relative.T))[0]


@_solve.defjvp
def _solve_jvp(
    control: Control, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Estimate, Estimate]:
    """At the maximum G(psi, rows) = 0, so dpsi = -(dG/dpsi)^-1 (dG at fixed psi)."""
    rows, given = primals
    d_rows = tangents[0]
    factor = choose(rows)
    est = _solve(rows, given, control)
    params, u = inward(rows, est.params, est.u)
    psi = flatten(params)

    def at_fixed_psi(r: Rows) -> tuple[Array, Array]:
        value, gradient = laplace.refined(r, factor, psi, u)
        return value + constant(r), gradient

    _, (d_value, d_gradient) = jax.jvp(at_fixed_psi, (rows,), (d_rows,))
    s = curvature.spectrum(-est.hessian)
    # A beta inside is no unknown of G: the inverse in all parameters has that in psi as its corner.
    inside = est.hessian.shape[0] - psi.shape[0]
    d_psi = (curvature.pseudo_inverse(s, _FLAT) @ jnp.pad(d_gradient, (inside, 0)))[inside:]
    d_psi = jnp.where(free_params(rows, psi), d_psi, 0.0)
    _, d_u = jax.jvp(lambda r, x: laplace.chord(r, factor, x, u), (rows, psi), (d_rows, d_psi))
    tangent = jax.tree.map(_zero_tangent, est)
    moved, d_u = outward(rows, unflatten(d_psi, rows), d_u)
    return est, dataclasses.replace(tangent, params=moved, log_likelihood=d_value, u=d_u)


def _zero_tangent(x: Array) -> Any:
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.zeros_like(x)
    return np.zeros(x.shape, jax.dtypes.float0)
