"""What a factorisation is: the algebra of H = Lambda' Z' W Z Lambda + I for one sparsity."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxglmm.arrays import add
from jaxglmm.predictor import Effects, Predictors
from jaxglmm.rows import Rows


def pair_sums(a: Array, b: Array) -> Array:
    """sum(a_i * b_j) for every pair of entries of the leading axes."""
    axes = tuple(range(1, a.ndim))
    return jnp.tensordot(a, b, axes=(axes, axes), precision=lax.Precision.HIGHEST)


def pair_traces(a: Array) -> Array:
    """tr(a_i a_j) of matrices (matrix, row, column)."""

    def column(one: Array) -> Array:
        return jax.lax.map(lambda other: jnp.sum(other * one), a)

    # Transposed one at a time: a copy, where all at once would be read against the grain.
    return jax.lax.map(lambda one: column(one.T), a)


class Measured(NamedTuple):
    """log det H and its derivative."""

    logdet: Array
    inverse: Any  # `selected_inverse`
    error: Array  # standard error of `logdet`, zero where it is exact


@dataclasses.dataclass(frozen=True)
class AbstractFactor(abc.ABC):
    """Assemble, factorise, solve: one structure a class, a pytree of the index arrays it needs.

    A = Z'WZ, H = Lambda' A Lambda + I and its factor are pytrees that only the class itself looks
    into. `selected_inverse` holds the entries of H^-1 where H is not zero (or what `contract`,
    `spread` and `leverages` make them from), all that the gradient of log det H needs:
    d log det H = sum(selected_inverse * dH).
    """

    @property
    def by_level(self) -> bool:
        """Levels are independent, with sums of third order for each (`cubic`)."""
        return False

    @property
    def column_cost(self) -> float:
        """Cost of a column of the outer Hessian, in evaluations of value and gradient."""
        return 1.5

    keeps: ClassVar[bool] = False
    """Factorising costs far more than a pass over the rows: the mode finder takes steps with a
    factor of an earlier point as long as they converge fast."""

    coupled: ClassVar[bool] = False
    """Components of `inner` share unknowns: the mode finder judges a step by all of them."""

    @abc.abstractmethod
    def gram(self, rows: Rows, W: tuple[Predictors, ...]) -> Any:
        """A = Z'WZ; linear in W."""

    def cubic(self, rows: Rows, T: tuple[tuple[Predictors, ...], ...]) -> Any:
        """Z'(T z)Z for every column z of Z, a third derivative; where `by_level`."""
        raise TypeError(f"{type(self).__name__} has no third-order sums by level")

    def moved(self, A: Any, cubic: Any, v: Effects) -> Any:
        """A - sum over the columns of Z'(T z)Z v_z; where `by_level`."""
        raise TypeError(f"{type(self).__name__} has no third-order sums by level")

    def contract_cubic(self, P: Any, cubic: Any) -> Effects:
        """tr(P Z'(T z)Z) for every column z of every level; where `by_level`."""
        raise TypeError(f"{type(self).__name__} has no third-order sums by level")

    @abc.abstractmethod
    def penalise(self, A: Any, factors: tuple[Array, ...]) -> Any:
        """H = Lambda' A Lambda + I."""

    def slopes(self, A: Any, factors: tuple[Array, ...], P: Any) -> tuple[Array, ...]:
        """Derivatives of tr(P H) in the relative factors, P = H^-1 held: those of log det H."""

        def trace(factors: tuple[Array, ...]) -> Array:
            return jnp.sum(self.contract(P, self.penalise(A, factors)))

        return jax.grad(trace)(factors)

    def assemble(self, rows: Rows, factors: tuple[Array, ...], W: tuple[Predictors, ...]) -> Any:
        """H from the relative factors and the weights."""
        return self.penalise(self.gram(rows, W), factors)

    @abc.abstractmethod
    def spread(self, P: Any, factors: tuple[Array, ...]) -> Any:
        """Q = Lambda P Lambda', on the same sparsity."""

    @abc.abstractmethod
    def leverages(self, rows: Rows, Q: Any) -> tuple[Predictors, ...]:
        """h_ab = z_a' Q z_b of every row, by pair of predictors: the transpose of `gram`."""

    @abc.abstractmethod
    def times(self, M: Any, a: Effects) -> Effects:
        """M a for a matrix of this structure."""

    @abc.abstractmethod
    def factorise(self, H: Any) -> Any:
        """The factor of H; NaN where H is not positive definite."""

    @abc.abstractmethod
    def factorise_safely(self, H: Any) -> Any:
        """The factor of H, or of a positive definite stand-in where H is not."""

    @abc.abstractmethod
    def solve(self, factor: Any, g: Effects) -> Effects:
        """H^-1 g."""

    def solve_each(self, factor: Any, columns: Effects) -> Effects:
        """H^-1 g of every g along a leading axis; nothing where there are no random effects."""
        return jax.lax.map(lambda g: self.solve(factor, g), columns) if columns else ()

    @abc.abstractmethod
    def logdet(self, factor: Any) -> Array:
        """log det H."""

    @abc.abstractmethod
    def selected_inverse(self, factor: Any) -> Any:
        """The entries of H^-1 on the sparsity of H."""

    def measure(self, factor: Any) -> Measured:
        """`logdet` and `selected_inverse` together, as one estimate where they are estimates."""
        logdet = self.logdet(factor)
        return Measured(logdet, self.selected_inverse(factor), jnp.zeros_like(logdet))

    def trace_products(self, H: Any, factor: Any, P: Any, moved: Any) -> Array:
        """tr(P dH_i P dH_j), P = H^-1, of tangents of H along a leading axis; (tangent, tangent).

        As dP = -P dH P, these are -sum(dP_i * dH_j), with the tangent of the selected inverse.
        """
        del factor, P
        push = jax.linearize(lambda M: self.selected_inverse(self.factorise(M)), H)[1]

        def row(one: Any) -> Array:
            pushed = push(one)
            return jax.vmap(lambda other: -jnp.sum(self.contract(pushed, other)))(moved)

        return jax.lax.map(row, moved)

    def rough_trace_products(self, factor: Any, moved: Any) -> Array:
        """An estimate of `trace_products`, for a metric; where the factor `keeps`."""
        raise TypeError(f"{type(self).__name__} has no estimate of traces")

    def curves(self, num_directions: int) -> bool:
        """Whether `along_factors` is there, and cheaper than `trace_products`."""
        del num_directions
        return False

    def along_factors(
        self,
        A: Any,
        factors: tuple[Array, ...],
        factor: Any,
        moved: tuple[Array, ...],
        beside: tuple[Effects, Effects] | None = None,
    ) -> Array:
        """d2 log det H along every pair of directions of the relative factors, A held; `moved` has
        them along a leading axis, (direction, direction). `beside` is that of `curved`, columns
        along a leading axis."""
        raise TypeError(f"{type(self).__name__} has no second derivatives along factors")

    @abc.abstractmethod
    def contract(self, P: Any, H: Any) -> Array:
        """sum(P * H), the trace of P H, in one part or more (one a level where `by_level`)."""

    def inner(self, rows: Rows, a: Effects, b: Effects) -> Array:
        """Inner products a . b within each independent component of H, here one; (component,)."""
        del rows
        return add(jnp.sum(v * w) for v, w in zip(a, b, strict=True))[None]

    def per_component(self, rows: Rows, values: Array, a: Effects) -> Effects:
        """Multiply each component of `a` by its own value."""
        del rows
        return tuple(values[0] * part for part in a)

    @abc.abstractmethod
    def covariance_blocks(self, factor: Any) -> Effects:
        """Diagonal blocks of H^-1: one (latent, latent, level) array per grouping factor."""
