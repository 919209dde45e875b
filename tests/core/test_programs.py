"""The fit as a JAX program: traced once, mapped, in single precision."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxglmm import families, status
from jaxglmm.ascent import maximise_rows
from jaxglmm.params import flatten
from jaxglmm.rows import arrange

from .zoo import draw, fit, make_case


def test_refits_of_one_shape_are_traced_once():
    case, traces = make_case("poisson", num_levels=10, size=6), []

    @jax.jit
    def counted(problem):
        traces.append(1)
        return maximise_rows(arrange(problem))

    rng = np.random.default_rng(1)
    results = []
    for _ in range(3):
        y = rng.poisson(2.0, 60).astype(float)
        problem = case.problem.replace(y=y, X=case.problem.X + 0.0, family=families.get("poisson"))
        results.append(float(counted(problem).log_likelihood))
    assert len(traces) == 1 and len(set(results)) == 3


def test_mapped_over_responses_is_a_loop():
    case, rng = make_case("poisson", num_levels=15, size=8, spread=0.7), np.random.default_rng(2)
    eta = case.problem.X @ case.truth.beta + case.b[0][0][case.problem.groupings[0].codes]
    y = np.stack([draw(rng, case.problem.family, eta, case.truth.phi, 1.0) for _ in range(5)])
    mapped = jax.jit(jax.vmap(lambda y: maximise_rows(arrange(case.problem.replace(y=y)))))(y)
    for i in range(5):
        alone = fit(case.problem.replace(y=y[i]))
        one = jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), mapped)
        assert one.status == alone.status == status.CONVERGED
        np.testing.assert_allclose(flatten(one.params), flatten(alone.params), rtol=1e-7)
        np.testing.assert_allclose(one.log_likelihood, alone.log_likelihood, rtol=1e-12)
        np.testing.assert_allclose(one.hessian, alone.hessian, rtol=1e-6, atol=1e-6)


def single(problem):
    """The same problem with 32-bit floats."""

    def cast(x):
        return np.asarray(x, np.float32) if np.asarray(x).dtype == np.float64 else x

    return jax.tree.map(cast, problem)


def check_single(family):
    case = make_case(family, num_levels=30, size=10, spread=0.6)
    with jax.enable_x64(True):
        double = fit(case.problem)
    estimate = fit(single(case.problem))
    floats = [x for x in jax.tree.leaves(estimate) if np.issubdtype(x.dtype, np.floating)]
    assert all(x.dtype == np.float32 for x in floats)
    assert estimate.status == status.CONVERGED
    np.testing.assert_allclose(flatten(estimate.params), flatten(double.params), atol=2e-3)
    np.testing.assert_allclose(estimate.log_likelihood, double.log_likelihood, rtol=1e-5)


@pytest.mark.single
@pytest.mark.parametrize("family", ["gaussian", "binomial", "nbinom2"])
def test_single_precision_stays_single(family):
    check_single(family)


def test_single_precision_stays_single_among_64_bit_types():
    check_single("poisson")


def test_single_precision_among_64_bit_types_without_fixed_effects():
    case = make_case("gaussian", num_levels=30, size=10, spread=0.6)
    estimate = fit(single(case.problem.replace(X=case.problem.X[:, :0], predictors=())))
    assert estimate.log_likelihood.dtype == np.float32
    assert estimate.status == status.CONVERGED


@pytest.mark.slow
@pytest.mark.single
@pytest.mark.parametrize("family", families.REGISTRY)
def test_single_precision_of_every_law(family):
    check_single(family)


@pytest.mark.single
def test_large_counts_in_single_precision():
    """log y! of a count beyond 65,000 must stay finite."""
    case = make_case("poisson", num_levels=30, size=10, spread=0.3)
    problem = single(case.problem.replace(y=1e5 * (1.0 + case.problem.y)))
    estimate = fit(problem)
    assert np.isfinite(estimate.log_likelihood)
    assert estimate.status != status.NONFINITE
