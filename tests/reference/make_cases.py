"""Write cases.json and data/*.csv.gz from a folder of reference fits made with R.

    python tests/reference/make_cases.py FOLDER

FOLDER holds calls.json (the models in our words), cases/ID.json (the fits) and data/NAME.csv with
NAME.json (the rows; level orders and origin). Kept are the models that
Laplace's method and REML can fit with what jaxglmm has, on data that may be published;
the rest is listed with its reason. A case of cases.json has

- call: the arguments of `jaxglmm.glmm`, where "data" is a name; R_call, package: what was run.
- log_likelihood: the best of several optimisers; aic, bic, df, num_obs of that model.
- fixed: names (R's), estimate, se; se_kind "joint" (inverse Hessian in all parameters),
  "conditional" (given the covariance parameters) or "joint=conditional" (no such parameters).
  vcov_conditional: lme4's vcov given the covariance parameters, where there is one.
- random: group, names, sd and corr of each term; of a structure its name and the parameters in
  jaxglmm's order (sd, corr, range); family_parameters: in jaxglmm's words.
- random_effects: group, levels, terms, values and condsd of the first levels; condsd_kind
  "conditional" (given all parameters, lme4) or "joint" (with their uncertainty, glmmTMB).
- notes: what to know before comparing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BUNDLED = HERE.parents[1] / "jaxglmm" / "datasets" / "data"
FAMILIES = {"gaussian", "binomial", "poisson", "gamma", "inverse_gaussian", "nbinom2", "beta"}
METHODS = {"laplace", "reml"}
MAX_GZ_BYTES = 300_000
NUM_LEVELS = 10

Json = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="calls.json, cases/ and data/")
    folder = parser.parse_args().folder
    calls = read_json(folder / "calls.json")
    cases: dict[str, Json] = {}
    left_out: dict[str, str] = {}
    for name, call in sorted(calls.items()):
        source = read_json(folder / "cases" / f"{name}.json")
        about = read_json(folder / "data" / f"{call['data']}.json")
        reason = reason_to_skip(call, source, about) or keep_data(folder, call["data"], about)
        if reason:
            left_out[name] = reason
        else:
            cases[name] = compact(call, source)
    write_cases(cases)
    for name, reason in left_out.items():
        print(f"left out {name}: {reason}")
    print(f"{len(cases)} cases written")


def read_json(path: Path) -> Json:
    return json.loads(path.read_text(encoding="utf-8"))


def reason_to_skip(call: Json, source: Json, about: Json) -> str:
    """Why a model is not for this file; empty when it is."""
    if "not_comparable" in call:
        return call["not_comparable"]
    reasons = {
        f"family {call['family']}": call["family"] not in FAMILIES,
        f"method {call['method']}": call["method"] not in METHODS,
        "zero inflation": "zero_inflation" in call,
        "dispersion formula": call.get("dispersion", "~ 0") != "~ 0",
        "data not for publication": about["origin"].startswith("shared-only"),
        "R could not fit it": not {"fixef", "aic"} <= set(source["results"] or {}),
    }
    return next((text for text, holds in reasons.items() if holds), "")


def keep_data(folder: Path, name: str, about: Json) -> str:
    """Put the rows beside the cases unless the package has them; a reason when too many."""
    if (BUNDLED / f"{name}.csv").exists():
        return ""
    packed = gzip.compress((folder / "data" / f"{name}.csv").read_bytes(), 9, mtime=0)
    if len(packed) > MAX_GZ_BYTES:
        return f"{len(packed)} bytes of data"
    (HERE / "data").mkdir(exist_ok=True)
    (HERE / "data" / f"{name}.csv.gz").write_bytes(packed)
    record = {"source": about["source"], "note": about["note"], "factors": about["factors"]}
    (HERE / "data" / f"{name}.json").write_text(json.dumps(record) + "\n", encoding="utf-8")
    return ""


def compact(call: Json, source: Json) -> Json:
    results = source["results"]
    fixed, accurate = results["fixef"], results.get("se_accurate")
    best = source.get("loglik_best")
    other = independent(source)
    if other:
        fixed = {"names": fixed["names"], "estimate": other["fixef"], "se": other["se"]}
        results = results | criteria(best, results) | {"sigma": other["sigma"], "ranef": None}
    return {
        "call": call,
        "R_call": source["R_call"],
        "package": f"{source['package']} {source['package_version']}",
        "log_likelihood": results["loglik"] if best is None else best,
        "aic": results["aic"],
        "bic": results["bic"],
        "df": results["df"],
        "num_obs": results["nobs"],
        "fixed": {
            "names": fixed["names"],
            "estimate": fixed["estimate"],
            "se": accurate or fixed["se"],
            "se_kind": "conditional" if other else se_kind(source),
        },
        "vcov_conditional": results["vcov"] if is_linear(source) else results.get("vcov_rx"),
        "random": [random_term(term, source) for term in results.get("random") or []],
        "family_parameters": family_parameters(call["family"], results),
        "random_effects": [
            first_levels(one, source)
            for one in results.get("ranef") or []
            if "rr(" not in call["formula"]  # R gives the latent variables
        ],
        "notes": notes(source),
    }


def se_kind(source: Json) -> str:
    if source["package"] == "stats":
        return "joint=conditional"
    return "conditional" if is_linear(source) else "joint"


def is_linear(source: Json) -> bool:
    """A linear mixed model of lme4 or nlme, whose vcov() is given the covariance parameters."""
    return source["R_call"].startswith(("lmer(", "lme("))


def independent(source: Json) -> Json:
    """The fit by other R code where the package did not reach an optimum; else nothing."""
    preferred = source.get("preferred_reference") or ""
    return source["independent_check"] if preferred.startswith("independent_check") else {}


def criteria(log_likelihood: float, results: Json) -> Json:
    df, num_obs = results["df"], results["nobs"]
    aic, bic = (k * df - 2 * log_likelihood for k in (2, math.log(num_obs)))
    return {"loglik": log_likelihood, "aic": aic, "bic": bic}


def random_term(term: Json, source: Json) -> Json:
    corr, structure = term.get("corr"), term.get("structure", "us")
    if structure in ("us", "diag"):
        return {"group": term["group"], "names": term["names"], "sd": term["sd"], "corr": corr}
    own: Json = {"group": term["group"], "structure": structure}
    if structure in ("ou", "exp", "gau"):
        theta = source["results"]["internal_par"]["theta"]
        other = independent(source)
        sd, log_range = (other["sd"][0], other["corr_par"][0]) if other else (None, theta[1])
        sign = -1 if structure == "ou" else 1  # R has the log rate of decay
        return own | {"sd": [sd or term["sd"][0]], "range": [math.exp(sign * log_range)]}
    if structure == "ar1":
        return own | {"sd": term["sd"][:1], "corr": [corr[1][0]]}
    if structure == "cs":
        return own | {"sd": term["sd"], "corr": [corr[1][0]]}
    if structure == "toep":
        return own | {"sd": term["sd"], "corr": corr[0][1:]}
    below = [corr[i][j] for i in range(len(corr)) for j in range(i)]
    return own | {"sd": term["sd"], "corr": below}


def family_parameters(family: str, results: Json) -> dict[str, float]:
    """sigma() of R in jaxglmm's words: Var = phi mu^2 for gamma, mu + mu^2/size for nbinom2."""
    sigma = results.get("sigma")
    natural = {
        "gaussian": lambda: {"sigma": sigma},
        "gamma": lambda: {"phi": sigma**2},
        "nbinom2": lambda: {"size": sigma},
        "beta": lambda: {"phi": sigma},
    }
    return natural[family]() if family in natural and sigma is not None else {}


