"""The verb: `power_curve(fit, along, sizes)`, power at several sizes and effects."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import LARGEST_NUMBER, check_level, check_whole
from jaxglmm.frontend.result import GLMM
from jaxglmm.study.extension import Along, along_of
from jaxglmm.study.plan import Plan, changed, plan_of, resized
from jaxglmm.study.power import Power, check_settings, run
from jaxglmm.study.scenario import Scenario
from jaxglmm.study.tested import test_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class PowerCurve:
    """Power at several sizes of a design, effects, or both.

    Attributes:
        along: what is counted, None where the design is one.
        settings: of each point `size` and the effects that were varied, by name.
        points: the power at each.
    """

    along: str | None
    settings: tuple[dict[str, Any], ...]
    points: tuple[Power, ...]

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """A row for each point: its settings, then the columns of `Power.table`."""
        import pandas as pd

        level = check_level(level)
        rows = [point.table(level) for point in self.points]
        return pd.concat([pd.DataFrame(self.settings), pd.concat(rows, ignore_index=True)], axis=1)

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        first = self.points[0]
        at = ", ".join(f"{point.power:.3f}" for point in self.points)
        along = f" along {self.along}" if self.along else ""
        return f"<PowerCurve of {' + '.join(first.test)} ({first.method}){along}: {at}>"


def power_curve(
    fit_or_scenario: GLMM | Scenario,
    along: str | None = None,
    sizes: Sequence[int] | None = None,
    *,
    seed: int,
    within: str | Sequence[str] | None = None,
    effects: Mapping[str, Sequence[float]] | None = None,
    test: str | Sequence[str] | None = None,
    effect: Mapping[str, float] | None = None,
    num_replicates: int = 1000,
    alpha: float = 0.05,
    method: str = "wald",
    data: Any = None,
    progress: bool | None = None,
) -> PowerCurve:
    """The power of a test at several sizes of the design, at several effects, or at all pairs.

    Args:
        fit_or_scenario, test, effect, num_replicates, alpha, method, progress: as in `power`.
        along: the column whose number of levels (or of distinct values, of a numeric predictor) is
            varied: the first ones, or copies in turn, as `jaxglmm.extend` does. Grouping factors
            whose levels belong to one level of `along` each are copied with it, others are crossed
            with the copies.
        sizes: numbers of levels; with `within` those of rows.
        seed: of every point, which has the numbers that `power` has for its design and effects:
            points of one design differ by their effects only, not by their random numbers.
        within: in place of `along` a column, or several: rows within each level or combination.
        effects: {name: values}, true values of parameters; all combinations are tried.
        data: the table to vary, where that of the fit has not all columns (it keeps those of its
            formula).

    Returns:
        A `PowerCurve`. The truth is the same at all sizes: every row's predictors are the functions
        of its columns that they were in the data of the fit.

    Raises:
        InputError: as in `power` and `extend`, and a size at which an effect cannot be estimated;
            before anything compiles.
    """
    check_settings(num_replicates, seed, alpha)
    counted = _counted(along, within, sizes)
    base = changed(plan_of(fit_or_scenario, data), "effect", effect)
    planned = list(_plans(base, counted, sizes or (), _grid(effects)))
    tests = [test_of(plan, test, method) for _, plan in planned]
    numbers = int(num_replicates), int(seed), float(alpha)
    points = [
        run(plan, own, *numbers, progress) for (_, plan), own in zip(planned, tests, strict=True)
    ]
    name = None if counted is None else counted.name
    return PowerCurve(name, tuple(setting for setting, _ in planned), tuple(points))


def _counted(along: Any, within: Any, sizes: Any) -> Along | None:
    """What sizes are of; None without any."""
    if along is None and within is None and sizes is None:
        return None
    counted = along_of(along, within)
    whole = isinstance(sizes, (list, tuple, range, np.ndarray)) and len(sizes)
    if not whole:
        raise InputError(
            f"sizes: expected a list of whole numbers, such as [10, 20, 40], got {sizes!r}."
        )
    for size in sizes:
        check_whole("sizes", size, 1, LARGEST_NUMBER)
    return counted


def _grid(effects: Any) -> list[dict[str, float]]:
    """All combinations; one without changes where nothing is varied."""
    if effects is None:
        return [{}]
    listed = isinstance(effects, Mapping) and all(
        isinstance(values, (list, tuple, range, np.ndarray)) and len(values)
        for values in effects.values()
    )
    if not listed or not effects:
        raise InputError(
            "effects: expected a dict of names and lists of values, such as {'x': [0.1, 0.3]}, got "
            f"{effects!r}. One value goes in effect=."
        )
    return [
        dict(zip(effects, values, strict=True)) for values in itertools.product(*effects.values())
    ]


def _plans(
    base: Plan, counted: Along | None, sizes: Sequence[int], grid: list[dict[str, float]]
) -> Iterator[tuple[dict[str, Any], Plan]]:
    """The settings of each point, and its experiment."""
    if counted is None and grid == [{}]:
        raise InputError(
            "Nothing is varied: give along= (or within=) and sizes=, or effects=. One power is "
            "jaxglmm.power."
        )
    for size in sizes if counted is not None else (None,):
        of_size = {} if size is None else {"size": int(size)}
        for own in grid:
            plan = changed(base, "effects", own) if own else base
            if counted is not None and size is not None:
                plan = resized(plan, counted, int(size))
            yield {**of_size, **own}, plan
