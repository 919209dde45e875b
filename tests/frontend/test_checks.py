"""Every refusal names the column or argument, what is wrong, and what to do."""

from __future__ import annotations

import numpy as np
import pytest

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import show_rows

# formula; options; what the message says.
BAD_FORMULAS = [
    ("y ~ xx", {}, "no column 'xx' in the data. Did you mean 'x'"),
    ("yy ~ x", {}, "no column 'yy'"),
    ("y ~ log(xx)", {}, "no column 'xx'"),
    ("y ~ x + offset(log(xx))", {}, "no column 'xx'"),
    ("y ~ (xx | g)", {}, "no column 'xx'"),
    ("y ~ (1 | gg)", {}, "no column 'gg' in the data. Did you mean 'g'"),
    ("y ~ `my y`", {}, "no column 'my y' in the data. Did you mean 'my x'"),
    ("y ~ lgo(x)", {}, r"no function 'lgo' for formulas. Did you mean log\(...\)"),
    ("y ~ zzzzz(x)", {}, "no function 'zzzzz'.*Compute the column beforehand"),
    ("y ~ log(a.b)", {}, "in backticks, `a.b`"),
    ("y ~ x^z", {}, r"cannot be read: .*positive integer.\n +x\^z\n +\^"),
    ("y ~ log(f)", {}, r"'log\(f\)' cannot be evaluated: .*'f' holds categories"),
    ("log(f) ~ x", {}, r"'log\(f\)' cannot be evaluated: .*'f' holds categories"),
    ("y ~ bs(x, df=1)", {}, r"'bs\(x, df=1\)' cannot be evaluated"),
    ("y ~ log(x)", {}, r"'log\(x\)' is not finite in rows .*subset="),
    ("y ~ (log(x) | g)", {}, r"'log\(x\)' is not finite in rows"),
    ("y ~ offset(log(x))", {}, r"'offset\(log\(x\)\)' is not finite in rows"),
    ("log(x) ~ z", {}, r"response 'log\(x\)' must be finite, but rows"),
    ("y ~ offset(f)", {}, r"offset\(f\) does not give one number a row"),
    ("y ~ offset(3)", {}, r"offset\(3\) does not give one number a row"),
    ("np.mean(y) ~ x", {}, r"'np.mean\(y\)' does not give one number a row"),
    ("when ~ x", {}, "response 'when' does not give one number a row"),
    ("y ~ when", {}, "Column 'when' holds dates"),
    ("y ~ only", {}, "predictor 'only' has the single level 'same'"),
    ("y ~ (only | g)", {}, "predictor 'only' has the single level 'same'"),
    ("y ~ x + y", {}, "response 'y' is also a term"),
    ("y ~ (1 | only)", {}, r"factor 'only' has a single level \('same'\).*remove this random"),
    ("y ~ us(1 | g, d = 2)", {}, "takes no options"),
    ("y ~ (1 | g) + (x | g)", {}, r"'Intercept' is in two random terms of the group 'g': \(1 | g"),
    ("f ~ x", {}, r"response 'f' holds categories \('a', 'b', 'c'\)"),
    ("cbind(hits, size) ~ x", {}, "needs a binomial family"),
]

