"""From a fit to the limits of its profiles: where walks begin, what they follow, where they end."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from jaxglmm import status
from jaxglmm.ascent import Estimate
from jaxglmm.ascent.restricted import share_of
from jaxglmm.batch.profiles import Aim
from jaxglmm.control import Control
from jaxglmm.design import Problem
from jaxglmm.frontend.many.design import Design, make_design
from jaxglmm.frontend.many.execution import carry_out
from jaxglmm.frontend.many.followed import Followed
from jaxglmm.frontend.many.natural import by_parameter, least_information
from jaxglmm.frontend.many.progress import Progress
from jaxglmm.frontend.many.walks import Walks
from jaxglmm.inference.level import AT_EDGE, FOUND, LOST, UNREACHED, Frame
from jaxglmm.marginal.inside import inward, places
from jaxglmm.params import Params, flatten

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM

_NUDGE = 0.01  # standard errors that a walk begins off the maximum in theta: off singular points
_LEAST = 1e-6  # eigenvalue of the scaled Hessian: what is flat is walked in long steps
_LONGEST = 10.0  # unit of a step in a parameter of the law, a logarithm as a rule


class Ends(NamedTuple):
    """Where walks came to, one entry a walk.

    Attributes:
        value: of the parameter: a bound where the level is not met before, NaN where nothing was
            found.
        zeta: signed root of the deviance difference there.
        met: whether it is the one asked for.
        gain: the most that the log-likelihood was found above that of the fit.
    """

    value: np.ndarray
    zeta: np.ndarray
    met: np.ndarray
    gain: float


def find_ends(fit: GLMM, followed: list[Followed], zeta: np.ndarray, progress: bool | None) -> Ends:
    """The values of these parameters at these zeta, one walk each.

    Walks that are lost are tried again in deviations and angles (`by_parameter`).
    """
    ends, lost = _walk(fit.problem, fit.estimate, followed, zeta, progress)
    problem, estimate = by_parameter(fit)
    again = np.flatnonzero(lost)
    if not len(again) or problem is fit.problem:
        return ends
    others = [followed[k] for k in again]
    found, _ = _walk(problem, estimate, others, zeta[again], progress)
    for old, new in zip(ends[:3], found[:3], strict=True):
        old[again] = new
    return ends._replace(gain=max(ends.gain, found.gain))


def _walk(
    problem: Problem,
    estimate: Estimate,
    followed: list[Followed],
    zeta: np.ndarray,
    progress: bool | None,
) -> tuple[Ends, np.ndarray]:
    """Where walks end, and which are lost."""
    design = make_design(problem)
    frame, top = _frame(estimate, design)
    aims = Aim(
        jax.tree.map(lambda *each: np.stack(each), *(one.chosen for one in followed)),
        np.asarray(zeta, float),
    )
    work = Walks(design, frame, aims)
    with Progress(len(followed), progress) as report:
        done = carry_out(work, Control(), chunk=None, modes=False, report=report)
    reached, natural = done.outcome
    moved = np.asarray(reached.psi) - top
    code, value = np.asarray(reached.code), np.full(len(followed), np.nan)
    for k, one in enumerate(followed):
        if code[k] == FOUND and one.place < 0:
            value[k] = one.estimate + one.chosen.linear @ moved[k]
        elif code[k] == FOUND:
            value[k] = natural[k, one.place]
        elif code[k] in (AT_EDGE, UNREACHED):
            value[k] = one.bounds[int(zeta[k] > 0)]
    gain = float(np.max(np.nan_to_num(reached.gain)))
    return Ends(value, np.array(reached.zeta), code == FOUND, gain), code == LOST


def _frame(estimate: Estimate, design: Design) -> tuple[Frame, np.ndarray]:
    """Where walks begin; and psi at the maximum itself, with what is held."""
    rows, problem = design.rows, design.whole
    params, u = design.at(estimate)
    hessian = np.asarray(estimate.hessian)
    if design.basis is not None:
        hessian = design.basis.hessian_inward(hessian)
    with jax.enable_x64(True):
        moved, u = inward(rows, params, u)
        full = np.asarray(flatten(Params(*map(jax.numpy.asarray, dataclasses.astuple(moved)))))
        u = jax.tree.map(np.asarray, u)
    share = share_of(rows, rows.num_fixed)
    psi = full if share is None else np.asarray(share.collapse(full))
    of = problem.restriction
    laws = problem.family.num_phi if of is None else of.phi.num_free
    theta = slice(rows.num_fixed, len(psi) - laws)
    least = np.zeros(len(hessian))
    least[len(least) - laws :] = _LONGEST**-2
    of_theta = least_information(problem, np.asarray(estimate.params.theta))
    of_theta = of_theta if of is None else of.theta.pull(of_theta)
    least[len(least) - laws - len(of_theta) : len(least) - laws] = of_theta
    own = places(rows, len(psi))
    if int(estimate.status) == status.SEPARATED:  # far out, where nothing is known of anything
        least[own] += 1.0 / np.maximum(np.abs(psi), 1.0) ** 2
    V = _spread(hessian, least)
    V = V[np.ix_(own, own)]
    error = np.sqrt(np.diagonal(V))
    begin = psi.copy()
    begin[theta] += np.where(psi < 0, -_NUDGE, _NUDGE)[theta] * error[theta]
    return Frame(begin, u, np.linalg.cholesky(V)), full


def _spread(hessian: np.ndarray, least: np.ndarray) -> np.ndarray:
    """About the inverse of the negative Hessian, positive definite: nothing of it is infinite.

    `least` is added to the diagonal.
    """
    M = -0.5 * (hessian + hessian.T) + np.diag(least)
    size = np.abs(np.diagonal(M))
    scale = 1.0 / np.sqrt(np.where(size > 0, size, 1.0))
    values, vectors = np.linalg.eigh(M * scale[:, None] * scale)
    inverse = (vectors / np.maximum(np.abs(values), _LEAST)) @ vectors.T
    return inverse * scale[:, None] * scale
