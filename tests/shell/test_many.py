"""Many models of one design: against single fits, and bit by bit against themselves."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg
from jaxglmm.frontend.many import execution, sizes

from . import models

NUMBER = 70  # models: more than the lanes of a program


@pytest.fixture(scope="module")
def responses() -> np.ndarray:
    """Successes for cbpp's design; the first model has none at all."""
    fit, rng = models.fit("cbpp"), np.random.default_rng(0)
    trials = models.data("cbpp")["size"].to_numpy(int)
    Y = rng.binomial(trials, fit.fitted(), size=(NUMBER, len(trials)))
    Y[0] = 0
    return Y


@pytest.fixture(scope="module")
def batch(responses: np.ndarray) -> jg.Batch:
    return models.fit("cbpp").refit_many(responses)


def bits(batch: jg.Batch) -> list[np.ndarray]:
    return jax.tree.leaves(batch.solution)


def assert_same_bits(one: jg.Batch, other: jg.Batch, order: Any = slice(None)) -> None:
    for a, b in zip(bits(one), bits(other), strict=True):
        np.testing.assert_array_equal(a[order], b)


def assert_like_single(batch: jg.Batch, k: int, fit: jg.GLMM) -> None:
    """Model k of a batch beside a fit of its own: the criterion to rounding, estimates to the
    optimiser's last step (1e-7 in log-likelihood), errors to what that moves the Hessian."""
    assert batch.status[k] == fit.status
    np.testing.assert_allclose(batch.log_likelihood[k], fit.log_likelihood, rtol=1e-9)
    np.testing.assert_allclose(batch.aic[k], fit.aic, rtol=1e-9)
    np.testing.assert_allclose(batch.bic[k], fit.bic, rtol=1e-9)
    for ours, theirs in (
        (batch.fixed_effects(), fit.fixed_effects()),
        (batch.covariance_parameters(), fit.covariance_parameters()),
    ):
        own = ours[ours["model"] == batch.names[k]].drop(columns="model").reset_index(drop=True)
        assert list(own.columns) == list(theirs.columns)
        scale = theirs["std_error"].to_numpy()
        for name in theirs.columns:
            if theirs[name].dtype == object or theirs[name].dtype.kind not in "fi":
                assert own[name].tolist() == theirs[name].tolist()
            elif name in ("estimate", "conf_low", "conf_high"):
                gap = np.abs(own[name] - theirs[name]).to_numpy() / scale
                assert np.all((gap < 1e-4) | np.isnan(gap)), name
                np.testing.assert_array_equal(np.isnan(own[name]), np.isnan(theirs[name]))
            else:  # dp / p = z dz, and z is below 10 here
                rtol = 1e-2 if name == "p_value" else 1e-4
                np.testing.assert_allclose(own[name], theirs[name], rtol=rtol, atol=1e-12)


def test_binomial_models_are_those_of_single_fits(batch: jg.Batch, responses: np.ndarray) -> None:
    finite = np.flatnonzero(batch.status == "converged")  # others end where they are stopped
    for k in finite[[0, -1]]:
        assert_like_single(batch, k, models.fit("cbpp").refit(responses[k]))


def test_a_refit_is_a_fit_of_other_data(responses: np.ndarray, tmp_path: Path) -> None:
    formula, _, arguments = models.CALLS["cbpp"]
    data = models.data("cbpp").assign(incidence=responses[1])
    refit, fit = models.fit("cbpp").refit(responses[1]), jg.glmm(formula, data, **arguments)
    assert refit.log_likelihood == fit.log_likelihood
    pd.testing.assert_frame_equal(refit.fixed_effects(), fit.fixed_effects())
    refit.save(tmp_path / "refit")
    loaded = jg.load(tmp_path / "refit")
    np.testing.assert_array_equal(loaded.problem.y, refit.problem.y)
    np.testing.assert_array_equal(models.fit("cbpp").refit(fit.problem.y).problem.y, data.incidence)


