"""Laws, designs and simulated problems that the tests of the core share.

A new family needs one line in `LAWS`; every law then runs on it with every link it accepts.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

from jaxglmm import families, links
from jaxglmm.ascent import Estimate, maximise_rows
from jaxglmm.control import Control
from jaxglmm.covariance import REGISTRY as STRUCTURES
from jaxglmm.design import Grouping, Problem, Term, make_problem
from jaxglmm.errors import InputError
from jaxglmm.families import AbstractFamily
from jaxglmm.params import Params, flatten
from jaxglmm.rows import arrange


@dataclasses.dataclass(frozen=True)
class Law:
    """What scipy calls a family: `law(mu, natural, weight)` at a moderate `natural`."""

    distribution: Callable[[Any, Any, Any], Any]
    natural: tuple[float, ...] = ()

    @property
    def phi(self) -> np.ndarray:
        return np.log(np.asarray(self.natural, float).reshape(-1))


def _inverse_gaussian(mu: Any, phi: Any, weight: Any) -> Any:
    shape = weight / phi[0]
    return stats.invgauss(mu / shape, scale=shape)


LAWS = {
    "gaussian": Law(lambda m, s, w: stats.norm(m, s[0] / np.sqrt(w)), (0.6,)),
    "binomial": Law(lambda m, _, n: stats.binom(np.asarray(n, int), m)),
    "poisson": Law(lambda m, _, w: stats.poisson(m)),
    "gamma": Law(lambda m, p, w: stats.gamma(w / p[0], scale=m * p[0] / w), (0.4,)),
    "inverse_gaussian": Law(_inverse_gaussian, (0.3,)),
    "nbinom2": Law(lambda m, k, w: stats.nbinom(k[0], k[0] / (k[0] + m)), (1.7,)),
    "beta": Law(lambda m, p, w: stats.beta(m * p[0], (1 - m) * p[0]), (6.0,)),
}

# Means that any link can reach, by support of the response.
MEANS = {
    "real": (0.2, 0.8),
    "positive": (0.5, 4.0),
    "count": (0.5, 4.0),
    "binomial": (0.2, 0.8),
    "unit_open": (0.2, 0.8),
}


def slow(value: Any) -> Any:
    """A parameter that runs with -m slow only."""
    return pytest.param(value, marks=pytest.mark.slow)


def law_pairs() -> list[Any]:
    """Every family with the name (or power) of every link it accepts, for `parametrize`."""
    pairs = []
    for family in families.REGISTRY:
        for link in (*links.REGISTRY, 1.5):
            try:
                families.get(family, link)
            except InputError:
                continue
            pairs.append((family, link))
    return pairs


def eta_interval(family: AbstractFamily) -> tuple[float, float]:
    """The linear predictors of the family's moderate means, ascending."""
    ends = np.asarray(family.link.predictor(np.asarray(MEANS[family.support])))
    return float(ends.min()), float(ends.max())


def draw(rng: np.random.Generator, family: AbstractFamily, eta: Any, phi: Any, weight: Any) -> Any:
    """Responses of the law, from scipy."""
    mu = np.asarray(family.link.mean(np.asarray(eta)))
    law = LAWS[family.name].distribution(mu, np.exp(phi), weight)
    y = law.rvs(random_state=rng).astype(float)
    # Rounding puts a few beta draws on the ends of their support.
    return np.clip(y, 1e-12, 1 - 1e-12) if family.support == "unit_open" else y


@dataclasses.dataclass(frozen=True)
class Case:
    """A simulated problem and the parameters it was drawn from."""

    problem: Problem
    truth: Params
    b: tuple[np.ndarray, ...]

    @property
    def psi(self) -> np.ndarray:
        return np.asarray(flatten(self.truth))


def grouping(codes: Any, Z: Any, *, structure: str = "us", num_levels: int | None = None) -> Any:
    """One term on all columns of Z."""
    codes = np.asarray(codes, np.int32)
    term = Term(STRUCTURES[structure](Z.shape[1]))
    return Grouping(codes, Z, int(codes.max()) + 1 if num_levels is None else num_levels, (term,))


def make_case(
    family: str | AbstractFamily = "poisson",
    link: Any = None,
    *,
    num_levels: int = 8,
    size: int = 5,
    q: int = 1,
    structure: str = "us",
    num_factors: int = 1,
    weights: bool = False,
    spread: float = 0.2,
    seed: int = 0,
) -> Case:
    """A problem whose means stay moderate: two fixed columns, q random ones on each factor.

    Levels hold `size` rows on average (unbalanced); binomial rows have 6 trials. `spread` is the
    standard deviation of the random part in units of the half width of `eta_interval`.
    """
    rng = np.random.default_rng([seed, q, num_levels, size])
    law = families.get(family, link)
    n = num_levels * size
    low, high = eta_interval(law)
    unit = (high - low) / 2
    x = rng.uniform(-1, 1, n)
    X = np.column_stack([np.ones(n), x])
    beta = np.array([(low + high) / 2, 0.3 * unit])
    Z = np.column_stack([np.ones(n), x, rng.uniform(-1, 1, (n, max(q - 2, 0)))])[:, :q]
    L = spread * unit / np.sqrt(q * num_factors) * (np.eye(q) + 0.3 * np.tri(q, k=-1))
    if structure == "diag":
        L = np.diag(np.diagonal(L))
    groups, effects, eta = [], [], X @ beta
    for _ in range(num_factors):
        codes = unbalanced(rng, n, num_levels)
        u = np.clip(rng.normal(size=(q, num_levels)), -3, 3)
        groups.append(grouping(codes, Z, structure=structure, num_levels=num_levels))
        effects.append(L @ u)
        eta = eta + np.einsum("nq,qn->n", Z, (L @ u)[:, codes])
    theta = np.diagonal(L) if structure == "diag" else L[np.tril_indices(q)]
    phi = LAWS[law.name].phi
    w = rng.uniform(0.5, 2.0, n) if weights else np.ones(n)
    trials = np.full(n, 6.0)
    divisor = w if law.weight_role == "dispersion" else np.ones(n)
    y = draw(rng, law, eta, phi, trials if law.weight_role == "trials" else divisor)
    problem = make_problem(
        y, X, law, tuple(groups), weights=w, trials=trials if law.weight_role == "trials" else None
    )
    return Case(problem, Params(beta, np.tile(theta, num_factors), phi), tuple(effects))


def unbalanced(rng: np.random.Generator, n: int, num_levels: int) -> np.ndarray:
    """Codes of n rows, every level at least once, sizes far from equal."""
    share = rng.dirichlet(np.full(num_levels, 3.0))
    codes = np.concatenate([np.arange(num_levels), rng.choice(num_levels, n - num_levels, p=share)])
    return rng.permutation(codes).astype(np.int32)


@functools.partial(jax.jit, static_argnames=("control", "num_fixed"))
def _fit(problem: Problem, given: Params | None, control: Control, num_fixed: int | None) -> Any:
    return maximise_rows(arrange(problem, num_fixed=num_fixed), control, given)


def fit(
    problem: Problem,
    given: Params | None = None,
    *,
    control: Control = Control(),
    num_fixed: int | None = None,
) -> Estimate:
    """The compiled fit, as NumPy arrays."""
    return jax.tree.map(np.asarray, _fit(problem, given, control, num_fixed))


def derivative(f: Callable[[float], Any], h: float) -> Any:
    """f'(0) by central differences with one Richardson step: the error is O(h^4)."""
    near, far = (f(h) - f(-h)) / (2 * h), (f(2 * h) - f(-2 * h)) / (4 * h)
    return (4 * near - far) / 3
