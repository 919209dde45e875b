"""Write limits.json, profile and Wald limits made with R, from a folder of reference figures.

    python tests/reference/make_limits.py FOLDER

FOLDER holds post/ID.json: lme4's `confint` and, where the profile of glmmTMB's is a coarse one, its
`confint(method = "uniroot")`. An entry has

- data, formula, family: of `jaxglmm.glmm`.
- limits: {parameter: [2.5 %, 97.5 %]} of profiles; limits_90 with 5 % and 95 %.
- wald: [2.5 %, 97.5 %] of the coefficients, and of glmmTMB's standard deviation after them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# file, the table in it, data, formula, family, our names of R's rows in their order
MODELS: list[tuple[str, str, str, str, str, list[str]]] = [
    (
        "confint__Dyestuff",
        "profile",
        "Dyestuff",
        "Yield ~ 1 + (1 | Batch)",
        "gaussian",
        ["sd(Batch, Intercept)", "sigma", "Intercept"],
    ),
    (
        "confint__Pastes",
        "profile",
        "Pastes",
        "strength ~ 1 + (1 | batch/cask)",
        "gaussian",
        ["sd(batch:cask, Intercept)", "sd(batch, Intercept)", "sigma", "Intercept"],
    ),
    (
        "confint__sleepstudy",
        "profile",
        "sleepstudy",
        "Reaction ~ Days + (Days | Subject)",
        "gaussian",
        [
            "sd(Subject, Intercept)",
            "corr(Subject, Days, Intercept)",
            "sd(Subject, Days)",
            "sigma",
            "Intercept",
            "Days",
        ],
    ),
    (
        "confint__cbpp",
        "profile",
        "cbpp",
        "incidence / size ~ period + (1 | herd)",
        "binomial",
        ["sd(herd, Intercept)", "Intercept", "period[T.2]", "period[T.3]", "period[T.4]"],
    ),
    (
        "confint__Owls_nbinom2",
        "uniroot",
        "Owls",
        "SiblingNegotiation ~ FoodTreatment * SexParent + offset(logBroodSize) + (1 | Nest)",
        "nbinom2",
        ["Intercept", "FoodTreatment[T.Satiated]", "SexParent[T.Male]"],
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="post/")
    folder = parser.parse_args().folder / "post"
    found = {}
    for name, table, data, formula, family, parameters in MODELS:
        text = (folder / f"{name}.json").read_text(encoding="utf-8")
        results: dict[str, list[dict[str, Any]]] = json.loads(text)["results"]
        limits = _limits(results[table], parameters, ("2.5 %", "97.5 %"))
        found[name] = {"data": data, "formula": formula, "family": family, "limits": limits}
        if "profile_90" in results:
            found[name]["limits_90"] = _limits(results["profile_90"], parameters, ("5 %", "95 %"))
        found[name]["wald"] = _wald(results["wald"])
    text = json.dumps(found, indent=1)
    (HERE / "limits.json").write_text(text + "\n", encoding="utf-8")


def _limits(
    rows: list[dict[str, Any]], parameters: list[str], columns: tuple[str, str]
) -> dict[str, list[float]]:
    pairs = zip(parameters, rows, strict=True)
    return {ours: [row[column] for column in columns] for ours, row in pairs}


def _wald(rows: list[dict[str, Any]]) -> list[list[float]]:
    """lme4 has none of covariance parameters."""
    return [[row["2.5 %"], row["97.5 %"]] for row in rows if row["2.5 %"] is not None]


if __name__ == "__main__":
    main()
