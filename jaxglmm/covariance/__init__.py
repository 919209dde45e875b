"""Covariance structures of random-effects terms: one class a file, one line here each."""

from __future__ import annotations

from jaxglmm.covariance.ar1 import Autoregressive
from jaxglmm.covariance.base import AbstractCovariance, Parameter, Representative
from jaxglmm.covariance.cs import CompoundSymmetry
from jaxglmm.covariance.diag import Diagonal
from jaxglmm.covariance.exp import Exponential
from jaxglmm.covariance.gau import SquaredExponential
from jaxglmm.covariance.homcs import HomogeneousCompoundSymmetry
from jaxglmm.covariance.homdiag import HomogeneousDiagonal
from jaxglmm.covariance.mat import Matern
from jaxglmm.covariance.ou import OrnsteinUhlenbeck
from jaxglmm.covariance.pattern import Pattern
from jaxglmm.covariance.propto import Proportional
from jaxglmm.covariance.rr import ReducedRank
from jaxglmm.covariance.toep import Toeplitz
from jaxglmm.covariance.us import Unstructured

REGISTRY: dict[str, type[AbstractCovariance]] = {
    structure.name: structure
    for structure in (
        Unstructured,
        Diagonal,
        HomogeneousDiagonal,
        CompoundSymmetry,
        HomogeneousCompoundSymmetry,
        Autoregressive,
        Toeplitz,
        ReducedRank,
        Proportional,
        OrnsteinUhlenbeck,
        Exponential,
        SquaredExponential,
        Matern,
        Pattern,
    )
}

__all__ = [
    "REGISTRY",
    "AbstractCovariance",
    "Autoregressive",
    "CompoundSymmetry",
    "Diagonal",
    "Exponential",
    "HomogeneousCompoundSymmetry",
    "HomogeneousDiagonal",
    "Matern",
    "OrnsteinUhlenbeck",
    "Parameter",
    "Pattern",
    "Proportional",
    "ReducedRank",
    "Representative",
    "SquaredExponential",
    "Toeplitz",
    "Unstructured",
]
