"""Pairs scored against gold: precision, recall, F1 and area under the precision-recall curve by kind of source.

A method gives at most one target a source, with a score and a decision. A pair is right where gold names the target
among those that the user said instead of the source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS = ("all", "one_step", "chain", "interleaved", "repeat", "hard_negative")
REWORDED = ("one_step", "chain", "interleaved")
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gold:
    """What is known of a log's turns, by row number.

    Args:
        kind: one of `REWORDED` (reworded later by its user), `repeat` (only said again in the same words),
            `hard_negative` (followed by another request of the same person: a changed value, the opposite, something
            broader or narrower, or by a bot's second half) or an empty string.
        targets: of each source that was said again, the rows that are right.
        user: number of the user, the unit that is resampled.
        judged: rows whose pairs gold knows; None for all. Pairs of other sources are left out of the scores.
    """

    kind: NDArray[np.str_]
    targets: Mapping[int, frozenset[int]]
    user: Ints
    judged: NDArray[np.bool_] | None = None

    @property
    def is_judged(self) -> NDArray[np.bool_]:
        """`judged` of every row."""
        return np.ones(len(self.kind), dtype=bool) if self.judged is None else self.judged


@dataclass(frozen=True)
class Chosen:
    """A method's pairs: rows of sources and targets, a score to rank them by, and whether it believes them.

    `same_words`: the target says the same formulation as the source (a repeat, not a rephrase).
    """

    source: Ints
    target: Ints
    score: Floats
    believed: NDArray[np.bool_]
    same_words: NDArray[np.bool_]


def gold_of(truth: Sequence[Mapping[str, Any]], user: Ints, texts: Sequence[str], session: Ints) -> Gold:
    """Gold of simulated turns, from their truth.

    Args:
        truth: rows of the truth, in the order of the turns: by user, then time.
        user, session: numbers of the user and the session of each turn.
        texts: normalised texts as logged.

    A failed turn is reworded where its person tried the same goal again in other words, as logged, within the session.
    O(turns x turns of a session).
    """
    kind = np.full(len(truth), "", dtype="<U13")
    targets: dict[int, frozenset[int]] = {}
    starts: list[int] = np.flatnonzero(np.diff(session, prepend=-1)).tolist()
    for start, end in zip(starts, [*starts[1:], len(truth)], strict=True):
        for i in range(start, end):
            source = truth[i]
            if source["act"] == "other":
                continue
            later = range(i + 1, end)
            following = next((j for j in later if truth[j]["person"] == source["person"]), None)
            changed = following is not None and (truth[following]["change"] is not None or source["attack"])
            tries = [j for j in later if _again(source, truth[j])] if not source["satisfied"] else []
            if not tries:
                kind[i] = "hard_negative" if changed else ""
                continue
            reworded = [j for j in tries if texts[j] != texts[i]]
            targets[i] = frozenset(tries)
            if all(truth[j]["clean_utterance"] == source["clean_utterance"] for j in tries):
                kind[i] = "repeat"
            elif reworded:
                first = reworded[0]
                between = range(i + 1, first)
                if any(truth[j]["task_id"] != source["task_id"] for j in between):
                    kind[i] = "interleaved"
                else:
                    kind[i] = "one_step" if len(reworded) == 1 and first == i + 1 else "chain"
            else:
                kind[i] = "repeat"
    return Gold(kind, targets, user)


def _again(source: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
    # A wish that nothing serves has no goal, but may be said again.
    same = source["task_id"] == target["task_id"] and source["goal_id"] == target["goal_id"]
    return bool(same and target["act"] != "other")


def _curve(right: NDArray[np.bool_], weight: Floats, wanted: float) -> float:
    """Average precision of items in falling order of score; `wanted` is the weight of all that could be found."""
    if not wanted:
        return 0.0
    seen, hits = np.cumsum(weight), np.cumsum(weight * right)
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    return float((precision * weight * right).sum() / wanted)


def score(chosen: Chosen, gold: Gold, *, seed: int, resamples: int = 100) -> dict[str, dict[str, Any]]:
    """Scores of one method by kind.

    Returns:
        For each of `KINDS`: precision, recall and f1 of the believed pairs; `pr_auc`, the average precision over all
        scored pairs, and `low` and `high`, its 95% bootstrap interval over users; `intervals` of the other three.
        `all` and `hard_negative` are over pairs in other words. `one_step`, `chain`, `interleaved` and `repeat` look
        only at sources of that kind, so their precision says how often the right target was chosen. `hard_negative`
        takes the right pairs and those wrong ones whose source was followed by another request.

    O(resamples x pairs).
    """
    order = np.lexsort((chosen.source, -np.round(chosen.score, 9)))
    order = order[gold.is_judged[chosen.source[order]]]
    source, target = chosen.source[order], chosen.target[order]
    right = np.array([t in gold.targets.get(s, ()) for s, t in zip(source.tolist(), target.tolist(), strict=True)])
    right, believed, same = right.astype(bool), chosen.believed[order], chosen.same_words[order]
    kinds, rng = gold.kind[source], np.random.default_rng(seed)
    users = int(gold.user.max()) + 1 if len(gold.user) else 1
    draws = [np.bincount(rng.integers(users, size=users), minlength=users).astype(float) for _ in range(resamples)]
    found = {}
    for kind in KINDS:
        wanted = np.isin(gold.kind, REWORDED) if kind in ("all", "hard_negative") else gold.kind == kind
        if kind == "all":
            taken = ~same & (wanted[source] | ~right)  # a repeat that the recogniser wrote otherwise is no fault
        elif kind == "hard_negative":
            taken = ~same & ((wanted[source] & right) | (kinds == kind))
        else:
            taken = wanted[source] & (~same | (kind == "repeat"))
        rows = (right[taken], believed[taken], gold.user[source[taken]], gold.user[wanted])
        whole = _scores(rows, np.ones(users))
        resampled = np.array([_scores(rows, draw) for draw in draws])
        low, high = np.percentile(resampled, [2.5, 97.5], axis=0) if resamples else (whole, whole)
        found[kind] = {
            **dict(zip(("precision", "recall", "f1", "pr_auc"), map(float, whole), strict=True)),
            "low": float(low[3]),
            "high": float(high[3]),
            "intervals": {
                name: [float(low[i]), float(high[i])] for i, name in enumerate(("precision", "recall", "f1"))
            },
            "sources": int(wanted.sum()),
            "pairs": int(believed[taken].sum()),
        }
    return found


def _scores(rows: tuple[Any, ...], of_user: Floats) -> tuple[float, float, float, float]:
    right, believed, users, wanted_users = rows
    weight, wanted = of_user[users], float(of_user[wanted_users].sum())
    said = float((weight * believed).sum())
    precision = float((weight * (believed & right)).sum()) / said if said else 0.0
    recall = float((weight * (believed & right)).sum()) / wanted if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return precision, recall, f1, _curve(right, weight, wanted)
