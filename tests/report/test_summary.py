"""What a summary says, of fits made up to have every ending."""

from __future__ import annotations

import dataclasses
import html.parser
import math
import re
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest

from jaxglmm.report import Summary, numbers, summarise
from jaxglmm.report.text import display_width

INF, NAN = math.inf, math.nan
MEASURED = ("estimate", "std_error", "conf_low", "conf_high")
FIXED = ["component", "term", *MEASURED[:2], "statistic", "df", "p_value", *MEASURED[2:]]
COVARIANCE = ["component", "group", "name1", "name2", "type", *MEASURED]
CBPP_FIXED = [
    ("cond", "Intercept", -1.39834, 0.23123, -6.0475, INF, 1.5e-9, -1.85150, -0.94510),
    ("cond", "period[T.2]", -0.99193, 0.30315, -3.2721, INF, 0.00107, -1.58600, -0.39770),
    ("cond", "period[T.3]", -1.12821, 0.32282, -3.4949, INF, 0.000474, -1.76100, -0.49550),
    ("cond", "period[T.4]", -1.57974, 0.42200, -3.7435, INF, 1e-200, -2.40700, -0.75260),
]
CBPP_SD = [("cond", "herd", "Intercept", None, "sd", 0.64207, 0.17790, 0.37300, 1.10500)]
OPTIMIZER = SimpleNamespace(
    iterations=12,
    evaluations=15,
    scaled_gradient=3.2e-9,
    smallest_eigenvalue=0.4017,
    monte_carlo_error=0.0,
    compile_seconds=1.5,
    run_seconds=0.02,
)
DATA = SimpleNamespace(
    response="incidence / size",
    num_rows=56,
    num_used=56,
    num_dropped_missing=0,
    num_dropped_subset=0,
    dropped_columns=(),
    groups={"herd": 15},
    levels={"period": ["1", "2", "3", "4"]},
    contrasts={"period": "treatment"},
)
BOUNDARY = "Converged on the boundary: a variance is zero. A simpler model fits as well."
STOPPED = "Not converged: the iteration limit was reached. Rescale the predictors."


def make_fit(fixed=CBPP_FIXED, covariance=CBPP_SD, data=None, **changes) -> SimpleNamespace:
    """The cbpp fit of lme4's help page, but for what is changed; `data` changes data_info."""
    parts = dict(
        formula="incidence / size ~ period + (1 | herd)",
        family=SimpleNamespace(name="binomial"),
        link=SimpleNamespace(name="logit"),
        method="laplace",
        log_likelihood=-92.02657,
        deviance=184.05313,
        aic=194.05313,
        bic=204.1799,
        num_obs=56,
        num_params=5,
        df_residual=52,
        family_parameters={},
        status="converged",
        status_message="Converged: the gradient is zero to rounding.",
        converged=True,
        is_singular=False,
        optimizer=OPTIMIZER,
        data_info=SimpleNamespace(**{**vars(DATA), **(data or {})}),
        fixed_effects=lambda level=0.95: pd.DataFrame(fixed, columns=FIXED),
        covariance_parameters=lambda level=0.95: pd.DataFrame(covariance, columns=COVARIANCE),
    )
    return SimpleNamespace(**{**parts, **changes})


def sleepstudy(**changes) -> SimpleNamespace:
    """A gaussian fit with correlated slopes and denominator degrees of freedom."""
    fixed = [
        ("cond", "Intercept", 251.4051, 6.6323, 37.906, 17.0, 1e-18, 238.4, 264.4),
        ("cond", "Days", 10.46729, 1.5022, 6.968, 16.98, 2.2e-6, 7.523, 13.412),
    ]
    covariance = [
        ("cond", "Subject", "Intercept", None, "sd", 23.7805, 5.7, 14.8, 38.1),
        ("cond", "Subject", "Days", None, "sd", 5.7168, 1.2, 3.8, 8.7),
        ("cond", "Subject", "Days", "Intercept", "corr", 0.0813, 0.29, -0.45, 0.57),
        ("cond", "family", "sigma", None, "family", 25.5918, 1.5, 22.8, 28.7),
    ]
    defaults = dict(
        formula="Reaction ~ Days + (Days | Subject)",
        family=SimpleNamespace(name="gaussian"),
        link=SimpleNamespace(name="identity"),
        family_parameters={"sigma": 25.5918},
        data=dict(groups={"Subject": 18}, levels={}, contrasts={}),
    )
    return make_fit(**{"fixed": fixed, "covariance": covariance, **defaults, **changes})


