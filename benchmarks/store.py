"""Rows to and from `results/NAME.json` (with the machine) and `results/NAME.csv`."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def _plain(row: Any) -> dict[str, Any]:
    """A row as JSON takes it: tuples as lists, NaN as None."""
    values = row if isinstance(row, dict) else dataclasses.asdict(row)
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}


def write(folder: Path, name: str, machine: dict[str, Any], rows: Sequence[Any]) -> None:
    """Both files; the CSV leaves out the estimates."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = [_plain(row) for row in rows]
    text = json.dumps({"machine": machine, "rows": plain}, indent=1)
    (folder / f"{name}.json").write_text(text + "\n")
    columns = [column for column in plain[0] if column != "estimates"]
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(plain)


def merge(
    folder: Path,
    name: str,
    machine: dict[str, Any],
    rows: Sequence[dict[str, Any]],
    *,
    key: str,
    order: Sequence[str],
) -> None:
    """Writes rows beside those that are there, in the place of those with the same `key`.

    Their order is that of `order`; `machine` is what the last of them ran on.
    """
    stored = read(folder, name)
    new = {row[key] for row in rows}
    kept = [row for row in stored[1] if row[key] not in new] if stored else []
    places = {value: place for place, value in enumerate(order)}
    write(folder, name, machine, sorted([*kept, *rows], key=lambda row: places.get(row[key], -1)))


def read(folder: Path, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
    """Machine and rows of `results/NAME.json`, None where it has not been made."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    content = json.loads(path.read_text())
    return content["machine"], content["rows"]
