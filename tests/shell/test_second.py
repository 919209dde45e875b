"""Second looks: the higher of two maxima, alone and in batches."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg
from jaxglmm.ascent import maximise_rows, start
from jaxglmm.ascent.start import TO_A_UNIT, TO_THE_LIMIT
from jaxglmm.frontend import fitting, programs, second
from jaxglmm.frontend.many.aside import Aside
from jaxglmm.rows import Rows, arrange

from .test_many import assert_same_bits

BY_GROUPS, BY_ROWS = "y ~ x + (1 | g)", "y ~ x + (1 | h)"
TWO_BY_GROUPS, TWO_BY_ROWS = 27, 0  # responses with two maxima


@functools.cache
def drawn() -> tuple[pd.DataFrame, np.ndarray]:
    """Ten groups of four rows, and sixty gamma responses of coefficient of variation 1.4."""
    rng = np.random.default_rng(2)
    g, x = np.repeat(np.arange(10), 4), rng.normal(size=40)
    mu = np.exp(0.3 + 0.4 * x + 0.5 * rng.normal(size=(60, 10))[:, g])
    Y = mu * rng.gamma(0.5, 2.0, mu.shape) + 1e-9
    return pd.DataFrame({"x": x, "g": g, "h": np.arange(40)}), Y


def fit(formula: str, response: int, **arguments: object) -> jg.GLMM:
    data, Y = drawn()
    return jg.glmm(formula, data.assign(y=Y[response]), "gamma", link="log", **arguments)


def one_ascent(of: jg.GLMM) -> jg.Estimate:
    """From the moments alone."""
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, jg.maximise(of.problem))


def held_at(sd: float, **arguments: object) -> float:
    control = jg.Control(fixed={"sd(g, Intercept)": sd})
    return fit(BY_GROUPS, TWO_BY_GROUPS, control=control, **arguments).log_likelihood


@functools.cache
def batch(formula: str, chunk: int | None = None) -> jg.Batch:
    data, Y = drawn()
    return jg.fit_many(
        formula, data, responses=Y, family="gamma", link="log", chunk=chunk, progress=False
    )


def test_a_maximum_above_that_without_random_effects() -> None:
    """There are two, by the exact integral too, and the fit ends at the higher one."""
    found = fit(BY_GROUPS, TWO_BY_GROUPS)
    one = one_ascent(found)
    assert jg.status.NAMES[int(one.status)] == "converged_boundary"
    assert found.status == "converged" and found.log_likelihood > one.log_likelihood + 0.1
    for exact in ({}, {"method": "agq", "quadrature_points": 25}):
        at_zero, between, above = (held_at(sd, **exact) for sd in (1e-6, 0.2, 0.8))
        assert between < at_zero < above, exact
    profile = [held_at(sd) for sd in np.linspace(0.6, 1.0, 9)]
    assert max(profile) <= found.log_likelihood < max(profile) + 0.01
    assert found.optimizer.iterations > int(one.iterations)  # those of both ascents


def test_both_looks_are_one_program(monkeypatch: pytest.MonkeyPatch) -> None:
    made, find = [], programs._find

    def counted(*arguments: object) -> object:
        made.append(arguments[1])
        return find(*arguments)

    monkeypatch.setattr(programs, "_find", counted)
    monkeypatch.setattr(programs, "_memory", {})
    found = fit(BY_GROUPS, TWO_BY_GROUPS)
    assert found.status == "converged" and len(made) == 1


def test_effects_of_rows_beside_a_dispersion() -> None:
    """The dispersion may go to zero, and random effects be all of the spread."""
    found = fit(BY_ROWS, TWO_BY_ROWS)
    assert found.log_likelihood > float(one_ascent(found).log_likelihood) + 0.3
    assert found.status == "converged_boundary" and found.family_parameters["phi"] < 1e-6


def test_a_dispersion_that_hardly_any_start_takes_away() -> None:
    """From a twentieth of the spread it grows again; there is a higher maximum where it is zero."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=100)
    mu = np.exp(0.4 * x + rng.normal(size=(400, 100)))
    y = (mu * rng.gamma(2.0, 0.5, mu.shape))[257]
    found = jg.glmm(
        BY_ROWS, pd.DataFrame({"x": x, "h": np.arange(100), "y": y}), "gamma", link="log"
    )
    assert found.log_likelihood > float(one_ascent(found).log_likelihood) + 0.3
    assert found.status == "converged_boundary" and found.family_parameters["phi"] < 1e-6


