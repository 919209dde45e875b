"""Write predictions.json, figures about fitted models made with R, from a folder of references.

    python tests/reference/make_predictions.py FOLDER

FOLDER holds calls.json, cases/ID.json (glmmTMB's `predict(se.fit = TRUE)`) and post/ID.json (lme4's
`ranef(condVar = TRUE)`, performance 0.10's `icc` and `r2`). The file has

- new_data: ID -> call, newdata, and by scale and kind estimates `fit` with their errors `se`.
- condvar: ID -> call, and by group levels, modes and variances (level, term, term).
- shares: ID -> call, ICCs, R2s and the variance of an observation.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from make_cases import keep_data

HERE = Path(__file__).parent
CASES = (
    "binomial__cbpp__probit_laplace_glmmTMB",
    "nbinom2__epil__glmmTMB",
    "zip__Owls__zi_random",
    "zigamma__Owls__negperchick",
)
# glmmTMB leaves the random effects of a zero-inflation formula in at re.form = NA.
KEPT = {"zip__Owls__zi_random": ("response_no_re",)}
CALLS: dict[str, dict[str, Any]] = {
    "cbpp": {
        "data": "cbpp",
        "formula": "incidence / size ~ period + (1 | herd)",
        "family": "binomial",
    },
    "sleepstudy": {
        "data": "sleepstudy",
        "formula": "Reaction ~ Days + (Days | Subject)",
        "method": "reml",
    },
    "Penicillin": {
        "data": "Penicillin",
        "formula": "diameter ~ 1 + (1 | plate) + (1 | sample)",
        "method": "reml",
    },
    "grouseticks": {
        "data": "grouseticks",
        "formula": "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)",
        "family": "poisson",
    },
    "epil_poisson": {
        "data": "epil",
        "formula": "y ~ lbase * trt + lage + V4 + (1 | subject)",
        "family": "poisson",
    },
    "ScotsSec": {
        "data": "ScotsSec",
        "formula": "attain ~ verbal + sex + (1 | primary) + (1 | second)",
        "method": "reml",
    },
    "Salamanders_poisson": {
        "data": "Salamanders",
        "formula": "count ~ spp * mined + (1 | site)",
        "family": "poisson",
    },
}
_SHARES = ("icc_adjusted", "icc_unadjusted", "r2_conditional", "r2_marginal")

Json = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    calls = _read(folder / "calls.json")
    for call in CALLS.values():
        about = _read(folder / "data" / f"{call['data']}.json")
        if reason := keep_data(folder, call["data"], about):
            raise SystemExit(f"{call['data']}: {reason}")
    found = {
        "new_data": {name: _new_data(folder, name, calls[name]) for name in CASES},
        "condvar": {
            name: {"call": call, "groups": _groups(_post(folder, f"condvar__{name}"))}
            for name, call in CALLS.items()
            if (folder / "post" / f"condvar__{name}.json").exists()
        },
        "shares": {
            name: {"call": call, **_shares(_post(folder, f"r2icc__{name}"))}
            for name, call in CALLS.items()
            if (folder / "post" / f"r2icc__{name}.json").exists()
        },
    }
    text = json.dumps(found, indent=1)
    (HERE / "predictions.json").write_text(text + "\n", encoding="utf-8")


def _read(path: Path) -> Json:
    return json.loads(path.read_text(encoding="utf-8"))


def _post(folder: Path, name: str) -> Json:
    return _read(folder / "post" / f"{name}.json")["results"]


def _new_data(folder: Path, name: str, call: Json) -> Json:
    figures = _read(folder / "cases" / f"{name}.json")["results"]["predict_new"]
    wanted = [f"{s}_{k}_re" for s in ("link", "response") for k in ("with", "no")]
    own = {key: figures[key] for key in wanted if key in figures}
    for key in KEPT.get(name, ()):
        del own[key]
    return {"call": call, "newdata": figures["newdata"], **own}


def _groups(results: Json) -> list[Json]:
    names = ("group", "levels", "condval", "condvar")
    return [{name: group[name] for name in names} for group in results["groups"]]


def _shares(results: Json) -> Json:
    parts = results["variance_components"]
    return {name: results[name] for name in _SHARES} | {
        "var_observation": parts["var.distribution"][0],
        "var_random": parts["var.random"][0],
        "var_fixed": parts["var.fixed"][0],
    }


if __name__ == "__main__":
    main()
