"""A summary as plain text: 80 columns wherever the names allow."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxglmm.report.blocks import Column, Line, Table

if TYPE_CHECKING:
    from jaxglmm.report.summary import Summary

WIDTH = 80


def render(summary: Summary) -> str:
    """The summary from top to bottom; without a newline at the end."""
    top = _wrapped("", summary.title)
    if summary.alert is not None:
        top += _wrapped(f"{summary.alert.label}: ", summary.alert.text, indent=2)
    parts = ["\n".join(top + _pairs(summary.header))]
    for block in summary.blocks:
        parts.append("\n".join(_table(block) if isinstance(block, Table) else _line(block)))
    if summary.notes:
        parts.append("\n".join(row for note in summary.notes for row in _line(note)))
    return "\n\n".join(parts)


def display_width(text: str) -> int:
    """Columns of a terminal: two for wide East Asian characters, none for combining marks."""
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


def _char_width(c: str) -> int:
    if unicodedata.category(c) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def _pad(text: str, width: int, left: bool) -> str:
    space = " " * (width - display_width(text))
    return text + space if left else space + text


def _wrapped(label: str, text: str, indent: int | None = None) -> list[str]:
    """Lines that begin with the label; the text goes on under itself, or at `indent`."""
    later = " " * (display_width(label) if indent is None else indent)
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=label,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [label.rstrip()]


def _line(line: Line) -> list[str]:
    return _wrapped(f"{line.label}: " if line.label else "", line.text, indent=2)


def _pairs(lines: Sequence[Line]) -> list[str]:
    width = max((display_width(line.label) for line in lines), default=0) + 2
    return [
        row for line in lines for row in _wrapped(_pad(f"{line.label}:", width, True), line.text)
    ]


def _table(table: Table) -> list[str]:
    heading = [f"{table.heading}:"] if table.heading else []
    labels = [column for column in table.columns if column.is_label]
    numbers = [column for column in table.columns if not column.is_label]
    number_widths = [_width(column, range(table.num_rows)) for column in numbers]
    everywhere = [_width(column, range(table.num_rows)) for column in labels]
    gap = 2 if sum(number_widths + everywhere) + 2 * (len(table.columns) - 1) <= WIDTH else 1
    room = WIDTH - sum(number_widths) - gap * len(numbers)
    long_rows = _long_rows(labels, table.num_rows, room, gap)
    fitting = [i for i in range(table.num_rows) if i not in long_rows]
    label_widths = [_width(column, fitting) for column in labels]
    sep = " " * gap

    def label_cells(texts: Sequence[str]) -> str:
        return sep.join(_pad(t, w, True) for t, w in zip(texts, label_widths, strict=True))

    def number_cells(texts: Sequence[str]) -> str:
        return sep.join(_pad(t, w, False) for t, w in zip(texts, number_widths, strict=True))

    def join(left: str, right: str) -> str:
        return (left + sep + right if labels and numbers else left + right).rstrip()

    titles = label_cells([c.title for c in labels]), number_cells([c.title for c in numbers])
    lines = [*heading, join(*titles)]
    for i in range(table.num_rows):
        texts = [column.cells[i] for column in labels]
        if i in long_rows:  # the names on a line of their own
            lines.append(sep.join(texts).rstrip())
            texts = [""] * len(labels)
        lines.append(join(label_cells(texts), number_cells([c.cells[i] for c in numbers])))
    return lines


def _width(column: Column, rows: Sequence[int]) -> int:
    return max([display_width(column.title), *(display_width(column.cells[i]) for i in rows)])


def _long_rows(labels: Sequence[Column], num_rows: int, room: int, gap: int) -> set[int]:
    """The fewest of the longest-named rows without which the labels fit into `room`."""
    widths = [[display_width(column.cells[i]) for column in labels] for i in range(num_rows)]
    titles = [display_width(column.title) for column in labels]
    room -= gap * (len(labels) - 1)
    order = sorted(range(num_rows), key=lambda i: sum(widths[i]))
    most = titles
    for count, i in enumerate(order):
        most = [max(pair) for pair in zip(most, widths[i], strict=True)]
        if sum(most) > room:
            return set(order[count:])
    return set()
