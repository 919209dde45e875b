"""A small table with every kind of column, and the call under test."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest

from jaxglmm.frontend.formula import parse
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.matrices import model_data
from jaxglmm.frontend.model import ModelData

NUM_ROWS = 40


def make_table() -> pd.DataFrame:
    rng = np.random.default_rng(20261120)
    size = rng.integers(3, 9, NUM_ROWS)
    return pd.DataFrame(
        {
            "y": rng.normal(size=NUM_ROWS) + 10,
            "x": rng.normal(size=NUM_ROWS),
            "z": rng.integers(1, 5, NUM_ROWS),
            "f": np.resize(list("bacab"), NUM_ROWS),
            "ordered": pd.Categorical(
                np.resize(["lo", "hi", "mid"], NUM_ROWS), categories=["lo", "mid", "hi", "none"]
            ),
            "flag": np.resize([True, False, False], NUM_ROWS),
            "g": np.resize([30, 10, 20, 10, 50, 40, 30], NUM_ROWS),
            "h": np.resize(["u", "v"], NUM_ROWS),
            "exposure": rng.uniform(0.5, 2.0, NUM_ROWS),
            "size": size,
            "hits": rng.binomial(size, 0.4),
            "bit": np.resize([0, 1, 1, 0, 1], NUM_ROWS),
            "w": rng.uniform(0.5, 2.0, NUM_ROWS),
            "my x": rng.normal(size=NUM_ROWS),
            "a.b": rng.uniform(1, 2, NUM_ROWS),
            "only": "same",
            "when": pd.date_range("2020-01-01", periods=NUM_ROWS),
        }
    )


@pytest.fixture
def table() -> pd.DataFrame:
    return make_table()


@pytest.fixture
def build(table: pd.DataFrame):
    """`build(formula, ...)`: model_data on the table (or data=), for a gaussian by default."""

    @functools.wraps(model_data)
    def call(formula: str, support: str = "real", data: object = None, **options) -> ModelData:
        options.setdefault("weight_role", "trials" if support == "binomial" else "dispersion")
        frame = Frame(table if data is None else data)
        return model_data(parse(formula), frame, family_support=support, **options)

    return call
