"""Densities of all laws in mpmath, as functions of the linear predictor."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

from .test_links import OTHER, UNIT


def means(link: Any) -> Callable[[Any], tuple[Any, Any]]:
    """eta -> (mu, 1 - mu), neither by cancellation where both are probabilities."""
    if link in UNIT:
        mean, rest = UNIT[link]
        return lambda x: (mean(x), rest(x))
    if link == "log":
        return lambda x: (mp.exp(x), -mp.expm1(x))
    return lambda x: (OTHER[link](x), 1 - OTHER[link](x))


def rising(x: Any, n: Any) -> Any:
    """log of x (x + 1) ... (x + n - 1)."""
    return mp.fsum(mp.log(x + k) for k in range(int(n)))


def gaussian(y, mu, rest, own, n):
    (sigma,) = own
    return -(((y - mu) / sigma) ** 2) / 2 - mp.log(2 * mp.pi) / 2 - mp.log(sigma)


def binomial(y, mu, rest, own, n):
    some = y * mp.log(mu) if y else 0
    return some + ((n - y) * log_rest(mu, rest) if y < n else 0) + mp.log(mp.binomial(n, y))


def log_rest(mu, rest):
    """log(1 - mu), also where mu vanishes beside 1."""
    return mp.log(rest) if rest < 0.5 else mp.log1p(-mu)


def poisson(y, mu, rest, own, n):
    return y * mp.log(mu) - mu - mp.loggamma(y + 1)


def gamma(y, mu, rest, own, n):
    nu = 1 / own[0]
    return nu * (mp.log(nu / mu) - y / mu) + (nu - 1) * mp.log(y) - mp.loggamma(nu)


def inverse_gaussian(y, mu, rest, own, n):
    return -((y / mu - 1) ** 2) / (2 * own[0] * y) - mp.log(2 * mp.pi * own[0] * y**3) / 2


def nbinom1(y, mu, rest, own, n):
    (phi,) = own
    r = mu / phi
    return rising(r, y) - mp.loggamma(y + 1) - r * mp.log1p(phi) + y * mp.log(phi / (1 + phi))


def nbinom2(y, mu, rest, own, n):
    (size,) = own
    part = rising(size, y) - mp.loggamma(y + 1)
    return part + y * mp.log(mu / (mu + size)) - size * mp.log1p(mu / size)


def given_some(law: Callable[..., Any]) -> Callable[..., Any]:
    """The law given y > 0."""

    def log_density(y, mu, rest, own, n):
        zero = law(mp.mpf(0), mu, rest, own, n)
        some = mp.log(-mp.expm1(zero)) if zero > -1 else mp.log1p(-mp.exp(zero))
        return law(y, mu, rest, own, n) - some

    return log_density


def beta(y, mu, rest, own, n):
    a, b = mu * own[0], rest * own[0]
    constant = mp.loggamma(own[0]) - mp.loggamma(a) - mp.loggamma(b)
    return constant + (a - 1) * mp.log(y) + (b - 1) * mp.log1p(-y)


def zero_one_beta(y, mu, rest, own, n):
    phi, zoi, coi = own
    if y in (0, 1):
        return mp.log(zoi) + mp.log(coi if y else 1 - coi)
    return mp.log1p(-zoi) + beta(y, mu, rest, (phi,), n)


def betabinomial(y, mu, rest, own, n):
    (phi,) = own
    parts = rising(mu * phi, y) + rising(rest * phi, n - y) - rising(phi, n)
    return parts + mp.log(mp.binomial(n, y))


def student_t(y, mu, rest, own, n):
    sigma, df = own
    z = (y - mu) / sigma
    constant = mp.loggamma((df + 1) / 2) - mp.loggamma(df / 2) - mp.log(mp.pi * df) / 2
    return constant - mp.log(sigma) - (df + 1) / 2 * mp.log1p(z * z / df)


def lognormal(y, mu, rest, own, n):
    square = mp.log1p((own[0] / mu) ** 2)
    z = (mp.log(y) - mp.log(mu) + square / 2) / mp.sqrt(square)
    return -z * z / 2 - mp.log(y) - mp.log(2 * mp.pi * square) / 2


def skew_normal(y, mu, rest, own, n):
    sigma, alpha = own
    delta = alpha / mp.sqrt(1 + alpha**2)
    omega = sigma / mp.sqrt(1 - 2 * delta**2 / mp.pi)
    z = (y - mu) / omega + delta * mp.sqrt(2 / mp.pi)
    tail = mp.erfc(abs(alpha * z) / mp.sqrt(2)) / 2
    log_cdf = mp.log(tail) if alpha * z < 0 else mp.log1p(-tail)
    return mp.log(2) - mp.log(2 * mp.pi) / 2 - z * z / 2 + log_cdf - mp.log(omega)


def tweedie(y, mu, rest, own, n):
    phi, p = own
    zero = -(mu ** (2 - p)) / (phi * (2 - p))
    if not y:
        return zero
    return zero - y * mu ** (1 - p) / (p - 1) / phi - mp.log(y) + _number_of_parts(y, phi, p)


@functools.cache
def _number_of_parts(y, phi, p):
    alpha = (2 - p) / (p - 1)
    z = (y / (p - 1)) ** alpha / phi ** (1 + alpha) / (2 - p)
    return mp.log(mp.fsum(z**j / mp.factorial(j) / mp.gamma(alpha * j) for j in range(1, 100)))


def genpois(y, mu, rest, own, n):
    (phi,) = own
    theta, lam = mu / mp.sqrt(phi), 1 - 1 / mp.sqrt(phi)
    rate = theta + lam * y
    return mp.log(theta) + (y - 1) * mp.log(rate) - rate - mp.loggamma(y + 1)


LAWS = {
    "gaussian": gaussian,
    "binomial": binomial,
    "poisson": poisson,
    "gamma": gamma,
    "inverse_gaussian": inverse_gaussian,
    "nbinom1": nbinom1,
    "nbinom2": nbinom2,
    "beta": beta,
    "zero_one_beta": zero_one_beta,
    "betabinomial": betabinomial,
    "student_t": student_t,
    "lognormal": lognormal,
    "skew_normal": skew_normal,
    "tweedie": tweedie,
    "genpois": genpois,
    "truncated_poisson": given_some(poisson),
    "truncated_nbinom1": given_some(nbinom1),
    "truncated_nbinom2": given_some(nbinom2),
}


def density(law: Any, phi: Any, y: float, n: float) -> Callable[[Any], Any]:
    """eta -> log p(y | eta, phi, n) of a family."""
    link = getattr(law.link, "power", law.link.name)
    own = [mp.mpf(float(v)) for v in np.atleast_1d(law.natural(phi))]
    y, n = mp.mpf(y), mp.mpf(n)
    if law.name == "cumulative":
        return cumulative(link, y, own)
    if law.name == "ordered_beta":
        low = mp.mpf(float(phi[1]))
        return ordered_beta(link, y, own[0], (low, low + mp.exp(mp.mpf(float(phi[2])))))
    if law.name == "compois":
        return compois(link, y, 1 / own[0])
    formula, mean = LAWS[law.name], means(link)
    return lambda eta: formula(y, *mean(eta), own, n)


def between(link: Any, low: Any, high: Any) -> Any:
    """log(F(high) - F(low)) from the smaller of the two tails; None stands for an infinite end."""
    mean, rest = UNIT[link]
    if low is None:
        return log_rest(rest(high), mean(high))
    if high is None:
        return log_rest(mean(low), rest(low))
    return mp.log(mean(high) - mean(low) if mean(high) < 0.5 else rest(low) - rest(high))


def cumulative(link: Any, y: Any, thresholds: Any) -> Callable[[Any], Any]:
    """eta -> log P(y <= j) - P(y <= j - 1), P(y <= j) = F(threshold_j - eta)."""
    ends = [None, *thresholds, None]
    low, high = ends[int(y)], ends[int(y) + 1]

    def value(eta: Any) -> Any:
        return between(link, *(None if t is None else t - eta for t in (low, high)))

    return value


def ordered_beta(link: Any, y: Any, phi: Any, cuts: Any) -> Callable[[Any], Any]:
    """eta -> log p(y): masses at 0 and 1, and a beta law between."""
    mean = means(link)

    def value(eta: Any) -> Any:
        low, high = eta - cuts[1], eta - cuts[0]
        if y in (0, 1):
            return between(link, high, None) if y == 0 else between(link, None, low)
        return between(link, low, high) + beta(y, *mean(eta), (phi,), 1)

    return value


def compois(link: Any, y: Any, nu: Any) -> Callable[[Any], Any]:
    """eta -> log p(y) for means up to 20, lambda by the secant method in its logarithm."""
    mean, own = means(link), [mp.factorial(k) ** -nu for k in range(150)]

    def weights(rate: Any) -> list[Any]:
        found, power, factor = [], mp.mpf(1), mp.exp(rate)
        for value in own:
            found.append(power * value)
            power *= factor
        return found

    def gap(rate: Any, mu: Any) -> Any:
        w = weights(rate)
        return mp.log(mp.fsum(k * v for k, v in enumerate(w)) / mp.fsum(w) / mu)

    def value(eta: Any) -> Any:
        mu = mean(eta)[0]
        guess = mp.log(mu) if mu < 1 else nu * mp.log(mu + (nu - 1) / (2 * nu))
        rate = mp.findroot(lambda r: gap(r, mu), (guess, guess + 0.01), solver="secant")
        return y * rate + mp.log(own[int(y)]) - mp.log(mp.fsum(weights(rate)))

    return value
