"""Every covariance structure: what it means, how it behaves at its bounds, and models with it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from jaxglmm import families, status
from jaxglmm.covariance import REGISTRY, Pattern, ReducedRank, Toeplitz, Unstructured
from jaxglmm.design import Grouping, Problem, Term, make_problem
from jaxglmm.engine import log_likelihood
from jaxglmm.inference.bounds import at_bound
from jaxglmm.inference.natural import natural
from jaxglmm.params import Params, flatten, unflatten
from jaxglmm.rows import arrange
from jaxglmm.special import log_bessel_k

from .compiled import of
from .structures import (
    boundary_points,
    covariance_from_natural,
    make_structure,
    typical_theta,
)
from .zoo import fit

DIMS = (1, 2, 3, 5)
EVERY = pytest.mark.parametrize("name", [*REGISTRY, "spherical"])
BY_DIM = pytest.mark.parametrize("dim", DIMS)


@EVERY
@BY_DIM
def test_natural_parameters_mean_the_covariance(name, dim):
    structure, constants = make_structure(name, dim)
    assert structure.name == name and len(structure.parameters) == len(set(structure.parameters))
    rng = np.random.default_rng(dim)
    for scale in (0.3, 3.0):
        theta = typical_theta(structure, constants) + rng.normal(0, scale, structure.num_theta)
        if name in ("ou", "exp", "gau", "mat"):
            theta[1:] = np.clip(theta[1:], -2, 1)
        L = np.asarray(of(structure, "factor", theta, constants))
        assert L.shape == (dim, structure.rank) and np.all(np.isfinite(L))
        assert not structure.triangular or np.all(np.tril(L) == L)
        values = np.asarray(of(structure, "natural", theta, constants))
        expected = covariance_from_natural(structure, constants, values)
        # Processes carry a nugget of 4e-11; a correlation map loses digits by its slope.
        np.testing.assert_allclose(L @ L.T, expected, rtol=0, atol=2e-10 * np.max(expected))


@EVERY
def test_linear_structures_fill_a_linear_space(name):
    """As large as theta, spanned by the directions at independent columns of one variance."""
    structure, constants = make_structure(name, 4)
    if not structure.linear:
        return
    start = of(structure, "start", jnp.ones(4), constants)
    slopes = jax.jit(jax.jacfwd(structure.covariance))(start, constants).reshape(16, -1)
    assert np.linalg.matrix_rank(slopes) == structure.num_theta
    for theta in (typical_theta(structure, constants), -0.3 * typical_theta(structure, constants)):
        there = np.ravel(of(structure, "covariance", theta, constants))
        left = there - slopes @ np.linalg.lstsq(slopes, there, rcond=None)[0]
        np.testing.assert_allclose(left, 0.0, atol=1e-6 * np.max(there))


@EVERY
@BY_DIM
def test_theta_of_natural_parameters(name, dim):
    structure, constants = make_structure(name, dim)
    for seed in range(3):
        change = np.random.default_rng(seed).normal(0, 0.2, structure.num_theta)
        theta = of(structure, "rectify", typical_theta(structure, constants) + change).theta
        values = of(structure, "natural", theta, constants).tolist()
        found = structure.theta_of(values)
        if name == "rr" or (name == "spherical" and dim > 2):
            assert found is None
        else:  # the slopes of arc sines stay below 10 here
            np.testing.assert_allclose(found, theta, rtol=1e-13, atol=1e-13)


def test_no_theta_has_correlations_of_no_covariance():
    for structure in (Unstructured(3), Pattern(3), Toeplitz(3)):
        signs = [0.9, -0.9] if structure.name == "toep" else [0.9, 0.9, -0.9]
        with pytest.raises(ValueError):
            structure.theta_of([1.0, 1.0, 1.0, *signs])


@EVERY
@BY_DIM
def test_the_representative_has_the_same_covariance(name, dim):
    structure, constants = make_structure(name, dim)
    jacobian = jax.jit(jax.jacfwd(lambda t: structure.rectify(t).theta))
    for seed in range(4):
        theta = np.random.default_rng(seed).normal(0, 3, structure.num_theta)
        if name in ("ou", "exp", "gau", "mat"):
            theta[1:] = np.clip(theta[1:], -2, 1)
        reported, signs, slope = of(structure, "rectify", theta)
        L = np.asarray(of(structure, "factor", theta, constants))
        turned = of(structure, "factor", reported, constants)
        np.testing.assert_allclose(turned, L * signs, rtol=1e-12, atol=1e-13 * np.max(np.abs(L)))
        assert np.all(np.abs(signs) == 1)
        np.testing.assert_array_equal(jacobian(theta), np.diag(slope))
        again = of(structure, "rectify", reported)
        np.testing.assert_allclose(again.theta, reported, rtol=1e-14)
        assert np.all(np.asarray(again.signs) == 1) and np.all(np.asarray(again.slope) == 1)


@EVERY
@pytest.mark.parametrize("dim", [1, 3, pytest.param(4, marks=pytest.mark.slow)])
def test_smooth_also_at_the_bounds(name, dim):
    """First and second derivatives of L L' against differences."""
    structure, constants = make_structure(name, dim)

    def covariance(theta):
        return structure.covariance(theta, constants)

    slope, bend = jax.jit(jax.jacfwd(covariance)), jax.jit(jax.hessian(covariance))
    run = jax.jit(covariance)
    typical = typical_theta(structure, constants)
    points = [typical]
    if not (name == "pattern" and dim == 4):  # one entry follows from others by a division
        points += boundary_points(structure, typical)
    h, units = 1e-4, np.eye(structure.num_theta)
    for theta in points:
        numeric = np.stack([(run(theta + h * e) - run(theta - h * e)) / (2 * h) for e in units], -1)
        np.testing.assert_allclose(slope(theta), numeric, rtol=0, atol=1e-6)
        numeric = [(slope(theta + h * e) - slope(theta - h * e)) / (2 * h) for e in units]
        np.testing.assert_allclose(bend(theta), np.stack(numeric, -1), rtol=0, atol=1e-5)


