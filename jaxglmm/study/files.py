"""Files of a study's directory, each written in one step: it is there whole, or not at all."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from jaxglmm.errors import InputError

MANIFEST, DESIGN = "manifest.json", "design.npz"
_SUFFIX = ".part"
_FORGOTTEN = 86_400.0  # seconds after which a file that nobody finished is stale on any machine


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"shard-{number:06d}.parquet"


def write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write beside `path`, force it to the disk, and move it there.

    Nothing is left of a file that cannot be written; what a killed process leaves is never taken
    for a file (`remove_stale`).
    """
    beside = path.with_name(f".{path.name}.{_owner()}.{uuid.uuid4().hex[:8]}{_SUFFIX}")
    try:
        with beside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def remove_stale(folder: Path) -> None:
    """Remove what processes that are no more left unfinished."""
    for path in folder.glob(f".*{_SUFFIX}"):
        try:
            old = time.time() - path.stat().st_mtime > _FORGOTTEN
            if old or not _may_live(path.name.split(".")[-3]):
                path.unlink(missing_ok=True)
        except OSError:  # another process was first, or holds it
            continue


def _owner() -> str:
    host = "".join(c for c in socket.gethostname() if c.isalnum())
    return f"{host}-{os.getpid()}"


def _may_live(owner: str) -> bool:
    """Whether the process may still be writing: it may, wherever we cannot tell."""
    host, _, number = owner.rpartition("-")
    if os.name != "posix" or f"{host}-{os.getpid()}" != _owner() or not number.isdecimal():
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _sync(folder: Path) -> None:
    """Force the folder's entries to the disk, where the system has that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def pyarrow() -> Any:
    """The module with `pyarrow.parquet` loaded; an InputError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            "A study keeps its results in Parquet files, which needs pyarrow: "
            'pip install "jaxglmm[parquet]".'
        ) from error
    return pyarrow
