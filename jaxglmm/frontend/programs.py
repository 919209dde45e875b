"""Compiled programs: kept in memory for a process, on disk between processes.

A program is found by what it computes (function, static structure, shapes and types) and by what
compiled it (the sources of this library, JAX, the processor). A hit in memory costs microseconds,
one on disk 0.1 s instead of seconds of tracing and compiling. Programs on disk are executables:
the folder must belong to the user alone, as JAX asks of its own compilation cache.

JAXGLMM_CACHE_DIR names the folder; "off" keeps nothing on disk.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import os
import pickle
import platform
import re
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import SingleDeviceSharding

from jaxglmm import families, links
from jaxglmm.families import AbstractFamily

_KEPT = 256 * 2**20  # bytes on disk; the oldest programs go first
# XLA's older code generator for CPUs takes half the time of its "fusion emitters" and makes code
# that is no slower (cbpp: 0.9 instead of 1.9 s; 0.22 instead of 0.30 ms). LLVM takes half of a
# 512-bit vector unless it is told otherwise (thousands of fits: a fourth more of them in a second
# with all of it; single ones: a tenth). Where there are none it makes no difference.
ON_CPU = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_prefer_vector_width": 512}
# Of programs that run side by side, a core each (also where there are fewer of them than cores):
# loops and products of matrices stay on it (handed to other cores in parts they take a fifth
# longer), and small products go to YNNPACK with what
# feeds them (an eighth more fits in a second).
SIDE_BY_SIDE = {
    **ON_CPU,
    "xla_disable_hlo_passes": "cpu-parallel-task-assigner",
    "xla_cpu_multi_thread_eigen": False,
    "xla_backend_optimization_level": 2,
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT",
}
# Sums over levels too where these have several effects (three slopes: a third more fits in a
# second); those of single ones are quicker without (logistic, 500 rows: a fifteenth more).
_OF_SEVERAL = {
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE",
}
# Programs over fewer numbers than this run in milliseconds however they are compiled. Without
# LLVM's optimisations they compile in half the time again (cbpp: 0.4 s; it runs 0.36 ms). With
# several factors there is more to do for each (grouseticks, three: 3.6 instead of 5.3 s to compile,
# but 9 instead of 3 ms to run).
_SMALL = 12_000
# A law that sums a series in every row is compiled alike up to as many rows where each term is an
# exponential (compois on 1,000: 3.0 instead of 4.4 s to trace and compile, 0.16 instead of 0.04 s
# to run), and gets some optimisations from fewer on where there is more to a term (tweedie). All
# make it no faster.
_SMALL_SERIES = 80 * _SMALL
_ON_SERIES = 1
# Over more numbers than this temporaries are counted in GiB. In an order that frees them early they
# take 16 to 25 % less, and the program no more time (10,000,000 rows: 0.15 GiB and 2 % of it).
_LARGE = 10_000_000
_FRUGAL = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
# A program maps some 500 areas of memory, in one stage or two, of which Linux gives a process
# 65,530: beyond them it is killed. As many as this leave room for what a caller compiles.
_IN_MEMORY = 48
_memory: dict[Any, Any] = {}  # those used last come last
_lock = threading.Lock()  # of the dict: programs compile and run without it


def side_by_side(num_columns: int) -> dict[str, Any]:
    """What XLA is told of batches whose levels have at most so many effects."""
    return SIDE_BY_SIDE if num_columns == 1 else {**SIDE_BY_SIDE, **_OF_SEVERAL}


class Stages:
    """Functions that make one program: each takes what all before it found, and then the arguments
    of the whole. While one is traced those before it are compiled."""

    def __init__(self, *functions: Callable[..., Any]) -> None:
        self.functions = functions
        self.__qualname__ = " ".join(f"{f.__module__}.{f.__qualname__}" for f in functions)

    def __call__(self, *arguments: Any, **static: Any) -> Any:
        return _one_after_another(
            [functools.partial(f, **static) for f in self.functions], arguments
        )


def _one_after_another(stages: Sequence[Callable[..., Any]], arguments: tuple[Any, ...]) -> Any:
    found: list[Any] = []
    for stage in stages:
        found.append(stage(*found, *arguments))
    return found[-1]


class Run(NamedTuple):
    """Outputs of a program and what they cost."""

    outputs: Any
    compile_seconds: float
    run_seconds: float


def run(
    function: Callable[..., Any], arguments: tuple[Any, ...], *, num_nodes: int = 1, **static: Any
) -> Run:
    """function(*arguments, **static), compiled once for its shapes; `static` must be hashable.

    num_nodes: of the sum that a law takes in every row (`AbstractFamily.num_nodes`), which tells
    how much work there is.
    """
    began = time.perf_counter()
    program = ready(function, arguments, num_nodes=num_nodes, **static)
    compiled = time.perf_counter()
    outputs = jax.block_until_ready(program(*arguments))
    return Run(outputs, compiled - began, time.perf_counter() - compiled)


def ready(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    *,
    num_nodes: int = 1,
    device: Any = None,
    options: dict[str, Any] | None = None,
    **static: Any,
) -> Callable[..., Any]:
    """The program of function(*arguments, **static), which several threads may call at once.

    Args:
        function, num_nodes, static: as in `run`.
        arguments: arrays, or what has their shapes and types.
        device: where it runs; None for the default one. Each has an executable of its own.
        options: what XLA is told; None for what suits so many numbers.
    """
    if device is not None:
        place = SingleDeviceSharding(device)
        arguments = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), arguments
        )
    leaves, tree = jax.tree.flatten(arguments)
    shapes = tuple((leaf.shape, leaf.dtype.str) for leaf in leaves)
    if options is None:
        options = compiler_options(arguments, num_nodes)
    where = None if device is None else device.id
    key = (function, tree, shapes, tuple(sorted(static.items())), where)
    with _lock:
        program = _memory.pop(key, None)
    if program is None:
        program = _find(key, function, arguments, static, options, device)
    with _lock:
        _memory[key] = program
        while len(_memory) > _IN_MEMORY:
            del _memory[next(iter(_memory))]
    return program


def _find(
    key: Any,
    function: Callable[..., Any],
    arguments: Any,
    static: dict[str, Any],
    options: dict[str, Any],
    device: Any,
) -> Any:
    laws = (getattr(arguments[0], "family", None), static.get("law"))
    path = _path(key, tuple(law for law in laws if law is not None))
    stages = _load(path, device) if path is not None and path.exists() else None
    if stages is None:
        stages = _compile_stages(function, arguments, static, options)
        if path is not None:
            _save(stages, path)
    if len(stages) == 1:
        return stages[0]
    return lambda *arguments: _one_after_another(stages, arguments)


def _compile_stages(
    function: Callable[..., Any], arguments: Any, static: dict[str, Any], options: dict[str, Any]
) -> list[Any]:
    """The executable of a function, or those of its stages."""
    *before, last = function.functions if isinstance(function, Stages) else (function,)

    def lower(stage: Callable[..., Any], found: list[Any]) -> Any:
        with garbage_kept():
            return jax.jit(functools.partial(stage, **static)).lower(*found, *arguments)

    if not before:
        return [_compile(lower(last, []), options)]
    compiling, found = list[Future[Any]](), list[Any]()
    with ThreadPoolExecutor(len(before)) as pool:
        for stage in before:
            lowered = lower(stage, found)
            compiling.append(pool.submit(_compile, lowered, options))
            found.append(_like(lowered.out_info, arguments))
        end = _compile(lower(last, found), options)
        return [*(one.result() for one in compiling), end]


def _like(shapes: Any, arguments: Any) -> Any:
    """Outputs where the arguments are, as arguments."""
    place = getattr(jax.tree.leaves(arguments)[0], "sharding", None)
    return jax.tree.map(lambda of: jax.ShapeDtypeStruct(of.shape, of.dtype, sharding=place), shapes)


@contextlib.contextmanager
def garbage_kept() -> Iterator[None]:
    """Python's cyclic garbage collector waits. A trace makes some 1e5 objects, most of which stay
    until it ends: to look through them time and again takes a quarter of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _compile(lowered: Any, options: dict[str, Any]) -> Any:
    """Compiled with those of the options that this JAX has: others make it quicker, no more."""
    try:
        return lowered.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        unknown = re.search(r"No such compile option: '(\w+)'", str(error))
        if unknown is None or unknown[1] not in options:
            raise
        left = {name: value for name, value in options.items() if name != unknown[1]}
        return _compile(lowered, left)


