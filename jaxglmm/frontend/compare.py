"""The verb: `compare(small, large)`, likelihood-ratio tests of nested models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import LARGEST_NUMBER, check_choice, check_seed, check_whole
from jaxglmm.frontend.comparable import (
    Named,
    check_fits,
    check_maxima,
    check_nested,
    check_same_data,
)
from jaxglmm.frontend.ratios import Ratio, on_draws, statistic
from jaxglmm.inference import comparison
from jaxglmm.inference.comparison import Null

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.frontend.result import GLMM

TESTS = ("lrt", "bootstrap")


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Models of the same data, in the order of their numbers of parameters.

    Attributes:
        fits: the models.
        places: of each among the arguments of `compare`, from 0.
        test: "lrt", "bootstrap" or None.
        ratios: the tests of each model but the first against the one before it; () without test.
    """

    fits: tuple[GLMM, ...]
    places: tuple[int, ...]
    test: str | None
    ratios: tuple[Ratio, ...]

    @property
    def statistics(self) -> np.ndarray:
        """Likelihood ratios of the draws, (test, draw); NaN for those that count for nothing.
        Empty without a bootstrap."""
        draws = [ratio.draws for ratio in self.ratios if ratio.draws is not None]
        return np.stack(draws) if draws else np.empty((len(self.ratios), 0))

    @property
    def counts(self) -> list[dict[str, int]]:
        """Of each test by bootstrap, numbers of draws: `attempted`; `used`; `failed_small` and
        `failed_large`, where that model's fit failed (in a draw maybe both); `worse`, where the
        larger model ended below the smaller one, short of its maximum; `separated`, used ones where
        a likelihood has its highest value at infinite coefficients."""
        return [ratio.counts for ratio in self.ratios if ratio.counts is not None]

    def table(self) -> pd.DataFrame:
        """One row a model.

        Returns:
            `model` (place among the arguments, from 0), `formula`, `num_params`, `log_likelihood`,
            `aic`, `bic`, and

            with a test `statistic`, `df` and `p_value` of the model against the one before it;
            "lrt": `p_value` by chi-squared with `df`, `null_law` (the asymptotic law of the
            statistic, "not known" beyond the known cases) and `p_value_boundary` by that law where
            it is a mixture, else NaN;
            "bootstrap": `p_value` of the draws, `mc_error` (its Monte-Carlo error), `num_draws`,
            `num_used`, `num_failed` (a fit failed) and `num_worse` (see `counts`);

            without test `delta_aic` and `delta_bic`, from the least of all models;

            `status` of the fit.
        """
        import pandas as pd

        columns: dict[str, object] = {
            "model": list(self.places),
            "formula": [fit.formula for fit in self.fits],
            "num_params": [fit.num_params for fit in self.fits],
            "log_likelihood": [fit.log_likelihood for fit in self.fits],
            "aic": np.array([fit.aic for fit in self.fits]),
            "bic": np.array([fit.bic for fit in self.fits]),
        }
        if self.test is None:
            for name in ("aic", "bic"):
                values = np.asarray(columns[name])
                columns[f"delta_{name}"] = values - np.nanmin(values)
        else:
            rows = [_row_of_draws(r) if r.tail else _row(r) for r in self.ratios]
            for name, nothing in {key: _nothing(rows[0][key]) for key in rows[0]}.items():
                columns[name] = [nothing, *(row[name] for row in rows)]
        return pd.DataFrame({**columns, "status": [fit.status for fit in self.fits]})

    def __repr__(self) -> str:
        how = {
            "lrt": " by likelihood-ratio tests",
            "bootstrap": " by likelihood-ratio tests on draws from the smaller model",
            None: "",
        }[self.test]
        return f"<Comparison of {len(self.fits)} models{how}>\n{self.table().to_string()}"


def _nothing(value: object) -> object:
    """What stands in the row of the first model."""
    return "" if isinstance(value, str) else np.nan


def _row(ratio: Ratio) -> dict[str, object]:
    law = ratio.law
    mixture = len(law.dfs) > 1
    return {
        "statistic": ratio.statistic,
        "df": ratio.df,
        "p_value": comparison.tail(ratio.statistic, Null((1.0,), (ratio.df,))),
        "null_law": _written(law),
        "p_value_boundary": comparison.tail(ratio.statistic, law) if mixture else np.nan,
    }


def _written(law: Null) -> str:
    if not law.dfs:
        return "not known"
    parts = zip(law.weights, law.dfs, strict=True)
    return " + ".join(f"chi2({k})" if w == 1 else f"{w:g} chi2({k})" for w, k in parts)