@pytest.mark.parametrize(
    ("formula", "models"), [(BY_GROUPS, (TWO_BY_GROUPS, 2, 4)), (BY_ROWS, (TWO_BY_ROWS, 1, 25))]
)
def test_batches_look_again_too(formula: str, models: tuple[int, ...]) -> None:
    found = batch(formula)
    for model in models:
        single = fit(formula, model)
        assert found.status[model] == single.status
        np.testing.assert_allclose(
            found.log_likelihood[model], single.log_likelihood, rtol=0, atol=1e-8
        )


@pytest.mark.parametrize("chunk", [1, 7])
def test_who_is_looked_at_again_does_not_matter(chunk: int) -> None:
    assert_same_bits(batch(BY_ROWS), batch(BY_ROWS, chunk))


def test_parts_of_a_table() -> None:
    data, Y = drawn()
    which = (1, TWO_BY_GROUPS, 2)
    table = pd.concat([data.assign(y=Y[model], part=model) for model in which])
    found = jg.fit_many(BY_GROUPS, table, by="part", family="gamma", link="log", progress=False)
    for name, value in zip(found.names, found.log_likelihood, strict=True):
        expected = fit(BY_GROUPS, int(name)).log_likelihood
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-8)


@functools.cache
def few_events() -> tuple[pd.DataFrame, np.ndarray]:
    """Some five events in twenty groups of five rows; not one event in some."""
    rng = np.random.default_rng(100)
    g, x = np.repeat(np.arange(20), 5), rng.normal(size=100)
    eta = -3.0 + 0.5 * x + 0.5 * rng.normal(size=(60, 20))[:, g]
    Y = rng.binomial(1, 1.0 / (1.0 + np.exp(-eta))).astype(float)
    return pd.DataFrame({"x": x, "g": g}), Y[Y.sum(axis=1) > 1]


def climbed(of: jg.Batch, Y: np.ndarray, sd: float | None) -> jg.Estimate:
    """Each model once from its own start, or with this standard deviation in it."""
    design = of.fitted.design

    def climb(rows: Rows, y: jax.Array) -> jg.Estimate:
        rows = dataclasses.replace(rows, y=y)
        params = start(rows).params
        theta = params.theta if sd is None else jnp.full_like(params.theta, sd)
        return maximise_rows(rows, given=dataclasses.replace(params, theta=theta))

    with jax.enable_x64(True):
        each = jax.jit(jax.vmap(climb, (None, 0)))
        return jax.tree.map(np.asarray, each(design.rows, Y[:, design.slots.rows]))


@pytest.mark.parametrize("family", ["binomial", "poisson", "nbinom2"])
def test_few_events_beside_other_starts(family: str) -> None:
    """Where lme4 and glmmTMB start, at 1, finds no higher maximum."""
    data, Y = few_events()
    found = jg.fit_many(BY_GROUPS, data, responses=Y, family=family, progress=False)
    own = found.solution.estimate.log_likelihood
    first, other = climbed(found, Y, None), climbed(found, Y, 1.0)
    well = np.isin(other.status, jg.status.PLAIN) & found.converged
    assert well.mean() > 0.9
    assert np.max((other.log_likelihood - own)[well]) < 1e-6
    assert np.all(own >= first.log_likelihood - 1e-8)
    again = own > first.log_likelihood + 1e-3
    assert again.any() and np.all(first.sparse[again])
    model = int(np.flatnonzero(again)[0])
    in_sevens = jg.fit_many(BY_GROUPS, data, responses=Y, family=family, chunk=7, progress=False)
    assert_same_bits(found, in_sevens)
    single = jg.glmm(BY_GROUPS, data.assign(y=Y[model]), family)
    assert single.status == found.status[model]
    assert single.log_likelihood == pytest.approx(found.log_likelihood[model], abs=1e-8)


@functools.cache
def found_again() -> tuple[int, ...]:
    """Some responses of `few_events` that a second ascent explains better."""
    data, Y = few_events()
    found = jg.fit_many(BY_GROUPS, data, responses=Y, family="binomial", progress=False)
    first = climbed(found, Y, None).log_likelihood
    again = np.flatnonzero(found.log_likelihood > first + 1e-3)
    assert len(again)
    return tuple(again[:3])


def test_few_events_in_parts_of_a_table() -> None:
    data, Y = few_events()
    which = (*found_again(), 0)
    table = pd.concat([data.assign(y=Y[model], part=str(model)) for model in which])
    found = jg.fit_many(BY_GROUPS, table, by="part", family="binomial", progress=False)
    for model, value, status in zip(which, found.log_likelihood, found.status, strict=True):
        single = jg.glmm(BY_GROUPS, data.assign(y=Y[model]), "binomial")
        assert status == single.status
        assert value == pytest.approx(single.log_likelihood, abs=1e-8)


