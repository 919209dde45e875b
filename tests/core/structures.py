"""Every covariance structure with what it needs, and its covariance by an independent formula."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from jaxglmm.covariance import REGISTRY, AbstractCovariance, Pattern, ReducedRank, Unstructured

from .compiled import of

# Links 0-1-2-3-0 lack their chords: one entry of the triangle follows from others.
CYCLE = ((2, 0), (3, 1))


def make_structure(name: str, dim: int) -> tuple[AbstractCovariance, tuple[Any, ...]]:
    """The structure and its constants: uneven positions, a known matrix, some zeros."""
    rng = np.random.default_rng(dim)
    if name == "rr":
        return ReducedRank(dim, rank=min(2, dim)), ()
    if name == "pattern":
        return Pattern(dim, zeros=tuple(pair for pair in CYCLE if pair[0] < dim)), ()
    if name == "propto":
        root = rng.normal(size=(dim, dim))
        return REGISTRY[name](dim), (np.linalg.cholesky(root @ root.T / dim + np.eye(dim)),)
    if name in ("ou", "exp", "gau", "mat"):
        position = rng.uniform(size=(dim, 1 if name == "ou" else 2))
        apart = np.linalg.norm(position[:, None] - position[None], axis=-1)
        return REGISTRY[name](dim), (apart,)
    if name == "spherical":
        return Unstructured(dim).by_parameter, ()
    return REGISTRY[name](dim), ()


def typical_theta(structure: AbstractCovariance, constants: tuple[Any, ...]) -> np.ndarray:
    """Parameters of distinct deviations and moderate correlations."""
    sd = 0.6 + 0.3 * np.cos(np.arange(structure.dim))
    start = np.array(of(structure, "start", sd, constants))
    if structure.name in ("ou", "exp", "gau", "mat"):
        start[1:2] += 1.0  # at a third of the median distance correlations are weak
    return start + np.random.default_rng(3).uniform(-0.15, 0.15, len(start))


def covariance_from_natural(
    structure: AbstractCovariance, constants: tuple[Any, ...], values: np.ndarray
) -> np.ndarray:
    """The covariance that these natural parameters mean, after the formulas of glmmTMB."""
    dim = structure.dim
    by_kind: dict[str, list[float]] = {kind: [] for kind in ("sd", "corr", "range", "shape")}
    R = np.eye(dim)
    for (kind, i, j), value in zip(structure.parameters, values, strict=True):
        by_kind[kind].append(value)
        if kind == "corr":
            R[i, j] = R[j, i] = value
    rho, lag = by_kind["corr"], np.abs(np.subtract.outer(np.arange(dim), np.arange(dim)))
    match structure.name:
        case "cs" | "homcs" if dim > 1:
            R = np.where(lag == 0, 1.0, rho[0])
        case "ar1" if dim > 1:
            R = rho[0] ** lag
        case "toep":
            R = np.array([1.0, *rho])[lag]
        case "propto":
            R = constants[0] @ constants[0].T
        case "ou" | "exp" if dim > 1:
            R = np.exp(-constants[0] / by_kind["range"][0])
        case "gau" if dim > 1:
            R = np.exp(-((constants[0] / by_kind["range"][0]) ** 2))
        case "mat" if dim > 1:
            R = _matern(constants[0] / by_kind["range"][0], by_kind["shape"][0])
    sd = np.broadcast_to(by_kind["sd"], dim)
    return R * np.outer(sd, sd)


def _matern(x: np.ndarray, nu: float) -> np.ndarray:
    safe = np.where(x > 0, x, 1.0)
    return np.where(x > 0, 2 ** (1 - nu) / special.gamma(nu) * safe**nu * special.kv(nu, safe), 1.0)


def boundary_points(structure: AbstractCovariance, theta: np.ndarray) -> list[np.ndarray]:
    """theta where a deviation is zero, or a correlation at a bound (angles of +-pi/2)."""
    angles = {"cs": 1, "homcs": 1, "ar1": 1, "toep": structure.dim - 1}
    angles["spherical"] = structure.dim * (structure.dim - 1) // 2
    last = len(theta) - angles.get(structure.name, 0)
    points = []
    for k in range(len(theta)):
        is_angle = k >= last
        is_log = structure.name in ("ou", "exp", "gau", "mat") and k > 0
        for value in (np.pi / 2, -np.pi / 2) if is_angle else () if is_log else (0.0,):
            points.append(np.where(np.arange(len(theta)) == k, value, theta))
    return points
