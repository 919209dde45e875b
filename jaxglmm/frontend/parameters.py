"""The names of a model's parameters."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, NamedTuple

from jaxglmm.errors import InputError
from jaxglmm.frontend.model import INTERCEPT, full_name
from jaxglmm.frontend.ordinal import threshold_names

if TYPE_CHECKING:
    from jaxglmm.covariance import Parameter
    from jaxglmm.design import Problem
    from jaxglmm.frontend.model import ModelData, TermData

_SHOWN = 30  # names in a message


class Row(NamedTuple):
    """A parameter's place in the table, and its columns by their names in the whole model."""

    component: str
    group: str
    name1: str
    name2: str | None
    kind: str
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """What `Control` calls it: `sd(g, x)`, `corr(g, x, Intercept)`; the law's own as such."""
        if self.kind == "family":
            return self.name1
        return f"{self.kind}({self.group}, {', '.join(self.columns)})"


def covariance_rows(data: ModelData, problem: Problem) -> list[Row]:
    """Of the random effects, then the law's own, in the order of `inference.natural`; thresholds,
    which stand between them there, are left out."""
    rows = [
        _row(of.name, about, parameter)
        for of, grouping in zip(data.groupings, problem.groupings, strict=True)
        for about, term in zip(of.terms, grouping.terms, strict=True)
        for parameter in term.covariance.parameters
    ]
    own = problem.family.phi_names
    return rows + [Row("cond", "family", name, None, "family", (name,)) for name in own]


def parameter_names(data: ModelData, problem: Problem) -> list[str]:
    """All parameters in the order of the tables: fixed effects, thresholds, covariance parameters,
    the law's own."""
    return [
        *data.full_names,
        *threshold_names(data.categories),
        *(row.name for row in covariance_rows(data, problem)),
    ]


def _row(group: str, term: TermData, parameter: Parameter) -> Row:
    """The column or the pair of columns that a parameter belongs to.

    A pair of columns of two formulas stands with the first one; the name of the other one says
    where it is from.
    """
    if term.shared is not None:
        component = term.components[0]
        shared = full_name(component, term.shared)
        return Row(component, group, term.shared, None, parameter.kind, (shared,))
    pair = [k for k in (parameter.i, parameter.j) if k is not None]
    component = term.components[pair[-1]]
    names = [
        term.names[k]
        if term.components[k] == component
        else full_name(term.components[k], term.names[k])
        for k in pair
    ]
    whole = tuple(full_name(term.components[k], term.names[k]) for k in pair)
    second = names[1] if len(pair) > 1 else None
    return Row(component, group, names[0], second, parameter.kind, whole)


class Named(NamedTuple):
    """A parameter by its name.

    kind: "fixed", "threshold", "family", or that of a covariance parameter; term: number of the
    random term; number: of the column of X, of the parameter of its term, or of that of the law,
    whose thresholds come first; group: its grouping factor; slope: of the main formula, and no
    intercept.
    """

    name: str
    kind: str
    term: int
    number: int
    group: str = ""
    slope: bool = False

    @property
    def vector(self) -> str:
        return {"fixed": "beta", "threshold": "phi", "family": "phi"}.get(self.kind, "theta")


class Names:
    """All parameters of a model by their names."""

    def __init__(self, problem: Problem, data: ModelData) -> None:
        self.all = [
            Named(full_name(part, name), "fixed", -1, k, "", part == "cond" and name != INTERCEPT)
            for k, (part, name) in enumerate(
                zip(data.fixed_components, data.fixed_names, strict=True)
            )
        ]
        cuts = threshold_names(data.categories)
        self.all += [Named(name, "threshold", -1, k) for k, name in enumerate(cuts)]
        self.dropped = {plain(name): name for name in data.dropped_columns}
        sizes = [len(t.covariance.parameters) for g in problem.groupings for t in g.terms]
        places = [(term, number) for term, size in enumerate(sizes) for number in range(size)]
        first = problem.family.num_thresholds
        places += [(-1, first + number) for number in range(len(problem.family.phi_names))]
        rows = covariance_rows(data, problem)
        self.all += [
            Named(row.name, row.kind, *place, row.group)
            for row, place in zip(rows, places, strict=True)
        ]
        self.places: dict[str, list[Named]] = {}
        also = [()] * (len(self.all) - len(rows)) + [_aliases(row) for row in rows]
        for named, others in zip(self.all, also, strict=True):
            for name in {plain(named.name), *map(plain, others)}:
                self.places.setdefault(name, []).append(named)

    def find(self, where: str, name: str) -> Named:
        """The parameter of that name; an InputError, which begins with `where`, lists them all."""
        found = self.places.get(plain(name), [])
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"{where}: '{name}' is the name of {len(found)} parameters. Rename the column."
            )
        if plain(name) in self.dropped:
            raise InputError(
                f"{where}: '{name}' was dropped from the fixed effects: it is zero, or linearly "
                "dependent on the other columns. Leave it out of the formula, or do not name it."
            )
        near = difflib.get_close_matches(name, [named.name for named in self.all], n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        listed = ", ".join(f"'{named.name}'" for named in self.all[:_SHOWN])
        more = ", ..." if len(self.all) > _SHOWN else ""
        raise InputError(
            f"{where}: the model has no parameter '{name}'.{hint} Its parameters: {listed}{more}."
        )


def plain(name: str) -> str:
    """A name as it is looked up: without spaces."""
    return "".join(name.split())


def _aliases(row: Row) -> tuple[str, ...]:
    """A correlation is that of its columns in either order."""
    return (row._replace(columns=row.columns[::-1]).name,) if len(row.columns) == 2 else ()
