"""Clusters against networkx and planted groups; cluster ids from night to night."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

import mining.clusters
from mining.clusters import Clusters, cluster, stable_ids
from mining.edges import variant_edges

Edges = list[tuple[int, int]]


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def clustered(vectors: np.ndarray, edges: Edges, above: int = 10**6, least: float = -1.0, seed: int = 0) -> Clusters:
    left, right = (np.array([e[i] for e in edges], dtype=np.int64) for i in (0, 1))
    return cluster(vectors, left, right, np.ones(len(edges)), leiden_above=above, resolution=0.05,
                   min_medoid_cosine=least, seed=seed)  # fmt: skip


def groups(label: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(label == value).tolist()) for value in set(label.tolist())}


edges_of = st.integers(1, 40).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=50))
)


@settings(deadline=None)
@given(edges_of)
def test_small_components_are_those_of_networkx(drawn: tuple[int, Edges]) -> None:
    rows, edges = drawn
    edges = sorted({(min(e), max(e)) for e in edges if e[0] != e[1]})
    graph = nx.Graph(edges)
    graph.add_nodes_from(range(rows))
    found = clustered(unit(np.ones((rows, 4))), edges)
    assert groups(found.cluster) == {frozenset(c) for c in nx.connected_components(graph)}
    assert sorted(set(found.cluster.tolist())) == list(range(len(groups(found.cluster))))


def planted(centres: int, each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    middle = unit(rng.standard_normal((centres, 48)))
    noise = 0.55 * rng.standard_normal((centres * each, 48)) / np.sqrt(48)
    return unit(np.repeat(middle, each, axis=0) + noise), np.repeat(np.arange(centres), each)


@pytest.mark.parametrize("seed", range(3))
def test_planted_clusters_are_found_though_bridges_join_them(seed: int) -> None:
    vectors, truth = planted(20, 15, seed)
    found = variant_edges(vectors, k=8, min_cosine=0.4, min_margin=0.9)
    edges = list(zip(found.left.tolist(), found.right.tolist(), strict=True))
    bridges = [(15 * c, 15 * (c + 1) + 1) for c in range(19)]  # one long chain of clusters
    edges = sorted({*edges, *bridges})
    components = clustered(vectors, edges)
    assert adjusted_rand_score(truth, components.cluster) < 0.2
    leiden = clustered(vectors, edges, above=20, least=0.2)
    assert adjusted_rand_score(truth, leiden.cluster) > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_edges_does_not_matter(seed: int) -> None:
    vectors, _ = planted(10, 15, seed)
    found = variant_edges(vectors, k=8, min_cosine=0.2, min_margin=0.5)
    edges = list(zip(found.left.tolist(), found.right.tolist(), strict=True))
    order = np.random.default_rng(seed).permutation(len(edges))
    one = clustered(vectors, edges, above=5, least=0.3, seed=7)
    other = clustered(vectors, [edges[i] for i in order], above=5, least=0.3, seed=7)
    np.testing.assert_array_equal(one.cluster, other.cluster)
    np.testing.assert_array_equal(one.medoid, other.medoid)
    np.testing.assert_array_equal(one.cohesion, other.cohesion)


def test_a_chain_of_near_neighbours_is_no_cluster() -> None:
    angle = np.linspace(0, np.pi / 2, 19)  # 5 degrees from each to the next
    vectors = unit(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    edges = [(i, i + 1) for i in range(18)]
    assert len(groups(clustered(vectors, edges).cluster)) == 1
    least = float(np.cos(np.deg2rad(21)))
    apart = clustered(vectors, edges, least=least)
    assert len(groups(apart.cluster)) == 3  # the middle, and the strays on either side by their own edges
    middle = groups(apart.cluster) & {frozenset(range(5, 14))}
    assert middle


def test_a_stray_stands_alone() -> None:
    vectors = unit(np.array([[1, 0.01], [1, 0], [1, -0.01], [0, 1]]))
    found = clustered(vectors, [(0, 1), (1, 2), (2, 3)], least=0.5)
    assert groups(found.cluster) == {frozenset({0, 1, 2}), frozenset({3})}
    assert found.medoid[3] == 3
    assert found.cohesion[3] == pytest.approx(1, abs=1e-4)


def test_the_medoid_is_the_member_nearest_to_all_others() -> None:
    vectors, truth = planted(12, 9, seed=5)
    edges = [(a, b) for a in range(len(truth)) for b in range(a + 1, len(truth)) if truth[a] == truth[b]]
    found = clustered(vectors, edges)
    for value in set(truth.tolist()):
        members = np.flatnonzero(truth == value)
        closeness = (vectors[members] @ vectors[members].T).sum(axis=1)
        assert set(found.medoid[members].tolist()) == {members[closeness.argmax()]}
        to_medoid = vectors[members] @ vectors[members[closeness.argmax()]]
        np.testing.assert_allclose(found.cohesion[members], to_medoid.mean(), atol=1e-4)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 5), st.integers(1, 9))
def test_medoids_are_those_of_a_naive_search_however_many_members_are_read_at_once(
    monkeypatch: pytest.MonkeyPatch, labels: list[int], seed: int, members: int
) -> None:
    monkeypatch.setattr(mining.clusters, "MEMBERS", members)
    label = np.array(labels)
    codes = np.random.default_rng(seed).integers(-30, 30, size=(len(label), 3)).astype(np.int16)
    medoid, cosine = mining.clusters._medoids(codes, label)
    unit_length = codes / np.maximum(np.linalg.norm(codes, axis=1, keepdims=True), 1)
    for row, number in enumerate(labels):
        of = np.flatnonzero(label == number)
        centre = min(of, key=lambda i: (-round(float(unit_length[i] @ codes[of].sum(axis=0)), 9), i))
        assert medoid[row] == (row if len(of) == 1 else centre)
        if len(of) > 1:
            assert cosine[row] == pytest.approx(unit_length[row] @ unit_length[centre], abs=1e-5)


def test_a_dense_component_stays_whole_and_a_loose_one_is_divided() -> None:
    vectors, truth = planted(3, 60, seed=9)
    found = variant_edges(vectors, k=6, min_cosine=0.4, min_margin=0.9)
    edges = list(zip(found.left.tolist(), found.right.tolist(), strict=True))
    left, right = (np.array([e[i] for e in edges], dtype=np.int64) for i in (0, 1))

    def agreement(whole: float) -> float:
        made = cluster(vectors, left, right, found.cosine, leiden_above=12, resolution=0.05, min_medoid_cosine=0.2,
                       seed=0, whole_cosine=whole)  # fmt: skip
        return float(adjusted_rand_score(truth, made.cluster))

    # Each group is one component, and all of it near to its medoid; who has no mutual neighbour stands alone.
    assert agreement(whole=0.3) > agreement(whole=1.1) + 0.2


@st.composite
def settled_graphs(draw: st.DrawFn) -> tuple[int, Edges, list[int]]:
    rows, edges = draw(edges_of)
    edges = sorted({(min(e), max(e)) for e in edges if e[0] != e[1]})
    return rows, edges, draw(st.lists(st.integers(-1, 3), min_size=rows, max_size=rows))


@settings(deadline=None)
@given(settled_graphs(), st.integers(1, 10))
def test_no_cluster_holds_two_settled_meanings(drawn: tuple[int, Edges, list[int]], above: int) -> None:
    rows, edges, meanings = drawn
    known = np.array(meanings, dtype=np.int64)
    left, right = (np.array([e[i] for e in edges], dtype=np.int64) for i in (0, 1))
    weight = np.round(np.random.default_rng(rows).uniform(0.5, 1, len(edges)), 2)
    vectors = unit(np.ones((rows, 4)))
    found = cluster(vectors, left, right, weight, leiden_above=above, resolution=0.05, min_medoid_cosine=0.5, seed=0,
                    settled=known)  # fmt: skip
    for members in groups(found.cluster):
        assert len({meanings[m] for m in members} - {-1}) <= 1
    whole = nx.Graph(edges)
    whole.add_nodes_from(range(rows))
    # What no meaning divides stays as it was without them.
    plain = cluster(vectors, left, right, weight, leiden_above=above, resolution=0.05, min_medoid_cosine=0.5, seed=0)
    for component in nx.connected_components(whole):
        if len({meanings[m] for m in component} - {-1}) <= 1:
            ours = {g for g in groups(found.cluster) if g <= component}
            assert ours == {g for g in groups(plain.cluster) if g <= component}


def test_an_unsettled_wording_goes_with_the_nearer_of_two_opposites() -> None:
    # on - x - y - off: x is nearer to on, y to off.
    left, right = np.array([0, 1, 2]), np.array([1, 2, 3])
    found = cluster(unit(np.ones((4, 4))), left, right, np.array([0.9, 0.7, 0.8]), leiden_above=10, resolution=0.05,
                    min_medoid_cosine=-1, seed=0, settled=np.array([5, -1, -1, 6]))  # fmt: skip
    assert groups(found.cluster) == {frozenset({0, 1}), frozenset({2, 3})}


@settings(deadline=None)
@given(st.integers(2, 60), st.integers(0, 5), st.floats(-0.5, 0.95))
def test_every_member_is_near_enough_to_its_medoid(rows: int, seed: int, least: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit(rng.standard_normal((rows, 3)))
    edges = sorted({(min(a, b), max(a, b)) for a, b in rng.integers(0, rows, (3 * rows, 2)).tolist() if a != b})
    found = clustered(vectors, edges, above=8, least=least)
    grid = np.rint(vectors.astype(np.float64) * 4000)
    grid /= np.linalg.norm(grid, axis=1, keepdims=True)
    to_medoid = np.einsum("ij,ij->i", grid, grid[found.medoid])
    assert (to_medoid >= least - 1e-5).all()
    assert (found.cluster[found.medoid] == found.cluster).all()
    for members in groups(found.cluster):
        rows_of = sorted(members)
        np.testing.assert_allclose(found.cohesion[rows_of], to_medoid[rows_of].mean(), atol=1e-4)


@settings(deadline=None)
@given(settled_graphs(), st.floats(-1, 1), st.integers(0, 5))
def test_who_is_left_alone_joins_the_nearest_medoid(
    drawn: tuple[int, Edges, list[int]], least: float, seed: int
) -> None:
    rows, edges, meanings = drawn
    known = np.array(meanings, dtype=np.int64)
    left, right = (np.array([e[i] for e in edges], dtype=np.int64) for i in (0, 1))
    vectors = unit(np.random.default_rng(seed).standard_normal((rows, 3)))
    before, after = (
        cluster(vectors, left, right, np.ones(len(edges)), leiden_above=8, resolution=0.05, min_medoid_cosine=0.0,
                seed=0, settled=known, join_cosine=join)
        for join in (None, least)
    )  # fmt: skip
    size = np.bincount(before.cluster)[before.cluster]
    together = np.flatnonzero(size > 1)
    np.testing.assert_array_equal(after.medoid[together], before.medoid[together])
    centres = np.unique(before.medoid[together])
    grid = np.rint(vectors.astype(np.float64) * 4000)
    grid /= np.linalg.norm(grid, axis=1, keepdims=True)
    for row in np.flatnonzero(size == 1):
        cosine = np.round(grid[centres] @ grid[row], 5)
        near = int(centres[cosine.argmax()]) if len(centres) else -1
        if near >= 0 and abs(cosine.max() - least) > 1e-4 and (cosine > cosine.max() - 1e-4).sum() == 1:
            theirs = {meanings[m] for m in np.flatnonzero(before.medoid == near)} - {-1}
            joined = after.medoid[row] == near
            assert not joined or cosine.max() >= least
            if cosine.max() >= least and (meanings[row] == -1 or theirs == {meanings[row]}):
                assert joined
    for members in groups(after.cluster):
        assert len({meanings[m] for m in members} - {-1}) <= 1
        assert len(set(after.medoid[sorted(members)].tolist())) == 1


def test_joining_finds_the_members_that_mutual_neighbours_leave_out() -> None:
    vectors, truth = planted(6, 80, seed=4)
    found = variant_edges(vectors, k=5, min_cosine=0.5, min_margin=0.9)

    def agreement(join: float | None) -> float:
        made = cluster(vectors, found.left, found.right, found.cosine, leiden_above=12, resolution=0.05,
                       min_medoid_cosine=0.4, seed=0, join_cosine=join)  # fmt: skip
        return float(adjusted_rand_score(truth, made.cluster))

    assert agreement(0.5) > agreement(None) + 0.05


# Ids from night to night


def named(now: dict[str, str], before: dict[str, str]) -> tuple[dict[str, str], list]:
    """Give ids to clusters {member: cluster name}; the medoid is the smallest member."""
    members = sorted(now)
    number = {name: i for i, name in enumerate(sorted(set(now.values())))}
    medoid = {name: min(m for m in members if now[m] == name) for name in number}
    ids, events = stable_ids(
        members,
        np.array([number[now[m]] for m in members], dtype=np.int64),
        [medoid[now[m]] for m in members],
        before,
    )
    return dict(zip(members, ids, strict=True)), events


def split(text: str) -> dict[str, str]:
    """Clusters from "abc de": {a: abc, b: abc, ...}."""
    return {member: group for group in text.split() for member in group}


def told(events: list) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(e.event, e.cluster_id, e.others) for e in events]


def test_clusters_are_born() -> None:
    ids, events = named(split("abc de"), {})
    assert ids["a"] == ids["b"] == ids["c"] != ids["d"] == ids["e"]
    assert sorted(told(events)) == sorted([("birth", ids["a"], ()), ("birth", ids["d"], ())])


def test_ids_stay_while_most_members_stay() -> None:
    before, _ = named(split("abc de"), {})
    ids, events = named(split("abcx dey"), before)
    assert (ids["x"], ids["y"], events) == (before["a"], before["d"], [])
    ids, events = named(split("ab de c"), before)
    assert ids["a"] == before["a"]
    assert ids["c"] not in before.values()
    assert told(events) == [("split", ids["c"], (before["a"],))]


def test_a_merge_keeps_the_id_of_the_larger() -> None:
    before, _ = named(split("abc de"), {})
    ids, events = named(split("abcde"), before)
    assert set(ids.values()) == {before["a"]}
    assert told(events) == [("death", before["d"], ()), ("merge", before["a"], (before["d"],))]


def test_a_split_in_equal_halves_gives_two_new_ids() -> None:
    before, _ = named(split("abcd"), {})
    ids, events = named(split("ab cd"), before)
    # No half holds most of the old members: the old id may not come back as the name of one of them.
    assert before["a"] not in ids.values()
    assert {e.event for e in events} == {"split", "death"}


def test_a_cluster_dies() -> None:
    before, _ = named(split("abc de"), {})
    ids, events = named(split("abc"), before)
    assert told(events) == [("death", before["d"], ())]
    assert ids["a"] == before["a"]


partitions = st.dictionaries(st.sampled_from("abcdefghijkl"), st.sampled_from("123456"), max_size=12)


@settings(deadline=None)
@given(st.lists(partitions, min_size=2, max_size=5))
def test_an_id_names_one_cluster_and_stays_exactly_where_most_members_did(
    nights: list[dict[str, str]],
) -> None:
    before: dict[str, str] = {}
    for now in nights:
        ids, events = named(now, before)
        of_id: dict[str, set[str]] = {}
        for member, name in ids.items():
            of_id.setdefault(name, set()).add(now[member])
        assert all(len(clusters) == 1 for clusters in of_id.values())
        assert len(of_id) == len(set(now.values()))
        # An id that was there before is where more than half of its members went, and nowhere else.
        for old in set(before.values()):
            was = {m for m, name in before.items() if name == old}
            now_there = {m for m, name in ids.items() if name == old}
            if now_there:
                assert 2 * len(was & now_there) > len(was)
            else:
                assert ("death", old) in {(e.event, e.cluster_id) for e in events}
        for event in events:
            new = event.cluster_id not in before.values()
            assert new == (event.event in ("birth", "split")), event
        before = ids