def first_levels(one: Json, source: Json) -> Json:
    keep = slice(NUM_LEVELS)
    return {
        "group": one["group"],
        "levels": one["levels"][keep],
        "terms": [position(term) for term in one["terms"]],
        "values": one["values"][keep],
        "condsd": (one.get("condsd") or [])[keep],
        "condsd_kind": "conditional" if source["package"] == "lme4" else "joint",
    }


def position(term: str) -> str:
    """`(3.1, 0)` for R's `numFactor(x, y)(3.1,0)`, `3` for `numFactor(t)(3)`."""
    found = re.fullmatch(r"numFactor\(.*?\)\((.*)\)", term)
    if not found:
        return term
    values = found[1].split(",")
    return values[0] if len(values) == 1 else f"({', '.join(values)})"


def notes(source: Json) -> list[str]:
    texts = [source.get("note"), source["model"].get("note"), source.get("loglik_best_source")]
    texts += [source.get("preferred_reference")]
    said = source["behaviour"]["warnings"] + source["behaviour"]["messages"]
    texts += [f"R's default call says: {text.strip()}" for text in said]
    return [text for text in texts if text and text != "results"]


def write_cases(cases: dict[str, Json]) -> None:
    """One line a field, so that a change shows as a change of that field."""
    blocks = []
    for name, case in cases.items():
        fields = ",\n".join(f"  {json.dumps(key)}: {json.dumps(case[key])}" for key in case)
        blocks.append(f" {json.dumps(name)}: {{\n{fields}\n }}")
    text = "{\n" + ",\n".join(blocks) + "\n}\n"
    (HERE / "cases.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