def compiler_options(arguments: Any, num_nodes: int) -> dict[str, Any]:
    """What XLA is told for a program of these arguments; `num_nodes` as in `run`."""
    if jax.default_backend() != "cpu":
        return {}
    numbers = sum(leaf.size for leaf in jax.tree.leaves(arguments))
    passes = max(len(getattr(arguments[0], "groupings", ())), 1)  # every factor's own
    options: dict[str, Any] = dict(ON_CPU)
    work = num_nodes * passes * numbers
    if work < (_SMALL if num_nodes == 1 else _SMALL_SERIES):
        options["xla_backend_optimization_level"] = 0
    elif num_nodes > 1:
        options["xla_backend_optimization_level"] = _ON_SERIES
    if numbers > _LARGE:
        options |= _FRUGAL
    return options


def _path(key: Any, laws: tuple[Any, ...]) -> Path | None:
    """Where a program lies on disk; None when it may not be kept there."""
    function, tree, shapes, static, where = key
    if not all(map(_is_known, laws)):
        return None
    text = f"{function.__module__}.{function.__qualname__} {tree} {shapes} {static} {where}"
    folder = _folder()
    if folder is None or " at 0x" in text:  # a user's own function has no name across processes
        return None
    digest = hashlib.sha256(f"{text} {_compiler()}".encode()).hexdigest()
    return folder / f"{digest[:40]}.program"


