"""Profiles: every limit of every parameter as a task of one pool."""

from __future__ import annotations

from typing import NamedTuple

from jax import Array

from jaxglmm.arrays import AnyArray
from jaxglmm.ascent.maximum import LaplaceRoute, Prepared
from jaxglmm.ascent.restricted import share_of
from jaxglmm.batch.pool import Task, in_blocks, pool
from jaxglmm.inference.level import Frame, Path, Reached, advance, begin, end, unfinished
from jaxglmm.inference.straight import Chosen
from jaxglmm.params import natural_values, unflatten
from jaxglmm.rows import Rows


class Aim(NamedTuple):
    """A parameter and the zeta that is asked for, its sign the direction; along a leading axis."""

    chosen: Chosen
    zeta: AnyArray


class Limits(NamedTuple):
    """Ends of the walks, along a leading axis.

    Attributes:
        reached: as of `inference.level`, psi with what is held filled in.
        natural: `params.natural_values` there.
    """

    reached: Reached
    natural: AnyArray


def find_limits(rows: Rows, frame: Frame, aims: Aim, count: Array, width: int) -> Limits:
    """What the first `count` aims lead to, `width` of them at a time (`pool`).

    The number of aims is a multiple of `width`. The likelihood is that of the method of `rows`,
    with their restriction and their prior.
    """
    share = share_of(rows, rows.num_fixed)
    objective = LaplaceRoute().objective(rows, Prepared(frame.origin, frame.u))
    path = Path(rows, objective, share, frame)
    task = Task(
        begin=lambda aim: begin(path, aim.chosen),
        advance=lambda aim, state, live: advance(path, aim.chosen, aim.zeta, state, live),
        unfinished=unfinished,
        end=lambda aim, state: end(path, aim.zeta, state),
    )
    reached = pool(task, aims, count, width)

    def describe(of: Reached) -> Limits:
        psi = of.psi if share is None else share.expand(of.psi)
        params = unflatten(psi, rows)
        natural = natural_values(rows, params.theta, params.phi)
        return Limits(of._replace(psi=psi), natural)

    return in_blocks(describe, reached, count, width)