def line_with(text: str, start: str) -> str:
    """The only line that starts so."""
    (line,) = (line for line in text.splitlines() if line.lstrip().startswith(start))
    return line


class Words(html.parser.HTMLParser):
    """The text of a page, and whether every tag is closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.found.append(data)


def words_of(source: str) -> str:
    parsed = Words(source)
    assert parsed.open == []
    return " ".join(" ".join(parsed.found).split())


FITS = {
    "binomial": make_fit,
    "gaussian": sleepstudy,
    "stopped": lambda: make_fit(status="max_iterations", status_message=STOPPED, converged=False),
    "no numbers": lambda: make_fit(
        fixed=[("cond", "Intercept", *[NAN] * 7)],
        covariance=[("cond", "herd", "Intercept", None, "sd", *[NAN] * 4)],
        **dict.fromkeys(("log_likelihood", "deviance", "aic", "bic"), NAN),
        status="nonfinite",
        converged=False,
    ),
    "empty": lambda: make_fit(fixed=[], covariance=[], data=dict(groups={})),
    "long names": lambda: make_fit(fixed=[("cond", "x" * 60, *CBPP_FIXED[0][2:]), *CBPP_FIXED]),
}


def test_the_text_of_a_fit():
    expected = """\
Generalized linear mixed model fit by maximum likelihood (Laplace)
Formula: incidence / size ~ period + (1 | herd)
Family:  binomial (logit link)
Data:    all 56 rows used

     AIC       BIC    logLik  deviance  npar  df.resid
194.0531  204.1799  -92.0266  184.0531     5        52

Random effects:
Group  Name       Std.Dev.  Std.Error  conf.low  conf.high
herd   Intercept    0.6421     0.1779    0.3730      1.105

Number of obs: 56, groups: herd, 15

Fixed effects:
             Estimate  Std.Error  z value  Pr(>|z|)  conf.low  conf.high
Intercept     -1.3983     0.2312   -6.048  1.50e-09    -1.851    -0.9451
period[T.2]   -0.9919     0.3031   -3.272   0.00107    -1.586    -0.3977
period[T.3]   -1.1282     0.3228   -3.495  4.74e-04    -1.761    -0.4955
period[T.4]   -1.5797     0.4220   -3.744    <2e-16    -2.407    -0.7526

