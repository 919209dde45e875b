"""Small studies, whose programs the tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import jaxglmm as jg

GROUPS, SIZE = 8, 4
DESIGN = {
    "x": np.tile(np.arange(float(SIZE)), GROUPS),
    "g": np.repeat([f"g{k}" for k in range(GROUPS)], SIZE),
}


def scenario(slope: float = 0.3, **arguments: Any) -> jg.Scenario:
    """A random intercept in eight groups of four."""
    params = {"Intercept": 1.0, "x": slope, "sd(g)": 0.8, "sigma": 1.0}
    return jg.Scenario("y ~ x + (1 | g)", DESIGN, params, **arguments)


def study(seed: int = 1, number: int = 30, per_shard: int = 10, **changes: Any) -> jg.Study:
    """Two scenarios and two analyses in shards of ten."""
    arguments: dict[str, Any] = {
        "scenarios": {"none": scenario(0.0), "some": scenario(0.3)},
        "analyses": {"model": {}, "apart": {"formula": "~ x"}},
        **changes,
    }
    scenarios = arguments.pop("scenarios")
    return jg.Study(scenarios, number, seed, replicates_per_shard=per_shard, **arguments)


def assert_same(one: jg.StudyResults, other: jg.StudyResults) -> None:
    """All replicates to the last bit."""
    pd.testing.assert_frame_equal(one.replicates(), other.replicates(), check_exact=True)


def shards(folder: Path) -> dict[str, tuple[int, int]]:
    """The identity of each finished file: it changes when a shard is written again."""
    found: Iterator[Any] = os.scandir(folder)
    return {
        entry.name: (entry.stat().st_ino, entry.stat().st_mtime_ns)
        for entry in found
        if entry.name.startswith("shard-")
    }
