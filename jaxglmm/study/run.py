"""The work of a study: shards that are not there yet, here or by an executor.

Nothing is scheduled: the executor, or whoever starts the commands of a job array, decides who
computes which shard, and the directory tells what is left.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxglmm.errors import InputError
from jaxglmm.frontend.many.progress import Progress
from jaxglmm.study import store
from jaxglmm.study.files import MANIFEST, pyarrow, remove_stale, shard_path
from jaxglmm.study.shard import Done, make_shard, read_about, versions
from jaxglmm.study.spec import Shard, Spec
from jaxglmm.study.store import Manifest

_SHOWN = 10  # numbers of shards, fields of a study


class UnfinishedStudy(RuntimeError):
    """Some shards could not be made; those that are finished stay, `missing` are left to do."""

    missing: tuple[int, ...] = ()


def prepare(spec: Spec, folder: Path) -> Manifest:
    """Make `folder` the directory of this study, or see that it is; refuse one of another study."""
    pyarrow()
    wanted, arrays = store.describe(spec)
    # In this order: the manifest of shards that are there now was written before them.
    has_shards = any(folder.glob("shard-*.parquet"))
    found = store.read_manifest(folder)
    if found is None:
        if has_shards:
            raise InputError(
                f"{str(folder)!r} holds shards of a study, but no {MANIFEST}, so nobody can tell "
                "of which one. Give another directory."
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            store.write(folder, wanted, arrays)
        except OSError as error:
            raise InputError(
                f"{str(folder)!r} cannot be written ({error}). Give another directory, or make "
                "room."
            ) from error
        return wanted
    check_same(found, wanted, folder)
    return found


def check_same(found: Manifest, wanted: Manifest, folder: Path) -> None:
    """Refuse a directory of another study."""
    fields = store.differing(found, wanted)
    if fields:
        raise InputError(
            f"{str(folder)!r} holds another study: it differs in {listed(fields)}. Give another "
            "directory, or jaxglmm.Study.load(directory) for the study that is there."
        )


def run(
    spec: Spec,
    manifest: Manifest,
    folder: Path,
    shards: list[Shard],
    *,
    executor: Any = None,
    progress: bool | None = None,
    strict: bool = False,
) -> None:
    """Make those of `shards` that are missing."""
    remove_stale(folder)
    done = finished(folder, manifest)
    check_versions([*done.values(), versions()] if executor is None else [*done.values()], strict)
    left = [shard for shard in shards if shard.number not in done]
    if executor is None:
        work = _here(spec, folder, manifest.fingerprint, left)
    else:
        work = _elsewhere(executor, folder, manifest, left)
    replicates = sum(shard.stop - shard.first for shard in left)
    with Progress(replicates * len(spec.analyses), progress) as report:
        try:
            for made in work:
                report.count(*made)
        except (InputError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise _unfinished(folder, manifest, left, error) from error


def missing(manifest: Manifest, folder: Path) -> list[int]:
    """The shards that are not there."""
    done = finished(folder, manifest)
    return [shard.number for shard in manifest.shards if shard.number not in done]


def _here(spec: Spec, folder: Path, fingerprint: str, left: list[Shard]) -> Iterator[Done]:
    for shard in left:
        yield make_shard(spec, shard, folder, fingerprint)


def _elsewhere(
    executor: Any, folder: Path, manifest: Manifest, left: list[Shard]
) -> Iterator[Done]:
    """Whatever fails, the others are waited for: what they finish need not be made again."""
    if manifest.own:
        store.read(folder, manifest)  # refuses
    tasks: list[Any] = []
    failure: Exception | None = None
    try:
        for shard in left:
            try:
                tasks.append(executor.submit(work_on, os.path.abspath(folder), shard.number))
            except Exception as error:  # a broken pool takes no more
                failure = error
                break
        for task in tasks:
            try:
                yield Done(*task.result())
            except InputError:
                raise
            except Exception as error:
                failure = failure or error
    finally:
        for task in tasks:
            cancel = getattr(task, "cancel", None)
            if cancel is not None and not task.done():
                cancel()
    if failure is not None:
        raise failure


def work_on(directory: str, number: int) -> Done:
    """A task: one shard of the study in a directory, unless it is there already."""
    folder = Path(directory)
    manifest = opened(folder)
    if read_about(shard_path(folder, number)) is not None:
        return Done(0, 0)
    spec = _spec(directory, manifest.fingerprint)
    return make_shard(spec, spec.shards[number - 1], folder, manifest.fingerprint)


@functools.lru_cache(maxsize=1)
def _spec(directory: str, fingerprint: str) -> Spec:
    """Kept for the next task of a worker."""
    del fingerprint
    folder = Path(directory)
    return store.read(folder, opened(folder))


def opened(folder: Path) -> Manifest:
    """The manifest of a directory; an InputError where it is none of a study."""
    manifest = store.read_manifest(folder)
    if manifest is None:
        raise InputError(
            f"{str(folder)!r} is not the directory of a study. Make one with "
            "jaxglmm.Study(...).save(directory) or .run(directory)."
        )
    return manifest


def finished(folder: Path, manifest: Manifest) -> dict[int, dict[str, str]]:
    """The shards that are there, and the versions that made each."""
    found: dict[int, dict[str, str]] = {}
    for number in (shard.number for shard in manifest.shards):
        path = shard_path(folder, number)
        about = read_about(path) if path.exists() else None
        if about is None:  # not ours, or damaged by something else: it is made again
            continue
        if about["study"] != manifest.fingerprint:
            raise InputError(
                f"{str(path)!r} is a shard of another study. Move it away, or give another "
                "directory."
            )
        if about.get("shard", number) == number:  # or a copy of another one: it is made again
            found[number] = about["versions"]
    return found


def check_executor(executor: Any) -> None:
    """Refuse what takes no tasks, and processes that are forked: of a process that has begun to
    use JAX, which has threads, they hang."""
    if executor is None:
        return
    if not callable(getattr(executor, "submit", None)):
        raise InputError(
            f"executor: expected an object with submit(function, ...), got {executor!r}. Give a "
            "pool of concurrent.futures, Dask's or submitit's; None to work here."
        )
    context = getattr(executor, "_mp_context", None)
    if context is not None and context.get_start_method() == "fork":
        raise InputError(
            "executor: its processes are forked, and hang when they use JAX. Spawn them: "
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))."
        )


def check_versions(used: list[dict[str, str]], strict: bool) -> None:
    """Warn, or refuse, where shards are of different versions or devices."""
    mixed = {
        name: sorted({versions[name] for versions in used})
        for name in (used[0] if used else ())
        if len({versions[name] for versions in used}) > 1
    }
    if not mixed:
        return
    text = "; ".join(f"{name} {' and '.join(values)}" for name, values in mixed.items())
    message = f"The shards of this study are of different versions or devices ({text})"
    if strict:
        raise InputError(f"{message}. Use those of the first shards, or strict=False.")
    warnings.warn(f"{message}: their last digits are not comparable.", stacklevel=4)


def _unfinished(
    folder: Path, manifest: Manifest, wanted: list[Shard], error: Exception
) -> UnfinishedStudy:
    done = finished(folder, manifest)
    left = [shard.number for shard in wanted if shard.number not in done]
    again = "Call run again with the same directory"
    if not manifest.own:
        again += f", or: python -m jaxglmm study run {folder}"
    failure = UnfinishedStudy(
        f"{len(left)} of {len(wanted)} shards could not be made ({listed(left)}): "
        f"{type(error).__name__}: {error}. The {len(done)} that are finished stay. {again}."
    )
    failure.missing = tuple(left)
    return failure


def listed(items: list[Any]) -> str:
    """Some of them, and how many more there are."""
    shown = ", ".join(map(str, items[:_SHOWN]))
    return f"{shown} and {len(items) - _SHOWN} more" if len(items) > _SHOWN else shown
