"""The response, trials, weights and offsets."""

from __future__ import annotations

import numpy as np
import pandas as pd


def test_offsets_add_up(build, table) -> None:
    data = build("y ~ x + offset(log(exposure)) + offset(w)", offset="z")
    np.testing.assert_allclose(data.offset, np.log(table["exposure"]) + table["w"] + table["z"])
    np.testing.assert_array_equal(build("y ~ x", offset=2).offset, np.full(40, 2.0))
    assert "z" in build("y ~ x", offset="z").used_columns


def test_response_expressions(build, table) -> None:
    np.testing.assert_allclose(build("log(y) ~ x").y, np.log(table["y"]))
    np.testing.assert_allclose(build("y / w ~ x").y, table["y"] / table["w"])
    np.testing.assert_allclose(build("y^2 + 1 ~ x").y, table["y"] ** 2 + 1)
    quoted = build("`my x` ~ x")
    np.testing.assert_allclose(quoted.y, table["my x"])
    assert quoted.response_name == "my x"
    np.testing.assert_array_equal(build("flag ~ x").y, table["flag"].astype(float))


def test_response_from_categories(build, table) -> None:
    expected = (table["h"] == "v").astype(float)
    np.testing.assert_array_equal(build("h ~ x", "binomial").y, expected)
    np.testing.assert_array_equal(build("flag ~ x", "binomial").y, table["flag"].astype(float))
    reverse = table.assign(h=pd.Categorical(table["h"], categories=["v", "u"]))
    np.testing.assert_array_equal(build("h ~ x", "binomial", data=reverse).y, 1 - expected)
    only_v = reverse[reverse["h"] == "v"]
    np.testing.assert_array_equal(build("h ~ x", "binomial", data=only_v).y, 0.0)


def test_binomial_forms_agree(build, table) -> None:
    table["share"] = table["hits"] / table["size"]
    forms = [
        build("hits / size ~ x", "binomial"),
        build("cbind(hits, size - hits) ~ x", "binomial"),
        build("share ~ x", "binomial", data=table, trials="size"),
        build("share ~ x", "binomial", data=table, weights="size"),
        build("share ~ x", "binomial", data=table, weights=table["size"].to_numpy()),
    ]
    for data in forms:
        np.testing.assert_array_equal(data.y, table["hits"])
        np.testing.assert_array_equal(data.trials, table["size"])
        assert data.weights is None


def test_successes_lose_their_rounding_error(build, table) -> None:
    rounded = [float(f"{s / n:.15g}") for s, n in zip(table["hits"], table["size"], strict=True)]
    assert (np.array(rounded) * table["size"] != table["hits"]).any()
    data = build("share ~ x", "binomial", data=table.assign(share=rounded), trials="size")
    np.testing.assert_array_equal(data.y, table["hits"])


def test_binomial_weights(build, table) -> None:
    zero_one = build("bit ~ x", "binomial")
    assert zero_one.trials is None and zero_one.weights is None
    whole = build("bit ~ x", "binomial", weights="size")
    np.testing.assert_array_equal(whole.y, table["bit"] * table["size"])
    np.testing.assert_array_equal(whole.trials, table["size"])
    broken = build("bit ~ x", "binomial", weights="w")
    assert broken.trials is None
    np.testing.assert_array_equal(broken.weights, table["w"])
    prior = build("hits / size ~ x", "binomial", weights="w")
    np.testing.assert_array_equal(prior.weights, table["w"])
    np.testing.assert_array_equal(prior.trials, table["size"])
    multiplier = build("bit ~ x", "binomial", weights="size", weight_role="multiplier")
    np.testing.assert_array_equal(multiplier.weights, table["size"])


def test_constant_responses_are_fine(build, table) -> None:
    table["same"] = 3.0
    assert (build("same ~ x + (1 | g)", data=table).y == 3).all()
    table["none"] = 0
    assert (build("none ~ x + (1 | g)", "binomial", data=table).y == 0).all()
