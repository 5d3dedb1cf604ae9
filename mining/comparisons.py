"""Candidate pairs of turns within a session, and the levels at which they compare.

A rephrase keeps its values and changes the words around them; a new request may keep the sentence and change a value.
Which words are values is learnt from the log: those that mostly stand in slots where the model understood (`values`).
String, token and edit similarity measure one thing, so they are merged into one ordinal comparison (`wording`); gap and
distance likewise (`position`). Of friction only what the source itself shows (`source`) is evidence here: friction
has read the gap and the wording of the turn after it. The cosine of the embeddings is kept out: the encoder learns from
mined pairs, and would confirm itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from rapidfuzz import fuzz
from rapidfuzz.process import cpdist

from mining.fellegi_sunter import Comparison, Linkage, fit
from mining.sessions import answers, run_codes, seconds
from mining.tokens import Compared, TokenBags, TokenWeights, spelt

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WORDING = ("identical", "near", "swapped", "value_swapped", "similar", "shares", "different")
POSITION = ("quick_next", "next", "late_next", "after_failures", "after_success")
# Where either was not understood there is nothing to compare. That the source was not is said once, by `SOURCE`: said
# twice, a log in which little is understood would be taken for rephrases.
INTERPRETATION = ("unanswered", "same", "value_changed", "slots_differ", "other_intent")
QUICK_SECONDS, NEXT_SECONDS = 12.0, 40.0
# Friction below which a source counts as one that its user did not try again. Right after a launch many of them failed
# in silence, but what follows a silent failure is a new request as well.
ACCEPTED = 0.49

VALUES = ("all_exchanged", "some_exchanged", "lost", "added", "only_new", "kept", "none")
SOURCE = ("sure", "unsure", "open", "failed", "unanswered")

# Prior beliefs of a rephrase, of an unrelated request, and of a changed request (another value, the opposite, something
# broader or narrower), which looks like a rephrase; the log settles them.
COMPARISONS = (
    Comparison(
        "wording",
        WORDING,
        (0.10, 0.13, 0.06, 0.003, 0.30, 0.25, 0.16),
        (0.02, 0.003, 0.004, 0.001, 0.02, 0.03, 0.92),
        alike=(0.001, 0.10, 0.12, 0.07, 0.35, 0.22, 0.14),
    ),
    Comparison(
        "position",
        POSITION,
        (0.36, 0.14, 0.03, 0.35, 0.12),
        (0.10, 0.10, 0.09, 0.28, 0.43),
        alike=(0.28, 0.17, 0.08, 0.27, 0.20),
    ),
    Comparison(
        "interpretation",
        INTERPRETATION,
        (0, 0.24, 0.07, 0.16, 0.53),
        (0, 0.04, 0.06, 0.04, 0.86),
        alike=(0, 0.28, 0.28, 0.12, 0.32),
    ),
    Comparison(
        "values",
        VALUES,
        (0.005, 0.005, 0.04, 0.03, 0.03, 0.60, 0.29),
        (0.40, 0.08, 0.17, 0.02, 0.14, 0.03, 0.16),
        alike=(0.20, 0.20, 0.22, 0.18, 0.08, 0.06, 0.06),
    ),
    Comparison(
        "source",
        SOURCE,
        (0.04, 0.10, 0.13, 0.13, 0.60),
        (0.30, 0.20, 0.10, 0.08, 0.32),
        alike=(0.22, 0.14, 0.10, 0.10, 0.44),
    ),
)
STRENGTH, PRIOR, ALIKE_PRIOR = 1.0, 0.25, 0.10  # how much the beliefs weigh, and where the shares start
SIZES = tuple(len(c.levels) for c in COMPARISONS)


def fit_linkage(
    patterns: Ints, counts: Floats, iterations: int, comparisons: Sequence[Comparison] = COMPARISONS
) -> Linkage:
    """The model of one locale's pairs, fitted to pattern counts of all candidates, answered sources included."""
    return fit(
        comparisons, patterns, counts, prior=PRIOR, iterations=iterations, strength=STRENGTH, alike_prior=ALIKE_PRIOR
    )


