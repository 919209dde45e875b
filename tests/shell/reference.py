"""Laplace's approximation in NumPy: one grouping factor, dense blocks, derivatives by hand.

Shares nothing with the library but the definition of the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, special

Values = np.ndarray
Law = Callable[[Values, Values, Values, Values], tuple[Values, Values, Values]]


def _gaussian(y: Values, eta: Values, fam: Values, weight: Values) -> Any:
    """Identity link; sigma^2 / weight."""
    variance = fam[0] ** 2 / weight
    value = -0.5 * np.log(2 * np.pi * variance) - 0.5 * (y - eta) ** 2 / variance
    return value, (y - eta) / variance, 1 / variance + 0 * eta


def _binomial(y: Values, eta: Values, fam: Values, trials: Values) -> Any:
    """Logit link; `weight` is the number of trials."""
    mu = special.expit(eta)
    choose = special.gammaln(trials + 1) - special.gammaln(y + 1) - special.gammaln(trials - y + 1)
    value = choose + y * eta - trials * np.logaddexp(0, eta)
    return value, y - trials * mu, trials * mu * (1 - mu)


def _poisson(y: Values, eta: Values, fam: Values, weight: Values) -> Any:
    """Log link."""
    mu = np.exp(eta)
    return weight * (y * eta - mu - special.gammaln(y + 1)), weight * (y - mu), weight * mu


def _gamma(y: Values, eta: Values, fam: Values, weight: Values) -> Any:
    """Log link; variance phi mu^2 / weight."""
    nu, r = weight / fam[0], y * np.exp(-eta)
    value = nu * np.log(nu * r) - nu * r - np.log(y) - special.gammaln(nu)
    return value, nu * (r - 1), nu * r


def _nbinom2(y: Values, eta: Values, fam: Values, weight: Values) -> Any:
    """Log link; variance mu + mu^2 / size."""
    size, mu = fam[0], np.exp(eta)
    value = special.gammaln(y + size) - special.gammaln(size) - special.gammaln(y + 1)
    value = value + size * np.log(size / (size + mu)) + special.xlogy(y, mu / (size + mu))
    slope = (y - mu) * size / (size + mu)
    return weight * value, weight * slope, weight * (y + size) * mu * size / (size + mu) ** 2


def _beta(y: Values, eta: Values, fam: Values, weight: Values) -> Any:
    """Logit link; precision phi."""
    phi, mu = fam[0], special.expit(eta)
    a, b, m1 = mu * phi, (1 - mu) * phi, mu * (1 - mu)
    value = (a - 1) * np.log(y) + (b - 1) * np.log1p(-y) - special.betaln(a, b)
    by_mu = phi * (np.log(y) - np.log1p(-y) - special.digamma(a) + special.digamma(b))
    by_mu2 = -(phi**2) * (special.polygamma(1, a) + special.polygamma(1, b))
    curvature = -(by_mu2 * m1**2 + by_mu * m1 * (1 - 2 * mu))
    return weight * value, weight * by_mu * m1, weight * curvature


LAWS: dict[str, Law] = {
    "gaussian": _gaussian,
    "binomial": _binomial,
    "poisson": _poisson,
    "gamma": _gamma,
    "nbinom2": _nbinom2,
    "beta": _beta,
}


class Mode(NamedTuple):
    """Random effects b (level, column), their conditional covariance, and the row weights."""

    b: np.ndarray
    covariance: np.ndarray
    weights: np.ndarray
    value: float


@dataclasses.dataclass(frozen=True)
class Model:
    """Parameters are natural: beta, sds, correlations (pairs as in tril), the law's own."""

    family: str
    y: np.ndarray
    X: np.ndarray
    Z: np.ndarray
    codes: np.ndarray
    weight: np.ndarray
    offset: np.ndarray
    correlated: bool = True
    num_family: int = 0

    @property
    def q(self) -> int:
        return self.Z.shape[1]

    def split(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """beta, the covariance matrix G, the law's parameters."""
        p, q = self.X.shape[1], self.q
        sds, rest = x[p : p + q], x[p + q :]
        pairs = q * (q - 1) // 2 if self.correlated else 0
        R = np.eye(q)
        if pairs:
            low = np.tril_indices(q, -1)
            R[low] = rest[:pairs]
            R.T[low] = rest[:pairs]
        return x[:p], R * np.outer(sds, sds), rest[pairs:]

    def mode(self, x: np.ndarray) -> Mode:
        beta, G, fam = self.split(np.asarray(x, float))
        fixed, law = self.X @ beta + self.offset, LAWS[self.family]
        if self.q == 0:
            value, _, W = law(self.y, fixed, fam, self.weight)
            return Mode(np.zeros((0, 0)), np.zeros((0, 0, 0)), W, float(value.sum()))
        L = np.linalg.cholesky(G)
        levels = int(self.codes.max()) + 1
        A = self.Z @ L
        u = np.zeros((levels, self.q))

        def per_level(rows: np.ndarray) -> np.ndarray:
            total = np.zeros((levels, *rows.shape[1:]))
            np.add.at(total, self.codes, rows)
            return total

        def objective(u: np.ndarray) -> Any:
            eta = fixed + np.sum(A * u[self.codes], axis=1)
            value, slope, W = law(self.y, eta, fam, self.weight)
            return per_level(value) - 0.5 * np.sum(u * u, axis=1), slope, W

        value, slope, W = objective(u)
        for _ in range(100):
            gradient = per_level(A * slope[:, None]) - u
            H = per_level(A[:, :, None] * A[:, None, :] * W[:, None, None]) + np.eye(self.q)
            step = np.linalg.solve(H, gradient[..., None])[..., 0]
            if np.abs(step).max() < 1e-13:
                break
            share = np.ones(levels)
            for _ in range(40):
                new = objective(u + share[:, None] * step)
                worse = new[0] < value - 1e-12 * np.abs(value)
                if not worse.any():
                    break
                share = np.where(worse, 0.5 * share, share)
            u = u + share[:, None] * step
            value, slope, W = objective(u)
        H = per_level(A[:, :, None] * A[:, None, :] * W[:, None, None]) + np.eye(self.q)
        total = float(value.sum() - 0.5 * np.linalg.slogdet(H)[1].sum())
        return Mode(u @ L.T, L @ np.linalg.inv(H) @ L.T, W, total)

    def log_likelihood(self, x: np.ndarray) -> float:
        return self.mode(x).value

    def conditional_vcov(self, x: np.ndarray) -> np.ndarray:
        """(X' V^-1 X)^-1 with V = Z G Z' + W^-1, all dense."""
        _, G, _ = self.split(np.asarray(x, float))
        V = np.diag(1 / self.mode(x).weights)
        for level in range(int(self.codes.max()) + 1):
            rows = np.flatnonzero(self.codes == level)
            V[np.ix_(rows, rows)] += self.Z[rows] @ G @ self.Z[rows].T
        return np.linalg.inv(self.X.T @ np.linalg.solve(V, self.X))


def gradient(f: Callable[[np.ndarray], Any], x: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Central differences, extrapolated once; f may return an array. Parameters come first."""

    def once(h: np.ndarray) -> np.ndarray:
        steps = np.diag(h)
        differences = [f(x + e) - f(x - e) for e in steps]
        return np.stack([np.asarray(d) / (2 * s) for d, s in zip(differences, h, strict=True)])

    return (4 * once(h / 2) - once(h)) / 3


def hessian(f: Callable[[np.ndarray], float], x: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Central second differences, extrapolated once."""

    def once(h: np.ndarray) -> np.ndarray:
        p, steps, centre = len(x), np.diag(h), f(x)
        H = np.zeros((p, p))
        for i in range(p):
            H[i, i] = (f(x + steps[i]) - 2 * centre + f(x - steps[i])) / h[i] ** 2
            for j in range(i):
                a, b = steps[i], steps[j]
                mixed = f(x + a + b) - f(x + a - b) - f(x - a + b) + f(x - a - b)
                H[i, j] = H[j, i] = mixed / (4 * h[i] * h[j])
        return H

    return (4 * once(h / 2) - once(h)) / 3


def maximum(model: Model, x: np.ndarray, scale: np.ndarray) -> Any:
    """scipy's own maximum from a start `x`, in units of `scale`; scales stay positive."""
    p = model.X.shape[1]
    positive = np.zeros(len(x), bool)
    positive[p : p + model.q] = True
    positive[len(x) - model.num_family :] = model.num_family > 0

    def natural(t: np.ndarray) -> np.ndarray:
        moved = x + scale * t
        return np.where(positive, x * np.exp(t), moved)

    def loss(t: np.ndarray) -> float:
        with np.errstate(all="ignore"):
            value = model.log_likelihood(natural(t)) if np.all(np.abs(t) < 1e3) else np.nan
        return -value if np.isfinite(value) else 1e9

    done = optimize.minimize(loss, np.zeros(len(x)), method="BFGS", options={"gtol": 1e-5})
    return natural(done.x), -done.fun
