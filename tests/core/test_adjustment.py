"""Several tests at once: adjusted p-values, critical values, letters, contrasts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from jaxglmm.inference import contrasts, letters
from jaxglmm.inference.adjustment import METHODS, Several, critical, p_values
from jaxglmm.inference.estimable import Embedded, Linear, joint_test, null_space
from jaxglmm.inference.freedom import Known
from jaxglmm.inference.quantiles import ALTERNATIVES
from jaxglmm.inference.simultaneous import largest_of


def of_pairs(k: int, statistic: float, df: float) -> Several:
    """All differences of k independent means."""
    C = contrasts.pairwise(k)
    number = len(C)
    return Several(np.full(number, statistic), np.full(number, df), C @ C.T / 2, k)


@pytest.mark.parametrize("k", [2, 4, 6])
def test_the_largest_difference_is_the_studentized_range(k: int) -> None:
    """Of independent means the multivariate t tail is the range's, at all sizes."""
    law = largest_of(of_pairs(k, 1.0, np.inf).correlation)
    for df in (np.inf, 7.3):
        for c in (0.5, 2.0, 3.5, 6.0):
            exact = stats.studentized_range.sf(np.sqrt(2) * c, k, df)
            assert law.tail(c, df) == pytest.approx(exact, rel=1e-3)
        assert law.tail(law.quantile(0.95, df), df) == pytest.approx(0.05, rel=1e-6)


def test_the_largest_of_independent_ones_is_sidaks() -> None:
    tests = Several(np.full(3, 2.5), np.full(3, np.inf), np.eye(3))
    np.testing.assert_allclose(p_values(tests, "mvt"), p_values(tests, "sidak"), rtol=1e-4)
    np.testing.assert_allclose(
        critical(tests, 0.9, "mvt"), critical(tests, 0.9, "sidak"), rtol=1e-4
    )


@pytest.mark.parametrize("df", [np.inf, 7.5])
@pytest.mark.parametrize("k", [2, 5])
def test_the_largest_of_equally_correlated_ones(k: int, df: float) -> None:
    """One-sided differences from a control: by integration over what they share, and over s."""
    law = largest_of(0.5 * np.eye(k) + 0.5, one_sided=True)
    z, w = np.polynomial.hermite_e.hermegauss(80)

    def below(c: float) -> float:
        return float(w @ stats.norm.cdf(np.sqrt(2) * c + z) ** k / w.sum())

    def exact(c: float) -> float:
        if np.isinf(df):
            return 1 - below(c)
        s = stats.chi(df, scale=1 / np.sqrt(df))
        return 1 - integrate.quad(lambda v: below(c * v) * s.pdf(v), 0, 6, epsabs=1e-10)[0]

    for c in (-2.0, -0.4, 0.0, 0.4, 2.0, 4.0):
        assert law.tail(c, df) == pytest.approx(exact(c), rel=2e-3)
    assert exact(law.quantile(0.95, df)) == pytest.approx(0.05, rel=2e-3)


def test_opposite_ones_exceed_apart() -> None:
    """P(max(T, -T) > c) = 2 P(T > c), by Sidak's method too little."""
    tests = Several(
        np.full(2, 1.5), np.full(2, 6.0), np.array([[1.0, -1], [-1, 1]]), None, "greater"
    )
    np.testing.assert_allclose(p_values(tests, "mvt"), 2 * stats.t.sf(1.5, 6.0), rtol=1e-6)
    np.testing.assert_allclose(p_values(tests, "none"), stats.t.sf(1.5, 6.0), rtol=1e-12)
    less = tests._replace(alternative="less")
    np.testing.assert_allclose(p_values(less, "none"), stats.t.cdf(1.5, 6.0), rtol=1e-12)
    np.testing.assert_array_equal(p_values(less, "tukey"), p_values(less, "mvt"))


