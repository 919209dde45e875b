"""Second derivatives of the profiled log-likelihood of crossed factors, by all pairs of levels."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from jaxglmm import families
from jaxglmm.ascent.least_squares import LeastSquaresRoute
from jaxglmm.covariance import Diagonal, ReducedRank, Unstructured
from jaxglmm.design import Grouping, Term, make_problem
from jaxglmm.factor import choose, curved, joined
from jaxglmm.factor.joined import Extent
from jaxglmm.marginal import profiled
from jaxglmm.params import Params
from jaxglmm.predictor import relative_factors
from jaxglmm.rows import Rows, arrange

TERMS = (
    (Term(Unstructured(3)),),
    (Term(Unstructured(2)), Term(Diagonal(1))),
    (Term(Unstructured(1)),),
)
WIDE = (  # beyond what is written out
    (Term(ReducedRank(4, rank=3)), Term(Diagonal(2))),
    (Term(ReducedRank(5, rank=2)), Term(Unstructured(1))),
    (Term(Unstructured(2)),),
)


def crossed(num_factors: int, method: str, of: tuple[tuple[Term, ...], ...] = TERMS) -> Rows:
    rng = np.random.default_rng(7)
    n, groups = 60, []
    for terms, levels in zip(of[:num_factors], (7, 5, 3), strict=False):
        q = sum(term.covariance.dim for term in terms)
        Z = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))])
        groups.append(Grouping(rng.integers(0, levels, n).astype(np.int32), Z, levels, terms))
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    law = families.get("gaussian")
    y = rng.normal(size=n)
    problem = make_problem(y, X, law, tuple(groups), factorisation="crossed", method=method)
    return arrange(problem)


DESIGNS = pytest.mark.parametrize(
    ("num_factors", "method", "terms"),
    [(2, "laplace", TERMS), (3, "reml", TERMS), (3, "laplace", WIDE), (2, "reml", WIDE)],
    ids=["2-laplace", "3-reml", "wide-3-laplace", "wide-2-reml"],
)


@DESIGNS
def test_hessian_of_the_profile(
    num_factors: int,
    method: str,
    terms: tuple[tuple[Term, ...], ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with jax.enable_x64(True):
        rows = crossed(num_factors, method, terms)
        theta = np.random.default_rng(8).normal(0.4, 0.3, rows.num_theta)
        inside = dataclasses.replace(rows, method="approximate_laplace")
        inside = rows if rows.fixed_inside else inside
        factor = choose(inside)
        first = Params(np.zeros(2), theta, np.zeros(1))
        of = LeastSquaresRoute().prepare(rows, first).sums.of

        def curve(t: jax.Array) -> profiled.Curvature:
            at = profiled.profile(inside, factor, of, t)
            return profiled.curve(inside, factor, of, t, at, None)

        found = {}
        for way in (True, False):
            monkeypatch.setattr(curved, "worthwhile", lambda *_, way=way: way)
            assert factor.curves(1) is way
            found[way] = jax.jit(curve)(theta)
    scale = np.max(np.abs(found[False].logdet))
    np.testing.assert_allclose(found[True].logdet, found[False].logdet, atol=1e-12 * scale)
    np.testing.assert_allclose(found[True].dv[0], found[False].dv[0], atol=1e-12)
    np.testing.assert_allclose(found[True].hessian, found[False].hessian, atol=1e-12 * scale)


@DESIGNS
def test_slopes_of_the_log_determinant(
    num_factors: int, method: str, terms: tuple[tuple[Term, ...], ...]
) -> None:
    """Against derivatives of log det H itself, along a random direction of the relative factors."""
    rng = np.random.default_rng(9)
    with jax.enable_x64(True):
        rows = crossed(num_factors, method, terms)
        inside = dataclasses.replace(rows, method="approximate_laplace")
        inside = rows if rows.fixed_inside else inside
        factor = choose(inside)
        A = profiled.sums(inside, factor, np.zeros(2)).A
        factors = relative_factors(inside, rng.normal(0.4, 0.3, rows.num_theta))
        moved = (*(rng.normal(size=L.shape) for L in factors[:-1]), np.zeros_like(factors[-1]))

        def logdet(along: float) -> jax.Array:
            at = tuple(L + along * d for L, d in zip(factors, moved, strict=True))
            return factor.logdet(factor.factorise(factor.penalise(A, at)))

        P = factor.selected_inverse(factor.factorise(factor.penalise(A, factors)))
        slopes = factor.slopes(A, factors, P)
        found = sum(float(np.sum(s * d)) for s, d in zip(slopes, moved, strict=True))
        np.testing.assert_allclose(found, jax.grad(logdet)(0.0), rtol=1e-11)


def test_when_it_is_worthwhile() -> None:
    """Many directions in matrices of like size; never a large factor beside a small one."""
    wide = (Extent(8, 56), Extent(8, 32))
    assert curved.worthwhile(wide, 448, 72)
    assert not curved.worthwhile((Extent(1, 100_000), Extent(1, 10)), 100_000, 2)
    assert not curved.worthwhile((Extent(1, 500), Extent(1, 400)), 500, 2)


@pytest.mark.parametrize("size", [6, 301])
def test_products_that_are_symmetric(size: int) -> None:
    """By one product, and by three of four blocks."""
    rng = np.random.default_rng(2)
    root, middle = rng.normal(size=(size, 20)), rng.normal(size=(20, 20))
    left = root @ (middle + middle.T)
    found = jax.jit(joined.symmetric_product)(left, root)
    np.testing.assert_allclose(found, left @ root.T, rtol=1e-11, atol=1e-11)
