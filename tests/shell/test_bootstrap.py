"""Bootstraps: what is drawn, what is kept, and the limits that follow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxglmm as jg
from jaxglmm.frontend import bootstrap
from jaxglmm.inference import resampling

from . import models

DRAWS = 150


@pytest.fixture(scope="module")
def boot() -> jg.Bootstrap:
    return models.fit("sleep").bootstrap(DRAWS, seed=4)


def test_replicates_are_refits_to_draws(boot: jg.Bootstrap) -> None:
    fit = boot.fit
    batch = fit.refit_many(fit.simulate(DRAWS, seed=4))
    p = batch.coefficients.shape[1]
    np.testing.assert_array_equal(boot.replicates[:, :p], batch.coefficients)
    table = batch.covariance_parameters()
    sds = table["estimate"].to_numpy().reshape(DRAWS, -1)
    np.testing.assert_array_equal(boot.replicates[:, p:], sds)
    assert boot.counts == batch.counts() and boot.counts["attempted"] == DRAWS
    fixed = batch.fixed_effects()["std_error"].to_numpy().reshape(DRAWS, -1)
    np.testing.assert_allclose(boot.errors[:, :p], fixed, rtol=1e-12)


def test_estimates_are_those_of_the_fit(boot: jg.Bootstrap) -> None:
    fit = boot.fit
    own = np.concatenate([fit.fixed_effects()["estimate"], fit.covariance_parameters()["estimate"]])
    np.testing.assert_array_equal(boot.estimates, own)
    assert boot.names[:2] == ("Intercept", "Days") and boot.names[-1] == "sigma"
    assert boot.names[2] == "sd(Subject, Intercept)"


def test_tables_of_limits(boot: jg.Bootstrap) -> None:
    percentile, basic = boot.confint(0.9), boot.confint(0.9, method="basic")
    low = np.quantile(boot.replicates, 0.05, axis=0, method="weibull")
    np.testing.assert_allclose(percentile["conf_low"], low)
    np.testing.assert_allclose(basic["conf_high"], 2 * boot.estimates - low)
    np.testing.assert_allclose(percentile["std_error"], boot.replicates.std(axis=0, ddof=1))
    assert (percentile["num_draws"] == DRAWS).all()
    own = boot.confint(0.9, method="studentised")
    t = (boot.replicates[:, :2] - boot.estimates[:2]) / boot.errors[:, :2]
    low = boot.estimates[:2] - boot.std_errors[:2] * np.quantile(t, 0.95, axis=0, method="weibull")
    np.testing.assert_allclose(own["conf_low"][:2], low)


def test_the_spread_is_that_of_the_estimator(boot: jg.Bootstrap) -> None:
    """The Hessian's error of a linear coefficient, within four Monte-Carlo errors."""
    table = boot.confint()
    ratio = table["std_error"].to_numpy()[:2] / boot.std_errors[:2]
    assert np.all(np.abs(ratio - 1.0) < 4.0 / np.sqrt(2 * DRAWS))


def test_a_statistic_of_the_estimates(boot: jg.Bootstrap) -> None:
    def share(values: dict[str, np.ndarray]) -> np.ndarray:
        between, within = values["sd(Subject, Intercept)"] ** 2, values["sigma"] ** 2
        return between / (between + within)

    found = boot.fit.bootstrap(DRAWS, seed=4, statistic=share)
    values = dict(zip(boot.names, boot.replicates.T, strict=True))
    np.testing.assert_array_equal(found.replicates[:, 0], share(values))
    table = found.confint(method="bca")
    assert table["conf_low"][0] < found.estimates[0] < table["conf_high"][0]


