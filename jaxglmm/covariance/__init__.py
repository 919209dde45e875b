"""Covariance structures of random-effects terms: one class a file, one line here each."""

from __future__ import annotations

from jaxglmm.covariance.base import AbstractCovariance
from jaxglmm.covariance.diag import Diagonal
from jaxglmm.covariance.us import Unstructured

REGISTRY: dict[str, type[AbstractCovariance]] = {
    structure.name: structure for structure in (Unstructured, Diagonal)
}

__all__ = ["REGISTRY", "AbstractCovariance", "Diagonal", "Unstructured"]