@EVERY
@BY_DIM
def test_starts(name, dim):
    """Finite, off every bound, and of the size they are given."""
    structure, constants = make_structure(name, dim)
    sd = np.random.default_rng(dim).uniform(0.5, 2.0, dim)
    theta = of(structure, "start", sd, constants)
    assert theta.shape == (structure.num_theta,)
    found = np.sqrt(np.diagonal(of(structure, "covariance", theta, constants)))
    np.testing.assert_allclose(np.sum(found**2), np.sum(sd**2), rtol=1e-9)
    if name in ("us", "spherical", "diag", "cs", "toep", "rr", "pattern"):
        np.testing.assert_allclose(found, sd, rtol=1e-12)
    assert not of(structure, "is_singular", theta, constants, jnp.ones(dim))


@EVERY
def test_bounds_are_named(name):
    """A deviation of zero, and each correlation that can reach a bound."""
    structure, constants = make_structure(name, 3)
    theta, scale = typical_theta(structure, constants), jnp.ones(3)
    assert not np.any(of(structure, "at_bound", theta, constants, scale))
    for point in boundary_points(structure, theta):
        assert of(structure, "is_singular", point, constants, scale) or name in (
            "us",
            "rr",
            "pattern",
        )
        if name not in ("us", "spherical", "toep", "rr", "pattern"):
            assert np.sum(of(structure, "at_bound", point, constants, scale)) == 1
    if name in ("ou", "exp", "gau", "mat"):
        for log_range in (-30.0, 30.0):
            point = np.concatenate([theta[:1], [log_range], theta[2:]])
            expected = [p.kind == "range" for p in structure.parameters]
            bounds = of(structure, "at_bound", point, constants, scale)
            np.testing.assert_array_equal(bounds, expected)


@EVERY
@BY_DIM
def test_coordinates_lead_to_their_natural_parameter(name, dim):
    """And to no other entry of theta; what follows from several has none."""
    structure, constants = make_structure(name, dim)
    theta = typical_theta(structure, constants)
    slopes = np.asarray(jax.jit(jax.jacfwd(structure.natural))(theta, constants))
    for number, parameter in enumerate(structure.parameters):
        found = structure.coordinate(number, 0.4)
        entries = np.flatnonzero(np.abs(slopes[number]) > 1e-12)
        assert (found is None) == (len(entries) > 1 or name in ("rr", "pattern")), parameter
        if found is not None:
            assert [found.place] == list(entries)
            theta_there = np.where(np.arange(len(theta)) == found.place, found.value, theta)
            value = of(structure, "natural", theta_there, constants)[number]
            np.testing.assert_allclose(value, 0.4, rtol=1e-14)


