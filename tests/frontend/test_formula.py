"""The grammar: what each formula means, and where a bad one is marked."""

from __future__ import annotations

import pytest

from jaxglmm.errors import InputError
from jaxglmm.frontend.formula import parse, parse_one_sided


def random_parts(text: str) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(t.structure, t.columns, t.factors) for t in parse(text).random]


@pytest.mark.parametrize(
    ("term", "expected"),
    {
        "(1 | g)": [("us", "1", ("g",))],
        "(x | g)": [("us", "1 + x", ("g",))],
        "(1 + x | g)": [("us", "1 + x", ("g",))],
        "(0 + x | g)": [("us", "0 + x", ("g",))],
        "(x - 1 | g)": [("us", "x - 1", ("g",))],
        "(-1 + x | g)": [("us", "-1 + x", ("g",))],
        "(-x | g)": [("us", "1 - x", ("g",))],
        "(x || g)": [("diag", "1 + x", ("g",))],
        "(1 | a:b)": [("us", "1", ("a", "b"))],
        "(1 | a/b)": [("us", "1", ("a",)), ("us", "1", ("a", "b"))],
        "(x | a/b/c)": [
            ("us", "1 + x", ("a",)),
            ("us", "1 + x", ("a", "b")),
            ("us", "1 + x", ("a", "b", "c")),
        ],
        "(1 | a/(b:c))": [("us", "1", ("a",)), ("us", "1", ("a", "b", "c"))],
        "(1 | `my g`)": [("us", "1", ("my g",))],
        "(`my x` | g)": [("us", "1 + `my x`", ("g",))],
        "(log(x) + I(x^2) | factor(g))": [("us", "1 + log(x) + I(x**2)", ("factor(g)",))],
        "us(x | g)": [("us", "1 + x", ("g",))],
        "diag(0 + f | g)": [("diag", "0 + f", ("g",))],
        "cs(x*z | g)": [("cs", "1 + x * z", ("g",))],
        "ou(t | g)": [("ou", "t", ("g",))],
        "exp(x + y2 | g)": [("exp", "x + y2", ("g",))],
        "(1 | a) + (0 + x | b)": [("us", "1", ("a",)), ("us", "0 + x", ("b",))],
        "(z + (1 | g))": [("us", "1", ("g",))],
    }.items(),
)
def test_random_terms(term: str, expected: list) -> None:
    assert random_parts(f"y ~ {term}") == expected


def test_options_of_a_structure() -> None:
    (rank,) = parse("y ~ rr(0 + f | g, d = 2)").random
    assert (rank.structure, rank.options, rank.text) == (
        "rr",
        {"d": "2"},
        "rr(0 + f | g, d = 2)",
    )
    (known,) = parse("y ~ propto(0 + f | g, K)").random
    assert known.options == {"1": "K"}


@pytest.mark.parametrize(
    ("right", "fixed"),
    {
        "x": "x",
        "(1 | g)": "1",
        "offset(e) + (1 | g)": "1",
        "x + (1 | g) + z": "x + z",
        "0 + x + (1 | g)": "0 + x",
        "-1 + x": "-1 + x",
        "x + -1": "x - 1",
        "x - z + (1 | g)": "x - z",
        "a*b + a:c + (a + b)^2": "a * b + a:c + (a + b)^2",
        "a %in% b + c/d": "a %in% b + c / d",
        "I(x^2) + poly(x, 2)": "I(x**2) + poly(x, 2)",
        "I((x > 1) | (z > 1))": "I((x > 1) | (z > 1))",
        "log(`my x`) + `odd ~ | name`": "log(`my x`) + `odd ~ | name`",
        "(x + (1 | g))": "x",
        "x\n  + z": "x + z",
        "Sepal.Length + .hidden": "Sepal.Length + .hidden",
    }.items(),
)
def test_fixed_part(right: str, fixed: str) -> None:
    assert parse(f"y ~ {right}").fixed == fixed


def test_offsets() -> None:
    spec = parse("y ~ x + offset(log(e)) + (offset(w) + (1 | g))")
    assert spec.offsets == ("log(e)", "w")
    assert spec.fixed == "x"


@pytest.mark.parametrize(
    ("left", "kind", "expressions"),
    [
        ("y", "plain", ("y",)),
        ("`my y`", "plain", ("`my y`",)),
        ("Sepal.Length", "plain", ("Sepal.Length",)),
        ("x.1", "plain", ("x.1",)),
        ("class", "plain", ("class",)),
        ("log(y)", "plain", ("log(y)",)),
        ("y^2", "plain", ("y**2",)),
        ("y > 3", "plain", ("y > 3",)),
        ("cbind(s, n - s)", "cbind", ("s", "n - s")),
        ("s / n", "ratio", ("s", "n")),
        ("`a b` / (s + f)", "ratio", ("`a b`", "s + f")),
        ("größe / n^2", "ratio", ("größe", "n**2")),
        ("log(s / n)", "plain", ("log(s / n)",)),
    ],
)
def test_response(left: str, kind: str, expressions: tuple[str, ...]) -> None:
    response = parse(f"{left} ~ x").response
    assert response is not None
    assert (response.kind, response.expressions) == (kind, expressions)


