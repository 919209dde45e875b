"""The linear predictor and its transpose: eta = X beta + Z b + offset, b = Lambda(theta) u.

Random effects b are a tuple with one array of shape (column, level) per grouping factor, spherical
ones u have shape (latent, level): Lambda need not be square. Where fixed effects are inner
variables (`Rows.inside`) they are one more member of both, shape (inside, 1), its Lambda the
identity and its columns those of X; beta among the parameters is then what is left. A linear
predictor is a tuple with one (slot, chunk) array per predictor of the law.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxglmm.arrays import AnyArray, add, plus
from jaxglmm.pattern import Nested
from jaxglmm.rows import UNROLLED, HasGroupings, Rows, by_term

Effects = tuple[AnyArray, ...]
Predictors = tuple[Array, ...]


def expand(rows: Rows, k: int, values: Array) -> Array:
    """Values of the levels of factor k, shape (level,), as seen by the rows (broadcastable)."""
    pattern = rows.pattern
    if k > 0 and isinstance(pattern, Nested):
        values = at_levels(values, pattern.ancestors(0, k))
    elif k > 0:
        return at_levels(values, rows.codes[k])
    return (values if rows.one_to_one else at_levels(values, rows.codes[0]))[None, :]


def at_levels(values: AnyArray, index: AnyArray) -> Array:
    """values[..., index] without a look for indices that count from the end, which would take
    XLA's CPU more time than the values themselves."""
    found = jnp.asarray(values).at[..., index]
    return found.get(mode="promise_in_bounds", wrap_negative_indices=False)


def reduce(rows: Rows, k: int, values: Array) -> Array:
    """Sums of row values over the levels of factor k: the transpose of `expand`."""
    num_levels = rows.groupings[k].num_levels
    pattern = rows.pattern
    if k > 0 and isinstance(pattern, Nested):
        up = pattern.ancestors(0, k)
        return jax.ops.segment_sum(reduce(rows, 0, values), up, num_levels)
    if k > 0:
        return jax.ops.segment_sum(values.ravel(), rows.codes[k].ravel(), num_levels)
    sums = _column_sums(values)
    if rows.one_to_one:
        return sums
    return jax.ops.segment_sum(sums, rows.codes[0], num_levels, indices_are_sorted=True)


def _column_sums(values: Array) -> Array:
    """Sums over slots.

    XLA's CPU reductions over a leading axis are slow (32 x 30,000: 7.2 ms). Two halvings fuse
    with the arithmetic that makes the values, and a product with ones does the rest (0.6 ms). These
    ones are made from the values, so that in a batch every member has its own: a product with
    what all members share would begin by transposing the values (2.5 times the time).
    """
    values = jnp.broadcast_to(values, jnp.broadcast_shapes(values.shape, (1, 1)))
    for _ in range(2):
        half = values.shape[0] // 2
        if half and values.shape[0] % 2 == 0:
            values = values[:half] + values[half:]
    if values.shape[0] == 1:
        return values[0]
    own = lax.stop_gradient(values[:, 0])
    ones = jnp.where(own == own, 1.0, jnp.ones_like(own))
    return jnp.matmul(ones, values, precision=lax.Precision.HIGHEST)


def total(rows: Rows, values: Array) -> Array:
    """The sum over all rows of row values, a scalar; padding counts if it is not zero."""
    return jnp.sum(_column_sums(jnp.broadcast_to(values, rows.y.shape)))


def relative_factors(rows: Rows, theta: Array) -> tuple[Array, ...]:
    """Lambda of each member of the effects, (column, latent)."""
    factors = factors_of_groups(rows, theta)
    if rows.fixed_inside:
        # Coefficients that are not free are zero, whatever u and their columns of X.
        factors += (jnp.diag(_some(rows.free, rows.inside).astype(rows.dtype)),)
    return factors


def factors_of_groups(rows: HasGroupings, theta: Array) -> tuple[Array, ...]:
    """Lambda of each grouping factor, (column, latent): its terms' L on the diagonal."""
    blocks: list[list[Array]] = [[] for _ in rows.groupings]
    for own in by_term(rows, theta):
        blocks[own.grouping].append(own.covariance.factor(own.theta, own.constants))
    return tuple(of[0] if len(of) == 1 else jax.scipy.linalg.block_diag(*of) for of in blocks)


