"""What a notebook shows of a fit: tables and small curves as HTML and SVG, without matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from daskmeans.plots.axes import BLUE, ORANGE
from daskmeans.typing import Array

# More lines and columns than these are named by their number alone.
_MOST_CLUSTERS, _MOST_FEATURES = 12, 6
_MOST_POINTS = 200
_WIDTH, _HEIGHT, _MARGIN = 260, 64, 5

_STYLE = """
.daskmeans { display: flex; flex-wrap: wrap; gap: 0.5em 2em; align-items: flex-start; }
.daskmeans table { border-collapse: collapse; margin: 0 0 0.8em;
                   font-variant-numeric: tabular-nums; }
.daskmeans th, .daskmeans td { padding: 0.1em 0.7em; text-align: right; border: 0; }
.daskmeans th { font-weight: normal; opacity: 0.7; }
.daskmeans tbody th { text-align: left; }
.daskmeans tbody td:only-of-type { text-align: left; }
.daskmeans thead th { border-bottom: 1px solid currentColor; }
.daskmeans p { margin: 0 0 0.4em; }
.daskmeans svg { display: block; overflow: visible; margin-bottom: 0.6em; }
.daskmeans td svg { margin: 0; }
"""


@dataclass(frozen=True)
class Summary:
    """What is shown of a fitted model.

    Attributes
    ----------
    facts : mapping of str to object
        Names and what they are, from top to bottom.
    line_name : str
    line : sequence of float
        A value for each iteration or step.
    centers : ndarray of shape (k, d)
    feature_names : sequence of str
        One for each feature.
    columns : mapping of str to ndarray of shape (k,)
        Of the table of clusters, left of the centers; the first one tells which are the largest.
    """

    facts: Mapping[str, Any]
    line_name: str
    line: Sequence[float]
    centers: Array
    feature_names: Sequence[str]
    columns: Mapping[str, Array] = field(default_factory=dict)


def beside(box: str, summary: Summary) -> str:
    """Return what a fit came to, as HTML beside a box of HTML."""
    parts = [_facts(summary.facts)]
    drawn = curve(summary.line, summary.line_name)
    if drawn:
        parts.append(f"<p>{escape(summary.line_name)}</p>{drawn}")
    parts.append(_clusters(summary))
    return _styled(f"<div>{box}</div><div>{''.join(parts)}</div>")


def _styled(content: str) -> str:
    return f'<style>{_STYLE}</style><div class="daskmeans">{content}</div>'


def _facts(facts: Mapping[str, Any]) -> str:
    lines = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(shown(value))}</td></tr>"
        for name, value in facts.items()
    )
    return f"<table><tbody>{lines}</tbody></table>"


def _clusters(summary: Summary) -> str:
    """Return a table with a line for each cluster, or for the largest where there are many."""
    k, d = summary.centers.shape
    chosen = np.arange(k)
    note = ""
    if k > _MOST_CLUSTERS:
        note = f"{_MOST_CLUSTERS} of {k:,} clusters"
        for name, values in summary.columns.items():
            # Of equal ones the first.
            chosen = np.sort(np.argsort(-values, kind="stable")[:_MOST_CLUSTERS])
            note += f", those with the most {name}"
            break
        chosen = chosen[:_MOST_CLUSTERS]
    names = [str(name) for name in summary.feature_names[:_MOST_FEATURES]]
    head = ["cluster"]
    for name in summary.columns:
        head += [name, ""]
    more = d - len(names)
    head += names + ([f"{more:,} more"] if more else [])
    lines = []
    for i in map(int, chosen):
        cells = []
        for values in summary.columns.values():
            cells += [escape(shown(values[i].item())), _bar(values, i)]
        cells += [escape(shown(float(value))) for value in summary.centers[i, : len(names)]]
        cells += ["&hellip;"] if more else []
        inside = "".join(f"<td>{cell}</td>" for cell in cells)
        lines.append(f"<tr><th>{i}</th>{inside}</tr>")
    header = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<table><thead><tr>{header}</tr></thead><tbody>{''.join(lines)}</tbody></table>" + (
        f"<p>{escape(note)}</p>" if note else ""
    )


def _bar(values: Array, i: int) -> str:
    """Return one of the values as a bar beside the longest one, with its share in the title."""
    total, largest = float(values.sum()), float(values.max())
    length = 60 * float(values[i]) / largest if largest else 0.0
    share = float(values[i]) / total if total else 0.0
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="10" role="img">'
        f"<title>{share:.1%}</title>"
        f'<rect width="{length:.1f}" height="10" fill="{BLUE}"/></svg>'
    )


def curve(values: Sequence[float], name: str, marked: int | None = None) -> str:
    """Return a curve through values as SVG, or nothing where no value is finite.

    Parameters
    ----------
    values : sequence of float
        Of many, every so many-th is drawn, and the last.
    name : str
        Of what the values are, for its title.
    marked : int, optional
        Number of the value to mark; the last by default.

    Examples
    --------
    >>> curve([4.0, 2.0, 1.0], "inertia").count("<circle")
    1
    >>> curve([float("nan")], "inertia")
    ''
    """
    numbers = np.asarray(values, dtype=np.float64)
    places = np.flatnonzero(np.isfinite(numbers))
    if len(places) == 0:
        return ""
    if len(places) > _MOST_POINTS:
        places = places[np.linspace(0, len(places) - 1, _MOST_POINTS).astype(int)]
    marked = int(places[-1]) if marked is None else marked
    heights = numbers[places]
    low, high = heights.min(), heights.max()
    # Each point by its number: gaps of what is not finite keep their place.
    span = max(len(numbers) - 1, 1)

    def point(number: int) -> tuple[float, float]:
        x = _MARGIN + (_WIDTH - 2 * _MARGIN) * number / span
        rise = (numbers[number] - low) / (high - low) if high > low else 0.0
        return x, _HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * float(rise)

    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (point(int(place)) for place in places))
    x, y = point(marked)
    title = escape(f"{name}: {shown(float(heights[0]))} to {shown(float(heights[-1]))}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><title>{title}</title>'
        f'<polyline points="{line}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{ORANGE}"/></svg>'
    )


def swept(
    lines: Sequence[Mapping[str, Any]], best: Mapping[str, int | None], note: str = ""
) -> str:
    """Return what a sweep found as HTML.

    Parameters
    ----------
    lines : sequence of mappings
        One for each number of clusters, ascending, with "n_clusters" and metrics.
    best : mapping of str to int
        Number of clusters by metric; the value there is in bold.
    note : str
        A sentence below.
    """
    head = list(lines[0])
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td>{_strong(shown(value), best.get(name) == line['n_clusters'])}</td>"
            for name, value in line.items()
        )
        + "</tr>"
        for line in lines
    )
    header = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in head)
    parts = [f"<table><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table>"]
    counts = [line["n_clusters"] for line in lines]
    curves = []
    for name in head:
        if name in ("n_clusters", "n_iter", "stop_reason"):
            continue
        chosen = best.get(name)
        drawn = curve(
            [line[name] for line in lines], name, None if chosen is None else counts.index(chosen)
        )
        at = "" if chosen is None else f", best at {chosen}"
        title = f"{name.replace('_', ' ')} for {counts[0]} to {counts[-1]} clusters{at}"
        curves.append(f"<p>{escape(title)}</p>{drawn}")
    if note:
        parts.append(f"<p>{escape(note)}</p>")
    return _styled(f"<div>{''.join(parts)}</div><div>{''.join(curves)}</div>")


def _strong(text: str, strong: bool) -> str:
    return f"<b>{escape(text)}</b>" if strong else escape(text)


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
