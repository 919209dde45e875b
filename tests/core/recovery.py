"""Simulated data sets, their fits, and the maximum of the exact likelihood beside them."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp
from scipy import special, stats

from jaxglmm import status
from jaxglmm.covariance import Diagonal
from jaxglmm.design import Grouping, Problem, Term, make_problem
from jaxglmm.families import AbstractFamily
from jaxglmm.params import Params, flatten

from .zoo import LAWS, eta_interval, fit, reference

NUM_LEVELS, SIZE, TRIALS = 60, 15, 6.0
SPREAD = 0.6  # standard deviation of the intercepts in units of the half width of `eta_interval`
SLOPE = 0.3  # in the same units
FROM_ZERO = 6.0  # standard deviations: where the intercept of a square root is
ZEROS, ZEROS_SLOPE, DISPERSION_SLOPE = -1.0, 0.5, 0.4
NUM_NODES = 25  # of the quadrature that stands for exact integrals
TOLERANCE = 1e-8  # log-likelihood that a step may still gain: 1e-4 standard errors
MOST_PASSES = 60
MOST = 400.0  # counts are drawn below it
# The entries of phi, where they are not logarithms of the law's parameters.
OWN = {
    "skew_normal": ("log sigma", "shape"),
    "tweedie": ("log phi", "logit(power - 1)"),
    "zero_one_beta": ("log phi", "logit zoi", "logit coi"),
    "ordered_beta": ("log phi", "lower cutpoint", "log distance"),
    "cumulative": ("threshold 1", "log distance"),
}
_WHOLE = {"count": 0.0, "positive_count": 1.0, "binomial": 0.0, "ordinal": 0.0}


@dataclasses.dataclass(frozen=True)
class Study:
    """A design with a random intercept, and the parameters that data sets are drawn from."""

    problem: Problem
    truth: Params
    names: tuple[str, ...]


def make_study(
    law: AbstractFamily,
    *,
    num_levels: int = NUM_LEVELS,
    size: int = SIZE,
    trials: float = TRIALS,
    spread: float = SPREAD,
) -> Study:
    """`num_levels` groups of `size` rows; each predictor has an intercept and a slope of x.

    A law with thresholds has a covariate of its own in the place of the intercept.
    """
    rng = np.random.default_rng(0)
    n = num_levels * size
    x, codes = rng.uniform(-1, 1, n), np.repeat(np.arange(num_levels), size).astype(np.int32)
    low, high = eta_interval(law.base)
    unit, phi = (high - low) / 2, LAWS[law.name].phi
    if law.link.name == "sqrt":  # beyond zero the same means come again, in reverse
        spread = min(spread, (low + high) / 2 / (FROM_ZERO * unit))
    truth = {
        "cond": [(low + high) / 2, SLOPE * unit],
        "disp": [*phi[:1], DISPERSION_SLOPE],
        "zi": [ZEROS, ZEROS_SLOPE],
    }
    beta = np.array([value for c in law.components for value in truth[c]])
    first, called = np.ones(n), "intercept"
    if law.num_thresholds:
        first, called, beta[0] = rng.uniform(-1, 1, n), "other slope", SLOPE * unit
    m, others = law.num_predictors, phi[1:] if "disp" in law.components else phi
    problem = make_problem(
        np.zeros(n),
        np.column_stack([first, x] * m),
        law,
        (Grouping(codes, np.ones((n, 1)), num_levels, (Term(Diagonal(1)),)),),
        trials=np.full(n, trials) if law.weight_role == "trials" else None,
        predictors=tuple(np.repeat(np.arange(m), 2).tolist()),
    )
    names = [f"{c} {name}" for c in law.components for name in (called, "slope")]
    own = OWN.get(law.name, [f"log {name}" for name in law.base.phi_names])
    own = own[1:] if "disp" in law.components else own
    return Study(problem, Params(beta, np.array([spread * unit]), others), (*names, "sd", *own))


def simulate(study: Study, rng: np.random.Generator) -> np.ndarray:
    """New random intercepts and responses."""
    problem, law = study.problem, study.problem.family
    eta = [problem.X[:, 2 * a : 2 * a + 2] @ study.truth.beta[2 * a : 2 * a + 2]
           for a in range(law.num_predictors)]  # fmt: skip
    grouping = problem.groupings[0]
    eta[0] = eta[0] + study.truth.theta[0] * rng.normal(size=grouping.num_levels)[grouping.codes]
    zero = rng.random(problem.num_obs) < special.expit(eta[-1])
    phi = np.asarray(study.truth.phi)
    if "disp" in law.components:
        phi = np.stack([eta[1], *(np.full_like(eta[1], value) for value in phi)])
    if law.base.support in _WHOLE:
        y = _by_inversion(rng, law.base, eta[0], phi, problem.trials)
    else:
        mu = np.asarray(law.link.mean(eta[0]))
        y = reference(law.base, mu, problem.weights, phi).rvs(random_state=rng).astype(float)
    if law.base.support == "unit_open":  # rounding puts a few draws on the ends
        y = np.clip(y, 1e-12, 1 - 1e-12)
    return np.where(zero, 0.0, y) if "zi" in law.components else y


def _by_inversion(
    rng: np.random.Generator, law: AbstractFamily, eta: Any, phi: Any, trials: Any
) -> np.ndarray:
    """Whole responses from the law's own probabilities, which `test_families` has checked."""
    most = {"binomial": np.max(trials) + 1, "ordinal": 3.0}.get(law.support, MOST)
    y = np.arange(_WHOLE[law.support], most)
    probability = np.asarray(_probabilities(law, y, eta, phi, trials))
    return y[np.sum(np.cumsum(probability, axis=1) < rng.random(eta.shape)[:, None], axis=1)]


