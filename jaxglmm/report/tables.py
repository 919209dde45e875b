"""The tables of a fit as columns of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jaxglmm.report import numbers
from jaxglmm.report.blocks import Column, Table, printable

Rows = dict[str, list[Any]]  # a data frame as lists, by column

_FIXED_HEADINGS = {
    "cond": "Fixed effects, conditional model",
    "zi": "Fixed effects, zero-inflation model (logit link)",
    "disp": "Fixed effects, dispersion model (log link)",
    "threshold": "Thresholds",
}
_RANDOM_HEADINGS = {"cond": "", "zi": " (zero-inflation model)", "disp": " (dispersion model)"}
_LAWS = {
    "gaussian": "sigma: residual standard deviation",
    "gamma": "variance phi mu^2",
    "inverse_gaussian": "variance phi mu^3",
    "nbinom1": "variance mu (1 + phi)",
    "nbinom2": "variance mu + mu^2 / size",
    "beta": "variance mu (1 - mu) / (1 + phi)",
    "betabinomial": "correlation 1 / (1 + phi) of the trials of a row",
    "student_t": "sigma: scale; variance sigma^2 df / (df - 2)",
    "lognormal": "sigma: standard deviation of the response",
    "skew_normal": "sigma: standard deviation; shape 0: normal",
    "genpois": "variance mu phi",
    "truncated_nbinom1": "before truncation: variance mu (1 + phi)",
    "truncated_nbinom2": "before truncation: variance mu + mu^2 / size",
    "ordered_beta": "precision phi; cutoffs below which 0 and above which 1",
    "zero_one_beta": "between 0 and 1 precision phi; zoi = P(0 or 1), coi = P(1 | 0 or 1)",
    "tweedie": "variance phi mu^power",
    "compois": "variance about phi mu",
}


def fixed_tables(rows: Rows) -> list[Table]:
    """One table for each part of the model: conditional, zero inflation, dispersion, thresholds."""
    components = _in_order(rows["component"], _FIXED_HEADINGS)
    if components == ["cond"]:
        return [_fixed_table(rows, "Fixed effects")]
    return [
        _fixed_table(
            _where(rows, "component", component),
            _FIXED_HEADINGS.get(component, f"Fixed effects ({printable(component)})"),
        )
        for component in components
    ]


def _fixed_table(rows: Rows, heading: str) -> Table:
    degrees = [numbers.to_float(df) for df in rows["df"]]
    is_t = any(map(math.isfinite, degrees))
    letter = "t" if is_t else "z"
    columns = [
        Column("", tuple(map(printable, rows["term"])), is_label=True),
        Column("Estimate", numbers.estimates(rows["estimate"])),
        Column("Std.Error", numbers.estimates(rows["std_error"])),
        Column("df", numbers.degrees_of_freedom(degrees)),
        Column(f"{letter} value", numbers.fixed(rows["statistic"], 3)),
        Column(f"Pr(>|{letter}|)", numbers.p_values(rows["p_value"])),
        *_limits(rows),
    ]
    if not is_t:
        columns = [column for column in columns if column.title != "df"]
    return Table(heading, tuple(columns))


def random_tables(rows: Rows, may_be_boundary: bool) -> list[Table]:
    """Standard deviations, correlations and any other parameter of the random effects."""
    tables = []
    for component in _in_order(rows["component"], _RANDOM_HEADINGS):
        part = _where(rows, "component", component)
        suffix = _RANDOM_HEADINGS.get(component, f" ({printable(component)})")
        sd, corr = (_where(part, "type", kind) for kind in ("sd", "corr"))
        if sd["type"]:
            names = [_names(sd)]
            tables.append(
                _random_table(f"Random effects{suffix}", sd, names, "Std.Dev.", may_be_boundary)
            )
        if corr["type"]:
            names = [_text_column("Name", corr["name1"]), _text_column("with", corr["name2"])]
            heading = f"Correlations of random effects{suffix}"
            tables.append(_random_table(heading, corr, names, "Corr", may_be_boundary))
        other = _keep(part, [kind not in ("sd", "corr", "family") for kind in part["type"]])
        if other["type"]:
            names = [_names(other), _text_column("Type", other["type"])]
            heading = f"Other covariance parameters{suffix}"
            tables.append(_random_table(heading, other, names, "Estimate", may_be_boundary))
    return tables


def family_tables(
    rows: Rows, parameters: dict[str, float], family: str, may_be_boundary: bool
) -> list[Table]:
    """The law's own parameters: those with an error first, then what else the fit names."""
    known = _where(rows, "type", "family")
    names = list(map(printable, known["name1"]))
    rest = {name: value for name, value in parameters.items() if name not in known["name1"]}
    names += map(printable, rest)
    if not names:
        return []
    law = f" ({_LAWS[family]})" if family in _LAWS else ""
    blank = [None] * len(rest)
    columns = {name: known[name] + blank for name in ("std_error", "conf_low", "conf_high")}
    columns["estimate"] = known["estimate"] + list(rest.values())
    flags = [""] * len(names)
    flags[: len(known["type"])] = _boundary(known, may_be_boundary)
    noun = "Family parameter" if len(names) == 1 else "Family parameters"
    label = Column("", tuple(names), is_label=True)
    return [Table(noun + law, (label, *_measured(columns, "Estimate", flags)))]


