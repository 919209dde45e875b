"""How many models run side by side and how many a program takes at once."""

from __future__ import annotations

from typing import NamedTuple

from jaxglmm.design import Problem
from jaxglmm.errors import InputError
from jaxglmm.pattern import peak_bytes, survey

# Rows of all lanes together. On a CPU the arrays of an iteration then stay in the cache; an
# accelerator needs many to be kept busy.
_ROWS_CPU, _LANES_CPU = 16_000, 32
_ROWS_ACCELERATOR, _LANES_ACCELERATOR = 4_000_000, 4096
_BYTES = 2.0**28  # that all lanes may take beside the first: large factors leave few
# Sizes of a micro-batch, in lanes: at its end lanes run out of models one by one (64 for 16: a
# fourteenth more fits in a second). A single one never waits, and shorter turns end together.
_MICRO, _MICRO_OF_ONE = (64, 16, 4, 1), (16, 4, 1)
_WAITING = 2.0**28  # bytes of its models
_PROGRAM = 3e8  # bytes of a process, which `peak_bytes` counts


class Sizes(NamedTuple):
    """lanes that iterate together; models of a micro-batch, a multiple of them."""

    lanes: int
    models: int


class Needs(NamedTuple):
    """Bytes of a lane, and of a model that waits in a micro-batch."""

    lane: float
    waiting: float

    def of(self, sizes: Sizes, workers: int) -> float:
        """Bytes of a batch with so many micro-batches at once."""
        return _PROGRAM + workers * (sizes.lanes * self.lane + sizes.models * self.waiting)


def needs_of(problem: Problem, num_arrays: int, factorisation: str = "auto") -> Needs:
    """Of a problem with so many arrays that each model has for itself; `factorisation` as in
    `pattern.survey`."""
    groupings = problem.groupings
    num_levels = [g.num_levels for g in groupings]
    num_columns = [max(g.num_columns, g.num_latent) for g in groupings]
    p = problem.X.shape[1]
    columns = [g.num_columns for g in groupings]
    found = survey([g.codes for g in groupings], num_levels, columns, factorisation)
    num_params = p + sum(g.num_theta for g in groupings) + problem.family.num_phi
    whole = peak_bytes(found, problem.num_obs, num_levels, num_columns, p, num_params)
    # Given, laid out, and what the route keeps of it.
    return Needs(whole - _PROGRAM, 8.0 * problem.num_obs * (3 * num_arrays + 1))


def needs_of_part(problem: Problem, factorisation: str = "auto") -> Needs:
    """Memory for a model like this one, whose columns are its own too."""
    columns = problem.X.shape[1] + sum(g.num_columns for g in problem.groupings)
    return needs_of(problem, 3 + columns, factorisation)


def num_lanes(num_rows: int, needs: Needs, *, on_cpu: bool) -> int:
    """A power of two, by the design and the kind of device alone: estimates of other lanes differ
    in their last bits."""
    rows = _ROWS_CPU if on_cpu else _ROWS_ACCELERATOR
    most = _LANES_CPU if on_cpu else _LANES_ACCELERATOR
    many = min(rows / max(num_rows, 1), most)
    if on_cpu:
        many = min(many, 1 + _BYTES / needs.lane)
    return 1 << max(int(many).bit_length() - 1, 0)


def choose_sizes(lanes: int, workers: int, needs: Needs, limit: float) -> Sizes:
    """By the design alone, where `limit` bytes of memory hold it, as another program's results
    differ in their last bits: the largest micro-batch whose models are not too many bytes.

    Raises:
        InputError: not even the smallest one fits.
    """
    sizes = [Sizes(lanes, lanes * n) for n in (_MICRO if lanes > 1 else _MICRO_OF_ONE)]
    small = [s for s in sizes if s.models * needs.waiting <= _WAITING] or sizes[-1:]
    fitting = [s for s in small if needs.of(s, workers) <= limit]
    if fitting:
        return fitting[0]
    least = needs.of(sizes[-1], workers)
    raise InputError(
        f"responses: {workers} micro-batches of {lanes} models need about {1e-9 * least:,.1f} GB "
        f"of memory, more than the {1e-9 * limit:,.1f} GB there are. Use fewer rows or levels "
        f"(about {100 * limit / least:.0f} % of them fit), or a larger machine."
    )


def turns(sizes: Sizes, num_models: int, workers: int, chunk: int | None) -> list[range]:
    """The models that a worker takes at once, in order; where they are many all workers have some.

    Of lanes side by side all turns are of about one size, and as many for each worker: their lanes
    idle at the end of each. A single lane never does, so that the last turns are of ever fewer
    models, and all workers end with one.
    """
    most, found, first = sizes.models if chunk is None else min(sizes.models, chunk), [], 0
    rounds = max(-(-num_models // (workers * most)), 1)
    even = -(-num_models // (workers * rounds * sizes.lanes)) * sizes.lanes
    while first < num_models:
        share = even if sizes.lanes > 1 else -(-(num_models - first) // (2 * workers))
        found.append(range(first, min(first + min(share, most), num_models)))
        first = found[-1].stop
    return found
