"""Bad input, whatever it is: an InputError that names it and says what to do; nothing compiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg

pytestmark = pytest.mark.usefixtures("nothing_compiles")


def table() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    d = pd.DataFrame({"x": rng.normal(size=20), "g": np.resize(["a", "b", "c", "d"], 20)})
    d["h"] = np.repeat(["u", "v"], 10)
    d["only"] = "same"
    d["row"] = np.arange(20)
    d["y"] = 1.0 + np.arange(20) % 5
    d["k"] = np.arange(20) % 4
    d["n"] = 5
    d["share"] = 0.2 * d["k"]
    d["p"] = np.linspace(0.1, 0.9, 20)
    d["p1"] = d["p"].where(d["row"] != 3, 1.0)
    d["w"] = 1.0
    d["lost"] = np.nan
    d["bad_w"] = -1.0
    d["negative"] = -d["y"]
    return d


def refused(formula: Any, words: tuple[str, ...], data: Any = None, **arguments: Any) -> str:
    """Fit what must be refused; the message holds all of `words`."""
    with pytest.raises(jg.InputError) as caught:
        jg.glmm(formula, table() if data is None else data, **arguments)
    message = str(caught.value)
    for word in words:
        assert word in message, message
    # No message without a remedy: more than the name of what is wrong.
    assert len(message.split()) >= 6, message
    return message


FORMULAS = [
    ("y ~ xx", ("'xx'", "Did you mean 'x'")),
    ("yy ~ x", ("'yy'", "'y'")),
    ("y ~ (1 | gg)", ("'gg'", "'g'")),
    ("y ~ x + offset(zz)", ("'zz'",)),
    ("y ~ x + ", ("^",)),
    ("y ~ (1 | g", ("^",)),
    ("y ~ (x | )", ("^",)),
    ("y ~~ x", ("^",)),
    ("y", ("~",)),
    ("~ x", ("response",)),
    ("", ("formula",)),
    (3, ("formula", "text")),
    (None, ("formula", "text")),
    ("y ~ x + y", ("'y'", "Remove")),
    ("y ~ only", ("'only'", "Remove")),
    ("y ~ x + (1 | only)", ("'only'", "single level", "emove")),
    ("y ~ lost", ("'lost'", "20")),
    ("y ~ ou(g | h)", ("'ou'", "'g'", "categories", "ar1(0 + g | h)")),
    ("y ~ ar1(x | g)", ("'ar1'", "'x'", "ar1(0 + factor(x) | g)")),
    ("y ~ foo(x | g)", ("foo",)),
    ("y ~ (1 | s | g)", ("'s'", "only this one", "(1 | g)")),
    ("y ~ (1 | s | g) + (0 + x | s | h)", ("'s'", "only this one")),
    ("log(negative) ~ x", ("log(negative)", "subset=")),
    ("y ~ log(negative)", ("log(negative)", "subset=")),
    ("g ~ x", ("'g'", "numeric")),
]


@pytest.mark.parametrize(("formula", "words"), FORMULAS, ids=[str(f[0]) for f in FORMULAS])
def test_formulas(formula: Any, words: tuple[str, ...]) -> None:
    refused(formula, words)


# family, value outside its support, words
SUPPORTS = [
    ("poisson", -1.0, ("whole numbers", "row 3", "-1")),
    ("poisson", 1.5, ("whole numbers", "row 3", "1.5")),
    ("nbinom2", -1.0, ("whole numbers", "row 3")),
    ("nbinom2", 0.5, ("whole numbers", "row 3")),
    ("gamma", 0.0, ("greater than zero", "row 3")),
    ("gamma", -2.0, ("greater than zero", "row 3")),
    ("inverse_gaussian", 0.0, ("greater than zero", "row 3")),
    ("inverse_gaussian", -2.0, ("greater than zero", "row 3")),
    ("beta", 0.0, ("between 0 and 1", "row 3")),
    ("beta", 1.0, ("between 0 and 1", "row 3")),
    ("beta", 7.0, ("between 0 and 1", "row 3")),
    ("beta", 0.0, ("ordered_beta", "zero_one_beta", "zero_inflation='~ 1'")),
    ("beta", 1.0, ("ordered_beta", "zero_one_beta")),
    ("zero_one_beta", 1.01, ("between 0 and 1", "row 3", "1.01")),
    ("ordered_beta", 1.01, ("between 0 and 1", "row 3", "1.01")),
    ("ordered_beta", -0.1, ("between 0 and 1", "row 3", "-0.1")),
    ("tweedie", -0.5, ("zero or more", "row 3", "-0.5")),
    ("compois", 1.5, ("whole numbers", "row 3", "1.5")),
    ("compois", -1.0, ("whole numbers", "row 3")),
    ("binomial", 2.0, ("between 0 and 1", "row 3", "trials")),
    ("binomial", -0.5, ("between 0 and 1", "row 3")),
    ("betabinomial", 2.0, ("between 0 and 1", "row 3", "trials")),
    ("nbinom1", -1.0, ("whole numbers", "row 3")),
    ("genpois", 0.5, ("whole numbers", "row 3")),
    ("lognormal", 0.0, ("greater than zero", "row 3", "zero_inflation='~ 1' (gamma, lognormal)")),
    ("truncated_poisson", 0.0, ("one or more", "row 3", "zero_inflation=", "hurdle", "poisson")),
    ("truncated_nbinom1", 0.0, ("one or more", "row 3", "zero_inflation=")),
    ("truncated_nbinom2", 1.5, ("whole numbers", "row 3")),
]


@pytest.mark.parametrize(("family", "value", "words"), SUPPORTS)
def test_responses_outside_the_support(family: str, value: float, words: Any) -> None:
    data = table()
    unit = jg.families.get(family).support.startswith("unit")
    data["r"] = 0.5 if unit else 1.0 if "binomial" in family else 2.0
    data.loc[3, "r"] = value
    refused("r ~ x + (1 | g)", ("'r'", *words), data, family=family)


def test_every_family_is_asked_about_its_support() -> None:
    asked = {n for n, law in jg.families.REGISTRY.items() if law.support not in ("real", "ordinal")}
    assert {s[0] for s in SUPPORTS} == asked


def test_an_ordinal_response_with_an_empty_category() -> None:
    data = table()
    data["o"] = pd.Categorical(data["k"], categories=[0, 1, 2, 3, 4], ordered=True)
    refused("o ~ x + (1 | g)", ("'o'", "category '4'", "merge"), data, family="cumulative")
    words = ("'o'", "categories '3', '4'", "remove_unused_categories")
    kept = data["k"].to_numpy() < 3
    refused("o ~ x", words, data, family="cumulative", subset=kept)
    refused("o ~ x", words, data, family="cumulative", weights=kept.astype(float))


def test_ordinal_responses_that_are_none() -> None:
    refused("only ~ x", ("'only'", "1 categories", "2 to 50"), family="cumulative")
    many = pd.DataFrame({"m": np.arange(60.0), "x": np.arange(60) % 7})
    refused("m ~ x", ("'m'", "60 categories", "another family"), many, family="cumulative")
    refused("k / n ~ x", ("'k / n'", "ordered categories"), family="cumulative")
    refused("k ~ x", ("'k'", "without trials"), family="cumulative", trials="n")


@pytest.mark.parametrize("family", ["cumulative", "ordered_beta", "zero_one_beta"])
def test_links_that_are_no_distribution_function(family: str) -> None:
    refused("share ~ x", ("'log'", family, "'logit'"), family=family, link="log")


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0, 0.5])
def test_tweedie_powers(power: float) -> None:
    with pytest.raises(jg.InputError, match="between 1 and 2"):
        jg.families.Tweedie(power=power)


def test_a_response_that_is_never_finite() -> None:
    data = table().assign(y=np.inf)
    refused("y ~ x", ("'y'",), data)


ARGUMENTS: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("share ~ x", {"family": "binomial", "trials": np.full(20, -5.0)}, ("trials", "zero or more")),
    ("share ~ x", {"family": "binomial", "trials": np.full(20, 2.5)}, ("trials", "whole")),
    ("n / k ~ x", {"family": "binomial"}, ("n / k", "more successes than trials", "Check")),
    ("k / p ~ x", {"family": "binomial"}, ("p", "whole")),
    ("cbind(k, negative) ~ x", {"family": "binomial"}, ("'negative'", "zero or more")),
    ("k / n ~ x", {"family": "binomial", "trials": "n"}, ("trials=", "twice", "Leave")),
    ("y ~ x", {"trials": "n"}, ("trials=", "binomial", "Leave")),
    ("y ~ x", {"weights": "bad_w"}, ("weights", "zero or more")),
    ("y ~ x", {"weights": np.zeros(20)}, ("weights", "all zero", "positive")),
    ("y ~ x", {"weights": "nothing"}, ("weights", "'nothing'")),
    ("y ~ x", {"weights": np.ones(19)}, ("weights", "19", "20")),
    ("y ~ x", {"offset": np.ones(21)}, ("offset", "21", "20")),
    ("y ~ x", {"offset": "g"}, ("offset", "numbers")),
    ("y ~ x", {"subset": [True]}, ("subset", "20")),
    ("y ~ x", {"subset": np.zeros(20, bool)}, ("subset", "No rows")),
    ("y ~ x", {"subset": "x"}, ("subset", "True or False")),
    ("y ~ x", {"missing": "fail"}, ("missing", "'drop'", "'raise'")),
    ("y ~ lost", {"missing": "raise"}, ("'lost'", "missing='drop'")),
    ("y ~ x", {"family": "gausian"}, ("family", "'gausian'", "'gaussian'")),
    ("y ~ x", {"family": "negbin"}, ("family", "'negbin'", "nbinom2")),
    ("y ~ x", {"family": "normal"}, ("family", "'normal'", "Did you mean 'gaussian'")),
    ("y ~ x", {"family": "negative binomial"}, ("family", "Did you mean 'nbinom2'")),
    ("y ~ x", {"family": 3}, ("family", "int")),
    ("y ~ x", {"family": None}, ("family", "NoneType")),
    ("y ~ x", {"link": "lgo"}, ("link", "'lgo'", "'log'")),
    ("y ~ x", {"link": float("nan")}, ("link",)),
    ("y ~ x", {"link": np.exp}, ("link", "jaxglmm.links.Link")),
    ("y ~ x", {"method": "lapalce"}, ("method", "'lapalce'", "laplace")),
    ("y ~ x", {"zero_inflation": "~ 1"}, ("zero_inflation", "'gaussian'", "poisson", "gamma")),
    (
        "share ~ x",
        {"zero_inflation": "~ 1", "family": "ordered_beta"},
        ("zero_inflation", "'ordered_beta'", "zero_one_beta", "truncated_poisson"),
    ),
    ("p1 ~ x", {"zero_inflation": "~ 1", "family": "beta"}, ("'p1'", "row 3", "zero_one_beta")),
    ("k ~ x", {"zero_inflation": "y ~ 1", "family": "poisson"}, ("begins with '~'",)),
    ("k ~ x", {"zero_inflation": 1, "family": "poisson"}, ("zero_inflation", "int")),
    ("k ~ x", {"zero_inflation": "~ xx", "family": "poisson"}, ("'xx'", "Did you mean 'x'")),
    ("k ~ x", {"zero_inflation": "~ k", "family": "poisson"}, ("'k'", "Remove")),
    ("k ~ x", {"dispersion": "~ x", "family": "poisson"}, ("dispersion", "'poisson'", "nbinom2")),
    ("y ~ x", {"dispersion": "~ 0"}, ("dispersion", "no random effects")),
    ("y ~ (1 | g)", {"dispersion": "~ 0"}, ("dispersion", "rows 0, 4 ", "same random effects")),
    ("k ~ (1 | g)", {"dispersion": "~ 0", "family": "poisson"}, ("dispersion", "'poisson'")),
    ("y ~ (1 | g)", {"dispersion": 3}, ("dispersion", "int", "one-sided")),
    ("y ~ x", {"thresholds": "equidistant"}, ("thresholds", "'cumulative'", "Leave")),
    ("k ~ x", {"family": "cumulative", "thresholds": "equal"}, ("thresholds", "'equidistant'")),
    ("y ~ h", {"contrasts": "helmert"}, ("contrasts", "'helmert'", "'treatment'")),
    ("y ~ h", {"contrasts": {"x": "sum"}}, ("contrasts", "'x'", "h")),
    ("y ~ (1 | g)", {"covariance": {"g": "ar1"}}, ("'ar1'", "order", "(1 | g)")),
    ("y ~ (1 | g)", {"covariance": {"g": np.eye(2)}}, ("covariance['g']", "(2, 2)", "(1, 1)")),
    ("y ~ (0 + h | row)", {"link": None}, ("more columns than a group can carry", "~ 0")),
    ("y ~ (1 | g)", {"matrices": {"K": np.eye(4)}}, ("matrices", "'K'", "propto")),
    ("y ~ (1 | g)", {"matrices": np.eye(4)}, ("matrices", "propto")),
    ("y ~ (1 | g)", {"covariance": {"q": "us"}}, ("covariance", "'q'", "g")),
    ("y ~ (1 | g)", {"covariance": {"g": "round"}}, ("covariance", "'round'")),
    ("y ~ (1 | g)", {"covariance": "us"}, ("covariance", "'us'")),
    # Links that cannot reach the means.
    ("y ~ x", {"family": "gamma", "link": "logit"}, ("link", "'logit'", "'log'")),
    ("k ~ x", {"family": "poisson", "link": "cloglog"}, ("link", "'cloglog'", "'log'")),
    ("k ~ x", {"family": "nbinom2", "link": "probit"}, ("link", "'probit'")),
    ("y ~ x", {"family": "truncated_poisson", "link": "logit"}, ("link", "'logit'", "'log'")),
    ("negative ~ x", {"family": "student_t", "link": "log"}, ("link", "negative", "identity")),
    ("y ~ x", {"family": "student_t", "trials": "n"}, ("trials=", "binomial", "Leave")),
    ("k / p ~ x", {"family": "betabinomial"}, ("p", "whole")),
    ("negative ~ x", {"link": "log"}, ("link", "'log'", "negative", "identity")),
    ("y ~ x", {"link": "logit"}, ("link", "'logit'", "'y'", "identity")),
    # Starts.
    ("y ~ x", {"start": {"beta": [0.0, 0.0]}}, ("start", "theta", "phi")),
    ("y ~ x", {"start": {"beta": [0.0], "theta": [], "phi": [0.0]}}, ("start", "beta", "2")),
    ("y ~ x", {"start": {"beta": [0, np.nan], "theta": [], "phi": [0]}}, ("start", "beta")),
    ("y ~ x", {"start": {"beta": [0, 0], "theta": [1.0], "phi": [0]}}, ("start", "theta", "0")),
    ("y ~ x", {"start": {"beta": ["a", "b"], "theta": [], "phi": [0]}}, ("start", "beta")),
    ("y ~ x", {"start": [0.0, 0.0]}, ("start", "beta")),
    ("y ~ x", {"start": "zero"}, ("start", "beta")),
    ("y ~ x", {"control": {"tolerance": 1e-3}}, ("control", "Control")),
]


@pytest.mark.parametrize(
    ("formula", "arguments", "words"),
    ARGUMENTS,
    ids=[f"{a[0]} {list(a[1].items())[-1]}"[:60] for a in ARGUMENTS],
)
def test_arguments(formula: str, arguments: dict[str, Any], words: tuple[str, ...]) -> None:
    refused(formula, words, **arguments)


TABLES = [
    (None, ("data",)),
    ([1, 2, 3], ("data",)),
    ("cbpp", ("data",)),
    ({"y": [1.0, 2.0], "x": [1.0]}, ("'x'",)),
    ({"y": [], "x": []}, ("No rows",)),
    (np.ones((4, 2)), ("data",)),
]


@pytest.mark.parametrize(("data", "words"), TABLES, ids=[str(t[0])[:20] for t in TABLES])
def test_tables(data: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(jg.InputError) as caught:
        jg.glmm("y ~ x", data)
    for word in words:
        assert word in str(caught.value).replace("Data", "data")


def test_a_group_left_with_one_level() -> None:
    data = table()
    data.loc[data["h"] == "u", "x"] = np.nan
    refused("y ~ x + (1 | h)", ("'h'", "single level", "'v'"), data)


def test_build_refuses_the_same() -> None:
    for arguments in ({"family": "gama"}, {"link": "lgo"}, {"weights": "bad_w"}):
        with pytest.raises(jg.InputError):
            jg.build("y ~ x", table(), **arguments)


def test_an_input_error_is_a_value_error() -> None:
    assert issubclass(jg.InputError, ValueError)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("factorisation", "dense"),
        ("probes", 1),
        ("probes", 8.0),
        ("max_iterations", 0),
        ("max_iterations", 1.5),
        ("tolerance", "small"),
        ("tolerance", 0.0),
        ("tolerance", -1.0),
        ("weights", "frequency"),
    ],
)
def test_control(name: str, value: Any) -> None:
    with pytest.raises(jg.InputError, match=rf"Control\({name}"):
        jg.Control(**{name: value})