def test_bca_limits_are_those_of_scipy() -> None:
    """On the mean of a skewed sample, from the same replicates; quantiles are of another kind
    there: a distance of neighbouring replicates is allowed."""
    x = np.random.default_rng(2).exponential(size=30)
    theirs = stats.bootstrap(
        (x,), np.mean, n_resamples=4000, method="BCa", random_state=np.random.default_rng(1)
    )
    left_out = (x.sum() - x) / (len(x) - 1)
    replicates = np.sort(theirs.bootstrap_distribution)
    low, high = resampling.accelerated(
        np.array([x.mean()]), replicates[:, None], left_out[:, None], 0.95
    )
    for mine, his in (
        (low[0], theirs.confidence_interval.low),
        (high[0], theirs.confidence_interval.high),
    ):
        place = np.searchsorted(replicates, his)
        near = replicates[max(place - 3, 0)], replicates[min(place + 3, len(replicates) - 1)]
        assert near[0] <= mine <= near[1]


def test_failed_draws_are_in_no_figure() -> None:
    replicates = np.array([[1.0], [np.nan], [2.0], [3.0]])
    low, high = resampling.percentile(replicates, 0.5)
    assert low == np.quantile([1.0, 2.0, 3.0], 0.25, method="weibull")
    assert high == np.quantile([1.0, 2.0, 3.0], 0.75, method="weibull")


def test_wild_draws_turn_the_residuals_of_a_group_together() -> None:
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(20), 6)
    centre, y = rng.normal(size=(2, 120))
    drawn = resampling.wild_responses(centre, y, codes, 7, range(400))
    w = (drawn - centre) / (y - centre)
    np.testing.assert_allclose(w.reshape(400, 20, 6), w[:, ::6, None] * np.ones(6), rtol=1e-9)
    np.testing.assert_allclose(np.abs(w), np.sqrt(20 / 19), rtol=1e-9)
    # A mean of 8000 signs, and of products of signs of different groups: five standard errors.
    assert abs(w[:, ::6].mean()) < 5 / np.sqrt(8000)
    assert abs((w[:, 0] * w[:, 6]).mean()) < 5 * (20 / 19) / np.sqrt(400)
    later = resampling.wild_responses(centre, y, codes, 7, range(390, 400))
    np.testing.assert_array_equal(later, drawn[390:])


def test_wild_refits() -> None:
    fit = models.fit("sleep")
    boot = fit.bootstrap(DRAWS, seed=1, kind="wild")
    assert boot.counts["failed"] == 0
    spread = boot.confint()["std_error"].to_numpy()[:2]
    # Of 18 groups: a robust error, of that of the Hessian's order.
    assert np.all((spread > 0.5 * boot.std_errors[:2]) & (spread < 2.0 * boot.std_errors[:2]))


def drawn_table(fit: jg.GLMM, data: pd.DataFrame, group: str | None, which: Any) -> pd.DataFrame:
    """The rows of drawn levels (or drawn rows), each copy under names of its own."""
    levels = fit.labels.levels[-1] if group else []
    parts = [
        data[data[group] == levels[k]].assign(
            **{name: lambda d, name=name, i=i: d[name].astype(str) + f".{i}" for name in GROUPS}
        )
        if group
        else data.iloc[[k]]
        for i, k in enumerate(which)
    ]
    return pd.concat(parts)


GROUPS = ("a", "b")


def grouped() -> pd.DataFrame:
    """Unequal groups in groups, counts."""
    rng = np.random.default_rng(0)
    a, b, x = rng.integers(0, 9, 150), rng.integers(0, 3, 150), rng.normal(size=150)
    eta = 0.3 + 0.4 * x + 0.6 * rng.normal(size=9)[a] + 0.4 * rng.normal(size=(9, 3))[a, b]
    return pd.DataFrame({"x": x, "a": a, "b": b, "y": rng.poisson(np.exp(eta))})


