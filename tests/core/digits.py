"""Functions in 60 digits by mpmath, over arrays, beside derivatives by JAX."""

from __future__ import annotations

import jax
import mpmath as mp
import numpy as np
import pytest

mp.mp.dps = 60


def exactly(f, *arguments):
    """An mpmath function over arrays, rounded once."""
    return np.vectorize(lambda *xs: float(f(*(mp.mpf(float(x)) for x in xs))))(
        *map(np.asarray, arguments)
    )


def derivatives(f, order):
    """[f, f', ..., f^(order)] over an array."""
    functions = [f]
    for _ in range(order):
        functions.append(jax.grad(functions[-1]))
    return [jax.jit(jax.vmap(g)) for g in functions]


def exact_derivative(f, order):
    """The derivative of an mpmath function over an array."""
    return lambda x: exactly(lambda v: mp.diff(f, v, order) if order else f(v), x)


ORDERS = pytest.mark.parametrize("order", range(5))
