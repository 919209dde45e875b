"""Write ratios.json, likelihood-ratio tests made with R, from a folder of reference figures.

    python tests/reference/make_ratios.py FOLDER

FOLDER holds post/ID.json: lme4's, glmmTMB's and ordinal's `anova` and `drop1`, and lmerTest's
`ranova`. An entry has

- data, arguments: of `jaxglmm.glmm`; formulas: of the models.
- log_likelihood, num_params, aic, bic: of each model, where R's table has them.
- statistic, df, p_value: of each model against the one before it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# file, data, arguments, formulas in our words
MODELS: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "lrt__cbpp": (
        "cbpp",
        {"family": "binomial"},
        [f"incidence / size ~ {x} + (1 | herd)" for x in ("1", "period")],
    ),
    "lrt__sleepstudy": (
        "sleepstudy",
        {},
        [f"Reaction ~ Days + ({b} Subject)" for b in ("1 |", "Days ||", "Days |")],
    ),
    "lrt__Early": (
        "Early",
        {},
        [f"cog ~ {x} + (tos | id)" for x in ("tos", "tos + trt", "tos * trt")],
    ),
    "lrt__Salamanders": (
        "Salamanders",
        {"family": "poisson"},
        [f"count ~ {x} + (1 | site)" for x in ("spp + mined", "spp * mined")],
    ),
    "lrt__wine_clmm": (
        "wine",
        {"family": "cumulative"},
        [f"rating ~ {x} + (1 | judge)" for x in ("temp", "temp + contact")],
    ),
}
# of satt_kr__ID's ranova: data, formula, {R's row: our random part without it}
LEFT_OUT: dict[str, tuple[str, dict[str, str]]] = {
    "sleepstudy": ("Reaction ~ Days + {}", {"Days in (Days | Subject)": "(1 | Subject)"}),
    "Orthodont": ("distance ~ age * Sex + {}", {"age in (age | Subject)": "(1 | Subject)"}),
    "Early": ("cog ~ tos * trt + {}", {"tos in (tos | id)": "(1 | id)"}),
    "Oats": (
        "yield ~ Variety * fnitro + {}",
        {"(1 | Variety:Block)": "(1 | Block)", "(1 | Block)": "(1 | Block:Variety)"},
    ),
    "cake": (
        "angle ~ recipe + temp + {}",
        {
            "(1 | recipe:replicate)": "(1 | replicate)",
            "(1 | replicate)": "(1 | replicate:recipe)",
        },
    ),
}
WHOLE = {
    "sleepstudy": "(Days | Subject)",
    "Orthodont": "(age | Subject)",
    "Early": "(tos | id)",
    "Oats": "(1 | Block/Variety)",
    "cake": "(1 | replicate/recipe)",
}
DROPPED = ("trt", "week2")  # of drop1__bacteria_glmer: one entry each

Json = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="post/")
    folder = parser.parse_args().folder / "post"
    found = {name: _anova(folder, name) for name in MODELS}
    found |= {f"drop1__bacteria_{term}": _drop1(folder, term) for term in DROPPED}
    for name, (_, rows) in LEFT_OUT.items():
        for i, row in enumerate(rows):
            found[f"ranova__{name}_{i}"] = _ranova(folder, name, row)
    text = json.dumps(found, indent=1)
    (HERE / "ratios.json").write_text(text + "\n", encoding="utf-8")


def _results(folder: Path, name: str) -> Json:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["results"]


def _anova(folder: Path, name: str) -> Json:
    data, arguments, formulas = MODELS[name]
    call = {"data": data, "arguments": arguments, "formulas": formulas}
    results = _results(folder, name)
    if "table" not in results:
        tests = {"statistic": "chisq", "df": "df", "p_value": "p"}
        return call | {
            "log_likelihood": results["loglik"],
            **{ours: [results[theirs]] for ours, theirs in tests.items()},
        }
    rows = results["table"]
    names = {"num_params": ("npar", "Df"), "aic": ("AIC",), "bic": ("BIC",)}
    tests = {
        "statistic": ("Chisq",),
        "df": ("Chi Df", "Df"),  # of a table with both, Df is the number of parameters
        "p_value": ("Pr(>Chisq)",),
    }
    columns = {ours: [_first(row, theirs) for row in rows] for ours, theirs in names.items()}
    own = {ours: [_first(row, theirs) for row in rows[1:]] for ours, theirs in tests.items()}
    return call | {"log_likelihood": results["loglik"]} | columns | own


def _drop1(folder: Path, term: str) -> Json:
    rows = {row["row"]: row for row in _results(folder, "drop1__bacteria_glmer")["table"]}
    left = next(other for other in DROPPED if other != term)
    return {
        "data": "bacteria",
        "arguments": {"family": "binomial"},
        "formulas": [f"yy ~ {x} + (1 | ID)" for x in (left, " + ".join(DROPPED))],
        "aic": [rows[term]["AIC"], rows["<none>"]["AIC"]],
        "statistic": [rows[term]["LRT"]],
        "df": [rows[term]["npar"]],
        "p_value": [rows[term]["Pr(Chi)"]],
    }


def _ranova(folder: Path, name: str, left_out: str) -> Json:
    formula, parts = LEFT_OUT[name]
    table = {row["row"]: row for row in _results(folder, f"satt_kr__{name}")["ranova"]}
    rows = [table[left_out], table["<none>"]]
    return {
        "data": name,
        "arguments": {"method": "reml"},
        "formulas": [formula.format(part) for part in (parts[left_out], WHOLE[name])],
        "log_likelihood": [row["logLik"] for row in rows],
        "num_params": [row["npar"] for row in rows],
        "aic": [row["AIC"] for row in rows],
        "statistic": [rows[0]["LRT"]],
        "df": [rows[0]["Df"]],
        "p_value": [rows[0]["Pr(>Chisq)"]],
    }


def _first(row: Json, names: tuple[str, ...]) -> Any:
    return next(row[name] for name in names if name in row)


if __name__ == "__main__":
    main()
