"""Studies by several processes, some of them killed: the same bits, and nothing made twice."""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import jaxglmm as jg

from .common import assert_same, shards, study

pytest.importorskip("pyarrow")
NUMBER, PER_SHARD = 200, 5  # 80 shards of some 30 ms


def many() -> jg.Study:
    return study(number=NUMBER, per_shard=PER_SHARD)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> jg.StudyResults:
    return many().run(tmp_path_factory.mktemp("study"))


def start(place: Path, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "jaxglmm", "study", "run", str(place)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **environment})


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None and not condition():
        time.sleep(1e-4)


def kill_at(place: Path, moment: str, rng: random.Random) -> None:
    """Kill -9 a run: some time after its first shard, or while a file is being written."""
    process, number = start(place), len(shards(place))
    until(lambda: len(shards(place)) > number, process)
    if moment == "write":
        until(lambda: any(name.endswith(".part") for name in os.listdir(place)), process)
    else:
        time.sleep(rng.uniform(0.0, 0.1))
    process.kill()
    process.wait()


def survives(place: Path, moments: list[str], whole: jg.StudyResults) -> None:
    many().save(place)
    rng, before = random.Random(len(moments)), shards(place)
    for moment in moments:
        kill_at(place, moment, rng)
        after = shards(place)
        assert before.items() <= after.items(), "a finished shard was lost or made again"
        before = after
    assert_same(many().run(place), whole)
    assert before.items() <= shards(place).items()
    assert len(shards(place)) == many().num_shards
    assert not [name for name in os.listdir(place) if name.endswith(".part")]


def test_a_study_survives_kills(whole: jg.StudyResults, tmp_path: Path) -> None:
    survives(tmp_path, ["any", "write", "any"], whole)


@pytest.mark.slow
def test_a_study_survives_twenty_kills(whole: jg.StudyResults, tmp_path: Path) -> None:
    survives(tmp_path, ["any", "write", "any", "any"] * 5, whole)


def test_two_spawned_workers_make_the_same_bits(whole: jg.StudyResults, tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        assert_same(many().run(tmp_path, executor=pool), whole)


class Mortal:
    """An executor whose second worker does not live: tasks run when they are submitted."""

    def __init__(self, fails: set[int]) -> None:
        self.fails, self.taken = fails, list[int]()

    def submit(self, function: Callable[..., Any], directory: str, number: int) -> Future[Any]:
        future: Future[Any] = Future()
        self.taken.append(number)
        if number in self.fails:
            future.set_exception(RuntimeError("a worker died"))
        else:
            future.set_result(function(directory, number))
        return future


def test_what_a_worker_did_not_finish_is_named(tmp_path: Path) -> None:
    made = study()
    with pytest.raises(
        jg.UnfinishedStudy, match=r"\(2, 5\): RuntimeError: a worker died"
    ) as raised:
        made.run(tmp_path, executor=Mortal({2, 5}))
    assert raised.value.missing == (2, 5) and len(shards(tmp_path)) == 4
    again = Mortal(set())
    assert made.run(tmp_path, executor=again).num_missing == 0
    assert again.taken == [2, 5]


class Broken(Mortal):
    """A pool that takes one task and breaks."""

    def submit(self, function: Callable[..., Any], directory: str, number: int) -> Future[Any]:
        if self.taken:
            raise RuntimeError("the pool is broken")
        return super().submit(function, directory, number)


def test_what_a_broken_pool_took_is_finished(tmp_path: Path) -> None:
    with pytest.raises(jg.UnfinishedStudy, match="5 of 6 shards .* the pool is broken"):
        study().run(tmp_path, executor=Broken(set()))
    assert set(shards(tmp_path)) == {"shard-000001.parquet"}


@pytest.mark.slow
def test_a_killed_worker_leaves_what_is_finished(whole: jg.StudyResults, tmp_path: Path) -> None:
    def kill_a_worker() -> None:
        while len(shards(tmp_path)) < 3:
            time.sleep(1e-3)
        multiprocessing.active_children()[0].kill()

    many().save(tmp_path)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        killer = threading.Thread(target=kill_a_worker)
        killer.start()
        with pytest.raises(jg.UnfinishedStudy, match="of 80 shards could not be made"):
            many().run(tmp_path, executor=pool)
        killer.join()
    before = shards(tmp_path)
    assert len(before) >= 3
    assert_same(many().run(tmp_path), whole)
    assert before.items() <= shards(tmp_path).items()


@pytest.mark.slow
def test_virtual_devices_change_nothing(whole: jg.StudyResults, tmp_path: Path) -> None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    many().save(tmp_path)
    assert start(tmp_path, XLA_FLAGS=flags).wait() == 0
    assert_same(many().collect(tmp_path), whole)


@pytest.mark.slow
def test_submitit_is_an_executor(whole: jg.StudyResults, tmp_path: Path) -> None:
    submitit = pytest.importorskip("submitit")
    executor = submitit.LocalExecutor(folder=tmp_path / "log")
    executor.update_parameters(timeout_min=5)
    few = study(number=NUMBER, per_shard=NUMBER)  # two shards: a process each
    found = few.run(tmp_path / "study", executor=executor)
    order = ["scenario", "analysis", "replicate", "parameter"]
    rows, expected = (
        each.replicates().sort_values(order, ignore_index=True) for each in (found, whole)
    )
    pd.testing.assert_frame_equal(rows, expected, check_exact=True)
