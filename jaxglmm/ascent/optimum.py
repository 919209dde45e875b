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
from jaxglmm.ascent.alone import can_be_alone, is_alone
from jaxglmm.ascent.climb import Ends, rounding
from jaxglmm.ascent.estimate import Estimate
from jaxglmm.ascent.implicit import tangent
from jaxglmm.ascent.least_squares import LeastSquaresRoute, suits
from jaxglmm.ascent.maximum import AbstractRoute, LaplaceRoute, Maximum
from jaxglmm.ascent.pseudo import Limits, iterate, of_law
from jaxglmm.ascent.restricted import share_of
from jaxglmm.ascent.scales import judged, term_scales
from jaxglmm.ascent.sparse import can_be_sparse, is_sparse
from jaxglmm.ascent.start import Start, information, start
from jaxglmm.ascent.told import told_of, within
from jaxglmm.control import Control
from jaxglmm.factor import choose
from jaxglmm.families.base import BOUNDARY, INTERIOR, UNBOUNDED
from jaxglmm.marginal.inside import constant
from jaxglmm.marginal.pseudo import from_working
from jaxglmm.needed import where_rarely_needed
from jaxglmm.params import Params, log_prior
from jaxglmm.predictor import Effects
from jaxglmm.restriction import HELD
from jaxglmm.rows import Rows, by_term

_SEPARATED = 1e-7  # information left along some contrast, relative to that at the constant mean
_BROKEN = 0.01  # a promise of log-likelihood, beyond its rounding, that no step keeps
_INDEFINITE = 0.1  # size of a negative eigenvalue of the scaled Hessian that rounding does not make
_UNCHANGED_IF_DEAR = 1e-5  # of the Hessian by the last step
_NOTHING = 1e-6  # information on a parameter of the law, a logarithm
_ONWARD = 40.0  # further along its slope is where such a parameter is judged
_ROUNDED = 1e-12  # a slope that rounding makes
_FIRST_STAGE = 10  # working responses of a staged start
_FLAT = 1e-9  # eigenvalue of the scaled Hessian that counts as zero


def maximise_rows(
    rows: Rows,
    control: Control = Control(),
    given: Params | None = None,
    raised: Array | None = None,
) -> Estimate:
    """Fit: pure, jit-able, vmap-able, differentiable in the arrays of `rows`; from the parameters
    given, or from a start of its own, `raised` as there."""
    return _solve(rows, given, raised, control)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _solve(rows: Rows, given: Params | None, raised: Array | None, control: Control) -> Estimate:
    if rows.by_pseudo_data:
        return _by_pseudo_data(rows, given, control)
    begin = start(rows.random_only, raised)
    first = begin.params if given is None else given
    if control.staged:
        first = _staged(rows, first, control)
    end = choose_route(rows).up(rows, first, ends(rows, control))
    return estimate(rows, begin, end, ends(rows, control))


def _by_pseudo_data(rows: Rows, given: Params | None, control: Control) -> Estimate:
    """The estimate by pseudo-likelihood; its log-likelihood is that of the last working data."""
    own = start(rows.random_only)
    limits = Limits(control.pl_iterations, control.pl_tolerance)
    first = own.params if given is None else given
    found = iterate(rows, first, functools.partial(_fit, control=control), limits)
    begin = start(found.pseudo.random_only)._replace(information=own.information)
    top = found.maximum
    iterations = jnp.where(top.certified, found.iterations, control.max_iterations)
    top = top._replace(iterations=iterations)
    end = estimate(found.pseudo, begin, top, ends(rows, control))
    return of_law(rows, dataclasses.replace(end, iterations=found.iterations))


def _fit(rows: Rows, control: Control) -> Maximum:
    """From the start that the rows themselves give."""
    return choose_route(rows).up(rows, start(rows.random_only).params, ends(rows, control))


def _staged(rows: Rows, first: Params, control: Control) -> Params:
    """fitglme's way to a start: a few working responses, then approximate Laplace.

    Neither knows a prior; restricted parameters are those of the law, not of working responses.
    """
    if rows.prior is not None:
        return first
    if rows.family.exponential and rows.restriction is None:
        pseudo = dataclasses.replace(rows, method="mpl", quadrature_points=1)
        limits = Limits(_FIRST_STAGE, control.pl_tolerance)
        found = iterate(pseudo, first, functools.partial(_fit, control=control), limits)
        first = from_working(rows.family, found.maximum.params)
    inside = dataclasses.replace(rows, method="approximate_laplace", quadrature_points=1)
    return LaplaceRoute().up(inside, first, ends(inside, control)).params


