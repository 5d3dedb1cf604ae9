"""One method of the variants benchmark, run alone in a process so that its peak memory is its own.

    python -m benchmarks.variants_peers METHOD VECTORS.npy OUT.npz '{"threshold": 0.6, "k": 10, ...}'

Every method gets the same vectors and gives a cluster for each row, and the pairs it looked at where it shows them.
Methods that only search get the customary clusters: components of their pairs at or above the threshold.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Ints = NDArray[np.int64]
Vectors = NDArray[np.float32]
Options = Mapping[str, Any]
MISSING = "{} is not installed: pip install 'sayagain[peers]' (or the packages of the extra `peers` in pyproject.toml)"


class Outcome(NamedTuple):
    """Cluster of each row, and the pairs that the method's search gave (None where it shows none)."""

    label: Ints
    pairs: tuple[Ints, Ints] | None


def _components(rows: int, left: Ints, right: Ints) -> Ints:
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(left), dtype=np.int8), (left, right)), shape=(rows, rows))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _from_lists(near: NDArray[Any], cosine: NDArray[Any], least: float) -> Outcome:
    rows, width = near.shape
    left, right = np.repeat(np.arange(rows), width), near.ravel().astype(np.int64)
    kept = (cosine.ravel() >= least) & (right >= 0) & (left != right)
    left, right = left[kept], right[kept]
    return Outcome(_components(rows, left, right), (left, right))


