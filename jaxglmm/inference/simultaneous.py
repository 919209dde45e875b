"""Tails of the largest of several correlated t statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxglmm.inference.quantiles import f_tail, t_quantile, t_tail

_EIGENVALUE = 1e-9  # of a correlation matrix: below it a direction is none
_EVALUATIONS = 2**21  # functions times directions
_LEAST, _MOST = 2**12, 2**18  # directions
_NODES = 2**14  # of a table of the tail: linear between them to 1e-6 of the tail at c = 8


class Largest(NamedTuple):
    """The law of max_i |T_i|, or of max_i T_i, T multivariate t with correlation matrix R = A A'.

    For directions u spread evenly over the sphere, lengths |a_i' u| lie in [0, 1]. With u goes -u.

    Attributes:
        longest: share of directions whose longest length, of max T_i among those with a_i' u > 0,
            lies at each node of [0, 1]; (node,).
        below: for max T_i the same of the shortest length where all a_i' u < 0, else of 0; (node,).
        all: the same of all lengths, which adds up to the number of functions.
        some: a_i' u in some of the directions; shape (direction, function).
        rank: of R.
        one_sided: whether it is the law of max T_i.
    """

    longest: np.ndarray
    below: np.ndarray
    all: np.ndarray
    some: np.ndarray
    rank: int
    one_sided: bool = False

    def tail(self, c: float, df: float) -> float:
        """P(max_i |T_i| > c) or P(max_i T_i > c), df degrees of freedom or infinitely many.

        T = A u rho / s with u uniform on the sphere, rho^2 ~ chi2(r) and s^2 ~ chi2(df) / df, so
        that rho^2 / (r s^2) ~ F(r, df), and given u a function exceeds c with the probability

            e_i = P(F(r, df) > c^2 / (r |a_i' u|^2)),     E[e_i] = 2 P(t(df) > c).

        The answer is E[max_i e_i] (Deak 1980, Numer. Math. 35:35-47; Genz & Bretz 2009, section
        4.1), taken over quasi-random u, with sum_i e_i, whose mean is known, as a control variate:
        far out, where the two are nearly one, its error is small relative to the tail.
        Distribution functions of singular normal laws by other quasi-random rules are off by
        some 1e-5 whatever the tail. Of max T_i the maximum is over those with a_i' u > 0; where
        c < 0 it is one less the probability that all are below c.
        """
        length = np.linspace(0.0, 1.0, len(self.all))
        with np.errstate(divide="ignore", invalid="ignore"):
            table = np.where(length > 0, f_tail((c / length) ** 2, self.rank, df), 0.0)
        if self.one_sided and c < 0:
            return 1.0 - float(self.below @ table)
        some = np.interp(np.abs(self.some), length, table)
        largest, total = self._of_directions(some), np.sum(some, axis=1)
        apart = total - np.mean(total)
        spread = float(apart @ apart)
        slope = float(apart @ largest) / spread if spread > 0 else 0.0
        known = 2.0 * self.some.shape[1] * float(t_tail(np.asarray(c), np.asarray(df)))
        exceeded = float(self.longest @ table) + slope * (known - float(self.all @ table))
        return float(np.clip(exceeded, 0.0, 1.0))

    def _of_directions(self, e: np.ndarray) -> np.ndarray:
        """The largest of (direction, function), for u and -u."""
        if not self.one_sided:
            return np.max(e, axis=1)
        ahead, behind = (np.max(np.where(sign * self.some > 0, e, 0.0), axis=1) for sign in (1, -1))
        return 0.5 * (ahead + behind)

    def quantile(self, level: float, df: float) -> float:
        """c with a tail of 1 - level; between those of one function and of Bonferroni."""
        alpha, number = 1.0 - level, self.some.shape[1]
        share = alpha if self.one_sided else 0.5 * alpha
        low, high = (float(t_quantile(share / m, df)) for m in (1, number))
        if self.tail(low, df) <= alpha or not low < high:
            return low
        if self.tail(high, df) >= alpha:
            return high
        return crossing(lambda c: self.tail(c, df) - alpha, low, high)


def largest_of(correlation: np.ndarray, *, one_sided: bool = False) -> Largest:
    """The law for a correlation matrix (function, function), singular or not."""
    values, vectors = np.linalg.eigh(correlation)
    kept = values > _EIGENVALUE * values[-1]
    A = vectors[:, kept] * np.sqrt(values[kept])
    A = A / np.sqrt(np.sum(A**2, axis=1, keepdims=True))
    number = int(np.clip(_EVALUATIONS // len(A), _LEAST, _MOST))
    along = np.clip(_directions(A.shape[1], number) @ A.T, -1.0, 1.0)
    highest, lowest = np.max(along, axis=1), np.min(along, axis=1)
    both = np.concatenate([highest, -lowest])
    longest = np.maximum(both, 0.0) if one_sided else np.maximum(highest, -lowest)
    shortest = np.maximum(np.concatenate([-highest, lowest]), 0.0)
    every = _at_nodes(np.abs(along)) * len(A)
    some, rank = along[:_LEAST], A.shape[1]
    return Largest(_at_nodes(longest), _at_nodes(shortest), every, some, rank, one_sided)


def _at_nodes(lengths: np.ndarray) -> np.ndarray:
    """Shares of lengths at the nodes, each divided between its neighbours: products with a table
    are means of linear interpolations."""
    place = lengths.ravel() * (_NODES - 1)
    below = np.minimum(place.astype(np.int64), _NODES - 2)
    share = np.bincount(below, minlength=_NODES)
    above = np.bincount(below, place - below, minlength=_NODES)
    moved = np.concatenate([[0.0], above[:-1]])
    return (share - above + moved) / lengths.size


def _directions(rank: int, number: int) -> np.ndarray:
    """Points of the unit sphere up to their sign, (about number, rank); the same in every call."""
    if rank == 1:
        return np.ones((1, 1))
    if rank == 2:
        angle = np.pi * (np.arange(number) + 0.5) / number
        return np.column_stack([np.cos(angle), np.sin(angle)])
    from scipy import special
    from scipy.stats import qmc

    cube = qmc.Sobol(rank, scramble=True, rng=np.random.default_rng(1))
    normal = special.ndtri(cube.random_base2(int(np.log2(number))))
    return normal / np.sqrt(np.sum(normal**2, axis=1, keepdims=True))


def crossing(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function changes its sign between `low` and `high`."""
    from scipy import optimize

    return optimize.brentq(function, low, high, xtol=1e-9)  # pyright: ignore[reportReturnType]
