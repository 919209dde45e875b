"""A study's description in its directory: a manifest (JSON) and the arrays that it names.

Neither holds code: whoever can read the directory can open the study and take part in the work.
Every field of the manifest has a fingerprint, SHA-256 of its words; those of a field with arrays
name them by SHA-256 of their bytes, under which they are kept once.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxglmm import families, links
from jaxglmm.errors import InputError
from jaxglmm.families import AbstractFamily
from jaxglmm.frontend import stored
from jaxglmm.frontend.frame import Frame
from jaxglmm.params import Params
from jaxglmm.study import own_code
from jaxglmm.study.files import DESIGN, MANIFEST, write_whole
from jaxglmm.study.scenario import Scenario
from jaxglmm.study.spec import Parameter, Shard, Spec, cut

_FORMAT = 1
_WHERE = "study"
_OPTIONS = ("num_replicates", "seed", "level", "replicates_per_shard")


class Manifest:
    """The manifest of a study as JSON has it."""

    def __init__(self, words: dict[str, Any]) -> None:
        self.words = words

    @property
    def fingerprints(self) -> dict[str, str]:
        """Field by field."""
        return self.words["fingerprints"]

    @property
    def fingerprint(self) -> str:
        """Of the whole study."""
        return _digest(self.fingerprints)

    @property
    def own(self) -> list[str]:
        """The functions of the user's own, which are not in the directory."""
        return self.words["own"]

    @property
    def scenarios(self) -> list[str]:
        """Their names."""
        return list(self.words["scenarios"])

    @property
    def analyses(self) -> list[str]:
        """Their names."""
        return list(self.words["analyses"])

    @property
    def num_replicates(self) -> int:
        """Of each scenario."""
        return self.words["num_replicates"]

    @property
    def level(self) -> float:
        """Of intervals."""
        return self.words["level"]

    @property
    def shards(self) -> list[Shard]:
        """As `Spec.shards`."""
        return cut(self.scenarios, self.num_replicates, self.words["replicates_per_shard"])

    def parameters(self, scenario: str, analysis: str) -> list[Parameter]:
        """As `Spec.parameters`."""
        return [Parameter(*row) for row in self.words["parameters"][scenario][analysis]]


def describe(spec: Spec) -> tuple[Manifest, dict[str, np.ndarray]]:
    """The manifest of a study, and its arrays by their digests."""
    arrays: dict[str, np.ndarray] = {}
    own: list[str] = []
    scenarios = {name: _scenario_words(name, spec, arrays, own) for name in spec.scenarios}
    analyses = {
        name: _analysis_words(name, changes, arrays, own) for name, changes in spec.analyses.items()
    }
    options = {name: getattr(spec, name) for name in _OPTIONS}
    fields = {
        **options,
        "dtype": "float64",
        "the order of the scenarios": list(scenarios),
        "the order of the analyses": list(analyses),
    }
    for name, words in scenarios.items():
        fields |= {f"{field} of scenario '{name}'": words[field] for field in words}
    fields |= {f"analysis '{name}'": words for name, words in analyses.items()}
    manifest = {
        "what": "A simulation study of jaxglmm.",
        "format": _FORMAT,
        **options,
        "scenarios": scenarios,
        "analyses": analyses,
        "parameters": {
            scenario: {analysis: spec.parameters(scenario, analysis) for analysis in analyses}
            for scenario in scenarios
        },
        "own": own,
        "fingerprints": {field: _digest(words) for field, words in fields.items()},
    }
    return Manifest(manifest), arrays


def write(folder: Path, manifest: Manifest, arrays: Mapping[str, np.ndarray]) -> None:
    """The manifest comes last: with it the directory is a study."""
    own: dict[str, Any] = dict(arrays)
    write_whole(folder / DESIGN, lambda file: np.savez_compressed(file, **own))
    text = json.dumps(manifest.words, indent=1, allow_nan=False)
    write_whole(folder / MANIFEST, lambda file: file.write(text.encode()))


def read_manifest(folder: Path) -> Manifest | None:
    """None where there is none."""
    path = folder / MANIFEST
    try:
        words = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read ({error}).") from error
    if not isinstance(words, dict) or words.get("format") != _FORMAT:
        raise InputError(
            f"{str(path)!r} is not the manifest of a study that this version reads. Use another "
            "directory, or the version of jaxglmm that wrote it."
        )
    return Manifest(words)


def differing(one: Manifest, other: Manifest) -> list[str]:
    """The fields in which two studies differ."""
    a, b = one.fingerprints, other.fingerprints
    return [field for field in {**a, **b} if a.get(field) != b.get(field)]


def read(folder: Path, manifest: Manifest) -> Spec:
    """The study of a directory."""
    if manifest.own:
        raise InputError(
            f"{str(folder)!r}: a directory holds no functions, but this study has "
            f"{', '.join(manifest.own)}. Run it where it was made, Study(...).run(directory), "
            "without an executor."
        )
    try:
        with (folder / DESIGN).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{str(folder / DESIGN)!r} cannot be read ({error}).") from error
    words = manifest.words
    return Spec(
        scenarios={name: _read_scenario(own, arrays) for name, own in words["scenarios"].items()},
        analyses={name: _read_analysis(own, arrays) for name, own in words["analyses"].items()},
        **{name: words[name] for name in _OPTIONS},
    )


