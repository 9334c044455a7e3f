"""Kill a stream at random moments and let it go on: no batch is lost or used twice, memory is flat.

python benchmarks/soak_stream.py --batches 10000 --kill-every 1000
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import psutil

from daskmeans import MiniBatchKMeans, stream

_ROWS, _FEATURES, _CLUSTERS = 50, 8, 12


def _batches(n_batches: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.normal(size=(_ROWS, _FEATURES)) for _ in range(n_batches)]


def _model() -> MiniBatchKMeans:
    return MiniBatchKMeans(_CLUSTERS, random_state=0, reassignment_ratio=0, compute_labels=False)


def _run(checkpoint: str, n_batches: int) -> None:
    """What is killed: says after each batch how many there were, and what memory it holds."""
    process = psutil.Process()

    def tell(step: object) -> None:
        n_done = step.n_batches  # type: ignore[attr-defined]
        if n_done % 10 == 0:
            print(n_done, process.memory_info().rss, flush=True)

    stream(
        _model(), _batches(n_batches), checkpoint=checkpoint, checkpoint_every=0.05, callback=tell
    )


@click.command()
@click.option("--batches", "n_batches", default=10_000, show_default=True)
@click.option("--kill-every", default=1_000, show_default=True, help="Batches, about.")
@click.option("--seed", default=0, show_default=True, help="Decides when.")
@click.option("--child", hidden=True)
def main(n_batches: int, kill_every: int, seed: int, child: str | None) -> None:
    """Fail if the model of a stream that was killed again and again is not that of one that ran."""
    if child is not None:
        _run(child, n_batches)
        return
    draws = random.Random(seed)
    n_kills, highest, first = 0, 0, None
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        arguments = ["--batches", str(n_batches), "--child", str(checkpoint)]
        done = 0
        while done < n_batches:
            victim_at = done + draws.randint(kill_every // 2, 3 * kill_every // 2)
            process = subprocess.Popen(
                [sys.executable, os.path.abspath(__file__), *arguments],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None
            for line in process.stdout:
                done, resident = map(int, line.split())
                first = first or resident
                highest = max(highest, resident)
                if done >= victim_at and done < n_batches:
                    time.sleep(draws.uniform(0, 0.02))
                    process.kill()
                    n_kills += 1
                    break
            process.communicate()
        found, expected = _model(), _model()
        stream(found, [], checkpoint=checkpoint)
        summary = stream(expected, _batches(n_batches))
    if found.counts_.sum() != summary.n_rows or found.n_steps_ != n_batches:
        raise click.ClickException(f"{found.counts_.sum()} rows were used, not {summary.n_rows}")
    if not np.array_equal(found.cluster_centers_, expected.cluster_centers_):
        raise click.ClickException("the centers are not those of a stream that was not killed")
    click.echo(
        f"{n_batches:,} batches, {n_kills} kills: {summary.n_rows:,} rows used once, the same "
        f"bits; resident {first / 1e6:.0f} MB at first, at most {highest / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main()
