"""The type of what pytrees carry."""

from __future__ import annotations

from typing import Any, TypeAlias

AnyArray: TypeAlias = Any
"""A NumPy array on the host, a JAX array on a device, or a tracer inside a program: a pytree's
leaf is each of them in turn, and no static type covers the three."""