@pytest.mark.parametrize(
    "formula, group, arguments",
    [
        ("y ~ x + (1 | a)", "a", {"family": "poisson"}),
        pytest.param("y ~ x + (1 | a/b)", "a", {"family": "poisson"}, marks=pytest.mark.slow),
        pytest.param("y ~ x + (x | a)", "a", {"method": "reml"}, marks=pytest.mark.slow),
        pytest.param("y ~ x", None, {"family": "poisson"}, marks=pytest.mark.slow),
    ],
)
def test_drawn_groups_are_levels_of_their_own(
    formula: str, group: str | None, arguments: dict[str, Any]
) -> None:
    """A replicate is a fit to the table of the drawn groups."""
    data = grouped()
    fit = jg.glmm(formula, data, **arguments)
    boot = fit.bootstrap(70, seed=2, kind="cluster")
    assert boot.counts["attempted"] == 70 and boot.counts["failed"] == 0
    number = 9 if group else 150
    for k, which in zip((0, 69), resampling.drawn(number, 2, range(70))[[0, 69]], strict=True):
        single = jg.glmm(formula, drawn_table(fit, data, group, which), **arguments)
        tables = single.fixed_effects(), single.covariance_parameters()
        estimate, error = (
            np.concatenate([t[name] for t in tables]) for name in ("estimate", "std_error")
        )
        far = np.abs(boot.replicates[k] - estimate) / error
        assert np.all((far < 1e-4) | np.isnan(far))
        np.testing.assert_allclose(boot.errors[k], error, rtol=3e-5)
    for method in ("percentile", "basic", "studentised", "bca"):
        table = boot.confint(method=method)
        assert (table["conf_low"][:2] < table["conf_high"][:2]).all()


def test_draws_without_a_category_fail() -> None:
    """They say nothing of its coefficient."""
    data = grouped().assign(c=lambda d: np.where(d["a"] == 4, "rare", "common"))
    boot = jg.glmm("y ~ c + (1 | a)", data, "poisson").bootstrap(40, seed=1, kind="cluster")
    without = ~(resampling.drawn(9, 1, range(40)) == 4).any(axis=1)
    assert without.any() and boot.counts["failed"] >= without.sum()
    assert np.isnan(boot.replicates[without]).all()
    assert boot.counts["attempted"] == sum(boot.counts.values()) - 40 == 40


def test_a_jackknife_leaves_out_groups() -> None:
    fit, data = models.fit("sleep"), models.data("sleep")
    left_out = bootstrap._left_out(fit, None)
    assert left_out.shape == (18, 6)
    for k in (0, 7):
        others = jg.glmm(fit.formula, data[data["Subject"] != fit.labels.levels[0][k]])
        beta = others.fixed_effects()["estimate"].to_numpy()
        sds = others.covariance_parameters()["estimate"].to_numpy()
        np.testing.assert_allclose(left_out[k], [*beta, *sds], rtol=1e-5)


def test_refusals() -> None:
    fit = models.fit("cbpp")
    with pytest.raises(jg.InputError, match="kind='wild' is for the normal law"):
        fit.bootstrap(10, seed=1, kind="wild")
    with pytest.raises(jg.InputError, match="kind='pairs' is not known"):
        fit.bootstrap(10, seed=1, kind="pairs")  # type: ignore[arg-type]
    crossed = grouped().assign(h=np.arange(150) % 4)
    with pytest.raises(jg.InputError, match="kind='cluster' draws whole levels.*crossed"):
        jg.glmm("y ~ (1 | a) + (1 | h)", crossed).bootstrap(10, seed=1, kind="cluster")
    with pytest.raises(jg.InputError, match="seed: expected a whole number"):
        fit.bootstrap(10, seed=-1)
    with pytest.raises(jg.InputError, match="num_draws"):
        fit.bootstrap(1, seed=1)


def test_a_statistic_of_the_wrong_shape_is_refused() -> None:
    fit = models.fit("sleep")
    with pytest.raises(jg.InputError, match="statistic: of 1 models it gave"):
        fit.bootstrap(10, seed=1, statistic=lambda values: np.zeros(7))
    with pytest.raises(jg.InputError, match="no parameter 'days'. They are Intercept"):
        fit.bootstrap(10, seed=1, statistic=lambda values: values["days"])
    boot = jg.Bootstrap(
        fit, "parametric", ("a",), *([np.zeros(1)] * 2), np.zeros((3, 1)), np.zeros((3, 1)), {}, len
    )
    with pytest.raises(jg.InputError, match="needs the standard error of every replicate"):
        boot.confint(method="studentised")
    assert isinstance(boot.confint(), pd.DataFrame)
