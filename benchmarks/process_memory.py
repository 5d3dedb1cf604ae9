"""Peak memory and processor time of a process and all below it (the JVM, Python workers), from /proc. Linux only."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import NamedTuple


def _processes() -> dict[int, tuple[int, float]]:
    """Parent and seconds of processor time, by process."""
    found, tick = {}, os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        found[int(stat.parent.name)] = int(fields[1]), (int(fields[11]) + int(fields[12])) / tick
    return found


class Used(NamedTuple):
    """What a process takes."""

    bytes: int  # a page that n processes share counts as 1/n in each (PSS)
    mapped: int  # of these, pages of files: the kernel takes them back where it needs them
    cpu_seconds: float


def tree(pid: int) -> dict[int, Used]:
    """What a process and those below it take."""
    processes, below = _processes(), {pid}
    found: dict[int, Used] = {}
    children: dict[int, list[int]] = {}
    for one, (parent, _) in processes.items():
        children.setdefault(parent, []).append(one)
    open_ = [pid]
    while open_:
        new = [child for one in open_ for child in children.get(one, [])]
        below.update(new)
        open_ = new
    for one in below & processes.keys():
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        lines = (line.split() for line in rollup.splitlines()[1:])
        size = {words[0]: int(words[1]) * 1024 for words in lines}
        found[one] = Used(size.get("Pss:", 0), size.get("Pss_File:", 0), processes[one][1])
    return found


class PeakMemory:
    """`with PeakMemory(pid) as peak: ...`, then `bytes`, of these `mapped`, `cpu_seconds`; sampled twice a second."""

    def __init__(self, pid: int) -> None:
        self.pid, self.bytes, self.mapped = pid, 0, 0
        self._cpu: dict[int, float] = {}
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while not self._ended.wait(0.5):
            now = tree(self.pid)
            whole = sum(used.bytes for used in now.values())
            if whole > self.bytes:
                self.bytes, self.mapped = whole, sum(used.mapped for used in now.values())
            self._cpu |= {process: used.cpu_seconds for process, used in now.items()}

    @property
    def cpu_seconds(self) -> float:
        """Of all processes seen, the ended ones too."""
        return sum(self._cpu.values())

    def __enter__(self) -> PeakMemory:
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._sampler.join()
