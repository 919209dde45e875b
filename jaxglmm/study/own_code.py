"""What tells functions of the user's own apart: their code, and what it rests on."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import types
from collections.abc import Iterator
from typing import Any

import numpy as np


def digest(value: Any) -> str:
    """The same for the same code with the same constants, in one version of Python.

    Seen are defaults, closures, and functions of the same module that it calls; not numbers that
    it reads from the module, nor base classes.

    Args:
        value: a function, or an object that holds some, such as a family or a link.
    """
    parts = "\n".join(_parts(value, set()))
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def _parts(value: Any, seen: set[int]) -> Iterator[str]:
    if id(value) in seen:
        return
    if isinstance(value, types.FunctionType):
        seen.add(id(value))
        yield from _of_code(value.__code__, value, seen)
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        for rest in (value.__defaults__, value.__kwdefaults__, *cells):
            yield from _parts(rest, seen)
    elif isinstance(value, types.MethodType):
        yield from _parts(value.__func__, seen)
        yield from _parts(value.__self__, seen)
    elif isinstance(value, functools.partial):
        yield from _parts((value.func, value.args, value.keywords), seen)
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _parts(one, seen)
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            yield str(key)
            yield from _parts(value[key], seen)
    elif isinstance(value, np.ndarray) or hasattr(value, "__array__"):
        yield repr(np.asarray(value).tolist())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        seen.add(id(value))
        yield from _of_class(type(value), seen)
        for field in dataclasses.fields(value):
            yield field.name
            yield from _parts(getattr(value, field.name), seen)
    elif isinstance(value, types.CodeType):
        yield from _of_code(value, None, seen)
    else:
        yield type(value).__qualname__ if " at 0x" in repr(value) else repr(value)


def _of_code(code: types.CodeType, of: types.FunctionType | None, seen: set[int]) -> Iterator[str]:
    """Also of the functions of the same module that it calls."""
    yield code.co_code.hex()
    yield repr(code.co_names)
    for constant in code.co_consts[of is not None and of.__doc__ is not None :]:
        yield from _parts(constant, seen)
    if of is None:
        return
    for used in (of.__globals__.get(name) for name in code.co_names):
        if isinstance(used, types.FunctionType) and used.__module__ == of.__module__:
            yield from _parts(used, seen)


def _of_class(kind: type, seen: set[int]) -> Iterator[str]:
    """The methods of a class that is not the library's."""
    yield kind.__qualname__
    if kind.__module__.partition(".")[0] == "jaxglmm":
        return
    for name, method in sorted(vars(kind).items()):
        if isinstance(method, types.FunctionType) and not name.startswith("__"):
            yield name
            yield from _parts(method, seen)