def choose_route(rows: Rows) -> AbstractRoute:
    """The quickest that leads to the maximum."""
    if rows.by_pseudo_data:
        raise TypeError("Pseudo-likelihood is no function of the parameters to be climbed.")
    return LeastSquaresRoute() if suits(rows) else LaplaceRoute()


def ends(rows: Rows, control: Control, unchanged: float = 0.0) -> Ends:
    """When an ascent ends; `unchanged` as there, and at least what a dear factor asks for."""
    tolerance = control.tolerance_at(float(jnp.finfo(rows.dtype).eps))
    unchanged = max(unchanged, _UNCHANGED_IF_DEAR if choose(rows).keeps else 0.0)
    return Ends(tolerance, control.max_iterations, unchanged)


def estimate(rows: Rows, begin: Start, end: Maximum, ended: Ends) -> Estimate:
    """Rectified parameters and a status; `begin` tells what is small and what is far, `ended` when
    the ascent did."""
    params, u, signs = _rectify(rows, end.params, end.u)
    share = share_of(rows, params.beta.shape[0])
    if share is not None:
        signs = share.collapse(signs)
    curved = end.hessian * signs[:, None] * signs[None, :]
    gradient = end.gradient * signs
    metric, least = curvature.metric_and_least(-curved)
    decrement = gradient @ metric @ gradient
    singular = _is_singular(rows.random_only, params, u)
    known = _known(rows, curved)
    told = curved
    if rows.family.num_phi:
        # Where nothing is known the rest is rounding, which others' errors would involve.
        told = jnp.where(known[:, None] & known[None, :], curved, 0.0)
        decrement, least_known = where_rarely_needed(
            ~jnp.all(known), lambda of: _among(*of), (known, curved, gradient), (decrement, least)
        )
        # An ascent that was not certified may be at a maximum in all that is known, and level in
        # the rest: rounding alone moves that. (The log-likelihood of a perfect fit rises evenly
        # with the logarithm of its dispersion.)
        level = jnp.all(known | (gradient**2 < ended.tolerance))
        settled = level & (least_known > _FLAT) & (decrement < ended.tolerance)
        end = end._replace(certified=end.certified | ~jnp.all(known) & settled)
    certified = end.certified
    limit = _limit(rows, params.phi, begin, known, gradient, certified)
    stuck = ~certified & (end.iterations < ended.max_iterations)
    broken = decrement > jnp.maximum(_BROKEN, rounding(end.value))
    pole = stuck & ((least < -_INDEFINITE) | broken)
    separated = _is_separated(rows.random_only, begin, params, u, curved)
    unknown = _is_unknown(begin, curved)
    flat = least < _FLAT
    untold = flat | ~jnp.all(known)
    if can_be_alone(rows.family):
        untold = untold | is_alone(rows)
    code = _status(end, untold, separated, singular, limit, pole, unknown)
    prior = None if rows.prior is None else log_prior(rows, params)
    value = end.value if prior is None else end.value - prior
    return Estimate(
        params=params,
        log_likelihood=value + constant(rows),
        u=u,
        hessian=told,
        status=code,
        singular=singular,
        limit=limit,
        iterations=end.iterations,
        passes=end.passes,
        decrement=decrement,
        flat=flat,
        monte_carlo_error=end.error,
        log_prior=prior,
        sparse=is_sparse(rows) if can_be_sparse(rows) else None,
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


def _known(rows: Rows, hessian: Array) -> Array:
    """Of which parameters the responses tell anything: all but some of the law's own, maybe.

    These are logarithms or without units, so that what is told is judged by its size: beside a
    diagonal that is rounding, rounding is much.
    """
    places = _places_of_phi(rows, hessian.shape[0])
    of_law = np.isin(np.arange(hessian.shape[0]), places[places != HELD])
    return ~of_law | (-jnp.diagonal(hessian) > _NOTHING)


def _places_of_phi(rows: Rows, size: int) -> np.ndarray:
    """Of each entry of phi, its place among so many parameters of the gradient, or `HELD`."""
    own = np.arange(rows.num_theta, rows.num_theta + rows.family.num_phi)
    if rows.restriction is None:
        return own + size - rows.num_theta - rows.family.num_phi
    index = np.asarray(rows.restriction.index, int)[own]
    return np.where(index == HELD, HELD, index + size - rows.restriction.num_free)


def _among(known: Array, hessian: Array, gradient: Array) -> tuple[Array, Array]:
    """Of the known parameters alone: the log-likelihood that a step of Newton's promises, twice,
    and the least eigenvalue as in `curvature.metric_and_least`."""
    both = known[:, None] & known[None, :]
    bent = jnp.where(both, -hessian, jnp.eye(known.size, dtype=hessian.dtype))
    slope = jnp.where(known, gradient, 0.0)
    metric, least = curvature.metric_and_least(bent)
    return slope @ metric @ slope, least


def _limit(
    rows: Rows, phi: Array, begin: Start, known: Array, gradient: Array, certified: Array
) -> Array:
    """The law's `limit`; parameters that are held are at none, as those at the start.

    A parameter of which nothing is known any more at a maximum is on its way to a limit, if its
    slope leads to one, whose log-likelihood is finite: one without end would have risen on. (A
    dispersion falls like this where every row has a random effect of its own, which takes its
    place.)
    """
    limit, start = rows.family.limit, jnp.maximum(begin.phi, begin.params.phi)
    places = _places_of_phi(rows, known.shape[0])
    held = places == HELD
    phi = jnp.where(held, begin.params.phi, phi)
    known, slope = held | known[places], jnp.where(held, 0.0, gradient[places])
    ahead = jnp.sign(jnp.where(jnp.abs(slope) > _ROUNDED, slope, phi - start))
    here = limit(phi, start)
    onward = limit(jnp.where(known, phi, phi + _ONWARD * ahead), start)
    endless = limit(jnp.where(known, phi, start), start) == UNBOUNDED
    inside = (here == INTERIOR) & (onward == INTERIOR)
    there = jnp.where(endless, UNBOUNDED, jnp.where(inside, INTERIOR, BOUNDARY))
    return jnp.where(certified, there, here)


def _is_singular(rows: Rows, params: Params, u: Effects) -> Array:
    """Whether a covariance structure is at a bound of its parameters, or singular."""
    found = jnp.asarray(False)
    scales = term_scales(rows, params, u)
    theta = judged(rows, params.theta, scales)
    for own, scale in zip(by_term(rows, theta), scales, strict=True):
        found = found | own.covariance.is_singular(own.theta, own.constants, scale)
    return found


def _status(
    end: Maximum,
    untold: Array,
    separated: Array,
    singular: Array,
    limit: Array,
    pole: Array,
    unknown: Array,
) -> Array:
    finite = jnp.isfinite(end.value) & jnp.all(jnp.isfinite(end.gradient))
    code = jnp.asarray(status.CONVERGED)
    code = jnp.where(untold, status.RANK_DEFICIENT, code)
    code = jnp.where(singular | (limit == BOUNDARY), status.CONVERGED_BOUNDARY, code)
    code = jnp.where(unknown, status.RANK_DEFICIENT, code)
    code = jnp.where(~end.certified, status.MAX_ITERATIONS, code)
    code = jnp.where(separated, status.SEPARATED, code)
    # Where log p is not concave H can be singular at the mode: -log det H / 2 has a pole, of
    # curvature without bound, into which an ascent runs until no step is short enough, whatever
    # they promise. At a law's limit the curvature along its parameter is rounding, of either sign.
    lost = ~finite | pole & (limit != BOUNDARY) | (limit == UNBOUNDED)
    return jnp.where(lost, status.NONFINITE, code)


def _is_separated(rows: Rows, begin: Start, params: Params, u: Effects, hessian: Array) -> Array:
    """Whether next to none of the information on the fixed effects is left along some contrast.

    Both of that of the responses, which separation takes away and random effects alone do not
    (where counts are large a few levels know far less of the mean than their rows seem to), and of
    that of the log-likelihood, to which a prior adds.
    """
    p, known = rows.num_fixed, begin.information
    of_rows = information(rows, params, u)
    return ~curvature.either_keeps((of_rows, -hessian[:p, :p]), known, _SEPARATED)


def _is_unknown(begin: Start, hessian: Array) -> Array:
    """Whether no response tells anything of some coefficient, at the start and at the end."""
    reference = begin.information
    p = reference.shape[0]
    return jnp.any((jnp.diagonal(reference) == 0.0) & (jnp.diagonal(hessian)[:p] == 0.0))


@_solve.defjvp
def _solve_jvp(
    control: Control, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Estimate, Estimate]:
    rows, given, raised = primals
    if rows.by_pseudo_data:
        raise TypeError(
            "Estimates by pseudo-likelihood maximise nothing: they have no derivatives."
        )
    found = _solve(rows, given, raised, control)
    return found, tangent(within(rows, told_of(rows)), found, tangents[0])
