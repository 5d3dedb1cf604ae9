"""How fast turns become rephrase pairs, from raw JSON Lines and from `interactions`, beside two peers on the same data.

    python -m benchmarks.mining_throughput --turns 100000 --turns 1000000 --out throughput.json
    python -m benchmarks.mining_throughput --turns 10000000 --only interactions --only turns --only rephrase_pairs

Each stage runs in a process of its own, so that its peak memory is its own; the start of Spark is not counted, for
nobody. The traffic is synthetic (`simulator.synthetic`), broken and repeated lines among it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import log
from pathlib import Path
from typing import Any

from benchmarks.process_memory import PeakMemory
from schemas.lake import Lake
from schemas.settings import Settings
from simulator.synthetic import SyntheticTraffic

STAGES = {
    "write": "synthetic traffic -> raw JSON Lines",
    "ingest": "raw -> interactions (gate and quarantine included)",
    "turns": "interactions -> turns",
    "rephrase_pairs": "turns -> rephrase_pairs",
    "pandas": "peer: pandas + rapidfuzz, interactions -> pairs",
    "sql": "peer: Spark SQL lead + levenshtein, interactions -> pairs",
    "interactions": "synthetic traffic -> interactions (in place of write and ingest)",
}
MINING = ("turns", "rephrase_pairs")
USUAL = tuple(name for name in STAGES if name != "interactions")


def _settings(folder: Path, memory: str) -> Settings:
    settings = Settings(lake=folder / "lake", seed=17)
    spark = settings.spark.model_copy(update={"driver_memory": memory})
    return settings.model_copy(update={"spark": spark})


def _stage(name: str, folder: Path, traffic: SyntheticTraffic, turns: int, memory: str) -> dict[str, Any]:
    """Run one stage in this process; its seconds and what it found."""
    settings, lake = _settings(folder, memory), Lake(folder / "lake").open(create=True)
    from jobs.spark import session

    work: Callable[[], Any]
    if name == "pandas":
        from benchmarks.mining_peers import with_pandas

        work = lambda: {"pairs": with_pandas(lake, folder / "pandas.parquet")}  # noqa: E731
    else:
        spark = session(settings)
        spark.range(2).selectExpr("sum(id)").collect()
        if name == "write":
            from benchmarks.synthetic_lake import write_raw

            work = lambda: write_raw(spark, traffic, turns, folder / "raw", folder / "truth")  # noqa: E731
        elif name == "interactions":
            from benchmarks.synthetic_lake import write_interactions, write_truth

            def work() -> None:
                write_interactions(spark, traffic, turns, lake)
                write_truth(spark, traffic, turns, folder / "truth")

        elif name == "ingest":
            from jobs.ingest import ingest

            work = lambda: ingest(lake, settings, [str(folder / "raw")]).counts  # noqa: E731
        elif name == "sql":
            from benchmarks.mining_peers import with_sql

            work = lambda: {"pairs": with_sql(spark, lake, folder / "sql.parquet")}  # noqa: E731
        else:
            from jobs.lake import run_step
            from jobs.pipeline import STEPS

            work = lambda: run_step(STEPS[name], lake, settings).counts  # noqa: E731
    started = time.monotonic()
    counts = work()
    return {"seconds": round(time.monotonic() - started, 2), "counts": counts or {}}


def quality(folder: Path) -> dict[str, dict[str, float]]:
    """Of each method's pairs: how many are two tries of one task, and how many failed tries that go on were found."""
    import pyarrow.dataset as ds

    truth = ds.dataset(folder / "truth", format="parquet", exclude_invalid_files=True).to_table()
    names = truth.column("interaction_id").to_pandas().str[1:].astype("int64")
    task = truth.column("task_id").to_pandas().set_axis(names)
    lake = Lake(folder / "lake").open()
    ordered = task.sort_index().to_numpy()
    reworded = int((ordered[1:] == ordered[:-1]).sum())
    tables = {
        "ours": lake.dataset("rephrase_pairs").to_table(["source", "target"], filter=ds.field("kind") != "new_request")
    }
    for peer in ("pandas", "sql"):
        if (folder / f"{peer}.parquet").exists():
            tables[peer] = ds.dataset(folder / f"{peer}.parquet", format="parquet").to_table(["source", "target"])
    found = {}
    for name, pairs in tables.items():
        source, target = (pairs.column(c).to_pandas().str[1:].astype("int64") for c in ("source", "target"))
        right = int((task.loc[source].to_numpy() == task.loc[target].to_numpy()).sum())
        found[name] = {"pairs": len(pairs), "precision": right / max(len(pairs), 1), "recall": right / max(reworded, 1)}
    return found


