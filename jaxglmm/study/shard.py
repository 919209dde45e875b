"""One shard: replicates drawn and fitted by all analyses, as rows of a Parquet file.

A row is a parameter of a fit. This long form is read by any tool without us; what repeats (names,
and what is of the whole fit) is stored once by Parquet's encodings.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxglmm import __version__
from jaxglmm import status as codes
from jaxglmm.frontend.many.fit import Template
from jaxglmm.frontend.many.models import ImpossibleModels
from jaxglmm.frontend.parameters import parameter_names
from jaxglmm.frontend.tables import every_parameter
from jaxglmm.study.files import pyarrow, shard_path, write_whole
from jaxglmm.study.scenario import Scenario
from jaxglmm.study.spec import Shard, Spec, scenario_seed

REFUSED = "refused"
"""The status of a replicate whose responses the family of an analysis does not allow."""

STATUSES = (*codes.NAMES, REFUSED)
USABLE = tuple(codes.NAMES[code] for code in codes.ENDED_WELL)
BOUNDARY = codes.NAMES[codes.CONVERGED_BOUNDARY]

NUMBERS = ("estimate", "std_error", "conf_low", "conf_high", "p_value")
_KEY = b"jaxglmm"  # of the metadata


class Fits(NamedTuple):
    """Of the fits of an analysis: numbers (number, replicate, param), those of `NUMBERS`, and one
    entry a replicate of the others; status: places in `STATUSES`."""

    numbers: np.ndarray
    status: np.ndarray
    log_likelihood: np.ndarray
    iterations: np.ndarray


class Done(NamedTuple):
    """How many models a shard fitted, and how many of these failed."""

    fitted: int
    failed: int


def make_shard(spec: Spec, shard: Shard, folder: Path, fingerprint: str) -> Done:
    """Draw, fit and write one shard."""
    began = time.perf_counter()
    scenario = spec.scenarios[shard.scenario]
    seed = scenario_seed(spec.seed, shard.scenario)
    responses = scenario.simulate(shard.stop - shard.first, seed, shard.first)
    fits = {
        name: fits_of(scenario, spec.template(shard.scenario, name), responses, spec.level)
        for name in spec.analyses
    }
    names = {
        name: [parameter.name for parameter in spec.parameters(shard.scenario, name)]
        for name in spec.analyses
    }
    about = {
        "study": fingerprint,
        "shard": shard.number,
        "versions": versions(),
        "seconds": round(time.perf_counter() - began, 3),
    }
    table = _table(shard, names, fits, about)
    parquet = pyarrow().parquet
    write_whole(
        shard_path(folder, shard.number),
        lambda file: parquet.write_table(table, file, compression="zstd"),
    )
    status = np.concatenate([found.status for found in fits.values()])
    return Done(len(status), int(np.sum(~np.isin(status, codes.ENDED_WELL))))


def fits_of(scenario: Scenario, template: Template, responses: np.ndarray, level: float) -> Fits:
    """Responses fitted by one analysis; those that its family does not allow are refused."""
    allowed = np.arange(len(responses))
    try:
        found = _fit(scenario, template, responses, level)
    except ImpossibleModels as error:
        allowed = np.delete(allowed, error.models)
        some = responses[allowed]
        found = _fit(scenario, template, some, level) if len(allowed) else None
    if found is not None and len(allowed) == len(responses):
        return found
    number, names = len(responses), len(NUMBERS)
    size = len(parameter_names(template.labels.data, template.problem))
    whole = Fits(
        np.full((names, number, size), np.nan),
        np.full(number, STATUSES.index(REFUSED)),
        np.full(number, np.nan),
        np.zeros(number, np.int32),
    )
    if found is not None:
        whole.numbers[:, allowed] = found.numbers
        for all_of, some in zip(whole[1:], found[1:], strict=True):
            all_of[allowed] = some
    return whole


def _fit(scenario: Scenario, template: Template, responses: np.ndarray, level: float) -> Fits:
    models = scenario.models(template, responses)
    batch = template.fit(models, chunk=None, modes=False, progress=False)
    return Fits(
        every_parameter(batch, *NUMBERS, level=level),
        np.array([STATUSES.index(status) for status in batch.status]),
        batch.log_likelihood,
        np.asarray(batch.iterations, np.int32),
    )


def _table(
    shard: Shard, names: dict[str, list[str]], fits: dict[str, Fits], about: dict[str, Any]
) -> Any:
    pa = pyarrow()
    metadata = {_KEY: json.dumps(about).encode()}
    parts = [_rows(shard, name, names[name], found) for name, found in fits.items()]
    return pa.concat_tables(parts, promote_options="none").replace_schema_metadata(metadata)


def _rows(shard: Shard, analysis: str, names: list[str], fits: Fits) -> Any:
    pa = pyarrow()
    number, size = shard.stop - shard.first, len(names)

    def each(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, size)

    def words(places: np.ndarray, known: list[str]) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), pa.array(known))

    columns = {
        "scenario": words(np.zeros(number * size, int), [shard.scenario]),
        "analysis": words(np.zeros(number * size, int), [analysis]),
        "replicate": each(np.arange(shard.first, shard.stop)),
        "parameter": words(np.tile(np.arange(size), number), names),
        **dict(zip(NUMBERS, fits.numbers.reshape(len(NUMBERS), -1), strict=True)),
        "status": words(each(fits.status), list(STATUSES)),
        "log_likelihood": each(fits.log_likelihood),
        "iterations": each(fits.iterations),
    }
    return pa.table(columns)


def read_about(path: Path) -> dict[str, Any] | None:
    """What a shard says about itself; None for a file that is not one, or not whole."""
    pa = pyarrow()
    try:
        return json.loads(pa.parquet.read_schema(path).metadata[_KEY])
    except (OSError, ValueError, KeyError, TypeError):  # Arrow's errors are ValueErrors
        return None


def versions() -> dict[str, str]:
    """What the last bits of a result depend on."""
    import jax
    import jaxlib

    device = jax.local_devices()[0]
    return {
        "jaxglmm": __version__,
        "jax": jax.__version__,
        "jaxlib": jaxlib.version.__version__,
        "numpy": np.__version__,
        "device": f"{device.platform} {device.device_kind}",
    }
