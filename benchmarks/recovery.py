"""Do the fits find the parameters that data were drawn from? Simulated data sets of every family.

    python -m benchmarks.recovery [--laws binomial beta:probit beta+disp ...] [--replicates 1000]

Every data set is fitted by the engine and by exact maximum likelihood (Gauss and Hermite's rule
with many nodes): `tests/core/recovery.py`, which needs the test tools. Rows of the laws that ran
replace theirs in results/recovery.json, .csv; those of the others stay.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine, store

FURTHER = (
    "poisson+zi",
    "nbinom2+zi",
    "genpois+zi",
    "binomial+zi",
    "truncated_poisson+zi",
    "truncated_nbinom2+zi",
    "gamma+zi",
    "gaussian+disp",
    "gamma+disp",
    "beta+disp",
    "nbinom2+disp",
    "gamma+disp+zi",
)
BERNOULLI = "binomial, one trial"
_POSITIVE = ("positive", "nonnegative")
# Where Laplace's approximation itself shows with 15 rows a group: the same by quadrature. Of a
# variable without bounds they say little where its mean lies between bounds.
POINTS = 11
_ON_THE_LINE = ("gaussian", "student_t", "skew_normal")
_BENT = ("log", "logit", "probit", "cloglog", "loglog", "cauchit", "sqrt")
BY_QUADRATURE = (
    *(f"{law}@agq" for law in ("inverse_gaussian", "truncated_nbinom1")),
    *(f"{law}:{link}@agq" for law in _ON_THE_LINE for link in _BENT),
)
# Of the quadrature: a density of this law is a sum over 80 counts.
FEW_NODES = {"compois": 11}


def names() -> list[str]:
    """All laws: the families with their own links, some with further predictors, and the families
    with every other link that leads to one of their means from anywhere: normal random effects
    leave what an identity link allows a gamma variable."""
    from jaxglmm import families

    return [*families.REGISTRY, BERNOULLI, *FURTHER, *_with_links(), *BY_QUADRATURE]


def _with_links() -> list[str]:
    from jaxglmm import families, links
    from jaxglmm.errors import InputError

    found, anywhere = [], np.linspace(-2.0, 2.0, 14)
    for law, link in itertools.product(families.REGISTRY, links.REGISTRY):
        with contextlib.suppress(InputError):
            family, other = families.get(law), families.get(law, link).link
            (low, high), means = links.RANGES[family.link.range], np.asarray(other.mean(anywhere))
            at_zero = other.mean(np.zeros(1))[0]
            # The density of a positive variable has no bound where its mean is zero.
            lost = not np.isfinite(at_zero) or (at_zero == 0 and family.support in _POSITIVE)
            if other != family.link and np.all((low < means) & (means < high)) and not lost:
                found.append(f"{law}:{link}")
    return found


def study_of(name: str) -> Any:
    """The design and the truth of a law."""
    from jaxglmm import families
    from tests.core.recovery import make_study

    if name == BERNOULLI:
        return make_study(families.get("binomial"), trials=1.0)
    model, _, method = name.partition("@")
    law, *further = model.split("+")
    family = families.get(*law.split(":"))
    study = make_study(
        families.modelled(family, dispersion="disp" in further, zero_inflation="zi" in further)
    )
    if not method:
        return study
    problem = study.problem.replace(method=method, quadrature_points=POINTS)
    return dataclasses.replace(study, problem=problem)


def measure(name: str, replicates: int, limit_s: float) -> list[Any]:
    """The rows of one law; no more replicates than go into the processor time."""
    from tests.core.recovery import NUM_NODES, replicate, summarise

    study, found, seed = study_of(name), [], zlib.crc32(name.encode())
    num_nodes = FEW_NODES.get(study.problem.family.base.name, NUM_NODES)
    found.append(replicate(study, [seed, 0], num_nodes=num_nodes))  # compiles
    start = time.process_time()
    while len(found) < replicates and time.process_time() - start < limit_s:
        found.append(replicate(study, [seed, len(found)], num_nodes=num_nodes))
    return summarise(name, study, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--laws", nargs="+", metavar="LAW", help="of families, :link, +zi, +disp, @agq"
    )
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument(
        "--limit", type=float, default=600.0, help="seconds of processor time a law"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=machine.RESULTS)
    arguments = parser.parse_args()
    machine.limit_threads(arguments.threads)
    import jax

    about = machine.describe(arguments.threads)
    with jax.enable_x64(True):
        for name in arguments.laws or names():
            rows = [
                dataclasses.asdict(row)
                for row in measure(name, arguments.replicates, arguments.limit)
            ]
            store.merge(arguments.out, "recovery", about, rows, key="law", order=names())
            worst = max(abs(row["apart"]) for row in rows)
            print(f"{name}: {rows[0]['used']} used, apart {worst:.2f}", flush=True)
            jax.clear_caches()


if __name__ == "__main__":
    main()