BAD_ARGUMENTS = [
    ("y ~ x", {"weights": "ww"}, r"no column \(given as weights=\) 'ww'.*Did you mean 'w'"),
    ("y ~ x", {"weights": "f"}, "weights='f' must be numbers"),
    ("y ~ x", {"weights": 3}, "weights=3 is a single value"),
    ("y ~ x", {"weights": [1.0, 2.0]}, "weights has 2 entries, but the data has 40 rows"),
    ("y ~ x", {"weights": "x"}, r"weights must be zero or more, but rows \d+"),
    ("y ~ x", {"weights": np.zeros(40)}, "weights are all zero"),
    ("y ~ x", {"offset": np.zeros(41)}, "offset has 41 entries, but the data has 40 rows"),
    ("y ~ x", {"offset": "f"}, "offset='f' must be numbers"),
    ("y ~ x", {"trials": "size"}, "trials= belongs to a binomial family"),
    ("y ~ x", {"subset": [True]}, "subset has 1 entries, but the data has 40 rows"),
    ("y ~ x", {"subset": "x"}, "subset='x' must be True or False"),
    ("y ~ x", {"subset": np.zeros(40, bool)}, "No rows are left to fit: subset is True for none"),
    (
        "y ~ x",
        {"missing": "ignore"},
        "missing='ignore' is not known; choose one of 'drop', 'raise'",
    ),
    ("y ~ f", {"contrasts": "tretment"}, "contrasts='tretment'.*Did you mean 'treatment'"),
    ("y ~ f", {"contrasts": {"f": "poly"}}, r"contrasts\['f'\]='poly' is not known"),
    ("y ~ f", {"contrasts": {"x": "sum"}}, r"contrasts names 'x', .*\(those are: f\)"),
    ("y ~ (1 | g)", {"covariance": {"h": "us"}}, r"covariance names the group 'h', .*\(g\)"),
    ("y ~ (1 | g)", {"covariance": {"g": "usual"}}, r"covariance\['g'\]='usual' is not known"),
    ("y ~ diag(x | g)", {"covariance": {"g": "us"}}, "already says 'diag'"),
]


