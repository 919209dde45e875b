"""Write means.json, marginal means made with R, from a folder of reference figures.

    python tests/reference/make_means.py FOLDER

FOLDER holds post/ID.json: tables of emmeans, and of multcomp's `glht`. An entry is a model with

- data, formula, arguments: of `jaxglmm.glmm`.
- tables: of marginal means. `asked` are the arguments of `emmeans` (or of `emtrends`, which has
  `var`), `then` those of `contrast`, or "cld", or "joint_tests"; `columns` the figures under our
  names, `labels` the contrasts, `letters` those of the display.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
COLUMNS = {
    "estimate": (
        "emmean",
        "prob",
        "rate",
        "response",
        "estimate",
        "odds.ratio",
        "ratio",
        "mean.class",
        "temp.trend",
        "age.trend",
    ),
    "std_error": ("SE",),
    "df": ("df",),
    "statistic": ("z.ratio", "t.ratio"),
    "p_value": ("p.value",),
    "conf_low": ("asymp.LCL", "lower.CL"),
    "conf_high": ("asymp.UCL", "upper.CL"),
}
JOINT = {"statistic": "F.ratio", "num_df": "df1", "den_df": "df2", "p_value": "p.value"}
Json = dict[str, Any]


class Model(NamedTuple):
    """file, data, formula, arguments in our words; (key, our arguments) of whole blocks of tables,
    and (key, our arguments, what then) of single ones."""

    file: str
    data: str
    formula: str
    arguments: Json
    blocks: list[tuple[str, Json]]
    tables: list[tuple[str, Json, Any]]


# glmmTMB's means have t on the rows less all parameters.
MODELS = {
    "cbpp": Model(
        "emm__cbpp_period",
        "cbpp",
        "incidence / size ~ period + (1 | herd)",
        {"family": "binomial"},
        [("emm", {"specs": "period"})],
        [
            ("vs_control", {"specs": "period", "scale": "response"}, {"method": "trt.vs.ctrl"}),
            ("eff", {"specs": "period"}, {"method": "eff"}),
            ("poly", {"specs": "period"}, {"method": "poly"}),
            ("consec", {"specs": "period"}, {"method": "consec"}),
        ],
    ),
    "Contraception": Model(
        "emm__Contraception",
        "Contraception",
        "y ~ age + age2 + urban + livch + (1 | district)",
        {"family": "binomial"},
        [("livch", {"specs": "livch"})],
        [
            (
                "livch_proportional",
                {"specs": "livch", "weights": "proportional", "scale": "response"},
                None,
            ),
            (
                "at",
                {
                    "specs": "~ urban * age",
                    "at": {"age": [-10, 0, 10], "age2": [100, 0]},
                    "scale": "response",
                },
                None,
            ),
        ],
    ),
    "GasolineYield": Model(
        "emm__GasolineYield_beta",
        "GasolineYield",
        "yield ~ temp + (1 | batch)",
        {"family": "beta"},
        [],
        [
            (
                "at",
                {"specs": "temp", "at": {"temp": [250, 300, 350]}, "scale": "response", "df": 28},
                None,
            ),
            ("trend", {"specs": "1", "var": "temp", "df": 28}, None),
        ],
    ),
    "Oats": Model(
        "emm__Oats",
        "Oats",
        "yield ~ Variety + fnitro + (1 | Block/Variety)",
        {"method": "reml"},
        [
            ("asymptotic", {"specs": "Variety"}),
            ("satterthwaite", {"specs": "Variety", "df": "satterthwaite"}),
            ("kenward_roger", {"specs": "fnitro", "df": "kenward_roger"}),
        ],
        [],
    ),
    "Oats_interaction": Model(
        "emm__Oats_interaction",
        "Oats",
        "yield ~ Variety * fnitro + (1 | Block/Variety)",
        {"method": "reml"},
        [("by", {"specs": "~ Variety | fnitro", "df": "kenward_roger"})],
        [("all", {"specs": "Variety * fnitro"}, None)],
    ),
    "Orthodont": Model(
        "emm__Orthodont_trends",
        "Orthodont",
        "distance ~ age * Sex + (age | Subject)",
        {"method": "reml"},
        [("means_at_age11", {"specs": "Sex", "at": {"age": 11}, "df": "satterthwaite"})],
        [
            ("trends", {"specs": "Sex", "var": "age", "df": "satterthwaite"}, None),
            ("pairs", {"specs": "Sex", "var": "age", "df": "satterthwaite"}, {}),
        ],
    ),
    "Owls": Model(
        "emm__Owls_zinb",
        "Owls",
        "SiblingNegotiation ~ FoodTreatment * SexParent + offset(logBroodSize) + (1 | Nest)",
        {"family": "nbinom2", "zero_inflation": "~ FoodTreatment"},
        [("cond", {"specs": "FoodTreatment * SexParent", "df": 591})],
        [
            (
                "zi",
                {"specs": "FoodTreatment", "component": "zi", "scale": "response", "df": 591},
                None,
            )
        ],
    ),
    "Salamanders": Model(
        "emm__Salamanders_poisson",
        "Salamanders",
        "count ~ spp * mined + (1 | site)",
        {"family": "poisson"},
        [
            ("mined_by_spp", {"specs": "~ mined | spp", "df": 629}),
            ("spp", {"specs": "spp", "df": 629}),
        ],
        [],
    ),
    "grouseticks": Model(
        "emm__grouseticks",
        "grouseticks",
        "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)",
        {"family": "poisson"},
        [("year", {"specs": "YEAR"})],
        [
            ("vs_control", {"specs": "YEAR", "scale": "response"}, {"method": "trt.vs.ctrl"}),
            ("poly", {"specs": "YEAR"}, {"method": "poly"}),
        ],
    ),
    "wine": Model(
        "emm__wine_clmm",
        "wine",
        "rating ~ temp + contact + (1 | judge)",
        {"family": "cumulative"},
        [],
        [
            ("latent", {"specs": "temp"}, None),
            ("pairs", {"specs": "temp"}, {}),
            ("prob", {"specs": "~ rating | temp", "mode": "prob"}, None),
            ("mean_class", {"specs": "temp", "mode": "mean_class"}, None),
        ],
    ),
}
# of a block: key, further arguments of emmeans, what then
BLOCK = [
    ("link", {}, None),
    ("response", {"scale": "response"}, None),
    ("pairs_link", {}, {}),
    ("pairs_response", {"scale": "response"}, {}),
    ("pairs_none", {}, {"adjust": "none"}),
    ("pairs_bonferroni", {}, {"adjust": "bonferroni"}),
    ("pairs_holm", {}, {"adjust": "holm"}),
    ("joint_test", {}, "joint_tests"),
    ("cld", {}, "cld"),
]
# p-values of glht: single-step, plain, Holm's and of all at once
SINGLE_STEP = {"cbpp": ("glht__cbpp_tukey", "period"), "Oats": ("glht__Oats_tukey", "fnitro")}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="its post/")
    folder = parser.parse_args().folder / "post"
    found = {name: _model(folder, model) for name, model in MODELS.items()}
    for name, (file, specs) in SINGLE_STEP.items():
        found[name]["tables"] += _glht(_results(folder, file), specs)
    lines = [f" {json.dumps(name)}: {_written(entry)}" for name, entry in found.items()]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (HERE / "means.json").write_text(text, encoding="utf-8")


def _written(entry: Json) -> str:
    """A line a table."""
    tables = ",\n   ".join(json.dumps(table) for table in entry["tables"])
    head = json.dumps({k: v for k, v in entry.items() if k != "tables"})
    return f'{head[:-1]}, "tables": [\n   {tables}\n  ]}}'


def _results(folder: Path, name: str) -> Json:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["results"]


def _model(folder: Path, model: Model) -> Json:
    results = _results(folder, model.file)
    tables = []
    for key, asked in model.blocks:
        block = results[key]
        for name, more, then in BLOCK:
            if name in block:
                tables.append(_table(block[name], asked | more, then))
    for key, asked, then in model.tables:
        tables.append(_table(results[key], asked, then))
    return {
        "data": model.data,
        "formula": model.formula,
        "arguments": model.arguments,
        "tables": tables,
    }


def _table(table: Any, asked: Json, then: Any) -> Json:
    rows = table["table"] if isinstance(table, dict) else table
    names = {k: (v,) for k, v in JOINT.items()} if then == "joint_tests" else COLUMNS
    columns = {
        ours: [row[name] for row in rows]
        for ours, theirs in names.items()
        for name in theirs
        if name in rows[0]
    }
    found: Json = {"asked": asked, "then": then, "columns": columns}
    if "contrast" in rows[0]:
        found["labels"] = [row["contrast"] for row in rows]
    if ".group" in rows[0]:
        found["letters"] = [row[".group"].strip() for row in rows]
    return found


def _glht(results: Json, specs: str) -> list[Json]:
    """In glht's order each mean but the first less each before it, as "revpairwise" is."""
    found, asked = [], {"specs": specs}
    for key, method in (("tukey", "revpairwise"), ("dunnett", "trt.vs.ctrl")):
        own = results.get(key)
        if own is None:
            continue
        for adjust, p in (("mvt", "single_step"), ("none", "univariate"), ("holm", "holm")):
            columns = {
                "estimate": own["estimate"],
                "std_error": own["se"],
                "statistic": own["stat"],
                "p_value": own[f"p_{p}"],
            }
            then = {"method": method, "adjust": adjust}
            found.append({"asked": asked, "then": then, "columns": columns})
        joint = {
            "statistic": [own["chisq"] / own["chisq_df"]],
            "num_df": [own["chisq_df"]],
            "p_value": [own["chisq_p"]],
        }
        found.append({"asked": asked, "then": "joint_tests", "columns": joint})
    if "cld" in results:
        shown = list(results["cld"].values())
        found.append({"asked": asked, "then": "cld", "columns": {}, "letters": shown})
    return found


if __name__ == "__main__":
    main()
