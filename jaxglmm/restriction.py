"""Parameters that are held at a value, and parameters that are one and the same."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxglmm.arrays import AnyArray

HELD = -1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Share:
    """full = values + M free for one vector of parameters (glmmTMB's map), M of zeros and ones.

    Attributes:
        values: what parameters are held at, zero for those that are free; shape (full,).
        index: of each parameter, its place among the free ones, or `HELD`; static. Those with the
            same place are equal. Places are numbered from zero in the order of their appearance.
    """

    values: AnyArray
    index: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @property
    def num_free(self) -> int:
        """Number of free parameters."""
        return max(self.index, default=HELD) + 1

    @property
    def trivial(self) -> bool:
        """Whether every parameter is free and itself."""
        return self.index == tuple(range(len(self.index)))

    @property
    def held(self) -> np.ndarray:
        """Which parameters are held; shape (full,)."""
        return np.asarray(self.index, int) == HELD

    @property
    def matrix(self) -> np.ndarray:
        """M; shape (full, free)."""
        return (np.asarray(self.index, int)[:, None] == np.arange(self.num_free)).astype(float)

    def push(self, free: AnyArray) -> AnyArray:
        """M free, along the first axis."""
        return _module(free).tensordot(self.matrix.astype(free.dtype), free, axes=1)

    def pull(self, full: AnyArray) -> AnyArray:
        """M' full, along the first axis."""
        return _module(full).tensordot(self.matrix.T.astype(full.dtype), full, axes=1)

    def expand(self, free: AnyArray) -> AnyArray:
        """The full vector, or those of many models along first axes; NumPy's where all arrays
        are."""
        both = _module(free, self.values)
        return both.asarray(self.values, free.dtype) + free @ self.matrix.T.astype(free.dtype)

    def collapse(self, full: AnyArray) -> AnyArray:
        """The free vector: the mean of those that are equal. Along the first axis."""
        return (self.pull(full).T / np.sum(self.matrix, axis=0).astype(full.dtype)).T

    def spread(self, V: np.ndarray) -> np.ndarray:
        """M V M', a covariance matrix of the full vector: zero for what is held, NaN as in V.

        Shape (..., free, free): of many models one by one.
        """
        place = np.asarray(self.index, int)
        full = np.pad(V, [(0, 0)] * (V.ndim - 2) + [(0, 1), (0, 1)])  # for held ones
        return full[..., place[:, None], place]


def _module(*arrays: AnyArray) -> Any:
    """NumPy for its own arrays, so that the host computes nothing in JAX."""
    return np if all(isinstance(array, np.ndarray) for array in arrays) else jnp


def all_free(num: int) -> Share:
    """No restriction at all."""
    return Share(np.zeros(num), tuple(range(num)))


def joined(*shares: Share, xp: Any = jnp) -> Share:
    """Of the parameters of several vectors, one after another; `xp` as in `rows.arrange`."""
    index: list[int] = []
    start = 0
    for share in shares:
        index += [HELD if place == HELD else start + place for place in share.index]
        start += share.num_free
    return Share(xp.concatenate([share.values for share in shares]), tuple(index))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Restriction:
    """Which parameters of a model are estimated, on the unconstrained scale of `Params`.

    The values are data, that programs need no compilation for; the pattern is static.
    """

    beta: Share
    theta: Share
    phi: Share

    @property
    def inner(self) -> bool:
        """Whether covariance parameters or the law's own are restricted."""
        return not (self.theta.trivial and self.phi.trivial)

    @property
    def trivial(self) -> bool:
        """Whether nothing is restricted."""
        return self.beta.trivial and not self.inner