@pytest.mark.parametrize(
    ("formula", "options", "message"),
    BAD_FORMULAS + BAD_ARGUMENTS,
    ids=[f"{b[0]} {list(b[1])}" for b in BAD_FORMULAS + BAD_ARGUMENTS],
)
def test_refusals(build, formula: str, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(formula, **options)


SUPPORTS = [
    ("positive", 0.0, "must be greater than zero, but row 3 .* holds 0. Leave .*tweedie"),
    ("count", -1.0, "must be whole numbers, zero or more, but row 3 .* holds -1"),
    ("count", 1.5, "must be whole numbers, zero or more, but row 3 .* holds 1.5"),
    ("unit_open", 0.0, "must lie strictly between 0 and 1, but row 3 .* holds 0"),
    ("unit_open", 1.0, "must lie strictly between 0 and 1, but row 3 .* holds 1"),
    ("binomial", 2.0, r"must lie between 0 and 1, but row 3 .* holds 2. .*cbind\("),
    ("binomial", -1.0, "must lie between 0 and 1, but row 3"),
]


@pytest.mark.parametrize(("support", "value", "message"), SUPPORTS)
def test_response_outside_the_support(build, table, support, value, message) -> None:
    good = {"positive": 2.0, "count": 2.0, "unit_open": 0.5, "binomial": 1.0}[support]
    table["r"] = good
    assert (build("r ~ x", support, data=table).y == good).all()
    table.loc[3, "r"] = value
    with pytest.raises(InputError, match=f"The response 'r' {message}"):
        build("r ~ x", support, data=table)


def test_rows_are_places_in_the_caller_s_table(build, table) -> None:
    table.loc[:9, "x"] = np.nan
    table["r"] = 1.0
    table.loc[[20, 30], "r"] = 0.0
    with pytest.raises(InputError, match=r"rows 20, 30 \(counted from 0\) hold 0, 0"):
        build("r ~ x", "positive", data=table)


BINOMIAL = [
    ("size / hits ~ x", {}, "'size / hits' has more successes than trials in rows .* of "),
    ("more / size ~ x", {}, r"more successes than trials in row 4 .*: 9 of 8\. Check the order"),
    ("cbind(hits, x) ~ z", {}, "'x' must be zero or more"),
    ("share ~ x", {"trials": -2}, r"trials \(trials=\) must be whole numbers, zero or more"),
    ("hits / w ~ x", {}, r"trials \(w\) must be whole numbers"),
    ("hits / x ~ z", {}, "'x' must be zero or more"),
    ("cbind(x, size) ~ z", {}, "'x' must be zero or more"),
    ("cbind(hits, w) ~ x", {}, r"trials \(cbind\(hits, w\)\) must be whole"),
    ("hits / size ~ x", {"trials": "size"}, "trials= is given twice"),
    ("share ~ x", {"weights": "w"}, r"trials \(weights=\) must be whole numbers"),
    ("share ~ x", {"trials": "w"}, r"trials \(trials=\) must be whole numbers"),
    ("hits ~ x", {"trials": "size"}, "must lie between 0 and 1, .*successes / trials"),
    ("f ~ x", {}, r"response 'f' has 3 level\(s\): 'a', 'b', 'c'. A binomial response has two"),
    ("only ~ x", {}, r"response 'only' has 1 level\(s\)"),
]


@pytest.mark.parametrize(("formula", "options", "message"), BINOMIAL, ids=[b[0] for b in BINOMIAL])
def test_binomial_refusals(build, table, formula, options, message) -> None:
    table["share"] = table["hits"] / table["size"]
    table["more"] = table["hits"]
    table.loc[4, ["more", "size"]] = [9, 8]
    with pytest.raises(InputError, match=message):
        build(formula, "binomial", data=table, **options)


def test_successes_that_are_not_whole_are_warned_about(build, table) -> None:
    table["share"] = 0.37
    with pytest.warns(UserWarning, match="non-integer successes in a binomial model"):
        data = build("share ~ x", "binomial", data=table)
    np.testing.assert_array_equal(data.y, table["share"])
    with pytest.warns(UserWarning, match="non-integer successes"):
        data = build("share ~ x", "binomial", data=table, trials=10)
    np.testing.assert_allclose(data.y, 3.7)


def test_zero_weights_and_zero_trials_are_fine(build, table) -> None:
    weights = np.ones(40)
    weights[:5] = 0
    np.testing.assert_array_equal(build("y ~ x", weights=weights).weights, weights)
    table.loc[2, ["hits", "size"]] = 0
    data = build("hits / size ~ x", "binomial", data=table)
    assert data.trials[2] == 0


def test_no_rows_left(build, table) -> None:
    empty = table.iloc[:0]
    with pytest.raises(InputError, match="the data has no rows"):
        build("y ~ x", data=empty)
    table["x"] = np.nan
    with pytest.raises(InputError, match=r"each of the 40 rows .*\('x' in 40\)"):
        build("y ~ x + z", data=table)


def test_one_group_left_after_dropping(build, table) -> None:
    table.loc[table["h"] == "u", "y"] = np.nan
    with pytest.raises(InputError, match=r"grouping factor 'h' has a single level \('v'\)"):
        build("y ~ x + (1 | h)", data=table)


def test_an_identifier_as_predictor(build, table) -> None:
    num_rows = 60_000
    data = {"y": np.zeros(num_rows), "id": np.arange(num_rows).astype(str)}
    with pytest.raises(InputError, match=r"'id' has 60000 levels .*\(1 | id\)"):
        build("y ~ id", data=data)


def test_levels_that_read_the_same(build, table) -> None:
    table["f"] = np.resize(np.array([1, "1"], dtype=object), 40)
    with pytest.raises(InputError, match="'f' has different levels that read the same"):
        build("y ~ f", data=table)


def test_missing_raise_names_columns_and_rows(build, table) -> None:
    table.loc[[3, 5], "x"] = np.inf
    table.loc[7, "f"] = None
    weights = np.ones(40)
    weights[9] = np.nan
    with pytest.raises(InputError) as caught:
        build("y ~ x + f", data=table, missing="raise", weights=weights)
    for part in ("'x' in rows 3, 5", "'f' in row 7", "'weights' in row 9", "missing='drop'"):
        assert part in str(caught.value)


def test_show_rows() -> None:
    assert show_rows([4]) == "row 4 (counted from 0)"
    assert show_rows(np.arange(9)) == "rows 0, 1, 2, 3, 4 and 4 more (counted from 0)"
