"""Nearest neighbours: one plan by size, dimension and device, and one search that gives the same on every machine.

Vectors are kept as 16-bit fixed point on a grid of 1/4000. A product of two such unit vectors, and every partial sum of
it, is a whole number below 2**24, which float32 holds exactly: no order of summation, number of threads or BLAS can
change a cosine, and rows that tie are ordered by number. The grid costs about 1e-4 of a cosine (standard deviation).

Above `exact_below` rows the search is an inverted file (Jegou, Douze & Schmid, PAMI 2011) turned inside out, since
every row is both query and neighbour: a row *lives* in its nearest cell and *visits* its `probes` nearest; all rows of
a cell are compared with all its visitors in one matrix product, which needs each cell's vectors once and no merging.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Vectors = NDArray[np.float32]
Codes = NDArray[np.int16] | NDArray[np.int8]

GRID = 4000  # (GRID + sqrt(dim) / 2)**2 stays below 2**24 up to 36,000 dimensions
_SPARE = 5  # found beyond k + 1, so that rounding and ties at the end are settled by row number
_PER_CELL, _ROUNDS = 32, 5  # k-means sees at most so many rows a cell, so often
_BLOCK = 65_536


@dataclass(frozen=True)
class Plan:
    """How neighbours are searched, and what that costs.

    `exact` compares all with all; `inverted` compares within cells; `inverted_sq8` does so on 8-bit codes and then
    scores `2k` candidates a row on the 16-bit ones, which may lie on disk (`numpy.memmap`).
    """

    kind: Literal["exact", "inverted", "inverted_sq8"]
    device: Literal["cpu", "gpu"]
    rows: int
    dimensions: int
    cells: int
    probes: int

    @property
    def sample(self) -> int:
        """Rows that k-means sees."""
        return min(self.rows, _PER_CELL * self.cells)

    @property
    def bytes(self) -> int:
        """Peak beside input, result and scratch below 48 MB: codes, sample and centroids, visits, one block."""
        n, d = self.rows, self.dimensions
        codes = {"exact": 2, "inverted": 2, "inverted_sq8": 1}[self.kind] * n * d
        if self.device == "gpu":
            codes += 4 * n * d + 8 * n
        visits = 0 if self.kind == "exact" else (16 + 12 * self.probes) * n
        train = 4 * d * (self.sample + 2 * self.cells)
        # Rows as float32 and their places in the assignment; a cell is given ten times its fair share of visitors.
        block = 4 * d * (n if self.kind == "exact" else _BLOCK + 10 * self.probes * n // max(self.cells, 1))
        return codes + max(train, visits + block)

    @property
    def operations(self) -> float:
        """Multiply-adds: k-means, assignment, and products within cells of fair size."""
        n, d = self.rows, self.dimensions
        if self.kind == "exact":
            return float(n) * n * d
        compared = n * (self.cells + self.probes * n / self.cells)
        return d * (compared + float(self.sample) * self.cells * _ROUNDS)


def plan(
    rows: int,
    dimensions: int,
    *,
    exact_below: int = 20_000,
    probes: int = 6,
    memory_gb: float | None = None,
    device: Literal["auto", "cpu", "gpu"] = "auto",
) -> Plan:
    """Choose the index.

    Args:
        rows, dimensions: size of the collection.
        exact_below: fewer rows are compared exactly.
        probes: cells that a row visits.
        memory_gb: what `Plan.bytes` may take; 8-bit codes are used where 16-bit ones would take more.
        device: `auto` takes a GPU if faiss was built for one and sees it.

    The number of cells balances assignment (n x cells) against comparison (n x probes x n / cells), cells being
    uneven.
    """
    import faiss

    if device == "auto":
        device = "gpu" if faiss.get_num_gpus() > 0 else "cpu"
    if rows < max(exact_below, 2):
        return Plan("exact", device, rows, dimensions, 0, 0)
    cells = max(1, min(int(sqrt(1.5 * probes * rows)), rows // 8))
    made = Plan("inverted", device, rows, dimensions, cells, min(probes, cells))
    if memory_gb is not None and made.bytes > memory_gb * 2**30:
        made = Plan("inverted_sq8", device, rows, dimensions, cells, made.probes)
    return made


def fixed_point(vectors: Vectors | NDArray[np.int16]) -> NDArray[np.int16]:
    """Unit vectors as whole numbers of 1/4000, n x dim; those that are such numbers already as they are. O(n x dim)."""
    if vectors.dtype == np.int16:
        return vectors  # type: ignore[return-value]
    codes = np.empty(vectors.shape, dtype=np.int16)
    for start in range(0, len(vectors), _BLOCK):
        codes[start : start + _BLOCK] = np.rint(vectors[start : start + _BLOCK] * np.float32(GRID))
    return codes


def norms_of(codes: Codes) -> Floats:
    """Length of every row, in grid units; 1 for a row of zeros."""
    length = np.empty(len(codes))
    for start in range(0, len(codes), _BLOCK):
        block = codes[start : start + _BLOCK].astype(np.float32)
        length[start : start + _BLOCK] = np.sqrt(np.einsum("ij,ij->i", block, block).astype(np.float64))
    return np.where(length > 0, length, 1.0)


def train_cells(sample: Vectors | NDArray[np.int16], cells: int, seed: int) -> Vectors:
    """Spherical k-means: `cells` centroids of vectors of one length, on the grid. O(len(sample) x cells x dim x 5)."""
    import faiss

    means = faiss.Kmeans(
        sample.shape[1], cells, niter=_ROUNDS, seed=seed, spherical=True, max_points_per_centroid=2**31 - 1,
        min_points_per_centroid=1,
    )  # fmt: skip
    means.train(np.ascontiguousarray(sample, dtype=np.float32))
    return fixed_point(np.asarray(means.centroids)).astype(np.float32)


def assign(codes: Codes, cells: Vectors, probes: int) -> NDArray[np.int32]:
    """The `probes` nearest cells of every row, nearest first: n x probes. O(n x cells x dim)."""
    import faiss

    index = faiss.IndexFlatIP(cells.shape[1])
    index.add(cells)
    found = np.empty((len(codes), probes), dtype=np.int32)
    for start in range(0, len(codes), _BLOCK):
        near = index.search(codes[start : start + _BLOCK].astype(np.float32), probes)[1]
        found[start : start + _BLOCK] = near
    return found


def search_cell(
    queries: Codes | Vectors,
    base: Codes | Vectors,
    query_norms: Floats,
    base_norms: Floats,
    query_ids: Ints,
    base_ids: Ints,
    k: int,
) -> tuple[Ints, Floats]:
    """The `k` nearest of `base` for every query, itself left out: ids and cosines, -1 and -inf where there is none.

    Args:
        queries, base: fixed-point rows.
        query_norms, base_norms: their lengths (`norms_of`).
        query_ids, base_ids: what the rows are called; `base_ids` ascending, so that ties go to the smaller.
        k: neighbours wanted.

    Cosines are rounded to 1e-5 and ordered by cosine, then id. O(queries x base x dim); O((queries + base) x dim)
    memory.
    """
    import faiss

    width = min(k + 1 + _SPARE, len(base))
    if width == 0 or len(queries) == 0:
        return np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf)
    product, near = faiss.knn(
        queries.astype(np.float32), base.astype(np.float32), width, metric=faiss.METRIC_INNER_PRODUCT
    )
    return _ranked(product, near, query_norms, base_norms, query_ids, base_ids, k)


def _ranked(
    product: Vectors, near: Ints, query_norms: Floats, base_norms: Floats, query_ids: Ints, base_ids: Ints, k: int
) -> tuple[Ints, Floats]:
    """Order candidates by rounded cosine, then by place in `base`. One sort of whole numbers, no ties left."""
    found = near >= 0
    cosine = product / (query_norms[:, None] * base_norms[near])
    level = np.rint(cosine * 1e5).astype(np.int64)
    key = ((200_000 - level) << 40) | near
    gone = ~found | (base_ids[near] == query_ids[:, None])
    key[gone] = np.iinfo(np.int64).max
    key.sort(axis=1)
    key = key[:, :k]
    if key.shape[1] < k:
        key = np.pad(key, ((0, 0), (0, k - key.shape[1])), constant_values=np.iinfo(np.int64).max)
    missing = key == np.iinfo(np.int64).max
    ids = np.where(missing, -1, base_ids[np.where(missing, 0, key & (2**40 - 1))])
    return ids, np.where(missing, -np.inf, (200_000 - (key >> 40)) / 1e5)


def grouped(cell: NDArray[np.int32], cells: int) -> tuple[Ints, Ints]:
    """Places of an array of cell numbers ordered by cell, then place, and where each cell begins: n and cells + 1."""
    order = np.argsort(cell, kind="stable")
    return order, np.searchsorted(cell[order], np.arange(cells + 1))


def _cells_of(visits: NDArray[np.int32], cells: int) -> Iterator[tuple[Ints, Ints]]:
    """For every cell that has some: the rows that live there, and the rows that visit, ascending."""
    probes = visits.shape[1]
    home, home_start = grouped(visits[:, 0], cells)
    guest, guest_start = grouped(visits.ravel(), cells)
    for cell in range(cells):
        lives = home[home_start[cell] : home_start[cell + 1]]
        if len(lives):
            yield lives, guest[guest_start[cell] : guest_start[cell + 1]] // probes


def neighbours(
    vectors: Vectors,
    k: int,
    *,
    chosen: Plan | None = None,
    cells: Vectors | None = None,
    exact_below: int = 20_000,
    seed: int = 0,
) -> tuple[Ints, Floats]:
    """The `k` nearest others of every unit vector: row numbers and cosines, n x k; -1 and -inf where there is none.

    Args:
        vectors: unit vectors, n x dim; may be a `numpy.memmap`.
        k: neighbours of each; fewer where there are fewer rows.
        chosen: the plan; made from the size and `exact_below` if None.
        cells: centroids of `train_cells`; trained on a sample drawn with `seed` if None.

    Cost: `Plan.operations` and `Plan.bytes`, and 16 x n x k bytes for the result. A cell that holds a large share of
    all rows (many equal vectors) is compared in full: quadratic in its size.
    """
    rows, dimensions = vectors.shape
    k = min(k, rows - 1)
    if k < 1:
        return np.zeros((rows, 0), dtype=np.int64), np.zeros((rows, 0))
    chosen = chosen or plan(rows, dimensions, exact_below=exact_below)
    near, cosine = np.empty((rows, k), dtype=np.int64), np.empty((rows, k))
    everyone = np.arange(rows)
    if chosen.kind == "inverted_sq8":
        codes: Codes = _bytes_of(vectors)
        k_found = min(2 * k, rows - 1)
    else:
        codes, k_found = fixed_point(vectors), k
    if chosen.kind != "exact" and cells is None:
        drawn = np.sort(np.random.default_rng(seed).choice(rows, chosen.sample, replace=False))
        cells = train_cells(vectors[drawn], chosen.cells, seed)
    if chosen.device == "gpu":
        return _on_gpu(codes, vectors, k, chosen, cells)
    norms = norms_of(codes)
    if cells is None:
        base = codes.astype(np.float32)
        for start in range(0, rows, _BLOCK):
            part = slice(start, start + _BLOCK)
            near[part], cosine[part] = search_cell(
                base[part], base, norms[part], norms, everyone[part], everyone, k
            )  # fmt: skip
        return near, cosine
    visits = assign(codes, cells, chosen.probes)
    for lives, guests in _cells_of(visits, len(cells)):
        found = search_cell(codes[lives], codes[guests], norms[lives], norms[guests], lives, guests, k_found)
        if chosen.kind == "inverted_sq8":
            found = _rescored(vectors, lives, found[0], k)
        near[lives], cosine[lives] = found
    return near, cosine


def between(
    queries: Vectors | NDArray[np.int16],
    base: Vectors | NDArray[np.int16],
    k: int,
    *,
    exact_below: int = 20_000,
    seed: int = 0,
) -> tuple[Ints, Floats]:
    """The `k` nearest rows of another collection for every unit vector: row numbers of `base` and cosines, n x k.

    Both may be in fixed point already (`fixed_point`). Exact where there are at most `exact_below` squared comparisons;
    by cells of `base` otherwise, where queries live and `base` visits. Cost as for `neighbours`.
    """
    near, cosine = np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf)
    if not len(queries) or not len(base) or k < 1:
        return near, cosine
    one, other = fixed_point(queries), fixed_point(base)
    one_norms, other_norms = norms_of(one), norms_of(other)
    nobody, everyone = np.full(len(one), -1), np.arange(len(other))
    if len(one) * len(other) <= exact_below**2:
        floats = other.astype(np.float32)
        for start in range(0, len(one), _BLOCK):
            part = slice(start, start + _BLOCK)
            near[part], cosine[part] = search_cell(
                one[part], floats, one_norms[part], other_norms, nobody[part], everyone, k
            )
        return near, cosine
    chosen = plan(len(base), base.shape[1], exact_below=2, device="cpu")
    drawn = np.sort(np.random.default_rng(seed).choice(len(base), chosen.sample, replace=False))
    cells = train_cells(base[drawn], chosen.cells, seed)
    home, home_start = grouped(assign(one, cells, 1)[:, 0], len(cells))
    guest, guest_start = grouped(assign(other, cells, chosen.probes).ravel(), len(cells))
    for cell in range(len(cells)):
        lives = home[home_start[cell] : home_start[cell + 1]]
        visit = guest[guest_start[cell] : guest_start[cell + 1]] // chosen.probes
        near[lives], cosine[lives] = search_cell(
            one[lives], other[visit], one_norms[lives], other_norms[visit], nobody[lives], visit, k
        )
    return near, cosine


def _bytes_of(vectors: Vectors) -> NDArray[np.int8]:
    """8-bit codes at one scale for all dimensions: the order of candidates, not their score, comes from these."""
    largest = max(float(np.abs(vectors[i : i + _BLOCK]).max()) for i in range(0, len(vectors), _BLOCK))
    scale = np.float32(127 / max(largest, 1e-9))
    codes = np.empty(vectors.shape, dtype=np.int8)
    for start in range(0, len(vectors), _BLOCK):
        codes[start : start + _BLOCK] = np.rint(vectors[start : start + _BLOCK] * scale)
    return codes


def _rescored(vectors: Vectors, rows: Ints, near: Ints, k: int) -> tuple[Ints, Floats]:
    """Score candidates on the fixed grid and keep the best `k`. O(rows x candidates x dim)."""
    wanted, place = np.unique(near, return_inverse=True)
    base = fixed_point(vectors[np.maximum(wanted, 0)])
    query = fixed_point(vectors[rows])
    place = place.reshape(near.shape)
    floats = base.astype(np.float32)
    product = np.einsum("ij,ikj->ik", query.astype(np.float32), floats[place], optimize=False)
    place[near < 0] = -1
    return _ranked(product, place, norms_of(query), norms_of(base), rows, wanted, k)


def _on_gpu(
    codes: Codes, vectors: Vectors, k: int, chosen: Plan, cells: Vectors | None
) -> tuple[Ints, Floats]:  # pragma: no cover - where faiss sees a GPU
    """The same search by faiss on all visible GPUs, a row probing cells instead of visiting them.

    Which candidates are found may differ from the CPU's at the rim of cells; their cosines do not, since they are
    products on the same grid (tensor cores in TF32 hold 10 bits only, so candidates are scored again on the CPU where
    the codes are not exact).
    """
    import faiss

    rows, dimensions = codes.shape
    if cells is None:
        index: Any = faiss.IndexFlatIP(dimensions)
    else:
        quantiser = faiss.IndexFlatIP(dimensions)
        quantiser.add(cells)
        index = faiss.IndexIVFFlat(quantiser, dimensions, len(cells), faiss.METRIC_INNER_PRODUCT)
        index.is_trained, index.nprobe = True, chosen.probes
    index = faiss.index_cpu_to_all_gpus(index)
    for start in range(0, rows, _BLOCK):
        index.add(codes[start : start + _BLOCK].astype(np.float32))
    near, cosine = np.empty((rows, k), dtype=np.int64), np.empty((rows, k))
    width = min((2 * k if chosen.kind == "inverted_sq8" else k) + 1 + _SPARE, rows)
    for start in range(0, rows, _BLOCK):
        part = np.arange(start, min(start + _BLOCK, rows))
        found = index.search(codes[part].astype(np.float32), width)[1]
        near[part], cosine[part] = _rescored(vectors, part, found, k)
    return near, cosine