@dataclass(frozen=True)
class Candidates:
    """Pairs of row numbers of a table of turns, with their pattern and whether the source was answered well."""

    source: Ints
    target: Ints
    levels: Ints  # pairs x comparisons
    answered: NDArray[np.bool_]


def candidates(
    turns: pa.Table,
    weights: Mapping[str, TokenWeights],
    *,
    max_gap_seconds: float,
    lookahead: int,
    min_source_friction: float,
) -> Candidates:
    """Every pair (source, later target) of one session within the look-ahead and gap, with its comparison levels.

    Turns that answer the assistant's question or call something off are neither source nor target. A turn that a
    deployed rewrite answered is no target: the rewrite was accepted there, and would be learnt back as evidence for
    itself.

    Args:
        turns: whole sessions in order, with the columns of the `turns` table.
        weights: token weights by locale.
        max_gap_seconds: from source to target.
        lookahead: turns from source to target, at most.
        min_source_friction: a source at or above it may have been reworded; any other was `answered`, and its pairs
            only show what follows turns that served.

    Cost: O(turns x lookahead) time and memory.
    """
    session = run_codes(turns.column("session_id"))
    locale = _codes(turns.column("locale"))
    times = seconds(turns.column("occurred_at"))
    friction = turns.column("friction").to_numpy()
    aside = answers(turns) | _equal(turns.column("response"), "cancelled")
    rewritten = turns.column("rewritten_from").is_valid().to_numpy()
    answered = friction < min_source_friction
    sources, targets = [], []
    for step in range(1, min(lookahead, len(turns) - 1) + 1):
        i = np.arange(len(turns) - step)
        j = i + step
        good = (session[i] == session[j]) & (times[j] - times[i] <= max_gap_seconds)
        good &= ~aside[i] & ~aside[j] & ~rewritten[j]
        sources.append(i[good])
        targets.append(j[good])
    source = np.concatenate(sources) if sources else np.zeros(0, dtype=np.int64)
    target = np.concatenate(targets) if targets else np.zeros(0, dtype=np.int64)
    same = locale[source] == locale[target]
    order = np.lexsort((target[same], source[same]))
    source, target = source[same][order], target[same][order]
    (wording, values), understood = _texts(turns, source, target, weights), _interpretation(turns, source, target)
    # Another value in the same sentence, understood both times as another value of one slot, is another request.
    wording[(wording == WORDING.index("swapped")) & (understood == INTERPRETATION.index("value_changed"))] = (
        WORDING.index("value_swapped")
    )
    position, source_level = _position(times, friction < ACCEPTED, source, target), own_signs(turns)[source]
    levels = [wording, position, understood, values, source_level]
    return Candidates(source, target, np.stack(levels, axis=1), answered[source])


def own_signs(turns: pa.Table) -> Ints:
    """Levels of `SOURCE`: what a turn shows of its own failure, without what its user did next.

    Args:
        turns: with `response`, `confidence` and `feedback`.
    """
    confidence = pc.fill_null(turns.column("confidence"), 0.6).to_numpy(zero_copy_only=False)
    feedback, complaint = turns.column("feedback"), np.zeros(len(turns), dtype=bool)
    given = np.flatnonzero(pc.fill_null(pc.list_value_length(feedback), 0).to_numpy())
    complaint[given] = [set(one) != {"thumbs_up"} for one in feedback.take(pa.array(given)).to_pylist()]
    levels = np.select(
        [
            _equal(turns.column("response"), "no_match"),
            _equal(turns.column("response"), "failed") | complaint,
            ~_equal(turns.column("response"), "completed") | (confidence < 0.5),
            confidence < 0.8,
        ],
        [4, 3, 2, 1],
        0,
    )
    return np.asarray(levels, dtype=np.int64)


def _values(found: Compared) -> Ints:
    """Levels of `VALUES`. O(pairs)."""
    (had, has), (gone, come) = found.values.T, found.missing.T
    kept = had > gone
    levels = np.select(
        [(had == 0) & (has == 0), (gone > 0) & (come > 0), gone > 0, come > 0],
        [VALUES.index("none"), np.where(kept, 1, 0), 2, np.where(kept, 3, 4)],
        VALUES.index("kept"),
    )
    return np.asarray(levels, dtype=np.int64)


