"""Degrees of freedom, tests and sandwich matrices of arrays, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from jaxglmm.inference.blocks import blocks_of, independent_clusters
from jaxglmm.inference.freedom import ClusterRobust, KenwardRoger, Known, Satterthwaite
from jaxglmm.inference.hypotheses import first_of, other_coding
from jaxglmm.inference.kenward_roger import Adjusted, kenward_roger
from jaxglmm.inference.linear import linear_test
from jaxglmm.inference.sandwich import of_linear_model
from jaxglmm.inference.working import Random, Working

GROUPS, EACH, SIGMA, TAU = 7, 4, 1.3, 0.8


def one_way(X: np.ndarray, free: np.ndarray | None = None) -> Working:
    """Random intercepts of balanced groups; psi = (tau^2, log sigma)."""
    n = GROUPS * EACH
    term = Random(
        np.repeat(np.arange(GROUPS), EACH),
        np.ones((1, 1)),
        np.full((1, 1), TAU**2),
        np.ones((1, 1, 1)),
    )
    return Working(X, np.full(n, SIGMA**2), np.full((1, n), 2 * SIGMA**2), (term,), free)


def design() -> np.ndarray:
    """An intercept, a predictor between groups and one that is balanced within each."""
    between = np.repeat(np.linspace(-1, 1, GROUPS) ** 2, EACH)
    within = np.tile([-1.0, 1.0, 1.0, -1.0], GROUPS)
    return np.column_stack([np.ones(GROUPS * EACH), between, within])


def adjusted(free: np.ndarray | None = None) -> Adjusted:
    model = one_way(design(), free)
    return kenward_roger(model, blocks_of(model.terms[0].codes))


def test_kenward_roger_of_a_balanced_design_is_exact() -> None:
    """F tests of a balanced split plot: error strata and their degrees of freedom."""
    found = adjusted()
    np.testing.assert_allclose(found.covariance, found.conditional, rtol=1e-9, atol=1e-14)
    freedom = KenwardRoger(*found)
    between, within = GROUPS - 2, GROUPS * (EACH - 1) - 1
    np.testing.assert_allclose(freedom.each(np.eye(3)), [between, between, within], rtol=1e-9)
    both = freedom.together(np.eye(3)[:2])
    np.testing.assert_allclose([both.df, both.scale], [between, 1.0], rtol=1e-9)


def test_kenward_roger_without_random_effects_is_least_squares() -> None:
    X = design()
    model = Working(X, np.full(len(X), 2.0), np.full((1, len(X)), 4.0), (), None)
    freedom = KenwardRoger(*kenward_roger(model, blocks_of(np.arange(len(X)))))
    np.testing.assert_allclose(freedom.covariance, 2.0 * np.linalg.inv(X.T @ X), rtol=1e-10)
    found = freedom.together(np.eye(3))
    np.testing.assert_allclose([found.df, found.scale], [len(X) - 3, 1.0], rtol=1e-9)


def test_kenward_roger_of_known_variances_has_nothing_to_adjust() -> None:
    X = design()
    model = Working(X, np.full(len(X), 2.0), np.zeros((0, len(X))), (), None)
    freedom = KenwardRoger(*kenward_roger(model, blocks_of(np.arange(len(X)))))
    np.testing.assert_allclose(freedom.covariance, 2.0 * np.linalg.inv(X.T @ X), rtol=1e-10)
    np.testing.assert_array_equal(freedom.each(np.eye(3)), np.inf)
    test = linear_test(freedom, np.ones(3), np.eye(3), np.zeros(3))
    assert np.isinf(test.den_df) and test.num_df == 3


def test_kenward_roger_does_not_depend_on_the_parameters() -> None:
    plain, turned = adjusted(), adjusted(np.array([[1.0, 2.0], [0.3, -1.0]]))
    np.testing.assert_allclose(plain.covariance, turned.covariance, rtol=1e-10, atol=1e-14)
    L = np.array([[1.0, 0.5, 2.0], [0.0, 1.0, -1.0]])
    np.testing.assert_allclose(KenwardRoger(*plain).together(L), KenwardRoger(*turned).together(L))


def test_satterthwaite_of_one_variance() -> None:
    """Phi = s^2 C with Var(s^2) = 2 s^4 / nu has nu degrees of freedom, together as well."""
    rng = np.random.default_rng(3)
    C = np.cov(rng.normal(size=(3, 20)))
    s2, nu = 1.7, 11.0
    freedom = Satterthwaite(s2 * C, s2 * C, C[None], np.array([[2 * s2**2 / nu]]))
    L = rng.normal(size=(2, 3))
    np.testing.assert_allclose(freedom.each(L), nu)
    assert freedom.together(L).df == pytest.approx(nu)
    beta = rng.normal(size=3)
    found = linear_test(freedom, beta, L, np.zeros(2))
    W = (L @ beta) @ np.linalg.solve(L @ (s2 * C) @ L.T, L @ beta)
    np.testing.assert_allclose(found, [W / 2, 2, nu, stats.f.sf(W / 2, 2, nu)], rtol=1e-10)


def test_dependent_rows_leave_the_test_as_it_is() -> None:
    V, beta = np.diag([1.0, 4.0, 1e-12]), np.array([1.0, -3.0, 2e-6])
    L, c = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), np.array([0.5, 0.0])
    more = np.vstack([L, L[0] - 1e3 * L[1]]), np.append(c, c[0])
    freedom = Known(V, np.inf)
    for kind in ("F", "chisq"):
        plain = linear_test(freedom, beta, L, c, kind)
        np.testing.assert_allclose(linear_test(freedom, beta, *more, kind), plain, rtol=1e-8)
    assert plain.num_df == 2 and plain.p_value == pytest.approx(stats.chi2.sf(plain.statistic, 2))


def test_a_coefficient_that_is_not_known() -> None:
    V = np.diag([1.0, np.nan, 2.0])
    V[1] = V[:, 1] = np.nan
    beta, rows = np.ones(3), np.eye(3)
    assert np.isfinite(linear_test(Known(V, 5.0), beta, rows[[0, 2]], np.zeros(2)).p_value)
    assert np.isnan(linear_test(Known(V, 5.0), beta, rows[:2], np.zeros(2)).p_value)


def test_first_of_is_the_difference_of_two_statistics() -> None:
    rng = np.random.default_rng(8)
    V, beta = np.cov(rng.normal(size=(5, 30))), rng.normal(size=5)
    own, relatives = np.array([1, 2]), np.array([3, 4])
    freedom = Known(V, np.inf)
    found = linear_test(freedom, beta, first_of(V, own, relatives), np.zeros(2), "chisq")
    every, rest = (
        linear_test(freedom, beta, np.eye(5)[which], np.zeros(len(which)), "chisq").statistic
        for which in ([1, 2, 3, 4], [3, 4])
    )
    assert found.statistic == pytest.approx(every - rest)


def test_the_same_space_in_other_columns() -> None:
    X = design()
    turn = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [1.0, 0.0, 1.0]])
    found = other_coding(X, X @ turn)
    assert found is not None
    np.testing.assert_allclose(found, np.linalg.inv(turn), atol=1e-12)
    assert other_coding(X, X[:, :2]) is None


def test_sandwich_of_single_rows_is_hc0_and_hc2() -> None:
    X, rng = design(), np.random.default_rng(2)
    n, e = len(X), rng.normal(size=len(X))
    model = Working(X, np.full(n, 3.0), np.zeros((0, n)), (), None)
    inverse = np.linalg.inv(X.T @ X)
    for unbiased in (False, True):
        weight = 1.0 / (1.0 - np.einsum("ip,pq,iq->i", X, inverse, X)) if unbiased else 1.0
        expected = inverse @ (X.T * (weight * e**2)) @ X @ inverse
        found = of_linear_model(model, blocks_of(np.arange(n)), e, unbiased=unbiased)
        np.testing.assert_allclose(found.covariance, expected, rtol=1e-10)


def test_the_robust_variance_of_a_mean_is_students() -> None:
    """CR2 of one row a cluster is s^2 / n with n - 1 degrees of freedom."""
    n, e = 9, np.random.default_rng(4).normal(size=9)
    e -= e.mean()
    model = Working(np.ones((n, 1)), np.full(n, 0.7), np.zeros((0, n)), (), None)
    found = of_linear_model(model, blocks_of(np.arange(n)), e, unbiased=True)
    np.testing.assert_allclose(found.covariance, e @ e / (n - 1) / n)
    freedom = ClusterRobust(*found)
    np.testing.assert_allclose(freedom.each(np.eye(1)), n - 1)
    assert freedom.together(np.eye(1)).df == pytest.approx(n - 1)


def test_clusters_are_the_rows_that_levels_link() -> None:
    crossed = [np.array([0, 0, 1, 1, 2, 3]), np.array([0, 1, 1, 2, 3, 3])]
    np.testing.assert_array_equal(independent_clusters(crossed, 6), [0, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(independent_clusters([], 3), [0, 1, 2])
    blocks = blocks_of(np.array([1, 0, 1, 1]))
    assert blocks.size == 3 and blocks.filled.sum() == 4
    np.testing.assert_array_equal(blocks.index[1], [0, 2, 3])