def random_effects(factors: tuple[Array, ...], u: Effects) -> Effects:
    """b = Lambda u."""
    return tuple(map(_product, factors, u))


def transpose_lambda(factors: tuple[Array, ...], b: Effects) -> Effects:
    """Lambda' b."""
    return tuple(_product(factor.T, values) for factor, values in zip(factors, b, strict=True))


def _product(factor: Array, values: AnyArray) -> Array:
    """factor @ values, written out where there is little to it: a batch of products would transpose
    the values, and keep what is around it from vectorising."""
    if not 0 < factor.shape[1] <= UNROLLED:
        return factor @ values
    return add(factor[:, j, None] * values[j] for j in range(factor.shape[1]))


def sum_columns(
    rows: Rows, k: int, a: int, part: Array, of: Callable[[Array, Array], Array], values: Array
) -> Array:
    """part + sum of of(z, value) over the columns z of factor k that feed predictor a.

    `values` holds one value a column along its first axis. Many columns are a loop of the program,
    which reads each of them once; few are written out.
    """
    grouping = rows.groupings[k]
    columns = grouping.columns_of(a)
    if not grouping.wide:
        for column in columns:
            part = part + of(rows.Z[k][column], values[column])
        return part
    if not columns:
        return part

    def step(total: Array, column: Array) -> tuple[Array, None]:
        return total + of(rows.Z[k][column], values[column]), None

    whole = jnp.broadcast_to(part, rows.y.shape)
    return jax.lax.scan(step, whole, jnp.asarray(columns, jnp.int32))[0]


def by_column(rows: Rows, k: int, of: Callable[[Array, int], Any]) -> Any:
    """of(z, a) of every column z of factor k and the predictor a that it feeds, one array each.

    A loop of the program where columns are many; stacked in the order of the columns.
    """
    grouping = rows.groupings[k]
    if not grouping.wide:
        values = [of(rows.Z[k][column], a) for column, a in enumerate(grouping.predictors)]
        return jax.tree.map(lambda *each: jnp.stack(each), *values)
    order: list[int] = []
    parts = []
    for a in sorted(set(grouping.predictors)):
        columns = grouping.columns_of(a)
        index = jnp.asarray(columns, jnp.int32)
        parts.append(jax.lax.map(lambda column, a=a: of(rows.Z[k][column], a), index))
        order += columns
    joined = jax.tree.map(lambda *each: jnp.concatenate(each), *parts)
    ordered = order == sorted(order)
    return joined if ordered else jax.tree.map(lambda values: values[np.argsort(order)], joined)


def random_part(rows: Rows, b: Effects) -> Predictors:
    """Z b for every linear predictor."""
    parts = []
    for a in range(rows.family.num_predictors):
        part = jnp.zeros((1, 1), rows.dtype)
        for k, values in enumerate(b[: len(rows.groupings)]):
            part = sum_columns(rows, k, a, part, lambda z, v, k=k: z * expand(rows, k, v), values)
        parts.append(part)
    if rows.fixed_inside:
        return plus(tuple(parts), _combination(rows, rows.inside, b[-1][:, 0]))
    return tuple(parts)


def _combination(rows: Rows, which: tuple[int, ...], beta: Array) -> Predictors:
    """X beta for every linear predictor, beta being the coefficients of these columns of X."""
    parts = []
    for a in range(rows.family.num_predictors):
        places = [i for i, j in enumerate(which) if rows.predictors[j] == a]
        x = _some(rows.X, [which[i] for i in places])
        own = _some(beta, places)
        few = 0 < len(places) <= UNROLLED
        # Written out, as in `_product`: it vanishes in the arithmetic around it.
        parts.append(add(map(jnp.multiply, own, x)) if few else jnp.tensordot(own, x, axes=1))
    return tuple(parts)


def _some(values: Array, index: Sequence[int]) -> Array:
    """values[index], without a copy where that is all of them."""
    return values if len(index) == values.shape[0] else values[jnp.asarray(index, int)]


def fixed_part(rows: Rows, beta: Array) -> Predictors:
    """X beta + offset for every linear predictor, of the beta that are parameters."""
    return plus(fixed_change(rows, beta), offsets(rows)) if rows.outside else offsets(rows)