conf.low, conf.high: 95% confidence limits
Levels of period (treatment coding): 1, 2, 3, 4"""
    assert [line.rstrip() for line in str(summarise(make_fit())).splitlines()] == (
        expected.splitlines()
    )


@pytest.mark.parametrize("make", FITS.values(), ids=FITS)
def test_every_ending_prints_in_80_columns(make):
    summary = summarise(make())
    text = summary.to_text()
    assert str(summary) == repr(summary) == text
    assert max(map(display_width, text.splitlines())) <= 80
    assert not text.endswith("\n") and "nan" not in text.lower() and "None" not in text
    assert text.startswith(("Generalized linear", "Linear"))


@pytest.mark.parametrize("make", FITS.values(), ids=FITS)
def test_html_says_what_the_text_says(make):
    summary = summarise(make())
    words = words_of(summary._repr_html_())
    for line in summary.to_text().splitlines():
        for word in line.split():
            assert word.rstrip(":") in words


def test_a_summary_is_a_value_with_its_tables():
    fit = make_fit()
    summary = summarise(fit)
    assert isinstance(summary, Summary) and summary == summarise(fit)
    assert set(summary.tables) == {"fixed_effects", "covariance_parameters"}
    pd.testing.assert_frame_equal(summary.tables["fixed_effects"], fit.fixed_effects())
    with pytest.raises(dataclasses.FrozenInstanceError):
        summary.title = "another"


@pytest.mark.parametrize(
    ("family", "link", "method", "groups", "title"),
    [
        ("binomial", "logit", "laplace", {"g": 2}, "Generalized linear mixed model fit by maximum"),
        ("gaussian", "identity", "laplace", {"g": 2}, "Linear mixed model fit by maximum lik"),
        ("gaussian", "log", "laplace", {"g": 2}, "Generalized linear mixed model fit by maximum"),
        ("poisson", "log", "laplace", {}, "Generalized linear model fit by maximum likelihood"),
        ("gaussian", "identity", "laplace", {}, "Linear model fit by maximum likelihood"),
        ("gaussian", "identity", "reml", {"g": 2}, "Linear mixed model fit by restricted"),
    ],
)
def test_title(family, link, method, groups, title):
    fit = make_fit(family=family, link=link, method=method, data=dict(groups=groups))
    summary = summarise(fit)
    assert summary.title.startswith(title)
    assert ("(Laplace)" in summary.title) == (
        method == "laplace" and bool(groups) and (family, link) != ("gaussian", "identity")
    )
    assert ("logLik(REML)" in str(summary)) == (method == "reml")


def test_a_converged_fit_has_no_alert():
    text = str(summarise(make_fit()))
    assert "WARNING" not in text and "NOTE" not in text and "Optimizer" not in text


@pytest.mark.parametrize(
    ("status", "message", "converged", "word"),
    [
        ("max_iterations", STOPPED, False, "WARNING"),
        ("separated", "No finite maximum.", False, "WARNING"),
        ("converged_boundary", BOUNDARY, True, "NOTE"),
        ("rank_deficient", "Some parameters cannot be told apart.", True, "NOTE"),
    ],
)
def test_the_status_comes_right_under_the_title(status, message, converged, word):
    fit = make_fit(status=status, status_message=message, converged=converged)
    summary = summarise(fit)
    under_title = str(summary).split("\n", 1)[1]
    assert " ".join(under_title.split()).startswith(f"{word} ({status}): {message} Formula:")
    words = words_of(summary._repr_html_())
    assert words.index(message) < words.index("incidence / size ~")
    assert "12 iterations, 15 evaluations, scaled gradient 3.2e-09" in str(summary)


@pytest.mark.parametrize(
    ("status", "converged", "start", "says_singular"),
    [
        ("converged", True, "NOTE (singular)", True),
        ("rank_deficient", True, "NOTE (rank_deficient)", True),
        ("max_iterations", False, "WARNING (max_iterations)", True),
        ("converged_boundary", True, "NOTE (converged_boundary)", False),  # its message says so
    ],
)
def test_no_other_status_hides_a_singular_fit(status, converged, start, says_singular):
    fit = make_fit(status=status, converged=converged, status_message="X.", is_singular=True)
    alert = summarise(fit).alert
    assert alert is not None and alert.label == start
    assert ("A variance is zero" in alert.text) == says_singular
    assert ("X." in alert.text) == (status != "converged")


def test_boundary_parameters_are_marked_and_have_no_error():
    covariance = [
        ("cond", "g", "Intercept", None, "sd", 0.64207, 0.1779, 0.373, 1.105),
        ("cond", "g", "x", None, "sd", 0.0, NAN, NAN, NAN),
        ("cond", "g", "x", "Intercept", "corr", NAN, NAN, NAN, NAN),
    ]
    text = str(summarise(make_fit(covariance=covariance, is_singular=True)))
    assert line_with(text, "x  ").split() == ["x", "0", "-", "-", "-", "boundary"]
    assert line_with(text, "g      Intercept").split()[-1] == "1.105"
    assert line_with(text, "g      x").split() == ["g", "x", "Intercept", "-", "-", "-", "-"]
    assert '"-": not defined' in text
    regular = str(summarise(make_fit(covariance=covariance)))
    assert "boundary" not in re.sub(r'"-": .*', "", regular)


def test_correlations_and_the_residual():
    text = str(summarise(sleepstudy()))
    assert "Family parameter (sigma: residual standard deviation):" in text
    assert line_with(text, "sigma ").split() == ["sigma", "25.59", "1.500", "22.80", "28.70"]
    corr = line_with(text, "Subject  Days")
    assert corr.split() == ["Subject", "Days", "Intercept", "0.0813", "0.2900", "-0.4500", "0.5700"]
    assert text.index("Random effects:") < text.index("Correlations") < text.index("Family param")
    assert text.index("Family param") < text.index("Number of obs") < text.index("Fixed effects")


def test_t_with_finite_degrees_of_freedom():
    text = str(summarise(sleepstudy()))
    assert "t value  Pr(>|t|)" in text and "z value" not in text
    (row,) = (line for line in text.splitlines() if " 16.98 " in line)
    assert row.split()[:5] == ["Days", "10.47", "1.502", "16.98", "6.968"]


def test_a_family_parameter_without_an_error():
    fit = make_fit(family="nbinom2", link="log", family_parameters={"size": 3.25})
    text = str(summarise(fit))
    assert "Family parameter (variance mu + mu^2 / size):" in text
    assert line_with(text, "size ").split() == ["size", "3.250", "-", "-", "-"]
    assert "boundary" not in re.sub(r'"-": .*', "", text)


def test_no_random_effects():
    text = str(summarise(make_fit(covariance=[], data=dict(groups={}))))
    assert "Random effects" not in text and "groups" not in text
    assert "Number of obs: 56\n" in text and "Fixed effects:" in text


def test_no_fixed_effects():
    assert "Fixed effects: none" in str(summarise(make_fit(fixed=[])))


def test_parts_of_the_model_have_tables_of_their_own():
    part = ("Intercept", *CBPP_FIXED[0][2:])
    fixed = [("zi", *part), ("disp", *part), *CBPP_FIXED, ("threshold", "1|2", *part[1:])]
    covariance = [("zi", *CBPP_SD[0][1:]), *CBPP_SD, ("cond", "g", "t", "", "range", 2, 1, 1, 3)]
    text = str(summarise(make_fit(fixed=fixed, covariance=covariance)))
    headings = (
        "Random effects:",
        "Other covariance parameters:",
        "Random effects (zero-inflation model):",
        "Fixed effects, conditional model:",
        "Fixed effects, zero-inflation model (logit link):",
        "Fixed effects, dispersion model (log link):",
        "Thresholds:",
    )
    places = [text.index(f"\n{heading}\n") for heading in headings]
    assert places == sorted(places)
    assert line_with(text, "g      t").split()[:4] == ["g", "t", "range", "2.000"]


def test_rows_dropped_and_why():
    data = dict(num_rows=70, num_used=56, num_dropped_missing=13, num_dropped_subset=1)
    data |= dict(dropped_columns=("b[T.2]", "x"))
    text = str(summarise(make_fit(data=data)))
    assert "56 of 70 rows used; dropped: 13 with missing values, 1 by subset" in text
    assert "Dropped from the fixed effects: b[T.2], x (zero, or" in text


@pytest.mark.parametrize(
    ("value", "printed"),
    [(-18140.0, "-18140.00"), (-1793.4651, "-1793.47"), (-92.02657, "-92.0266"), (0.0, "0.0000")],
)
def test_the_log_likelihood_keeps_its_digits(value, printed):
    assert f" {printed} " in str(summarise(make_fit(log_likelihood=value)))


def test_limits_are_at_the_level_asked_for():
    asked = []
    fit = make_fit(
        fixed_effects=lambda level: asked.append(level) or pd.DataFrame(CBPP_FIXED, columns=FIXED)
    )
    assert "conf.low, conf.high: 99.5% confidence limits" in str(summarise(fit, level=0.995))
    assert asked == [0.995]


def test_names_are_escaped():
    evil = "<script>alert('x')</script> & \"$a_b$\""
    fit = make_fit(
        formula=f"y ~ {evil} + (1 | herd)",
        fixed=[("cond", evil, *CBPP_FIXED[0][2:])],
        covariance=[("cond", evil, evil, None, "sd", *CBPP_SD[0][5:])],
        status="max_iterations",
        status_message=evil,
        converged=False,
        data=dict(groups={evil: 3}, levels={evil: [evil]}, contrasts={}, dropped_columns=(evil,)),
    )
    summary = summarise(fit)
    assert evil in str(summary)
    for source in (summary._repr_html_(), summary.to_html()):
        assert "<script" not in source and "alert('x')" not in source
        assert words_of(source).count(evil) >= 8
    assert "mathjax_ignore" in summary._repr_html_()


def test_names_cannot_break_a_line():
    summary = summarise(make_fit(fixed=[("cond", "a\nb\x1b[31m\u2028", *CBPP_FIXED[0][2:])]))
    assert r"a\nb\x1b[31m\u2028" in str(summary)
    assert r"a\nb\x1b[31m\u2028" in summary.to_html()


def test_a_formula_of_several_lines():
    text = str(summarise(make_fit(formula="\n  y ~ a +\n     b + (1 | g)\n")))
    assert "Formula: y ~ a + b + (1 | g)\n" in text
    text = str(summarise(make_fit(formula="y ~ " + " + ".join(f"predictor{i}" for i in range(9)))))
    assert "\n         predictor" in text


def test_long_names_have_a_line_of_their_own():
    name = "a_long_interaction[T.one]:with_another_factor[T.two]:and_a_third"
    text = str(summarise(make_fit(fixed=[*CBPP_FIXED, ("cond", name, *CBPP_FIXED[0][2:])])))
    lines = text.splitlines()
    after = lines[lines.index(name) + 1]
    (row,) = (line for line in lines if "-6.048" in line and "Intercept" in line)
    assert after == row.replace("Intercept", " " * 9)


def test_many_levels():
    levels = [f"level {i}" for i in range(2000)]
    text = str(summarise(make_fit(data=dict(levels={"f": levels}, groups={"f": 2000}))))
    assert "level 7, ... (2000 levels)" in " ".join(text.split())
    fixed = [("cond", f"f[T.{i}]", *CBPP_FIXED[i % 4][2:]) for i in range(2000)]
    assert str(summarise(make_fit(fixed=fixed))).count("f[T.") == 2000


def test_unicode_names_keep_the_columns():
    names = ["é", "処理群", "e\u0301te\u0301", "naïve", "x²"]
    fixed = [("cond", name, *CBPP_FIXED[0][2:]) for name in names]
    text = str(summarise(make_fit(fixed=fixed)))
    rows = [line for line in text.splitlines() if "-6.048" in line]
    assert len(rows) == len(names)
    assert len({display_width(row.split("-6.048")[0]) for row in rows}) == 1


def test_a_page_stands_alone():
    page = summarise(make_fit()).to_html()
    assert page.startswith("<!DOCTYPE html>") and page.rstrip().endswith("</html>")
    assert '<meta charset="utf-8">' in page and "incidence / size" in words_of(page)
    assert not re.search(r"(src|href|url|@import)\s*[=(]", page)


@pytest.mark.parametrize(
    ("values", "printed"),
    [
        ([251.4051, 10.46729], ["251.41", " 10.47"]),
        ([0.5, -12.25, 1e-9], ["  0.5000    ", "-12.250     ", "  1.0000e-09"]),
        ([0.999999, 2.0], ["1.000", "2.000"]),
        ([123456.7, 0.0], ["123457", "     0"]),
        ([12345678.9, INF, -INF], ["   1.2346e+07", " Inf", "-Inf"]),
        ([NAN, None, 1.5], ["-    ", "-    ", "1.500"]),
        ([pd.NA, 0.00012345], ["-       ", "0.0001234"]),
        ([], []),
    ],
)
def test_estimates(values, printed):
    got = numbers.estimates(values)
    assert [cell.rstrip() for cell in got] == [cell.rstrip() for cell in printed]
    assert len(set(map(len, got))) <= 1
    points = {cell.index(".") for cell in got if "." in cell}
    assert len(points) <= 1


@pytest.mark.parametrize(
    ("values", "printed"),
    [
        ([0.5, 0.0123], ["0.5000", "0.0123"]),
        ([0.00012, 0.3], ["0.000120", "   0.300"]),
        ([1.2e-9, 1e-16, 0.0, NAN], ["1.20e-09", "  <2e-16", "  <2e-16", "       -"]),
        ([1.0], ["1.00"]),
    ],
)
def test_p_values(values, printed):
    assert list(numbers.p_values(values)) == printed


def test_fixed_has_no_negative_zero():
    assert numbers.fixed([-1e-9, 1.0], 3) == ("0.000", "1.000")


def test_degrees_of_freedom():
    assert numbers.degrees_of_freedom([17.0, INF]) == (" 17", "Inf")
    assert numbers.degrees_of_freedom([17.0, 3.456]) == ("17.00", " 3.46")


def test_reports_need_neither_jax_nor_pandas():
    code = "import sys, jaxglmm.report as r; print(sorted({'jax', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
