"""From a formula and a table to arrays and names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from jaxglmm.errors import InputError
from jaxglmm.rank import independent_columns


def test_a_plain_model(build, table) -> None:
    data = build("y ~ x + (1 + x | g)")
    assert data.fixed_names == ("Intercept", "x")
    np.testing.assert_array_equal(data.X, np.column_stack([np.ones(40), table["x"]]))
    np.testing.assert_array_equal(data.y, table["y"])
    assert data.trials is None and data.weights is None and data.offset is None
    (group,) = data.groupings
    assert (group.name, group.levels) == ("g", [10, 20, 30, 40, 50])
    assert group.codes.dtype == np.int32
    np.testing.assert_array_equal(np.array(group.levels)[group.codes], table["g"])
    np.testing.assert_array_equal(group.Z, data.X)
    assert [(t.structure, t.names) for t in group.terms] == [("us", ("Intercept", "x"))]
    assert (data.response_name, data.num_rows, data.dropped_columns) == ("y", 40, ())
    assert data.used_columns == ("y", "x", "g")
    np.testing.assert_array_equal(data.rows, np.arange(40))
    assert data.X.dtype == group.Z.dtype == data.y.dtype == np.float64


@pytest.mark.parametrize(
    ("right", "names"),
    {
        "f": ("Intercept", "f[T.b]", "f[T.c]"),
        "0 + f": ("f[a]", "f[b]", "f[c]"),
        "ordered": ("Intercept", "ordered[T.mid]", "ordered[T.hi]"),
        "flag": ("Intercept", "flag[T.True]"),
        "h*x": ("Intercept", "h[T.v]", "x", "h[T.v]:x"),
        "h:ordered": (
            "Intercept",
            "ordered[T.mid]",
            "ordered[T.hi]",
            "h[T.v]:ordered[lo]",
            "h[T.v]:ordered[mid]",
            "h[T.v]:ordered[hi]",
        ),
        "`my x` + a.b + log(`a.b`)": ("Intercept", "my x", "a.b", "log(`a.b`)"),
        "I(x^2) + sqrt(w)": ("Intercept", "I(x ** 2)", "sqrt(w)"),
        "poly(x, 2)": ("Intercept", "poly(x, 2)[1]", "poly(x, 2)[2]"),
        "C(z)": ("Intercept", "C(z)[T.2]", "C(z)[T.3]", "C(z)[T.4]"),
        "factor(bit)": ("Intercept", "factor(bit)[T.1]"),
        "h/x": ("Intercept", "h[T.v]", "h[u]:x", "h[v]:x"),
        "x %in% h": ("Intercept", "h[T.v]", "h[u]:x", "h[v]:x"),
        "Q('my x')": ("Q('my x')",) + ("Intercept",),
        "I(flag * 2)": ("Intercept", "I(flag * 2)"),
        "I(x.map(lambda v: v + 1))": ("Intercept", "I(x.map(lambda v: v + 1))"),
        "-1 + x": ("x",),
        "0": (),
    }.items(),
)
def test_fixed_names(build, right: str, names: tuple[str, ...]) -> None:
    data = build(f"y ~ {right}")
    assert set(data.fixed_names) == set(names)
    assert data.X.shape == (40, len(names))
    assert data.groupings == ()


def test_values_of_an_interaction(build, table) -> None:
    data = build("y ~ h*x")
    is_v = (table["h"] == "v").to_numpy(float)
    expected = {"h[T.v]": is_v, "x": table["x"], "h[T.v]:x": is_v * table["x"], "Intercept": 1.0}
    for name, column in zip(data.fixed_names, data.X.T, strict=True):
        np.testing.assert_array_equal(column, np.broadcast_to(expected[name], 40))


def test_names_and_values_are_formulaic_s_own(build, table) -> None:
    formulaic = pytest.importorskip("formulaic")
    right = "f*x + ordered:h + poly(z, 2) + bs(x, df=4) + C(z, contr.helmert)"
    used = table.assign(ordered=table["ordered"].cat.remove_unused_categories())
    expected = formulaic.model_matrix(right, used)
    data = build(f"y ~ {right}")
    kept = [n for n in expected.columns if n not in data.dropped_columns]
    assert list(data.fixed_names) == kept
    np.testing.assert_allclose(data.X, expected[kept].to_numpy(float), atol=1e-12)


@pytest.mark.parametrize(
    ("term", "names"),
    {
        "(f | g)": ("Intercept", "f[T.b]", "f[T.c]"),
        "(0 + f | g)": ("f[a]", "f[b]", "f[c]"),
        "(`my x` || g)": ("Intercept", "my x"),
        "(0 + x:flag | g)": ("x:flag[False]", "x:flag[True]"),
        "(log(w) + I(x**2) | g)": ("Intercept", "log(w)", "I(x ** 2)"),
        "(0 + scale(x) | g)": ("scale(x)",),
    }.items(),
)
def test_random_columns(build, term: str, names: tuple[str, ...]) -> None:
    (group,) = build(f"y ~ f + {term}").groupings
    assert group.terms[0].names == names
    assert group.Z.shape == (40, len(names))
    assert group.terms[0].structure == ("diag" if "||" in term else "us")


def test_terms_of_one_group_stand_side_by_side(build, table) -> None:
    (group,) = build("y ~ x + (1 | g) + diag(0 + x + z | g)").groupings
    assert [(t.structure, t.names) for t in group.terms] == [
        ("us", ("Intercept",)),
        ("diag", ("x", "z")),
    ]
    np.testing.assert_array_equal(group.Z, np.column_stack([np.ones(40), table[["x", "z"]]]))


def test_group_of_two_factors(build, table) -> None:
    (group,) = build("y ~ (1 | h:ordered)").groupings
    assert group.name == "h:ordered"
    assert group.levels == ["u:lo", "u:mid", "u:hi", "v:lo", "v:mid", "v:hi"]
    joined = table["h"] + ":" + table["ordered"].astype(str)
    assert [group.levels[c] for c in group.codes] == joined.tolist()
    (same,) = build("y ~ (1 | h:ordered) + (0 + x | ordered:h)").groupings
    assert same.Z.shape == (40, 2)


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("ordered", ["lo", "mid", "hi"]),
        ("flag", [False, True]),
        ("factor(bit)", [0, 1]),
        ("`my x`", None),
        ("when", None),
    ],
)
def test_any_column_can_group(build, name: str, levels: list | None) -> None:
    (group,) = build(f"y ~ x + (1 | {name})").groupings
    if levels is None:  # a group per row is no error
        assert len(group.levels) == 40
    else:
        assert group.levels == levels


def test_whole_floats_group_as_integers(build, table) -> None:
    table.loc[3, "g"] = np.nan
    (group,) = build("y ~ (1 | g)", data=table).groupings
    assert [repr(level) for level in group.levels] == ["10", "20", "30", "40", "50"]


@pytest.mark.parametrize(
    ("contrasts", "right", "names"),
    [
        ("sum", "f", ("Intercept", "f[S.a]", "f[S.b]")),
        ("sum", "0 + f", ("f[a]", "f[b]", "f[c]")),
        ("sum", "f:x", ("Intercept", "f[a]:x", "f[b]:x", "f[c]:x")),
        ("full", "0 + f + h", ("f[a]", "f[b]", "f[c]", "h[u]")),
        ("full", "f", ("Intercept", "f[a]", "f[b]")),
        ({"f": "sum"}, "f + h", ("Intercept", "f[S.a]", "f[S.b]", "h[T.v]")),
        ("sum", "C(f, contr.treatment)", None),
    ],
)
def test_contrasts(build, contrasts, right: str, names: tuple[str, ...] | None) -> None:
    data = build(f"y ~ {right}", contrasts=contrasts)
    if names is None:
        names = ("Intercept", "C(f, contr.treatment)[T.b]", "C(f, contr.treatment)[T.c]")
    assert data.fixed_names == names


def test_sum_contrast_values(build, table) -> None:
    data = build("y ~ f + (0 + f | g)", contrasts="sum")
    code = {"a": [1, 1, 0], "b": [1, 0, 1], "c": [1, -1, -1]}
    np.testing.assert_array_equal(data.X, [code[level] for level in table["f"]])
    np.testing.assert_array_equal(data.groupings[0].Z.sum(axis=1), 1.0)
    assert data.contrasts == {"f": "sum"}
    assert data.factor_levels == {"f": ["a", "b", "c"]}
    assert build("y ~ f", contrasts="full").dropped_columns == ("f[c]",)


def test_dependent_columns_are_dropped_and_named(build, table) -> None:
    table["twice"] = 2 * table["x"] + 3
    table["zero"] = 0.0
    data = build("y ~ x + twice + zero + z", data=table)
    assert data.fixed_names == ("Intercept", "x", "z")
    assert data.dropped_columns == ("twice", "zero")
    np.testing.assert_array_equal(data.X[:, 2], table["z"])


def test_empty_cells_are_dropped_and_named(build, table) -> None:
    table = table[~((table["f"] == "c") & (table["h"] == "v"))]
    data = build("y ~ f*h", data=table)
    assert data.dropped_columns == ("f[T.c]:h[T.v]",)
    assert np.linalg.matrix_rank(data.X) == data.X.shape[1] == 5


@pytest.mark.parametrize("scale", [1e-200, 1e-6, 1.0, 1e6, 1e200])
def test_rank_does_not_depend_on_the_scale(scale: float) -> None:
    X = np.random.default_rng(1).normal(size=(30, 3))
    X = np.column_stack([X, X[:, 0] - X[:, 2], X[:, 1] + 1e-5 * X[:, 2] ** 2])
    kept = independent_columns(X * np.array([1, scale, 1, 1, scale]))
    assert kept.tolist() == [True, True, True, False, True]


@pytest.mark.parametrize("seed", range(5))
def test_nearly_equal_columns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, noise = rng.normal(size=(2, 50))
    X = np.column_stack([x, x + 1e-9 * noise, x + 1e-5 * noise])
    assert independent_columns(X).tolist() == [True, False, True]


def test_rank_with_fewer_rows_than_columns() -> None:
    X = np.random.default_rng(1).normal(size=(3, 5))
    assert independent_columns(X).tolist() == [True, True, True, False, False]


def test_dates_far_from_zero_keep_their_intercept() -> None:
    X = np.column_stack([np.ones(50), 1e6 + np.arange(50.0)])
    assert independent_columns(X).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", ["y", "x", "w"])
def test_rows_with_missing_values_are_dropped(build, table, bad: float, column: str) -> None:
    table.loc[[4, 7], column] = bad
    data = build("y ~ x + (1 | g)", data=table, weights="w")
    assert data.num_dropped_missing == 2
    assert data.rows.tolist() == [i for i in range(40) if i not in (4, 7)]
    np.testing.assert_array_equal(data.y, table["y"][data.rows])
    np.testing.assert_array_equal(data.weights, table["w"][data.rows])
    np.testing.assert_array_equal(data.X[:, 1], table["x"][data.rows])


def test_missing_values_elsewhere_do_not_matter(build, table) -> None:
    table.loc[2, "z"] = np.nan
    assert build("y ~ x", data=table).num_dropped_missing == 0


@pytest.mark.parametrize("column", ["f", "h", "ordered", "flag"])
def test_none_among_categories_is_missing(build, table, column: str) -> None:
    table[column] = table[column].astype(object).where(table.index != 5, None)
    data = build(f"y ~ {column} + (1 | g)", data=table)
    assert data.num_dropped_missing == 1
    assert 5 not in data.rows


def test_missing_in_groups_offsets_and_arrays(build, table) -> None:
    table["g"] = table["g"].astype(float)
    table.loc[0, "g"] = np.nan
    table.loc[1, "exposure"] = np.nan
    offset = np.zeros(40)
    offset[2] = np.nan
    data = build("y ~ offset(log(exposure)) + (1 | g)", data=table, offset=offset)
    assert data.rows.tolist() == list(range(3, 40))


def test_levels_without_rows_are_dropped(build, table) -> None:
    table.loc[table["f"] == "c", "y"] = np.nan
    data = build("y ~ f + (1 | ordered)", data=table)
    assert data.fixed_names == ("Intercept", "f[T.b]")
    assert data.factor_levels == {"f": ["a", "b"]}
    assert data.groupings[0].levels == ["lo", "mid", "hi"]
    assert data.groupings[0].codes.max() == 2


def test_subset(build, table) -> None:
    table["keep"] = table["x"] > 0
    table.loc[table.index[table["keep"]][0], "y"] = np.nan
    by_name = build("y ~ x", data=table, subset="keep")
    by_array = build("y ~ x", data=table, subset=table["keep"].to_numpy())
    assert by_name.num_dropped_subset == int((~table["keep"]).sum())
    assert by_name.num_dropped_missing == 1
    np.testing.assert_array_equal(by_name.rows, by_array.rows)
    np.testing.assert_array_equal(by_name.rows, np.flatnonzero(table["keep"])[1:])
    numbers = build("y ~ x", data=table, subset=table["keep"].astype(float).to_numpy())
    np.testing.assert_array_equal(by_name.rows, numbers.rows)
    some = build("y ~ x", subset=[True, None, False] + [True] * 37)
    assert some.rows.tolist() == [0, *range(3, 40)]
    assert (some.num_dropped_subset, some.num_dropped_missing) == (2, 0)


@pytest.mark.parametrize(
    "code", ["poly(x, 2)", "bs(x, df=5)", "scale(x)", "scale(exp(x)) + center(x):z", "x + z"]
)
def test_transforms_learn_from_rows_with_a_missing_response(build, table, code: str) -> None:
    """As in R, where variables are made before rows are left out."""
    whole = build(f"y ~ {code} + (0 + center(x) | g)")
    gaps = table.assign(y=np.where(np.arange(40) % 4 == 1, np.nan, 1.0))
    found, there = build(f"y ~ {code} + (0 + center(x) | g)", data=gaps), np.isfinite(gaps["y"])
    np.testing.assert_array_equal(found.X, whole.X[there])
    np.testing.assert_array_equal(found.groupings[0].Z, whole.groupings[0].Z[there])


def test_transforms_learn_from_rows_that_have_their_columns(build, table) -> None:
    table.loc[2, "z"] = np.nan
    found = build("y ~ scale(x) + scale(z)", data=table, subset=np.arange(40) < 30)
    own = [(v - v[:30].mean()) / v[:30].std() for v in (table["x"], table["z"])]
    expected = np.delete(np.stack(own, axis=1)[:30], 2, axis=0)
    np.testing.assert_allclose(found.X[:, 1:], expected, rtol=1e-12)


def test_covariance_argument(build) -> None:
    (group,) = build("y ~ (x | g)", covariance={"g": "diag"}).groupings
    assert group.terms[0].structure == "diag"


def test_names_that_begin_with_underscores(build, table) -> None:
    table["f"] = np.resize(["__a", "__b"], 40)
    assert build("y ~ f", data=table).fixed_names == ("Intercept", "f[T.__b]")


def test_columns_named_like_functions(build, table) -> None:
    table = table.rename(columns={"x": "log", "z": "C", "w": "np"})
    data = build("y ~ log + C + np + exp(log)", data=table)
    assert data.fixed_names == ("Intercept", "log", "C", "np", "exp(log)")


def test_the_caller_s_table_is_left_alone(build, table) -> None:
    before = table.copy()
    data = build("y ~ poly(x, 2) + f + (x | g)", data=table, weights="w")
    data.X[:] = -1
    data.groupings[0].Z[:] = -1
    pd.testing.assert_frame_equal(table, before)


def test_index_of_the_table_does_not_matter(build, table) -> None:
    shuffled = table.set_index(np.arange(40)[::-1])
    expected = build("y ~ scale(x) + C(z) + (1 | g)", weights="w")
    found = build("y ~ scale(x) + C(z) + (1 | g)", data=shuffled, weights=shuffled["w"])
    np.testing.assert_array_equal(found.X, expected.X)
    np.testing.assert_array_equal(found.weights, expected.weights)


@pytest.mark.parametrize("module", ["polars", "pyarrow"])
def test_other_tables_give_the_same(build, table, module: str) -> None:
    library = pytest.importorskip(module)
    pytest.importorskip("pyarrow")
    plain = table.drop(columns=["ordered"]).copy()
    plain.loc[4, "f"] = None
    plain.loc[5, "x"] = np.nan
    make = library.from_pandas if module == "polars" else library.Table.from_pandas
    formula = "hits / size ~ f*x + poly(z, 2) + offset(log(exposure)) + (flag | g:h)"
    expected = build(formula, "binomial", data=plain)
    found = build(formula, "binomial", data=make(plain))
    assert found.fixed_names == expected.fixed_names
    np.testing.assert_array_equal(found.X, expected.X)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.groupings[0].codes, expected.groupings[0].codes)
    assert found.groupings[0].levels == expected.groupings[0].levels
    as_dict = build(formula, "binomial", data={n: plain[n].to_numpy() for n in plain})
    np.testing.assert_array_equal(as_dict.X, expected.X)


def test_formulaic_is_not_changed() -> None:
    materializers = pytest.importorskip("formulaic.materializers")
    import jaxglmm.frontend.encode  # noqa: F401

    found = materializers.FormulaMaterializer.for_data(pd.DataFrame({"x": [1]}))
    assert found is materializers.PandasMaterializer


def test_missing_raise(build, table) -> None:
    table.loc[[1, 2], "x"] = np.nan
    with pytest.raises(InputError, match=r"'x' in rows 1, 2"):
        build("y ~ x", data=table, missing="raise")
    assert build("y ~ z", data=table, missing="raise").num_dropped_missing == 0
