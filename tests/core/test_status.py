"""How fits end: on the boundary, at infinity, nowhere. A status, never an exception or a NaN."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxglmm import families, status
from jaxglmm.control import Control
from jaxglmm.design import make_problem
from jaxglmm.engine import log_likelihood
from jaxglmm.families.base import BOUNDARY
from jaxglmm.params import Params, flatten

from .zoo import LAWS, draw, eta_interval, fit, grouping, make_case, slow

CODES = np.repeat(np.arange(12), 10).astype(np.int32)
N = CODES.size
RNG = np.random.default_rng(11)
X = np.column_stack([np.ones(N), RNG.normal(size=N)])
TRIALS = {"binomial": np.full(N, 6.0)}


def problem(y, family="gaussian", *, random=True, q=1, X=X, codes=CODES, **options):
    Z = X[:, :q]
    groups = (grouping(codes, Z),) if random else ()
    return make_problem(np.asarray(y, float), X, families.get(family), groups, **options)


def honest(estimate):
    """A plain `converged` promises finite numbers and a Hessian that can be inverted."""
    if estimate.status in (status.CONVERGED, status.CONVERGED_BOUNDARY):
        assert np.all(np.isfinite(flatten(estimate.params)))
        assert np.isfinite(estimate.log_likelihood) and np.all(np.isfinite(estimate.hessian))
        assert all(np.all(np.isfinite(u)) for u in estimate.u)
    if estimate.status == status.CONVERGED:
        # Standard errors in units of those with all other parameters known.
        scale = np.sqrt(-np.diagonal(estimate.hessian))
        inflation = np.linalg.inv(-estimate.hessian / np.outer(scale, scale))
        assert np.max(np.sqrt(np.diagonal(inflation))) < 1e3
    return status.NAMES[int(estimate.status)]


@pytest.mark.parametrize("family", ["gaussian", "binomial", "poisson", slow("gamma"), "nbinom2"])
def test_variance_zero(family):
    """Every level holds the same responses, so the between-level variance is below its error."""
    law = families.get(family)
    rng, x = np.random.default_rng(3), np.tile(np.linspace(-1, 1, 10), 12)
    low, high = eta_interval(law)
    phi, weight = LAWS[family].phi, 6.0 if family == "binomial" else 1.0
    once = draw(rng, law, np.full(10, 0.4 * low + 0.6 * high), phi, weight)
    levels = problem(
        np.tile(once, 12), family, X=np.column_stack([np.ones(N), x]), trials=TRIALS.get(family)
    )
    estimate = fit(levels)
    assert honest(estimate) == "converged_boundary"
    assert estimate.singular
    np.testing.assert_allclose(estimate.params.theta, 0.0, atol=1e-4)
    plain = fit(levels.replace(groupings=()))
    np.testing.assert_allclose(estimate.log_likelihood, plain.log_likelihood, atol=1e-6)
    np.testing.assert_allclose(estimate.params.beta, plain.params.beta, atol=1e-4)


def test_correlation_one():
    rng = np.random.default_rng(5)
    b = rng.normal(size=12)[CODES]
    y = X @ [0.3, 0.5] + b * (1 + 0.5 * X[:, 1]) + rng.normal(size=N)
    estimate = fit(problem(y, q=2))
    name, L = honest(estimate), estimate.params.theta
    if abs(L[2]) < 1e-3:
        assert name == "converged_boundary" and estimate.singular
    else:
        assert name == "converged" and not estimate.singular


@pytest.mark.parametrize("q", [0, 1, slow(2)])
def test_complete_separation(q):
    y = (X[:, 1] > 0.2).astype(float)
    assert honest(fit(problem(y, "binomial", random=q > 0, q=q))) == "separated"


def test_quasi_separation_of_one_group_of_a_factor():
    """A treatment arm without a single success."""
    arm = np.tile([0.0, 1.0], N // 2)
    y = np.where(arm == 1, 0.0, np.random.default_rng(1).binomial(1, 0.5, N))
    estimate = fit(problem(y, "binomial", X=np.column_stack([np.ones(N), arm])))
    assert honest(estimate) == "separated"


@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize("family", ["poisson", "binomial", slow("nbinom2")])
def test_nothing_but_zeros(family, random):
    assert honest(fit(problem(np.zeros(N), family, random=random))) == "separated"


def test_levels_of_large_counts_are_not_separated():
    """Twelve levels that differ by orders of magnitude know the mean far less well than so many
    counts of one mean would."""
    rng = np.random.default_rng(3)
    b = rng.normal(size=12)[CODES]
    y = rng.poisson(np.exp(10.0 + 0.3 * X[:, 1] + 3.0 * b))
    estimate = fit(problem(y, "poisson"))
    assert honest(estimate) == "converged"
    np.testing.assert_allclose(estimate.params.beta[1], 0.3, atol=0.01)


@pytest.mark.parametrize("seed", [0, 24, 36, 42, 51])
def test_effects_of_single_rows_take_the_place_of_a_dispersion(seed):
    """A gamma law's dispersion falls without end, and the log-likelihood to that of log-normal
    responses: no `converged` with a dispersion of nothing, and no failure."""
    rng, n = np.random.default_rng(seed), 8
    few = np.column_stack([np.ones(n), rng.normal(size=n)])
    y = rng.gamma(2.0, 0.5, n)
    estimate = fit(problem(y, "gamma", X=few, codes=np.arange(n, dtype=np.int32)))
    name = honest(estimate)
    if estimate.params.phi[0] > -5.0:
        assert seed == 0
        return
    assert name == "converged_boundary" and estimate.limit == BOUNDARY
    log = np.log(y)
    residual = log - few @ np.linalg.lstsq(few, log)[0]
    variance = np.mean(residual**2)
    density = -0.5 * n * (np.log(2 * np.pi * variance) + 1.0) - np.sum(log)
    np.testing.assert_allclose(estimate.log_likelihood, density, atol=1e-5)
    np.testing.assert_allclose(estimate.params.theta[0] ** 2, variance, rtol=1e-3)
    # It falls no further than it must, as the rounding of the Hessian grows: -2 n / theta^2 here.
    np.testing.assert_allclose(-estimate.hessian[2, 2], 2 * n / variance, rtol=1e-3)
    assert estimate.params.phi[0] > -17.0


@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize("family", ["gaussian", slow("gamma"), slow("beta")])
def test_a_constant_response_has_no_dispersion(family, random):
    assert honest(fit(problem(np.full(N, 0.5), family, random=random))) == "nonfinite"


def test_a_perfect_fit_has_no_maximum():
    assert honest(fit(problem(X @ [1.0, 2.0]))) == "nonfinite"


def test_one_row_a_level_of_a_gaussian_is_not_identified():
    """Only the sum of the two variances is: a ridge, never a plain `converged`."""
    rng = np.random.default_rng(2)
    y = X @ [0.5, 1.0] + rng.normal(size=N)
    estimate = fit(problem(y, codes=np.arange(N)))
    assert honest(estimate) in ("rank_deficient", "converged_boundary")
    total = np.exp(2 * estimate.params.phi[0]) + estimate.params.theta[0] ** 2
    residual = y - X @ np.linalg.lstsq(X, y)[0]
    np.testing.assert_allclose(total, np.mean(residual**2), rtol=1e-4)


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_one_row_a_level(family):
    """Overdispersed counts are identified; binary data only by the shape of the logistic curve."""
    rng = np.random.default_rng(2)
    eta = X @ [0.5, 0.5] + rng.normal(size=N)
    y = rng.poisson(np.exp(eta)) if family == "poisson" else rng.binomial(1, 1 / (1 + np.exp(-eta)))
    name = honest(fit(problem(y, family, codes=np.arange(N))))
    assert name in (
        ("converged",) if family == "poisson" else ("rank_deficient", "converged_boundary")
    )


def ones_and_zeros(num_levels=N):
    rng = np.random.default_rng(2)
    b = 2.0 * rng.normal(size=num_levels)[np.arange(N) % num_levels]
    return (rng.random(N) < 1 / (1 + np.exp(-(X @ [0.5, 0.5] + b)))).astype(float)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, False),
        ({"trials": np.full(N, 2.0)}, True),
        ({"weights": np.full(N, 2.0)}, True),  # each response twice
        ({"weights": (np.arange(N) != N // 2).astype(float)}, False),
        ({"codes": np.arange(N) % (N // 2)}, True),
    ],
)
def test_a_level_of_one_trial_tells_nothing(options, told):
    y, codes = ones_and_zeros(N // 2), options.pop("codes", np.arange(N))
    name = honest(fit(problem(y, "binomial", codes=codes, **options)))
    assert name in (("converged", "converged_boundary") if told else ("rank_deficient",))


def test_with_the_probit_link_such_a_variance_is_a_scale():
    """By quadrature, with beta and the standard deviation rising together."""
    law, groups = families.get("binomial", link="probit"), (grouping(np.arange(N), X[:, :1]),)
    by_rows = make_problem(ones_and_zeros(), X, law, groups, method="agq", quadrature_points=41)

    def value(sd):
        beta = np.sqrt(1.0 + sd**2) * np.array([0.3, 0.4])
        return log_likelihood(Params(beta, np.array([sd]), np.zeros(0)), by_rows)

    with jax.enable_x64(True):
        values = [value(sd) for sd in (0.1, 0.5, 1.0)]
    np.testing.assert_allclose(values, values[0], atol=1e-5)


@pytest.mark.parametrize(("number", "ones"), [(1000, 1), (100_000, 10)])
def test_rare_counts_have_no_size(number, ones):
    """Their size moves the log-likelihood by less than 3e-7, wherever it is: Poisson counts."""
    y = (np.arange(number) < ones).astype(float)
    rare = make_problem(y, np.ones((number, 1)), families.get("nbinom2"), ())
    estimate = fit(rare)
    assert honest(estimate) == "converged_boundary" and estimate.limit == BOUNDARY
    poisson = fit(rare.replace(family=families.get("poisson")))
    np.testing.assert_allclose(estimate.log_likelihood, poisson.log_likelihood, atol=1e-6)


@pytest.mark.parametrize("random", [False, True])
def test_underdispersed_counts_have_no_size(random):
    y = np.random.default_rng(4).binomial(4, 0.5, N)
    estimate = fit(problem(y, "nbinom2", random=random))
    assert honest(estimate) == "converged_boundary"
    assert estimate.limit == BOUNDARY
    poisson = fit(problem(y, "poisson", random=random))
    np.testing.assert_allclose(estimate.log_likelihood, poisson.log_likelihood, atol=1e-6)
    np.testing.assert_allclose(estimate.params.beta, poisson.params.beta, atol=1e-4)


def test_equal_columns_are_rank_deficient():
    y = X @ [0.3, 0.4] + np.random.default_rng(6).normal(size=N)
    doubled = np.column_stack([X, X[:, 1]])
    assert honest(fit(problem(y, X=doubled))) not in ("converged", "converged_boundary")


@pytest.mark.parametrize("family", ["gaussian", "binomial", "poisson"])
def test_two_levels(family):
    rng, law = np.random.default_rng(8), families.get(family)
    codes = np.resize([0, 1], N)
    low, high = eta_interval(law)
    eta = (low + high) / 2 + np.array([-0.4, 0.4])[codes] * (high - low)
    y = draw(rng, law, eta, LAWS[family].phi, 6.0 if family == "binomial" else 1.0)
    estimate = fit(problem(y, family, codes=codes, trials=TRIALS.get(family)))
    assert honest(estimate) == "converged"
    assert estimate.params.theta[0] > 0


def test_too_few_iterations_are_said():
    y = make_case("poisson", num_levels=12, size=10).problem.y
    estimate = fit(problem(y, "poisson"), control=Control(max_iterations=1))
    assert honest(estimate) == "max_iterations"


NASTY = {
    "huge": 1e150 * RNG.normal(size=N),
    "tiny": 1e-150 * RNG.normal(size=N),
    "outlier": np.where(np.arange(N) == 5, 1e12, RNG.normal(size=N)),
    "two values": (np.arange(N) == 0) * 1.0,
    "not a number": np.where(np.arange(N) == 5, np.nan, 1.0),
    "infinite": np.where(np.arange(N) == 5, np.inf, RNG.normal(size=N)),
    "far from zero": 1e9 + RNG.normal(size=N),
}


@pytest.mark.parametrize("y", NASTY.values(), ids=NASTY)
def test_nasty_responses_of_a_gaussian(y):
    name = honest(fit(problem(y)))
    assert name == "nonfinite" or np.all(np.isfinite(y))


@pytest.mark.parametrize("y", [1e6, 1e12, 1e300, 0.0])
def test_nasty_counts(y):
    """One outlying count among ones."""
    counts = np.where(np.arange(N) == 5, y, 1.0)
    honest(fit(problem(counts, "poisson")))


@pytest.mark.parametrize("scale", [1e8, 1e-8])
def test_a_badly_scaled_predictor(scale):
    y = np.random.default_rng(9).poisson(np.exp(0.5 + 0.5 * X[:, 1]))
    assert honest(fit(problem(y, "poisson", X=X * [1.0, scale]))).startswith("converged")
