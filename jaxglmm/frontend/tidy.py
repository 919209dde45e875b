"""Tables in the columns that broom.mixed's users know, spelt as marginaleffects spells them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.frontend.checks import check_choice
from jaxglmm.frontend.draws import in_units
from jaxglmm.frontend.influence import free_effects
from jaxglmm.frontend.model import full_name
from jaxglmm.frontend.parameters import parameter_names
from jaxglmm.frontend.tables import every_parameter
from jaxglmm.inference.influence import cooks_by_leverage

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.frontend.result import GLMM

COLUMNS = (
    *("effect", "component", "group", "level", "term", "estimate", "std_error", "statistic"),
    *("df", "p_value", "conf_low", "conf_high"),
)
_EFFECTS = ("fixed", "ran_pars", "ran_vals")
_PREFIX = {"sd": "sd__", "corr": "cor__", "range": "range__", "shape": "shape__", "family": ""}


def tidy(fit: GLMM, effects: Any, level: float, **arguments: Any) -> pd.DataFrame:
    """The parts asked for under each other, in one set of columns."""
    import pandas as pd

    asked = [effects] if isinstance(effects, str) else list(effects)
    for one in asked:
        check_choice("effects", one, _EFFECTS)
    find = {
        "fixed": lambda: fit.fixed_effects(level, **arguments),
        "ran_pars": lambda: _parameters(fit.covariance_parameters(level)),
        "ran_vals": lambda: fit.random_effects(level),
    }
    parts = [find[one]().assign(effect=one) for one in asked]
    rows = [part.reindex(columns=COLUMNS).astype(object) for part in parts if len(part)]
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=COLUMNS)
    numbers = {name: float for name in COLUMNS[5:]}
    return table.astype(numbers)


def _parameters(table: pd.DataFrame) -> pd.DataFrame:
    """Terms `sd__Intercept`, `cor__Intercept.x`, and those of the family by their names."""
    rows = zip(table["type"], table["name1"], table["name2"], strict=True)
    terms = [
        _PREFIX[kind] + (f"{second}.{first}" if isinstance(second, str) else first)
        for kind, first, second in rows
    ]
    return table.assign(term=terms)


def glance(fit: GLMM) -> pd.DataFrame:
    """One row."""
    import pandas as pd

    own = fit.family_parameters
    return pd.DataFrame(
        {
            "nobs": [fit.num_obs],
            "sigma": own.get("sigma", np.nan),
            "log_lik": fit.log_likelihood,
            "aic": fit.aic,
            "bic": fit.bic,
            "deviance": fit.deviance,
            "df_residual": fit.df_residual,
            "num_params": fit.num_params,
            "converged": fit.converged,
            "singular": fit.is_singular,
            "method": fit.method,
            "family": fit.family.name,
            "link": fit.link.name,
        }
    )


def augment(fit: GLMM) -> pd.DataFrame:
    """The columns of the rows used, and what the fit says about each."""
    import pandas as pd

    data = fit.data
    table = pd.DataFrame({n: column[data.rows] for n, column in fit.labels.table.items()})
    own: dict[str, Any] = {".fitted": None, ".fixed": None, ".linear": fit.fitted(scale="link")}
    if data.categories:
        for kind, name in (("conditional", ".fitted"), ("population", ".fixed")):
            chances = fit.fitted(kind)  # type: ignore[arg-type]
            own[name] = np.array(data.categories, object)[np.argmax(chances, axis=1)]
    else:
        own[".fitted"], own[".fixed"] = fit.fitted(), fit.fitted("population")
        own[".resid"] = _observed(fit) - own[".fitted"]
        own[".hat"], of_mean = fit.hat_values(), np.array(fit.labels.components) == "cond"
        p = int(np.sum(of_mean[free_effects(fit)]))
        own[".cooksd"] = cooks_by_leverage(fit.residuals("pearson"), own[".hat"], p)
    return table.assign(**own)


def _observed(fit: GLMM) -> np.ndarray:
    """What the mean is the mean of: proportions where the response is successes of trials."""
    y = np.asarray(fit.problem.y, float)
    if fit.family.weight_role != "trials":
        return y
    trials = np.broadcast_to(np.asarray(fit.problem.trials, float), y.shape)
    return y / np.where(trials > 0, trials, np.nan)


def response(fit: GLMM) -> np.ndarray:
    """In the units of the formula's response."""
    return in_units(np.array(fit.problem.y), fit.data)


def design_matrix(fit: GLMM, part: str) -> Any:
    """X as a data frame, or Z as a sparse matrix."""
    import pandas as pd

    check_choice("part", part, ("fixed", "random"))
    if part == "fixed":
        return pd.DataFrame(np.array(fit.problem.X), columns=fit.data.full_names)
    return _random_design(fit)


def _random_design(fit: GLMM) -> Any:
    """Columns in the order of `random_effects`: by factor, by level, by term."""
    from scipy import sparse

    n, blocks = fit.problem.num_obs, []
    for grouping in fit.problem.groupings:
        q = grouping.num_columns
        Z = np.broadcast_to(grouping.Z, (n, q))
        columns = np.asarray(grouping.codes, np.int64)[:, None] * q + np.arange(q)
        places = (np.repeat(np.arange(n), q), columns.ravel())
        shape = (n, grouping.num_levels * q)
        blocks.append(sparse.csr_array((Z.ravel(), places), shape=shape))
    return sparse.hstack(blocks, format="csr") if blocks else sparse.csr_array((n, 0))


# ----- maketables ---------------------------------------------------------------------------------

STATISTICS = {
    "N": lambda fit: fit.num_obs,
    "ll": lambda fit: fit.log_likelihood,
    "aic": lambda fit: fit.aic,
    "bic": lambda fit: fit.bic,
    "deviance": lambda fit: fit.deviance,
    "df_resid": lambda fit: fit.df_residual,
    "n_groups": lambda fit: ", ".join(
        f"{name}: {len(levels)}"
        for name, levels in zip(fit.labels.groups, fit.labels.levels, strict=True)
    ),
    "se_type": lambda fit: "joint Hessian",
}
LABELS = {"n_groups": "Groups", "ll": "Log-likelihood"}


def statistic(fit: GLMM, key: str) -> Any:
    """One of `STATISTICS`, or an estimate by the parameter's name, such as "sd(g, Intercept)"; None
    for what the fit does not have."""
    if key in STATISTICS:
        return STATISTICS[key](fit)
    names = parameter_names(fit.data, fit.problem)
    ((values,),) = every_parameter(fit, "estimate")
    return float(values[names.index(key)]) if key in names else None


def coefficient_table(fit: GLMM) -> pd.DataFrame:
    """b, se, t, p and limits of the fixed effects, by name."""
    import pandas as pd

    fixed, wider = fit.fixed_effects(), fit.fixed_effects(0.9)
    names = [
        full_name("cond" if component == "threshold" else component, term)
        for component, term in zip(fixed["component"], fixed["term"], strict=True)
    ]
    columns = {
        "b": fixed["estimate"],
        "se": fixed["std_error"],
        "t": fixed["statistic"],
        "p": fixed["p_value"],
        "ci95l": fixed["conf_low"],
        "ci95u": fixed["conf_high"],
        "ci90l": wider["conf_low"],
        "ci90u": wider["conf_high"],
    }
    return pd.DataFrame(columns).set_axis(pd.Index(names, name="Coefficient"), axis=0)
