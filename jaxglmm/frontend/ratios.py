"""Likelihood ratios of two fits: of their data, and of draws from the smaller one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxglmm import status as codes
from jaxglmm.frontend.comparable import AT_SUPREMUM
from jaxglmm.frontend.draws import in_units, numbered_draws, portions
from jaxglmm.inference import comparison
from jaxglmm.inference.comparison import Null, Tail

if TYPE_CHECKING:
    from jaxglmm.frontend.batch import Batch
    from jaxglmm.frontend.result import GLMM

_COUNTS = ("attempted", "used", "failed_small", "failed_large", "worse", "separated")


class Ratio(NamedTuple):
    """The test of a model against the next larger one.

    Attributes:
        statistic: 2 (log-likelihood of the larger - that of the smaller).
        df: difference of their numbers of parameters.
        law: asymptotic law of the statistic under the smaller model.
        draws: the statistic in data drawn from the smaller model, NaN where a fit failed; (draw,);
            None where nothing was drawn.
        counts: what became of these draws.
        tail: the p-value of the draws; None where nothing was drawn.
    """

    statistic: float
    df: int
    law: Null
    draws: np.ndarray | None = None
    counts: dict[str, int] | None = None
    tail: Tail | None = None


def statistic(small: GLMM, large: GLMM) -> float:
    """2 (l_large - l_small), zero within what the optimiser and random vectors leave open."""
    noise = sum(float(fit.estimate.monte_carlo_error) for fit in (small, large))
    values = np.array([small.log_likelihood, large.log_likelihood])
    return float(comparison.ratio(values[0], values[1], _tolerance(small, large) + noise))


def _tolerance(*fits: GLMM) -> float:
    eps = float(np.finfo(float).eps)
    return max(fit.arguments["control"].tolerance_at(eps) for fit in fits)


def on_draws(
    ratio: Ratio, small: GLMM, large: GLMM, num_draws: int, seed: int, progress: bool | None
) -> Ratio:
    """The same with the statistics of draws from the smaller model, each refitted by both."""
    params, tolerance = small.estimate.params, _tolerance(small, large)
    draws, counts = [], dict.fromkeys(_COUNTS, 0)
    for first, count in portions(num_draws, small.problem.num_obs):
        y = numbered_draws(small.problem, params, None, count, seed, first)
        refitted = [f.refit_many(in_units(y, f.data), progress=progress) for f in (small, large)]
        values, found = of_batches(refitted[0], refitted[1], tolerance)
        draws.append(values)
        counts = {key: number + found[key] for key, number in counts.items()}
    whole = np.concatenate(draws)
    own = np.array([small.log_likelihood, large.log_likelihood])
    allowance = float(comparison.slack(own[0], own[1], tolerance))
    tail = comparison.tail_of_draws(ratio.statistic, whole, allowance)
    return ratio._replace(draws=whole, counts=counts, tail=tail)


def of_batches(small: Batch, large: Batch, tolerance: float) -> tuple[np.ndarray, dict[str, int]]:
    """Likelihood ratios of two batches of the same responses, NaN where they say nothing; and the
    numbers that `Comparison.counts` has."""
    status = [np.asarray(batch.estimate.status) for batch in (small, large)]
    failed = [~np.isin(code, AT_SUPREMUM) for code in status]
    values = comparison.ratio(small.log_likelihood, large.log_likelihood, tolerance)
    both = ~failed[0] & ~failed[1] & np.isfinite(values)
    worse = both & (values < 0)
    used = both & ~worse
    separated = used & np.any(np.stack(status) == codes.SEPARATED, axis=0)
    masks = (np.ones_like(used), used, *failed, worse, separated)
    counts = {name: int(np.sum(mask)) for name, mask in zip(_COUNTS, masks, strict=True)}
    return np.where(used, values, np.nan), counts
