"""The law over all rows: its density and its derivatives, by autodiff of the scalar law.

eta is a tuple of m arrays; first derivatives are a tuple of m, second derivatives a tuple of m
tuples. Rows of multiplier zero contribute exact zeros.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend import core

from jaxglmm.concise import concise
from jaxglmm.families import AbstractFamily
from jaxglmm.predictor import Predictors
from jaxglmm.rows import Rows

Index = tuple[int, ...]
Partials = dict[Index, Array]


def partials(rows: Rows, eta: Predictors, phi: Array, order: int) -> Partials:
    """Partial derivatives of log_kernel up to `order`, row by row.

    The variables are numbered: eta_0, ..., eta_(m-1), then phi_0, phi_1, ...; a derivative is
    filed under its descending index, the value itself under () (orders one and two leave it out:
    many laws' value is dear). All those in eta are there; phi appears once among those of order
    three, and up to twice where `order` is four.
    """
    return _by_row(rows, order, False, eta, phi)


def value_and_slopes(rows: Rows, eta: Predictors, phi: Array) -> tuple[Array, tuple[Array, ...]]:
    """log_kernel and its first derivatives in eta_0, ..., phi_0, ..., row by row."""
    found = _by_row(rows, 1, True, eta, phi)
    return found[()], tuple(found[(i,)] for i in range(len(eta) + phi.shape[0]))


def _by_row(rows: Rows, order: int, whole: bool, eta: Predictors, phi: Array) -> Partials:
    found = _derivatives(rows.family, order, whole, rows.y, eta, phi, rows.weight)
    # What does not count may be out of all bounds: zero times infinity is no number.
    counts = rows.multiplier > 0
    return {i: jnp.where(counts, rows.multiplier * values, 0.0) for i, values in found.items()}


def partial(found: Partials, *index: int) -> Array:
    """One of the derivatives of `partials`, its index in any order."""
    return found[tuple(sorted(index, reverse=True))]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _derivatives(
    family: AbstractFamily,
    order: int,
    whole: bool,
    y: Array,
    eta: Predictors,
    phi: Array,
    weight: Array,
) -> Partials:
    """log_kernel and its derivatives; `whole`: in phi to the full order, and with the value.

    A program of its own, so that JAX traces a law once however often the engine asks for it.
    """
    return concise(functools.partial(_nests, family, order, whole))(y, eta, phi, weight)


@_derivatives.defjvp
def _derivatives_jvp(
    family: AbstractFamily,
    order: int,
    whole: bool,
    primals: tuple[Any, ...],
    tangents: tuple[Any, ...],
) -> tuple[Partials, Partials]:
    return jax.jvp(functools.partial(_nests, family, order, whole), primals, tangents)


def _nests(
    family: AbstractFamily,
    order: int,
    whole: bool,
    y: Array,
    eta: Predictors,
    phi: Array,
    weight: Array,
) -> Partials:
    """The same as nests of derivatives, one for each index of the highest order."""
    m, x = len(eta), (*eta, *phi)
    found: Partials = {}
    # Traced once: every nest would go through the layers of `jax.numpy` anew.
    traced = jax.make_jaxpr(functools.partial(_elementwise, family))(y, x[:m], x[m:], weight)
    program = core.jaxpr_as_fun(traced)

    def law(x: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        (value,) = program(y, *x, weight)
        return value, ()

    for path in itertools.combinations_with_replacement(reversed(range(len(x))), order):
        if not whole and sum(i >= m for i in path) > max(order - 2, 0):
            continue
        # Differentiating in descending order makes every prefix of the path an index of its own.
        f: Callable[..., tuple[Array, tuple[Array, ...]]] = law
        for i in path:
            f = functools.partial(_differentiate, f, i)
        last, lower = f(x)
        for length, values in enumerate((*lower, last)):
            found.setdefault(path[:length], values)
    if order in (1, 2) and not whole:
        del found[()]
    return found


def _differentiate(
    f: Callable[..., tuple[Array, tuple[Array, ...]]], i: int, x: tuple[Array, ...]
) -> tuple[Array, tuple[Array, ...]]:
    """(df/dx_i, lower derivatives with f's own value appended)."""

    def along(x_i: Array) -> tuple[Array, tuple[Array, ...]]:
        value, lower = f((*x[:i], x_i, *x[i + 1 :]))
        return value, (*lower, value)

    _, slope, lower = jax.jvp(along, (x[i],), (jnp.ones_like(x[i]),), has_aux=True)
    return slope, lower


def _elementwise(
    family: AbstractFamily,
    y: Array,
    eta: Predictors,
    phi: tuple[Array, ...],
    weight: Array,
) -> Array:
    """log_kernel of every row."""
    eta = tuple(jnp.broadcast_to(e, y.shape) for e in eta)

    own: Any = phi
    if not family.elementwise:
        own = jnp.stack(phi) if phi else jnp.zeros((0,), y.dtype)

    def law(y: Array, eta: Predictors, weight: Array) -> Array:
        predictors = eta[0] if family.num_predictors == 1 else eta
        return family.log_kernel(y, predictors, own, weight)  # type: ignore[arg-type]

    if family.elementwise:
        return law(y, eta, weight)
    return jax.vmap(jax.vmap(law))(y, eta, jnp.broadcast_to(weight, y.shape))


def log_kernel(rows: Rows, eta: Predictors, phi: Array) -> Array:
    """Each row's share of the log-likelihood without its constant; shape (slot, chunk)."""
    return partials(rows, eta, phi, 0)[()]


def log_base(rows: Rows) -> Array:
    """The data's constant of the log-likelihood, a scalar."""
    family = rows.family
    if family.elementwise:
        base = family.log_base(rows.y, rows.weight)
    else:
        weight = jnp.broadcast_to(rows.weight, rows.y.shape)
        base = jax.vmap(jax.vmap(family.log_base))(rows.y, weight)
    return jnp.sum(jnp.where(rows.multiplier > 0, rows.multiplier * base, 0.0))


def score(rows: Rows, eta: Predictors, phi: Array) -> Predictors:
    """d log p / d eta_a."""
    found = partials(rows, eta, phi, 1)
    return tuple(found[(a,)] for a in range(len(eta)))


def score_and_weights(
    rows: Rows, eta: Predictors, phi: Array
) -> tuple[Predictors, tuple[Predictors, ...]]:
    """The score and W = -d^2 log p / d eta_a d eta_b (observed information)."""
    found = partials(rows, eta, phi, 2)
    return tuple(found[(a,)] for a in range(len(eta))), weights(found, len(eta))


def weights(found: Partials, num_predictors: int) -> tuple[Predictors, ...]:
    """W = -d^2 log p / d eta_a d eta_b of known derivatives."""
    axes = range(num_predictors)
    return tuple(tuple(-partial(found, a, b) for b in axes) for a in axes)