def _codes(values: pa.ChunkedArray) -> Ints:
    indices = pc.fill_null(values.combine_chunks().dictionary_encode().indices, -1)
    return np.asarray(indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def _equal(values: pa.ChunkedArray, one: str) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(pc.equal(values, one), False).to_numpy(), dtype=bool)


def _texts(turns: pa.Table, source: Ints, target: Ints, weights: Mapping[str, TokenWeights]) -> tuple[Ints, Ints]:
    """Levels of `WORDING` and of `VALUES`; each distinct text is cut into tokens once."""
    if not len(source):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    used, place = np.unique(np.concatenate([source, target]), return_inverse=True)
    said, locale = (turns.column(name).take(pa.array(used)) for name in ("text", "locale"))
    both = _codes(said) * (len(used) + 1) + _codes(locale)
    _, first, which = np.unique(both, return_index=True, return_inverse=True)
    texts = said.take(pa.array(first)).to_pylist()
    left, right = np.split(which[place], 2)
    alike = cpdist([texts[i] for i in left], [texts[j] for j in right], scorer=fuzz.ratio) / 100
    found = TokenBags.of(texts, locale.take(pa.array(first)).to_pylist(), weights).compare(left, right)
    # Unrelated sentences are alike by a third in their letters; only shared words count as sharing.
    levels = np.select(
        [
            alike >= 0.995,
            found.swapped,
            alike >= 0.85,
            (alike >= 0.65) | (found.overlap >= 0.62),
            found.overlap >= 0.3,
        ],
        [0, 2, 1, 4, 5],
        6,
    )
    return np.asarray(levels, dtype=np.int64), _values(found)


def _position(times: Floats, answered: NDArray[np.bool_], source: Ints, target: Ints) -> Ints:
    gap, step = times[target] - times[source], target - source
    so_far = np.concatenate([[0], np.cumsum(answered)])
    success_between = so_far[target] - so_far[source + 1] > 0
    levels = np.select(
        [
            (step == 1) & (gap <= QUICK_SECONDS),
            (step == 1) & (gap <= NEXT_SECONDS),
            step == 1,
            ~success_between,
        ],
        [0, 1, 2, 3],
        4,
    )
    return np.asarray(levels, dtype=np.int64)


def _interpretation(turns: pa.Table, source: Ints, target: Ints) -> Ints:
    meant = turns.column("interpretation").combine_chunks()
    unanswered = meant.is_null().to_numpy(zero_copy_only=False) | _equal(turns.column("response"), "no_match")
    intent = _codes(pa.chunked_array([pc.struct_field(meant, "intent")]))
    levels = np.select(
        [unanswered[source] | unanswered[target], intent[source] != intent[target]],
        [INTERPRETATION.index("unanswered"), INTERPRETATION.index("other_intent")],
        -1,
    )
    open_ = np.flatnonzero(levels == -1)
    used, place = np.unique(np.concatenate([source[open_], target[open_]]), return_inverse=True)
    slots = _slot_values(meant.take(pa.array(used)))
    levels[open_] = [
        _compare(slots[i], slots[j]) for i, j in zip(place[: len(open_)], place[len(open_) :], strict=True)
    ]
    return np.asarray(levels, dtype=np.int64)


def _slot_values(meant: pa.StructArray) -> list[dict[str, str]]:
    """The normalised value of each slot, by its name."""
    lists = pc.struct_field(meant, "slots")
    flat, row = lists.flatten(), pc.list_parent_indices(lists).to_pylist()
    found: list[dict[str, str]] = [{} for _ in range(len(meant))]
    names, values = (pc.struct_field(flat, name).to_pylist() for name in ("name", "value"))
    for i, name, value in zip(row, names, values, strict=True):
        found[i][name] = spelt(value)
    return found


def _compare(source: Mapping[str, str], target: Mapping[str, str]) -> int:
    if source == target:
        return INTERPRETATION.index("same")
    changed = any(target.get(name, value) != value for name, value in source.items())
    return INTERPRETATION.index("value_changed" if changed else "slots_differ")
