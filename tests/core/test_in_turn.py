"""Batched LAPACK calls become loops, wherever they stand, and nothing else changes."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxglmm.batch.in_turn import in_turn


def positive(batch: tuple[int, ...], n: int = 4) -> np.ndarray:
    A = np.random.default_rng(n).normal(size=(*batch, n, n))
    return A @ np.swapaxes(A, -1, -2) + np.eye(n)


def plain(M: Any) -> Any:
    L = jnp.linalg.cholesky(M)
    values, _ = jnp.linalg.eigh(M)
    return jax.scipy.linalg.solve_triangular(L, M), values, jnp.linalg.svd(M, compute_uv=False)


def looped(M: Any) -> Any:
    """Each matrix halved until its largest eigenvalue is below one: a batched predicate."""

    def one(m: Any) -> Any:
        return jax.lax.while_loop(
            lambda s: jnp.linalg.eigvalsh(s)[-1] > 1.0,
            lambda s: 0.5 * jnp.linalg.cholesky(s) @ jnp.linalg.cholesky(s).T,
            m,
        )

    return jax.vmap(one)(M)


def scanned(M: Any) -> Any:
    step = lambda c, m: (c + jnp.linalg.cholesky(M)[0, 0, 0], jnp.linalg.eigvalsh(m))  # noqa: E731
    return jax.lax.scan(step, 0.0, M[:, None])


def chosen(M: Any) -> Any:
    return jax.lax.cond(M[0, 0, 0] > 0, lambda m: jnp.linalg.cholesky(m), lambda m: m, M)


def solved(M: Any) -> Any:
    """By a solver whose programs are a named tuple among the parameters of an operation."""

    def by_cholesky(_: Any, b: Any) -> Any:
        return jax.vmap(jax.scipy.linalg.cho_solve, in_axes=((0, None), 0))(
            (jnp.linalg.cholesky(M), True), b
        )

    product = lambda x: jnp.einsum("mij,mj->mi", M, x)  # noqa: E731
    return jax.lax.custom_linear_solve(product, M[:, 0], by_cholesky, symmetric=True)


def calls(jaxpr: Any) -> list[tuple[int, ...]]:
    """Shapes that LAPACK's primitives take, in all programs within."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("cholesky", "eigh", "svd", "triangular_solve", "lu"):
            found.append(equation.invars[0].aval.shape)
        for value in equation.params.values():
            for one in value if isinstance(value, tuple) else (value,):
                if hasattr(one, "jaxpr"):
                    found += calls(one.jaxpr)
    return found


@pytest.mark.parametrize("f", [plain, jax.jit(plain), looped, scanned, chosen, solved])
def test_one_matrix_at_a_time(f: Any) -> None:
    M = positive((6,))
    shapes = calls(jax.make_jaxpr(in_turn(f))(M).jaxpr)
    assert shapes and all(math.prod(shape[:-2]) == 1 for shape in shapes)
    assert any(math.prod(shape[:-2]) > 1 for shape in calls(jax.make_jaxpr(f)(M).jaxpr))
    for a, b in zip(
        jax.tree.leaves(jax.jit(f)(M)), jax.tree.leaves(jax.jit(in_turn(f))(M)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-11)


def test_what_takes_one_matrix_stays_as_it_is() -> None:
    def f(m: Any) -> Any:
        return jax.lax.fori_loop(0, 3, lambda _, s: jnp.linalg.cholesky(s @ s.T), m)

    M = positive(())
    assert str(jax.make_jaxpr(f)(M)) == str(jax.make_jaxpr(in_turn(f))(M))
