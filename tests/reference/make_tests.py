"""Write tests.json, tests of coefficients and terms made with R, from a folder of figures.

    python tests/reference/make_tests.py FOLDER

FOLDER holds post/ID.json: tables of lmerTest (Satterthwaite), pbkrtest (Kenward-Roger), car and
nlme. An entry has

- data, formula, arguments: of `jaxglmm.glmm`.
- coefficients: by df of `fixed_effects`, its columns.
- covariance: matrices by kind of `vcov`.
- anova: the arguments of `anova`, and the terms with statistic, den_df and p_value.
- together: the terms that `coef_test` takes at once, its arguments and its row.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REML = {"method": "reml"}
LINEAR = {
    "sleepstudy": "Reaction ~ Days + (Days | Subject)",
    "Oats": "yield ~ Variety * fnitro + (1 | Block/Variety)",
    "Early": "cog ~ tos * trt + (tos | id)",
    "Orthodont": "distance ~ age * Sex + (age | Subject)",
    "cake": "angle ~ recipe + temp + (1 | replicate/recipe)",
}
OTHERS = {
    "Oats_lmer": ("Oats", LINEAR["Oats"], REML),
    "Salamanders_poisson": (
        "Salamanders",
        "count ~ spp * mined + (1 | site)",
        {"family": "poisson"},
    ),
    "bacteria_glmer": ("bacteria", "yy ~ trt + week2 + (1 | ID)", {"family": "binomial"}),
    "cbpp_glmer": ("cbpp", "incidence / size ~ period + (1 | herd)", {"family": "binomial"}),
}
# lmerTest's type II is car's where no factor stands in an interaction with a number.
SAME_TYPE_TWO = ("sleepstudy", "Oats", "cake")
# lmerTest's type I is nlme's where the design is balanced; of Oats its last term's is 0.4 % off its
# own types II and III.
SAME_TYPE_ONE = ("sleepstudy", "cake")
CAR = {
    "type2": {"type": "II", "test": "chisq"},
    "type3_treatment_contrasts": {"type": "marginal", "test": "chisq"},
    "type3_sum_contrasts": {"type": "III", "test": "chisq"},
    "type2_F_KR": {"type": "II", "df": "kenward_roger"},
    "type3_sum_F_KR": {"type": "III", "df": "kenward_roger"},
}

Json = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="that of post/")
    folder = parser.parse_args().folder / "post"
    found = {name: _linear(folder, name) for name in LINEAR}
    found |= {f"anova_{name}": _car(folder, name) for name in OTHERS}
    found["nlme_Orthodont"] = _nlme(folder, "Orthodont")
    found["Oats"]["together"] = _together(folder, "Oats")
    text = json.dumps(found, indent=1)
    (HERE / "tests.json").write_text(text + "\n", encoding="utf-8")


def _results(folder: Path, name: str) -> Json:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["results"]


def _linear(folder: Path, name: str) -> Json:
    results = _results(folder, f"satt_kr__{name}")
    wanted = [("III", "satterthwaite", "satt"), ("III", "kenward_roger", "KR")]
    if name in SAME_TYPE_TWO:
        wanted.append(("II", "satterthwaite", "satt"))
    if name in SAME_TYPE_ONE:
        wanted.append(("I", "satterthwaite", "satt"))
    return {
        "data": name,
        "formula": LINEAR[name],
        "arguments": REML,
        "coefficients": {
            "satterthwaite": _columns(results["coef_satterthwaite"]),
            "kenward_roger": _columns(results["coef_KR"]),
        },
        "covariance": {"kenward_roger": results["vcov_KR"], "conditional": results["vcov"]},
        "anova": [
            {"type": kind, "df": df, **_terms(results[f"anova_{kind}_{short}"])}
            for kind, df, short in wanted
        ],
    }


def _car(folder: Path, name: str) -> Json:
    results = _results(folder, f"anova23__{name}")
    data, formula, arguments = OTHERS[name]
    return {
        "data": data,
        "formula": formula,
        "arguments": arguments,
        "coefficients": {},
        "anova": [CAR[key] | _terms(results[key]) for key in CAR if key in results],
    }


def _nlme(folder: Path, name: str) -> Json:
    """F alone: nlme's degrees of freedom are by its rule of inner and outer terms."""
    results = _results(folder, f"anova_lme__{name}")
    kinds = {"marginal": "marginal", "I": "sequential"}
    return {
        "data": name,
        "formula": LINEAR[name],
        "arguments": REML,
        "coefficients": {},
        "anova": [
            {"type": ours, "vcov": "conditional", **_terms(results[theirs])}
            | {"den_df": [None], "p_value": [None]}
            for ours, theirs in kinds.items()
        ],
    }


def _together(folder: Path, name: str) -> Json:
    """pbkrtest's comparison with the model that lacks the interactions."""
    stats = _results(folder, f"krmodcomp__{name}")["KR_stats"]
    names = {"statistic": "Fstat", "num_df": "ndf", "den_df": "ddf", "p_value": "p.value"}
    return {
        "terms": ":",
        "df": "kenward_roger",
        "row": [stats[theirs] for theirs in names.values()],
    }


def _columns(rows: list[Json]) -> Json:
    names = {
        "estimate": "Estimate",
        "std_error": "Std. Error",
        "df": "df",
        "statistic": "t value",
        "p_value": "Pr(>|t|)",
    }
    return {ours: [row[theirs] for row in rows] for ours, theirs in names.items()}


def _terms(rows: list[Json]) -> Json:
    rows = [row for row in rows if row["row"] != "Residuals"]
    terms = [row["row"].replace("(Intercept)", "Intercept") for row in rows]
    names = {
        "statistic": ("F value", "F-value", "F", "Chisq"),
        "num_df": ("NumDF", "numDF", "Df"),
        "den_df": ("DenDF", "Df.res"),
        "p_value": ("Pr(>F)", "Pr(>Chisq)"),
    }
    return {"terms": terms} | {
        ours: [_first(row, theirs) for row in rows] for ours, theirs in names.items()
    }


def _first(row: Json, names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if name in row), None)


if __name__ == "__main__":
    main()
