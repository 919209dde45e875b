"""Second derivatives of the profiled log-likelihood of crossed factors, by all pairs of levels."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from jaxglmm import families
from jaxglmm.ascent.least_squares import LeastSquaresRoute
from jaxglmm.covariance import Diagonal, Unstructured
from jaxglmm.design import Grouping, Term, make_problem
from jaxglmm.factor import choose, curved, joined
from jaxglmm.factor.joined import Extent
from jaxglmm.marginal import profiled
from jaxglmm.params import Params
from jaxglmm.rows import Rows, arrange

TERMS = (
    (Term(Unstructured(3)),),
    (Term(Unstructured(2)), Term(Diagonal(1))),
    (Term(Unstructured(1)),),
)


def crossed(num_factors: int, method: str) -> Rows:
    rng = np.random.default_rng(7)
    n, groups = 60, []
    for terms, levels in zip(TERMS[:num_factors], (7, 5, 3), strict=False):
        q = sum(term.covariance.dim for term in terms)
        Z = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))])
        groups.append(Grouping(rng.integers(0, levels, n).astype(np.int32), Z, levels, terms))
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    law = families.get("gaussian")
    y = rng.normal(size=n)
    problem = make_problem(y, X, law, tuple(groups), factorisation="crossed", method=method)
    return arrange(problem)


@pytest.mark.parametrize(("num_factors", "method"), [(2, "laplace"), (3, "reml")])
def test_hessian_of_the_profile(
    num_factors: int, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with jax.enable_x64(True):
        rows = crossed(num_factors, method)
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
