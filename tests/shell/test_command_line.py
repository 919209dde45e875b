"""The command line end to end: what `tests/test_cli.py` leaves out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxglmm as jg
from jaxglmm import cli

from . import models


def test_a_bundled_name_in_a_process_of_its_own(tmp_path: Path) -> None:
    formula, name, _ = models.CALLS["cbpp"]
    page, saved = tmp_path / "out.html", tmp_path / "fit.save"
    command = [sys.executable, "-W", "error", "-m", "jaxglmm", "fit", name, formula]
    command += ["--family", "binomial", "--out", str(page), "--save", str(saved)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{models.fit('cbpp').log_likelihood:.1f}" in done.stdout
    assert "period[T.4]" in page.read_text(encoding="utf-8")
    loaded = jg.load(saved)
    np.testing.assert_allclose(loaded.log_likelihood, models.fit("cbpp").log_likelihood, rtol=1e-12)


def test_weights_offset_link_and_contrasts(tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(3)
    frame = models.data("cbpp")[["herd", "period"]].copy()
    frame["y"], frame["w"] = rng.gamma(5.0, 1.0, 56), rng.uniform(0.5, 2, 56)
    frame["o"] = rng.normal(scale=0.05, size=56)
    frame.to_parquet(tmp_path / "data.parquet")
    saved = tmp_path / "fit"
    command = ["fit", str(tmp_path / "data.parquet"), "y ~ period", "--family", "gamma"]
    command += ["--link", "0.5", "--weights", "w", "--offset", "o", "--contrasts", "sum"]
    assert cli.main([*command, "--save", str(saved)]) == 0
    fit = jg.glmm("y ~ period", frame, "gamma", link=0.5, weights="w", offset="o", contrasts="sum")
    loaded = jg.load(saved)
    assert loaded.log_likelihood == fit.log_likelihood
    assert loaded.link.name == "sqrt" and "period[S.1]" in loaded.labels.fixed
    capsys.readouterr()


def test_a_fit_without_maximum_is_shown_and_exits_with_one(tmp_path: Path, capsys) -> None:
    path = tmp_path / "separated.csv"
    path.write_text("y,x\n" + "".join(f"{int(k > 9)},{k}\n" for k in range(20)))
    assert cli.main(["fit", str(path), "y ~ x", "--family", "binomial"]) == 1
    shown = capsys.readouterr()
    assert "Intercept" in shown.out
    assert shown.err.startswith("jaxglmm: separated: ")


def test_missing_values_can_be_refused(tmp_path: Path, capsys) -> None:
    path = tmp_path / "holes.csv"
    path.write_text("y,x\n1,1\n2,\n3,2\n4,5\n")
    assert cli.main(["fit", str(path), "y ~ x", "--missing", "raise"]) == 2
    assert "'x' in row 1" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["agq", "nonsense"])
def test_methods_that_are_not_there(method: str, capsys) -> None:
    assert cli.main(["fit", "sleepstudy", "Reaction ~ Days", "--method", method]) == 2
    assert method in capsys.readouterr().err
