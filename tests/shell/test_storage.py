"""A fit written to a file and read back is the same fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg

from . import models


def table() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    n = 40
    d = pd.DataFrame({"x": rng.normal(size=n), "g": np.resize(["north", "south", "é"], n)})
    d["when"] = rng.random(n) < 0.4
    d["le"] = rng.normal(scale=0.1, size=n)
    d["keep"] = np.arange(n) != 7
    d["k"] = rng.poisson(3.0, n)
    d["y"] = rng.gamma(4.0, 1.0, n)
    d["n"] = rng.integers(4, 9, n)
    d["share"] = rng.integers(0, 5, n) / d["n"]
    d["level"] = pd.Categorical(np.resize([3, 1, 2], n), categories=[3, 2, 1])
    d.loc[5, "x"] = np.nan
    return d


WEIGHTS = np.random.default_rng(3).uniform(0.5, 2.0, 40)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "arrays": ("k ~ x + (1 | g)", {"family": "poisson", "weights": WEIGHTS, "subset": "keep"}),
    "offset column": ("k ~ x + (1 | g)", {"family": "poisson", "offset": "le"}),
    "subset array": ("k ~ x + (1 | g)", {"family": "poisson", "subset": np.arange(40) > 2}),
    "trials": ("share ~ x + (1 | g)", {"family": "binomial", "trials": "n"}),
    "power link": ("y ~ x + (1 | g)", {"family": "gamma", "link": 0.3}),
    "instance": ("y ~ x + (1 | g)", {"family": jg.families.Gamma(), "link": jg.links.get("log")}),
    "known degrees of freedom": ("y ~ x + (1 | g)", {"family": jg.families.StudentT(df=4.0)}),
    "control": (
        "y ~ scale(x) + level + when + (1 | g)",
        {
            "control": jg.Control(weights="likelihood", max_iterations=77),
            "weights": WEIGHTS,
            "contrasts": {"level": "sum"},
        },
    ),
    "dropped": ("y ~ x + I(2 * x) + bs(n, df=4)", {}),
    "covariance": ("y ~ x + (x | g)", {"covariance": {"g": "diag"}}),
}


def same(one: jg.GLMM, two: jg.GLMM) -> None:
    for call in ("fixed_effects", "covariance_parameters", "random_effects", "vcov"):
        pd.testing.assert_frame_equal(getattr(one, call)(), getattr(two, call)(), check_exact=True)
    for name in (
        "log_likelihood",
        "aic",
        "bic",
        "num_obs",
        "num_params",
        "df_residual",
        "family_parameters",
        "status",
        "status_message",
        "converged",
        "is_singular",
        "optimizer",
        "formula",
        "family",
        "link",
        "method",
        "data_info",
    ):
        assert getattr(one, name) == getattr(two, name), name
    assert str(one.summary()) == str(two.summary())


@pytest.mark.parametrize("name", CASES)
def test_round_trip(name: str, tmp_path: Path) -> None:
    formula, arguments = CASES[name]
    fit = jg.glmm(formula, table(), **arguments)
    path = tmp_path / "a fit.any"
    fit.save(path)
    loaded = jg.load(path)
    assert isinstance(loaded, jg.GLMM)
    same(fit, loaded)
    np.testing.assert_array_equal(fit.fitted(), loaded.fitted())
    new = table().iloc[10:20]
    np.testing.assert_array_equal(
        fit.predict(new, kind="population"), loaded.predict(new, kind="population")
    )
    assert loaded.arguments.get("control") == fit.arguments.get("control")


@pytest.mark.parametrize("name", ["cbpp", "sleep", "epil"])
def test_round_trip_of_bundled_data(name: str, tmp_path: Path) -> None:
    fit = models.fit(name)
    fit.save(str(tmp_path / "fit"))
    loaded = jg.load(str(tmp_path / "fit"))
    same(fit, loaded)
    new = models.data(name).iloc[::-3]
    np.testing.assert_array_equal(fit.predict(new), loaded.predict(new))
    pd.testing.assert_frame_equal(
        fit.random_effects(uncertainty="joint"), loaded.random_effects(uncertainty="joint")
    )
    pd.testing.assert_frame_equal(fit.vcov("conditional"), loaded.vcov("conditional"))


def test_a_loaded_fit_can_be_saved(tmp_path: Path) -> None:
    fit = models.fit("cbpp")
    fit.save(tmp_path / "one")
    jg.load(tmp_path / "one").save(tmp_path / "two")
    same(fit, jg.load(tmp_path / "two"))


def test_the_caller_s_arrays_may_change_after_the_fit(tmp_path: Path) -> None:
    """A fit owns what it saves and what it predicts from."""
    rng = np.random.default_rng(0)
    mine = {"x": rng.normal(size=12), "y": rng.normal(size=12)}
    weights = np.ones(12)
    fit = jg.glmm("y ~ x", mine, weights=weights)
    fitted = fit.fitted().copy()
    mine["x"][:6], mine["y"][:], weights[:] = 99.0, 5.0, 7.0
    np.testing.assert_array_equal(fit.fitted(), fitted)
    fit.save(tmp_path / "fit")
    loaded = jg.load(tmp_path / "fit")
    np.testing.assert_array_equal(loaded.fitted(), fitted)
    np.testing.assert_array_equal(loaded.problem.weights, 1.0)
    np.testing.assert_array_equal(loaded.problem.y, fit.problem.y)


def test_reading_compiles_nothing(tmp_path: Path, compiled: list[str]) -> None:
    models.fit("cbpp").save(tmp_path / "fit")
    compiled.clear()
    loaded = jg.load(tmp_path / "fit")
    loaded.fixed_effects(), loaded.covariance_parameters(), loaded.random_effects()
    assert compiled == []


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(jg.InputError, match="no file .*nothing.fit"):
        jg.load(tmp_path / "nothing.fit")


def written(tmp_path: Path) -> bytes:
    models.fit("cbpp").save(tmp_path / "good")
    return (tmp_path / "good").read_bytes()


DAMAGE = {
    "empty": lambda whole: b"",
    "text": lambda whole: b"not a fit\n",
    "truncated": lambda whole: whole[: len(whole) // 2],
    "only a header": lambda whole: whole[:40],
    "flipped": lambda whole: whole[:200] + bytes(255 - b for b in whole[200:260]) + whole[260:],
    "pickle": lambda whole: b"\x80\x04K\x01.",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(DAMAGE[kind](written(tmp_path)))
    with pytest.raises(jg.InputError, match="damaged.* is not a saved fit"):
        jg.load(path)


def test_other_files_of_numpy(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.arange(3))
    np.save(tmp_path / "array.npy", np.arange(3))
    np.savez(tmp_path / "bare.npz", header=np.array("3"))
    for name in ("other.npz", "array.npy", "bare.npz"):
        with pytest.raises(jg.InputError, match=f"{name}.* is not a saved fit"):
            jg.load(tmp_path / name)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(jg.InputError, match="is not a saved fit"):
        jg.load(tmp_path)


def test_another_format(tmp_path: Path) -> None:
    np.savez(tmp_path / "later.npz", header=np.array(json.dumps({"format": 99})))
    with pytest.raises(jg.InputError, match="has format 99"):
        jg.load(tmp_path / "later.npz")


def test_a_link_of_one_s_own_cannot_be_saved(tmp_path: Path) -> None:
    link = jg.links.Link(lambda eta: jnp.exp(eta), range="positive", name="mine")
    fit = jg.glmm("k ~ x + (1 | g)", table(), family="poisson", link=link)
    known = jg.glmm("k ~ x + (1 | g)", table(), family="poisson", link="log")
    np.testing.assert_allclose(fit.log_likelihood, known.log_likelihood, rtol=1e-9)
    with pytest.raises(jg.InputError, match="link"):
        fit.save(tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_saving_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises((jg.InputError, FileNotFoundError), match="nowhere"):
        models.fit("cbpp").save(tmp_path / "nowhere" / "fit")
