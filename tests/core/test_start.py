"""Starting values of several factors: sums over pairs of levels, and how near the optimum."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy import linalg

from jaxglmm import families, status
from jaxglmm.ascent.objective import LaplaceObjective
from jaxglmm.ascent.shared import Columns, shared_squares
from jaxglmm.ascent.start import TO_A_UNIT, TO_THE_LIMIT, start
from jaxglmm.design import Problem, make_problem
from jaxglmm.factor import choose
from jaxglmm.likelihood import log_kernel
from jaxglmm.params import Params
from jaxglmm.predictor import fixed_part, reduce, total
from jaxglmm.rows import Rows, arrange

from .zoo import fit, grouping, slow

SDS = (0.6, 0.9)


def simulated(
    family: str, codes: tuple[np.ndarray, ...], sds: tuple[float, ...] = SDS, order: str = "drawn"
) -> Problem:
    """y ~ x + (1 | each factor); a gaussian's sigma is 1."""
    rng = np.random.default_rng(7)
    n = len(codes[0])
    x = rng.normal(size=n)
    eta = 0.3 + 0.4 * x
    for code, sd in zip(codes, sds, strict=True):
        eta = eta + sd * rng.normal(size=code.max() + 1)[code]
    y = {
        "gaussian": lambda: rng.normal(eta),
        "binomial": lambda: rng.binomial(1, 1 / (1 + np.exp(-eta))),
        "poisson": lambda: rng.poisson(np.exp(eta)),
        "gamma": lambda: rng.gamma(2.0, np.exp(eta) / 2.0),
    }[family]() * 1.0
    new = rng.permutation(n) if order == "mixed" else np.arange(n)
    groups = tuple(grouping(code[new], np.ones((n, 1))) for code in codes)
    X = np.column_stack([np.ones(n), x])[new]
    return make_problem(y[new], X, families.get(family), groups)


def crossed(n: int, *levels: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(5)
    return tuple((k * rng.uniform(size=n) ** 1.5).astype(np.int32) for k in levels)


def params_at_start(problem: Problem) -> Params:
    return jax.tree.map(np.asarray, jax.jit(lambda p: start(arrange(p)).params)(problem))


def columns_of(rows: Rows, k: int, w: jax.Array, centred: float) -> Columns:
    """Two columns; trusts are any numbers."""
    sums = jnp.stack([reduce(rows, k, z * w) for z in rows.Z[k]])
    information = jnp.stack([reduce(rows, k, z * z * w) for z in rows.Z[k]])
    trust = 1.0 / (1.0 + information)
    own = jnp.sum(trust * information**2, axis=1)
    return Columns(information, information, sums, trust, own, jnp.full(2, centred))


@pytest.mark.parametrize(
    ("kind", "levels", "rtol"),
    [("crossed", (9, 6), 1e-10), ("nested", (12, 4), 1e-10), ("crossed", (300, 200), 0.05)],
)
def test_shared_squares(kind: str, levels: tuple[int, int], rtol: float) -> None:
    """Against Z'WZ written out; more pairs than the table has places within their error."""
    rng, n = np.random.default_rng(2), 40 * max(levels)
    first = rng.integers(0, levels[0], n)
    second = first % levels[1] if kind == "nested" else rng.integers(0, levels[1], n)
    Z = np.column_stack([np.ones(n), rng.normal(size=n)])
    groups = (grouping(first, Z), grouping(second, Z[:, ::-1]))
    X, y, weights = np.ones((n, 1)), np.zeros(n), rng.uniform(0.5, 2.0, n)
    problem = make_problem(y, X, families.get("poisson"), groups, weights=weights)
    rows = arrange(problem)
    w = rows.multiplier
    of = (columns_of(rows, 0, w, 0.9), columns_of(rows, 1, w, 0.8))
    there, back = shared_squares(rows, (0, 1), of, w[None])
    one_hot = [np.eye(int(c.max()) + 1)[c] for c in (first, second)]
    for j, i in np.ndindex(2, 2):
        left, right = one_hot[0] * Z[:, [j]], one_hot[1] * Z[:, [1 - i]]
        A = left.T @ (weights[:, None] * right)
        mean = np.outer(left.T @ weights, right.T @ weights) / weights.sum()
        for value, M, C, k, own in ((there, A, mean, 0, (j, i)), (back, A.T, mean.T, 1, (i, j))):
            g = np.asarray(of[k].trust)[own[0], : len(M)]
            squares = g @ M**2
            wanted = np.minimum((g @ (M - C) ** 2).sum() / 0.8, squares.sum())
            np.testing.assert_allclose(value[own], wanted, rtol=rtol, atol=rtol * squares.sum())


@pytest.mark.parametrize("nested", [True, False])
def test_balanced_gaussian(nested: bool) -> None:
    """Moments of balanced nested factors are the maximum of the likelihood, to the error of the
    loops; those of crossed ones differ by a level in the degrees of freedom."""
    first = np.repeat(np.arange(60), 4)
    second = first // 5 if nested else np.tile(np.arange(4), 60)
    problem = simulated("gaussian", (first, second))
    problem = problem.replace(X=problem.X[:, :1], predictors=(0,))
    begin, best = params_at_start(problem), fit(problem).params
    np.testing.assert_allclose(begin.theta, np.abs(best.theta), rtol=1e-6 if nested else 0.25)
    np.testing.assert_allclose(begin.phi, best.phi, atol=1e-6 if nested else 0.02)


@pytest.mark.parametrize("family", ["gaussian", slow("binomial"), "poisson", slow("gamma")])
@pytest.mark.parametrize("nested", [False, True])
def test_near_the_optimum(family: str, nested: bool) -> None:
    """Every standard deviation within three standard errors of its estimate."""
    first, second = crossed(4000, 200, 40)
    problem = simulated(family, (first, first % 40 if nested else second))
    begin, best = params_at_start(problem), fit(problem)
    where = slice(2, 4)
    error = np.sqrt(np.diag(linalg.inv(-best.hessian)))[where]
    np.testing.assert_array_less(np.abs(begin.theta - np.abs(best.params.theta)), 3.0 * error)


def test_order_of_rows() -> None:
    codes = crossed(3000, 300, 100)
    one, other = (params_at_start(simulated("poisson", codes, order=o)) for o in ("drawn", "mixed"))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8)


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_the_same_factor_twice(family: str) -> None:
    """Only the sum of the variances is known: it is what one factor alone has.

    But for the weights of levels, and the rows' own variance that one factor does not estimate.
    """
    code = crossed(2000, 50)[0]
    problem = simulated(family, (code, code))
    once = params_at_start(problem.replace(groupings=problem.groupings[:1]))
    twice = params_at_start(problem)
    np.testing.assert_allclose(np.sum(twice.theta**2), once.theta[0] ** 2, rtol=0.3)