def test_a_reduced_rank_is_singular_below_its_rank_only():
    structure, scale = ReducedRank(4, rank=2), jnp.ones(4)
    theta = typical_theta(structure, ())
    assert not structure.is_singular(theta, (), scale)
    second = np.array([j == 1 for i in range(4) for j in range(min(i + 1, 2))])
    assert structure.is_singular(np.where(second, 0.0, theta), (), scale)


@pytest.mark.parametrize(
    "zeros",
    [
        ((2, 1), (3, 1), (3, 2)),  # a star with its hub first
        ((1, 0), (2, 1), (3, 0), (3, 2)),  # blocks, interleaved
        ((2, 0), (3, 0), (3, 1)),  # a band
    ],
)
def test_a_chordal_pattern_is_smooth_where_deviations_vanish(zeros):
    """No entry follows from others by a division: L is linear in theta."""
    structure = Pattern(4, zeros)
    assert structure.num_theta == 10 - len(zeros)
    slope = jax.jacfwd(lambda theta: structure.factor(theta, ()))(jnp.zeros(structure.num_theta))
    assert np.all(np.isfinite(slope)) and np.sum(slope) == structure.num_theta
    theta = jnp.asarray(np.random.default_rng(0).normal(size=structure.num_theta))
    covariance = np.asarray(structure.covariance(theta, ()))
    assert all(abs(covariance[pair]) < 1e-14 for pair in zeros)
    assert np.count_nonzero(np.abs(covariance) > 1e-12) == 16 - 2 * len(zeros)


def test_bessel_k():
    """Against scipy, over the orders and arguments that a Matern process meets."""
    rng = np.random.default_rng(0)
    nu, x = np.exp(rng.uniform(-4, 4, 500)), np.exp(rng.uniform(-9, 6, 500))
    expected = np.log(special.kve(nu, x)) - x
    finite = np.isfinite(expected)
    assert np.mean(finite) > 0.8
    found = np.asarray(log_bessel_k(nu, x))
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(found[finite], expected[finite], rtol=1e-12, atol=1e-12)
    # -K' = K_(nu - 1) + nu K_nu / x, and the slope in nu by differences.
    nu, x, h = nu[finite][:100] + 1.0, x[finite][:100], 1e-5
    ratio = np.exp(log_bessel_k(nu - 1.0, x) - log_bessel_k(nu, x))
    slope = jax.vmap(jax.grad(log_bessel_k, (0, 1)))(nu, x)
    np.testing.assert_allclose(slope[1], -(ratio + nu / x), rtol=1e-10)
    numeric = (log_bessel_k(nu + h, x) - log_bessel_k(nu - h, x)) / (2 * h)
    np.testing.assert_allclose(slope[0], numeric, rtol=1e-7, atol=1e-7)


def model(name: str, dim: int, family: str, num_levels: int = 30, size: int = 10) -> Problem:
    """Rows that each belong to a level and a column of a term with this structure."""
    structure, constants = make_structure(name, dim)
    rng = np.random.default_rng(7)
    n = num_levels * size
    codes, column = np.repeat(np.arange(num_levels), size), rng.integers(0, dim, n)
    L = np.asarray(structure.factor(typical_theta(structure, constants), constants))
    b = L @ rng.normal(size=(structure.rank, num_levels))
    X = np.column_stack([np.ones(n), rng.uniform(-1, 1, n)])
    eta = X @ [0.8, 0.3] + b[column, codes]
    y = rng.normal(eta, 0.5) if family == "gaussian" else rng.poisson(np.exp(eta)) * 1.0
    Z = np.eye(dim)[column]
    group = Grouping(codes.astype(np.int32), Z, num_levels, (Term(structure),), (constants,))
    return make_problem(y, X, families.get(family), (group,))


def normal_density(problem: Problem, params: Params) -> float:
    """The exact log-likelihood of a gaussian model with one factor and one term."""
    (group,), (beta, phi) = problem.groupings, (params.beta, params.phi)
    structure, constants = group.terms[0].covariance, group.constants[0]
    values = np.asarray(structure.natural(params.theta, constants))
    G = covariance_from_natural(structure, constants, values)
    same = group.codes[:, None] == group.codes[None]
    V = np.where(same, group.Z @ G @ group.Z.T, 0.0) + np.exp(2 * phi[0]) * np.eye(len(same))
    return float(stats.multivariate_normal(problem.X @ beta, V).logpdf(problem.y))


