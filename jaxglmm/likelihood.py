"""The law over all rows: its density and its derivatives, by autodiff of the scalar law.

eta is a tuple of m arrays; first derivatives are a tuple of m, second derivatives a tuple of m
tuples. Rows of multiplier zero contribute exact zeros.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.families import AbstractFamily
from jaxglmm.predictor import Predictors
from jaxglmm.rows import Rows

Index = tuple[int, ...]
Partials = dict[Index, Array]


def partials(rows: Rows, eta: Predictors, phi: Array, order: int, num_own: int = 0) -> Partials:
    """All partial derivatives of log_kernel up to `order`, row by row.

    The variables are numbered: eta_0, ..., eta_(m-1), then phi_0, phi_1, ...; a derivative is
    filed under its descending index, the value itself under (). `num_own` is how often phi may
    appear in an index.
    """
    variables = range(len(eta) + phi.shape[0])
    found: Partials = {}
    for path in itertools.combinations_with_replacement(reversed(variables), order):
        if sum(i >= len(eta) for i in path) > num_own:
            continue
        # Differentiating in descending order makes every prefix of the path an index of its own.
        chain = _chain(rows.family, path, rows.y, eta, phi, rows.weight)
        for length, values in enumerate(chain):
            if path[:length] not in found:
                found[path[:length]] = rows.multiplier * values
    return found


def partial(found: Partials, *index: int) -> Array:
    """One of the derivatives of `partials`, its index in any order."""
    return found[tuple(sorted(index, reverse=True))]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _chain(
    family: AbstractFamily, path: Index, y: Array, eta: Predictors, phi: Array, weight: Array
) -> tuple[Array, ...]:
    """log_kernel and its derivatives along the prefixes of `path`.

    A program of its own, so that JAX traces a law once however often the engine asks for it.
    """

    def law(x: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        return _elementwise(family, y, x[: len(eta)], x[len(eta) :], weight), ()

    f: Callable[..., tuple[Array, tuple[Array, ...]]] = law
    for i in path:
        f = functools.partial(_differentiate, f, i)
    last, lower = f((*eta, *phi))
    return (*lower, last)


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
    family: AbstractFamily, y: Array, eta: Predictors, phi: tuple[Array, ...], weight: Array
) -> Array:
    """log_kernel of every row."""
    own = jnp.stack(phi) if phi else jnp.zeros((0,), y.dtype)

    def scalar(y: Array, eta: Predictors, weight: Array) -> Array:
        return family.log_kernel(y, eta[0] if family.num_predictors == 1 else eta, own, weight)  # type: ignore[arg-type]

    law = scalar if family.elementwise else jax.vmap(jax.vmap(scalar))
    return law(y, tuple(jnp.broadcast_to(e, y.shape) for e in eta), weight)


def log_kernel(rows: Rows, eta: Predictors, phi: Array) -> Array:
    """Each row's share of the log-likelihood without its constant; shape (slot, chunk)."""
    return partials(rows, eta, phi, 0)[()]


def log_base(rows: Rows) -> Array:
    """The data's constant of the log-likelihood, a scalar."""
    family = rows.family
    law = family.log_base if family.elementwise else jax.vmap(jax.vmap(family.log_base))
    base = law(rows.y, rows.weight)
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
