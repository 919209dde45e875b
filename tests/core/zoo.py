"""Laws, designs and simulated problems that the tests of the core share.

A new family needs one line in `LAWS`; every law then runs on it with every link it accepts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest
from scipy import special, stats

from jaxglmm import families, links
from jaxglmm.ascent import Estimate, maximise_rows
from jaxglmm.control import Control
from jaxglmm.covariance import REGISTRY as STRUCTURES
from jaxglmm.design import Grouping, Problem, Term, make_problem
from jaxglmm.errors import InputError
from jaxglmm.families import AbstractFamily
from jaxglmm.params import Params, flatten
from jaxglmm.rows import arrange

from . import laws


@dataclasses.dataclass(frozen=True)
class Law:
    """What scipy calls a family: `law(mu, natural, weight)` at a moderate `natural`.

    `own` is phi where that is not the logarithm of `natural`. A law `by_link` cuts the line of
    eta: `law(mu, phi, weight, link)`.
    """

    distribution: Callable[..., Any]
    natural: tuple[float, ...] = ()
    own: tuple[float, ...] | None = None
    by_link: bool = False
    signed: tuple[bool, ...] = ()  # parameters of either sign, which are their own phi

    @property
    def phi(self) -> np.ndarray:
        if self.own is not None:
            return np.asarray(self.own)
        natural = np.asarray(self.natural, float).reshape(-1)
        signed = np.resize(self.signed or (False,), natural.shape).astype(bool)
        return np.where(signed, natural, np.log(np.where(signed, 1.0, natural)))


class Tabulated:
    """A law on counts below 2000 from its probabilities, with what tests ask of scipy's."""

    def __init__(self, log_pmf: Callable[[Any, Any], Any], mu: Any):
        self.mu, self.log_pmf, self.dist = np.asarray(mu, float), log_pmf, self
        self.k = np.arange(2000.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.p = np.exp(log_pmf(self.k, self.mu[..., None]))

    def logpmf(self, y: Any) -> Any:
        return self.log_pmf(np.asarray(y, float), self.mu)

    def mean(self) -> Any:
        return self.p @ self.k

    def var(self) -> Any:
        return self.p @ self.k**2 - self.mean() ** 2

    def ppf(self, q: Any) -> Any:
        """The quantiles of each mean, or of the only one."""
        below = np.cumsum(self.p, axis=-1)[..., None, :] < np.asarray(q)[..., None]
        return below.sum(axis=-1).reshape(np.shape(q)).astype(float)

    def cdf(self, y: Any) -> Any:
        """Of the only mean."""
        below = np.append(0.0, np.cumsum(self.p))
        return below[np.clip(np.floor(y) + 1, 0, len(below) - 1).astype(int)]

    def rvs(self, random_state: np.random.Generator) -> Any:
        uniform = random_state.uniform(size=self.mu.shape)[..., None]
        return (np.cumsum(self.p, axis=-1) < uniform).sum(axis=-1)


def _given_some(law: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """The law's log-probabilities given y > 0."""

    def log_pmf(y: Any, mu: Any) -> Any:
        whole = law(mu)
        return np.where(y > 0, whole.logpmf(y) - whole.logsf(0), -np.inf)

    return log_pmf


def _generalised_poisson(phi: float) -> Callable[[Any, Any], Any]:
    def log_pmf(y: Any, mu: Any) -> Any:
        theta, lam = mu / np.sqrt(phi), 1 - 1 / np.sqrt(phi)
        rate = theta + lam * y
        return np.log(theta) + (y - 1) * np.log(rate) - rate - special.gammaln(y + 1)

    return log_pmf


def _nbinom1(mu: Any, phi: Any) -> Any:
    return stats.nbinom(mu / phi[0], 1 / (1 + phi[0]))


def _nbinom2(mu: Any, size: Any) -> Any:
    return stats.nbinom(size[0], size[0] / (size[0] + mu))


def _lognormal(mu: Any, sigma: Any, weight: Any) -> Any:
    square = np.log1p((sigma[0] / mu) ** 2)
    return stats.lognorm(np.sqrt(square), scale=mu * np.exp(-square / 2))


def _skew_normal(mu: Any, natural: Any, weight: Any) -> Any:
    sigma, alpha = natural
    m = np.sqrt(2 / np.pi) * alpha / np.sqrt(1 + alpha**2)
    omega = sigma / np.sqrt(1 - m**2)
    return stats.skewnorm(alpha, loc=mu - omega * m, scale=omega)


def _inverse_gaussian(mu: Any, phi: Any, weight: Any) -> Any:
    shape = weight / phi[0]
    return stats.invgauss(mu / shape, scale=shape)


LAWS = {
    "gaussian": Law(lambda m, s, w: stats.norm(m, s[0] / np.sqrt(w)), (0.6,)),
    "binomial": Law(lambda m, _, n: stats.binom(np.asarray(n, int), m)),
    "poisson": Law(lambda m, _, w: stats.poisson(m)),
    "gamma": Law(lambda m, p, w: stats.gamma(w / p[0], scale=m * p[0] / w), (0.4,)),
    "inverse_gaussian": Law(_inverse_gaussian, (0.3,)),
    "nbinom1": Law(lambda m, p, w: _nbinom1(m, p), (0.8,)),
    "nbinom2": Law(lambda m, k, w: _nbinom2(m, k), (1.7,)),
    "beta": Law(lambda m, p, w: stats.beta(m * p[0], (1 - m) * p[0]), (6.0,)),
    "betabinomial": Law(
        lambda m, p, n: stats.betabinom(np.asarray(n, int), m * p[0], (1 - m) * p[0]), (5.0,)
    ),
    "student_t": Law(lambda m, s, w: stats.t(s[1], m, s[0]), (0.5, 5.0)),
    "lognormal": Law(_lognormal, (0.4,)),
    "skew_normal": Law(_skew_normal, (0.6, 4.0), signed=(False, True)),
    "genpois": Law(lambda m, p, w: Tabulated(_generalised_poisson(p[0]), m), (1.6,)),
    "truncated_poisson": Law(lambda m, _, w: Tabulated(_given_some(stats.poisson), m)),
    "truncated_nbinom1": Law(
        lambda m, p, w: Tabulated(_given_some(lambda mu: _nbinom1(mu, p)), m), (0.8,)
    ),
    "truncated_nbinom2": Law(
        lambda m, k, w: Tabulated(_given_some(lambda mu: _nbinom2(mu, k)), m), (1.7,)
    ),
    "ordered_beta": Law(
        laws.OrderedBeta,
        (6.0, special.expit(-0.9), special.expit(0.8)),
        (np.log(6.0), -0.9, np.log(1.7)),
        by_link=True,
    ),
    "zero_one_beta": Law(
        laws.ZeroOneBeta, (6.0, 0.3, 0.4), (np.log(6.0), special.logit(0.3), special.logit(0.4))
    ),
    "tweedie": Law(laws.Tweedie, (0.9, 1.4), (np.log(0.9), special.logit(0.4))),
    "compois": Law(laws.compois, (1.6,)),
    "cumulative": Law(laws.cumulative, (-0.6, 0.9), (-0.6, np.log(1.5)), by_link=True),
}


def reference(family: AbstractFamily, mu: Any, weight: Any, phi: Any = None) -> Any:
    """The law of scipy, or by brute force, at its own parameters `phi` (None: those of `LAWS`)."""
    law = LAWS[family.name]
    phi = law.phi if phi is None else np.asarray(phi)
    if law.by_link:
        return law.distribution(np.asarray(mu), phi, weight, family.link)
    return law.distribution(np.asarray(mu), np.asarray(family.natural(phi)), weight)


# Means that any link can reach, by support of the response.
MEANS = {
    "real": (0.2, 0.8),
    "positive": (0.5, 4.0),
    "count": (0.5, 4.0),
    "positive_count": (0.5, 4.0),
    "binomial": (0.2, 0.8),
    "unit_open": (0.2, 0.8),
    "nonnegative": (0.5, 4.0),
    "unit_closed": (0.2, 0.8),
    "ordinal": (0.2, 0.8),
}


WHOLE = ("count", "positive_count", "binomial", "ordinal")


def slow(*values: Any) -> Any:
    """Parameters that run with -m slow only."""
    return pytest.param(*values, marks=pytest.mark.slow)


def law_pairs(*, quick: bool = False) -> list[Any]:
    """Every family with the name (or power) of every link it accepts, for `parametrize`.

    With `quick` those are slow tests that have neither the family's own link nor the first family
    of its kind, by the links it accepts and whether responses are whole numbers: what links and
    laws do to each other does not depend on more.
    """
    pairs, seen = [], set()
    for family in families.REGISTRY:
        laws = dict(_accepted(family))
        whole = families.get(family).support in WHOLE
        first = (whole, *laws) not in seen
        seen.add((whole, *laws))
        for link, law in laws.items():
            own = first or not quick or law == families.get(family)
            pairs.append((family, link) if own else slow(family, link))
    return pairs


def _accepted(family: str) -> Iterator[tuple[Any, AbstractFamily]]:
    """Links with the law that each makes of the family."""
    for link in (*links.REGISTRY, 1.5):
        with contextlib.suppress(InputError):
            yield link, families.get(family, link)


def eta_interval(family: AbstractFamily) -> tuple[float, float]:
    """The linear predictors of the family's moderate means, ascending."""
    ends = np.asarray(family.link.predictor(np.asarray(MEANS[family.support])))
    return float(ends.min()), float(ends.max())


def draw(rng: np.random.Generator, family: AbstractFamily, eta: Any, phi: Any, weight: Any) -> Any:
    """Responses of the law, from scipy."""
    mu = np.asarray(family.link.mean(np.asarray(eta)))
    y = reference(family, mu, weight, phi).rvs(random_state=rng).astype(float)
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
    if law.num_thresholds:  # which are intercepts
        X[:, 0] = rng.uniform(-1, 1, n)
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
