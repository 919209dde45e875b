"""The verb: `Study(scenarios, num_replicates, seed, analyses)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import LARGEST_NUMBER, check_level, check_seed, check_whole
from jaxglmm.study import run as work
from jaxglmm.study import store
from jaxglmm.study.results import StudyResults
from jaxglmm.study.scenario import Scenario
from jaxglmm.study.spec import Spec, default_shard

_MODEL = "model"  # the name of the only analysis, if none are given


class Study:
    """A simulation study: scenarios x replicates x analyses.

    Every replicate of a scenario is drawn once and fitted by all analyses. A draw depends on the
    seed, the scenario's name and the replicate's number alone: neither other scenarios, added or in
    another order, nor more replicates change it.

    Args:
        scenarios: {name: Scenario}; a list, whose names are "1", "2", ...; or a single one, "1".
        num_replicates: of each scenario.
        seed: an integer, zero or more.
        analyses: {name: {argument: value}}: arguments of `glmm` in which an analysis differs from
            the model that responses are drawn from, {"no slopes": {"formula": "~ x + (1 | g)"},
            "reml": {"method": "reml"}}; {} for that model itself. None for that alone, "model".
        level: of the intervals whose coverage is counted; tests reject at 1 - level.
        replicates_per_shard: at most, the work that is lost where a process is killed; None for
            2,000, or fewer of many rows.

    Raises:
        InputError: what cannot be drawn or fitted, before anything is.
    """

    def __init__(
        self,
        scenarios: Mapping[str, Scenario] | Sequence[Scenario] | Scenario,
        num_replicates: int,
        seed: int,
        analyses: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        level: float = 0.95,
        replicates_per_shard: int | None = None,
    ) -> None:
        named = _named_scenarios(scenarios)
        check_whole("num_replicates", num_replicates, 1, LARGEST_NUMBER)
        check_seed(seed)
        if replicates_per_shard is None:
            replicates_per_shard = default_shard(named, int(num_replicates))
        check_whole("replicates_per_shard", replicates_per_shard, 1, LARGEST_NUMBER)
        self._spec = Spec(
            scenarios=named,
            analyses=_named_analyses(analyses),
            num_replicates=int(num_replicates),
            seed=int(seed),
            level=check_level(level),
            replicates_per_shard=int(replicates_per_shard),
        )
        for scenario in named:
            for analysis in self._spec.analyses:
                _check(self._spec, scenario, analysis)

    @classmethod
    def load(cls, directory: str | Path) -> Study:
        """The study of a directory, without the program that made it.

        Raises:
            InputError: no study, or one with functions of your own, which no file holds.
        """
        folder, study = Path(directory), object.__new__(cls)
        study._spec = store.read(folder, work.opened(folder))
        return study

    @property
    def scenarios(self) -> dict[str, Scenario]:
        """By name."""
        return dict(self._spec.scenarios)

    @property
    def analyses(self) -> dict[str, dict[str, Any]]:
        """By name, the arguments in which they differ from the model of the draws."""
        return {name: dict(changes) for name, changes in self._spec.analyses.items()}

    @property
    def num_shards(self) -> int:
        """Of the whole study."""
        return len(self._spec.shards)

    def save(self, directory: str | Path) -> None:
        """Make the directory of the study, for `python -m jaxglmm study run DIRECTORY`.

        Raises:
            InputError: the directory is of another study: the fields that differ.
        """
        work.prepare(self._spec, Path(directory))

    def run(
        self,
        directory: str | Path,
        executor: Any = None,
        progress: bool | None = None,
        strict: bool = False,
    ) -> StudyResults:
        """Make the shards that are not in the directory yet.

        A shard is some replicates of a scenario, fitted by all analyses: a Parquet file, which is
        there whole or not at all. Whatever ends a run, those that are finished stay, and the next
        run goes on. Results are the same to the last bit however the work was divided or
        interrupted, on one kind of device and with one version of the library and of JAX.

        Args:
            directory: of this study; made if need be.
            executor: any object with `submit(function, ...)` that returns futures: a pool of
                processes that are spawned (multiprocessing.get_context("spawn")), Dask's
                `Client.get_executor()`, submitit's executors. A task is the name of the directory,
                which all workers must see, and the number of a shard. None to work here: one
                process uses all cores of a CPU, or all local accelerators.
            progress: a bar on standard error; None for one in a terminal or notebook, once the
                work has taken a second.
            strict: refuse to go on with shards of another version or device, which else is warned
                of.

        Returns:
            What is in the directory then, as `collect` has it.

        Raises:
            InputError: a directory of another study, with the fields that differ; an executor of
                processes that are forked.
            UnfinishedStudy: shards that could not be made (a full disk, a killed worker), with
                their numbers and how to go on.
        """
        work.check_executor(executor)
        folder = Path(directory)
        manifest = work.prepare(self._spec, folder)
        work.run(
            self._spec,
            manifest,
            folder,
            self._spec.shards,
            executor=executor,
            progress=progress,
            strict=strict,
        )
        return StudyResults(folder)

    def collect(self, directory: str | Path) -> StudyResults:
        """What is in the directory; a warning tells how many shards are missing.

        Raises:
            InputError: a directory of another study, or without a finished shard.
        """
        folder = Path(directory)
        work.check_same(work.opened(folder), store.describe(self._spec)[0], folder)
        return StudyResults(folder)

    def __repr__(self) -> str:
        spec = self._spec
        return (
            f"<Study of {len(spec.scenarios)} scenarios x {spec.num_replicates} replicates x "
            f"{len(spec.analyses)} analyses in {self.num_shards} shards>"
        )


def _named_scenarios(given: Any) -> dict[str, Scenario]:
    listed = [given] if isinstance(given, Scenario) else given
    if isinstance(listed, Sequence) and not isinstance(listed, str):
        listed = {str(k): scenario for k, scenario in enumerate(listed, start=1)}
    named: dict[str, Any] = dict(listed) if isinstance(listed, Mapping) else {}
    fine = all(isinstance(k, str) and isinstance(v, Scenario) for k, v in named.items())
    if not (named and fine):
        raise InputError(
            "scenarios: expected jaxglmm.Scenario(...), a list of them, or a dict of names and "
            "scenarios; one at least."
        )
    return named


def _named_analyses(given: Any) -> dict[str, dict[str, Any]]:
    if given is None:
        return {_MODEL: {}}
    named: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {}
    fine = all(isinstance(k, str) and isinstance(v, Mapping) for k, v in named.items())
    if not (named and fine):
        raise InputError(
            "analyses: expected a dict of names and changes of arguments, {'reml': {'method': "
            "'reml'}}; one at least, {} for the model itself."
        )
    return {name: dict(changes) for name, changes in named.items()}


def _check(spec: Spec, scenario: str, analysis: str) -> None:
    """Refuse an analysis that cannot be, by its name."""
    try:
        spec.template(scenario, analysis)
    except InputError as error:
        raise InputError(f"analysis '{analysis}' of scenario '{scenario}': {error}") from error