def test_few_events_and_missing_responses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row without an event is missing: what is left is as sparse."""
    data, Y = few_events()
    Y = Y[list(found_again())]
    Y[np.arange(len(Y)), np.argmin(Y, axis=1)] = np.nan

    def fit_all() -> jg.Batch:
        return jg.fit_many(BY_GROUPS, data, responses=Y, family="binomial", progress=False)

    found = fit_all()
    for y, value, status in zip(Y, found.log_likelihood, found.status, strict=True):
        single = jg.glmm(BY_GROUPS, data.assign(y=y), "binomial")
        assert len(single.problem.y) == 99 and status == single.status
        assert value == pytest.approx(single.log_likelihood, abs=1e-8)
    monkeypatch.setattr(second, "looks", lambda _: [])
    assert np.max(found.log_likelihood - fit_all().log_likelihood) > 1e-3


def ascents(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How far the starts of all fits to come are raised."""
    made, run = [], fitting.run

    def counted(function: object, rows: Rows, given: object, raised: object, **static: object):
        made.append(int(raised))
        return run(function, rows, given, raised, **static)

    monkeypatch.setattr(fitting, "run", counted)
    return made


def test_who_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts at a variance of zero, and of these those with few events."""
    data, _ = few_events()
    made, row = ascents(monkeypatch), np.arange(100)
    every_group, few = np.where(row % 5 == 0, 1.0, 0.0), np.where(row % 25 == 0, 1.0, 0.0)
    cases = (
        (data.assign(y=every_group), "converged_boundary", [0]),
        (data.assign(y=few), "converged_boundary", [0, TO_A_UNIT, TO_THE_LIMIT]),
        (data.assign(y=7.0 * few), "converged", [0]),
        (data.assign(y=7.0 * few, g=row), "converged", [0]),
    )
    for table, status, expected in cases:
        found = jg.glmm("y ~ 1 + (1 | g)", table, "poisson")
        assert (found.status, made) == (status, expected)
        made.clear()


def test_a_start_that_is_given_is_the_only_one() -> None:
    one = one_ascent(fit(BY_GROUPS, TWO_BY_GROUPS))
    again = fit(BY_GROUPS, TWO_BY_GROUPS, start=one.params)
    assert again.log_likelihood == pytest.approx(float(one.log_likelihood), abs=1e-8)


@pytest.mark.parametrize(
    ("family", "arguments", "may"),
    [
        ("gamma", {"link": "log"}, True),
        ("gaussian", {}, False),
        ("gaussian", {"dispersion": "~ x"}, True),
        ("poisson", {}, True),
        ("nbinom2", {}, True),
        ("poisson", {"method": "mpl"}, False),
        ("cumulative", {}, True),
        ("nbinom2", {"control": jg.Control(staged=True)}, False),
    ],
)
def test_which_models_may_be_looked_at_again(
    family: str, arguments: dict[str, object], may: bool
) -> None:
    data, Y = drawn()
    y = np.floor(np.minimum(Y[0], 3.0)) if family not in ("gamma", "gaussian") else Y[0]
    data = data.assign(y=pd.Categorical(y, ordered=True) if family == "cumulative" else y)
    problem, _ = jg.build(BY_GROUPS, data, family, **arguments)
    control = arguments.get("control", jg.Control())
    assert isinstance(control, jg.Control)
    rows = arrange(problem)
    assert second.may_look_again(rows, [10], 40, control) is may
    assert second.may_look_again(rows, [1000], 1000, control) is may
    however_many = may and family in ("poisson", "cumulative", "nbinom2")
    assert second.may_look_again(rows, [10], 1000, control) is however_many


def test_models_put_aside() -> None:
    aside = Aside(3)
    assert aside.take(3) is None and len(aside) == 0
    aside.put(np.array([4, 7]), {"y": np.array([[4.0], [7.0]])})
    aside.put(np.array([], int), {"y": np.zeros((0, 1))})
    assert aside.take(3) is None and len(aside) == 2
    aside.put(np.array([9, 2]), {"y": np.array([[9.0], [2.0]])})
    first = aside.take(3)
    assert first is not None and first.places.tolist() == [4, 7, 9]
    assert first.given["y"].ravel().tolist() == [4.0, 7.0, 9.0]
    assert aside.take(3) is None
    last = aside.take(1)
    assert last is not None and last.places.tolist() == [2]
    assert last.given["y"].ravel().tolist() == [2.0, 2.0, 2.0]
    assert aside.take(1) is None