# ----- a scenario --------------------------------------------------------------------------------


def _scenario_words(
    name: str, spec: Spec, arrays: dict[str, np.ndarray], own: list[str]
) -> dict[str, Any]:
    scenario = spec.scenarios[name]
    arguments, given = dict(scenario.arguments), stored.Arrays()
    law = families.get(arguments.pop("family"), arguments.pop("link"))
    columns, of_columns = _columns(scenario, spec, name), stored.Arrays()
    options = stored.argument_words(arguments, given, _WHERE)
    return {
        "formula": scenario.formula,
        "data": {
            "columns": stored.store_columns(columns, of_columns, _WHERE),
            "arrays": _kept(of_columns, arrays),
        },
        "params": _param_words(scenario),
        "family": _law_words(f"scenario '{name}'", law, own),
        "options": {"arguments": options, "arrays": _kept(given, arrays)},
    }


def _columns(scenario: Scenario, spec: Spec, name: str) -> dict[str, Any]:
    """Those that the draws or an analysis use; one at least, which tells the number of rows."""
    frame = Frame(scenario.data)
    used = list(scenario.drawn.data.used_columns)
    used += [
        v for k in ("weights", "trials", "offset") if isinstance(v := getattr(scenario, k), str)
    ]
    for analysis in spec.analyses:
        used += spec.template(name, analysis).labels.table
    used = list(dict.fromkeys(used)) or list(frame.names[:1])
    return {column: frame.column(column) for column in used}


def _param_words(scenario: Scenario) -> dict[str, Any]:
    """Values by name, or unconstrained ones in lists."""
    given = scenario.params
    if isinstance(given, Params):
        return {"unconstrained": {k: np.asarray(v, float).tolist() for k, v in vars(given).items()}}
    return {"named": {name: float(value) for name, value in given.items()}}


def _law_words(whose: str, law: AbstractFamily, own: list[str]) -> dict[str, Any]:
    words = {**stored.family_words(law), "link": stored.link_word(law.link)}
    if words["own_family"]:
        own.append(f"the family '{law.name}' of {whose}")
        words["own_code"] = own_code.digest(law.base)
    if words["link"] is None:
        own.append(f"the link '{law.link.name}' of {whose}")
        words["own_link"] = [law.link.name, own_code.digest(law.link)]
    return words


def _read_scenario(words: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Scenario:
    data, options, params = words["data"], words["options"], words["params"]
    values = params.get("named")
    if values is None:
        values = Params(**{k: np.asarray(v, float) for k, v in params["unconstrained"].items()})
    return Scenario(
        words["formula"],
        stored.read_columns(data["columns"], _found(data["arrays"], arrays)),
        values,
        stored.read_family(words["family"]),
        link=words["family"]["link"],
        **stored.read_arguments(options["arguments"], _found(options["arrays"], arrays)),
    )


# ----- an analysis -------------------------------------------------------------------------------


def _analysis_words(
    name: str, changes: Mapping[str, Any], arrays: dict[str, np.ndarray], own: list[str]
) -> dict[str, Any]:
    rest, given = dict(changes), stored.Arrays()
    words: dict[str, Any] = {}
    if "family" in rest:
        law = families.get(rest.pop("family"), rest.pop("link", None))
        words["family"] = _law_words(f"analysis '{name}'", law, own)
    elif (given_link := rest.pop("link", None)) is not None:
        link = links.get(given_link)
        words["link"] = stored.link_word(link)
        if words["link"] is None:
            own.append(f"the link '{link.name}' of analysis '{name}'")
            words["own_link"] = [link.name, own_code.digest(link)]
    words["arguments"] = stored.argument_words(rest, given, _WHERE)
    return {**words, "arrays": _kept(given, arrays)}


def _read_analysis(words: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    changes = stored.read_arguments(words["arguments"], _found(words["arrays"], arrays))
    if "family" in words:
        changes |= {"family": stored.read_family(words["family"]), "link": words["family"]["link"]}
    if "link" in words:
        changes["link"] = words["link"]
    return changes


# ----- arrays by their bytes ---------------------------------------------------------------------


def _kept(own: Mapping[str, np.ndarray], arrays: dict[str, np.ndarray]) -> dict[str, str]:
    """The digests of arrays, which go to `arrays`."""
    places = {}
    for name, values in own.items():
        values = np.ascontiguousarray(values)
        text = f"{values.dtype.str} {values.shape} "
        places[name] = hashlib.sha256(text.encode() + values.tobytes()).hexdigest()
        arrays[places[name]] = values
    return places


def _found(places: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: arrays[digest] for name, digest in places.items()}


def _digest(words: Any) -> str:
    text = json.dumps(words, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
