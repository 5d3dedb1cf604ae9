"""Neighbours against scikit-learn's exact search, mutual edges against sets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

import mining.edges
from mining.edges import cross_edges, mutual_edges, near_edges, variant_edges
from mining.neighbours import GRID, between, fixed_point, neighbours, norms_of, plan, search_cell, train_cells

GRID_ERROR = 6e-4  # five standard deviations of a cosine on the fixed grid


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def clouds(centres: int, each: int, dim: int, spread: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    middle = unit(rng.standard_normal((centres, dim)))
    return unit(np.repeat(middle, each, axis=0) + spread * rng.standard_normal((centres * each, dim)) / np.sqrt(dim))


@pytest.mark.parametrize(("rows", "k"), [(300, 7), (50, 49), (5, 10), (2, 1)])
def test_exact_neighbours_are_those_of_scikit_learn(rows: int, k: int) -> None:
    vectors = unit(np.random.default_rng(rows).standard_normal((rows, 24)))
    near, cosine = neighbours(vectors, k)
    k = min(k, rows - 1)
    distance, wanted = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(vectors).kneighbors()
    assert near.shape == (rows, k)
    np.testing.assert_allclose(cosine, 1 - distance, atol=GRID_ERROR)
    # The grid may swap two near ties.
    agree = np.mean([len(set(a) & set(b)) / k for a, b in zip(near.tolist(), wanted.tolist(), strict=True)])
    assert agree > 0.99
    assert (near == wanted).mean() > 0.97


def test_no_row_is_its_own_neighbour_and_none_comes_twice() -> None:
    vectors = clouds(5, 40, 16, 0.3, seed=1)
    vectors[50:80] = vectors[0]  # thirty-one equal rows, more than k + 1
    near, cosine = neighbours(vectors, 10)
    assert not (near == np.arange(len(vectors))[:, None]).any()
    assert all(len(set(row)) == 10 for row in near.tolist())
    equal = {0, *range(50, 80)}
    assert all(set(near[row].tolist()) <= equal for row in equal)
    assert (cosine[sorted(equal)] == 1).all()


def test_neighbours_are_sorted_by_cosine_then_row() -> None:
    vectors = np.repeat(unit(np.eye(4)), 5, axis=0)
    near, cosine = neighbours(vectors, 12)
    ranked = [sorted(zip((-c).tolist(), n.tolist(), strict=True)) for n, c in zip(near, cosine, strict=True)]
    assert ranked == [list(zip((-c).tolist(), n.tolist(), strict=True)) for n, c in zip(near, cosine, strict=True)]


def test_missing_neighbours_stay_missing_and_give_no_edge() -> None:
    # 400 rows in 50 cells, 6 of them visited: with k = 200 most rows find fewer than k others.
    vectors = clouds(80, 5, 32, 0.05, seed=2)
    near, cosine = neighbours(vectors, 200, exact_below=1, seed=3)
    missing = near < 0
    assert missing.any()
    assert (near[missing] == -1).all()
    assert np.isneginf(cosine[missing]).all()
    assert np.isfinite(cosine[~missing]).all()
    true = vectors @ vectors.T
    rows = np.repeat(np.arange(len(vectors)), 200).reshape(near.shape)
    np.testing.assert_allclose(cosine[~missing], true[rows[~missing], near[~missing]], atol=GRID_ERROR)
    edges = variant_edges(vectors, k=200, min_cosine=-1, min_margin=1e-9, exact_below=1, seed=3)
    np.testing.assert_allclose(edges.cosine, true[edges.left, edges.right], atol=GRID_ERROR)
    assert (edges.left >= 0).all()
    assert (edges.left < edges.right).all()
    assert np.isfinite(edges.margin).all()


def test_the_inverted_file_finds_planted_clusters() -> None:
    vectors = clouds(300, 12, 32, 0.5, seed=4)
    exact, _ = neighbours(vectors, 10)
    quick, _ = neighbours(vectors, 10, exact_below=100, seed=5)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), quick.tolist(), strict=True)])
    assert recall >= 0.95
    again, _ = neighbours(vectors, 10, exact_below=100, seed=5)
    np.testing.assert_array_equal(quick, again)


@pytest.mark.parametrize("rows", [2, 3, 5, 8])
def test_an_inverted_file_over_few_rows(rows: int) -> None:
    vectors = unit(np.random.default_rng(rows).standard_normal((rows, 8)))
    np.testing.assert_array_equal(neighbours(vectors, 3, exact_below=1)[0], neighbours(vectors, 3)[0])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("k", "least", "margin"), [(5, 0.3, 1.02), (10, -1.0, 0.5), (3, 0.6, 1.01)])
@pytest.mark.parametrize("numbers", [1, 300, 4_000_000])
def test_edges_are_the_mutual_neighbours_with_cosine_and_margin(
    seed: int, k: int, least: float, margin: float, numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mining.edges, "_NUMBERS", numbers)  # rows are looked at block by block
    vectors = clouds(8, 9, 16, 0.8, seed)
    grid = np.rint(vectors.astype(np.float64) * GRID)
    grid /= np.linalg.norm(grid, axis=1, keepdims=True)
    true = np.round(grid @ grid.T, 5)
    everybody = range(len(vectors))
    near = [sorted((j for j in everybody if j != row), key=lambda j: (-true[row, j], j))[:k] for row in everybody]
    mean = [np.mean(true[row, found]) for row, found in enumerate(near)]
    wanted = {}
    for a in range(len(vectors)):
        for b in near[a]:
            if a < b and a in near[b] and true[a, b] >= least:
                ratio = true[a, b] / max((mean[a] + mean[b]) / 2, 1e-6)
                if ratio >= margin or true[a, b] >= 0.95:
                    wanted[a, b] = (true[a, b], ratio, max(near[a].index(b), near[b].index(a)) + 1)
    edges = variant_edges(vectors, k=k, min_cosine=least, min_margin=margin)
    found = list(zip(edges.left.tolist(), edges.right.tolist(), strict=True))
    assert found == sorted(wanted)
    assert len(found) > 0
    np.testing.assert_allclose(edges.cosine, [wanted[e][0] for e in found], atol=GRID_ERROR)
    np.testing.assert_allclose(edges.margin, [wanted[e][1] for e in found], atol=1e-4)
    assert edges.mutual_rank.tolist() == [wanted[e][2] for e in found]


@pytest.mark.parametrize("rows", [0, 1])
def test_nobody_has_no_neighbours(rows: int) -> None:
    vectors = unit(np.ones((rows, 8)))
    assert neighbours(vectors, 5)[0].shape == (rows, 0)
    assert len(variant_edges(vectors, k=5, min_cosine=0, min_margin=1).left) == 0


# The plan


def test_the_plan_is_exact_then_cells_then_bytes() -> None:
    assert plan(19_999, 256, device="cpu").kind == "exact"
    chosen = plan(1_000_000, 256, device="cpu")
    assert (chosen.kind, chosen.cells, chosen.sample) == ("inverted", 3000, 96_000)
    assert chosen.operations < 0.01 * plan(1_000_000, 256, exact_below=10**9, device="cpu").operations
    bound = (chosen.bytes - 1) / 2**30
    small = plan(1_000_000, 256, memory_gb=bound, device="cpu")
    assert small.kind == "inverted_sq8"
    assert small.bytes < chosen.bytes
    # Memory is linear in n: ten times the rows take no more than ten times the bytes.
    assert plan(10_000_000, 256, device="cpu").bytes <= 10 * chosen.bytes


PEAK = """
import sys
from pathlib import Path
import numpy as np
from mining.neighbours import neighbours, plan
def peak():  # of this program; that of getrusage is the parent's at first
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
rows, dim, k, exact_below = map(int, sys.argv[1:])
rng = np.random.default_rng(1)
vectors = np.empty((rows, dim), dtype=np.float32)
for start in range(0, rows, 4096):
    part = rng.standard_normal((min(4096, rows - start), dim), dtype=np.float32)
    vectors[start : start + 4096] = part / np.linalg.norm(part, axis=1, keepdims=True)
