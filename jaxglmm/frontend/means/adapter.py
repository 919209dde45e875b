"""A fit as the Python package marginaleffects takes it, which is imported when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.means.nonlinear import whole_covariance
from jaxglmm.frontend.prediction import on_scale
from jaxglmm.frontend.prediction_rows import new_rows

if TYPE_CHECKING:
    import polars as pl

    from jaxglmm.frontend.result import GLMM


def marginal_model(fit: GLMM, kind: str, scale: str) -> Any:
    """The fit as one of marginaleffects' models; InputError where that package is missing."""
    try:
        import marginaleffects.classes.model as theirs  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            "to_marginaleffects needs the package marginaleffects, which is not installed; "
            "pip install 'jaxglmm[marginaleffects]' brings it."
        ) from None
    made: Any = type("MarginalModel", (View, theirs.ModelAbstract), {"kind": kind, "scale": scale})
    vault = theirs.ModelVault(
        coef=np.concatenate([fit.estimate.params.beta, fit.estimate.params.phi]),
        coefnames=np.array(_names(fit)),
        formula=lambda newdata: (None, View.design(fit, kind, newdata)),
        modeldata=_rows_used(fit),
        package="jaxglmm",
        variable_names=[fit.labels.response, *_predictors(fit)],
    )
    return made(fit, vault)


class View:
    """marginaleffects' view of a fit: coefficients, their covariance, and predictions by them.

    Its functions move the coefficients, beta and the law's own phi (thresholds among them), and
    look how predictions follow; what is given as `exog` are the columns of X, and what is added to
    each linear predictor besides (offset, random effects).
    """

    model: GLMM
    kind: str
    scale: str

    def get_exog(self, newdata: pl.DataFrame) -> np.ndarray:
        return self.design(self.model, self.kind, newdata)

    @staticmethod
    def design(fit: GLMM, kind: str, newdata: pl.DataFrame) -> np.ndarray:
        """X, and beside it what is added to each linear predictor."""
        frame = Frame(_own_levels(fit, newdata))
        rows = new_rows(fit, frame, kind, offset=None, new_levels="population", seed=None)
        X = rows.design.X
        besides = rows.predictors(np.zeros(X.shape[1]), conditional=kind == "conditional")
        return rows.scatter(np.column_stack([X, *besides]))

    def get_vcov(self, vcov: Any = True) -> np.ndarray | None:
        """True for the fit's own, or a kind of those of the fixed effects by its name, in which phi
        has no error."""
        if vcov is False or vcov is None:
            return None
        kind = "joint" if vcov is True else vcov
        return whole_covariance(self.model, self.model.vcov(kind).to_numpy(), kind == "joint")

    def get_predict(self, params: np.ndarray, newdata: Any) -> pl.DataFrame:
        """Means (of an ordinal response probabilities, a group each) or linear predictors."""
        import polars as pl

        fit, exog = self.model, np.asarray(newdata, float)
        feeds = np.asarray(fit.problem.predictors)
        beta, phi = np.split(np.asarray(params, float), [len(feeds)])
        X, besides = np.split(exog, [len(feeds)], axis=1)
        eta = [X[:, feeds == a] @ beta[feeds == a] + besides[:, a] for a in range(besides.shape[1])]
        values = on_scale(fit, eta, phi, self.scale)
        rows = np.arange(len(exog), dtype=np.int32)
        if values.ndim == 1:
            return pl.DataFrame({"rowid": rows, "estimate": values})
        groups = [str(category) for category in fit.data.categories]
        return pl.DataFrame(
            {
                "rowid": np.tile(rows, len(groups)),
                "group": np.repeat(groups, len(rows)),
                "estimate": values.T.ravel(),
            }
        )


def _names(fit: GLMM) -> list[str]:
    return [*fit.data.full_names, *(f"phi[{k}]" for k in range(len(fit.estimate.params.phi)))]


def _predictors(fit: GLMM) -> list[str]:
    return [n for n in fit.data.used_columns if n in fit.data.encoders.fixed_columns]


def _rows_used(fit: GLMM) -> pl.DataFrame:
    """The columns that the fit used, on its rows; factors as enumerations of their levels."""
    import polars as pl

    frame, rows = Frame(fit.labels.table), fit.data.rows
    found: dict[str, Any] = {}
    for name in frame.names:
        column = frame.column(name)
        if isinstance(column, np.ndarray):
            found[name] = pl.Series(name, column[rows])
        else:
            texts = [str(level) for level in column.categories]
            values = [texts[code] for code in np.asarray(column.codes)[rows]]
            found[name] = pl.Series(name, values, dtype=pl.Enum(texts))
    if fit.labels.response not in found:
        found[fit.labels.response] = pl.Series(fit.labels.response, fit.data.y)
    return pl.DataFrame(found)


def _own_levels(fit: GLMM, newdata: pl.DataFrame) -> dict[str, Any]:
    """The columns of new data, levels as the fit has them where they were written as text."""
    encoders = fit.data.encoders
    known = {**encoders.random_columns, **encoders.fixed_columns}
    found: dict[str, Any] = {name: newdata[name] for name in newdata.columns}
    for name, levels in known.items():
        if name in found and levels and not all(isinstance(level, str) for level in levels):
            back = {str(level): level for level in levels}
            values = [back.get(str(v), v) for v in newdata[name].to_list()]
            found[name] = np.array(values) if all(isinstance(v, bool) for v in values) else values
    return found
