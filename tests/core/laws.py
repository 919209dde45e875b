"""Laws that scipy does not have, by brute force, with the methods of its distributions."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from jaxglmm.links import AbstractLink


class Table:
    """A law on 0, 1, ..., by its probabilities (..., value)."""

    def __init__(self, probability: np.ndarray) -> None:
        self.probability = probability
        self.values = np.arange(probability.shape[-1])
        self.dist = self  # where scipy's frozen laws have their methods

    def logpmf(self, y: Any) -> np.ndarray:
        place = np.asarray(y, int)[..., None]
        shape = np.broadcast_shapes(self.probability.shape[:-1], place.shape[:-1])
        table = np.broadcast_to(self.probability, (*shape, len(self.values)))
        found = np.take_along_axis(table, np.broadcast_to(place, (*shape, 1)), -1)
        return np.log(found[..., 0])

    def mean(self) -> np.ndarray:
        return self.probability @ self.values

    def var(self) -> np.ndarray:
        return self.probability @ self.values**2 - self.mean() ** 2

    def ppf(self, q: Any) -> np.ndarray:
        below = np.cumsum(self.probability, axis=-1)
        return np.sum(below < np.asarray(q)[..., None] - 1e-15, axis=-1).astype(float)

    def cdf(self, y: Any) -> np.ndarray:
        """Of a single law."""
        below = np.append(0.0, np.cumsum(self.probability))
        return below[np.clip(np.floor(y) + 1, 0, len(below) - 1).astype(int)]

    def rvs(self, random_state: np.random.Generator) -> np.ndarray:
        return self.ppf(random_state.uniform(size=self.probability.shape[:-1]))


def compois(mu: Any, natural: Any, weight: Any) -> Table:
    """P(y) ~ lambda^y / y!^nu over 2000 counts, lambda by bracketing."""
    del weight
    nu, y = 1.0 / natural[0], np.arange(2000.0)
    log_factorial = special.gammaln(y + 1)

    def probability(rate: float) -> np.ndarray:
        return special.softmax(y * rate - nu * log_factorial)

    @functools.cache
    def one(mean: float) -> np.ndarray:
        gap = lambda rate: probability(rate) @ y - mean  # noqa: E731
        return probability(float(optimize.brentq(gap, -60.0, 4.0 * max(nu, 1.0), xtol=1e-15)))

    means = np.asarray(mu, float)
    return Table(np.stack([one(float(m)) for m in means.ravel()]).reshape(*means.shape, len(y)))


def cumulative(mu: Any, phi: Any, weight: Any, link: AbstractLink) -> Table:
    """Flexible thresholds; mu is F(eta)."""
    del weight
    thresholds = phi[0] + np.append(0.0, np.cumsum(np.exp(phi[1:])))
    eta = np.asarray(link.predictor(np.asarray(mu, float)))[..., None]
    below = np.asarray(link.mean(thresholds - eta))
    ends = np.zeros((*below.shape[:-1], 1))
    return Table(np.diff(np.concatenate([ends, below, ends + 1.0], axis=-1), axis=-1))


class WithEnds:
    """A beta law between a mass at 0 and one at 1."""

    def __init__(self, mu: Any, precision: Any, zero: Any, one: Any) -> None:
        mu = np.asarray(mu, float)
        self.zero, self.one = (np.broadcast_to(p, mu.shape) for p in (zero, one))
        self.part = 1.0 - self.zero - self.one
        self.beta = stats.beta(mu * precision, (1 - mu) * precision)
        self.dist = None

    def logpdf(self, y: Any) -> np.ndarray:
        inside = (y > 0) & (y < 1)
        ends = np.log(np.where(y == 0, self.zero, self.one))
        return np.where(
            inside, np.log(self.part) + self.beta.logpdf(np.where(inside, y, 0.5)), ends
        )

    def mean(self) -> np.ndarray:
        return self.one + self.part * self.beta.mean()

    def var(self) -> np.ndarray:
        square = self.beta.var() + self.beta.mean() ** 2
        return self.one + self.part * square - self.mean() ** 2

    def ppf(self, q: Any) -> np.ndarray:
        q = np.asarray(q)
        inside = self.beta.ppf(np.clip((q - self.zero) / self.part, 0.0, 1.0))
        return np.where(q <= self.zero, 0.0, np.where(q >= 1.0 - self.one, 1.0, inside))

    def cdf(self, y: Any) -> np.ndarray:
        inside = self.zero + self.part * self.beta.cdf(y)
        return np.where(np.asarray(y) < 0, 0.0, np.where(np.asarray(y) >= 1, 1.0, inside))

    def rvs(self, random_state: np.random.Generator) -> np.ndarray:
        return self.ppf(random_state.uniform(size=np.shape(self.zero)))


class OrderedBeta(WithEnds):
    """The ends beyond two cutpoints of eta."""

    def __init__(self, mu: Any, phi: Any, weight: Any, link: AbstractLink) -> None:
        del weight
        eta = np.asarray(link.predictor(np.asarray(mu, float)))
        zero = 1.0 - np.asarray(link.mean(eta - phi[1]))
        super().__init__(
            mu, np.exp(phi[0]), zero, np.asarray(link.mean(eta - phi[1] - np.exp(phi[2])))
        )


class ZeroOneBeta(WithEnds):
    """The ends at probabilities of their own."""

    def __init__(self, mu: Any, natural: Any, weight: Any) -> None:
        del weight
        precision, zoi, coi = natural
        super().__init__(mu, precision, zoi * (1.0 - coi), zoi * coi)


class Tweedie:
    """A Poisson number of gamma variables."""

    def __init__(self, mu: Any, natural: Any, weight: Any) -> None:
        del weight
        (phi, p), mu = natural, np.asarray(mu, float)
        self.shape, self.number = (2 - p) / (p - 1), mu ** (2 - p) / (phi * (2 - p))
        self.scale = phi * (p - 1) * mu ** (p - 1)
        self.moments = mu, phi * mu**p
        self.dist = None

    def _parts(self, y: Any) -> tuple[np.ndarray, Any]:
        count = np.arange(1, 400).reshape(-1, *[1] * np.ndim(y))
        return stats.poisson.logpmf(count, self.number), stats.gamma(
            count * self.shape, scale=self.scale
        )

    def logpdf(self, y: Any) -> np.ndarray:
        number, size = self._parts(y)
        positive = special.logsumexp(number + size.logpdf(np.where(y > 0, y, 1.0)), axis=0)
        return np.where(np.asarray(y) > 0, positive, -self.number)

    def mean(self) -> np.ndarray:
        return self.moments[0]

    def var(self) -> np.ndarray:
        return self.moments[1]

    def ppf(self, q: Any) -> np.ndarray:
        q = np.asarray(q)
        low, high = np.zeros_like(q), np.full_like(q, 200.0)
        for _ in range(50):
            middle = 0.5 * (low + high)
            below = self.cdf(middle) < q
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.where(q <= np.exp(-self.number), 0.0, low)

    def cdf(self, y: Any) -> np.ndarray:
        number, size = self._parts(y)
        below = np.exp(-self.number) + np.sum(np.exp(number) * size.cdf(y), axis=0)
        return np.where(np.asarray(y) < 0, 0.0, below)

    def rvs(self, random_state: np.random.Generator) -> np.ndarray:
        shape = self.shape * random_state.poisson(self.number)
        drawn = random_state.gamma(np.maximum(shape, 1e-9)) * self.scale
        return np.where(shape > 0, drawn, 0.0)
