"""What is compiled, when, and where it is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg
from jaxglmm.frontend import programs
from jaxglmm.frontend.fitting import padded_rows

from . import models


def test_a_second_fit_compiles_nothing(compiled: list[str]) -> None:
    first = models.fit_anew("cbpp")
    compiled.clear()
    second = models.fit_anew("cbpp")
    assert compiled == []
    assert second.log_likelihood == first.log_likelihood


def test_other_data_of_a_similar_shape_compile_nothing(compiled: list[str]) -> None:
    models.fit_anew("cbpp")
    compiled.clear()
    formula, _, arguments = models.CALLS["cbpp"]
    data = models.data("cbpp")
    for herd in ("1", "8"):
        part = jg.glmm(formula, data[data["herd"] != herd], **arguments)
        assert part.data_info.groups == {"herd": 14} and part.converged
    assert compiled == []


def test_other_responses_weights_and_offsets_compile_nothing(compiled: list[str]) -> None:
    fit = models.fit_anew("sleep")
    compiled.clear()
    data = models.data("sleep").copy()
    data["Reaction"] = data["Reaction"].to_numpy()[::-1].copy()
    formula = models.CALLS["sleep"][0]
    other = jg.glmm(formula, data, weights=np.linspace(1, 2, 180), offset=np.arange(180.0))
    assert compiled == []
    assert other.converged and other.log_likelihood != fit.log_likelihood


def doubled(x: Any) -> Any:
    return 2.0 * x


def test_the_programs_used_last_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_IN_MEMORY", 2)
    monkeypatch.setattr(programs, "_memory", {})
    for size in (3, 4, 3, 5):
        outputs = programs.run(doubled, (np.ones(size),)).outputs
        assert outputs.shape == (size,) and np.all(outputs == 2.0)
    kept = [key[2][0][0] for key in programs._memory]
    assert kept == [(3,), (5,)]


@pytest.mark.parametrize(
    ("data", "formula", "quick"),
    [
        ("cbpp", "incidence / size ~ period + (1 | herd)", True),
        ("grouseticks", "TICKS ~ YEAR + (1 | BROOD)", True),
        ("grouseticks", "TICKS ~ YEAR + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)", False),
    ],
)
def test_small_programs_are_compiled_quickly(data: str, formula: str, quick: bool) -> None:
    """Without LLVM's optimisations, unless there is as much to do for every factor."""
    family = "binomial" if data == "cbpp" else "poisson"
    problem, _ = jg.build(formula, jg.datasets.load(data), family=family)
    rows = padded_rows(problem)
    options = programs.compiler_options((rows, None), rows.family.num_nodes)
    assert ("xla_backend_optimization_level" in options) == quick


@pytest.mark.parametrize(("copies", "level"), [(1, 0), (10, 1)])
def test_series_are_worth_some_optimisations(copies: int, level: int) -> None:
    """Of a law that sums 80 terms in every row, unless the rows are few."""
    epil = pd.concat([jg.datasets.load("epil")] * copies)
    problem, _ = jg.build("y ~ trt + (1 | subject)", epil, family="compois")
    rows = padded_rows(problem)
    options = programs.compiler_options((rows, None), rows.family.num_nodes)
    assert options["xla_backend_optimization_level"] == level


class Lowered:
    """Compiles to the options it was given, of which it knows some."""

    known = ("xla_backend_optimization_level",)

    def compile(self, compiler_options: dict[str, Any]) -> dict[str, Any]:
        for name in compiler_options:
            if name not in self.known:
                raise jax.errors.JaxRuntimeError(f"No such compile option: '{name}'")
        return compiler_options


def test_options_that_xla_does_not_have_are_left_out_and_the_others_stay() -> None:
    level = {"xla_backend_optimization_level": 0}
    options = {"xla_no_such_option": True, **level, "xla_nor_this": 1}
    assert programs._compile(Lowered(), options) == level
    run = programs.ready(doubled, (np.ones(7),), options=options)
    np.testing.assert_array_equal(run(np.ones(7)), 2.0)
    wrong = {"xla_backend_optimization_level": "none"}
    with pytest.raises(jax.errors.JaxRuntimeError, match="optimization_level"):
        programs.ready(doubled, (np.ones(8),), options=wrong)


def test_xla_has_all_options_that_batches_are_compiled_with() -> None:
    """Those that it does not have are left out without a word: here they would be noticed."""
    lowered = jax.jit(doubled).lower(np.ones(9))
    for columns in (1, 3):
        options = programs.side_by_side(columns)
        assert "xla_disable_hlo_passes" in options
        lowered.compile(compiler_options=options)


def squared(x: Any, *, shift: float) -> Any:
    return {"square": x * x + shift}


def less_half(found: Any, x: Any, *, shift: float) -> Any:
    return found["square"] - 0.5 * x + shift


def with_both(found: Any, half: Any, x: Any, *, shift: float) -> Any:
    return found["square"] + half + x * shift


