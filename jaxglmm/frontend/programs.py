"""Compiled programs: kept in memory for a process, on disk between processes.

A program is found by what it computes (function, static structure, shapes and types) and by what
compiled it (the sources of this library, JAX, the processor). A hit in memory costs microseconds,
one on disk 0.1 s instead of seconds of tracing and compiling. Programs on disk are executables:
the folder must belong to the user alone, as JAX asks of its own compilation cache.

JAXGLMM_CACHE_DIR names the folder; "off" keeps nothing on disk.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import platform
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

_KEPT = 256 * 2**20  # bytes on disk; the oldest programs go first
# XLA's older code generator for CPUs takes half the time of its "fusion emitters" and makes code
# that is no slower (cbpp: 0.9 instead of 1.9 s; 0.22 instead of 0.30 ms).
_ON_CPU = {"xla_cpu_use_fusion_emitters": False}
# Programs over fewer numbers than this run in milliseconds however they are compiled. Without
# LLVM's optimisations they compile in half the time again (cbpp: 0.4 s; it runs 0.36 ms).
_SMALL = 20_000
_memory: dict[Any, Any] = {}


class Run(NamedTuple):
    """Outputs of a program and what they cost."""

    outputs: Any
    compile_seconds: float
    run_seconds: float


def run(function: Callable[..., Any], arguments: tuple[Any, ...], **static: Any) -> Run:
    """function(*arguments, **static), compiled once for its shapes; `static` must be hashable."""
    began = time.perf_counter()
    leaves, tree = jax.tree.flatten(arguments)
    shapes = tuple((leaf.shape, leaf.dtype.str) for leaf in leaves)
    key = (function, tree, shapes, tuple(sorted(static.items())))
    program = _memory.get(key)
    if program is None:
        program = _memory[key] = _find(key, function, arguments, static)
    compiled = time.perf_counter()
    outputs = jax.block_until_ready(program(*arguments))
    return Run(outputs, compiled - began, time.perf_counter() - compiled)


def _find(key: Any, function: Callable[..., Any], arguments: Any, static: dict[str, Any]) -> Any:
    path = _path(key)
    if path is not None and path.exists():
        program = _load(path)
        if program is not None:
            return program
    lowered = jax.jit(functools.partial(function, **static)).lower(*arguments)
    program = _compile(lowered, arguments)
    if path is not None:
        _save(program, path)
    return program


def _compile(lowered: Any, arguments: Any) -> Any:
    options: dict[str, Any] = {}
    if jax.default_backend() == "cpu":
        small = sum(leaf.size for leaf in jax.tree.leaves(arguments)) < _SMALL
        options = _ON_CPU | ({"xla_backend_optimization_level": 0} if small else {})
    try:
        return lowered.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return lowered.compile()  # a JAX without these options: the same numbers, more seconds


def _path(key: Any) -> Path | None:
    """Where a program lies on disk; None when it may not be kept there."""
    function, tree, shapes, static = key
    text = f"{function.__module__}.{function.__qualname__} {tree} {shapes} {static}"
    folder = _folder()
    if folder is None or " at 0x" in text:  # a user's own function has no name across processes
        return None
    digest = hashlib.sha256(f"{text} {_compiler()}".encode()).hexdigest()
    return folder / f"{digest[:40]}.program"


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


def _load(path: Path) -> Any | None:
    """The program, or None if the file is damaged (it is then removed)."""
    from jax.experimental import serialize_executable

    _prepare_kernels()
    try:
        return serialize_executable.deserialize_and_load(*pickle.loads(path.read_bytes()))
    except Exception:  # whatever a damaged file does, compiling is the answer
        path.unlink(missing_ok=True)
        return None


@functools.cache
def _prepare_kernels() -> None:
    """Lowering a decomposition makes JAX fetch LAPACK, which loaded programs call."""
    jax.jit(jax.lax.linalg.eigh).lower(jax.ShapeDtypeStruct((2, 2), "float32"))


def _save(program: Any, path: Path) -> None:
    """Write in one step, so that no other process sees half a file."""
    from jax.experimental import serialize_executable

    try:
        blob = pickle.dumps(serialize_executable.serialize(program))
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
