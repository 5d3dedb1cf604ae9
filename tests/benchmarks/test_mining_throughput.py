"""What the throughput benchmark computes beside the runs themselves."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

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


MAPS = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    touched = sum(held[at] for at in range(0, len(held), 4096))
    sys.stdin.read()  # holds it until it is told to end
"""


def test_pages_of_files_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(60 << 20))
    process = subprocess.Popen([sys.executable, "-c", MAPS, str(tmp_path / "file")], stdin=subprocess.PIPE)
    with PeakMemory(process.pid) as peak:
        end = time.monotonic() + 60
        while peak.mapped < 60 << 20 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        process.communicate(timeout=60)  # closes its input
    assert process.returncode == 0
    assert 60 <= peak.mapped / 2**20 < 80
    assert peak.mapped < peak.bytes


def test_slopes_are_exponents_of_the_size() -> None:
    rows = [
        {"turns": 1000, "stages": {"linear": {"seconds": 1.0}, "square": {"seconds": 1.0}, "first": {"seconds": 1.0}}},
        {"turns": 10_000, "stages": {"linear": {"seconds": 10.0}, "square": {"seconds": 100.0}}},
    ]
    assert slopes(rows) == {"linear": [pytest.approx(1.0)], "square": [pytest.approx(2.0)]}
    assert slopes(rows[:1]) == {}
