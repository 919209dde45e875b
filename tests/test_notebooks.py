"""The notebooks run, as they were when their outputs were stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def code_cells(path: Path) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture(autouse=True)
def own_settings() -> Iterator[None]:
    """A notebook may set JAX's precision for its process."""
    before = jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]
    yield
    jax.config.update("jax_enable_x64", before)


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_of_one_run(path):
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert kinds <= {"stream", "execute_result"}
    names = {output.get("name", "stdout") for cell in cells for output in cell["outputs"]}
    assert names == {"stdout"}  # no warnings


def after_running(stem: str) -> dict[str, Any]:
    """The names of a notebook once all of its cells have run."""
    (path,) = (path for path in NOTEBOOKS if path.stem == stem)
    names: dict[str, Any] = {"__name__": "notebook"}
    for number, cell in enumerate(code_cells(path), 1):
        exec(compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec"), names)
    return names


@pytest.mark.slow
def test_first_fits():
    names = after_running("1-first-fits")
    assert names["singular"].status == "converged_boundary"
    assert names["nbinom"].aic < names["poisson"].aic - 70


@pytest.mark.slow
def test_thousands_of_models():
    names = after_running("2-thousands-of-models")
    assert names["batch"].counts()["failed"] == 0
    assert (names["found"] < names["num_true"]).sum() > 150
    assert names["test"]["p_value"].iloc[1] > names["by_limit"]
    days = names["days"].set_index(["scenario", "analysis"])["rejection"]
    assert days["flat", "intercepts"] > 0.2 > 0.1 > days["flat", "slopes"]


@pytest.mark.slow
def test_inside_jax():
    names = after_running("3-inside-jax")
    assert float(names["difference"]) == pytest.approx(float(names["influence"][0]), rel=1e-5)
    assert abs(float(names["slope_there"])) < 1e-8  # of the profile, at its maximum