@functools.partial(jax.jit, static_argnums=0)
def _probabilities(law: AbstractFamily, y: Any, eta: Any, phi: Any, trials: Any) -> Array:
    """P(y) of every row, the first axis."""
    phi = phi[:, :, None] if phi.ndim == 2 else phi
    return jnp.exp(law.log_prob(y[None], eta[:, None], phi, trials[:, None]))


def log_integrand(problem: Problem, psi: Array, nodes: Array) -> Array:
    """sum_i log p(y_i | x_i' beta + theta u) - u^2 / 2 of each group at its nodes u.

    But for constants; nodes and result have the shape (level, node).
    """
    law, grouping = problem.family, problem.groupings[0]
    p, feeds = problem.X.shape[1], np.array(problem.predictors)
    eta = [
        (problem.X[:, feeds == a] @ psi[:p][feeds == a])[:, None] for a in range(law.num_predictors)
    ]
    eta[0] = eta[0] + psi[p] * nodes[grouping.codes]
    weight = problem.trials if law.weight_role == "trials" else problem.weights
    predictors = tuple(eta) if law.num_predictors > 1 else eta[0]
    log_p = law.log_kernel(problem.y[:, None], predictors, psi[p + 1 :], weight[:, None])
    return jax.ops.segment_sum(log_p, grouping.codes, grouping.num_levels) - 0.5 * nodes**2


class Exact(NamedTuple):
    """The estimates, what another step would gain, and the number of gradients."""

    psi: Array
    decrement: Array
    passes: Array


@functools.partial(jax.jit, static_argnames="num_nodes")
def exact_maximum(
    problem: Problem, psi: Array, hessian: Array, u: Array, *, num_nodes: int = NUM_NODES
) -> Exact:
    """The maximum of the exact likelihood by BFGS, from that of Laplace's with its Hessian.

    Gauss and Hermite's rule for each group's integral is centred on its mode u (level,) there, at
    the scale of its curvature, and stays.
    """
    nodes, log_weights = _rule(problem, psi, u, num_nodes)

    def marginal(at: Array) -> Array:
        return jnp.sum(logsumexp(log_integrand(problem, at, nodes) + log_weights, axis=1))

    def step(state: tuple[Any, ...]) -> tuple[Any, ...]:
        at, moved, before, inverse, _, passes = state
        now = jax.grad(marginal)(at)
        inverse = _updated(inverse, moved, before - now)
        onward = inverse @ now
        return at + onward, onward, now, inverse, now @ onward, passes + 1

    def going_on(state: tuple[Any, ...]) -> Array:
        return (jnp.abs(state[4]) > TOLERANCE) & (state[5] < MOST_PASSES)

    none = jnp.zeros_like(psi)
    first = (psi, none, none, jnp.linalg.inv(-hessian), jnp.asarray(jnp.inf, psi.dtype), 0)
    end = jax.lax.while_loop(going_on, step, first)
    return Exact(end[0], end[4], end[5])


