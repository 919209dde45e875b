"""Write cases.json and data/*.csv.gz from a folder of reference fits made with R.

    python tests/reference/make_cases.py FOLDER

FOLDER holds calls.json (the models in our words), cases/ID.json (the fits) and data/NAME.csv with
NAME.json (the rows; level orders and origin). Kept are the models that
Laplace's method, REML and quadrature can fit with what jaxglmm has, on data that may be published;
the rest is listed with its reason. A case of cases.json has

- call: the arguments of `jaxglmm.glmm`, where "data" is a name; R_call, package: what was run.
- log_likelihood: the best of several optimisers; aic, bic, df, num_obs of that model.
- fixed: names (R's), estimate, se; se_kind "joint" (inverse Hessian in all parameters),
  "conditional" (given the covariance parameters) or "joint=conditional" (no such parameters).
  thresholds: of an ordinal response, names, estimate and se.
  further: the same of the dispersion ("disp", in our words) and zero-inflation ("zi") formulas.
  vcov_conditional: lme4's vcov given the covariance parameters, where there is one.
- random: group, names, sd and corr of each term; of a structure its name and the parameters in
  jaxglmm's order (sd, corr, range); family_parameters: in jaxglmm's words.
- random_effects: group, levels, terms, values and condsd of the first levels; condsd_kind
  "conditional" (given all parameters: lme4, ordinal) or "joint" (with their uncertainty:
  glmmTMB).
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
FAMILIES = {
    *("gaussian", "binomial", "poisson", "gamma", "inverse_gaussian", "beta", "betabinomial"),
    *("nbinom1", "nbinom2", "genpois", "compois", "student_t", "lognormal", "skew_normal"),
    *("truncated_poisson", "truncated_nbinom1", "truncated_nbinom2"),
    *("ordered_beta", "tweedie", "cumulative"),
}
METHODS = {"laplace", "reml", "agq"}
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
        # lme4 places the nodes by the expected information, which 25 of them do not forgive.
        "nodes of other places": (call["method"], call["link"]) == ("agq", "cauchit"),
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
    fixed, accurate = results["fixef"], results.get("se_accurate") or unscaled(results)
    full = results.get("loglik_full")  # what nAGQ > 1 leaves out is in it
    best = source.get("loglik_best") if full is None or call["method"] != "agq" else full
    if full is not None and best == full:
        results = results | criteria(best, results)
    first = len(results.get("alpha") or [])  # thresholds come before the coefficients
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
            "names": fixed["names"][first:],
            "estimate": fixed["estimate"][first:],
            "se": (accurate or fixed["se"])[first:],
            "se_kind": "conditional" if other else se_kind(source),
        },
        **({"thresholds": thresholds(results)} if call["family"] == "cumulative" else {}),
        "further": further(call, results),
        "vcov_conditional": results["vcov"] if is_linear(source) else results.get("vcov_rx"),
        "random": [random_term(term, source) for term in results.get("random") or []],
        "family_parameters": family_parameters(call, results),
        "random_effects": [
            first_levels(one, source)
            for one in results.get("ranef") or []
            if "rr(" not in call["formula"]  # R gives the latent variables
        ],
        "notes": notes(source),
    }


def thresholds(results: Json) -> Json:
    """Names, values and errors, by the delta method from the parameters of the thresholds."""
    jacobian = results["threshold_jacobian"]
    size = range(len(jacobian[0]))
    variances = [
        sum(row[i] * results["vcov"][i][j] * row[j] for i in size for j in size) for row in jacobian
    ]
    named = results["thresholds"]
    return {
        "names": list(named),
        "estimate": list(named.values()),
        "se": [math.sqrt(variance) for variance in variances],
    }


def unscaled(results: Json) -> list[float] | None:
    """nlme's errors under ML without the factor sqrt(n / (n - p)) that its summary has."""
    matrix = results.get("varFix")
    return None if matrix is None else [math.sqrt(row[i]) for i, row in enumerate(matrix)]


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
        own = {"group": term["group"], "names": term["names"], "sd": term["sd"], "corr": corr}
        return own | component(term)
    own = {"group": term["group"], "structure": structure}
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


def component(part: Json) -> Json:
    """The formula that a random term stands in, where it is not the main one."""
    own = part.get("component", "cond")
    return {} if own == "cond" else {"component": own}


def further(call: Json, results: Json) -> Json:
    """Coefficients of the other formulas: log sigma of gaussian where R has the log variance (or a
    ratio of deviations), log phi of gamma where it has the log shape."""
    factor = {"gaussian": 0.5, "gamma": -1.0}.get(call["family"], 1.0)
    found = {}
    for name, scale in (("disp", factor), ("zi", 1.0)):
        own = results.get(f"fixef_{name}")
        if own and call.get("dispersion" if name == "disp" else "zero_inflation", "~ 0") != "~ 0":
            estimate = [scale * value for value in own["estimate"]]
            se = [abs(scale) * value for value in own["se"]]
            found[name] = {"names": own["names"], "estimate": estimate, "se": se}
    if results.get("var_struct"):
        ratios = results["var_struct"]
        logs = [math.log(value) for value in (results["sigma"], *ratios["par"])]
        found["disp"] = {"names": ["(Intercept)", *ratios["names"]], "estimate": logs, "se": None}
    return found


def family_parameters(call: Json, results: Json) -> dict[str, float]:
    """sigma() of R in jaxglmm's words: Var = phi mu^2 for gamma, mu + mu^2/size for nbinom2."""
    if call.get("dispersion", "~ 0") != "~ 0":
        return {}
    family, sigma = call["family"], results.get("sigma")
    natural = {
        "gaussian": lambda: {"sigma": sigma},
        "gamma": lambda: {"phi": sigma**2},
        "nbinom2": lambda: {"size": sigma},
        "beta": lambda: {"phi": sigma},
        "betabinomial": lambda: {"phi": sigma},
        "nbinom1": lambda: {"phi": sigma},
        "genpois": lambda: {"phi": sigma},
        "student_t": lambda: {"sigma": sigma, "df": math.exp(results["internal_par"]["psi"][0])},
        "compois": lambda: {"phi": sigma},
        "tweedie": lambda: {"phi": sigma, "power": results["family_params"]["Tweedie power"]},
        "ordered_beta": lambda: (
            {"phi": sigma}
            | {
                f"{end}_cutoff": results["family_params"][f"{end} cutoff"]
                for end in ("lower", "upper")
            }
        ),
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
        "condsd_kind": "conditional" if source["package"] in ("lme4", "ordinal") else "joint",
    } | component(one)


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
