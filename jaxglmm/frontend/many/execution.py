"""Batches on all cores and devices.

XLA leaves the interpreter to others while a program runs: a thread for each core of a CPU, and one
for each other device, take micro-batches in turn and run one executable. What a model's estimates
are depends neither on the micro-batch it is in nor on who runs it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from jaxglmm.ascent import Estimate
from jaxglmm.control import Control
from jaxglmm.frontend import programs, second
from jaxglmm.frontend.checks import machine_memory
from jaxglmm.frontend.fitting import threads_for
from jaxglmm.frontend.many.aside import Aside, Waiting
from jaxglmm.frontend.many.models import Models, Survey, Wrong
from jaxglmm.frontend.many.progress import Progress
from jaxglmm.frontend.many.sizes import Sizes, choose_sizes, num_lanes, turns
from jaxglmm.frontend.many.work import AbstractWork
from jaxglmm.host import num_cores

_NUMBERS = 1 << 18  # that are looked at together: what a cache holds

T = TypeVar("T")


class Done(NamedTuple):
    """All models along a leading axis, in NumPy, as their program had them. num_obs: rows that
    count in each."""

    outcome: Any
    num_obs: np.ndarray
    compile_seconds: float
    run_seconds: float


def surveyed(models: Models, num_rows: int, chunk: int | None) -> Survey:
    """What all models have in common; an InputError if any of them has values that cannot be."""
    threads = len(_workers(*_devices()))
    step = max(_NUMBERS // max(num_rows, 1), 1)
    starts = range(0, len(models), step if chunk is None else min(step, chunk))
    survey, wrong = Survey(False, False, True, True, True), list[Wrong]()

    def look(start: int) -> tuple[Survey, list[Wrong]]:
        return models.look(start, min(start + starts.step, len(models)))

    with ThreadPoolExecutor(min(threads, len(starts))) as pool:
        for found, bad in pool.map(look, starts):
            survey = survey.joined(found)
            wrong += bad
    if wrong:
        models.refuse(wrong)
    return survey


def carry_out(
    work: AbstractWork,
    control: Control,
    *,
    chunk: int | None,
    modes: bool,
    report: Progress,
) -> Done:
    """Maximise and describe every model."""
    began = time.perf_counter()
    devices, on_cpu = _devices()
    workers = _workers(devices, on_cpu)
    lanes = num_lanes(work.num_rows, work.needs, on_cpu=on_cpu)
    limit = machine_memory() if on_cpu else len(workers) * _memory(devices[0])
    sizes = choose_sizes(lanes, len(workers), work.needs, limit)
    run = _Run(work, sizes, control.of_optimiser, modes)
    ready = _each(list(dict.fromkeys(workers)), run.prepare)
    compiled = time.perf_counter()
    with threads_for(work.rows):
        run.all(dict(ready), workers, turns(sizes, len(work), len(workers), chunk), report)
    return Done(run.whole(), run.num_obs, compiled - began, time.perf_counter() - compiled)


def _devices() -> tuple[list[Any], bool]:
    """Those of this process, and whether they are a CPU's."""
    devices = jax.local_devices()
    return devices, devices[0].platform == "cpu"


def _workers(devices: list[Any], on_cpu: bool) -> list[Any]:
    """The device of each thread. Further devices of a CPU are the same cores under other names, and
    would need executables of their own."""
    return [devices[0]] * num_cores() if on_cpu else devices


def _memory(device: Any) -> float:
    """Bytes of an accelerator that XLA may use; infinite where it does not say."""
    return float((device.memory_stats() or {}).get("bytes_limit", np.inf))


def _each(items: list[Any], function: Callable[[Any], T]) -> list[tuple[Any, T]]:
    """(item, function(item)) of a few, at once."""
    if len(items) == 1:
        return [(items[0], function(items[0]))]
    with ThreadPoolExecutor(len(items)) as pool:
        return list(zip(items, pool.map(function, items), strict=True))


