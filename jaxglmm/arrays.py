"""The type of what pytrees carry, and sums of it."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable
from typing import Any, TypeAlias

AnyArray: TypeAlias = Any
"""A NumPy array on the host, a JAX array on a device, or a tracer inside a program: a pytree's
leaf is each of them in turn, and no static type covers the three."""


def add(terms: Iterable[AnyArray]) -> AnyArray:
    """The sum of one array or more, without the integer zero that `sum` starts from."""
    return functools.reduce(operator.add, terms)


def plus(a: tuple[AnyArray, ...], b: tuple[AnyArray, ...]) -> tuple[AnyArray, ...]:
    """Sums, part by part."""
    return tuple(v + w for v, w in zip(a, b, strict=True))


def minus(a: tuple[AnyArray, ...], b: tuple[AnyArray, ...]) -> tuple[AnyArray, ...]:
    """Differences, part by part."""
    return tuple(v - w for v, w in zip(a, b, strict=True))
