"""Kill a worker at a random moment of a fit, again and again: each fit ends with the same bits.

python benchmarks/soak_cluster.py --kills 20
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time

import click
import dask.array as da
import numpy as np
from distributed import Client, LocalCluster

from daskmeans import KMeans


def _model() -> KMeans:
    return KMeans(40, random_state=0, n_init=2, tol=0, max_iter=40)


def _same(found: KMeans, expected: KMeans) -> bool:
    labels = (np.asarray(found.labels_) == np.asarray(expected.labels_)).all()
    centers = (found.cluster_centers_ == expected.cluster_centers_).all()
    return bool(labels and centers and found.inertia_ == expected.inertia_)


@click.command()
@click.option("--kills", default=20, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Decides when, and whom.")
def main(kills: int, seed: int) -> None:
    """Fail if a fit with a killed worker differs in one bit from one without."""
    draws = random.Random(seed)
    rows = da.random.default_rng(1).random((400_000, 16), chunks=(5_000, 16), dtype="f4")
    started = time.perf_counter()
    expected = _model().fit(rows)
    undisturbed = time.perf_counter() - started
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        for number in range(kills):
            client.wait_for_workers(2)
            victim = draws.choice(sorted(client.run(os.getpid).values()))
            delay = draws.uniform(0, undisturbed)
            timer = threading.Timer(delay, os.kill, (victim, signal.SIGKILL))
            timer.start()
            X = client.persist(rows) if number % 2 else rows
            found = _model().fit(X)
            timer.join()
            if not _same(found, expected):
                raise click.ClickException(f"kill {number}, after {delay:.2f} s: the fit differs")
            click.echo(f"kill {number}, after {delay:.2f} s: the same bits")


if __name__ == "__main__":
    main()
