"""What a study is: scenarios, analyses, replicates, and how its work is cut into shards."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxglmm.frontend.many.fit import Template
from jaxglmm.frontend.ordinal import threshold_names
from jaxglmm.frontend.parameters import parameter_names
from jaxglmm.study.scenario import Scenario

_MOST = 2000  # replicates of a shard: a second of work for quick models, minutes for slow ones
_NUMBERS = 1 << 23  # of its responses: 64 MiB


class Shard(NamedTuple):
    """Replicates first, ..., stop - 1 of a scenario; shards are numbered from 1."""

    number: int
    scenario: str
    first: int
    stop: int


class Parameter(NamedTuple):
    """Of an analysis: whether it has a test of zero, and its value in the scenario (None: it is
    no parameter of that)."""

    name: str
    tested: bool
    truth: float | None


@dataclass(frozen=True, eq=False)
class Spec:
    """A study as its directory holds it.

    Attributes:
        scenarios: by name, in order.
        analyses: changes of arguments of the fit, by name.
        num_replicates: of each scenario.
        seed: of all draws.
        level: of intervals.
        replicates_per_shard: at most.
    """

    scenarios: Mapping[str, Scenario]
    analyses: Mapping[str, Mapping[str, Any]]
    num_replicates: int
    seed: int
    level: float
    replicates_per_shard: int

    @functools.cached_property
    def shards(self) -> list[Shard]:
        """All of them, as `cut` makes them."""
        return cut(list(self.scenarios), self.num_replicates, self.replicates_per_shard)

    @functools.cached_property
    def _templates(self) -> dict[tuple[str, str], Template]:
        return {}

    def template(self, scenario: str, analysis: str) -> Template:
        """How an analysis fits a scenario; made once."""
        key = scenario, analysis
        if key not in self._templates:
            changes = self.analyses[analysis]
            self._templates[key] = self.scenarios[scenario].analysis(**changes)
        return self._templates[key]

    def parameters(self, scenario: str, analysis: str) -> list[Parameter]:
        """Those that an analysis of a scenario estimates, in the order of its tables."""
        template, truth = self.template(scenario, analysis), self.scenarios[scenario].truth
        data = template.labels.data
        tested = {*data.full_names, *threshold_names(data.categories)}
        names = parameter_names(data, template.problem)
        return [Parameter(name, name in tested, truth.get(name)) for name in names]


def cut(scenarios: list[str], num_replicates: int, most: int) -> list[Shard]:
    """Shards, scenario by scenario, of sizes that differ by one at most."""
    parts = -(-num_replicates // most)
    ends = [num_replicates * k // parts for k in range(parts + 1)]
    return [
        Shard(k * parts + part + 1, name, ends[part], ends[part + 1])
        for k, name in enumerate(scenarios)
        for part in range(parts)
    ]


def scenario_seed(seed: int, name: str) -> int:
    """The seed of a scenario's draws: 63 bits of SHA-256 of the study's seed and the name.

    So the draws of a scenario depend on no other one: more scenarios, or the same in another
    order, change none of them; and different names have draws that are independent.
    """
    digest = hashlib.sha256(f"jaxglmm study {seed} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def default_shard(scenarios: Mapping[str, Scenario], num_replicates: int) -> int:
    """Replicates of a shard where the caller does not say."""
    rows = max(scenario.drawn.problem.num_obs for scenario in scenarios.values())
    return min(num_replicates, _MOST, max(_NUMBERS // max(rows, 1), 1))
