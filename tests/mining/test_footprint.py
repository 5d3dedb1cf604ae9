"""The memory that is stated for the cluster step is what it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PEAK = """
import json, sys
from pathlib import Path
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from benchmarks.variants_data import planted
from mining.clusters import cluster
from mining.edges import mutual_edges
from mining.footprint import peak_bytes
from mining.neighbours import neighbours, plan
def peak():  # of this program; that of getrusage is the parent's at first
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
def clustered(vectors, chosen):
    near, cosine = neighbours(vectors, k, chosen=chosen)
    edges = mutual_edges(near, cosine, min_cosine=0.55, min_margin=0.95)
    cluster(vectors, edges.left, edges.right, edges.cosine, leiden_above=200, resolution=0.05, min_medoid_cosine=0.4,
            seed=1, join_cosine=0.6)
    return edges
rows, dim, k = map(int, sys.argv[1:])
vectors = planted(rows, dim, 1).vectors
clustered(vectors[:3000].copy(), plan(3000, dim, exact_below=1, device="cpu"))  # what libraries take once
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = peak()
chosen = plan(rows, dim, device="cpu")
edges = clustered(vectors, chosen)
added = peak() - before
graph = coo_matrix((np.ones(len(edges.left)), (edges.left, edges.right)), shape=(rows, rows))
component = connected_components(graph, directed=False)[1]
large = np.bincount(component) > 200
divided = int((np.bincount(component[edges.left]) * large[: component[edges.left].max() + 1]).max())
stated = peak_bytes(chosen, k, len(edges.left), divided)
print(json.dumps({"stated": stated, "added": added, "edges": len(edges.left), "divided": divided}))
"""


@pytest.mark.parametrize(("rows", "dimensions", "k"), [(60_000, 128, 10), (60_000, 32, 40), (15_000, 256, 20)])
def test_the_whole_step_takes_the_memory_that_is_stated(rows: int, dimensions: int, k: int) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PEAK, str(rows), str(dimensions), str(k)],
        cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(run.stdout)
    assert found["edges"] > rows  # there is something to sort out
    assert found["added"] < 1.2 * found["stated"] + 48 * 2**20  # scratch of threads and blocks
    assert found["stated"] < 2 * found["added"] + 48 * 2**20