def _updated(inverse: Array, moved: Array, fell: Array) -> Array:
    """BFGS: the inverse negative Hessian after a step `moved`, in which the gradient `fell`."""
    along = moved @ fell
    ratio = jnp.where(along > 0, 1.0 / jnp.where(along > 0, along, 1.0), 0.0)
    left = jnp.eye(moved.size, dtype=moved.dtype) - ratio * jnp.outer(moved, fell)
    return left @ inverse @ left.T + ratio * jnp.outer(moved, moved)


def _rule(problem: Problem, psi: Array, u: Array, num_nodes: int) -> tuple[Array, Array]:
    """Nodes and logarithms of weights, (level, node); curvatures by differences."""
    h = 0.1
    left, top, right = log_integrand(problem, psi, u[:, None] + h * np.array([-1.0, 0.0, 1.0])).T
    scale = h / jnp.sqrt(2.0 * top - left - right)
    t, w = np.polynomial.hermite_e.hermegauss(num_nodes)
    return u[:, None] + scale[:, None] * t, jnp.log(scale)[:, None] + np.log(w) + 0.5 * t * t


class Replicate(NamedTuple):
    """One data set: estimates of (beta, theta, phi), their standard errors, those of exact maximum
    likelihood, and whether both searches ended inside the parameter space."""

    estimate: np.ndarray
    error: np.ndarray
    exact: np.ndarray
    status: int
    exact_converged: bool


def replicate(study: Study, seed: Any, *, num_nodes: int = NUM_NODES) -> Replicate:
    """Draws a data set and fits it both ways."""
    problem = study.problem.replace(y=simulate(study, np.random.default_rng(seed)))
    found = fit(problem)
    psi = np.asarray(flatten(found.params))
    with np.errstate(invalid="ignore"):
        error = np.sqrt(np.diagonal(np.linalg.inv(-found.hessian)))
    exact = exact_maximum(problem, psi, found.hessian, found.u[0][0], num_nodes=num_nodes)
    converged = abs(float(exact.decrement)) <= TOLERANCE
    return Replicate(psi, error, np.asarray(exact.psi), int(found.status), converged)


@dataclasses.dataclass(frozen=True)
class Row:
    """What the replicates say of one parameter.

    mean, exact: mean of the estimates and of those of exact maximum likelihood; monte_carlo_error:
    of `mean`, the standard deviation of the estimates over the root of `used`; apart: (mean -
    exact) / monte_carlo_error; bias: (exact - truth) / monte_carlo_error; coverage: share of the
    95 % Wald intervals that hold the truth, error_ratio: mean standard error over the standard
    deviation of the estimates; used: replicates in which both fits converged inside the parameter
    space, of `replicates`; statuses: how the others ended.
    """

    law: str
    parameter: str
    truth: float
    mean: float
    exact: float
    monte_carlo_error: float
    apart: float
    bias: float
    coverage: float
    error_ratio: float
    used: int
    replicates: int
    statuses: str


def summarise(name: str, study: Study, found: list[Replicate]) -> list[Row]:
    """A row for each parameter."""
    good = [r for r in found if r.status == status.CONVERGED and r.exact_converged]
    ends = [status.NAMES[r.status] for r in found if r.status != status.CONVERGED]
    ends += ["no exact maximum" for r in found if r.status == 0 and not r.exact_converged]
    counts = ", ".join(f"{ends.count(end)} {end}" for end in dict.fromkeys(ends))
    estimate, error, exact = (
        np.stack([getattr(r, k) for r in good]) for k in Replicate._fields[:3]
    )
    truth = np.asarray(flatten(study.truth))
    spread = np.std(estimate, axis=0, ddof=1)
    monte_carlo = spread / np.sqrt(len(good))
    covered = np.abs(estimate - truth) < stats.norm.ppf(0.975) * error
    columns = {
        "truth": truth,
        "mean": np.mean(estimate, axis=0),
        "exact": np.mean(exact, axis=0),
        "monte_carlo_error": monte_carlo,
        "apart": np.mean(estimate - exact, axis=0) / monte_carlo,
        "bias": np.mean(exact - truth, axis=0) / monte_carlo,
        "coverage": np.mean(covered, axis=0),
        "error_ratio": np.mean(error, axis=0) / spread,
    }
    return [
        Row(
            law=name,
            parameter=parameter,
            **{key: float(values[k]) for key, values in columns.items()},
            used=len(good),
            replicates=len(found),
            statuses=counts,
        )
        for k, parameter in enumerate(study.names)
    ]
