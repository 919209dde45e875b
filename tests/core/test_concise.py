"""Programs without repetitions give the same values by fewer operations."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jaxglmm.concise import concise


def operations(jaxpr):
    """Names of all primitive operations, calls taken apart."""
    names = []
    for equation in jaxpr.eqns:
        inner = list(core.jaxprs_in_params(equation.params))
        names += [n for j in inner for n in operations(j)] if inner else [equation.primitive.name]
    return names


def names_of(f, *arguments):
    return operations(jax.make_jaxpr(f)(*arguments).jaxpr)


X = jnp.linspace(0.5, 2.0, 4)


def wasteful(x):
    unused = jnp.tan(x)
    del unused
    first = jnp.exp(x) * jnp.log(x)
    return {"a": jnp.where(x > 1.0, first, jnp.exp(x)), "b": (jnp.log(x) + jnp.exp(x), x)}


def test_values_stay_and_repetitions_go():
    values = jax.jit(concise(wasteful))(X)
    jax.tree.map(np.testing.assert_allclose, values, jax.jit(wasteful)(X))
    names = names_of(concise(wasteful), X)
    assert names.count("exp") == names.count("log") == 1
    assert "tan" not in names


def test_numbers_that_nearly_agree_are_not_one():
    def f(x):
        return jnp.where(x == 1.0000000000000002, 2.0, 3.0), jnp.where(x == 1.0, 2.0, 3.0)

    with jax.enable_x64(True):
        found = concise(f)(jnp.array([1.0, 1.0000000000000002], jnp.float64))
    np.testing.assert_array_equal(found, [[3.0, 2.0], [2.0, 3.0]])


def test_a_nest_of_derivatives_has_each_order_once():
    @jax.custom_jvp
    def f(x):
        return jnp.sin(x)

    f.defjvp(lambda x, dx: (f(x[0]), jnp.cos(x[0]) * dx[0]))

    def fourth(x):
        for_each = jax.grad(jax.grad(jax.grad(jax.grad(f))))
        return jax.vmap(for_each)(x)

    np.testing.assert_allclose(jax.jit(concise(fourth))(X), np.sin(X), rtol=1e-6)
    assert len(names_of(concise(fourth), X)) < len(names_of(fourth, X))


def test_values_behind_a_barrier_are_those_of_a_call():
    def f(x):
        once = jax.lax.optimization_barrier((jnp.exp(x), jnp.sin(x)))
        return once[0] + 1.0, once[0] * x

    values = jax.jit(concise(f))(X)
    np.testing.assert_allclose(values[1], jnp.exp(X) * X, rtol=1e-6)
    names = names_of(concise(f), X)
    assert names.count("exp") == 1
    assert "sin" not in names


def test_under_vmap_and_in_a_loop():
    def looped(x):
        return jax.lax.fori_loop(0, 3, lambda _, v: concise(wasteful)(v)["b"][0], x)

    def plain(x):
        return jax.lax.fori_loop(0, 3, lambda _, v: wasteful(v)["b"][0], x)

    both = jnp.stack([X, 2 * X])
    np.testing.assert_allclose(jax.vmap(looped)(both), jax.vmap(plain)(both), rtol=1e-6)
