"""fitglme's arithmetic, as MATLAB's help prints it of its example of defects by factory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg
from jaxglmm.inference.wald import wald

# defects ~ newprocess + time_dev + temp_dev + supplier + (1 | factory): 100 rows, 20 factories.
PRINTED = pd.DataFrame(
    [
        (1.4689, 0.15988, 9.1875, 9.8194e-15, 1.1515, 1.7864),
        (-0.36766, 0.17755, -2.0708, 0.041122, -0.72019, -0.015134),
        (-0.094521, 0.82849, -0.11409, 0.90941, -1.7395, 1.5505),
        (-0.28317, 0.9617, -0.29444, 0.76907, -2.1926, 1.6263),
        (-0.071868, 0.078024, -0.9211, 0.35936, -0.22679, 0.083051),
        (0.071072, 0.07739, 0.91836, 0.36078, -0.082588, 0.22473),
    ],
    columns=["estimate", "std_error", "statistic", "p_value", "low", "high"],
)
DEVIANCE, AIC, BIC = 402.35, 416.35, 434.58


@pytest.fixture(scope="module")
def defects() -> jg.GLMM:
    """The data are not public; these are of the same layout."""
    rng = np.random.default_rng(6)
    factory = np.repeat(np.arange(20), 5)
    data = pd.DataFrame(
        {
            "factory": factory,
            "newprocess": factory % 2,
            "time_dev": rng.normal(0, 0.1, 100),
            "temp_dev": rng.normal(0, 0.1, 100),
            "supplier": rng.permutation(np.array(list("ABCBC") * 20)),
        }
    )
    mean = np.exp(1.4 - 0.4 * data["newprocess"] + rng.normal(0, 0.3, 20)[factory])
    data["defects"] = rng.poisson(mean)
    formula = "defects ~ newprocess + time_dev + temp_dev + supplier + (1 | factory)"
    return jg.glmm(formula, data, "poisson", contrasts="sum")


def test_the_printed_table_follows_from_its_estimates_and_errors() -> None:
    """To the five digits that estimates and errors are given in."""
    found = wald(PRINTED["estimate"], PRINTED["std_error"] ** 2, 0.95, 94)
    np.testing.assert_allclose(found.statistic, PRINTED["statistic"], rtol=1e-4)
    np.testing.assert_allclose(found.p_value, PRINTED["p_value"], rtol=5e-3)
    np.testing.assert_allclose(found.p_value[1:], PRINTED["p_value"][1:], rtol=5e-4)
    for ours in ("low", "high"):
        np.testing.assert_allclose(getattr(found, ours), PRINTED[ours], atol=1.2e-4)


def test_residual_degrees_of_freedom_and_criteria(defects: jg.GLMM) -> None:
    """n - p = 94; seven parameters, log(100) in BIC."""
    assert (defects.num_obs, defects.df_residual, defects.num_params) == (100, 94, 7)
    assert defects.deviance == -2 * defects.log_likelihood
    aic, bic = defects.aic - defects.deviance, defects.bic - defects.deviance
    assert DEVIANCE + aic == pytest.approx(AIC, abs=0.006)
    assert DEVIANCE + bic == pytest.approx(BIC, abs=0.012)


def test_one_degree_of_freedom(defects: jg.GLMM) -> None:
    """F = t^2 of 1 and 94 degrees of freedom."""
    t = defects.fixed_effects(df="residual").set_index("term")
    assert set(t["df"]) == {94.0}
    F = defects.anova("marginal").set_index("term")
    assert F.loc["supplier", "num_df"] == 2
    for term in ("Intercept", "newprocess", "time_dev", "temp_dev"):
        assert F.loc[term, "statistic"] == pytest.approx(t.loc[term, "statistic"] ** 2, rel=1e-9)
        assert (F.loc[term, "num_df"], F.loc[term, "den_df"]) == (1, 94)
        assert F.loc[term, "p_value"] == pytest.approx(t.loc[term, "p_value"], rel=1e-9)
