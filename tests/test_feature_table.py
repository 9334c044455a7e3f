"""What the README says that we do is shown by a test."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = re.search(
    r"<!-- features:start -->\n(.*)<!-- features:end -->",
    (ROOT / "README.md").read_text(encoding="utf-8"),
    flags=re.DOTALL,
)[1]
LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


def cells(line):
    """The cells of a line of a Markdown table; an escaped bar is part of one."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


HEAD, RULE, *ROWS = map(cells, TABLE.splitlines())


def test_table_is_whole():
    assert HEAD[1] == "daskmeans"
    assert set(RULE) == {"---"}
    assert len(ROWS) > 30
    assert all(len(row) == len(HEAD) for row in ROWS)
    assert len({row[0] for row in ROWS}) == len(ROWS)


def test_each_of_our_cells_is_a_test_or_no():
    """A file that went away, or has no tests any more, would leave a claim without proof."""
    for what, ours, *_ in ROWS:
        if ours == "no":
            continue
        link = LINK.fullmatch(ours)
        assert link, f"{what}: {ours} is neither a link nor no"
        path = ROOT / link[2]
        assert path.is_file(), f"{what}: there is no {link[2]}"
        assert re.match(r"tests/(\w+/)*test_\w+\.py$", link[2])
        assert re.search(r"^\s*def test_", path.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_we_do_most_of_it_ourselves():
    """The links are found at all, and only our column has any."""
    linked = [row for row in ROWS if LINK.fullmatch(row[1])]
    assert len(linked) > 30
    assert not any(LINK.search(cell) for row in ROWS for cell in (row[0], *row[2:]))
