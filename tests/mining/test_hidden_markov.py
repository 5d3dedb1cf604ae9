"""Against brute force over all paths."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mining.hidden_markov import backward, best, forward, path_score

B, L, K = 4, 4, 3


def chains(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    emitted = rng.normal(0, 2, (B, L, K))
    moves = rng.dirichlet(np.ones(K), (B, L, K))
    mask = np.arange(L) < np.array([4, 3, 1, 4])[:, None]
    return emitted, moves, mask


def every_path(emitted: np.ndarray, moves: np.ndarray, steps: int) -> dict[tuple[int, ...], float]:
    found = {}
    for path in product(range(K), repeat=steps):
        score = np.log(moves[0, 0, path[0]]) + emitted[0, path[0]]
        for i in range(1, steps):
            score += np.log(moves[i, path[i - 1], path[i]]) + emitted[i, path[i]]
        found[path] = float(score)
    return found


@pytest.mark.parametrize("many", [1, 2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_paths_in_order(many: int, seed: int) -> None:
    emitted, moves, mask = chains(seed)
    paths, scores = best(emitted, moves, mask, many)
    for b in range(B):
        steps = int(mask[b].sum())
        truth = sorted(every_path(emitted[b], moves[b], steps).items(), key=lambda item: -item[1])[:many]
        there = [(tuple(p[:steps].tolist()), s) for p, s in zip(paths[b], scores[b], strict=True) if np.isfinite(s)]
        assert [p for p, _ in there] == [p for p, _ in truth]
        assert [s for _, s in there] == pytest.approx([s for _, s in truth])


def test_a_path_has_one_score_and_all_of_them_the_likelihood() -> None:
    emitted, moves, mask = chains(7)
    total = forward(emitted, moves, mask)[1]
    for b in range(B):
        steps = int(mask[b].sum())
        truth = every_path(emitted[b], moves[b], steps)
        for path, score in truth.items():
            assert path_score(np.array(path), emitted[b], moves[b]) == pytest.approx(score)
        assert total[b] == pytest.approx(np.logaddexp.reduce(list(truth.values())))


def test_marginals_are_those_of_all_paths() -> None:
    emitted, moves, mask = chains(11)
    gamma = forward(emitted, moves, mask)[0] * backward(emitted, moves, mask)[0]
    gamma /= gamma.sum(-1, keepdims=True)
    for b in range(B):
        steps = int(mask[b].sum())
        truth = np.zeros((steps, K))
        for path, score in every_path(emitted[b], moves[b], steps).items():
            truth[np.arange(steps), path] += np.exp(score)
        assert gamma[b, :steps] == pytest.approx(truth / truth.sum(-1, keepdims=True))