def _is_known(law: AbstractFamily) -> bool:
    """Whether law and link are the library's: what a user's code says may change by tomorrow."""
    of_library = families.REGISTRY.get(law.base.name) is type(law.base)
    link = law.link
    return of_library and (
        isinstance(link, links.Power) or links.REGISTRY.get(link.name) is type(link)
    )


@functools.cache
def _compiler() -> str:
    """Everything that decides which executable a trace becomes."""
    root = Path(__file__).parents[1]
    sources = hashlib.sha256()
    for source in sorted(root.rglob("*.py")):
        sources.update(source.read_bytes())
    device = jax.devices()[0]
    parts = (
        sources.hexdigest(),
        jax.__version__,
        sys.version,
        device.platform,
        device.device_kind,
        str(jax.device_count()),
        platform.machine(),
        _processor(),
        os.environ.get("XLA_FLAGS", ""),
    )
    return " ".join(parts)


def _processor() -> str:
    """The processor's model and instruction sets: executables do not move between them."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as text:
            lines = text.read().split("\n\n", 1)[0].splitlines()
    except OSError:
        return platform.processor()
    return " ".join(line for line in lines if line.startswith(("model name", "flags", "Features")))


@functools.cache
def _folder() -> Path | None:
    """The cache folder, made if need be; None when switched off or not the user's own."""
    setting = os.environ.get("JAXGLMM_CACHE_DIR", "")
    if setting.lower() == "off":
        return None
    folder = Path(setting).expanduser() if setting else _default_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
    except OSError:
        return None  # no home, a read-only system: programs live as long as the process
    shared = about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if os.name == "posix" and (about.st_uid != os.getuid() or shared):
        return None
    return folder


def _default_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "jaxglmm" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "jaxglmm"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxglmm"


def _load(path: Path, device: Any) -> list[Any] | None:
    """The program's executables, or None if the file is damaged (it is then removed)."""
    from jax.experimental import serialize_executable

    _prepare_kernels()
    try:
        blobs = pickle.loads(path.read_bytes())
        devices = [jax.devices()[0] if device is None else device]
        return [
            serialize_executable.deserialize_and_load(*blob, execution_devices=devices)
            for blob in blobs
        ]
    except Exception:  # whatever a damaged file does, compiling is the answer
        path.unlink(missing_ok=True)
        return None


@functools.cache
def _prepare_kernels() -> None:
    """Lowering a decomposition makes JAX fetch LAPACK, which loaded programs call."""
    jax.jit(jax.lax.linalg.eigh).lower(jax.ShapeDtypeStruct((2, 2), "float32"))


def _save(stages: list[Any], path: Path) -> None:
    """Write in one step, so that no other process sees half a file."""
    from jax.experimental import serialize_executable

    try:
        blob = pickle.dumps([serialize_executable.serialize(stage) for stage in stages])
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:
            part.write(blob)
        os.replace(part.name, path)
        _trim(path.parent)
    except (OSError, ValueError, pickle.PicklingError):
        return  # a full disk, or a device whose programs cannot be kept


def _trim(folder: Path) -> None:
    programs = sorted(folder.glob("*.program"), key=lambda p: p.stat().st_mtime, reverse=True)
    total = 0
    for program in programs:
        total += program.stat().st_size
        if total > _KEPT:
            program.unlink(missing_ok=True)
