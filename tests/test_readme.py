"""The Python examples of the README run, in order, as one program."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"


def python_blocks() -> list[str]:
    """The ```python blocks, each with its line numbers in the file for the traceback's sake."""
    text = README.read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return ["\n" * text[: match.start(1)].count("\n") + match[1] for match in found]


@pytest.fixture(scope="module")
def after_running() -> dict[str, object]:
    names: dict[str, object] = {"__name__": "readme"}
    for block in python_blocks():
        exec(compile(block, str(README), "exec"), names)
    return names


def test_opens_with_the_two_commands():
    first_block = re.search(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert first_block is not None
    commands = [line.split("#")[0].strip() for line in first_block[1].splitlines()]
    assert commands == ["make demo", "make test"]


def test_there_are_examples():
    assert len(python_blocks()) == README.read_text(encoding="utf-8").count("```python") >= 3


def test_the_examples_fit(after_running):
    fits = ("fit", "slopes", "uncorrelated", "skewed", "counts")
    assert [after_running[name].converged for name in fits] == [True] * len(fits)


def test_front_end_and_core_agree(after_running):
    fit, estimate = after_running["fit"], after_running["estimate"]
    np.testing.assert_allclose(float(estimate.log_likelihood), fit.log_likelihood, rtol=1e-10)
    np.testing.assert_allclose(
        np.asarray(estimate.params.beta), fit.fixed_effects()["estimate"], rtol=1e-6
    )
    assert float(after_running["value"]) < fit.log_likelihood


def test_the_fit_differentiates_and_maps(after_running):
    problem, estimate = after_running["problem"], after_running["estimate"]
    assert np.asarray(after_running["influence"]).shape == np.asarray(problem.y).shape
    intercepts = np.asarray(after_running["intercepts"])
    np.testing.assert_allclose(intercepts[0], np.asarray(estimate.params.beta)[0], rtol=1e-8)
    assert np.isfinite(intercepts).all()
