"""The best of many starts: whether a fit that converged lies at the highest maximum that can be
found, and whether there is one where a fit failed."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

NUMBER = 20
_FAR = 3.0  # standard errors, from the estimate and from the closed-form start
_FOLD = 1.5  # standard deviation of the logarithm of a factor on theta
_DISPERSION = 1.5  # of the unconstrained parameters of the law


@dataclass(frozen=True)
class Found:
    """What the starts of one model came to.

    best: the highest log-likelihood of a start that did not end as `nonfinite`, NaN where none
    did; well: number of starts that ended at a maximum; status: how the best one ended.
    """

    best: float
    well: int
    status: str


def search(batch: Any, y: np.ndarray, model: int, seed: int) -> Found:
    """Fit a model of a batch from `NUMBER` starts: the closed-form one, half of the others around
    it, half around the estimate; `y` is the response in the law's units."""
    import jax

    from jaxglmm import status
    from jaxglmm.inference.vcov import joint

    design, estimate = batch.fitted.design, batch.solution.estimate
    params = estimate.params
    psi = np.concatenate([part[model] for part in (params.beta, params.theta, params.phi)])
    variance = np.diagonal(joint(np.asarray(estimate.hessian[model])))
    error = np.sqrt(np.where(variance > 0, variance, 0.0))
    usable = np.isfinite(psi).all() and np.isfinite(error).all()
    around = np.nan_to_num(psi), np.nan_to_num(error), np.asarray(usable)
    noise = np.random.default_rng(seed).normal(size=(2, NUMBER, len(psi)))
    noise[:, 0] = 0.0
    arguments = (design.rows, y[design.slots.rows], *around, noise)
    with jax.enable_x64(True):
        value, code = map(np.asarray, _program()(*arguments))
    finite = np.isfinite(value) & (code != status.NONFINITE)
    if not finite.any():
        return Found(float("nan"), 0, "nonfinite")
    best = int(np.argmax(np.where(finite, value, -np.inf)))
    well = int(np.sum(np.isin(code, status.ENDED_WELL)))
    return Found(float(value[best]), well, status.NAMES[code[best]])


@functools.cache
def _program() -> Any:
    import jax

    from jaxglmm.frontend import programs

    quick = {**programs.ON_CPU, "xla_backend_optimization_level": 0}  # few fits: it is to compile
    return jax.jit(_climb_all, compiler_options=quick if jax.default_backend() == "cpu" else None)


def _climb_all(rows: Any, y: Any, psi: Any, error: Any, usable: Any, noise: Any) -> Any:
    """Log-likelihoods and status codes of all starts."""
    import jax
    import jax.numpy as jnp

    from jaxglmm.ascent import maximise_rows, start
    from jaxglmm.params import flatten, unflatten

    rows = dataclasses.replace(rows, y=y)
    begin = start(rows.random_only)
    p, k = rows.X.shape[0], rows.num_theta
    information = jnp.diagonal(begin.information)
    beta_error = 1.0 / jnp.sqrt(jnp.where(information > 0, information, 1.0))
    plain = flatten(begin.params)

    def climb(number: Any, noise: Any, signs: Any) -> Any:
        beta = plain[:p] + _FAR * beta_error * noise[:p]
        turn = jnp.where(signs[p : p + k] < 0, -1.0, 1.0)
        theta = plain[p : p + k] * jnp.exp(_FOLD * noise[p : p + k]) * turn
        phi = plain[p + k :] + _DISPERSION * noise[p + k :]
        around = psi + _FAR * error * noise
        own = jnp.concatenate([beta, theta, phi])
        first = jnp.where(usable & (number % 2 == 1), around, own)
        found = maximise_rows(rows, given=unflatten(first, rows.random_only))
        return found.log_likelihood, found.status

    return jax.vmap(climb)(jnp.arange(noise.shape[1]), *noise)
