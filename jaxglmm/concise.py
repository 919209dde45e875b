"""Smaller programs: each value computed once, and nothing that no output asks for.

A nest of derivatives writes the same values down many times: k of them along one direction hold
the derivative of order j some k! / (j! (k - j)!) times. XLA finds that out, but reading, inlining
and simplifying what it then throws away is most of the time that compiling a law takes. What many
results share it computes anew for each of them where that is arithmetic alone; on CPUs it does so
across an `optimization_barrier` too. Here values behind one are those of a call that stays a call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend import core

# Calls that are taken apart, and where they keep their programs.
_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
}
_BARRIER = "optimization_barrier"


def called(f: Callable[..., Any]) -> Callable[..., Any]:
    """The jitted f, and XLA is asked to leave the call one instead of writing f out in its place:
    its outputs are computed once, however often they are used. On CPUs, where that is known to
    serve."""

    @functools.wraps(f)
    def call(*arguments: Any) -> Any:
        if jax.default_backend() != "cpu":
            return f(*arguments)
        with set_xla_metadata(inlineable="false"):
            return f(*arguments)

    return call


def concise(f: Callable[..., Any]) -> Callable[..., Any]:
    """f without repetitions, for values alone: derivative rules within it are lost.

    To be called while JAX traces a program of arrays.
    """

    @functools.wraps(f)
    def shortened(*arguments: Any) -> Any:
        closed, shape = jax.make_jaxpr(f, return_shape=True)(*arguments)
        program = _Program()
        inputs = [program.value(v) for v in jax.tree.leaves(arguments)]
        outputs = program.extend(closed.jaxpr, closed.consts, inputs)
        return jax.tree.unflatten(jax.tree.structure(shape), program.run(outputs, inputs))

    return shortened


class _Operation(NamedTuple):
    """A primitive operation; values are numbers."""

    equation: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class _Program:
    """Operations in order, all different."""

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}  # values that no operation makes
        self._operations: list[_Operation] = []
        self._barred: set[int] = set()  # values behind a barrier
        self._numbers: dict[Hashable, int] = {}
        self._outputs: dict[Hashable, tuple[int, ...]] = {}
        self._count = 0

    def _new(self) -> int:
        self._count += 1
        return self._count

    def value(self, given: Any, key: Hashable = None) -> int:
        """The number of an argument or constant; equal keys have equal values."""
        key = id(given) if key is None else key
        if key not in self._numbers:
            self._numbers[key] = self._new()
            self._known[self._numbers[key]] = given
        return self._numbers[key]

    def extend(self, jaxpr: Any, consts: Sequence[Any], inputs: Sequence[int]) -> list[int]:
        """Append a program; returns the numbers of its outputs."""
        numbers = dict(zip(jaxpr.constvars, map(self.value, consts), strict=True))
        numbers.update(zip(jaxpr.invars, inputs, strict=True))

        def read(atom: Any) -> int:
            if not isinstance(atom, core.Literal):
                return numbers[atom]
            return self.value(atom.val, (str(atom.aval), np.asarray(atom.val).tobytes()))

        for equation in jaxpr.eqns:
            arguments = tuple(map(read, equation.invars))
            inner = _CALLS.get(equation.primitive.name)
            if inner is None:
                outputs = self._operation(equation, arguments)
            else:
                program = equation.params[inner]
                outputs = self.extend(program.jaxpr, program.consts, arguments)
            numbers.update(zip(equation.outvars, outputs, strict=True))
        return list(map(read, jaxpr.outvars))

    def _operation(self, equation: Any, inputs: tuple[int, ...]) -> tuple[int, ...]:
        """The outputs of an operation: those of an earlier one if it is the same."""
        if equation.primitive.name == _BARRIER:
            self._barred.update(inputs)
            return inputs
        key = (equation.primitive, inputs, _hashable(equation.params))
        known = self._outputs.get(key)
        if known is None or equation.effects:
            known = self._outputs[key] = tuple(self._new() for _ in equation.outvars)
            self._operations.append(_Operation(equation, inputs, known))
        return known

    def run(self, outputs: list[int], inputs: list[int]) -> list[Any]:
        """The values of some outputs: those behind barriers first, by a call of their own."""
        inputs = list(dict.fromkeys(inputs))
        last = self._needed(outputs, self._barred)
        barred = self._barred.intersection({*outputs}.union(*(o.inputs for o in last)))
        asked = sorted(barred - self._known.keys())
        values = dict(self._known)
        if asked:

            def first(*arguments: Any) -> list[Any]:
                given = {**self._known, **dict(zip(inputs, arguments, strict=True))}
                return _evaluate(self._needed(asked, ()), asked, given)

            made = called(jax.jit(first))(*(values[i] for i in inputs))
            values.update(zip(asked, made, strict=True))
        return _evaluate(last, outputs, values)

    def _needed(self, outputs: Collection[int], given: Collection[int]) -> list[_Operation]:
        """The operations that some outputs rest on, where other values are given."""
        needed, kept = set(outputs).difference(given), []
        for operation in reversed(self._operations):
            if operation.equation.effects or not needed.isdisjoint(operation.outputs):
                needed.update(i for i in operation.inputs if i not in given)
                kept.append(operation)
        return kept[::-1]


def _evaluate(operations: list[_Operation], outputs: list[int], given: dict[int, Any]) -> list[Any]:
    values = dict(given)
    for equation, inputs, numbers in operations:
        params = equation.primitive.get_bind_params(equation.params)
        made = equation.primitive.bind(*(values[i] for i in inputs), **params)
        several = equation.primitive.multiple_results
        values.update(zip(numbers, made if several else [made], strict=True))
    return [values[i] for i in outputs]


def _hashable(params: dict[str, Any]) -> Hashable:
    """Equal for equal parameters; never equal where that cannot be told."""
    items = tuple(sorted(params.items()))
    try:
        hash(items)
    except TypeError:
        return id(params)
    return items