def measure(turns: int, traffic: SyntheticTraffic, folder: Path, stages: Sequence[str], memory: str) -> dict[str, Any]:
    """Run the stages one after another, each in a process of its own, and give their figures."""
    row: dict[str, Any] = {"turns": turns, "stages": {}}
    for name in stages:
        call = [sys.executable, "-m", "benchmarks.mining_throughput", "--stage", name, "--turns", str(turns)]
        call += ["--folder", str(folder), "--seed", str(traffic.seed), "--driver-memory", memory]
        process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with PeakMemory(process.pid) as peak:
            said, complaints = process.communicate()
        if process.returncode:
            raise SystemExit(f"stage {name} ended with {process.returncode}:\n{complaints[-3000:]}")
        found = json.loads(said.splitlines()[-1])
        found |= {"turns_a_second": round(turns / found["seconds"]), "peak_mb": round(peak.bytes / 2**20)}
        found["of_files_mb"] = round(peak.mapped / 2**20)
        found["cpu_seconds"] = round(peak.cpu_seconds, 1)  # with the start of Spark
        row["stages"][name] = found
        print(f"{turns:>10,}  {STAGES[name]:<60} {found['seconds']:>8.1f} s  {found['turns_a_second']:>9,}/s  "
              f"{found['peak_mb']:>6,} MB ({found['of_files_mb']:,} of files)  "
              f"{found['cpu_seconds']:>7.1f} s of cores", flush=True)  # fmt: skip
    if set(MINING) <= set(stages):
        row["quality"] = quality(folder)
        for name, said in row["quality"].items():
            print(f"{'':>10}  {name}: {said['pairs']:,} pairs, precision {said['precision']:.3f}, "
                  f"of the retried turns {said['recall']:.3f}", flush=True)  # fmt: skip
    return row


def slopes(rows: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Of each stage, the exponent from each size to the next: 1 is linear, 1.04 takes 11 times as long for 10 times."""
    found: dict[str, list[float]] = {}
    for small, large in pairwise(rows):
        for name in small["stages"].keys() & large["stages"].keys():
            times = large["stages"][name]["seconds"] / small["stages"][name]["seconds"]
            found.setdefault(name, []).append(round(log(times) / log(large["turns"] / small["turns"]), 3))
    return found


def machine() -> dict[str, Any]:
    """The size of the machine, which every figure depends on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cores": len(os.sched_getaffinity(0)), "memory_gib": round(memory), "python": platform.python_version()}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, action="append", required=True, help="a size; may be given several times")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--driver-memory", default="3g")
    parser.add_argument("--folder", type=Path, help="work and leave the data here instead of in a temporary folder")
    parser.add_argument("--only", action="append", choices=list(STAGES), help="a stage; several times, in their order")
    parser.add_argument("--stage", choices=list(STAGES), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    traffic = SyntheticTraffic(seed=given.seed)
    if given.stage:
        print(json.dumps(_stage(given.stage, given.folder, traffic, given.turns[0], given.driver_memory)))
        return
    rows = []
    print(f"machine: {machine()}, seed {given.seed}", flush=True)
    for turns in sorted(given.turns):
        folder = (given.folder or Path(tempfile.mkdtemp(prefix="sayagain-"))) / str(turns)
        folder.mkdir(parents=True, exist_ok=True)
        rows.append(measure(turns, traffic, folder, given.only or USUAL, given.driver_memory))
        if given.folder is None:
            shutil.rmtree(folder.parent)
        report = {"machine": machine(), "seed": given.seed, "sizes": rows, "slopes": slopes(rows)}
        if given.out:
            given.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"slopes: {slopes(rows)}")


if __name__ == "__main__":
    main()