neighbours(vectors[:2000], k, chosen=plan(2000, dim, exact_below=1, device="cpu"))  # what libraries take once
before = peak()
chosen = plan(rows, dim, exact_below=exact_below, device="cpu")
neighbours(vectors, k, chosen=chosen)
print(chosen.bytes + 16 * rows * k, peak() - before)
"""


@pytest.mark.parametrize(("rows", "exact_below"), [(100_000, 1), (18_000, 10**6)])
def test_a_search_takes_the_memory_that_its_plan_states(rows: int, exact_below: int) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PEAK, str(rows), "128", "10", str(exact_below)],
        cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, check=True,
    )  # fmt: skip
    stated, added = map(int, run.stdout.split())
    assert added < 1.2 * stated + 48 * 2**20  # lists of the best of one block, and scratch of threads
    assert stated < 2 * added


def test_every_order_of_summation_gives_the_same_product() -> None:
    vectors = clouds(20, 30, 384, 0.7, seed=6)
    codes = fixed_point(vectors)
    exact = codes.astype(np.int64) @ codes.T.astype(np.int64)
    floats = codes.astype(np.float32)
    np.testing.assert_array_equal(floats @ floats.T, exact)
    shuffled = np.random.default_rng(1).permutation(384)
    np.testing.assert_array_equal(floats[:, shuffled] @ np.asfortranarray(floats[:, shuffled].T), exact)
    assert np.abs(exact / GRID**2 - vectors.astype(np.float64) @ vectors.T).max() < GRID_ERROR


@pytest.mark.parametrize("threads", [1, 2])
def test_neighbours_do_not_depend_on_threads(threads: int) -> None:
    import faiss

    vectors = clouds(100, 30, 32, 0.5, seed=7)
    before = faiss.omp_get_max_threads()
    cells = train_cells(vectors, 60, seed=1)
    wanted = neighbours(vectors, 8, exact_below=1, cells=cells)
    try:
        faiss.omp_set_num_threads(threads)
        found = neighbours(vectors, 8, exact_below=1, cells=cells)
    finally:
        faiss.omp_set_num_threads(before)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])


def test_bytes_with_rescoring_find_what_16_bits_find() -> None:
    vectors = clouds(400, 10, 64, 0.5, seed=8)
    chosen = plan(len(vectors), 64, exact_below=1, memory_gb=0, device="cpu")
    assert chosen.kind == "inverted_sq8"
    near, cosine = neighbours(vectors, 9, chosen=chosen)
    wanted, true = neighbours(vectors, 9, exact_below=1)
    same = near == wanted
    assert same.mean() > 0.99
    np.testing.assert_array_equal(cosine[same], true[same])  # scored again on the same grid


def test_rows_may_lie_on_disk(tmp_path: Path) -> None:
    vectors = clouds(100, 10, 32, 0.5, seed=9)
    np.save(tmp_path / "vectors.npy", vectors)
    there = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    for memory in (None, 0.0):
        chosen = plan(1000, 32, exact_below=1, memory_gb=memory, device="cpu")
        np.testing.assert_array_equal(neighbours(there, 5, chosen=chosen)[0], neighbours(vectors, 5, chosen=chosen)[0])


def test_a_cell_alone_gives_what_the_search_gives() -> None:
    # What a task of the distributed form does: residents and visitors of one cell, known by any ascending names.
    vectors = clouds(10, 30, 16, 0.4, seed=10)
    codes = fixed_point(vectors)
    norms, names = norms_of(codes), 7 * np.arange(300) + 3
    near, cosine = search_cell(codes[:40], codes, norms[:40], norms, names[:40], names, 6)
    wanted, true = neighbours(vectors, 6)
    np.testing.assert_array_equal((near - 3) // 7, wanted[:40])
    np.testing.assert_array_equal(cosine, true[:40])


# Between two collections


@pytest.mark.parametrize("exact_below", [20_000, 1])
def test_neighbours_in_another_collection(exact_below: int) -> None:
    vectors = clouds(60, 20, 32, 0.4, seed=11)
    one, other = vectors[::3], vectors[1::3]
    near, cosine = between(one, other, 5, exact_below=exact_below)
    distance, wanted = NearestNeighbors(n_neighbors=5, metric="cosine", algorithm="brute").fit(other).kneighbors(one)
    recall = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(near.tolist(), wanted.tolist(), strict=True)])
    assert recall > (0.95 if exact_below == 1 else 0.99)
    if exact_below > 1:
        np.testing.assert_allclose(cosine, 1 - distance, atol=GRID_ERROR)


def test_edges_between_two_languages_find_planted_translations() -> None:
    rng = np.random.default_rng(12)
    middle = unit(rng.standard_normal((200, 48)))
    one, other = (unit(middle + 0.5 * rng.standard_normal(middle.shape) / np.sqrt(48)) for _ in range(2))
    other = other[rng.permutation(200)]
    found = cross_edges(one, other, k=4, min_cosine=0.5, min_margin=1.05)
    best = (one @ other.T).argmax(axis=1)
    assert len(found.left) > 180
    assert (best[found.left] == found.right).mean() > 0.97
    none = cross_edges(one, other[:0], k=4, min_cosine=0.5, min_margin=1.05)
    assert len(none.left) == 0


@pytest.mark.parametrize("rows", [40, 600])
def test_codes_have_the_neighbours_of_their_vectors(rows: int) -> None:
    vectors, others = clouds(40, 15, 32, 0.5, seed=1), clouds(rows // 10, 10, 32, 0.5, seed=2)
    wanted = between(vectors, others, 3, exact_below=100)
    found = between(fixed_point(vectors), fixed_point(others), 3, exact_below=100)
    assert np.mean(found[0] == wanted[0]) > (0.999 if rows == 40 else 0.98)  # cells are trained on vectors or codes
    same = found[0] == wanted[0]
    np.testing.assert_array_equal(found[1][same], wanted[1][same])


@pytest.mark.skipif("__import__('faiss').get_num_gpus() == 0", reason="faiss sees no GPU (or is faiss-cpu)")
def test_the_gpu_finds_what_the_cpu_finds() -> None:
    vectors = clouds(4000, 15, 128, 0.5, seed=13)
    for exact_below in (10**9, 1):
        gpu = neighbours(vectors, 10, chosen=plan(len(vectors), 128, exact_below=exact_below, device="gpu"))
        cpu = neighbours(vectors, 10, chosen=plan(len(vectors), 128, exact_below=exact_below, device="cpu"))
        recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(gpu[0].tolist(), cpu[0].tolist(), strict=True)])
        assert recall > (0.999 if exact_below > 1 else 0.98)
        same = gpu[0] == cpu[0]
        np.testing.assert_array_equal(gpu[1][same], cpu[1][same])


def test_near_edges_are_the_mutual_neighbours_that_are_no_variants() -> None:
    random = np.random.default_rng(5)
    vectors = random.normal(size=(300, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near, cosine = neighbours(vectors, 12)
    variants = mutual_edges(near[:, :5], cosine[:, :5], min_cosine=0.7, min_margin=1.02)
    found = near_edges(near, cosine, variants, min_cosine=0.5)
    listed = [set(row) for row in near.tolist()]
    mutual = {
        (a, b)
        for a in range(300)
        for b, c in zip(near[a].tolist(), cosine[a].tolist(), strict=True)
        if a < b and a in listed[b] and c >= 0.5
    }
    strict = set(zip(variants.left.tolist(), variants.right.tolist(), strict=True))
    assert strict
    assert set(zip(found.left.tolist(), found.right.tolist(), strict=True)) == mutual - strict
