"""Covariance structures: what becomes of a term's left side, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from jaxglmm.errors import InputError
from jaxglmm.frontend import checks
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.newdata import new_data

rng = np.random.default_rng(5)
TABLE = pd.DataFrame(
    {
        "y": rng.normal(size=40),
        "t": np.resize(np.arange(8) * 0.1, 40),
        "east": rng.integers(0, 3, 40) / 2,
        "north": rng.integers(0, 3, 40),
        "g": np.repeat(list("abcde"), 8),
        "one": "all",
        "f": np.resize(list("abcd"), 40),
        "text": np.resize(["t1", "t2", "t10", "t3"], 40),
        "ordered": pd.Categorical(
            np.resize(["t1", "t2", "t10", "t3"], 40), categories=["t1", "t2", "t3", "t10"]
        ),
        "flag": np.resize([True, False], 40),
        "same": 1.5,
    }
)
K = pd.DataFrame(np.eye(4) + 0.5, index=list("dcba"), columns=list("dcba"))
K.loc["a", "b"] = K.loc["b", "a"] = 0.25


def first_term(data):
    return data.groupings[0].terms[0]


NAMED = ["diag", "homdiag", "cs", "homcs", "ar1", "toep", "us", "rr"]


@pytest.mark.parametrize("name", NAMED)
def test_structures_of_a_factor(build, name: str) -> None:
    data = build(f"y ~ {name}(0 + f | g)", data=TABLE)
    term = first_term(data)
    assert (term.structure, term.names) == (name, ("f[a]", "f[b]", "f[c]", "f[d]"))
    assert term.arguments == ({"rank": 2} if name == "rr" else {})
    long_way = build("y ~ (0 + f | g)", data=TABLE, covariance={"g": name})
    assert first_term(long_way).structure == name


def test_positions_are_columns(build) -> None:
    data = build("y ~ exp(east + north | one)", data=TABLE)
    term, Z = first_term(data), data.groupings[0].Z
    values = sorted(set(zip(TABLE["east"], TABLE["north"], strict=True)))
    assert term.names == tuple(f"({e:g}, {n:g})" for e, n in values)
    assert term.shared == "east + north"
    own = [f"({e:g}, {n:g})" for e, n in zip(TABLE["east"], TABLE["north"], strict=True)]
    assert [term.names[i] for i in Z.argmax(axis=1)] == own
    np.testing.assert_array_equal(Z.sum(axis=1), 1)
    (distances,) = term.constants
    points = np.array(values)
    np.testing.assert_allclose(
        distances, np.linalg.norm(points[:, None] - points[None], axis=-1), rtol=1e-15
    )


def test_positions_that_differ_by_rounding_are_one(build) -> None:
    table = TABLE.assign(t=np.where(np.arange(40) % 2, 0.3, 0.1 + 0.2) + (np.arange(40) > 19))
    assert first_term(build("y ~ ou(t | g)", data=table)).names == ("0.3", "1.3")


def test_a_process_in_transformed_time(build) -> None:
    data = build("y ~ ou(I(10 * t) | g)", data=TABLE)
    assert first_term(data).names == tuple(str(i) for i in range(8))


def test_new_positions(build) -> None:
    data = build("y ~ ou(t | g) + exp(east + north | one)", data=TABLE)
    new = new_data(
        data,
        Frame(
            {
                "t": [0.1, 0.15, 0.7, np.nan],
                "g": list("abzz"),
                "east": [0.0, 0.5, 0.7, 0.0],
                "north": [0, 1, 1, 0],
                "one": ["all"] * 4,
            }
        ),
    )
    assert new.unseen["ou(t | g)"].tolist() == [False, True, False, False]
    assert new.unseen["exp(east + north | one)"].tolist() == [False, False, True, False]
    assert new.Z[0].sum(axis=1)[:3].tolist() == [1, 0, 1]
    assert new.missing.tolist() == [False, False, False, True]


def test_the_matrix_of_propto_follows_its_labels(build) -> None:
    asked = {"data": TABLE, "matrices": {"K": K}}
    (factor,) = first_term(build("y ~ propto(0 + f | g, K)", **asked)).constants
    in_order = K.loc[list("abcd"), list("abcd")].to_numpy()
    np.testing.assert_allclose(factor @ factor.T, in_order, rtol=1e-14)
    assert np.all(np.triu(factor, 1) == 0)
    plain = {"data": TABLE, "matrices": {"K": in_order}}
    (other,) = first_term(build("y ~ propto(0 + f | one, K)", **plain)).constants
    np.testing.assert_array_equal(other, factor)
    more = K.reindex(index=list("xdcba"), columns=list("xdcba")).fillna(0.1)
    (larger,) = first_term(
        build("y ~ propto(0 + f | g, K)", data=TABLE, matrices={"K": more})
    ).constants
    np.testing.assert_array_equal(larger, factor)


@pytest.mark.parametrize("kind", [np.array, pd.DataFrame, np.ndarray.tolist])
def test_a_pattern_of_zeros(build, kind) -> None:
    mask = np.eye(4, dtype=bool)
    mask[2, 0] = mask[0, 2] = mask[3, 1] = mask[1, 3] = True
    term = first_term(build("y ~ (0 + f | g)", data=TABLE, covariance={"g": kind(mask)}))
    assert term.structure == "pattern"
    assert term.arguments == {"zeros": ((1, 0), (2, 1), (3, 0), (3, 2))}


def test_one_level_is_enough_for_coupled_columns(build) -> None:
    for name in ("homdiag", "cs", "homcs", "ar1", "toep"):
        assert build(f"y ~ {name}(0 + f | one)", data=TABLE).groupings[0].levels == ["all"]
    for term in ("(1 | one)", "(0 + f | one)", "rr(0 + f | one, d = 1)", "cs(1 | one)"):
        with pytest.raises(InputError, match="'one' has a single level"):
            build(f"y ~ {term}", data=TABLE)
    with pytest.raises(InputError, match="'one' has a single level"):
        build("y ~ exp(east | one) + (1 | one)", data=TABLE)


def test_a_column_in_two_structures(build) -> None:
    """One of them has a single variance for all columns, so that both are defined."""
    data = build("y ~ propto(0 + f | g, K) + diag(0 + f | g)", data=TABLE, matrices={"K": K})
    assert data.groupings[0].Z.shape == (40, 8)
    with pytest.raises(InputError, match=r"'f\[a\]' is in two random terms of the group 'g'"):
        build("y ~ cs(0 + f | g) + diag(0 + f | g)", data=TABLE)


def test_an_order_that_text_does_not_have(build) -> None:
    with pytest.raises(InputError, match="sort as t1, t10, t2, t3.*Categorical"):
        build("y ~ ar1(0 + text | g)", data=TABLE)
    data = build("y ~ ar1(0 + ordered | g)", data=TABLE)
    assert first_term(data).names[-1] == "ordered[t10]"


REFUSED = [
    ("ou(f | g)", {}, r"'ou' needs coordinates.*'f' holds categories.*ar1\(0 \+ f | g\)"),
    ("ou(flag | g)", {}, "'flag' holds categories"),
    ("exp(east + factor(north) | g)", {}, r"'factor\(north\)' holds categories"),
    ("gau(1 | g)", {}, r"'gau' needs coordinates.* and got none. Write .*gau\(x \+ y | group\)"),
    ("mat(1 + t | g)", {}, "without an intercept"),
    ("ou(east + north | g)", {}, r"one coordinate, but there are 2 \(east, north\). Use exp"),
    ("ou(same | g)", {}, "all 40 rows used are at one position"),
    ("exp(log(t) | g)", {}, r"'log\(t\)' is not finite in rows 0, 8"),
    ("ar1(0 + t | g)", {}, r"'t' is numeric. Write ar1\(0 \+ factor\(t\) | g\)"),
    ("toep(f | g)", {}, r"there is an intercept. Write toep\(0 \+ f | g\)"),
    ("ar1(1 | g)", {}, r"there is none. Write ar1\(0 \+ f | g\)"),
    ("ar1(0 + f:flag | g)", {}, "there are 2 factors"),
    ("cs(0 + f | g, 2)", {}, "'cs' .* takes no options"),
    ("rr(0 + f | g, d = 5)", {}, "d = 5 must be a whole number from 1 to .* 4"),
    ("rr(0 + f | g, d = 0)", {}, "d = 0 must be a whole number"),
    ("rr(0 + f | g, d = 1.5)", {}, "d = 1.5 must be a whole number"),
    ("rr(1 | g)", {}, "d = 2 must be a whole number from 1 to .* 1"),
    ("rr(0 + f | g, k = 2)", {}, r"'rr' takes one option, d \(the rank\)"),
    ("propto(0 + f | g)", {}, "'propto' needs the name of a matrix"),
    ("propto(0 + f | g, K)", {}, r"no matrix 'K' in matrices= \(given: none\)"),
    ("propto(0 + f | g, K)", {"L": K}, "matrices names 'L'"),
    ("propto(0 + f | g, K)", {"K": K.iloc[:3, :3]}, "do not match .*none for 'a'.*'d', 'c', 'b'"),
    ("propto(0 + f | g, K)", {"K": np.eye(3)}, r"shape \(3, 3\), but must be \(4, 4\)"),
    ("propto(0 + f | g, K)", {"K": -np.eye(4)}, "not positive definite: .* is -1"),
    ("propto(0 + f | g, K)", {"K": np.ones((4, 4))}, "not positive definite"),
    ("propto(0 + f | g, K)", {"K": np.tri(4)}, r"not symmetric: its entries \(0, 1\) and \(1, 0"),
    ("propto(0 + f | g, K)", {"K": "K"}, "a matrix of numbers: .* not str"),
    ("propto(0 + f | g, K)", {"K": np.ones(4)}, "must be a matrix"),
    (
        "propto(0 + f | g, K)",
        {"K": np.full((4, 4), np.inf)},
        r"must be finite, but its entry \(0, 0\)",
    ),
    ("propto(0 + f | g, K)", {"K": K.rename(columns={"a": "q"})}, "same labels on its rows and"),
]


@pytest.mark.parametrize(("term", "matrices", "message"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused(build, term: str, matrices: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(f"y ~ {term}", data=TABLE, matrices=matrices or None)


PATTERNS = [
    (np.eye(3), r"covariance\['g'\] has shape \(3, 3\), but must be \(4, 4\)"),
    (2 * np.eye(4), "zeros and ones"),
    (np.tri(4), r"symmetric, but its entries \(0, 1\) and \(1, 0\)"),
    (np.zeros((4, 4)), r"ones on its diagonal, but entry 0 is 0.*'f\[a\]'"),
    (3, r"covariance\['g'\] must be a matrix"),
    ([[1, 0], [1]], "matrix of numbers"),
]


@pytest.mark.parametrize(("mask", "message"), PATTERNS, ids=[p[1][:30] for p in PATTERNS])
def test_patterns_refused(build, mask: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build("y ~ (0 + f | g)", data=TABLE, covariance={"g": mask})


def test_a_pattern_is_for_one_term(build) -> None:
    with pytest.raises(InputError, match="pattern for one random term, but the formula has 2"):
        build("y ~ (0 + f | g) + (0 + t | g)", data=TABLE, covariance={"g": np.eye(4)})


def test_positions_beyond_the_memory(build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "machine_memory", lambda: 1e4)
    with pytest.raises(InputError, match=r"9 columns of exp\(east \+ north | one\) need .* GB"):
        build("y ~ exp(east + north | one)", data=TABLE)
    monkeypatch.setattr(checks, "machine_memory", lambda: 1e3)
    with pytest.raises(InputError, match="4 columns of the group 'g' need"):
        build("y ~ cs(0 + f | g)", data=TABLE)
