"""Random parts: whether the covariances of a model are among those of another.

By structure: an unstructured term holds every term of its grouping factor whose columns are linear
combinations of its own, since Cov(A b) = A Sigma A' for any Sigma; another term holds an equal one,
one of a narrower structure on the same columns, and single columns of its own where they may be
uncorrelated. A structure that these rules say nothing about counts as not nested.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxglmm.covariance import (
    AbstractCovariance,
    Autoregressive,
    CompoundSymmetry,
    Diagonal,
    HomogeneousCompoundSymmetry,
    HomogeneousDiagonal,
    Pattern,
    ReducedRank,
    Toeplitz,
    Unstructured,
)
from jaxglmm.covariance.spherical import Spherical
from jaxglmm.design import Problem
from jaxglmm.inference.nesting.within import NOT_WITHIN, Within, implies
from jaxglmm.inference.resampling import splits
from jaxglmm.rank import independent_columns
from jaxglmm.restriction import all_free

# structure -> those that hold it on the same columns, all its covariances inside their bounds.
_WIDER: dict[type[AbstractCovariance], tuple[type[AbstractCovariance], ...]] = {
    HomogeneousDiagonal: (
        Diagonal,
        HomogeneousCompoundSymmetry,
        CompoundSymmetry,
        Autoregressive,
        Toeplitz,
        Pattern,
    ),
    HomogeneousCompoundSymmetry: (CompoundSymmetry, Toeplitz),
    CompoundSymmetry: (Toeplitz,),
    Autoregressive: (Toeplitz,),
}
_ANY = (Unstructured, Spherical)
_UNCORRELATED = (Diagonal, CompoundSymmetry, Toeplitz, Pattern)


class _Block(NamedTuple):
    """A term in the rows that count; columns are (row, column), components one a column."""

    codes: np.ndarray
    columns: np.ndarray
    components: tuple[str, ...]
    covariance: AbstractCovariance
    constants: tuple[np.ndarray, ...]

    @property
    def single(self) -> bool:
        """A variance of one column, whatever the structure is called."""
        c = self.covariance
        return c.dim == c.rank == c.num_theta == 1 and not self.constants


def random_within(small: Problem, large: Problem) -> Within:
    """Of the random parts of two models of the same rows and weights."""
    blocks, theirs = _blocks(small), _blocks(large)
    if large.restriction is not None and not large.restriction.theta.trivial:
        share = large.restriction.theta
        own = small.restriction.theta if small.restriction else all_free(len(share.index))
        alike = len(blocks) == len(theirs) and all(map(_equal, blocks, theirs))
        return Within(True, 0) if alike and implies(own, share) else NOT_WITHIN
    held: list[list[_Block]] = [[] for _ in theirs]
    for piece in [piece for block in blocks for piece in _pieces(block)]:
        places = [k for k, block in enumerate(theirs) if _holds(block, piece)]
        if not places:
            return NOT_WITHIN
        equal = [k for k in places if _equal(piece, theirs[k])]
        held[(equal or places)[0]].append(piece)
    if not all(map(_together, theirs, held)):
        return NOT_WITHIN
    bounds = [_at_bound(block, inside) for block, inside in zip(theirs, held, strict=True)]
    return Within(True, None if None in bounds else sum(b for b in bounds if b is not None))


def _blocks(problem: Problem) -> list[_Block]:
    counted = np.broadcast_to(np.asarray(problem.weights), problem.num_obs) > 0
    number, found = int(np.count_nonzero(counted)), []
    for grouping in problem.groupings:
        codes, Z = np.asarray(grouping.codes)[counted], np.asarray(grouping.Z)
        Z = np.broadcast_to(Z, (number, Z.shape[1])) if len(Z) == 1 else Z[counted]
        constants = grouping.constants or ((),) * len(grouping.terms)
        first = 0
        for term, known in zip(grouping.terms, constants, strict=True):
            last = first + term.covariance.dim
            components = tuple(problem.family.components[a] for a in term.predictors)
            columns = Z[:, first:last]
            found.append(_Block(codes, columns, components, term.covariance, tuple(known)))
            first = last
    return found


def _pieces(block: _Block) -> list[_Block]:
    """A term of independent columns, column by column."""
    if not isinstance(block.covariance, Diagonal):
        return [block]
    one = Diagonal(1)
    return [
        block._replace(columns=block.columns[:, k : k + 1], components=(component,), covariance=one)
        for k, component in enumerate(block.components)
    ]


def _same_levels(a: _Block, b: _Block) -> bool:
    """Whether the rows fall into the same groups."""
    if np.array_equal(a.codes, b.codes):
        return True
    return not (splits(a.codes, b.codes) or splits(b.codes, a.codes))


def _same_columns(a: _Block, b: _Block) -> bool:
    return (
        a.components == b.components
        and np.array_equal(a.columns, b.columns)
        and len(a.constants) == len(b.constants)
        and all(map(np.array_equal, a.constants, b.constants))
    )


def _equal(a: _Block, b: _Block) -> bool:
    same = a.covariance == b.covariance or (a.single and b.single)
    return same and _same_columns(a, b) and _same_levels(a, b)


def _place(large: _Block, single: _Block) -> int | None:
    """The column of `large` that a single one is."""
    for k, component in enumerate(large.components):
        alike = component == single.components[0]
        if alike and np.array_equal(large.columns[:, k], single.columns[:, 0]):
            return k
    return None


def _holds(large: _Block, small: _Block) -> bool:
    """Whether a term of the smaller model is a special case of one of the larger."""
    a, b = small.covariance, large.covariance
    if isinstance(b, _ANY) or large.single:
        return _rank(large, [small]) is not None and _same_levels(large, small)
    if small.single and isinstance(b, _UNCORRELATED):
        return _place(large, small) is not None and _same_levels(large, small)
    narrower = a == b or isinstance(b, _WIDER.get(type(a), ()))
    if isinstance(a, Pattern) and isinstance(b, Pattern):
        narrower = set(b.zeros) <= set(a.zeros)
    if isinstance(a, ReducedRank) and isinstance(b, ReducedRank):
        narrower = a.rank <= b.rank
    return narrower and _same_columns(large, small) and _same_levels(large, small)


def _rank(large: _Block, small: list[_Block]) -> int | None:
    """The dimension that columns span within those of `large`; None where they leave its span."""
    rank = 0
    for component in dict.fromkeys([*large.components, *(c for s in small for c in s.components)]):
        span, *columns = (
            block.columns[:, [c == component for c in block.components]]
            for block in (large, *small)
        )
        inner = np.column_stack(columns)
        if independent_columns(np.column_stack([span, inner]))[span.shape[1] :].any():
            return None
        rank += int(independent_columns(inner).sum())
    return rank


def _together(large: _Block, small: list[_Block]) -> bool:
    """Whether a term holds several of the smaller model at once."""
    if len(small) < 2 or isinstance(large.covariance, _ANY) or large.single:
        return True
    if not all(block.single for block in small):
        return False
    places = [_place(large, block) for block in small]
    return len(set(places)) == len(places)


def _at_bound(large: _Block, small: list[_Block]) -> int | None:
    """Dimensions of the larger covariance that are zero: a covariance of rank d - 1 has a half
    space of others beside it. Elsewhere None, unless all of the covariance is inside its bounds.
    """
    structure = large.covariance
    if not small:
        return 1 if structure.num_theta == 1 else structure.dim if _additive(structure) else None
    if len(small) == 1 and _equal(large, small[0]):
        return 0
    if any(block.covariance.rank < block.covariance.dim for block in small):
        return None
    if isinstance(structure, _ANY):
        return structure.dim - (_rank(large, small) or 0)
    missing = max(structure.dim - sum(block.covariance.dim for block in small), 0)
    return missing if missing == 0 or _additive(structure) else None


def _additive(structure: AbstractCovariance) -> bool:
    """Whether columns may leave a term one by one."""
    return isinstance(structure, (*_ANY, Diagonal))
