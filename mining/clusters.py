"""Variant clusters: components of the edges, Leiden inside the large ones, medoids, and ids that stay.

Leiden: Traag, Waltman & van Eck, "From Louvain to Leiden", Scientific Reports 2019, by graspologic-native, with the
constant Potts model (Traag, Van Dooren & Nesterov, "Narrow scope for resolution-limit-free community detection", Phys.
Rev. E 2011): what it divides does not depend on the size of the component or of the log, as modularity's does.

A chain of near neighbours is not a cluster: members too far from the medoid leave it. Mutual neighbours leave out
whoever is on nobody's list, as many are in a large group: who is left alone joins the nearest medoid, if it is near.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mining.neighbours import between, fixed_point

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MEMBERS = 8_192  # of clusters that are looked at together


@dataclass(frozen=True)
class Clusters:
    """For each row: its cluster's number, its medoid's row, and the mean cosine of the members to the medoid."""

    cluster: Ints
    medoid: Ints
    cohesion: Floats


def cluster(
    vectors: NDArray[np.float32],
    left: Ints,
    right: Ints,
    weight: Floats,
    *,
    leiden_above: int,
    resolution: float,
    min_medoid_cosine: float,
    seed: int,
    settled: Ints | None = None,
    whole_cosine: float = 0.6,
    join_cosine: float | None = None,
) -> Clusters:
    """Cluster rows by their edges.

    Args:
        vectors: unit vectors, n x dim, in an order that does not depend on partitioning (sorted by id).
        left, right, weight: undirected edges, weights positive.
        leiden_above: components with more members are divided by Leiden.
        resolution: mean weight over all pairs of its members, absent edges counted as 0, above which a group stays
            together; higher gives smaller clusters.
        min_medoid_cosine: a member further from its medoid leaves; what leaves a cluster forms one of its own by the
            edges among themselves, or stands alone. Two members are therefore at most twice that angle apart.
        seed: of Leiden.
        whole_cosine: a component is not divided if all its members are so near to its medoid, whatever their number:
            each of them has only so many neighbours. It also spares Leiden most of the work.
        settled: the meaning that is known of a row (a number), -1 where none is. No cluster holds two of them: edges
            between such rows are cut, and a cluster that joins them through others is divided (`_divide`).

        join_cosine: a row that is left alone joins the cluster whose medoid is nearest, if the cosine is at least this
            and no two meanings meet; None lets it be alone. It moves no medoid.

    Sums are of whole numbers (`fixed_point`), so medoids and cohesions are the same on every machine.

    Cost: O(edges) for components, near linear for Leiden; O(n x dim) time for medoids, 2 x n x dim bytes; for joining,
    a search of those alone among the medoids (`mining.neighbours.between`).
    """
    rows = len(vectors)
    codes = fixed_point(vectors)
    known = np.full(rows, -1) if settled is None else settled
    agree = (known[left] < 0) | (known[right] < 0) | (known[left] == known[right])
    edges = _Edges(left[agree], right[agree], weight[agree])
    label = _communities(codes, edges, leiden_above, resolution, whole_cosine, seed)
    label = _divide(label, edges, known)
    while True:
        medoid, cosine = _medoids(codes, label)
        strays = (cosine < min_medoid_cosine) & (medoid != np.arange(rows))  # also where all vectors are zero
        if not strays.any():
            break
        inside = strays[edges.left] & strays[edges.right] & (label[edges.left] == label[edges.right])
        apart = _communities(codes, edges.where(inside), leiden_above, resolution, whole_cosine, seed)
        label = np.where(strays, label.max() + 1 + apart, label)
    if join_cosine is not None:
        label, medoid, cosine = _joined(codes, label, medoid, cosine, known, join_cosine, seed)
    label = np.unique(label, return_inverse=True)[1].astype(np.int64)
    # Whole hundred-thousandths: their sum does not depend on its order.
    cohesion = np.bincount(label, np.rint(cosine * 1e5)) / np.maximum(np.bincount(label), 1) / 1e5
    return Clusters(label, medoid, np.round(cohesion, 5)[label])


class _Edges(NamedTuple):
    left: Ints
    right: Ints
    weight: Floats

    def where(self, mask: NDArray[np.bool_] | Ints) -> _Edges:
        return _Edges(self.left[mask], self.right[mask], self.weight[mask])


def _components(rows: int, edges: _Edges) -> Ints:
    graph = coo_matrix((np.ones(len(edges.left), dtype=np.int8), (edges.left, edges.right)), shape=(rows, rows))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _communities(
    codes: NDArray[np.int16], edges: _Edges, leiden_above: int, resolution: float, whole_cosine: float, seed: int
) -> Ints:
    import graspologic_native

    label = _components(len(codes), edges)
    divided = np.bincount(label) > leiden_above
    if not divided.any():
        return label
    loose = np.zeros(len(divided), dtype=bool)
    loose[label[_medoids(codes, label)[1] < whole_cosine]] = True
    divided &= loose
    large = edges.where(divided[label[edges.left]])
    # Leiden's outcome depends on the order of its edges.
    large = large.where(np.lexsort((large.right, large.left, label[large.left])))
    following = int(label.max()) + 1
    starts = np.flatnonzero(np.diff(label[large.left], prepend=-1))
    for start, end in zip(starts, np.append(starts, len(large.left))[1:], strict=True):
        # Its own keeping of names takes strings; each is made once.
        rows, place = np.unique(np.concatenate([large.left[start:end], large.right[start:end]]), return_inverse=True)
        name = list(map(str, rows.tolist()))
        ends = [name[i] for i in place.tolist()]
        _, found = graspologic_native.leiden(
            edges=list(zip(ends[: end - start], ends[end - start :], large.weight[start:end].tolist(), strict=True)),
            starting_communities=None,
            resolution=resolution,
            randomness=0.001,
            iterations=3,
            use_modularity=False,
            seed=seed,
            trials=1,
        )
        members = np.fromiter(map(int, found), dtype=np.int64, count=len(found))
        label[members] = following + np.fromiter(found.values(), dtype=np.int64, count=len(found))
        following += len(found)
    return label


def _divide(label: Ints, edges: _Edges, known: Ints) -> Ints:
    """Divide each cluster that holds two known meanings: strongest edges join first, never two meanings.

    Kruskal's algorithm with a constraint; ties by row. O(edges of such clusters), in Python.
    """
    rows = np.flatnonzero(known >= 0)
    pairs = np.unique(np.stack([label[rows], known[rows]]), axis=1)
    torn = np.zeros(int(label.max()) + 1 if len(label) else 0, dtype=bool)
    torn[pairs[0][1:][pairs[0][1:] == pairs[0][:-1]]] = True
    if not torn.any():
        return label
    inside = edges.where((label[edges.left] == label[edges.right]) & torn[label[edges.left]])
    members = np.flatnonzero(torn[label])
    parent = {row: row for row in members.tolist()}
    meaning = dict(zip(parent, known[members].tolist(), strict=True))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    order = np.lexsort((inside.right, inside.left, -inside.weight))
    for a, b in zip(inside.left[order].tolist(), inside.right[order].tolist(), strict=True):
        one, other = sorted((root(a), root(b)))
        if one != other and (meaning[one] < 0 or meaning[other] < 0 or meaning[one] == meaning[other]):
            parent[other] = one
            meaning[one] = max(meaning[one], meaning[other])
    label = label.copy()
    following = len(torn)
    label[members] = [following + root(row) for row in members.tolist()]
    return label


def _joined(
    codes: NDArray[np.int16], label: Ints, medoid: Ints, cosine: Floats, known: Ints, least: float, seed: int
) -> tuple[Ints, Ints, Floats]:
    """Label, medoid and cosine after rows that stand alone have joined the nearest medoid of two rows or more."""
    _, label, size = np.unique(label, return_inverse=True, return_counts=True)
    alone = np.flatnonzero(size[label] == 1)
    centres = np.unique(medoid[size[label] > 1])
    near, found = (part[:, 0] for part in between(codes[alone], codes[centres], 1, seed=seed))
    meaning = np.full(len(size), -1)
    np.maximum.at(meaning, label, known)
    centre = centres[np.maximum(near, 0)] if len(centres) else alone
    theirs = meaning[label[centre]]
    joins = (near >= 0) & (found >= least) & ((known[alone] < 0) | (theirs < 0) | (known[alone] == theirs))
    # Of several rows with a meaning, the nearest may give it to a cluster that has none; then the others must agree.
    new = np.flatnonzero(joins & (known[alone] >= 0) & (theirs < 0))
    order = new[np.lexsort((alone[new], -found[new]))]
    cluster_of, first = np.unique(label[centre[order]], return_index=True)
    meaning[cluster_of] = known[alone[order[first]]]
    joins &= (known[alone] < 0) | (known[alone] == meaning[label[centre]])
    label, medoid, cosine = label.copy(), medoid.copy(), cosine.copy()
    rows, chosen = alone[joins], centre[joins]
    label[rows], medoid[rows], cosine[rows] = label[chosen], chosen, found[joins]
    return label, medoid, cosine


def _medoids(codes: NDArray[np.int16], label: Ints) -> tuple[Ints, Floats]:
    """Row of the member nearest to its cluster's mean direction, ties by row; every row's cosine to its medoid."""
    rows = len(codes)
    medoid, cosine = np.arange(rows), np.ones(rows)
    order = np.argsort(label, kind="stable")
    start = np.flatnonzero(np.diff(label[order], prepend=-1))
    size = np.diff(start, append=rows)
    several = size > 1
    start, size = start[several], size[several]
    block = np.searchsorted(np.cumsum(size), np.arange(0, size.sum(), MEMBERS))
    for first, last in zip(block, np.append(block, len(size))[1:], strict=True):
        if first == last:
            continue
        counts = size[first:last]
        begin = np.cumsum(counts) - counts
        members = order[np.arange(counts.sum()) + np.repeat(start[first:last] - begin, counts)]
        group = np.repeat(np.arange(len(counts)), counts)
        # A cluster may be larger than a block: its members are read some at a time.
        parts = [slice(at, at + MEMBERS) for at in range(0, len(members), MEMBERS)]
        total = np.zeros((len(counts), codes.shape[1]))
        for part in parts:
            edge = np.flatnonzero(np.diff(group[part], prepend=-1))
            total[group[part][edge]] += np.add.reduceat(codes[members[part]], edge, dtype=np.float64)
        near, length = np.empty(len(members)), np.empty(len(members))
        for part in parts:
            values = codes[members[part]].astype(np.float64)
            length[part] = np.maximum(np.sqrt(np.einsum("ij,ij->i", values, values)), 1)
            near[part] = np.einsum("ij,ij->i", values, total[group[part]]) / length[part]
        best = np.lexsort((members, -near, group))[begin]
        medoid[members] = members[best][group]
        for part in parts:
            chosen = best[group[part]]
            product = np.einsum("ij,ij->i", codes[members[part]], codes[members[chosen]], dtype=np.float64)
            cosine[members[part]] = np.round(product / (length[part] * length[chosen]), 5)
    return medoid, cosine


@dataclass(frozen=True)
class Event:
    """What happened to a cluster since the last run: birth, merge, split or death."""

    event: str
    cluster_id: str
    others: tuple[str, ...]


def stable_ids(
    members: Sequence[str], label: Ints, medoid: Sequence[str], before: Mapping[str, str]
) -> tuple[list[str], list[Event]]:
    """Give each cluster the id it had, if most of its old members stayed together; a new id otherwise.

    Args:
        members: formulation ids.
        label: their clusters' numbers.
        medoid: formulation id of each member's medoid; a new cluster is named after it.
        before: formulation id -> cluster id of the last run.

    Returns:
        The id of each member's cluster, and the events. O(members).
    """
    overlap: dict[int, Counter[str]] = defaultdict(Counter)
    old_size = Counter(before.values())
    named_after: dict[int, str] = {}
    for member, number, centre in zip(members, label.tolist(), medoid, strict=True):
        named_after[number] = centre
        if member in before:
            overlap[number][before[member]] += 1
    # Largest overlaps claim first; an id goes to one cluster only.
    claims = sorted(
        ((-n, old, named_after[number], number) for number, olds in overlap.items() for old, n in olds.items()),
    )
    ids: dict[int, str] = {}
    taken: set[str] = set()
    for shared, old, _, number in claims:
        if number not in ids and old not in taken and -shared * 2 > old_size[old]:
            ids[number] = old
            taken.add(old)
    events = []
    for number, centre in named_after.items():
        olds = sorted(overlap[number])
        if number not in ids:
            name = hashlib.blake2b(f"cluster\x1f{centre}".encode(), digest_size=8).hexdigest()
            while name in taken or name in old_size:  # the name of a cluster that was there is not reborn
                name = hashlib.blake2b(f"{name}\x1f{centre}".encode(), digest_size=8).hexdigest()
            ids[number] = name
            taken.add(name)
            events.append(Event("split" if olds else "birth", name, tuple(olds)))
        elif len(olds) > 1:
            events.append(Event("merge", ids[number], tuple(o for o in olds if o != ids[number])))
    gone = sorted(set(before.values()) - taken)
    events += [Event("death", old, ()) for old in gone]
    return [ids[number] for number in label.tolist()], sorted(events, key=lambda e: (e.event, e.cluster_id))
