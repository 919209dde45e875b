"""Random terms -> grouping factors with their columns, and what makes the same from new data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxglmm.frontend import designs, structures
from jaxglmm.frontend.checks import check_dense
from jaxglmm.frontend.context import Columns
from jaxglmm.frontend.groups import GroupCoder, fit_groups
from jaxglmm.frontend.model import GroupingData, TermData
from jaxglmm.frontend.random_terms import RandomTerm

if TYPE_CHECKING:
    from jaxglmm.frontend.encode import Encoded
    from jaxglmm.frontend.positions import Positions


class Random(NamedTuple):
    """The random part: groupings, and for each its coder and the parts its columns come from.

    positions: of the processes, by part; state: what the expressions of groups learnt.
    """

    groupings: tuple[GroupingData, ...]
    coders: tuple[GroupCoder, ...]
    parts: tuple[tuple[str, ...], ...]
    positions: dict[str, Positions]
    state: dict[str, Any]


def groupings(
    terms: tuple[RandomTerm, ...],
    encoded: dict[str, Encoded],
    columns: Columns,
    rows: np.ndarray,
    *,
    covariance: Mapping[str, Mapping[str, Any]],
    matrices: Mapping[str, Any] | None,
) -> Random:
    """The grouping factors; that with the most levels comes first, as in lme4.

    encoded: the columns (or coordinates) of terms[i] under f"random{i}"; covariance: what the
    caller gave, by component and group.
    """
    state: dict[str, Any] = {}
    positions: dict[str, Positions] = {}
    found: list[tuple[GroupingData, GroupCoder, tuple[str, ...]]] = []
    for factors, places in designs.by_grouping(terms):
        keys = tuple(f"random{i}" for i in places)
        about: list[TermData] = []
        columns_of: list[np.ndarray] = []
        for i, key in zip(places, keys, strict=True):
            mask = covariance[terms[i].component].get(":".join(terms[i].factors))
            one, Z, process = structures.complete(
                terms[i], encoded[key], rows, mask=mask, matrices=matrices
            )
            about.append(one)
            columns_of.append(Z)
            if process is not None:
                positions[key] = process
        designs.check_columns_once(":".join(factors), about)
        about, columns_of = _tied(about, columns_of, [terms[i].id for i in places])
        single = can_do_with_one_level(about)
        coder, levels, codes = fit_groups(factors, columns, state, may_be_single=single)
        Z = columns_of[0] if len(columns_of) == 1 else np.concatenate(columns_of, axis=1)
        found.append((GroupingData(coder.name, levels, codes, Z, tuple(about)), coder, keys))
    found.sort(key=lambda one: -len(one[0].levels))
    data = tuple(grouping for grouping, _, _ in found)
    for g in data:
        check_dense(f"the group '{g.name}'", len(g.codes), g.Z.shape[1], len(g.levels))
    coders, parts = tuple(c for _, c, _ in found), tuple(k for _, _, k in found)
    return Random(data, coders, parts, positions, state)


def _tied(
    about: list[TermData], columns: list[np.ndarray], ids: list[str | None]
) -> tuple[list[TermData], list[np.ndarray]]:
    """Terms of one id, which stand one after another, as one unstructured term."""
    joined: list[TermData] = []
    Z: list[np.ndarray] = []
    for i, (term, matrix) in enumerate(zip(about, columns, strict=True)):
        if i and ids[i] is not None and ids[i] == ids[i - 1]:
            before = joined[-1]
            joined[-1] = replace(
                before,
                names=before.names + term.names,
                text=f"{before.text} and {term.text}",
                components=before.components + term.components,
            )
            Z[-1] = np.concatenate([Z[-1], matrix], axis=1)
        else:
            joined.append(term)
            Z.append(matrix)
    return joined, Z


def can_do_with_one_level(terms: Sequence[TermData]) -> bool:
    """Whether the columns of a single level tell the parameters of the terms of a factor."""
    return all(term.structure in structures.COUPLED and len(term.names) > 1 for term in terms)