def _random_table(
    heading: str, rows: Rows, names: list[Column], title: str, may_be_boundary: bool
) -> Table:
    group = _without_repeats(tuple(map(printable, rows["group"])))
    flags = _boundary(rows, may_be_boundary)
    return Table(
        heading,
        (Column("Group", group, is_label=True), *names, *_measured(rows, title, flags)),
    )


def _measured(rows: Rows, title: str, flags: Sequence[str]) -> list[Column]:
    decimals = 4 if title == "Corr" else None
    columns = [
        Column(title, _values(rows["estimate"], decimals)),
        Column("Std.Error", _values(rows["std_error"], decimals)),
        *_limits(rows, decimals),
    ]
    if any(flags):
        width = max(map(len, flags))
        columns.append(Column("", tuple(flag.ljust(width) for flag in flags)))
    return columns


def _limits(rows: Rows, decimals: int | None = None) -> list[Column]:
    return [
        Column("conf.low", _values(rows["conf_low"], decimals)),
        Column("conf.high", _values(rows["conf_high"], decimals)),
    ]


def _values(values: Sequence[Any], decimals: int | None) -> tuple[str, ...]:
    return numbers.estimates(values) if decimals is None else numbers.fixed(values, decimals)


def _boundary(rows: Rows, may_be_boundary: bool) -> list[str]:
    """The mark of each row: an estimate without an error, where the fit is on the boundary and the
    parameter was not held."""
    return [
        "boundary"
        if may_be_boundary and math.isnan(se) and not (math.isnan(estimate) or held)
        else ""
        for estimate, se, held in zip(
            map(numbers.to_float, rows["estimate"]),
            map(numbers.to_float, rows["std_error"]),
            rows["held"],
            strict=True,
        )
    ]


def _names(rows: Rows) -> Column:
    """name1, and name2 where a parameter belongs to a pair."""
    pairs = zip(rows["name1"], rows["name2"], strict=True)
    cells = (f"{_text(a)}, {_text(b)}" if _text(b) else _text(a) for a, b in pairs)
    return Column("Name", tuple(cells), is_label=True)


def _text_column(title: str, values: Sequence[Any]) -> Column:
    return Column(title, tuple(map(_text, values)), is_label=True)


def _text(value: Any) -> str:
    """A name; empty for the ways a data frame has of saying none."""
    is_none = not isinstance(value, str) and str(value) in ("None", "nan", "<NA>", "NaT")
    return "" if is_none else printable(value)


def _without_repeats(cells: tuple[str, ...]) -> tuple[str, ...]:
    above = ("", *cells)
    return tuple("" if cell == before else cell for before, cell in zip(above, cells, strict=False))


def _in_order(components: Sequence[str], known: dict[str, str]) -> list[str]:
    """The components present: the known ones first, in their order."""
    return [c for c in dict.fromkeys([*known, *components]) if c in components]


def _where(rows: Rows, column: str, value: str) -> Rows:
    return _keep(rows, [cell == value for cell in rows[column]])


def _keep(rows: Rows, kept: Sequence[bool]) -> Rows:
    return {
        name: [cell for cell, keep in zip(cells, kept, strict=True) if keep]
        for name, cells in rows.items()
    }
