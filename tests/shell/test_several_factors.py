"""Crossed and nested grouping factors, from the formula to predictions."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg
from jaxglmm.frontend import memory

rng = np.random.default_rng(11)
SCHOOL, PUPIL = rng.integers(0, 6, 90), rng.integers(0, 12, 90)
X = rng.normal(size=90)
EFFECTS = 0.8 * rng.normal(size=6)[SCHOOL] + 0.5 * rng.normal(size=12)[PUPIL]
DATA = {
    "y": rng.poisson(np.exp(0.5 + 0.3 * X + EFFECTS)).astype(float),
    "x": X,
    "school": np.array(list("abcdef"))[SCHOOL],
    "pupil": PUPIL,
}
CROSSED = "y ~ x + (1 | school) + (1 + x | pupil)"


@pytest.fixture(scope="module")
def crossed() -> jg.GLMM:
    return jg.glmm(CROSSED, DATA, family="poisson")


def test_the_largest_factor_comes_first(crossed: jg.GLMM) -> None:
    assert crossed.data_info.groups == {"pupil": 12, "school": 6}
    table = crossed.covariance_parameters()
    assert list(table["group"].dropna()) == ["pupil"] * 3 + ["school"]
    text = str(crossed.summary())
    assert "pupil, 12" in text and "school, 6" in text
    effects = crossed.random_effects()
    assert len(effects) == 2 * 12 + 6
    assert np.isfinite(crossed.random_effects(uncertainty="joint")["std_error"]).all()


def test_the_order_of_the_terms_does_not_matter(crossed: jg.GLMM) -> None:
    other = jg.glmm("y ~ x + (1 + x | pupil) + (1 | school)", DATA, family="poisson")
    np.testing.assert_allclose(other.log_likelihood, crossed.log_likelihood, rtol=1e-12)
    np.testing.assert_allclose(other.vcov(), crossed.vcov(), rtol=1e-8)


def test_it_is_the_maximum_of_the_core(crossed: jg.GLMM) -> None:
    """The engine's value at the estimate, and a gradient of zero."""
    problem, _ = jg.build(CROSSED, DATA, family="poisson")
    with jax.enable_x64(True):
        value, slope = jax.jit(jax.value_and_grad(jg.log_likelihood))(
            crossed.estimate.params, problem
        )
    np.testing.assert_allclose(value, crossed.log_likelihood, rtol=1e-12)
    np.testing.assert_allclose(np.concatenate(jax.tree.leaves(slope)), 0.0, atol=1e-6)


def test_predictions_know_every_factor(crossed: jg.GLMM) -> None:
    np.testing.assert_allclose(crossed.predict(DATA), crossed.fitted(), rtol=1e-10)
    effects = crossed.random_effects().set_index(["group", "level", "term"])["estimate"]
    beta = crossed.fixed_effects()["estimate"].to_numpy()
    new = {"x": [0.5, 0.5], "school": ["c", "new"], "pupil": [99, 4]}
    eta = crossed.predict(new, scale="link", new_levels="population")
    names = effects.index.get_level_values("term")
    slope = next(name for name in names if name != "Intercept")
    pupil = effects["pupil", 4, "Intercept"] + 0.5 * effects["pupil", 4, slope]
    expected = beta[0] + 0.5 * beta[1] + np.array([effects["school", "c", "Intercept"], pupil])
    np.testing.assert_allclose(eta, expected, rtol=1e-9)


def test_round_trip(crossed: jg.GLMM, tmp_path: Path) -> None:
    crossed.save(tmp_path / "fit")
    again = jg.load(tmp_path / "fit")
    assert str(again.summary()) == str(crossed.summary())
    np.testing.assert_array_equal(again.predict(DATA), crossed.predict(DATA))


def test_nesting_is_an_interaction() -> None:
    fits = [
        jg.glmm(f"y ~ x + {random}", DATA, family="poisson")
        for random in ("(1 | school/pupil)", "(1 | school) + (1 | school:pupil)")
    ]
    assert set(fits[0].data_info.groups) == {"school", "school:pupil"}
    np.testing.assert_allclose(fits[0].log_likelihood, fits[1].log_likelihood, rtol=1e-12)


