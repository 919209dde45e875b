"""Exact limits of a share."""

from __future__ import annotations


def exact_limits(count: int, number: int, level: float) -> tuple[float, float]:
    """Clopper & Pearson (1934), Biometrika 26:404-413: the shares at which `count` or more, and
    `count` or less, of `number` draws have the probability (1 - level) / 2.

    These are quantiles of Beta(count, number - count + 1) and Beta(count + 1, number - count);
    0 and 1 where nothing or everything was counted.
    """
    from scipy import special

    tail = 0.5 * (1.0 - level)
    low = special.betaincinv(count, number - count + 1, tail) if count > 0 else 0.0
    high = special.betaincinv(count + 1, number - count, 1.0 - tail) if count < number else 1.0
    return float(low), float(high)