def test_tables_and_counts(batch: jg.Batch) -> None:
    table = batch.fixed_effects()
    assert list(table.columns) == ["model", *models.fit("cbpp").fixed_effects().columns]
    assert len(table) == 4 * NUMBER and table["model"].tolist()[:5] == [0, 0, 0, 0, 1]
    assert batch.status[0] == "separated" and not batch.converged[0]
    np.testing.assert_array_equal(batch.coefficients[1], table["estimate"][4:8])
    counts = batch.counts()
    assert counts["attempted"] == len(batch) == batch.num_models == NUMBER
    assert counts["converged"] + counts["boundary"] + counts["failed"] == NUMBER
    assert counts["failed"] == int(np.sum(~batch.converged)) > 0
    assert counts["boundary"] == int(np.sum(batch.status == "converged_boundary"))
    assert batch.params.theta.shape == (NUMBER, 1) and batch.phi.shape == (NUMBER, 0)
    assert batch.iterations.shape == (NUMBER,) and batch.run_seconds > 0
    assert f"{NUMBER} models" in repr(batch)
    with pytest.raises(jg.InputError, match="modes=True"):
        batch.random_effects()


def test_order_chunks_and_neighbours_change_no_bit(
    batch: jg.Batch, responses: np.ndarray, compiled: list[str]
) -> None:
    fit = models.fit("cbpp")
    compiled.clear()
    order = np.random.default_rng(1).permutation(NUMBER)
    assert_same_bits(batch, fit.refit_many(responses[order]), order)
    for chunk in (1, np.int64(7), 1000):
        number = 5 if chunk == 1 else NUMBER
        assert_same_bits(batch, fit.refit_many(responses[:number], chunk=chunk), slice(number))
    assert compiled == []  # nor does any of it compile


def test_a_model_that_fails_changes_no_bit_of_others() -> None:
    fit, rng = models.fit("cbpp"), np.random.default_rng(2)
    trials = models.data("cbpp")["size"].to_numpy(int)
    Y = rng.binomial(trials, fit.fitted(), size=(6, len(trials))).astype(float)
    Y[1, 3] = np.nan
    bad = Y.copy()
    bad[2], bad[3], bad[4] = np.nan, 0.0, trials * (np.arange(len(trials)) % 2)
    fine, found = fit.refit_many(Y), fit.refit_many(bad)
    for k in (0, 1, 5):
        for a, b in zip(bits(fine), bits(found), strict=True):
            np.testing.assert_array_equal(a[k], b[k])
    assert found.status[2] == "nonfinite" and found.status[3] == "separated"
    assert found.num_obs.tolist() == [56, 55, 0, 56, 56, 56]
    table = found.fixed_effects()
    assert np.isnan(table["std_error"][8:12]).all()
    kept = np.flatnonzero(~np.isnan(Y[1]))
    formula, _, arguments = models.CALLS["cbpp"]
    data = models.data("cbpp").assign(incidence=Y[1]).iloc[kept]
    assert_like_single(fine, 1, jg.glmm(formula, data, **arguments))


@functools.cache
def design() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    x = rng.normal(size=60)
    return pd.DataFrame({"x": x, "g": np.repeat(np.arange(10), 6), "e": rng.uniform(1, 3, 60)})


@pytest.mark.parametrize("method", [pytest.param("laplace", marks=pytest.mark.slow), "reml"])
def test_gaussian_models_are_those_of_single_fits(method: str) -> None:
    data, rng = design(), np.random.default_rng(4)
    effects = rng.normal(size=(3, 10))[:, data["g"]]
    Y = 2.0 + data["x"].to_numpy() + effects + rng.normal(size=(3, 60))
    batch = jg.fit_many("~ x + (1 | g)", data, Y, method=method, modes=True)
    for k in (0, 2):
        fit = jg.glmm("y ~ x + (1 | g)", data.assign(y=Y[k]), method=method)
        assert_like_single(batch, k, fit)
        table = batch.random_effects()
        own = table[table["model"] == k].drop(columns="model").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, fit.random_effects(), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_counts_with_missing_responses_and_offsets_of_their_own() -> None:
    data, rng = design(), np.random.default_rng(5)
    offset = np.log(rng.uniform(1, 3, size=(3, 60)))
    mean = np.exp(0.5 + 0.3 * data["x"].to_numpy() + offset)
    Y = rng.negative_binomial(3, 3 / (3 + mean)).astype(float)
    Y[1, :7] = np.nan
    batch = jg.fit_many("~ x + (1 | g)", data, Y, "nbinom2", offset=offset)
    for k in (0, 1):
        own = data.assign(y=Y[k], o=offset[k])
        assert_like_single(batch, k, jg.glmm("y ~ x + offset(o) + (1 | g)", own, "nbinom2"))
    assert batch.num_obs.tolist() == [60, 53, 60]


