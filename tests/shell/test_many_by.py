"""The parts of a table as models: each beside a fit of its own rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg

from .test_many import assert_same_bits, bits


def part(name: str, num_rows: int, seed: int, **columns: Any) -> pd.DataFrame:
    """The rows of a gene: x, a treatment, subjects of its own, counts."""
    rng = np.random.default_rng(seed)
    s, x = rng.integers(0, 5, num_rows), rng.normal(size=num_rows)
    t = rng.choice(["a", "b"], num_rows)
    eta = 0.5 + 0.4 * x + 0.3 * (t == "b") + 0.6 * rng.normal(size=5)[s]
    made = {
        "gene": name,
        "x": x,
        "t": t,
        "u": 1.0 * (t == "b"),
        "s": [f"{name}.{k}" for k in s],
        "b": s // 2,
    }
    return pd.DataFrame({**made, "y": rng.poisson(np.exp(eta)).astype(float), **columns})


def check(
    batch: jg.Batch, name: Any, single: jg.GLMM, renamed: Callable[[Any], Any] = lambda level: level
) -> None:
    """A model of a batch beside the fit of its rows: the criterion to rounding, estimates to the
    last step of the optimiser, the same levels."""
    k = list(batch.names).index(name)
    assert batch.status[k] == single.status
    np.testing.assert_allclose(batch.log_likelihood[k], single.log_likelihood, rtol=0, atol=1e-9)
    np.testing.assert_allclose(batch.bic[k], single.bic, rtol=1e-9)
    assert batch.num_obs[k] == single.num_obs
    for ours, theirs in (
        (batch.fixed_effects(), single.fixed_effects()),
        (batch.covariance_parameters(), single.covariance_parameters()),
    ):
        own = ours[ours["model"] == name].reset_index(drop=True)
        if "term" in own:
            dropped = ~own["term"].isin(theirs["term"])
            assert own.loc[dropped, ["estimate", "std_error"]].isna().all(axis=None)
            own = own[~dropped].reset_index(drop=True)
        estimate, error = own["estimate"].to_numpy(), theirs["std_error"].to_numpy()
        far = np.abs(estimate - theirs["estimate"].to_numpy()) / error
        assert np.all((far < 1e-4) | np.isnan(far))
        np.testing.assert_allclose(own["std_error"], error, rtol=3e-5)
    if batch.solution.b is not None:
        table, theirs = batch.random_effects(), single.random_effects()
        own = table[table["model"] == name].reset_index(drop=True)
        assert own["level"].tolist() == theirs["level"].tolist()
        assert own["rank"].tolist() == theirs["rank"].tolist()
        np.testing.assert_allclose(own["estimate"], theirs["estimate"], rtol=1e-4, atol=1e-5)


FORMULA = "y ~ x + u + (1 | s)"


def test_models_are_those_of_single_fits_and_fail_for_themselves() -> None:
    good = [part("z", 60, 1), part("m", 50, 2)]
    bad = [
        part("one treatment", 40, 3, u=0.0),
        part("one subject", 40, 4, s="q"),
        part("no rows", 10, 5, y=np.nan),
        part("constant", 40, 6, y=0.0),
    ]
    data = pd.concat([good[0], *bad, good[1]]).reset_index(drop=True)
    batch = jg.fit_many(FORMULA, data, by="gene", family="poisson", modes=True)
    assert list(batch.names) == ["z", *(table["gene"][0] for table in bad), "m"]
    for own in (*good, bad[0]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the column that is dropped
            single = jg.glmm(FORMULA, own, "poisson")
        check(batch, own["gene"][0], single)
    assert batch.status[1] == batch.status[2] == "rank_deficient"
    assert batch.status[3] == "nonfinite" and batch.num_obs[3] == 0
    assert batch.status[4] not in ("converged", "converged_boundary")
    assert batch.num_params.tolist() == [4, 3, 4, 4, 4, 4]
    table = batch.fixed_effects().set_index(["model", "term"])
    assert np.isnan(table.loc[("one treatment", "u"), "estimate"])
    # A neighbour that fails changes no bit of others.
    other = data["y"].where(data["gene"] != "constant", 2.0)
    found = jg.fit_many(FORMULA, data.assign(y=other), by="gene", family="poisson", modes=True)
    for a, b in zip(bits(batch), bits(found), strict=True):
        np.testing.assert_array_equal(a[[0, 1, 2, 3, 5]], b[[0, 1, 2, 3, 5]])


def test_models_without_random_effects() -> None:
    data = pd.concat([part("a", 30, 7), part("b", 17, 8)])
    batch = jg.fit_many("y ~ x", data, by="gene")
    for name in "ab":
        check(batch, name, jg.glmm("y ~ x", data[data["gene"] == name]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "formula, arguments",
    [
        ("y ~ z + t + (x | s)", {"method": "reml"}),
        ("y ~ z + (1 | b/s)", {"family": "poisson"}),
        ("y ~ z + (1 | s) + (1 | t)", {}),
        ("y ~ z + (1 | s)", {"family": "nbinom2", "offset": "o", "weights": "w"}),
    ],
)
def test_structures(formula: str, arguments: dict[str, Any]) -> None:
    """Sizes of several buckets, levels that parts share, an ill-conditioned predictor."""
    parts = [part(f"g{k}", size, 20 + k) for k, size in enumerate((70, 30, 64, 150))]
    data = pd.concat(parts).reset_index(drop=True)
    rng = np.random.default_rng(0)
    data = data.assign(o=rng.normal(size=len(data)), w=rng.integers(0, 3, len(data)))
    data["s"] = data["s"].str[-1]
    data["z"] = data["x"] + 1e4 * (data["gene"] == "g2")
    batch = jg.fit_many(formula, data, by="gene", modes=True, **arguments)
    assert batch.counts()["failed"] == 0
    for name in ("g0", "g2", "g3"):
        check(batch, name, jg.glmm(formula, data[data["gene"] == name], **arguments))


@pytest.mark.slow
def test_several_columns_and_held_parameters() -> None:
    parts = [part("g", 50, 30 + k, k=k) for k in range(3)]
    data = pd.concat(parts)
    control = jg.Control(fixed={"x": 0.5})
    batch = jg.fit_many(FORMULA, data, by=["gene", "k"], family="poisson", control=control)
    assert list(batch.names) == ["g:0", "g:1", "g:2"]
    check(batch, "g:1", jg.glmm(FORMULA, parts[1], "poisson", control=control))
    chunked = jg.fit_many(
        FORMULA, data, by=["gene", "k"], family="poisson", control=control, chunk=1
    )
    assert_same_bits(batch, chunked)


@pytest.mark.slow
def test_models_with_priors() -> None:
    """One whose columns depend on each other is fitted alone."""
    priors = {"x": jg.priors.Normal(0.0, 0.3), "sd": jg.priors.Gamma(2.5, 0.0)}
    data = pd.concat([part("a", 50, 40), part("b", 40, 41, u=1.0)])
    batch = jg.fit_many(FORMULA, data, by="gene", family="poisson", priors=priors)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in "ab":
            own = data[data["gene"] == name]
            check(batch, name, jg.glmm(FORMULA, own, "poisson", priors=priors))


def test_refusals(nothing_compiles: None) -> None:
    data = part("a", 20, 9)
    with pytest.raises(jg.InputError, match=r"no column \(named in by=\) 'gen'.*'gene'"):
        jg.fit_many(FORMULA, data, by="gen", family="poisson")
    with pytest.raises(jg.InputError, match="by: values are missing in 1 of.*row 3"):
        gaps = data.assign(gene=np.where(np.arange(20) == 3, None, "a"))
        jg.fit_many(FORMULA, gaps, by="gene", family="poisson")
    with pytest.raises(jg.InputError, match="leave responses= out"):
        jg.fit_many(FORMULA, data, np.zeros((2, 20)), by="gene")
    with pytest.raises(jg.InputError, match="or by=, the column"):
        jg.fit_many(FORMULA, data)
    with pytest.raises(jg.InputError, match="weights: with by= one value a row"):
        jg.fit_many(FORMULA, data, by="gene", weights=np.ones((2, 20)))
    with pytest.raises(jg.InputError, match="one name, 'u:v:w'"):
        twice = data.assign(a=np.repeat(["u:v", "u"], 10), b=np.repeat(["w", "v:w"], 10))
        jg.fit_many(FORMULA, twice, by=["a", "b"], family="poisson")


def test_rows_that_are_not_used_need_no_model() -> None:
    data = pd.concat([part("a", 40, 9), part("b", 40, 8)], ignore_index=True)
    gaps = data.assign(gene=np.where(np.arange(80) < 4, None, data["gene"]))
    used = np.arange(80) >= 4
    found = jg.fit_many(FORMULA, gaps, by="gene", family="poisson", subset=used, progress=False)
    expected = jg.fit_many(FORMULA, data[used], by="gene", family="poisson", progress=False)
    assert list(found.names) == ["a", "b"]
    np.testing.assert_array_equal(found.log_likelihood, expected.log_likelihood)