def test_one_sided() -> None:
    spec = parse_one_sided("~ x + (1 | g)")
    assert spec.response is None
    assert (spec.fixed, len(spec.random)) == ("x", 1)
    assert parse_one_sided("x").fixed == "x"
    with pytest.raises(InputError, match="begins with '~'"):
        parse_one_sided("y ~ x")


# A formula; the part its carets stand under ("" is the end); a part of the message.
BAD = [
    ("y ~ x z", "x z", "operator is missing between 'x' and 'z'"),
    ("y ~ f (x)", "f (x)", r"no blank before its bracket: f\(x\)"),
    ("y ~ x +", "", "ends where a term should follow"),
    ("y ~ *x", "*", r"A term is missing before '\*'"),
    ("y ~ x | g", "|", "needs its own parentheses"),
    ("y ~ . + x", ".", "Write the names of the columns"),
    ("~ x", "~", "no response before"),
    ("just words", "just words", "the '~' is missing"),
    ("y ~ ", "", "right-hand side is empty"),
    ("y ~ x ~ z", "~", "one '~' only"),
    ("y ~ (1 | )", " ", "needs a group after"),
    ("y ~ ( | g)", " ", "needs columns before"),
    ("y ~ (0 | g)", "0", "has no columns"),
    ("y ~ (1 | g + h)", "+", r"write \(1 | a\) \+ \(1 | b\)"),
    ("y ~ (1 | 1)", "1", "grouping factor is a column"),
    ("y ~ (1 | f | g | h)", "|", "one '|' only, or two around an id"),
    ("y ~ (1 | f:g | h)", "f:g", "a plain word"),
    ("y ~ us(1 | f | h)", "f", "unstructured"),
    ("y ~ (1 | a/a)", "a/a", "entered twice"),
    ("y ~ (x + x | g)", "x", "x is entered twice"),
    ("y ~ (1 | g, d = 2)", " d = 2", "need the name of a covariance structure"),
    ("y ~ ar2(x | g)", "ar2", r"no covariance structure.*Did you mean ar1\(...\)"),
    ("y ~ us(x || g)", "us", "a single '|'"),
    ("y ~ -(1 | g)", "(1 | g)", "cannot be taken away"),
    ("y ~ x*(1 | g)", "(1 | g)", "added with '\\+'"),
    ("y ~ x + (1 | g", "(", "ends before the '\\(' is closed"),
    ("y ~ x)", ")", "closes nothing"),
    ("y ~ (x]", "]", "does not close"),
    ("y ~ `x", "`", "quote ` is closed"),
    ("y ~ ``", "``", "backticks is empty"),
    ("y ~ 2x", "2x", "Put it in backticks: `2x`"),
    ("y ~ x + 3", "3", "no term"),
    ("y ~ 'a'", "'a'", "Quoted text is no term"),
    ("y ~ x $ z", "$", "has no meaning here"),
    ("y ~ log(x y)", "log(x y)", "not a valid expression"),
    ("a b ~ x", "a b", "not a valid expression"),
    ("a | b ~ x", "|", "no place in the response"),
    ("cbind(a) ~ x", "cbind(a)", "two arguments"),
    ("y ~ offset(e)*2", "offset(e)", "added to the fixed part"),
    ("y ~ -offset(e)", "offset(e)", "cannot be taken away"),
    ("y ~ offset()", "offset()", "offset\\(\\) is empty"),
    ("y ~ x + z + x", "x", "The term x is entered twice"),
    ("y ~ (1 | g) + (1|g)", "(1|g)", "entered twice"),
    ("y ~ x + offset(e) + offset( e )", "offset( e )", "entered twice"),
]


@pytest.mark.parametrize(("text", "marked", "message"), BAD, ids=[b[0] for b in BAD])
def test_bad_formula_is_marked(text: str, marked: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse(text)
    _, shown, carets = str(caught.value).rsplit("\n", 2)
    assert shown.strip() == text.strip()
    start, width = carets.index("^"), carets.count("^")
    assert carets.strip() == "^" * width
    assert shown[start : start + width] == marked


def test_the_second_of_two_equal_terms_is_marked() -> None:
    with pytest.raises(InputError) as caught:
        parse("y ~ x + z + x")
    _, shown, carets = str(caught.value).rsplit("\n", 2)
    assert carets.index("^") == shown.rindex("x")


@pytest.mark.parametrize("text", [None, 3, ["y ~ x"]])
def test_a_formula_is_text(text: object) -> None:
    with pytest.raises(InputError, match="formula must be text"):
        parse(text)  # type: ignore[arg-type]


def test_an_empty_formula() -> None:
    with pytest.raises(InputError, match="formula is empty"):
        parse("  ")