def test_sources_give_the_same(batch: jg.Batch, responses: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    fit, names = models.fit("cbpp"), [f"m{k}" for k in range(NUMBER)]
    mapped = np.lib.format.open_memmap(
        tmp_path / "Y.npy", mode="w+", dtype=np.int16, shape=responses.shape
    )
    mapped[:] = responses
    table = pd.DataFrame(responses.T, columns=names)
    table.to_parquet(tmp_path / "Y.parquet")
    for given in (mapped, table, str(tmp_path / "Y.parquet"), tmp_path / "Y.parquet"):
        found = fit.refit_many(given)
        assert_same_bits(batch, found)
    assert found.fixed_effects()["model"].tolist()[3:5] == ["m0", "m1"]
    data = pd.concat([models.data("cbpp").drop(columns="incidence"), table], axis=1)
    formula = "y / size ~ period + (1 | herd)"  # no such column y
    assert_same_bits(batch, jg.fit_many(formula, data, names, family="binomial"))


def test_rows_that_are_dropped_are_dropped_in_responses_too() -> None:
    data, rng = design().copy(), np.random.default_rng(6)
    Y = rng.normal(size=(2, 60)) + data["x"].to_numpy()
    whole = jg.fit_many("~ x", data.iloc[3:], Y[:, 3:])
    data.loc[:2, "x"] = np.nan
    Y[:, :3] = 1e9
    assert_same_bits(whole, jg.fit_many("~ x", data, Y))


@pytest.mark.slow
def test_categories_are_those_of_all_models() -> None:
    data, rng = design(), np.random.default_rng(7)
    Y = rng.integers(1, 4, size=(2, 60)).astype(float)
    batch = jg.fit_many("~ x", data, Y, family="cumulative")
    fit = jg.glmm("y ~ x", data.assign(y=Y[1]), family="cumulative")
    assert_like_single(batch, 1, fit)
    assert batch.fixed_effects()["term"].tolist()[-2:] == ["1|2", "2|3"]
    assert fit.refit(Y[0]).log_likelihood == pytest.approx(batch.log_likelihood[0], rel=1e-9)


def test_refusals(responses: np.ndarray, nothing_compiles: None, tmp_path: Path) -> None:
    fit, number = models.fit("cbpp"), len(models.data("cbpp"))
    with pytest.raises(jg.InputError, match=rf"must have shape \(models, {number}\).*transpose"):
        fit.refit_many(np.zeros((number, 3)))
    with pytest.raises(jg.InputError, match=rf"\(models, {number}\)"):
        fit.refit_many(np.zeros(number))
    with pytest.raises(jg.InputError, match="no models"):
        fit.refit_many(np.zeros((0, number)))
    wrong = responses.astype(float)
    wrong[3, 5], wrong[9, 1] = -1, 1e3
    with pytest.raises(jg.InputError, match=r"2 models \(3, 9\).*model 3 holds -1 in row 5"):
        fit.refit_many(wrong)
    for chunk in (0, True, 1.0):
        with pytest.raises(jg.InputError, match="chunk"):
            fit.refit_many(responses, chunk=chunk)
    with pytest.raises(jg.InputError, match="weights"):
        fit.refit_many(responses, weights=-np.ones(responses.shape))
    with pytest.raises(jg.InputError, match="no file"):
        fit.refit_many(tmp_path / "absent.parquet")
    with pytest.raises(jg.InputError, match="fit_many"):
        fit.refit_many(["a", "b"])
    with pytest.raises(jg.InputError, match=rf"y has shape \(3,\).*\({number},\)"):
        fit.refit(np.zeros(3))
    with pytest.raises(jg.InputError, match="successes"):
        fit.refit(np.full(number, 1e3))
    with pytest.raises(jg.InputError, match="whole numbers, zero or more"):
        jg.fit_many("~ x", design(), np.full((2, 60), 0.5), family="poisson")
    with pytest.raises(jg.InputError, match="'yy'"):
        jg.fit_many("~ x", design(), ["yy"])
    with pytest.raises(jg.InputError, match="'log\\(y\\)' itself.*Transform the columns"):
        jg.fit_many("log(y) ~ 1", design().assign(y=1.0), ["x"])
    gaps = np.where(np.arange(60) == 7, np.nan, np.ones((2, 60)))
    with pytest.raises(jg.InputError, match="2 models.*must not be missing.*row 7"):
        jg.fit_many("~ x", design(), gaps, missing="raise")


def test_what_models_have_beside_responses_is_as_many(nothing_compiles: None) -> None:
    data, Y, three = design(), np.ones((5, 60)), np.ones((3, 60))
    fit = models.fit("cbpp")
    for name in ("offset", "weights"):
        with pytest.raises(jg.InputError, match=f"{name} has 3 models, but there are 5"):
            jg.fit_many("~ x", data, Y, **{name: three})
        with pytest.raises(jg.InputError, match=f"{name} has 5 models, but there are 3"):
            jg.fit_many("~ x", data, three, **{name: Y})
        with pytest.raises(jg.InputError, match=f"{name} has 3 models, but there are 2"):
            fit.refit_many(np.zeros((2, 56)), **{name: np.ones((3, 56))})
    table = pd.DataFrame(Y[:3].T, columns=["a", "b", "c"])
    with pytest.raises(jg.InputError, match="another order: model 0 is 'c', but 'a' there"):
        jg.fit_many("~ x", data, table, weights=table[["c", "b", "a"]])


def test_rows_in_another_order_are_refused(nothing_compiles: None) -> None:
    table = pd.DataFrame({"a": np.arange(60.0)})
    with pytest.raises(jg.InputError, match=r"responses\.loc\[data\.index\]"):
        jg.fit_many("~ x", design(), table.sample(frac=1.0, random_state=1))


def test_rows_are_taken_as_they_stand() -> None:
    """Labels that are numbers from zero, or others than the data's, say nothing."""
    data, y = design(), np.random.default_rng(1).normal(size=60)
    expected = jg.fit_many("~ x", data, y[None], progress=False).log_likelihood
    for labels in (np.arange(60), np.arange(60) + 7):
        table = pd.DataFrame({"a": y}, index=labels)
        shuffled = data.set_axis(np.random.default_rng(2).permutation(60))
        found = jg.fit_many("~ x", shuffled, table, progress=False)
        np.testing.assert_array_equal(found.log_likelihood, expected)


def test_a_parquet_file_without_its_index(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    y = np.random.default_rng(1).normal(size=(60, 2))
    table = pd.DataFrame(y, columns=["a", "b"], index=np.arange(60) + 5)
    table.to_parquet(tmp_path / "y.parquet")
    found = jg.fit_many("~ x", design(), tmp_path / "y.parquet", progress=False)
    assert list(found.names) == ["a", "b"]


def test_proportions_without_trials_are_warned_of() -> None:
    shares = np.tile(np.linspace(0.1, 0.9, 60), (2, 1))
    with pytest.warns(UserWarning, match="non-integer successes"):
        jg.fit_many("~ x", design(), shares, family="binomial", progress=False)


@pytest.mark.parametrize(
    ("formula", "arguments"),
    [
        ("y ~ x + f + (1 | g)", {}),
        ("y ~ x + f + (1 | g)", {"method": "reml"}),
        ("y ~ x * f + (1 | g) + (1 | h)", {"contrasts": "sum"}),
        ("y ~ x + f + (1 | g)", {"family": "poisson"}),
        ("y ~ x + f + (1 | g)", {"family": "poisson", "method": "reml"}),
        ("y ~ x * f + (1 | g) + (1 | h)", {"family": "poisson", "method": "approximate_laplace"}),
    ],
)
def test_a_level_without_responses(formula: str, arguments: dict[str, Any]) -> None:
    """Its coefficient is not told; all else is as in a fit of the other rows."""
    rng, row = np.random.default_rng(1), np.arange(90)
    data = pd.DataFrame({"x": rng.normal(size=90), "g": row // 9, "h": row % 7})
    data["f"] = np.array(list("abc"))[row % 3]
    Y = rng.normal(size=(3, 90)) + rng.normal(size=(3, 10))[:, data["g"]]
    if "family" in arguments:
        Y = np.floor(np.exp(Y))
    Y[1, data["f"] == "c"] = np.nan
    found = jg.fit_many(formula, data, Y, modes=True, progress=False, **arguments)
    assert found.status[1] == "rank_deficient" and set(found.status[::2]) <= set(
        ("converged", "converged_boundary")
    )
    single = jg.glmm(formula, data.assign(y=Y[1]), **arguments)
    assert single.status in ("converged", "converged_boundary")
    assert np.broadcast_to(found.num_params, 3)[1] == single.num_params
    for name in ("log_likelihood", "aic", "bic"):
        np.testing.assert_allclose(getattr(found, name)[1], getattr(single, name), rtol=1e-8)
    if "contrasts" in arguments:  # other columns, which span the same
        return
    table, own = found.fixed_effects(), single.fixed_effects()
    table = table[table["model"] == 1].reset_index(drop=True)
    known = table["term"].isin(own["term"])
    assert known.sum() == len(own) and table["std_error"][~known].isna().all()
    effects, own_effects = found.random_effects(), single.random_effects()
    effects = effects[effects["model"] == 1]
    for name in ("estimate", "std_error"):
        np.testing.assert_allclose(table[name][known], own[name], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(effects[name], own_effects[name], rtol=1e-4, atol=1e-6)


def test_random_effects_of_a_level_without_responses() -> None:
    """Their standard deviation stays at zero; of it nothing is known."""
    rng, row = np.random.default_rng(1), np.arange(180)
    data = pd.DataFrame({"x": rng.normal(size=180), "g": row // 9})
    data["f"] = np.array(list("abc"))[row % 3]
    Y = rng.normal(size=(2, 180)) + rng.normal(size=(2, 20))[:, data["g"]]
    Y[1, data["f"] == "c"] = np.nan
    formula = "y ~ x + (0 + f || g)"
    found = jg.fit_many(formula, data, Y, progress=False)
    single = jg.glmm(formula, data.assign(y=Y[1]))
    assert found.log_likelihood[1] == pytest.approx(single.log_likelihood, rel=1e-9)
    table, own = found.covariance_parameters(), single.covariance_parameters()
    table = table[table["model"] == 1].set_index("name1")
    assert table.loc["f[c]", "estimate"] == 0 and np.isnan(table.loc["f[c]", "std_error"])
    for name in ("estimate", "std_error"):
        of_others = table.drop(index="f[c]")[name]
        np.testing.assert_allclose(of_others, own[name], rtol=1e-5)


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_a_level_without_weight_is_dropped(family: str) -> None:
    """Like the level of rows that are left out."""
    rng, row = np.random.default_rng(1), np.arange(90)
    data = pd.DataFrame({"x": rng.normal(size=90), "g": row // 9})
    data["f"] = np.array(list("abc"))[row % 3]
    data["y"] = np.floor(np.exp(rng.normal(size=90) + rng.normal(size=10)[data["g"]]))
    weights = (data["f"] != "c").to_numpy(float)
    found = jg.glmm("y ~ x + f + (1 | g)", data, family, weights=weights)
    others = jg.glmm("y ~ x + f + (1 | g)", data[data["f"] != "c"], family)
    assert found.status == "rank_deficient" and found.labels.dropped == ("f[T.c]",)
    assert found.log_likelihood == pytest.approx(others.log_likelihood, rel=1e-9)


def test_micro_batches_follow_from_design_and_memory() -> None:
    few, waiting = sizes.Needs(lane=1e5, waiting=1e4), sizes.Needs(lane=1e6, waiting=1e6)
    assert sizes.choose_sizes(64, 2, few, 1e9).models == 4096
    assert sizes.choose_sizes(1, 2, few, 1e9).models == 16
    assert sizes.choose_sizes(64, 2, waiting, 1e12).models == 256
    assert sizes.choose_sizes(64, 2, waiting, 6e8).models == 64
    with pytest.raises(jg.InputError, match=r"8 % of them fit.*larger machine"):
        sizes.choose_sizes(64, 20, waiting, 2.25e8)


@pytest.mark.parametrize("number", [1, 40, 100, 2_500, 10_000])
def test_all_workers_have_models(number: int) -> None:
    """As many turns each, of one size but for the last."""
    chosen = sizes.Sizes(lanes=32, models=512)
    turns = sizes.turns(chosen, number, 2, None)
    assert [k for turn in turns for k in turn] == list(range(number))
    assert len(turns) == 1 if number <= 32 else len(turns) % 2 == 0
    assert max(map(len, turns)) <= 512 and len({len(turn) for turn in turns[:-1]}) <= 1
    assert max(map(len, sizes.turns(chosen, number, 2, 7))) <= 7


def test_single_lanes_end_together() -> None:
    turns = sizes.turns(sizes.Sizes(lanes=1, models=16), 1000, 2, None)
    assert [k for turn in turns for k in turn] == list(range(1000))
    lengths = [len(turn) for turn in turns]
    assert lengths[0] == 16 and lengths[-4:] == [1, 1, 1, 1]
    assert lengths == sorted(lengths, reverse=True)


def test_lanes_follow_from_the_design() -> None:
    few, many = sizes.Needs(1e5, 1e4), sizes.Needs(1e9, 1e4)
    assert [sizes.num_lanes(n, few, on_cpu=True) for n in (56, 500, 1000, 10**6)] == [32, 32, 16, 1]
    assert sizes.num_lanes(500, many, on_cpu=True) == 1
    assert sizes.num_lanes(500, few, on_cpu=False) == 4096


def test_progress_is_shown_when_asked_for(
    batch: jg.Batch, responses: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    models.fit("cbpp").refit_many(responses, progress=True)
    shown = capsys.readouterr().err
    assert f"{NUMBER}/{NUMBER}" in shown and "failed=" in shown
    models.fit("cbpp").refit_many(responses)
    assert capsys.readouterr().err == ""


SCRIPT = """
import sys
import jax, numpy as np
import jaxglmm as jg
from jaxglmm.frontend.many import execution
if jax.device_count() > 1:
    execution._workers = lambda devices, on_cpu: devices
data = jg.datasets.load("cbpp")
fit = jg.glmm("incidence / size ~ period + (1 | herd)", data, family="binomial")
trials = data["size"].to_numpy(int)
Y = np.random.default_rng(0).binomial(trials, fit.fitted(), size=(250, len(trials)))
batch = fit.refit_many(Y, chunk=50)
np.savez(sys.argv[1], *jax.tree.leaves(batch.solution))
"""


@pytest.mark.slow
def test_devices_change_no_bit(tmp_path: Path) -> None:
    found = []
    for number in (1, 4):
        flags = f"--xla_force_host_platform_device_count={number}"
        environment = {**os.environ, "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {flags}"}
        path = tmp_path / f"{number}.npz"
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(path)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        with np.load(path) as archive:
            found.append([archive[name] for name in archive.files])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_threads_are_as_many_as_cores_and_devices() -> None:
    assert execution._workers(["a", "b"], on_cpu=False) == ["a", "b"]
    assert set(execution._workers(["a", "b"], on_cpu=True)) == {"a"}
