"""The Python examples of the README run, in order, as one program.

The quick tests run those of two sections, the slow ones all."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"


QUICK = ("Fitting a model", "In your own JAX code")


def python_blocks() -> list[tuple[str, str]]:
    """The ```python blocks, each with its line numbers in the file for the traceback's sake, after
    the headings that they are under."""
    text = README.read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [
        (
            re.findall(r"^#+ (.*)$", text[: match.start()], flags=re.MULTILINE)[-1],
            "\n" * text[: match.start(1)].count("\n") + match[1],
        )
        for match in found
    ]


def run(blocks: list[tuple[str, str]]) -> dict[str, object]:
    """The names that are left."""
    names: dict[str, object] = {"__name__": "readme"}
    for _, block in blocks:
        exec(compile(block, str(README), "exec"), names)
    return names


@pytest.fixture(scope="module")
def after_two_sections() -> dict[str, object]:
    blocks = [block for block in python_blocks() if block[0] in QUICK]
    assert {heading for heading, _ in blocks} == set(QUICK)
    return run(blocks)


@pytest.fixture(scope="module")
def after_running() -> dict[str, object]:
    return run(python_blocks())


def test_opens_with_the_two_commands():
    first_block = re.search(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert first_block is not None
    commands = [line.split("#")[0].strip() for line in first_block[1].splitlines()]
    assert commands == ["make demo", "make test"]


def test_there_are_examples():
    assert len(python_blocks()) == README.read_text(encoding="utf-8").count("```python") >= 3


def test_the_first_examples_fit(after_two_sections):
    fits = ("fit", "slopes", "uncorrelated", "skewed", "counts")
    assert [after_two_sections[name].converged for name in fits] == [True] * len(fits)


@pytest.mark.slow
def test_the_examples_fit(after_running):
    fits = ("fit", "slopes", "uncorrelated", "skewed", "counts", "times", "bent")
    assert [after_running[name].converged for name in fits] == [True] * len(fits)


@pytest.mark.slow
def test_what_is_held_is_held(after_running):
    held, bounded = after_running["held"], after_running["bounded"]
    assert held.converged and held.num_params == 4
    assert held.family_parameters["sigma"] == pytest.approx(25, rel=1e-14)
    assert bounded.converged and bounded.log_prior < 0


@pytest.mark.slow
def test_draws_are_of_the_planned_experiment(after_running):
    assert after_running["drawn"].shape == (1000, 180) and after_running["refitted"].converged
    of_subject = 25**2 + 6**2 * 4.5**2 + 2 * 0.1 * 25 * 6 * 4.5 + 25**2 / 10  # of its mean
    apart = after_running["y"].mean() - (250 + 5 * 4.5)
    assert abs(apart) < 5 * np.sqrt(of_subject / (18 * 200))


@pytest.mark.slow
def test_power_rises_with_subjects(after_running):
    powers = after_running["curve"].table()["power"]
    assert 0 < powers[0] < after_running["power"].power < powers[1] <= 1
    assert after_running["bigger"]["Subject"].nunique() == 36


@pytest.mark.slow
def test_the_study_tells_the_analyses_apart(after_running):
    """Without random slopes the test of a slope rejects too often."""
    table = after_running["results"].table().set_index(["scenario", "analysis", "parameter"])
    assert (table["attempted"] == 200).all() and (table["failed"] <= 10).all()
    own, other = (table.loc[("flat", a, "Days")] for a in ("slopes", "intercepts"))
    assert other["rejection"] > 0.15 > own["rejection"]


def test_front_end_and_core_agree(after_two_sections):
    fit, estimate = after_two_sections["fit"], after_two_sections["estimate"]
    np.testing.assert_allclose(float(estimate.log_likelihood), fit.log_likelihood, rtol=1e-10)
    np.testing.assert_allclose(
        np.asarray(estimate.params.beta), fit.fixed_effects()["estimate"], rtol=1e-6
    )
    assert float(after_two_sections["value"]) < fit.log_likelihood


def test_the_fit_differentiates_and_maps(after_two_sections):
    problem, estimate = after_two_sections["problem"], after_two_sections["estimate"]
    assert np.asarray(after_two_sections["influence"]).shape == np.asarray(problem.y).shape
    intercepts = np.asarray(after_two_sections["intercepts"])
    np.testing.assert_allclose(intercepts[0], np.asarray(estimate.params.beta)[0], rtol=1e-8)
    assert np.isfinite(intercepts).all()