def test_a_factor_without_variance() -> None:
    """It starts at a fifth of a level's own error, never at zero, where the slope is zero."""
    begin = params_at_start(simulated("gaussian", crossed(3000, 60, 30), (0.0, 0.8)))
    assert 0.0 < begin.theta[0] < 0.2
    assert 0.5 < begin.theta[1] < 1.2


def of_large_variance(family: str, seed: int, levels: int, size: int) -> Problem:
    """Intercepts and slopes of deviation 3, correlated."""
    rng = np.random.default_rng(seed)
    code, x = np.repeat(np.arange(levels), size), rng.normal(size=levels * size)
    b = rng.normal(size=(2, levels)) * 3.0
    eta = 0.5 * x + b[0][code] + (0.5 * b[0] + np.sqrt(0.75) * b[1])[code] * x
    mu = np.minimum(np.exp(eta), 1e9)
    y = rng.gamma(2.0, mu / 2.0) if family == "gamma" else rng.poisson(mu) * 1.0
    X = np.column_stack([np.ones_like(x), x])
    return make_problem(y, X, families.get(family), (grouping(code, X),))


def test_counts_of_very_different_size() -> None:
    """The few largest do not hide the random effects."""
    for seed in range(4):
        begin = params_at_start(of_large_variance("poisson", seed, 30, 5))
        assert np.all((np.abs(begin.theta[[0, 2]]) > 0.6) & (np.abs(begin.theta[[0, 2]]) < 15.0))


def test_a_dispersion_beside_large_variances() -> None:
    """The few largest responses do not decide on it: the truth is 1 / 2."""
    for seed in range(4):
        begin = params_at_start(of_large_variance("gamma", seed, 60, 5))
        assert abs(begin.phi[0] + np.log(2.0)) < 4.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_fits_of_responses_of_very_different_size(seed: int) -> None:
    estimate = fit(of_large_variance("gamma", seed, 60, 5))
    assert estimate.status == status.CONVERGED
    assert abs(estimate.params.phi[0] + np.log(2.0)) < 1.0


