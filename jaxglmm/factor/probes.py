"""Averages over vectors of signs, one a probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.factor import joined
from jaxglmm.predictor import Effects


def average(probes: Effects, one: Callable[[Array], Any], like: Any) -> Any:
    """The mean of one(z) over the probes, in shapes of `like`; one at a time, as memory is dear."""
    dtype = jax.tree.leaves(like)[0].dtype

    def more(total: Any, probe: Effects) -> tuple[Any, None]:
        z = joined.join(tuple(p.astype(dtype) for p in probe))
        return jax.tree.map(jnp.add, total, one(z)), None

    none = jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), like)
    total, _ = jax.lax.scan(more, none, probes)
    return jax.tree.map(lambda v: v / probes[0].shape[0], total)
