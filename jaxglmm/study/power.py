"""The verb: `power(fit)`, how often a test finds an effect that is there."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm import status as codes
from jaxglmm.frontend.checks import LARGEST_NUMBER, check_level, check_seed, check_whole
from jaxglmm.frontend.result import GLMM
from jaxglmm.inference.performance import Rate, rate
from jaxglmm.inference.shares import exact_limits
from jaxglmm.study.plan import Plan, changed, plan_of
from jaxglmm.study.scenario import Scenario
from jaxglmm.study.tested import Test, test_of

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 1 << 23  # numbers of the responses that are drawn at a time


@dataclass(frozen=True, eq=False, repr=False)
class Power:
    """How often a test was significant in simulated data.

    Attributes:
        test: the fixed effects that were tested, jointly if there are several.
        method: "wald" or "lrt".
        alpha: level of the test.
        effect: their true values.
        num_rows: rows of the design.
        seed: of the draws.
        p_values: of each replicate, NaN where a fit failed; (num_replicates,).
        status: how each fit ended, names of `jaxglmm.status.NAMES`.
    """

    test: tuple[str, ...]
    method: str
    alpha: float
    effect: dict[str, float]
    num_rows: int
    seed: int
    p_values: np.ndarray
    status: np.ndarray

    @property
    def counts(self) -> dict[str, int]:
        """How many replicates were attempted, converged, converged on the boundary, and failed:
        had no maximum or no standard error, or with "lrt" no limit of the log-likelihood with or
        without the effects, or a lower one with them. (A likelihood ratio is there under
        separation too.)"""
        usable = np.isfinite(self.p_values)
        boundary = usable & (self.status == codes.NAMES[codes.CONVERGED_BOUNDARY])
        return {
            "attempted": len(usable),
            "converged": int(np.sum(usable & ~boundary)),
            "boundary": int(np.sum(boundary)),
            "failed": int(np.sum(~usable)),
        }

    @property
    def num_significant(self) -> int:
        """Replicates with p <= alpha."""
        return int(np.sum(self.p_values <= self.alpha))

    @property
    def num_usable(self) -> int:
        """Replicates that did not fail."""
        return int(np.sum(np.isfinite(self.p_values)))

    @property
    def power(self) -> float:
        """The share of significant tests among the replicates that did not fail."""
        return float(self._rate.value)

    @property
    def mcse(self) -> float:
        """Its Monte-Carlo error sqrt(power (1 - power) / num_usable)."""
        return float(self._rate.mcse)

    @property
    def bounds(self) -> tuple[float, float]:
        """The power if none of the failed replicates had been significant, and if all had."""
        return float(self._rate.low), float(self._rate.high)

    @functools.cached_property
    def _rate(self) -> Rate:
        p = self.p_values
        return rate(p <= self.alpha, np.isfinite(p), np.array(True))

    def confint(self, level: float = 0.95) -> tuple[float, float]:
        """Exact limits of the power (Clopper & Pearson 1934): those of a binomial share."""
        return exact_limits(self.num_significant, self.num_usable, check_level(level))

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """One row: `test`, `num_rows`, `power`, `conf_low`, `conf_high` (exact limits), `mcse`,
        `power_low`, `power_high` (`bounds`) and the counts."""
        import pandas as pd

        low, high = self.confint(level)
        row = {
            "test": " + ".join(self.test),
            "num_rows": self.num_rows,
            "power": self.power,
            "conf_low": low,
            "conf_high": high,
            "mcse": self.mcse,
            "power_low": self.bounds[0],
            "power_high": self.bounds[1],
            **self.counts,
        }
        return pd.DataFrame([row])

    def __repr__(self) -> str:
        low, high = self.confint()
        counts = self.counts
        return (
            f"<Power of {' + '.join(self.test)} ({self.method}, alpha {self.alpha:g}): "
            f"{self.power:.3f} ({low:.3f} to {high:.3f}); {counts['attempted']} replicates, "
            f"{counts['boundary']} on the boundary, {counts['failed']} failed>"
        )


def power(
    fit_or_scenario: GLMM | Scenario,
    test: str | Sequence[str] | None = None,
    *,
    seed: int,
    effect: Mapping[str, float] | None = None,
    num_replicates: int = 1000,
    alpha: float = 0.05,
    method: str = "wald",
    data: Any = None,
    progress: bool | None = None,
) -> Power:
    """The power of a test: P(p < alpha) by simulation.

    Responses are drawn from the model with new random effects (`GLMM.simulate`), fitted in one
    batch on all cores or devices, and tested. Green & MacLeod (2016), Methods Ecol. Evol.
    7:493-498 (simr).

    Args:
        fit_or_scenario: a fit, whose estimates are taken for the truth, or a `Scenario`. An effect
            as large as was estimated is rarely the one to plan for: give it as `effect`.
        test: name of a fixed effect, or a term of the formula with several ("period"), or a list:
            then a joint test that all are zero. None for the first fixed effect but the intercept.
        seed: an integer, zero or more.
        effect: {name: value}, other true values of any parameters, by the names of the tables:
            {"x": 0.3, "sd(g)": 0.5}.
        num_replicates: number of simulated data sets.
        alpha: level of the test.
        method: "wald": z of one effect as in `GLMM.fixed_effects`, chi-squared b' V^-1 b of
            several; "lrt": the likelihood ratio to fits of the same responses without the effects,
            2 (l1 - l0) against chi-squared.
        data: a design of your own with the columns of the formula (no response is needed), such as
            `jaxglmm.extend` makes; None for that of the fit.
        progress: as in `GLMM.refit_many`.

    Returns:
        A `Power`. Failed fits are in no figure but the counts and `bounds`: they are not "not
        significant".

    Raises:
        InputError: unknown names and values that cannot be, before anything compiles.
    """
    check_settings(num_replicates, seed, alpha)
    plan = changed(plan_of(fit_or_scenario, data), "effect", effect)
    found = test_of(plan, test, method)
    return run(plan, found, int(num_replicates), int(seed), float(alpha), progress)


def check_settings(num_replicates: Any, seed: Any, alpha: Any) -> None:
    """Refuse what is no number of its kind."""
    check_whole("num_replicates", num_replicates, 1, LARGEST_NUMBER)
    check_seed(seed)
    check_level(alpha, "alpha")


def run(
    plan: Plan, test: Test, num_replicates: int, seed: int, alpha: float, progress: bool | None
) -> Power:
    """Draw, fit, test."""
    num_rows = plan.scenario.drawn.problem.num_obs
    step = max(_BLOCK // max(num_rows, 1), 1)
    parts = []
    for first in range(0, num_replicates, step):
        number = min(step, num_replicates - first)
        p, batch = test.p_values(plan, plan.scenario.simulate(number, seed, first), progress)
        parts.append((p, batch.status))
    beta = np.asarray(plan.scenario.drawn.params.beta)
    return Power(
        test=test.names,
        method=test.method,
        alpha=alpha,
        effect={name: float(beta[k]) for name, k in zip(test.names, test.places, strict=True)},
        num_rows=num_rows,
        seed=seed,
        p_values=np.concatenate([p for p, _ in parts]),
        status=np.concatenate([status for _, status in parts]),
    )
