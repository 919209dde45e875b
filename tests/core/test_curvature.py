"""Metrics and judgements of symmetric matrices, of one and of many at once."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import linalg

from jaxglmm import curvature
from jaxglmm.inference.vcov import smallest_eigenvalue

SHARE = 1e-3


def positive(rng, n, scale):
    root = rng.normal(size=(n, n + 2)) * scale[:, None]
    return root @ root.T


@pytest.mark.parametrize("n", [1, 3, 6, 10])
@pytest.mark.parametrize("place", [0, 1])
def test_keeps_by_the_generalised_eigenvalues(n, place):
    """Above and below the share by a hundredth, of either of two matrices; a mixed batch as one by
    one."""
    rng = np.random.default_rng(n)
    finals, references, expected = [], [], []
    for factor in (1.01, 0.99, 100.0, 1e-6):
        scale = 10.0 ** rng.uniform(-4, 4, n)  # bad units, the same of both
        final, reference = positive(rng, n, scale), positive(rng, n, scale)
        units = np.outer(scale, scale)
        least = linalg.eigh(final / units, reference / units, eigvals_only=True)[0]
        finals.append(final * factor * SHARE / least)
        references.append(reference)
        expected.append(factor > 1)

    @jax.jit
    def keeps(final, reference):
        both = (final, 1e-9 * final) if place == 0 else (1e-9 * final, final)
        return curvature.either_keeps(both, reference, SHARE)

    one_by_one = [bool(keeps(f, r)) for f, r in zip(finals, references, strict=True)]
    assert one_by_one == expected
    together = jax.jit(jax.vmap(keeps))(np.stack(finals), np.stack(references))
    np.testing.assert_array_equal(together, expected)


def test_what_the_reference_does_not_know_does_not_count():
    reference, final = np.diag([1.0, 0.0]), np.diag([0.5, -3.0])

    @jax.jit
    def keeps(final, reference):
        return curvature.either_keeps((final, 1e-9 * final), reference, SHARE)

    assert keeps(final, reference)
    assert not keeps(1e-4 * final, reference)
    assert keeps(np.full((2, 2), np.nan), reference)
    assert keeps(np.zeros((0, 0)), np.zeros((0, 0)))


@pytest.mark.parametrize("knowledge", [1.0, 1e5, 1e12, 1e20])
def test_what_is_known_far_better_does_not_hide_the_rest(knowledge):
    """A prior may be narrow along one coefficient and hold another that the rows do not tell."""
    reference, held = np.array([[2.0, 1.0], [1.0, 2.0]]), np.diag([knowledge, 0.0])
    none = np.diag([2.0, 0.0])

    def keeps(information):
        return curvature.either_keeps((none, information), reference, SHARE)

    both = jax.jit(jax.vmap(keeps))(
        np.stack([held + np.diag([0.0, 0.1]), held + np.diag([0.0, 1e-6])])
    )
    np.testing.assert_array_equal(both, [True, False])


@pytest.mark.parametrize("size", [0.3, 1e-4, 1e-8, 0.0, -1e-3, -2.0])
def test_the_least_eigenvalue_is_that_of_the_scaled_matrix_or_a_bound(size):
    """Of a matrix with an eigenvalue of about that size, in any units; alone and in a batch."""
    values, vectors = np.linalg.eigh(positive(np.random.default_rng(0), 5, np.ones(5)))
    values[0] = size
    units = 10.0 ** np.arange(-4.0, 6.0, 2.0)
    M = (vectors * values) @ vectors.T * np.outer(units, units)
    d = 1.0 / np.sqrt(np.abs(np.diag(M)))
    exact = np.linalg.eigvalsh(d[:, None] * M * d)[0]
    one, batch = (
        jax.jit(curvature.metric_and_least)(M),
        jax.jit(jax.vmap(curvature.metric_and_least))(np.stack([M, M])),
    )
    expected = curvature.ascent_metric(curvature.spectrum(M))
    for metric in (one[0], *batch[0]):
        units = np.outer(d, d)
        size = np.max(np.abs(expected / units))
        np.testing.assert_allclose(metric / units, expected / units, atol=1e-9 * size)
    for found in (one[1], *batch[1]):
        if exact < curvature.SURE:
            np.testing.assert_allclose(found, exact, atol=1e-13)
        else:
            assert curvature.SURE <= found <= exact <= 5 * found


def test_nothing_has_no_eigenvalue_and_what_is_not_finite_none_to_rely_on():
    assert curvature.metric_and_least(np.zeros((0, 0)))[1] == np.inf
    assert not curvature.metric_and_least(np.full((2, 2), np.nan))[1] >= curvature.SURE
    assert smallest_eigenvalue(np.zeros((0, 0))) == np.inf
    assert np.isnan(smallest_eigenvalue(np.full((2, 2), np.nan)))
    assert smallest_eigenvalue(-np.diag([1e-6, 1e6])) == 1.0
    assert smallest_eigenvalue(np.diag([-1.0, 0.0])) == 0.0


def test_damped_steps_are_short_along_flat_directions_alone():
    """A metric of unit diagonal: where one direction promises all, the step is `length` of it; a
    steep one beside it is nearly whole."""
    corr = np.eye(3)
    corr[0, 1] = corr[1, 0] = 0.999
    flat, steep = np.array([1.0, 1.0, 0.0]) / np.sqrt(2), np.array([1.0, -1.0, 0.0]) / np.sqrt(2)
    with jax.enable_x64(True):
        for along, share in ((flat, 0.1), (flat + steep, 0.1)):
            promise = along @ corr @ along
            step = np.asarray(curvature.damped(corr, corr @ along, promise, 0.1))
            assert step @ flat == pytest.approx(share * (corr @ along) @ flat, rel=1e-3)
        assert step @ steep == pytest.approx((corr @ along) @ steep, rel=0.01)
        whole = curvature.damped(corr, corr @ along, promise, 1.0)
    np.testing.assert_allclose(whole, corr @ along, rtol=1e-12)


def test_damped_steps_know_no_units():
    rng = np.random.default_rng(4)
    M, g, units = positive(rng, 6, np.ones(6)), rng.normal(size=6), 10.0 ** rng.uniform(-4, 4, 6)
    D = np.diag(np.diag(M))
    with jax.enable_x64(True):
        plain = np.asarray(curvature.damped(M, M @ g, g @ M @ g, 0.2))
        U = np.diag(units)
        other = curvature.damped(U @ M @ U, U @ M @ g, g @ M @ g, 0.2)
    np.testing.assert_allclose(other, units * plain, rtol=1e-9)
    scale = (M @ g) @ np.linalg.solve(D, M @ g) / (g @ M @ g)
    dense = np.linalg.solve(np.linalg.inv(M) + 4.0 / scale * np.linalg.inv(D), g)
    np.testing.assert_allclose(plain, dense, rtol=1e-9)
