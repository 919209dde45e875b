"""Offsets, weights, categories, and the order of rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg

from .awkward import COUNTS, MIXED, G, X, beta, checked, plain, table


@pytest.mark.parametrize("offset", [25.0, -25.0])
def test_a_huge_offset_moves_the_intercept(offset: float) -> None:
    fit = checked(MIXED, table(), "poisson", offset=np.full(24, offset))
    assert fit.status == plain().status
    np.testing.assert_allclose(fit.log_likelihood, plain().log_likelihood, rtol=0, atol=1e-7)
    np.testing.assert_allclose(beta(fit) + [offset, 0], beta(plain()), rtol=1e-6)


def test_offsets_of_many_sizes() -> None:
    """Exposures from e^-8 to e^8: the counts they make, and the rates they are made of."""
    offset = np.linspace(-8, 8, 24)
    y = np.floor(np.exp(0.5 + offset) + 0.5)
    fit = checked(MIXED, table(y=y), "poisson", offset=offset)
    assert fit.converged
    np.testing.assert_allclose(beta(fit)[0], 0.5, atol=0.1)


def test_rows_of_weight_zero_are_as_if_left_out() -> None:
    weights = np.ones(24)
    weights[[2, 7, 20]] = 0.0
    y = COUNTS.astype(float)
    y[2] = 1e6  # whatever stands there
    whole = checked(MIXED, table(y=y), "poisson", weights=weights)
    part = checked(MIXED, table(y=y), "poisson", subset=weights > 0)
    assert whole.num_obs == part.num_obs == 21
    assert (whole.df_residual, whole.num_params) == (part.df_residual, part.num_params)
    np.testing.assert_allclose(whole.log_likelihood, part.log_likelihood, rtol=1e-10)
    np.testing.assert_allclose(beta(whole), beta(part), rtol=1e-7)
    np.testing.assert_allclose(whole.bic, part.bic, rtol=1e-10)
    assert whole.fitted().shape == (24,) and part.fitted().shape == (21,)


def test_integer_weights_repeat_rows() -> None:
    weights = np.where(np.arange(24) % 5 == 0, 3, 1)
    data = pd.DataFrame(table())
    weighted = checked(MIXED, data, "poisson", weights=weights)
    repeated = checked(MIXED, data.loc[data.index.repeat(weights)], "poisson")
    np.testing.assert_allclose(weighted.log_likelihood, repeated.log_likelihood, rtol=1e-10)
    np.testing.assert_allclose(beta(weighted), beta(repeated), rtol=1e-6)


def test_trials_of_zero_carry_nothing() -> None:
    n = np.where(np.arange(24) % 6 == 0, 0, 4)
    y = np.minimum(COUNTS, n)
    whole = checked("y / n ~ x + (1 | g)", table(y=y, n=n), "binomial")
    part = checked("y / n ~ x + (1 | g)", table(y=y, n=n), "binomial", subset=n > 0)
    np.testing.assert_allclose(whole.log_likelihood, part.log_likelihood, rtol=1e-10)
    np.testing.assert_allclose(beta(whole), beta(part), rtol=1e-6)


def test_categories_that_no_row_has() -> None:
    f = pd.Categorical(np.tile(["b", "a", "c", "a"], 6), categories=["none", "b", "a", "x", "c"])
    g = pd.Categorical(G.astype(str), categories=["9", *map(str, range(8))])
    formula = "y ~ f + (1 | g)"
    fit = checked(formula, table(f=f, g=g), "poisson")
    used = table(f=f.remove_unused_categories(), g=g.remove_unused_categories())
    again = checked(formula, used, "poisson")
    assert fit.status in ("converged", "converged_boundary")
    assert list(fit.fixed_effects()["term"]) == ["Intercept", "f[T.a]", "f[T.c]"]
    assert list(fit.random_effects()["level"]) == list("012345")
    np.testing.assert_allclose(fit.log_likelihood, again.log_likelihood, rtol=1e-12)


def test_large_counts() -> None:
    y = np.round(1e6 * np.exp(0.3 * X + 0.2 * np.sin(3 * G)))
    fit = checked(MIXED, table(y=y), "poisson")
    assert fit.converged
    np.testing.assert_allclose(beta(fit)[1], 0.3, atol=1e-3)


def test_the_order_of_the_rows_does_not_matter() -> None:
    order = np.random.default_rng(0).permutation(24)
    shuffled = {name: np.asarray(values)[order] for name, values in table().items()}
    fit = checked(MIXED, shuffled, "poisson")
    np.testing.assert_allclose(fit.log_likelihood, plain().log_likelihood, rtol=1e-12)
    np.testing.assert_allclose(fit.fitted(), plain().fitted()[order], rtol=1e-7)


def test_a_start_leads_to_the_same_maximum() -> None:
    fit = checked(MIXED, table(), "poisson", start={"beta": [3, -1], "theta": [2], "phi": []})
    np.testing.assert_allclose(fit.log_likelihood, plain().log_likelihood, rtol=1e-9)
    again = checked(MIXED, table(), "poisson", start=plain().estimate.params)
    assert again.optimizer.iterations <= plain().optimizer.iterations
    np.testing.assert_allclose(beta(again), beta(plain()), rtol=1e-6)


def test_the_iteration_limit_is_a_status() -> None:
    data = table(g=np.arange(24) % 6)
    fit = checked(
        MIXED,
        data,
        "poisson",
        control=jg.Control(max_iterations=1),
        start={"beta": [5, -3], "theta": [4], "phi": []},
    )
    assert fit.status == "max_iterations" and not fit.converged
    assert "max_iterations" in fit.status_message
