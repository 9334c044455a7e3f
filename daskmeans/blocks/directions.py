"""A source of rows as a source of their directions, which is what cosine distances are between."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from daskmeans.blocks.block import make_block, working_dtype
from daskmeans.blocks.source import RowRange, RowSource
from daskmeans.kernels.csr import empty_like, write_rows


def with_directions(
    source: RowSource, for_each: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
) -> RowSource:
    """Return the source of the rows divided by their lengths.

    Rows in memory are divided now and once, into an array of their own; others wherever one of
    their blocks is made.

    Parameters
    ----------
    source : RowSource
    for_each : function (function, iterable) -> iterable
        As `map`, or as a pool of threads has it.

    Raises
    ------
    RowsError
        If a row in memory is zero.
    """
    if not source.in_memory:
        return replace(source, metric="cosine")
    rows = source.whole_array()
    spans = [part for (part,) in source.parts if isinstance(part, RowRange)]
    directions = empty_like(rows, working_dtype(rows.dtype))

    def divide(number: int) -> None:
        span = spans[number]
        block = make_block(number, span.start, [span.read()], None, source.n_features, divide=True)
        write_rows(directions[span.start : span.stop], block.rows)

    for _ in for_each(divide, range(len(spans))):
        pass
    parts = tuple((replace(span, array=directions),) for span in spans)
    return replace(source, dtype=directions.dtype, parts=parts).measured_by("cosine")
