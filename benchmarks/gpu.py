"""The same batches and large fits on the accelerator that is there, checked against the processor.

    python -m benchmarks.gpu [--problems logistic_500 ...] [--repeats 3] [--models N]

Two fresh processes, one with JAX on the processor and one on the accelerator, fit the same data and
write what they found: first call (it compiles), median of the later ones, estimates and statuses.
Rows: results/gpu.json, .csv; the machine's description names the accelerator. Without one this says
so and ends.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, store

SINGLE = ("binomial_intercept", "binomial_slope", "poisson_intercept", "grouseticks")


@dataclass(frozen=True)
class GpuRow:
    """One problem on one kind of device.

    models: fitted in a call, one for a single fit; first_s, warm_s: seconds of the first call and
    the median of the later ones; rate: models a second; loglik_apart, estimate_apart: the largest
    distances from the processor's, the latter in its standard errors; same_status: share of models
    with the same status.
    """

    problem: str
    device: str
    models: int
    first_s: float
    warm_s: float
    rate: float
    to_cpu: float | None
    loglik_apart: float | None
    estimate_apart: float | None
    same_status: float | None


def names() -> list[str]:
    """All problems."""
    from benchmarks.batches import PROBLEMS

    return [name for name in PROBLEMS if name != "kb07_maximal"] + list(SINGLE)


def child(name: str, models: int | None, repeats: int, path: Path) -> None:
    """In a process of one kind of device."""
    import jax
    import numpy as np

    fit, count = _batch(name, models) if name not in SINGLE else (_single(name), 1)
    seconds: list[float] = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        found = fit()
        seconds.append(time.perf_counter() - began)
    device = jax.devices()[0]
    np.savez(
        path,
        seconds=np.array([seconds[0], statistics.median(seconds[1:])]),
        models=count,
        device=getattr(device, "device_kind", device.platform),
        **dict(zip(("loglik", "beta", "error", "status"), found, strict=True)),
    )


def _batch(name: str, models: int | None) -> tuple[Callable[[], Any], int]:
    import numpy as np

    import jaxglmm as jg
    from benchmarks.batches import PROBLEMS
    from benchmarks.loops import SEED

    problem = PROBLEMS[name]
    count = models or problem.num_models
    data, Y = problem.draw(count, SEED)

    def fit() -> Any:
        batch = jg.fit_many(
            problem.formula, data, responses=Y, family=problem.family, progress=False
        )
        table = batch.joint_covariance[:, : batch.coefficients.shape[1]]
        errors = np.sqrt(np.diagonal(table, axis1=1, axis2=2))
        return batch.log_likelihood, batch.coefficients, errors, batch.status.astype(str)

    return fit, count


def _single(name: str) -> Callable[[], Any]:
    import jax
    import numpy as np

    import jaxglmm as jg
    from benchmarks.problems import PROBLEMS

    problem = PROBLEMS[name]
    data = problem.load()
    with jax.enable_x64(True):
        built, _ = jg.build(f"{problem.response} ~ {problem.right}", data, family=problem.family)
        compiled = jax.jit(jg.maximise)
        on_device = jax.device_put(built)

    def fit() -> Any:
        with jax.enable_x64(True):
            estimate = jax.tree.map(np.asarray, compiled(on_device))
        p = estimate.params.beta.shape[0]
        errors = np.sqrt(np.diagonal(np.linalg.inv(-estimate.hessian))[:p])
        values = (estimate.log_likelihood, estimate.params.beta, errors, estimate.status)
        return tuple(np.asarray(v)[None] for v in values)

    return fit


def compare(name: str, here: Any, cpu: Any | None) -> GpuRow:
    """A row from what two children wrote."""
    import numpy as np

    first, warm = map(float, here["seconds"])
    count = int(here["models"])
    others: dict[str, float | None] = dict.fromkeys(
        ("to_cpu", "loglik_apart", "estimate_apart", "same_status")
    )
    if cpu is not None:
        apart = np.abs(here["beta"] - cpu["beta"]) / cpu["error"]
        others = {
            "to_cpu": float(cpu["seconds"][1]) / warm,
            "loglik_apart": float(np.nanmax(np.abs(here["loglik"] - cpu["loglik"]))),
            "estimate_apart": float(np.nanmax(apart)),
            "same_status": float(np.mean(here["status"] == cpu["status"])),
        }
    return GpuRow(name, str(here["device"]), count, first, warm, count / warm, **others)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", metavar="NAME")
    parser.add_argument("--models", type=int, help="of a batch, instead of its own number")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=machine.RESULTS)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.problems[0], options.models, options.repeats, options.child)
        return
    if not _has_accelerator():
        print("JAX sees no accelerator here: nothing to measure.")
        return
    import numpy as np

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-gpu-") as folder:
        for name in options.problems or names():
            found = {}
            for kind in ("cpu", ""):
                path = Path(folder) / f"{name}-{kind or 'accelerator'}.npz"
                if _run(options, name, kind, path):
                    found[kind] = np.load(path)
            cpu = found.get("cpu")
            for kind, here in found.items():
                row = compare(name, here, None if kind == "cpu" else cpu)
                print(row, flush=True)
                rows.append(asdict(row))
            if rows:
                about = machine.describe(os.cpu_count() or 1)
                store.merge(options.out, "gpu", about, rows, key="problem", order=names())


def _run(options: argparse.Namespace, name: str, kind: str, path: Path) -> bool:
    """One child; whether it ended well. Its messages go to the terminal."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--problems", name, "--child", str(path)]
    command += ["--repeats", str(options.repeats)]
    command += ["--models", str(options.models)] if options.models else []
    environment = {**os.environ, **({"JAX_PLATFORMS": kind} if kind else {})}
    return subprocess.run(command, env=environment, check=False).returncode == 0


def _has_accelerator() -> bool:
    """Asked in a process of its own: it would keep the device's memory from the children."""
    text = "import jax, sys; sys.exit(jax.devices()[0].platform == 'cpu')"
    return subprocess.run([sys.executable, "-c", text], check=False).returncode == 0


if __name__ == "__main__":
    main()