@EVERY
def test_the_normal_likelihood_is_exact(name):
    problem = model(name, 3, "gaussian")
    group = problem.groupings[0]
    theta = typical_theta(group.terms[0].covariance, group.constants[0])
    params = Params(np.array([0.5, 0.4]), theta, np.array([-0.4]))
    found = jax.jit(log_likelihood)(params, problem)
    np.testing.assert_allclose(found, normal_density(problem, params), rtol=1e-9)


SLOW = {"us", "diag", "homdiag", "cs", "homcs", "toep", "propto", "ou", "exp", "gau", "mat"}


@pytest.mark.parametrize("family", ["gaussian", pytest.param("poisson", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in REGISTRY]
)
def test_fits_end_at_a_maximum(name, family):
    problem = model(name, 3, family)
    estimate, rows = fit(problem), arrange(problem)
    assert estimate.status == status.CONVERGED
    psi = np.asarray(flatten(estimate.params))

    def value(psi):
        return log_likelihood(unflatten(psi, rows), problem)

    slope = np.asarray(jax.jit(jax.grad(value))(psi))
    # What a Newton step would still gain, in log-likelihood.
    assert abs(slope @ np.linalg.solve(estimate.hessian, slope)) < 1e-10
    assert np.all(np.linalg.eigvalsh(estimate.hessian) < 0)
    assert not np.any(jax.jit(at_bound)(rows, estimate.params, estimate.u))
    if family == "gaussian":
        exact = normal_density(problem, estimate.params)
        np.testing.assert_allclose(estimate.log_likelihood, exact, rtol=1e-9)


def with_effects(problem: Problem, b: np.ndarray) -> Problem:
    """Responses whose mean in every cell of level and column is exactly b, (column, level)."""
    group = problem.groupings[0]
    column = np.argmax(group.Z, axis=1)
    cell = group.codes * len(b) + column
    noise = np.random.default_rng(0).normal(size=problem.num_obs)
    means = np.bincount(cell, noise) / np.maximum(np.bincount(cell), 1)
    return problem.replace(y=noise - means[cell] + b[column, group.codes])


def fit_and_bounds(problem: Problem) -> list[bool]:
    """Which natural parameters of a fit on the boundary are at a bound."""
    estimate, rows = fit(problem), arrange(problem)
    assert estimate.status == status.CONVERGED_BOUNDARY and estimate.singular
    return list(np.asarray(jax.jit(at_bound)(rows, estimate.params, estimate.u)))


@pytest.mark.parametrize("name", ["ar1", "ou", "cs"])
def test_no_variance_is_a_bound_that_is_named(name):
    found = fit_and_bounds(with_effects(model(name, 3, "gaussian"), np.zeros((3, 30))))
    deviations = found[:3] if name == "cs" else found[:1]
    assert any(deviations)


def test_a_correlation_at_its_bound_is_named():
    """One effect for all columns; and effects that sum to zero, which only a mean of zero does."""
    rng = np.random.default_rng(4)
    same = np.tile(rng.normal(size=30), (3, 1))
    assert fit_and_bounds(with_effects(model("cs", 3, "gaussian"), same))[3]
    contrasts = rng.normal(size=(3, 30))
    contrasts -= contrasts.mean(axis=0)
    found = fit_and_bounds(with_effects(model("homcs", 3, "gaussian"), contrasts))
    assert found == [False, True]


def test_natural_parameters_have_errors():
    """The Jacobian of natural parameters in theta and phi, by differences."""
    problem = model("ar1", 3, "gaussian")
    rows, theta = arrange(problem), np.array([0.7, 0.5])
    params = Params(np.zeros(2), jnp.asarray(theta), jnp.zeros(1))
    values, jacobian = natural(rows, params)
    np.testing.assert_allclose(values, [0.7, np.sin(0.5), 1.0], rtol=1e-14)
    np.testing.assert_allclose(jacobian, np.diag([1.0, np.cos(0.5), 1.0]), atol=1e-14)
