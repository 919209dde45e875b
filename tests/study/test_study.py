"""Studies in one process: draws, shards, resuming, refusals, tables, the commands."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg
from jaxglmm import cli
from jaxglmm.study import files
from jaxglmm.study.spec import cut, scenario_seed

from .common import DESIGN, assert_same, scenario, shards, study

pytest.importorskip("pyarrow")
STOPPED = {"control": jg.Control(max_iterations=1)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study") / "whole"


@pytest.fixture(scope="module")
def whole(folder: Path) -> jg.StudyResults:
    return study().run(folder)


def test_replicates_are_the_fits_of_the_draws(whole: jg.StudyResults) -> None:
    rows = whole.replicates()
    Y = scenario().simulate(30, scenario_seed(1, "some"))
    for analysis, changes in (("model", {}), ("apart", {"formula": "~ x"})):
        batch = scenario().fit(Y, **changes)
        own = rows[(rows["scenario"] == "some") & (rows["analysis"] == analysis)]
        fixed = own[own["parameter"].isin(["Intercept", "x"])]
        expected = batch.fixed_effects()
        for name in ("estimate", "std_error", "conf_low", "conf_high", "p_value"):
            np.testing.assert_array_equal(fixed[name], expected[name])
        of_law = own[own["parameter"] == "sigma"]
        np.testing.assert_array_equal(of_law["estimate"], batch.family_parameters["sigma"])
        np.testing.assert_array_equal(of_law["log_likelihood"], batch.log_likelihood)
        np.testing.assert_array_equal(of_law["iterations"], batch.iterations)
        assert of_law["status"].tolist() == batch.status.tolist()
        assert of_law["replicate"].tolist() == list(range(30))


def test_the_table_is_of_the_replicates(whole: jg.StudyResults) -> None:
    table, rows = whole.table(), whole.replicates()
    assert len(table) == 2 * (4 + 3)
    own = table.set_index(["scenario", "analysis", "parameter"]).loc[("some", "apart", "x")]
    x = rows.query("scenario == 'some' and analysis == 'apart' and parameter == 'x'")
    assert own["truth"] == pytest.approx(0.3, rel=1e-12)
    assert own["mean"] == pytest.approx(x["estimate"].mean(), rel=1e-12)
    assert own["sd"] == pytest.approx(x["estimate"].std(), rel=1e-12)
    inside = (x["conf_low"] <= 0.3) & (x["conf_high"] >= 0.3)
    assert own["coverage"] == pytest.approx(inside.mean(), rel=1e-12)
    assert own["rejection"] == pytest.approx((x["p_value"] <= 0.05).mean(), rel=1e-12)
    assert (own["attempted"], own["converged"], own["failed"]) == (30, 30, 0)
    deviation = table.query("parameter == 'sd(g, Intercept)'")
    assert deviation["rejection"].isna().all() and deviation["coverage"].notna().all()
    assert (deviation["intervals"] <= 30 - deviation["failed"]).all()
    strict = whole.table(alpha=0.001)
    assert (strict["rejection"].dropna() <= table["rejection"].dropna()).all()
    assert "60 of 60 replicates" in repr(whole)


def test_draws_of_a_scenario_do_not_depend_on_the_others(
    whole: jg.StudyResults, tmp_path: Path
) -> None:
    """Another order, one more scenario, more replicates, other shards."""
    scenarios = {"some": scenario(0.3), "more": scenario(0.9), "none": scenario(0.0)}
    analyses = {"apart": {"formula": "~ x"}}
    other = study(scenarios=scenarios, analyses=analyses, number=37, per_shard=16)
    rows, before = other.run(tmp_path / "other").replicates(), whole.replicates()
    for name in ("none", "some"):
        query = f"scenario == '{name}' and analysis == 'apart' and replicate < 30"
        a, b = (part.query(query).reset_index(drop=True) for part in (rows, before))
        names = ["replicate", "estimate", "std_error", "p_value", "log_likelihood"]
        pd.testing.assert_frame_equal(a[names], b[names], check_exact=True)
    assert rows["estimate"].nunique() == len(rows)


def test_the_directory_is_enough(whole: jg.StudyResults, folder: Path, tmp_path: Path) -> None:
    loaded = jg.Study.load(folder)
    assert repr(loaded) == repr(study())
    assert_same(loaded.run(tmp_path / "again"), whole)
    assert_same(loaded.collect(folder), whole)


def test_pieces_of_a_job_array_make_the_whole(
    whole: jg.StudyResults, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "pieces"
    study().save(place)
    assert cli.main(["study", "status", str(place)]) == 1
    assert "0 of 6 shards are finished" in capsys.readouterr().out
    for piece in ("3/4", "1/4", "4/4"):
        assert cli.main(["study", "run", str(place), "--shard", piece]) == 0
    assert set(shards(place)) == {f"shard-{k:06d}.parquet" for k in (1, 3, 4, 5)}
    with pytest.warns(UserWarning, match="2 of 6 shards are missing"):
        part = study().collect(place)
    assert (part.num_shards, part.num_missing) == (6, 2)
    assert "40 of 60 replicates, 2 of 6 shards missing" in repr(part)
    assert part.table()["attempted"].unique().tolist() == [20]
    before = shards(place)
    assert cli.main(["study", "run", str(place)]) == 0
    assert "0 of all 6 are missing" in capsys.readouterr().out
    assert before.items() <= shards(place).items()
    assert_same(study().collect(place), whole)


def test_the_commands_print_and_write_the_table(
    whole: jg.StudyResults, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["study", "collect", str(folder)]) == 0
    assert re.search(r"some +apart +x +0\.3 ", capsys.readouterr().out)
    for name, read in (("t.csv", pd.read_csv), ("t.parquet", pd.read_parquet)):
        assert cli.main(["study", "collect", str(folder), "--out", str(tmp_path / name)]) == 0
        found = read(tmp_path / name)
        assert list(found.columns) == list(whole.table().columns)
        np.testing.assert_allclose(found["bias"], whole.table()["bias"], rtol=1e-12)
    assert cli.main(["study", "collect", str(folder), "--out", "t.txt"]) == 2
    assert cli.main(["study", "run", str(tmp_path / "nowhere")]) == 2
    assert "is not the directory of a study" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["study", "run", str(folder), "--shard", "5/4"])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"seed": 2}, "it differs in seed."),
        ({"number": 31}, "it differs in num_replicates."),
        ({"per_shard": 11}, "it differs in replicates_per_shard."),
        ({"level": 0.9}, "it differs in level."),
        ({"analyses": {"model": {}, "apart": {"formula": "~ 1"}}}, "in analysis 'apart'."),
        ({"scenarios": [scenario(0.0)]}, "the order of the scenarios, formula of scenario 'none'"),
    ],
)
def test_another_study_is_refused_by_its_field(
    whole: jg.StudyResults, folder: Path, changes: dict[str, Any], field: str
) -> None:
    other, before = study(**changes), shards(folder)
    for verb in (other.run, other.save, other.collect):
        with pytest.raises(jg.InputError, match=re.escape(field)):
            verb(folder)
    assert shards(folder) == before


def test_every_part_of_a_scenario_is_part_of_the_study(
    whole: jg.StudyResults, folder: Path
) -> None:
    moved = {**DESIGN, "x": DESIGN["x"] + 1e-9}
    given = {"Intercept": 1.0, "x": 0.3, "sd(g)": 0.8, "sigma": 1.0}
    for some, field in (
        (scenario(0.3000001), "params of scenario 'some'"),
        (scenario(0.3, method="reml"), "options of scenario 'some'"),
        (jg.Scenario("y ~ x + (1 | g)", moved, given), "data of scenario 'some'"),
        (jg.Scenario("y ~ x + (1 | g)", DESIGN, given, link="log"), "family of scenario 'some'"),
    ):
        other = study(scenarios={"none": scenario(0.0), "some": some})
        with pytest.raises(jg.InputError, match=re.escape(f"it differs in {field}.")):
            other.collect(folder)


def test_a_full_disk_leaves_what_is_finished(
    whole: jg.StudyResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, real, left = tmp_path / "full", os.fsync, [2]
    study().save(place)

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", fsync)
        with pytest.raises(jg.UnfinishedStudy) as raised:
            study().run(place)
    assert raised.value.missing == (2, 3, 4, 5, 6)
    text = str(raised.value)
    assert "No space left" in text and f"python -m jaxglmm study run {place}" in text
    before = shards(place)
    assert sorted(path.name for path in place.iterdir()) == [
        "design.npz",
        "manifest.json",
        "shard-000001.parquet",
    ]
    assert_same(study().run(place), whole)
    assert before.items() <= shards(place).items()


def test_what_is_not_whole_is_made_again(whole: jg.StudyResults, tmp_path: Path) -> None:
    """Unfinished files of processes that are no more, and a shard that something else cut off."""
    place = tmp_path / "cut"
    study().run(place)
    host = files._owner().rpartition("-")[0]
    dead = place / f".shard-000002.parquet.{host}-{2**22 + 1}.0123abcd.part"
    alive = place / f".shard-000002.parquet.{host}-{os.getpid()}.0123abcd.part"
    foreign = place / ".shard-000002.parquet.elsewhere-1.0123abcd.part"
    shard = place / "shard-000002.parquet"
    for path in (dead, alive, foreign):
        path.write_bytes(shard.read_bytes()[:1000])
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="1 of 6 shards are missing"):
        study().collect(place)
    assert_same(study().run(place), whole)
    assert not dead.exists() and alive.exists() and foreign.exists()
    os.utime(foreign, (0, 0))
    study().run(place)
    assert not foreign.exists()


def test_failures_are_counted_and_bound_the_rates(tmp_path: Path) -> None:
    """A fit that is stopped after one step, and a family that the draws are not of."""
    analyses = {"stopped": STOPPED, "positive": {"family": "lognormal", "link": "log"}}
    made = jg.Study(scenario(), 12, 1, analyses)
    table = made.run(tmp_path).table().set_index(["analysis", "parameter"])
    for analysis, status in (("stopped", "max_iterations"), ("positive", "refused")):
        rows = made.collect(tmp_path).replicates().query("analysis == @analysis")
        assert set(rows["status"]) == {status} and len(rows) == 12 * 4
        own = table.loc[(analysis, "x")]
        assert (own["attempted"], own["converged"], own["boundary"], own["failed"]) == (
            12,
            0,
            0,
            12,
        )
        assert np.isnan(own["rejection"]) and np.isnan(own["bias"])
        assert (own["rejection_low"], own["rejection_high"]) == (0.0, 1.0)


@pytest.mark.slow
def test_replicates_that_a_family_does_not_allow_are_refused_alone(tmp_path: Path) -> None:
    """Some draws have no negative response: these are fitted, as without the others."""
    given = {"Intercept": 2.4, "x": 0.0, "sd(g)": 0.1, "sigma": 1.0}
    made = jg.Scenario("y ~ x + (1 | g)", DESIGN, given)
    positive = {"family": "lognormal", "link": "log"}
    results = jg.Study(made, 40, 2, {"positive": positive}, replicates_per_shard=20).run(tmp_path)
    Y = made.simulate(40, scenario_seed(2, "1"))
    allowed = (Y > 0).all(axis=1)
    assert 5 < allowed.sum() < 35
    rows = results.replicates().query("parameter == 'x'")
    assert ((rows["status"] == "refused").to_numpy() == ~allowed).all()
    batch = made.fit(Y[allowed], **positive)
    np.testing.assert_array_equal(rows["log_likelihood"][allowed], batch.log_likelihood)
    np.testing.assert_array_equal(rows["estimate"][allowed], batch.coefficients[:, 1])
    own = results.table().iloc[0]
    assert own["failed"] == 40 - batch.converged.sum() and own["attempted"] == 40


def test_without_pyarrow_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(jg.InputError, match=r'pip install "jaxglmm\[parquet\]"'):
        study().run(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(jg.InputError, match="cannot be written"):
        study().run(tmp_path / "file" / "below")


def test_shards_of_other_versions_are_told(
    whole: jg.StudyResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jaxglmm.study import run, shard

    place, now = tmp_path / "mixed", shard.versions()
    study().save(place)
    cli.main(["study", "run", str(place), "--shard", "1/6"])
    for module in (run, shard):
        monkeypatch.setattr(module, "versions", lambda: {**now, "jax": "0.0.1"})
    with pytest.raises(jg.InputError, match=r"jax 0\.0\.1 and"):
        study().run(place, strict=True)
    with pytest.warns(UserWarning, match="last digits"):
        study().run(place)


def test_shards_without_their_study_are_refused(whole: jg.StudyResults, tmp_path: Path) -> None:
    place = tmp_path / "orphans"
    study().save(place)
    cli.main(["study", "run", str(place), "--shard", "1/6"])
    words = json.loads((place / "manifest.json").read_bytes())
    (place / "manifest.json").unlink()
    with pytest.raises(jg.InputError, match=r"no manifest\.json"):
        study().run(place)
    words["fingerprints"]["seed"] = "0"
    (place / "manifest.json").write_text(json.dumps(words))
    with pytest.raises(jg.InputError, match="a shard of another study"):
        jg.StudyResults(place)


def test_functions_of_the_users_own_stay_here(tmp_path: Path) -> None:
    link = jg.links.Link(lambda eta: eta, range="real", name="same")
    made = jg.Study(scenario(link=link), 4, 1)
    made.save(tmp_path)
    with pytest.raises(jg.InputError, match="the link 'same' of scenario '1'"):
        jg.Study.load(tmp_path)
    with pytest.raises(jg.InputError, match="without an executor"):
        made.run(tmp_path, executor=SimpleNamespace(submit=print))


def test_other_code_of_the_same_name_is_another_study(tmp_path: Path) -> None:
    def made(of: Any, scale: float = 1.0) -> jg.Study:
        def eta_of(eta: Any) -> Any:
            return of(eta) * scale

        return jg.Study(scenario(link=jg.links.Link(eta_of, range="real", name="same")), 4, 1)

    made(lambda eta: eta + 1.0).save(tmp_path)
    made(lambda eta: eta + 1.0).save(tmp_path)
    for other in (made(lambda eta: eta + 2.0), made(lambda eta: eta + 1.0, scale=2.0)):
        with pytest.raises(jg.InputError, match="differs in family of scenario"):
            other.save(tmp_path)


def test_what_is_no_executor_is_refused(tmp_path: Path) -> None:
    forked = multiprocessing.get_context("fork")
    with (
        ProcessPoolExecutor(1, mp_context=forked) as pool,
        pytest.raises(jg.InputError, match="are forked.*'spawn'"),
    ):
        study().run(tmp_path / "new", executor=pool)
    with pytest.raises(jg.InputError, match="with submit"):
        study().run(tmp_path / "new", executor=4)
    assert not (tmp_path / "new").exists()


def test_other_files_are_no_shards(whole: jg.StudyResults, tmp_path: Path) -> None:
    """A copy by a sync tool, one under a number that there is not, one in another's place; and one
    that was damaged inside."""
    study().run(tmp_path)
    shard = tmp_path / "shard-000002.parquet"
    for name in ("shard-000002 (copy).parquet", "shard-000999.parquet"):
        (tmp_path / name).write_bytes(shard.read_bytes())
    assert_same(study().collect(tmp_path), whole)
    shard.write_bytes((tmp_path / "shard-000001.parquet").read_bytes())
    assert_same(study().run(tmp_path), whole)
    content = bytearray(shard.read_bytes())
    content[100:400] = bytes(300)
    shard.write_bytes(content)
    with pytest.raises(jg.InputError, match=r"shard-000002\.parquet' is damaged"):
        study().collect(tmp_path).replicates()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: jg.Study([], 10, 1), "scenarios: expected"),
        (lambda: jg.Study({"a": 3}, 10, 1), "scenarios: expected"),  # type: ignore[dict-item]
        (lambda: jg.Study(scenario(), 0, 1), "num_replicates"),
        (lambda: jg.Study(scenario(), 10, -1), "seed"),
        (lambda: jg.Study(scenario(), 10, 1, {"a": "reml"}), "analyses: expected"),  # type: ignore[dict-item]
        (lambda: jg.Study(scenario(), 10, 1, {"a": {"formula": "~ z"}}), "analysis 'a' of"),
        (lambda: jg.Study(scenario(), 10, 1, replicates_per_shard=0), "replicates_per_shard"),
        (lambda: jg.Study(scenario(), 10, 1, level=1.2), "level"),
    ],
)
def test_what_is_no_study_is_refused(make: Any, message: str) -> None:
    with pytest.raises(jg.InputError, match=message):
        make()


def test_shards_are_even_and_seeds_are_golden() -> None:
    sizes = [shard.stop - shard.first for shard in cut(["a", "b"], 1001, 100)]
    assert len(sizes) == 22 and set(sizes) == {91}
    assert [s.number for s in cut(["a", "b"], 25, 10)] == [1, 2, 3, 4, 5, 6]
    assert scenario_seed(1, "some") == 8189956221824402308
    assert scenario_seed(1, "none") != scenario_seed(1, "some") != scenario_seed(2, "some")
