"""The demo's process for the ceiling ends with the demo, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = """
import os, time
from benchmarks.demo import end_with_parent

def work():
    end_with_parent()
    print(os.getpid(), flush=True)
    time.sleep(300)
"""
PARENT = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from child import work

if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as beside:
        beside.submit(work).result()
"""


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"  # nobody may be there to bury it


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_demo_leaves_no_process(tmp_path: Path, sent: signal.Signals) -> None:
    (tmp_path / "child.py").write_text(CHILD, "utf-8")
    (tmp_path / "parent.py").write_text(PARENT, "utf-8")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).resolve().parents[2])])
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py")],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert _alive(child)
        parent.send_signal(sent)
        parent.wait(30)
        end = time.monotonic() + 30
        while _alive(child) and time.monotonic() < end:
            time.sleep(0.1)
        assert not _alive(child)