def test_a_factor_for_every_row() -> None:
    """Overdispersion as a random effect of the observation, beside another factor."""
    data = {**DATA, "row": np.arange(90)}
    fit = jg.glmm("y ~ x + (1 | school) + (1 | row)", data, family="poisson")
    assert fit.converged and fit.data_info.groups == {"row": 90, "school": 6}


ITERATIVE = jg.Control(factorisation="iterative")


@pytest.fixture(scope="module")
def iterative() -> jg.GLMM:
    return jg.glmm("y ~ x + (1 | pupil) + (1 | school)", DATA, family="poisson", control=ITERATIVE)


def test_an_iterative_fit_says_so(iterative: jg.GLMM, crossed: jg.GLMM) -> None:
    assert iterative.converged and iterative.optimizer.monte_carlo_error > 0
    text = " ".join(str(iterative.summary()).split())
    assert "conjugate gradients and random vectors" in text
    assert "Monte-Carlo error of the log-likelihood: " in text and "Control(probes=...)" in text
    assert crossed.optimizer.monte_carlo_error == 0
    assert "Monte-Carlo" not in str(crossed.summary())


def test_round_trip_of_an_iterative_fit(iterative: jg.GLMM, tmp_path: Path) -> None:
    iterative.save(tmp_path / "fit")
    again = jg.load(tmp_path / "fit")
    assert str(again.summary()) == str(iterative.summary())
    pd.testing.assert_frame_equal(again.random_effects(), iterative.random_effects())


@pytest.mark.slow
def test_more_probes_leave_less_error(iterative: jg.GLMM) -> None:
    control = jg.Control(factorisation="iterative", probes=256)
    more = jg.glmm(iterative.formula, DATA, family="poisson", control=control)
    assert more.optimizer.monte_carlo_error < 0.5 * iterative.optimizer.monte_carlo_error
    exact = jg.glmm(iterative.formula, DATA, family="poisson")
    error = more.optimizer.monte_carlo_error
    assert abs(more.log_likelihood - exact.log_likelihood) < 4 * error
    for a, b in zip(more.b_variance, exact.b_variance, strict=True):
        np.testing.assert_allclose(a, b, rtol=0.02)


MEMORY = [
    (
        "y ~ x + (1 | pupil) + (1 | school)",
        {},
        ("12 of 'pupil' and 6 of 'school'", "(factorisation: "),
    ),
    ("y ~ x + (1 | school/pupil)", {}, ("nested", "Use fewer rows")),
    ("y ~ x", {}, ("90 rows", "independent")),
    ("y ~ x + (1 | pupil) + (1 | school)", {"control": ITERATIVE}, ("iterative", "fewer rows")),
]


@pytest.mark.parametrize(("formula", "arguments", "words"), MEMORY)
def test_more_than_the_machine_has(
    formula: str,
    arguments: dict[str, jg.Control],
    words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "machine_memory", lambda: 1e8)
    with pytest.raises(jg.InputError) as caught:
        jg.glmm(formula, DATA, family="poisson", **arguments)
    message = str(caught.value)
    for word in (*words, "needs about 0.3 GB", "this machine has 0.1 GB", "larger machine"):
        assert word in message, message


def test_a_dense_border_of_large_factors_is_refused_and_left_to_auto() -> None:
    """100,000 x 100,000 levels: 160 GB and more for the dense matrices, 1 GB without."""
    rng = np.random.default_rng(1)
    n = 200_000
    table = {"g": rng.integers(0, 100_000, n), "h": rng.integers(0, 100_000, n), "y": np.ones(n)}
    formula = "y ~ (1 | g) + (1 | h)"
    dense = jg.Control(factorisation="crossed")
    with pytest.raises(jg.InputError, match="crossed.*Leave Control.* at 'auto'"):
        jg.build(formula, table, family="poisson", control=dense)
    problem, _ = jg.build(formula, table, family="poisson")
    assert type(problem.pattern).__name__ == "Iterative"