class _Run:
    """One pass over all models; the arrays that results are written to."""

    def __init__(
        self,
        work: AbstractWork,
        sizes: Sizes,
        control: Control,
        modes: bool,
    ) -> None:
        self.work, self.sizes = work, sizes
        settings = {"control": control, "width": sizes.lanes, "modes": modes}
        self.static = {**settings, **work.static}
        again = work.takes_raised and second.may_look_again(
            work.rows, work.num_levels, work.num_rows, control
        )
        self._aside = Aside(sizes.models) if again else None
        self.num_obs = np.zeros(len(work), np.int64)
        self._lock, self._stop = threading.Lock(), False
        self._leaves: list[np.ndarray] = []
        self._tree: Any = None

    def prepare(self, device: Any) -> tuple[Callable[..., Any], Any]:
        """The executable of a device, and what all models share there."""
        default = device == jax.devices()[0]
        one, _ = self.work.given(0, 1, 1)
        size = self.sizes.models
        given = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype), one
        )
        shared = self.work.shared
        with jax.enable_x64(True):
            program = programs.ready(
                self.work.program,
                (*shared, given, np.int64(0), *self._raised(0)),
                num_nodes=self.work.rows.family.num_nodes,
                device=None if default else device,
                options=self.work.options if device.platform == "cpu" else {},
                **self.static,
            )
            return program, jax.device_put(shared, device)

    def _raised(self, raised: int) -> tuple[np.int32, ...]:
        """Arguments for programs that take how far starts are raised."""
        return () if self._aside is None else (np.int32(raised),)

    def all(
        self, ready: dict[Any, Any], workers: list[Any], shares: list[range], report: Progress
    ) -> None:
        """Fit all models, those of a turn at once."""
        left, busy = iter(shares), workers[: len(shares)]
        with ThreadPoolExecutor(len(busy)) as pool:
            running = [
                pool.submit(self._work, ready[device], device, left, report) for device in busy
            ]
            try:
                for done in as_completed(running):
                    done.result()
            finally:
                self._stop = True
        self._look_at_rest(ready, busy)

    def _work(
        self,
        ready: tuple[Callable[..., Any], Any],
        device: Any,
        left: Iterator[range],
        report: Progress,
    ) -> None:
        with jax.enable_x64(True):
            while not self._stop:
                with self._lock:
                    turn = next(left, None)
                if turn is None:
                    return
                start, stop = turn.start, turn.stop
                own = self.work.given(start, stop, self.sizes.models)
                outcome = self._run(ready, device, own[0], stop - start)
                self.num_obs[start:stop] = own[1]
                self._keep(start, stop, outcome)
                report.add(self.work.codes(outcome)[: stop - start])
                self._put_aside(start, stop, own[0], outcome)
                if self._aside is not None:
                    self._look_again(ready, device, self._aside.take(self.sizes.models))

    def _run(
        self,
        ready: tuple[Callable[..., Any], Any],
        device: Any,
        given: Any,
        count: int,
        *,
        raised: int = 0,
    ) -> Any:
        """What the program makes of the first `count` models of a micro-batch, in NumPy."""
        program, shared = ready
        own = jax.device_put((given, np.int64(count), *self._raised(raised)), device)
        return jax.tree.map(np.asarray, program(*shared, *own))

    def _put_aside(self, start: int, stop: int, given: Any, outcome: Any) -> None:
        """The models that are looked at again."""
        if self._aside is None:
            return
        work = self.work
        found = second.unsettled(work.rows, work.num_levels, work.num_rows, outcome.estimate)
        which = np.flatnonzero(found[: stop - start])
        self._aside.put(start + which, jax.tree.map(lambda leaf: leaf[which], given))

    def _look_at_rest(self, ready: dict[Any, Any], workers: list[Any]) -> None:
        """Those put aside that were too few for a micro-batch: all workers have some."""
        if self._aside is None or not len(self._aside):
            return
        number = len(self._aside)
        shares = [len(part) for part in np.array_split(np.arange(number), len(workers))]
        waiting = [self._aside.take(share) for share in shares if share]

        def look(device: Any, own: Waiting | None) -> None:
            self._look_again(ready[device], device, own)

        with ThreadPoolExecutor(len(waiting)) as pool:
            list(pool.map(look, workers, waiting))

    def _look_again(
        self, ready: tuple[Callable[..., Any], Any], device: Any, waiting: Waiting | None
    ) -> None:
        """Fit models from raised starts, and keep what is higher."""
        if waiting is None:
            return
        for raised, of in second.looks(self._estimate(waiting.places)):
            self._look(ready, device, waiting, raised, of)

    def _estimate(self, places: np.ndarray) -> Estimate:
        """What is kept of these models so far."""
        return jax.tree.unflatten(self._tree, [leaf[places] for leaf in self._leaves]).estimate

    def _look(
        self,
        ready: tuple[Callable[..., Any], Any],
        device: Any,
        waiting: Waiting,
        raised: int,
        of: np.ndarray,
    ) -> None:
        """Fit models from one raised start, and keep what is higher of those it is for."""
        places = waiting.places
        with jax.enable_x64(True):
            outcome = self._run(ready, device, waiting.given, len(places), raised=raised)
        outcome = jax.tree.map(lambda leaf: leaf[: len(places)], outcome)
        first = self._estimate(places)
        higher = of & second.is_higher(outcome.estimate, first)
        outcome = outcome._replace(estimate=second.with_both(outcome.estimate, first))
        for whole, leaf in zip(self._leaves, jax.tree.leaves(outcome), strict=True):
            whole[places[higher]] = leaf[higher]

    def _keep(self, start: int, stop: int, outcome: Any) -> None:
        leaves, tree = jax.tree.flatten(outcome)
        with self._lock:
            if not self._leaves:
                number = len(self.work)
                self._leaves = [np.empty((number, *leaf.shape[1:]), leaf.dtype) for leaf in leaves]
                self._tree = tree
        for whole, leaf in zip(self._leaves, leaves, strict=True):
            whole[start:stop] = leaf[: stop - start]

    def whole(self) -> Any:
        return jax.tree.unflatten(self._tree, self._leaves)