def sayagain(vectors: Vectors, options: Options) -> Outcome:
    """This project: neighbours, mutual margin edges, constrained clusters."""
    from mining.clusters import cluster
    from mining.edges import mutual_edges
    from mining.neighbours import neighbours, plan

    chosen = plan(len(vectors), vectors.shape[1], probes=options.get("probes", 6))
    near, cosine = neighbours(vectors, options["k"], chosen=chosen, seed=options["seed"])
    edges = mutual_edges(near, cosine, min_cosine=options["threshold"], min_margin=options["min_margin"])
    found = cluster(
        vectors, edges.left, edges.right, np.maximum(edges.cosine, 0.05), leiden_above=options["leiden_above"],
        resolution=options["resolution"], min_medoid_cosine=options["min_medoid_cosine"], seed=options["seed"],
        join_cosine=options["join_cosine"],
    )  # fmt: skip
    width = near.shape[1]
    kept = np.flatnonzero(cosine.ravel() >= options["threshold"])
    return Outcome(found.cluster, (kept // max(width, 1), near.ravel()[kept]))


def community_detection(vectors: Vectors, options: Options) -> Outcome:
    """sentence-transformers: greedy communities around dense points, quadratic."""
    from sentence_transformers.util import community_detection as detect

    found = detect(vectors, threshold=options["threshold"], min_community_size=2)
    label = np.arange(len(vectors)) + len(found)
    for number, members in enumerate(found):
        label[members] = number
    return Outcome(np.unique(label, return_inverse=True)[1].astype(np.int64), None)


def paraphrase_mining(vectors: Vectors, options: Options) -> Outcome:
    """sentence-transformers: exact top k in chunks, quadratic."""
    import torch
    from sentence_transformers.util import dot_score, paraphrase_mining_embeddings

    # All scored pairs are wanted, or recall is lost to the cap.
    found = paraphrase_mining_embeddings(
        torch.from_numpy(vectors), top_k=options["k"], max_pairs=len(vectors) * options["k"], score_function=dot_score
    )
    pairs = np.array([(a, b) for score, a, b in found if score >= options["threshold"]], dtype=np.int64).reshape(-1, 2)
    return Outcome(_components(len(vectors), pairs[:, 0], pairs[:, 1]), (pairs[:, 0], pairs[:, 1]))


def semhash(vectors: Vectors, options: Options) -> Outcome:
    """semhash (usearch inside): semantic de-duplication; a kept text and its duplicates are a cluster."""
    try:
        from semhash import SemHash
    except ImportError:
        raise InputError(MISSING.format("semhash")) from None
    made = SemHash.from_embeddings(vectors, [str(row) for row in range(len(vectors))], model=None)
    found = made.self_deduplicate(threshold=options["threshold"])
    label = np.arange(len(vectors))
    left, right = [], []
    for kept in found.selected_with_duplicates:
        for duplicate, _ in kept.duplicates:
            left.append(int(kept.record))
            right.append(int(duplicate))
    one, other = np.array(left, dtype=np.int64), np.array(right, dtype=np.int64)
    label[other] = one
    return Outcome(np.unique(label, return_inverse=True)[1].astype(np.int64), None)


def usearch(vectors: Vectors, options: Options) -> Outcome:
    """usearch: HNSW with its defaults, and the search width of `width`."""
    try:
        from usearch.index import Index
    except ImportError:
        raise InputError(MISSING.format("usearch")) from None
    wide = options.get("width", 64)
    index = Index(ndim=vectors.shape[1], metric="ip", dtype="f32", expansion_add=max(wide, 128), expansion_search=wide)
    index.add(np.arange(len(vectors)), vectors, threads=os.cpu_count() or 1)
    found = index.search(vectors, options["k"] + 1, threads=os.cpu_count() or 1)
    return _from_lists(found.keys.astype(np.int64), 1 - found.distances, options["threshold"])


def faiss_hnsw(vectors: Vectors, options: Options) -> Outcome:
    """faiss IndexHNSWFlat, 32 links."""
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efSearch = options.get("width", 64)
    index.add(vectors)
    cosine, near = index.search(vectors, options["k"] + 1)
    return _from_lists(near, cosine, options["threshold"])


def faiss_ivf(vectors: Vectors, options: Options) -> Outcome:
    """faiss IndexIVFFlat, 4 sqrt(n) cells (its guidelines), `width` of them probed."""
    import faiss

    rows, dimensions = vectors.shape
    quantiser = faiss.IndexFlatIP(dimensions)
    index = faiss.IndexIVFFlat(quantiser, dimensions, max(1, int(4 * rows**0.5)), faiss.METRIC_INNER_PRODUCT)
    if rows < index.nlist * 39:  # below it faiss warns of too few points a cell
        index = faiss.IndexIVFFlat(quantiser, dimensions, max(1, rows // 39), faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    index.nprobe = options.get("width", 8)
    cosine, near = index.search(vectors, options["k"] + 1)
    return _from_lists(near, cosine, options["threshold"])


@lru_cache(maxsize=2)  # many settings of HDBSCAN are tried on one projection
def _projected(vectors: bytes, rows: int, near: int, seed: int) -> Vectors:
    try:
        from umap import UMAP
    except ImportError:
        raise InputError(MISSING.format("umap-learn")) from None
    made = UMAP(n_neighbors=near, n_components=5, min_dist=0.0, metric="cosine", random_state=seed)
    plain = np.frombuffer(vectors, dtype=np.float32).reshape(rows, -1)
    return np.asarray(made.fit_transform(plain), dtype=np.float32)


def umap_hdbscan(vectors: Vectors, options: Options) -> Outcome:
    """BERTopic's stack: UMAP (15 neighbours unless told, 5 dimensions, cosine), then HDBSCAN; noise is alone."""
    try:
        from hdbscan import HDBSCAN
    except ImportError:
        raise InputError(MISSING.format("hdbscan")) from None
    density = HDBSCAN(
        min_cluster_size=options.get("min_cluster_size", 5),
        cluster_selection_method="leaf" if options.get("leaf") else "eom",
    )
    found = density.fit_predict(
        _projected(vectors.tobytes(), len(vectors), options.get("n_neighbors", 15), options["seed"])
    )
    noise = found < 0
    label = np.where(noise, found.max() + 1 + np.arange(len(found)), found)
    return Outcome(np.unique(label, return_inverse=True)[1].astype(np.int64), None)


METHODS: dict[str, Callable[[Vectors, Options], Outcome]] = {
    method.__name__: method
    for method in (
        sayagain,
        community_detection,
        paraphrase_mining,
        semhash,
        usearch,
        faiss_hnsw,
        faiss_ivf,
        umap_hdbscan,
    )
}


def main(arguments: list[str]) -> int:
    """Run one method and write its outcome, seconds and peak memory."""
    name, source, out, options = arguments
    chosen = json.loads(options)
    METHODS[name](np.eye(60, 8, dtype=np.float32) + 0.1, chosen)  # imports and compilation are not timed
    vectors = np.load(source)
    # The peak before the run holds vectors and imports; what the run adds is sampled, since ru_maxrss cannot be reset.
    before, peak, done = _resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], _resident())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    clock = time.perf_counter()
    label, pairs = METHODS[name](vectors, chosen)
    seconds = time.perf_counter() - clock
    done.set()
    watcher.join()
    left, right = pairs if pairs else (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    np.savez(
        out, label=label, left=left, right=right, shows_pairs=pairs is not None, seconds=seconds,
        added=max(peak[0] - before, 0), peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )  # fmt: skip
    return 0


def _resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
