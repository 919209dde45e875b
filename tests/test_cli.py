"""The command line: what it prints, writes and returns; what it refuses."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pandas as pd
import pytest

import jaxglmm
from jaxglmm import cli, datasets

FORMULA = "incidence / size ~ period + (1 | herd)"
FIT_CBPP = ["fit", "cbpp", FORMULA, "--family", "binomial"]


def refused(capsys, *arguments: str) -> str:
    """Run a command that must be refused; return its message."""
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("jaxglmm: ")
    assert "Traceback" not in captured.err
    return captured.err


def test_fit_prints_the_summary_of_the_same_fit(capsys):
    assert cli.main(FIT_CBPP) == 0
    printed = capsys.readouterr().out
    fit = jaxglmm.glmm(FORMULA, datasets.load("cbpp"), family="binomial")
    for term in ("Intercept", "period[T.2]", "period[T.3]", "period[T.4]", "herd"):
        assert term in printed
    assert f"{fit.log_likelihood:.1f}" in printed


def test_fit_from_a_csv_file(tmp_path, capsys):
    path = tmp_path / "cbpp.csv"
    datasets.load("cbpp").to_csv(path, index=False)
    formula = "incidence / size ~ C(period) + (1 | herd)"
    assert cli.main(["fit", str(path), formula, "--family", "binomial"]) == 0
    assert "C(period)[T.4]" in capsys.readouterr().out


def test_fit_from_a_parquet_file_keeps_categories(tmp_path, capsys):
    pytest.importorskip("pyarrow")
    path = tmp_path / "cbpp.parquet"
    datasets.load("cbpp").to_parquet(path)
    assert cli.main(["fit", str(path), FORMULA, "--family", "binomial"]) == 0
    assert "period[T.4]" in capsys.readouterr().out


def test_options_reach_the_fit(tmp_path, capsys):
    frame = datasets.load("cbpp").assign(keep=lambda d: d["herd"] != "1")
    path = tmp_path / "cbpp.csv"
    frame.to_csv(path, index=False)
    command = ["fit", str(path), "prop ~ C(period) + (1 | herd)", "--family", "binomial"]
    command += ["--trials", "size", "--link", "probit", "--subset", "keep"]
    saved = tmp_path / "fit.save"
    assert cli.main([*command, "--save", str(saved)]) == 0
    fit = jaxglmm.load(saved)
    assert fit.num_obs == int(frame["keep"].sum()) < len(frame)
    assert fit.link == "probit" or getattr(fit.link, "name", None) == "probit"
    capsys.readouterr()


def test_formulas_of_dispersion_and_zeros_reach_the_fit(tmp_path, capsys):
    command = ["fit", "epil", "y ~ lbase", "--family", "nbinom2", "--save", str(tmp_path / "fit")]
    assert cli.main([*command, "--dispersion", "~ trt", "--zero-inflation", "~ 1"]) == 0
    components = jaxglmm.load(tmp_path / "fit").fixed_effects()["component"]
    assert list(components) == ["cond", "cond", "disp", "disp", "zi"]
    capsys.readouterr()


def test_out_writes_text_and_html(tmp_path, capsys):
    text, page = tmp_path / "summary.txt", tmp_path / "summary.html"
    assert cli.main([*FIT_CBPP, "--out", str(text)]) == 0
    assert text.read_text(encoding="utf-8").strip() in capsys.readouterr().out
    assert cli.main([*FIT_CBPP, "--out", str(page)]) == 0
    html = page.read_text(encoding="utf-8")
    assert html.startswith("<!DOCTYPE html>") and "period[T.4]" in html
    capsys.readouterr()


def test_demo_shows_a_fit_and_how_to_go_on(capsys):
    assert cli.main(["demo"]) == 0
    printed = capsys.readouterr().out
    assert "period[T.4]" in printed
    assert "jg.glmm(" in printed and "python -m jaxglmm fit" in printed


def test_datasets_lists_and_describes(capsys):
    assert cli.main(["datasets"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == datasets.names()
    assert cli.main(["datasets", "CBPP"]) == 0
    described = capsys.readouterr().out
    assert "incidence" in described and "Lesnoff" in described


def test_the_module_runs_as_a_program():
    command = [sys.executable, "-m", "jaxglmm", "fit", "cbpp", "incidence ~ nothing"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nothing" in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_unknown_column_is_named(capsys):
    assert "perod" in refused(capsys, "fit", "cbpp", "incidence / size ~ perod + (1 | herd)")


def test_an_unknown_family_is_named(capsys):
    assert "binomal" in refused(capsys, "fit", "cbpp", FORMULA, "--family", "binomal")


def test_an_unknown_data_set_suggests_close_names(capsys):
    assert "'sleepstudy'" in refused(capsys, "fit", "sleepstudi", "Reaction ~ Days")
    assert "'sleepstudy'" in refused(capsys, "datasets", "sleepstudi")


def test_files_that_cannot_be_read_are_refused(tmp_path, capsys):
    missing = str(tmp_path / "none.csv")
    assert "no such file" in refused(capsys, "fit", missing, "y ~ x")
    sheet = tmp_path / "data.xlsx"
    sheet.write_bytes(b"")
    assert ".csv or .parquet" in refused(capsys, "fit", str(sheet), "y ~ x")
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    assert "cannot be read as csv" in refused(capsys, "fit", str(empty), "y ~ x")


def test_where_to_write_is_checked_before_the_fit(tmp_path, capsys):
    pdf, nowhere = str(tmp_path / "out.pdf"), str(tmp_path / "none" / "out.txt")
    assert ".html or .txt" in refused(capsys, *FIT_CBPP, "--out", pdf)
    assert "there is no folder" in refused(capsys, *FIT_CBPP, "--out", nowhere)
    assert "there is no folder" in refused(capsys, *FIT_CBPP, "--save", nowhere)


def test_usage_errors_exit_with_two():
    with pytest.raises(SystemExit) as caught:
        cli.main(["fit"])
    assert caught.value.code == 2


def test_a_warning_is_one_line(tmp_path, capsys):
    frame = pd.DataFrame({"y": [0.5, 1, 2, 3] * 5, "n": [4] * 20, "g": list("abcde") * 4})
    path = tmp_path / "halves.csv"
    frame.to_csv(path, index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert cli.main(["fit", str(path), "y / n ~ 1 + (1 | g)", "--family", "binomial"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "non-integer" in line]
    assert len(lines) == 1 and lines[0].startswith("jaxglmm: warning: ")
