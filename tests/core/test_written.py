"""What is written to memory is what it was, and is computed once."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxglmm.written import written

VALUES = {"a": np.array([np.nan, 1.0, -0.0, np.inf]), "b": (np.zeros((0, 3)), np.full((2, 2), 3.0))}


@pytest.mark.parametrize("way", [written, jax.jit(written)])
def test_nothing_changes(way):
    found = way(VALUES)
    assert jax.tree.structure(found) == jax.tree.structure(VALUES)
    for new, old in zip(jax.tree.leaves(found), jax.tree.leaves(VALUES), strict=True):
        np.testing.assert_array_equal(new, old)
        np.testing.assert_array_equal(np.signbit(new), np.signbit(old))
    assert way({"none": np.zeros((0,))})["none"].shape == (0,)


def test_in_batches_of_batches_with_what_all_share():
    x, shared = np.arange(24.0).reshape(2, 3, 4), np.arange(4.0)

    def both(row):
        own, others = written((2.0 * row, shared))
        return own + others

    found = jax.jit(jax.vmap(jax.vmap(both)))(x)
    np.testing.assert_array_equal(found, 2.0 * x + shared)


def test_derivatives_are_those_of_the_identity():
    x = jnp.array([0.3, -1.2])

    def f(x):
        return jnp.sum(jnp.sin(written(x * x)))

    def plain(x):
        return jnp.sum(jnp.sin(x * x))

    for derivative in (jax.grad, jax.hessian, lambda g: jax.jacfwd(jax.grad(g))):
        np.testing.assert_allclose(derivative(f)(x), derivative(plain)(x), rtol=1e-6)
    push = jax.linearize(lambda x: written(3.0 * x), x)[1]
    np.testing.assert_allclose(jax.linear_transpose(push, x)(x)[0], 3.0 * x)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="only there anything is done")
@pytest.mark.parametrize("way", [written, lambda x: x])
def test_readers_do_not_compute_it_anew(way):
    """Products with all pairs of a chain of operations: fused, each pair goes through the chain."""

    def pairs(x):
        chain = x
        for _ in range(5):
            chain = chain * x + 1.0
        left = way(chain)
        return left[:, None, :] * left[None, :, :]

    program = jax.jit(jax.vmap(pairs)).lower(np.ones((32, 5, 16))).compile().as_text()
    loops = [
        part for part in program.split("\n\n") if "[32,5,5,16]" in part and "multiply(" in part
    ]
    assert len(loops) == 1
    assert (loops[0].count("multiply(") == 1) == (way is written)
