"""The summary of a fit: what lme4 and glmmTMB print, as text and as HTML."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jaxglmm.report import html, numbers, tables, text
from jaxglmm.report.blocks import Column, Line, Table, printable

if TYPE_CHECKING:
    import pandas as pd

_METHODS = {
    "laplace": "maximum likelihood (Laplace)",
    "agq": "maximum likelihood (adaptive Gauss-Hermite quadrature{points})",
    "approximate_laplace": "maximum likelihood (approximate Laplace)",
    "reml": "restricted maximum likelihood (REML)",
    "mpl": "maximum pseudo-likelihood",
    "rempl": "restricted maximum pseudo-likelihood",
}
_LOG_LIKELIHOODS = {"reml": "logLik(REML)", "mpl": "pseudo-logLik", "rempl": "pseudo-logLik"}
_PSEUDO = (
    "the linear mixed model of the last working response has this log-likelihood (and AIC, BIC, "
    "deviance); those of other models have other responses and do not compare"
)
_LEVELS_SHOWN = 8


@dataclass(frozen=True, repr=False)
class Summary:
    """The pieces of a summary; printing it gives text, a notebook shows HTML.

    Attributes:
        title: model and method.
        alert: how the fit ended, unless it plainly converged; shown before anything else.
        header: label and text of each line on the model and its data.
        blocks: tables and lines, from top to bottom.
        notes: what the reader should know about the tables.
        tables: the numbers themselves, `"fixed_effects"` and `"covariance_parameters"`.
    """

    title: str
    alert: Line | None
    header: tuple[Line, ...]
    blocks: tuple[Table | Line, ...]
    notes: tuple[Line, ...]
    tables: dict[str, pd.DataFrame] = field(compare=False)

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return html.render(self)

    def to_text(self) -> str:
        """Plain text, at most 80 columns where the names allow; no newline at the end."""
        return text.render(self)

    def to_html(self) -> str:
        """A whole page that needs no other file."""
        return html.page(self)


def summarise(fit: Any, *, level: float = 0.95) -> Summary:
    """The summary of a fit, with confidence limits at `level`.

    Only formats: every number is the fit's own. Never raises because of how a fit ended; numbers
    that do not exist print as "-".
    """
    fixed = fit.fixed_effects(level=level)
    covariance = fit.covariance_parameters(level=level)
    fixed_rows, covariance_rows = fixed.to_dict("list"), covariance.to_dict("list")
    held = getattr(fit, "held_covariances", ())
    covariance_rows["held"] = list(held) or [False] * len(covariance)
    on_boundary = bool(fit.is_singular) or fit.status == "converged_boundary"
    estimated = [
        *tables.random_tables(covariance_rows, on_boundary),
        *tables.family_tables(
            covariance_rows, fit.family_parameters, _name(fit.family), on_boundary
        ),
    ]
    coefficients = tables.fixed_tables(fixed_rows) or [Line("Fixed effects", "none")]
    blocks = (_criteria(fit), *estimated, _counts(fit), *coefficients)
    return Summary(
        title=_title(fit),
        alert=_alert(fit),
        header=tuple(_header(fit)),
        blocks=blocks,
        notes=tuple(_notes(fit, blocks, level)),
        tables={"fixed_effects": fixed, "covariance_parameters": covariance},
    )


def _title(fit: Any) -> str:
    is_linear = _name(fit.family) == "gaussian" and _name(fit.link) == "identity"
    is_mixed = bool(fit.data_info.groups)
    words = ["generalized"] * (not is_linear) + ["linear"] + ["mixed"] * is_mixed + ["model"]
    method = _METHODS.get(fit.method, printable(fit.method))
    points = getattr(getattr(fit, "problem", None), "quadrature_points", None)
    method = method.format(points=f", {points} points" if points else "")
    if fit.method == "laplace" and (is_linear or not is_mixed):
        method = "maximum likelihood"  # nothing is approximated
    return f"{' '.join(words).capitalize()} fit by {method}"


def _alert(fit: Any) -> Line | None:
    sentences = [printable(fit.status_message or "The fit ended without a message.")]
    if fit.is_singular and fit.status != "converged_boundary":  # whose message says it
        sentences.append("A variance is zero or a correlation is one in size.")
    if not fit.converged:
        return Line(f"WARNING ({printable(fit.status)})", " ".join(sentences))
    if fit.status != "converged":
        return Line(f"NOTE ({printable(fit.status)})", " ".join(sentences))
    return Line("NOTE (singular)", sentences[-1]) if fit.is_singular else None


def _header(fit: Any) -> list[Line]:
    formula = printable(re.sub(r"\s*\n\s*", " ", fit.formula.strip()))
    return [
        Line("Formula", formula),
        *_further(fit),
        *_restricted(fit),
        Line("Family", f"{printable(_name(fit.family))} ({printable(_name(fit.link))} link)"),
        Line("Data", _rows_used(fit.data_info)),
    ]


def _further(fit: Any) -> list[Line]:
    """The formulas beside the main one."""
    labels = {"dispersion": "Dispersion", "zero_inflation": "Zero inflation"}
    given = {label: getattr(fit, "arguments", {}).get(name) for name, label in labels.items()}
    return [
        Line(label, printable(re.sub(r"\s*\n\s*", " ", text.strip())))
        for label, text in given.items()
        if text is not None
    ]


def _restricted(fit: Any) -> list[Line]:
    """Parameters with priors, those that were not estimated, those that are one and the same."""
    held, shared = getattr(fit, "held", {}), getattr(fit, "shared", ())
    lines = _priors(getattr(fit, "arguments", {}).get("priors"))
    if held:
        values = ", ".join(f"{printable(name)} = {value:g}" for name, value in held.items())
        lines.append(Line("Held", values))
    if shared:
        groups = (" = ".join(map(printable, group)) for group in shared)
        lines.append(Line("Equal", ", ".join(groups)))
    return lines


def _priors(given: dict[str, Any] | None) -> list[Line]:
    """`x ~ Normal(0, 2.5)` for each."""
    if not given:
        return []
    return [Line("Priors", ", ".join(f"{printable(n)} ~ {_density(p)}" for n, p in given.items()))]


def _density(prior: Any) -> str:
    if not hasattr(prior, "log_density"):
        return printable(getattr(prior, "__name__", "a function"))
    numbers_ = ", ".join(f"{float(value):g}" for value in vars(prior).values())
    return f"{type(prior).__name__}({numbers_})"


def _rows_used(data: Any) -> str:
    if data.num_used == data.num_rows:
        return f"all {data.num_rows} rows used"
    reasons = []
    if data.num_dropped_missing:
        reasons.append(f"{data.num_dropped_missing} with missing values")
    if data.num_dropped_subset:
        reasons.append(f"{data.num_dropped_subset} by subset")
    used = f"{data.num_used} of {data.num_rows} rows used"
    return f"{used}; dropped: {', '.join(reasons)}" if reasons else used


def _criteria(fit: Any) -> Table:
    log_likelihood = numbers.to_float(fit.log_likelihood)
    decimals = 4 if abs(log_likelihood) < 1000 else 2
    columns = [
        Column(title, numbers.fixed([value], decimals))
        for title, value in (
            ("AIC", fit.aic),
            ("BIC", fit.bic),
            (_LOG_LIKELIHOODS.get(fit.method, "logLik"), fit.log_likelihood),
            ("deviance", fit.deviance),
        )
    ]
    if getattr(fit, "arguments", {}).get("priors"):
        columns.append(Column("log prior", numbers.fixed([fit.log_prior], decimals)))
    columns.append(Column("npar", numbers.degrees_of_freedom([fit.num_params])))
    columns.append(Column("df.resid", numbers.degrees_of_freedom([fit.df_residual])))
    return Table("", tuple(columns))


def _counts(fit: Any) -> Line:
    groups = "; ".join(f"{printable(name)}, {size}" for name, size in fit.data_info.groups.items())
    return Line("Number of obs", f"{fit.num_obs}, groups: {groups}" if groups else f"{fit.num_obs}")


def _notes(fit: Any, blocks: tuple[Table | Line, ...], level: float) -> list[Line]:
    data = fit.data_info
    notes = [Line("conf.low, conf.high", f"{100 * level:g}% confidence limits")]
    columns = [column for b in blocks if isinstance(b, Table) for column in b.columns]
    if any(cell.strip() == numbers.ABSENT for c in columns if not c.is_label for cell in c.cells):
        also = " or a value that was held" if getattr(fit, "held", {}) else ""
        which = f"an estimate on the boundary{also}"
        notes.append(Line('"-"', f"not defined, such as the error of {which}"))
    if data.dropped_columns:
        names = ", ".join(map(printable, data.dropped_columns))
        text_ = f"{names} (zero, or linearly dependent on the other columns)"
        notes.append(Line("Dropped from the fixed effects", text_))
    for name, levels in data.levels.items():
        coding = data.contrasts.get(name)
        with_coding = f" ({printable(coding)} coding)" if coding else ""
        notes.append(Line(f"Levels of {printable(name)}{with_coding}", _levels(list(levels))))
    if fit.method in ("mpl", "rempl"):
        notes.append(Line("pseudo-logLik", _PSEUDO))
    if getattr(fit, "laplace_doubt", ""):
        notes.append(Line("Approximation", printable(fit.laplace_doubt)))
    if fit.optimizer.monte_carlo_error > 0:
        notes.append(Line("Iterative methods", _iterative(fit.optimizer)))
    if _alert(fit) is not None:
        notes.append(Line("Optimizer", _optimizer(fit.optimizer)))
    return notes


def _iterative(optimizer: Any) -> str:
    return (
        "conjugate gradients and random vectors took the place of an exact factorisation of the "
        "grouping factors. Monte-Carlo error of the log-likelihood: "
        f"{numbers.brief(optimizer.monte_carlo_error)} (Control(probes=...) makes it smaller)"
    )


def _levels(levels: list[Any]) -> str:
    shown = ", ".join(map(printable, levels[:_LEVELS_SHOWN]))
    return f"{shown}, ... ({len(levels)} levels)" if len(levels) > _LEVELS_SHOWN else shown


def _optimizer(optimizer: Any) -> str:
    return (
        f"{optimizer.iterations} iterations, {optimizer.evaluations} evaluations, "
        f"scaled gradient {numbers.brief(optimizer.scaled_gradient)}, "
        f"smallest Hessian eigenvalue {numbers.brief(optimizer.smallest_eigenvalue)}"
    )


def _name(thing: Any) -> str:
    """Of a family or link, given as the object or as its name."""
    return str(getattr(thing, "name", thing))
