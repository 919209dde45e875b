"""A summary as HTML: one element for a notebook, or a page of its own."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from jaxglmm.report.blocks import Column, Line, Table

if TYPE_CHECKING:
    from jaxglmm.report.summary import Summary

# Colours are the reader's own (currentColor), so that light and dark themes both work.
_STYLE = """
.jaxglmm { color: inherit; font-size: 13px; line-height: 1.4; max-width: 100%; overflow-x: auto; }
.jaxglmm .title { font-size: 1.15em; font-weight: 600; margin: 0 0 .5em; }
.jaxglmm .alert { border-left: 4px solid #d97706; background: rgba(217, 119, 6, .14);
  margin: 0 0 .7em; padding: .4em .7em; }
.jaxglmm p { margin: .2em 0; }
.jaxglmm table { border-collapse: collapse; border: 0;
  color: inherit; font-size: inherit; margin: .4em 0 .9em 0; table-layout: auto; }
.jaxglmm caption { caption-side: top; color: inherit; font-weight: 600; padding: .2em 0;
  text-align: left; white-space: nowrap; }
.jaxglmm tr, .jaxglmm tbody tr:nth-child(odd), .jaxglmm tbody tr:hover { background: none; }
.jaxglmm th, .jaxglmm td { border: 0; color: inherit; max-width: none; padding: .12em .7em;
  vertical-align: top; }
.jaxglmm th { font-weight: 600; }
.jaxglmm thead th { border-bottom: 1px solid currentColor; }
.jaxglmm .label { text-align: left; font-weight: normal; overflow-wrap: anywhere; }
.jaxglmm thead .label { font-weight: 600; }
.jaxglmm .number { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono",
  monospace; text-align: right; white-space: pre; }
.jaxglmm .pairs th { text-align: left; white-space: nowrap; padding-left: 0; }
.jaxglmm .pairs td { text-align: left; overflow-wrap: anywhere; }
""".strip()

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>body {{ font-family: system-ui, sans-serif; margin: 2em auto; max-width: 60em;
  padding: 0 1em; }}</style>
</head>
<body>
{body}
</body>
</html>
"""


def render(summary: Summary) -> str:
    """One element with its own style. Its classes keep MathJax from reading $ in names."""
    parts = [f'<p class="title">{escape(summary.title)}</p>']
    if summary.alert is not None:
        label, text = escape(summary.alert.label), escape(summary.alert.text)
        parts.append(f'<p class="alert" role="alert"><strong>{label}:</strong> {text}</p>')
    parts.append(_pairs(summary.header))
    parts += [_table(b) if isinstance(b, Table) else _line(b) for b in summary.blocks]
    parts += [_line(note) for note in summary.notes]
    body = "\n".join(parts)
    classes = "jaxglmm tex2jax_ignore mathjax_ignore"
    return f'<div class="{classes}">\n<style>\n{_STYLE}\n</style>\n{body}\n</div>'


def page(summary: Summary) -> str:
    """A whole document, with the formula as its title."""
    formula = next((line.text for line in summary.header if line.label == "Formula"), "summary")
    return _PAGE.format(title=escape(f"jaxglmm: {formula}"), body=render(summary))


def _line(line: Line) -> str:
    label = f"<strong>{escape(line.label)}:</strong> " if line.label else ""
    return f"<p>{label}{escape(line.text)}</p>"


def _pairs(lines: Iterable[Line]) -> str:
    rows = "\n".join(
        f'<tr><th scope="row">{escape(line.label)}</th><td>{escape(line.text)}</td></tr>'
        for line in lines
    )
    return f'<table class="pairs"><tbody>\n{rows}\n</tbody></table>'


def _table(table: Table) -> str:
    caption = f"<caption>{escape(table.heading)}</caption>\n" if table.heading else ""
    head = "".join(f'<th scope="col"{_kind(c)}>{escape(c.title)}</th>' for c in table.columns)
    rows = "\n".join(
        "<tr>" + "".join(_cell(column, i) for column in table.columns) + "</tr>"
        for i in range(table.num_rows)
    )
    return f"<table>\n{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _cell(column: Column, row: int) -> str:
    tag = 'th scope="row"' if column.is_label else "td"
    return f"<{tag}{_kind(column)}>{escape(column.cells[row])}</{tag.split()[0]}>"


def _kind(column: Column) -> str:
    return ' class="label"' if column.is_label else ' class="number"'
