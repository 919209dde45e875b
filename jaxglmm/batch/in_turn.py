"""Programs whose LAPACK calls take one matrix at a time.

jaxlib 0.10 shares a batch of matrices among the threads of XLA's pool and waits for them in one of
these threads. Programs side by side, or independent calls of one program, can all wait so, and
nobody is left to do the work: they hang for good (later versions do not). Here every batched call
becomes a loop over its matrices, after all derivatives and batching rules have done their part.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend import core

# Primitives that are calls of LAPACK on CPUs.
_LAPACK = {
    "cholesky",
    "eigh",
    "geqrf",
    "householder_product",
    "lu",
    "svd",
    "triangular_solve",
}


def in_turn(f: Callable[..., Any]) -> Callable[..., Any]:
    """f for values alone, its matrices one at a time: derivative rules within it are lost.

    To be called while JAX traces a program of arrays.
    """

    @functools.wraps(f)
    def rewritten(*arguments: Any) -> Any:
        closed, shape = jax.make_jaxpr(f, return_shape=True)(*arguments)
        outputs = _run(closed, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shape), outputs)

    return rewritten


def _run(closed: Any, arguments: Sequence[Any]) -> list[Any]:
    jaxpr, values = closed.jaxpr, {}
    values.update(zip(jaxpr.constvars, closed.consts, strict=True))
    values.update(zip(jaxpr.invars, arguments, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        with equation.ctx.manager:
            outputs = _outputs(equation, inputs)
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _outputs(equation: Any, inputs: list[Any]) -> list[Any]:
    if _is_batch(equation):
        return _one_by_one(equation, inputs)
    params = {name: _rewritten(value) for name, value in equation.params.items()}
    params = equation.primitive.get_bind_params(params)
    found = equation.primitive.bind(*inputs, **params)
    return list(found) if equation.primitive.multiple_results else [found]


def _rewritten(value: Any) -> Any:
    """A parameter of an operation, the programs in it rewritten if there is something to."""
    if isinstance(value, tuple) and any(isinstance(one, core.ClosedJaxpr) for one in value):
        parts = map(_rewritten, value)
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if not isinstance(value, core.ClosedJaxpr) or not _calls(value):
        return value
    return jax.make_jaxpr(lambda *inputs: _run(value, inputs))(*value.in_avals)


def _inner(params: Any) -> list[Any]:
    """The programs among the parameters of an operation."""
    values = [v if isinstance(v, tuple) else (v,) for v in params.values()]
    return [one for value in values for one in value if isinstance(one, core.ClosedJaxpr)]


@functools.lru_cache(1024)
def _calls(closed: Any) -> bool:
    """Whether a program has a call of LAPACK for several matrices."""
    return any(
        _is_batch(equation) or any(_calls(inner) for inner in _inner(equation.params))
        for equation in closed.jaxpr.eqns
    )


def _is_batch(equation: Any) -> bool:
    shapes = [atom.aval.shape for atom in equation.invars]
    return equation.primitive.name in _LAPACK and math.prod(shapes[0][:-2]) != 1


def _one_by_one(equation: Any, inputs: list[Any]) -> list[Any]:
    batch = inputs[0].shape[:-2]
    number = math.prod(batch)

    def one(of: list[Any]) -> Any:
        return equation.primitive.bind(*of, **equation.params)

    flat = [value.reshape(number, *value.shape[len(batch) :]) for value in inputs]
    found = jax.lax.map(one, flat)
    found = found if equation.primitive.multiple_results else [found]
    return [value.reshape(*batch, *value.shape[1:]) for value in found]
