"""A page of HTML that holds all it shows: tables, pictures, no link to anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from daskmeans.edges.report_figures import Picture

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 76rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #888; }
.wide { overflow-x: auto; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr));
            gap: 1rem; align-items: start; }
img { max-width: 100%; height: auto; justify-self: center; }
img.wide { grid-column: 1 / -1; }
"""


@dataclass(frozen=True)
class Table:
    """A table of a page.

    Attributes
    ----------
    title : str
    header : sequence of str
    lines : sequence of sequences
        Numbers and text, as many as the header has.
    note : str
    """

    title: str
    header: Sequence[str]
    lines: Sequence[Sequence[Any]]
    note: str = ""


def facts(title: str, named: Mapping[str, Any]) -> Table:
    """Return a table of names and what they are."""
    return Table(title, ("", ""), list(named.items()))


def page(title: str, summary: str, parts: Sequence[Table | Sequence[Picture]]) -> str:
    """Return a whole page of HTML.

    Parameters
    ----------
    title, summary : str
    parts : sequence of Table and of sequences of Picture
        From top to bottom.

    Examples
    --------
    >>> text = page("Rows", "Two & more.", [Table("Counts", ["of", "n"], [["a<b", 12345.678]])])
    >>> "Two &amp; more." in text, "<td>a&lt;b</td><td>12,345.7</td>" in text
    (True, True)
    """
    body = "\n".join(_table(part) if isinstance(part, Table) else _pictures(part) for part in parts)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n<p>{escape(summary)}</p>\n{body}\n</body>\n</html>\n"
    )


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.header)
    lines = "\n".join(
        "<tr>" + "".join(f"<td>{escape(shown(value))}</td>" for value in line) + "</tr>"
        for line in table.lines
    )
    head = f"<thead><tr>{head}</tr></thead>\n" if any(table.header) else ""
    note = f"<p>{escape(table.note)}</p>\n" if table.note else ""
    return (
        f"<h2>{escape(table.title)}</h2>\n{note}"
        f'<div class="wide"><table>\n{head}<tbody>\n{lines}\n</tbody></table></div>'
    )


def _pictures(pictures: Sequence[Picture]) -> str:
    images = "\n".join(_picture(picture) for picture in pictures)
    return f'<h2>Pictures</h2>\n<div class="pictures">\n{images}\n</div>'


def _picture(picture: Picture) -> str:
    kind = ' class="wide"' if picture.wide else ""
    return f'<img{kind} src="{picture.source}" alt="{escape(picture.title)}">'


def shown(value: Any) -> str:
    """Return a value as a reader wants it: numbers of six digits, with thousands apart."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    if number != number:
        return "-"
    plain = number == 0 or 1e-4 <= abs(number) < 1e15
    return f"{number:,.6g}" if not plain or abs(number) < 1e5 else f"{number:,.0f}"