@pytest.mark.parametrize("size", [2.0, 8.0])
def test_overdispersed_counts_start_from_the_fit_of_their_means(size):
    """Counts that differ within the levels by more than their law's error say little of them."""
    rng = np.random.default_rng(1)
    codes, x = np.repeat(np.arange(50), 20).astype(np.int32), rng.normal(size=1000)
    mu = np.exp(0.8 + 0.3 * x + 0.4 * rng.normal(size=50)[codes])
    y = rng.negative_binomial(size, size / (size + mu)) * 1.0
    X = np.column_stack([np.ones(1000), x])
    groups = (grouping(codes, np.ones((1000, 1))),)
    problem = make_problem(y, X, families.get("poisson"), groups)
    found = fit(problem)
    sd = params_at_start(problem).theta[0]
    assert found.params.theta[0] / 1.3 < sd < 1.3 * found.params.theta[0]
    assert found.iterations <= 5


def test_no_step_leaves_a_law_far_behind():
    """Counts of less spread than Poisson's: a first step of -3 in log phi led to a law on next to
    one count, whose modes took a hundred passes of the mode finder."""
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(30), 10).astype(np.int32)
    mu = np.exp(1.0 + 0.5 * rng.normal(size=30)[codes])
    y = np.round(mu * rng.gamma(9.0, 1 / 9.0, 300))
    groups = (grouping(codes, np.ones((300, 1))),)
    problem = make_problem(y, np.ones((300, 1)), families.get("compois"), groups)
    found = fit(problem)
    assert found.status == status.CONVERGED and found.passes <= 4 * (found.iterations + 1)
    # Whatever the start makes of these counts: a step in log phi is a unit at most, one of the
    # mean's parameters of any length.
    rows = arrange(problem)
    objective = LaplaceObjective(rows, choose(rows))
    assert objective.reach(jnp.asarray([9.0, -5.0, -3.0])) == pytest.approx(1 / 3)
    assert objective.reach(jnp.asarray([9.0, -5.0, 0.5])) == 1.0


@pytest.mark.parametrize("weight", [1.0, 100.0, 0.01])
def test_raised_starts(weight: float) -> None:
    """To a standard deviation of 1, and to three errors of a row, whatever rows weigh."""
    problem = simulated("poisson", crossed(60, 10), sds=(0.1,))
    problem = problem.replace(weights=np.full(60, weight))
    with jax.enable_x64(True):
        rows = arrange(problem)
        own, unit, far = (start(rows, np.int32(k)).params for k in (0, TO_A_UNIT, TO_THE_LIMIT))
        beta, mean = own.beta, np.asarray(problem.y).mean()
    assert float(own.theta[0]) < 1.0
    np.testing.assert_allclose(unit.theta, 1.0, rtol=1e-12)
    assert 0.7 < float(far.theta[0]) / (3.0 / np.sqrt(mean)) < 1.3
    np.testing.assert_array_equal(beta, unit.beta)


def truncated_counts() -> Problem:
    """Negative binomial counts above zero, half of them one and one of 78; eight columns."""
    rng = np.random.default_rng(5)
    n = 120
    group = (np.arange(n) // 8).astype(np.int32)
    x, z, level = rng.normal(size=n), rng.normal(size=n), rng.integers(0, 4, n)
    eta = 0.3 * x + 0.7 * rng.normal(size=(150, 15))[55, group] - 1.0
    y = np.zeros(n)
    while (zero := y == 0).any():
        rate = np.exp(eta) * rng.gamma(0.1, 10.0, n)
        y[zero] = rng.poisson(rate)[zero]
    X = np.column_stack([np.ones(n), *(level == k for k in (1, 2, 3)), x, z, x * z]).astype(float)
    law = families.get("truncated_nbinom2")
    return make_problem(y, X, law, (grouping(group, np.ones((n, 1))),))


def test_steps_below_the_constant_mean_begin_again_there() -> None:
    """The score of a truncated count of one is large beside its weight, which vanishes."""
    problem = truncated_counts()
    rows = arrange(problem)

    def value(beta: Array, phi: Array) -> Array:
        return total(rows, log_kernel(rows, fixed_part(rows, beta), phi))

    first = start(rows)
    level = jnp.log(jnp.average(problem.y))
    constant = jnp.zeros_like(first.params.beta).at[0].set(level)
    assert value(first.params.beta, first.params.phi) > value(constant, first.params.phi) - 20.0
    found = fit(problem)
    assert int(found.status) in status.ENDED_WELL
