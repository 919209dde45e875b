"""Pseudo-data: a generalized linear model linearised at a linear predictor, a linear mixed model.

With mu = g^-1(eta) and its slope d = d mu / d eta,

    z = eta + (y - mu) / d,    Var(z | u) = phi V(mu) / (w d^2),    z = X beta + Z b + offset + e,

the working response of Breslow & Clayton (1993), JASA 88:9-25, and Wolfinger & O'Connell (1993),
J. Statist. Comput. Simul. 48:233-243. At a fixed point b is the mode of the law itself.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.families import AbstractFamily, Gaussian
from jaxglmm.params import Params
from jaxglmm.rows import Rows


def linearised(rows: Rows, eta: Array) -> Rows:
    """The linear mixed model about eta; fixed effects inside where the method is "rempl"."""
    law = rows.family
    eta = jnp.broadcast_to(eta, rows.y.shape)
    mu, slope = jax.jvp(law.link.mean, (eta,), (jnp.ones_like(eta),))
    unit = jnp.zeros((law.num_phi,), rows.dtype)
    variance = law.response_variance(eta, unit, rows.weight)
    y = rows.y / rows.weight if law.weight_role == "trials" else rows.y
    counts = rows.multiplier > 0
    return dataclasses.replace(
        rows,
        y=jnp.where(counts, eta + (y - mu) / slope, 0.0),
        weight=jnp.where(counts, slope * slope / variance, 1.0),
        family=working_family(law),
        method="reml" if rows.method == "rempl" else "laplace",
    )


def working_family(law: AbstractFamily) -> Gaussian:
    """The normal law of the working response: sigma^2 is the dispersion, one if it is known."""
    return Gaussian(sigma=None if law.num_phi else law.known.get("sigma", 1.0))


def log_sigma_share(law: AbstractFamily) -> float:
    """d log sigma / d phi: phi is the logarithm of a standard deviation, or of a variance."""
    return 1.0 if isinstance(law, Gaussian) else 0.5


def to_working(law: AbstractFamily, params: Params) -> Params:
    """The parameters of the linear mixed model from those of the law."""
    return dataclasses.replace(params, phi=params.phi * log_sigma_share(law))


def from_working(law: AbstractFamily, params: Params) -> Params:
    """The inverse of `to_working`."""
    return dataclasses.replace(params, phi=params.phi / log_sigma_share(law))
