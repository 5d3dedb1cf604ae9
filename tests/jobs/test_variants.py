"""Edges across locales, links between clusters, and the distributed search on a real cluster of two workers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs.lake import Run
from jobs.variant_clusters import _links
from jobs.variant_edges import STEP, _across, _thresholds, _within, distributed, thresholds_of
from mining.thresholds import DRAWN, FIXED
from schemas.lake import Lake, Manifest
from schemas.normalise import formulation_id
from schemas.settings import NeighbourSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def spoken(locale: str, vectors: np.ndarray) -> pa.Table:
    ids = [formulation_id(locale, str(i)) for i in range(len(vectors))]
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]).cast(
        pa.list_(pa.float32())
    )
    return pa.table({"locale": [locale] * len(ids), "formulation_id": ids, "embedding": embedding})


def planted(centres: int, each: int, seed: int, dim: int = 32) -> np.ndarray:
    rng = np.random.default_rng(seed)
    middle = unit(rng.standard_normal((centres, dim)))
    noise = 0.45 * rng.standard_normal((centres * each, dim)) / np.sqrt(dim)
    return unit(np.repeat(middle, each, axis=0) + noise)


def test_edges_across_locales_find_planted_translations_and_keep_order() -> None:
    vectors = planted(80, 2, seed=1)
    launch, mature = spoken("sw-KE", vectors[::2]), spoken("en-US", vectors[1::2])
    kernel = _across(NeighbourSettings(k=3), 17)
    edges = kernel(launch, mature)
    translated = {
        frozenset((a, b))
        for a, b in zip(launch["formulation_id"].to_pylist(), mature["formulation_id"].to_pylist(), strict=True)
    }
    found = [frozenset(pair) for pair in zip(edges["left"].to_pylist(), edges["right"].to_pylist(), strict=True)]
    assert len(found) > 70
    assert len(translated & set(found)) / len(found) > 0.95
    assert all(a < b for a, b in zip(edges["left"].to_pylist(), edges["right"].to_pylist(), strict=True))
    assert set(edges["kind"].to_pylist()) == {"cross_locale"}
    assert set(edges["locale"].to_pylist()) == {"sw-KE"}
    shuffled = kernel(launch.take(np.random.default_rng(1).permutation(80)), mature)
    assert shuffled.equals(edges)
    assert len(kernel(launch, mature.slice(0, 0))) == 0


def test_a_cluster_is_linked_to_the_one_that_most_edges_lead_to(spark: SparkSession) -> None:
    clusters = {"a": "launch 1", "b": "launch 1", "x": "one", "y": "one", "z": "two"}
    rows = spark.createDataFrame(
        [(name, c, "sw-KE" if name in "ab" else "en-US") for name, c in clusters.items()],
        "formulation_id string, cluster_id string, locale string",
    )
    across = spark.createDataFrame(
        [("sw-KE", "a", "x", 0.6), ("sw-KE", "b", "y", 0.7), ("sw-KE", "b", "z", 0.9)],
        "locale string, left string, right string, cosine double",
    )
    assert [row.asDict() for row in _links(across, rows).collect()] == [
        {"locale": "sw-KE", "cluster_id": "launch 1", "other_locale": "en-US", "other_cluster": "one", "edges": 2,
         "cosine": 0.65}
    ]  # fmt: skip


@pytest.mark.parametrize("files", [1, 7])
def test_each_locale_has_its_own_threshold_however_its_rows_lie(tmp_path: Path, settings, files: int) -> None:
    """The first wordings by id tell it, in one file or in many; few wordings, and a number that is set, are as said."""
    squeezed = unit(np.hstack([planted(400, 3, seed=5), 0.8 * planted(1200, 1, seed=6)]))
    said = [spoken("ja-JP", squeezed), spoken("en-US", planted(400, 3, seed=5)), spoken("sw-KE", squeezed[:20])]
    table = pa.concat_tables(said)
    table = table.take(np.random.default_rng(files).permutation(len(table)))
    for part in range(files):
        write_deltalake(tmp_path / "utterances", table.take(np.arange(part, len(table), files)), mode="append",
                        partition_by=["locale"])  # fmt: skip
    run = Run(STEP, Lake(tmp_path), settings({}), "run", {"utterances": files - 1})
    locales = ["en-US", "ja-JP", "sw-KE"]
    found = _thresholds(run, locales)
    assert found["sw-KE"] == (FIXED, 0)
    assert found["en-US"] == (FIXED, DRAWN)
    first = said[0].sort_by("formulation_id")["formulation_id"].to_pylist()[:DRAWN]
    row = {name: i for i, name in enumerate(said[0]["formulation_id"].to_pylist())}
    drawn = squeezed[[row[name] for name in first]].astype(np.float64)
    cosine = drawn @ drawn.T - 2 * np.eye(DRAWN)
    assert found["ja-JP"].cosine == pytest.approx(float(np.median(cosine.max(axis=1))), abs=1.5e-3)
    assert 0.45 < found["ja-JP"].cosine < 0.6
    set_by_hand = Run(STEP, run.lake, settings({"neighbours.min_cosine": 0.7}), "run", run.inputs)
    assert _thresholds(set_by_hand, locales) == dict.fromkeys(locales, (0.7, 0))


def test_clusters_read_what_the_edges_were_made_with(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert thresholds_of(lake) == {}
    told = {"ja-JP": {"cosine": 0.44, "wordings": DRAWN}}
    lake.publish(Manifest("variant_edges", "run", {}, {}, {}, {"min_cosine": told}))
    assert thresholds_of(lake) == {"ja-JP": 0.44}


def rows_of(table: pa.Table) -> list[dict]:
    return table.sort_by([("left", "ascending"), ("right", "ascending")]).to_pylist()


@pytest.mark.parametrize("partitions", [1, 5])
def test_the_distributed_search_gives_the_edges_of_the_local_one(spark: SparkSession, partitions: int) -> None:
    table = spoken("sw-KE", planted(150, 8, seed=2))
    settings = NeighbourSettings(k=6, exact_below=1, min_margin=0.9)
    wanted = _within(settings, 3, {"sw-KE": 0.65})(table)
    frame = spark.createDataFrame(table.to_pandas(), "locale string, formulation_id string, embedding array<float>")
    found = distributed(frame.repartition(partitions), "sw-KE", len(table), settings, 3, 0.65).toArrow()
    assert rows_of(found) == rows_of(wanted)
    assert len(wanted) > 1000


# A standalone cluster: two workers, each a JVM of its own that starts Python workers of its own.

DRIVER = """
import sys, pyarrow as pa, pyarrow.parquet as pq
from pyspark.sql import SparkSession
from jobs.variant_edges import distributed
from schemas.settings import NeighbourSettings
master, source, out, rows = sys.argv[1:]
spark = (
    SparkSession.builder.master(master).appName("distributed").config("spark.executor.memory", "512m")
    .config("spark.sql.shuffle.partitions", 6).config("spark.sql.execution.arrow.pyspark.enabled", True)
    .config("spark.ui.enabled", False).config("spark.executor.cores", 1).getOrCreate()
)
settings = NeighbourSettings(k=6, exact_below=1, min_margin=0.9)
found = distributed(spark.read.parquet(source).repartition(4), "sw-KE", int(rows), settings, 3, 0.65).toArrow()
pq.write_table(found, out)
tracker = spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size()
print("executors and driver:", tracker)
spark.stop()
"""


@contextmanager
def standalone_cluster(folder: Path) -> Iterator[str]:
    """A Spark master and two workers of one core on this machine; the master's address."""
    import pyspark

    home = Path(pyspark.__file__).parent
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {
        "SPARK_HOME": str(home), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1",
        "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "SPARK_WORKER_DIR": str(folder / "work"), "SPARK_LOCAL_DIRS": str(folder / "local"),
    }  # fmt: skip
    launch = [str(home / "bin" / "spark-class")]
    started: list[subprocess.Popen[str]] = []

    def start(name: str, *arguments: str) -> Path:
        log = folder / f"{name}.log"
        with log.open("w") as out:
            process = subprocess.Popen([*launch, *arguments], stdout=out, stderr=out, env=environment, text=True)
        started.append(process)
        return log

    def wait_for(log: Path, pattern: str) -> str:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if found := re.search(pattern, log.read_text()):
                return found.group(1)
            time.sleep(0.2)
        raise AssertionError(f"{pattern} never came:\n{log.read_text()[-2000:]}")

    try:
        master = "org.apache.spark.deploy.master.Master"
        log = start("master", master, "--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        address = wait_for(log, r"(spark://127\.0\.0\.1:\d+)")
        worker = "org.apache.spark.deploy.worker.Worker"
        limits = ("--cores", "1", "--memory", "700m", "--host", "127.0.0.1", "--webui-port", "0")
        for number in (1, 2):
            wait_for(start(f"worker{number}", worker, *limits, address), r"(Successfully registered)")
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(timeout=30)


@pytest.mark.slow
def test_a_standalone_cluster_of_two_workers_gives_the_edges_of_the_local_search(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    table = spoken("sw-KE", planted(1200, 10, seed=4))
    pq.write_table(table, tmp_path / "utterances.parquet")
    wanted = _within(NeighbourSettings(k=6, exact_below=1, min_margin=0.9), 3, {"sw-KE": 0.65})(table)
    (tmp_path / "driver.py").write_text(DRIVER)
    with standalone_cluster(tmp_path) as address:
        command = [sys.executable, str(tmp_path / "driver.py"), address, str(tmp_path / "utterances.parquet")]
        root = Path(__file__).resolve().parents[2]
        environment = os.environ | {"PYTHONPATH": str(root), "SPARK_LOCAL_IP": "127.0.0.1"}
        environment["PYSPARK_PYTHON"] = sys.executable
        done = subprocess.run(
            [*command, str(tmp_path / "edges.parquet"), str(len(table))],
            capture_output=True, text=True, check=False, env=environment, cwd=root, timeout=400,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "executors and driver: 3" in done.stdout
    assert rows_of(pq.read_table(tmp_path / "edges.parquet")) == rows_of(wanted)
    assert len(wanted) > 10_000
