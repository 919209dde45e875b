"""The pieces of a report, ready to print: text and HTML render the same cells."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}  # controls, lone surrogates, line and paragraph breaks


@dataclass(frozen=True)
class Line:
    """One statement, under a label that may be empty."""

    label: str
    text: str


@dataclass(frozen=True)
class Column:
    """One column; cells of numbers are padded to one width, so that their points line up."""

    title: str
    cells: tuple[str, ...]
    is_label: bool = False


@dataclass(frozen=True)
class Table:
    """Columns of equal length, the labels first; the heading may be empty."""

    heading: str
    columns: tuple[Column, ...]

    @property
    def num_rows(self) -> int:
        return len(self.columns[0].cells)


def printable(text: object) -> str:
    """The text of a name with what would break a line, or cannot be encoded, written as escapes."""
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _UNPRINTABLE else c
        for c in str(text)
    )