def fixed_change(rows: Rows, beta: Array) -> Predictors:
    """X beta for every linear predictor, of the beta that are parameters: without offset."""
    return _combination(rows, rows.outside, beta)


def offsets(rows: Rows) -> Predictors:
    """The offset of every linear predictor."""
    nothing = (jnp.zeros((1, 1), rows.dtype),) * (rows.family.num_predictors - 1)
    return (rows.offset, *(rows.offsets or nothing))


def fixed_column(rows: Rows, k: Array) -> Predictors:
    """d eta / d psi_k at fixed u for the k-th parameter: a column of X, zero beyond the last."""
    if not rows.outside:
        return (jnp.zeros((1, 1), rows.dtype),) * rows.family.num_predictors
    return _unit_column(rows, rows.outside, k)


def inner_column(rows: Rows, k: Array) -> Predictors:
    """The same for the k-th of the fixed effects that are inner variables."""
    return _unit_column(rows, rows.inside, k)


def _unit_column(rows: Rows, which: tuple[int, ...], k: Array) -> Predictors:
    """The k-th of these columns of X by the predictor that it feeds, zero beyond the last."""
    feeds = jnp.asarray([*(rows.predictors[j] for j in which), -1])[jnp.minimum(k, len(which))]
    place = jnp.minimum(k, len(which) - 1)
    column = rows.X[place if len(which) == rows.X.shape[0] else jnp.asarray(which)[place]]
    # A factor, not a `where`: that would keep XLA's CPU loops around it from vectorising.
    return tuple(
        (feeds == a).astype(rows.dtype) * column for a in range(rows.family.num_predictors)
    )


def linear_predictor(rows: Rows, beta: Array, b: Effects) -> Predictors:
    """eta of every linear predictor, shape (slot, chunk) each."""
    return plus(fixed_part(rows, beta), random_part(rows, b))


def transpose_random(rows: Rows, r: Predictors) -> Effects:
    """Z' r, the gradient in b of sum(r * eta)."""
    pulled = tuple(
        by_column(rows, k, lambda z, a, k=k: reduce(rows, k, z * r[a]))
        for k in range(len(rows.groupings))
    )
    if not rows.fixed_inside:
        return pulled
    return (*pulled, _transpose_columns(rows, rows.inside, r)[:, None])


def transpose_fixed(rows: Rows, r: Predictors) -> Array:
    """X' r, the gradient in beta of sum(r * eta), of the beta that are parameters."""
    return _transpose_columns(rows, rows.outside, r)


def _transpose_columns(rows: Rows, which: tuple[int, ...], r: Predictors) -> Array:
    """X' r of these columns of X."""
    pulled = jnp.zeros((len(which),), rows.dtype)
    if not which:
        return pulled
    x = _some(rows.X, which)
    for a, values in enumerate(r):
        mine = np.asarray([rows.predictors[j] == a for j in which], bool)
        if not mine.any():
            continue
        values = jnp.broadcast_to(values, rows.y.shape)
        if len(which) <= UNROLLED:
            # In a batch a product with so few columns takes longer than what it multiplies.
            none = jnp.zeros((), rows.dtype)
            own = [total(rows, values * c) if m else none for c, m in zip(x, mine, strict=True)]
            pulled = pulled + jnp.stack(own)
            continue
        # In this order: batched, the other one would copy the values across.
        pulled = pulled + jnp.where(mine, jnp.tensordot(values, x, axes=((0, 1), (1, 2))), 0.0)
    return pulled


def weigh(W: tuple[Predictors, ...], x: Predictors) -> Predictors:
    """W x, row by row."""
    return tuple(add(w * v for w, v in zip(row, x, strict=True)) for row in W)


def shrunk(rows: Rows, u: Effects) -> Effects:
    """The prior's precision times u: u itself, but for a beta inside, whose prior is flat.

    Coefficients of padding columns are held by a normal prior: they are zero and cost nothing.
    """
    if not rows.fixed_inside:
        return u
    held = jnp.where(_some(rows.free, rows.inside), 0.0, 1.0).astype(rows.dtype)
    return (*u[:-1], held[:, None] * u[-1])