def test_stages_are_one_program_that_is_kept_whole(
    compiled: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    programs._folder.cache_clear()
    monkeypatch.setenv("JAXGLMM_CACHE_DIR", str(tmp_path))
    try:
        stages, x = programs.Stages(squared, less_half, with_both), np.arange(6.0)
        expected = 2.0 * (x * x + 2.0) - 0.5 * x + 2.0 + 2.0 * x
        np.testing.assert_array_equal(stages(x, shift=2.0), expected)
        compiled.clear()
        for number in (3, 0):  # of programs that are compiled: with none in memory, from disk
            monkeypatch.setattr(programs, "_memory", {})
            run = programs.run(stages, (x,), shift=2.0)
            np.testing.assert_array_equal(run.outputs, expected)
            assert len(compiled) == number and len(files(tmp_path)) == 1
            compiled.clear()
    finally:
        programs._folder.cache_clear()


def test_tables_compile_nothing(compiled: list[str]) -> None:
    fit = models.fit("cbpp")
    compiled.clear()
    fit.fixed_effects(), fit.vcov(), fit.covariance_parameters(), fit.random_effects()
    str(fit.summary())
    assert compiled == []


def test_a_link_of_one_s_own_is_compiled_once_and_not_kept(
    compiled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_folder", lambda: tmp_path)
    link = jg.links.Link(lambda eta: jnp.exp(eta), range="positive")
    data = {"y": [1.0, 0, 2, 3, 1, 5], "x": np.arange(6.0)}
    first = jg.glmm("y ~ x", data, family="poisson", link=link)
    assert compiled and list(tmp_path.iterdir()) == []
    compiled.clear()
    second = jg.glmm("y ~ x", data, family="poisson", link=link)
    assert compiled == [] and second.log_likelihood == first.log_likelihood


def test_two_links_of_one_s_own_are_not_confused() -> None:
    data = {"y": [1.0, 0, 2, 3, 1, 5], "x": np.arange(6.0)}
    log = jg.links.Link(lambda eta: jnp.exp(eta), range="positive")
    square = jg.links.Link(lambda eta: eta * eta, range="positive", bracket=(0.0, 30.0))
    for link, known in ((log, "log"), (square, "sqrt")):
        ours = jg.glmm("y ~ x", data, family="poisson", link=link)
        theirs = jg.glmm("y ~ x", data, family="poisson", link=known)
        np.testing.assert_allclose(ours.log_likelihood, theirs.log_likelihood, rtol=1e-9)


SCRIPT = """
import json
from jax import monitoring
import jaxglmm as jg
compiled = []
monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
)
data = {"y": [1.0, 2.5, 2.0, 4.0, 3.5], "x": [0.0, 1.0, 2.0, 3.0, 4.0]}
fit = jg.glmm("y ~ x", data)
print(json.dumps([len(compiled), fit.optimizer.compile_seconds, fit.log_likelihood]))
"""


def elsewhere(cache: Path | str, home: Path | None = None) -> tuple[int, float, float]:
    """Programs compiled, seconds and the log-likelihood of a fit in another process."""
    environment = {**os.environ, "JAXGLMM_CACHE_DIR": str(cache)}
    if home is not None:
        environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    count, seconds, value = json.loads(done.stdout)
    return count, seconds, value


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder that did not exist, after one fit; and what that fit cost."""
    folder = tmp_path_factory.mktemp("disk") / "deep" / "folder"
    return folder, elsewhere(folder)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_the_first_process_compiles_and_keeps(filled: Any) -> None:
    folder, (count, _, _) = filled
    assert count > 0
    assert len(files(folder)) == 1 and files(folder)[0].suffix == ".program"
    assert folder.stat().st_mode & 0o077 == 0


def test_the_second_process_compiles_nothing(filled: Any) -> None:
    folder, first = filled
    count, seconds, value = elsewhere(folder)
    assert count == 0
    assert seconds < first[1]
    assert value == first[2]


def test_a_damaged_program_is_compiled_again(filled: Any, tmp_path: Path) -> None:
    folder, first = filled
    program = files(folder)[0]
    whole = program.read_bytes()
    copy = tmp_path / program.name
    tmp_path.chmod(0o700)
    copy.write_bytes(whole[: len(whole) // 2])
    count, _, value = elsewhere(tmp_path)
    assert count > 0 and value == first[2]
    assert copy.stat().st_size > len(whole) // 2  # written anew


def test_off_keeps_nothing(tmp_path: Path) -> None:
    count, _, _ = elsewhere("off", home=tmp_path)
    assert count > 0 and files(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="folders have no such permissions")
def test_a_folder_that_others_can_write_is_not_used(filled: Any, tmp_path: Path) -> None:
    program = files(filled[0])[0]
    (tmp_path / program.name).write_bytes(program.read_bytes())
    tmp_path.chmod(0o777)
    count, _, value = elsewhere(tmp_path)
    assert count > 0 and value == filled[1][2]
    assert len(files(tmp_path)) == 1


def test_a_path_that_is_a_file_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    count, _, _ = elsewhere(tmp_path / "file")
    assert count > 0 and (tmp_path / "file").read_text() == "mine"


def test_columns_of_other_types_share_a_program(compiled: list[str]) -> None:
    data = {"y": [1.0, 2.5, 2.0, 4.0, 3.5], "x": [0.0, 1.0, 2.0, 3.0, 4.0]}
    first = jg.glmm("y ~ x", data)
    compiled.clear()
    frame = pd.DataFrame(data).astype({"y": "float32", "x": "int8"})
    assert jg.glmm("y ~ x", frame).log_likelihood == pytest.approx(first.log_likelihood, rel=1e-12)
    assert compiled == []
