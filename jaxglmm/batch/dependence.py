"""Which results of a function depend on its argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core


def depends(function: Callable[[Any], Any], argument: Any) -> list[bool]:
    """For each leaf of function(argument) whether it depends on the argument: on what else the
    function closes over it may. An operation's results all depend on all of its inputs."""
    jaxpr = jax.make_jaxpr(function)(argument).jaxpr
    touched = set(jaxpr.invars)

    def hit(atoms: Any) -> bool:
        return any(not isinstance(a, core.Literal) and a in touched for a in atoms)

    for equation in jaxpr.eqns:
        if hit(equation.invars):
            touched.update(equation.outvars)
    return [hit([out]) for out in jaxpr.outvars]
