"""Where the rows come from: seeded simulations, the library's data sets, and R's lme4."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

# b0, b1, sd(u), sd(v) of each family
TRUTHS = {"binomial": (-0.5, 0.8, 0.7, 0.5), "poisson": (0.5, 0.3, 0.5, 0.2)}
# phi, unconstrained, of each family that `simulate_law` draws
OWN: dict[str, tuple[float, ...]] = {
    "nbinom1": (0.0,),
    "nbinom2": (0.7,),
    "genpois": (0.5,),
    "compois": (-0.3,),
    "truncated_poisson": (),
    "truncated_nbinom1": (0.0,),
    "truncated_nbinom2": (0.7,),
    "betabinomial": (1.5,),
    "beta": (2.0,),
    "ordered_beta": (2.0, -0.9, 0.5),
    "gamma": (-1.0,),
    "inverse_gaussian": (-1.5,),
    "lognormal": (0.0,),
    "tweedie": (0.0, 0.0),
    "student_t": (0.0, 1.0),
    "skew_normal": (0.0, 2.0),
    "cumulative": (-1.0, 0.5, 0.5),
}
TRIALS = 10


class Absent(Exception):
    """The data cannot be had on this machine: the problem is left out of the run."""


def simulate(
    family: str, num_rows: int, num_groups: int, *, slope: bool = False, seed: int = 1
) -> pd.DataFrame:
    """Rows `y, x, g`: eta = b0 + b1 x + u_g (+ v_g x); group sizes vary; rows are in no order.

    `TRUTHS` has b0, b1, sd(u), sd(v) of each family; cor(u, v) = 0.3; binomial means 0/1.
    """
    rng = np.random.default_rng(seed)
    group = rng.integers(0, num_groups, num_rows)
    x = rng.normal(size=num_rows)
    intercept, beta, sd_u, sd_v = TRUTHS[family]
    standard = rng.normal(size=(2, num_groups))
    u = sd_u * standard[0]
    v = sd_v * (0.3 * standard[0] + np.sqrt(1 - 0.3**2) * standard[1])
    eta = intercept + beta * x + u[group] + (v[group] * x if slope else 0.0)
    if family == "binomial":
        y = rng.binomial(1, 1 / (1 + np.exp(-eta)))
    else:
        y = rng.poisson(np.exp(eta))
    return pd.DataFrame({"y": y.astype(np.float64), "x": x, "g": group})


def simulate_law(family: str, num_rows: int, num_groups: int, *, seed: int = 1) -> pd.DataFrame:
    """Rows `y, x, g` (and `trials`): eta = 0.5 + 0.3 x + u_g, sd(u) = 0.5, y drawn by the library.

    Groups are of equal size; the family's own parameters are `OWN`.
    """
    import jax

    from jaxglmm import families

    law = families.get(family)
    rng = np.random.default_rng(seed)
    group = np.arange(num_rows) % num_groups
    x = rng.normal(size=num_rows)
    eta = 0.5 + 0.3 * x + 0.5 * rng.normal(size=num_groups)[group]
    weight = np.full(num_rows, float(TRIALS) if law.weight_role == "trials" else 1.0)
    with jax.enable_x64(True):
        y = law.sample(jax.random.key(seed), eta, np.array(OWN[family]), weight)
    data = pd.DataFrame({"y": np.asarray(y, np.float64), "x": x, "g": group})
    return data.assign(trials=weight) if law.weight_role == "trials" else data


def simulate_pair(
    num_rows: int, num_g: int, num_h: int, *, nested: bool, seed: int = 1
) -> pd.DataFrame:
    """Rows `y, x, g, h`, y of 0/1: eta = b0 + b1 x + u_g + v_h, u and v independent (`TRUTHS`).

    Every row draws its g at random. Crossed: and its h, so that hardly any pair comes twice.
    Nested: h = g mod num_h; the levels of g are distinct across those of h.
    """
    rng = np.random.default_rng(seed)
    g = rng.integers(0, num_g, num_rows)
    h = g % num_h if nested else rng.integers(0, num_h, num_rows)
    x = rng.normal(size=num_rows)
    intercept, beta, sd_u, sd_v = TRUTHS["binomial"]
    u, v = sd_u * rng.normal(size=num_g), sd_v * rng.normal(size=num_h)
    eta = intercept + beta * x + u[g] + v[h]
    y = rng.binomial(1, 1 / (1 + np.exp(-eta)))
    return pd.DataFrame({"y": y.astype(np.float64), "x": x, "g": g, "h": h})


def bundled(name: str, **renamed: str) -> pd.DataFrame:
    """A data set of `jaxglmm.datasets`, columns renamed where a name is a Python keyword."""
    from jaxglmm.datasets import load

    return load(name).rename(columns=renamed)


@cache
def _insteval() -> pd.DataFrame:
    """InstEval as R's lme4 has it; its factors as categories, in R's order of levels."""
    if shutil.which("Rscript") is None:
        raise Absent("InstEval is read from R's lme4, and Rscript is not on the path")
    with tempfile.TemporaryDirectory(prefix="benchmark-insteval-") as folder:
        path = Path(folder) / "InstEval.csv"
        text = 'data(InstEval, package = "lme4"); write.csv(InstEval, commandArgs(TRUE), '
        text += "row.names = FALSE); cat(levels(InstEval$dept))"
        command = ["Rscript", "--vanilla", "-e", text, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not path.exists():
            raise Absent("InstEval is read from R's lme4, which is not installed")
        data = pd.read_csv(path, dtype=dict.fromkeys(["s", "d", "service", "dept"], str))
    for name in ("s", "d", "service"):
        levels = sorted(data[name].unique(), key=int)
        data[name] = pd.Categorical(data[name], categories=levels)
    data["dept"] = pd.Categorical(data["dept"], categories=done.stdout.split())
    return data


def insteval(*, above: int | None = None) -> pd.DataFrame:
    """Lecture ratings: `y` (1 to 5; with `above`, 1 where it is greater), `service s d dept`."""
    data = _insteval()[["y", "service", "s", "d", "dept"]]
    y = data["y"] if above is None else data["y"] > above
    return data.assign(y=y.astype(np.float64))