def _row_of_draws(ratio: Ratio) -> dict[str, object]:
    counts, tail = ratio.counts, ratio.tail
    assert counts is not None and tail is not None
    return {
        "statistic": ratio.statistic,
        "df": ratio.df,
        "p_value": tail.p_value,
        "mc_error": tail.error,
        "num_draws": counts["attempted"],
        "num_used": tail.used,
        "num_failed": counts["attempted"] - tail.used - counts["worse"],
        "num_worse": counts["worse"],
    }


def compare(
    *fits: GLMM,
    test: Literal["lrt", "bootstrap"] | None = "lrt",
    num_draws: int = 1000,
    seed: int | None = None,
    nested: bool | None = None,
    progress: bool | None = None,
) -> Comparison:
    """Models of the same data side by side, each tested against the one with fewer parameters.

    The statistic is LR = 2 (l_large - l_small). Under the smaller model it has asymptotically the
    chi-squared law with as many degrees of freedom as parameters were added, if these are not at a
    bound there (Wilks 1938, Ann. Math. Statist. 9:60-62). A variance that is zero is at one: where
    one dimension is added to the random effects (one more variance; a slope with its correlations),
    or a law is left for one that it is a limit of, the law of LR is half chi2(df - 1) and half
    chi2(df) (Self & Liang 1987, JASA 82:605-610; Stram & Lee 1994, Biometrics 50:1171-1177), in
    many independent groups; in few of them LR is zero more often (Crainiceanu & Ruppert 2004, JRSS
    B 66:165-185). `test="bootstrap"` needs none of this: responses are drawn from the smaller fit,
    both models refitted to each, and p = (1 + number of draws with LR* >= LR) / (1 + number of
    draws) (Davison & Hinkley 1997, eq. 4.11). By method="approximate_laplace" log-likelihoods are
    near their maxima only, and so is LR near its value.

    Args:
        fits: of `glmm`, to the same responses, rows and weights by the same method; two or more.
        test: "lrt", "bootstrap", or None for AIC and BIC of models that need not be nested.
        num_draws: data sets of the bootstrap, for each test.
        seed: of the bootstrap, an integer, zero or more.
        nested: None: that each model is nested in the next is checked. The law: the same, the same
            with parameters held, one with a formula less for dispersion or zeros, or a limit of the
            larger one (poisson of nbinom2). Fixed effects and offsets: by the column space. Random
            effects: by their structure. True: where a law or random effects of other structures are
            nested but this is not seen, take it for granted.
        progress: of the bootstrap, as in `GLMM.refit_many`.

    Returns:
        A `Comparison`; `table()` is a data frame with a row a model.

    Raises:
        InputError: other data, other methods, fits by REML whose fixed effects differ, and, for a
            test, models that are not nested, priors, or fits that did not converge.
    """
    check_fits(fits)
    if test is not None:
        check_choice("test", test, TESTS)
    if nested not in (None, True):
        raise InputError(f"nested={nested!r}: expected None (to be checked) or True.")
    models = [Named(place, fit) for place, fit in enumerate(fits)]
    check_same_data(models)
    ordered = sorted(models, key=lambda model: model.fit.num_params)
    ratios = () if test is None else _ratios(ordered, bool(nested))
    if test == "bootstrap":
        if seed is None:
            raise InputError("seed: test='bootstrap' draws responses. Give a whole number.")
        check_seed(seed)
        check_whole("num_draws", num_draws, 1, LARGEST_NUMBER)
        ratios = tuple(
            on_draws(ratio, small.fit, large.fit, num_draws, seed, progress)
            for ratio, small, large in zip(ratios, ordered, ordered[1:], strict=False)
        )
    return Comparison(
        fits=tuple(model.fit for model in ordered),
        places=tuple(model.place for model in ordered),
        test=test,
        ratios=ratios,
    )


def _ratios(ordered: list[Named], told: bool) -> tuple[Ratio, ...]:
    """Statistics and laws of each model against the one before it."""
    check_maxima(ordered)
    found = []
    for small, large in zip(ordered, ordered[1:], strict=False):
        within = check_nested(small, large, told)
        df = large.fit.num_params - small.fit.num_params
        law = comparison.null_law(df, within.at_bound)
        value = statistic(small.fit, large.fit)
        if value < 0:
            raise InputError(
                f"compare: the log-likelihood of {large} is below that of {small}, which is nested "
                f"in it: by {-0.5 * value:.3g}. It is not at its maximum: refit it from other "
                "starting values (start=)."
            )
        found.append(Ratio(value, df, law))
    return tuple(found)
