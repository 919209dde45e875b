"""What a study found: all replicates, and the performance of each analysis."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import check_level
from jaxglmm.inference import performance
from jaxglmm.inference.performance import Rate, Replicates
from jaxglmm.study.files import pyarrow, shard_path
from jaxglmm.study.run import check_versions, finished, opened
from jaxglmm.study.shard import BOUNDARY, NUMBERS, USABLE
from jaxglmm.study.spec import Parameter

if TYPE_CHECKING:
    import pandas as pd


class StudyResults:
    """The shards that are in a study's directory.

    Attributes:
        num_shards, num_missing: of the whole study, and how many of them are not there.
    """

    def __init__(self, directory: str | Path) -> None:
        self._folder = Path(directory)
        self._manifest = opened(self._folder)
        self._shards = {shard.number: shard for shard in self._manifest.shards}
        found = finished(self._folder, self._manifest)
        self._finished = sorted(found)
        self.num_shards = len(self._shards)
        self.num_missing = self.num_shards - len(found)
        if not found:
            raise InputError(
                f"{str(directory)!r} holds no finished shards yet. Run the study first."
            )
        check_versions(list(found.values()), strict=False)
        if self.num_missing:
            warnings.warn(
                f"{self.num_missing} of {self.num_shards} shards are missing: the results are "
                "those of the others.",
                stacklevel=3,
            )

    def replicates(self) -> pd.DataFrame:
        """Every parameter of every fit: columns `scenario`, `analysis`, `replicate`, `parameter`,
        `estimate`, `std_error`, `conf_low`, `conf_high`, `p_value`, and of the whole fit `status`,
        `log_likelihood`, `iterations`. Estimates of fits that failed are theirs when they ended.

        All in memory; the files `shard-*.parquet` have these columns too, for any tool that reads
        Parquet a part at a time.
        """
        found = self._read(self._finished)
        assert found is not None  # one shard at least
        return found

    def table(self, alpha: float | None = None) -> pd.DataFrame:
        """Performance of each analysis for each parameter of each scenario.

        Measures and their Monte-Carlo errors (`_mcse`) are those of Morris, White & Crowther
        (2019), Statist. Med. 38:2074-2102, table 6.

        Args:
            alpha: level of the tests of zero, Wald's by the normal law; None for 1 - level of the
                study.

        Returns:
            Columns `scenario`, `analysis`, `parameter`; `truth`, the value of the scenario's
            parameter of that name, NaN where it has none; `mean`, `bias`, `sd` (of the estimates),
            `std_error` (root mean square of those of the fits), `rmse`; `coverage` and `rejection`
            with the bounds `_low` and `_high`; `attempted`, `converged`, `boundary`, `failed`:
            replicates; `intervals`: how many had an interval.

            All figures are over fits that reached a maximum. A fit that failed, or that has no
            interval (a variance of zero), is neither covered nor not, neither significant nor not:
            the bounds of a rate tell what it would be if all of these counted as "no", or as "yes".
        """
        import pandas as pd

        alpha = 1.0 - self._manifest.level if alpha is None else check_level(alpha, "alpha")
        parts = []
        for scenario in self._manifest.scenarios:
            found = self._read([n for n in self._finished if self._shards[n].scenario == scenario])
            if found is None:
                continue
            for analysis in self._manifest.analyses:
                own = found.loc[found["analysis"] == analysis]
                parameters = self._manifest.parameters(scenario, analysis)
                parts.append(_performance(own, scenario, analysis, parameters, alpha))
        return pd.concat(parts, ignore_index=True)

    def _read(self, numbers: list[int]) -> pd.DataFrame | None:
        """The rows of some shards, None of none."""
        pa = pyarrow()
        paths = [shard_path(self._folder, number) for number in numbers]
        if not paths:
            return None
        tables = [_table_of(path) for path in paths]
        return pa.concat_tables(tables).unify_dictionaries().to_pandas()

    def __repr__(self) -> str:
        about = self._manifest
        number = sum(
            shard.stop - shard.first for shard in map(self._shards.__getitem__, self._finished)
        )
        missing = f", {self.num_missing} of {self.num_shards} shards missing" * (
            self.num_missing > 0
        )
        return (
            f"<StudyResults of {len(about.scenarios)} scenarios, {len(about.analyses)} analyses: "
            f"{number} of {len(about.scenarios) * about.num_replicates} replicates{missing}>"
        )


def _table_of(path: Path) -> Any:
    """A shard; an InputError if the file was damaged after it was written."""
    try:
        return pyarrow().parquet.read_table(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{str(path)!r} is damaged ({error}). Delete it and run the study again, which makes "
            "the shards that are missing."
        ) from error


def _performance(
    found: pd.DataFrame,
    scenario: str,
    analysis: str,
    parameters: list[Parameter],
    alpha: float,
) -> pd.DataFrame:
    """The table's rows of one analysis of one scenario, a parameter each."""
    import pandas as pd

    size = len(parameters)
    status = found["status"].to_numpy(object)[::size]
    usable = np.isin(status, USABLE)
    numbers = {name: found[name].to_numpy(float).reshape(-1, size) for name in NUMBERS}
    replicates = Replicates(**numbers, usable=usable)
    truth = np.array([np.nan if p.truth is None else p.truth for p in parameters])
    tested = np.array([p.tested for p in parameters], bool)
    covered = performance.coverage(replicates, truth)
    rejected = performance.rejection(replicates, alpha, tested)
    boundary = int(np.sum(status == BOUNDARY))
    counts = {
        "attempted": len(status),
        "converged": int(usable.sum()) - boundary,
        "boundary": boundary,
        "failed": len(status) - int(usable.sum()),
    }
    return pd.DataFrame(
        {
            "scenario": scenario,
            "analysis": analysis,
            "parameter": [p.name for p in parameters],
            "truth": truth,
            **performance.averages(replicates, truth),
            **_columns("coverage", covered),
            **_columns("rejection", rejected),
            **counts,
            "intervals": performance.intervals(replicates).sum(axis=0),
        }
    )


def _columns(name: str, rate: Rate) -> dict[str, np.ndarray]:
    return {
        name: rate.value,
        f"{name}_mcse": rate.mcse,
        f"{name}_low": rate.low,
        f"{name}_high": rate.high,
    }