def test_a_statistic_of_zero() -> None:
    tests = Several(np.zeros(3), np.full(3, 5.0), np.eye(3))
    for method in METHODS:
        np.testing.assert_allclose(p_values(tests, method), 1.0, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("df", [np.inf, 9.5])
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_limits_and_p_values_agree(method: str, df: float, alternative: str) -> None:
    """Where the statistic is the critical value of the single-step methods, p is 1 - level."""
    tests = of_pairs(4, 1.0, df)._replace(alternative=alternative)
    c = critical(tests, 0.9, method)
    p = p_values(tests._replace(statistic=-c if alternative == "less" else c), method)
    if method in ("holm", "hochberg", "bh", "by"):
        sides = 2 if alternative == "two-sided" else 1
        np.testing.assert_allclose(c, critical(tests, 0.9, "bonferroni"))
        assert np.all(p <= 6 * sides * stats.t.sf(c[0], df) * (1 + 1e-9) * (1 + 0.5 + 1 / 3 + 1))
    else:
        np.testing.assert_allclose(p, 0.1, rtol=1e-3)


def test_stepwise_p_values() -> None:
    """By hand: p = .01, .02, .03, .5."""
    p = np.array([0.01, 0.02, 0.03, 0.5])
    tests = Several(stats.norm.isf(p / 2), np.full(4, np.inf), np.eye(4))
    np.testing.assert_allclose(p_values(tests, "holm"), [0.04, 0.06, 0.06, 0.5])
    np.testing.assert_allclose(p_values(tests, "hochberg"), [0.04, 0.06, 0.06, 0.5])
    np.testing.assert_allclose(p_values(tests, "bh"), [0.04, 0.04, 0.04, 0.5])
    closer = tests._replace(statistic=stats.norm.isf(np.array([0.03, 0.02, 0.025, 0.03]) / 2))
    np.testing.assert_allclose(p_values(closer, "hochberg"), 0.03)
    np.testing.assert_allclose(p_values(closer, "holm"), 0.08)


def test_what_is_not_known_stays_so() -> None:
    """A function without a statistic takes no part in stepwise methods."""
    correlation = np.array([[1, 0.5, np.nan], [0.5, 1, np.nan], [np.nan] * 3])
    tests = Several(np.array([2.0, 3.0, np.nan]), np.array([np.inf, np.inf, np.nan]), correlation)
    for method in METHODS:
        p, c = p_values(tests, method), critical(tests, 0.95, method)
        assert np.isnan([p[2], c[2]]).all() and np.isfinite([*p[:2], *c[:2]]).all()
    holm = p_values(tests, "holm")
    assert holm[1] == pytest.approx(2 * 2 * stats.norm.sf(3.0))


def test_letters_of_overlapping_groups() -> None:
    """Means 0-3 in a row: only those two or more apart differ."""
    different = np.abs(np.subtract.outer(np.arange(4), np.arange(4))) >= 2
    found = letters.groups(different)
    expected = [[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]]
    np.testing.assert_array_equal(found, np.array(expected, bool))
    assert letters.groups(np.zeros((3, 3), bool)).shape == (3, 1)


@pytest.mark.parametrize("seed", range(5))
def test_two_means_share_a_letter_unless_they_differ(seed: int) -> None:
    upper = np.triu(np.random.default_rng(seed).random((8, 8)) < 0.4, 1)
    different = upper | upper.T
    found = letters.groups(different)
    shared = found.astype(int) @ found.T > 0
    np.testing.assert_array_equal(shared, ~different)


def test_contrasts_add_up_to_zero_and_polynomials_are_the_tables() -> None:
    made = (contrasts.pairwise(5), contrasts.against(5, 2), contrasts.effects(5))
    made += (contrasts.effects(5, others=True), contrasts.mean_changes(5), contrasts.consecutive(5))
    for matrix in made:
        np.testing.assert_allclose(matrix.sum(axis=1), 0, atol=1e-15)
    table = [[-5, -3, -1, 1, 3, 5], [5, -1, -4, -4, -1, 5], [-5, 7, 4, -4, -7, 5]]
    np.testing.assert_array_equal(contrasts.polynomial(6, 3), table)


def linear(X: np.ndarray, L: np.ndarray, lost: int) -> Linear:
    p = X.shape[1]
    known = Known(np.eye(p), 12.0)
    whole = Embedded(known, np.ones(p, bool), np.arange(p), p)
    return Linear(L, np.arange(1.0, p + 1), np.eye(p), np.zeros(len(L)), null_space(X, lost), whole)


def test_what_the_data_do_not_determine_is_nan() -> None:
    """Intercept and indicators of two groups: levels are estimable, effects by themselves not."""
    indicators = np.repeat(np.eye(2), 3, axis=0)
    X = np.column_stack([np.ones(6), indicators])
    own = linear(X, np.array([[1.0, 1, 0], [1, 0, 1], [0, 1, 0], [0, 1, -1]]), 1)
    np.testing.assert_array_equal(own.estimable, [True, True, False, True])
    np.testing.assert_allclose(own.estimate, [3, 4, np.nan, -1])
    difference = own.combine(np.array([[1.0, -1, 0, 0]]))
    np.testing.assert_allclose([*difference.estimate, *difference.df], [-1, 12])


def test_joint_tests_leave_out_what_is_not_estimable() -> None:
    X = np.column_stack([np.ones(6), np.repeat(np.eye(2), 3, axis=0)])
    own = linear(X, np.array([[1.0, 1, 0], [1, 0, 1], [0, 1, 0], [0, 1, -1]]), 1)
    found = joint_test(own)
    assert found.outcome.num_df == 2 and found.reduced
    whole = linear(np.eye(3), np.array([[0.0, 1, 0], [0, 0, 1]]), 0)
    outcome = joint_test(whole).outcome
    assert outcome.statistic == pytest.approx((2**2 + 3**2) / 2)
    assert outcome.p_value == pytest.approx(stats.f.sf(6.5, 2, 12))
