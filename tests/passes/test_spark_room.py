"""What Spark's workers may hold, by the memory that they tell of and by Spark's settings."""

from __future__ import annotations

import resource

import psutil
import pytest

from daskmeans.passes import spark_room
from daskmeans.passes.spark_room import Host, allowed_a_worker, free_here, room_for

MB = 1 << 20


class Conf:
    """Settings as the JVM's SparkConf gives them, sizes in MB."""

    def __init__(self, **settings):
        self._settings = {
            "spark." + name.replace("_", "."): value for name, value in settings.items()
        }

    def contains(self, name):
        return name in self._settings

    def get(self, name, default=None):
        return self._settings.get(name, default)

    def getSizeAsMb(self, name, default):
        value = self.get(name, default)
        return int(value[:-1]) * {"m": 1, "g": 1024}[value[-1]]


@pytest.mark.parametrize(
    ("settings", "mb"),
    [
        ({"master": "spark://host:7077"}, None),
        ({"master": "local[2]"}, None),
        # At least 384 MB, or a tenth of the heap.
        ({"master": "yarn"}, 384),
        ({"master": "yarn", "executor_memory": "20g", "executor_cores": "4"}, 512),
        ({"master": "k8s://host", "executor_memoryOverhead": "6g", "executor_cores": "3"}, 2048),
        (
            {
                "master": "k8s://host",
                "executor_memoryOverhead": "6g",
                "executor_cores": "6",
                "task_cpus": "2",
            },
            2048,
        ),
        ({"master": "k8s://host", "executor_memoryOverheadFactor": "0.4"}, 409),
        ({"master": "yarn", "executor_pyspark_memory": "3g"}, None),
    ],
)
def test_cluster_managers_count_what_is_beside_the_heap(settings, mb):
    assert allowed_a_worker(Conf(**settings)) == (None if mb is None else mb * MB)


def test_rows_may_take_half_of_what_is_free_on_each_host():
    workers = [Host("a", 100 * MB), Host("a", 90 * MB), Host("b", 60 * MB)]
    assert room_for([22 * MB] * 3, workers, None).lacking is None
    found = room_for([23 * MB] * 3, workers, None)
    assert found.lacking == (
        "the rows on host a take 46.00 MiB, more than half of the 90.00 MiB that are free there"
    )
    assert found.state_bytes == 0


def test_one_large_partition_is_held_whole():
    workers = [Host("a", 100 * MB), Host("b", 100 * MB)]
    assert room_for([40 * MB, 10 * MB, 10 * MB], workers, None).lacking is None
    assert room_for([60 * MB, 1, 1], workers, None).lacking is not None


def test_workers_are_allowed_less_than_is_free():
    workers = [Host("a", 1000 * MB)] * 2
    assert room_for([20 * MB] * 2, workers, 40 * MB).lacking is None
    assert room_for([21 * MB] * 2, workers, 40 * MB).lacking is not None


def test_limits_of_a_container_and_of_the_process_count(tmp_path, monkeypatch):
    whole = free_here()
    monkeypatch.setattr(spark_room, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("300000000\n")
    (tmp_path / "memory.current").write_text("100000000\n")
    assert free_here() == 200_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_here() > 0.5 * whole
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + 500 * MB, before[1]))
    try:
        assert free_here() <= 500 * MB
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
