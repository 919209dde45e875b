"""Published data sets to learn and test with: `load("cbpp")`, `names()`, `citation("cbpp")`.

Each set is a CSV file beside a JSON file with its title, citation, source and columns. A
categorical column keeps the level order recorded there; where none is recorded, the order is
numeric if every level is a whole number, else alphabetical.
"""

from __future__ import annotations

import difflib
import json
from importlib import resources
from typing import Any

import pandas as pd

from jaxglmm.errors import InputError

_DATA = resources.files(__name__) / "data"


def names() -> list[str]:
    """Names of the bundled data sets, in alphabetical order without regard to case."""
    files = (entry.name for entry in _DATA.iterdir())
    return sorted((f.removesuffix(".json") for f in files if f.endswith(".json")), key=str.lower)


def record(name: str) -> dict[str, Any]:
    """What is known about a data set: name, title, num_rows, citation, source, columns.

    `columns` maps each column to its `kind` ("categorical" or "number"), its `description` and,
    where the order of the levels is not the sorted one, its `levels`.
    Fails with InputError for an unknown name.
    """
    text = (_DATA / f"{_resolve(name)}.json").read_text(encoding="utf-8")
    return json.loads(text)


def citation(name: str) -> str:
    """The publication to cite for a data set, and where this copy of the data comes from."""
    about = record(name)
    return f"{about['citation']}\nThis copy: {about['source']}."


def load(name: str) -> pd.DataFrame:
    """A bundled data set as a pandas DataFrame; upper and lower case of the name do not matter.

    Categorical columns hold their levels as strings, in the recorded order.
    Fails with InputError for an unknown name.
    """
    about = record(name)
    columns = about["columns"]
    categorical = [column for column, entry in columns.items() if entry["kind"] == "categorical"]
    with (_DATA / f"{about['name']}.csv").open(encoding="utf-8") as file:
        frame = pd.read_csv(
            file, dtype=dict.fromkeys(categorical, str), keep_default_na=False, na_values=[""]
        )
    for column in categorical:
        levels = columns[column].get("levels") or _sorted_levels(frame[column].dropna().unique())
        frame[column] = pd.Categorical(frame[column], categories=levels)
    return frame


def _resolve(name: str) -> str:
    """The name as the files spell it."""
    spelled = {known.lower(): known for known in names()}
    found = spelled.get(str(name).lower())
    if found is not None:
        return found
    close = difflib.get_close_matches(str(name).lower(), spelled, n=3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(repr(spelled[key]) for key in close)}?" if close else ""
    raise InputError(f"no bundled data set {name!r}.{meant} Known: {', '.join(names())}.")


def _sorted_levels(levels: Any) -> list[str]:
    values = [str(level) for level in levels]
    return sorted(values, key=int) if all(v.isdigit() for v in values) else sorted(values)
