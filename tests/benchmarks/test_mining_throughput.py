"""What the throughput benchmark computes beside the runs themselves."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.mining_throughput import slopes
from benchmarks.process_memory import PeakMemory

CHILD = """
import time
held, start = bytearray(80 << 20), time.time()
while time.time() < start + 2:
    pass
"""


def test_memory_and_time_of_a_child_count() -> None:
    call = [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"]
    process = subprocess.Popen(call)
    with PeakMemory(process.pid) as peak:
        process.wait(timeout=60)
    assert 80 < peak.bytes / 2**20 < 200
    assert 0.2 < peak.cpu_seconds < 10


def test_slopes_are_exponents_of_the_size() -> None:
    rows = [
        {"turns": 1000, "stages": {"linear": {"seconds": 1.0}, "square": {"seconds": 1.0}, "first": {"seconds": 1.0}}},
        {"turns": 10_000, "stages": {"linear": {"seconds": 10.0}, "square": {"seconds": 100.0}}},
    ]
    assert slopes(rows) == {"linear": [pytest.approx(1.0)], "square": [pytest.approx(2.0)]}
    assert slopes(rows[:1]) == {}
