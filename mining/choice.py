"""Counts of candidate pairs in which no user counts for much, and the choice of one target a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mining.sessions import run_codes

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
COUNTS = pa.schema(
    [
        ("locale", pa.string()),
        ("answered", pa.bool_()),
        ("pattern", pa.int64()),
        ("count", pa.float64()),  # with busy users held down
        ("pairs", pa.int64()),
    ]
)


@dataclass
class CappedCounts:
    """How often each pattern was seen, a busy user's pairs weighing `most` in all; over a stream sorted by user.

    Memory for one batch and one user's distinct patterns.
    """

    most: int
    _keys: dict[tuple[str, bool, int], list[float]] = field(default_factory=dict)  # -> capped count, pairs
    _user: str | None = None
    _open: dict[tuple[str, bool, int], int] = field(default_factory=dict)

    def add(self, user: pa.ChunkedArray, locale: pa.ChunkedArray, answered: NDArray[np.bool_], pattern: Ints) -> None:
        """Count pairs, by the user and locale of their source. O(pairs log pairs)."""
        if not len(pattern):
            return
        spelt = locale.combine_chunks().dictionary_encode()
        kind, which = np.unique(
            np.stack([np.asarray(spelt.indices.to_numpy(), np.int64), answered.astype(np.int64), pattern]),
            axis=1,
            return_inverse=True,
        )
        names = spelt.dictionary.to_pylist()
        keys = [(names[at], bool(known), int(p)) for at, known, p in kind.T.tolist()]
        run = run_codes(user)
        both, pairs = np.unique(run * len(keys) + which.ravel(), return_counts=True)
        run_of, key_of = both // len(keys), both % len(keys)
        first = np.flatnonzero(np.diff(run, prepend=-1))
        ids = user.take(pa.array(first)).to_pylist()
        begins = np.searchsorted(run_of, np.arange(len(ids) + 1))
        # The first user may go on from the batch before, the last into the batch after.
        self._continue(ids[0], [keys[k] for k in key_of[: begins[1]]], pairs[: begins[1]].tolist())
        if len(ids) == 1:
            return
        middle = slice(begins[1], begins[-2])
        total = np.bincount(run_of[middle], pairs[middle], minlength=len(ids))
        share = np.minimum(1.0, self.most / np.maximum(total, 1))
        capped = np.bincount(key_of[middle], pairs[middle] * share[run_of[middle]], minlength=len(keys))
        seen = np.bincount(key_of[middle], pairs[middle], minlength=len(keys))
        for k in np.flatnonzero(seen):
            self._count(keys[k], float(capped[k]), float(seen[k]))
        self._continue(ids[-1], [keys[k] for k in key_of[begins[-2] :]], pairs[begins[-2] :].tolist())

    def _continue(self, user: str, keys: list[tuple[str, bool, int]], pairs: list[int]) -> None:
        if user != self._user:
            self._close()
            self._user = user
        for key, n in zip(keys, pairs, strict=True):
            self._open[key] = self._open.get(key, 0) + n

    def _close(self) -> None:
        share = min(1.0, self.most / max(sum(self._open.values()), 1))
        for key, n in self._open.items():
            self._count(key, n * share, n)
        self._open = {}

    def _count(self, key: tuple[str, bool, int], capped: float, pairs: float) -> None:
        held = self._keys.setdefault(key, [0.0, 0.0])
        held[0], held[1] = held[0] + capped, held[1] + pairs

    def table(self) -> pa.Table:
        """The counts, when the stream has ended."""
        self._close()
        rows = [(*key, capped, int(pairs)) for key, (capped, pairs) in sorted(self._keys.items())]
        columns = zip(*rows, strict=True) if rows else [()] * len(COUNTS)
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, COUNTS, strict=True)], schema=COUNTS)


def choose(
    source: Ints,
    steps: Ints,
    posterior: Floats,
    acceptance: Floats,
    min_posterior: float,
    again: NDArray[np.bool_] | None = None,
) -> tuple[Ints, Floats]:
    """One target a source, or none.

    Several later turns may be tries of the same goal (a chain A, B, C), so each has a posterior of its own and "none
    of them" is the product of the complements; the choice takes the believed try that served the user best.

    Args:
        source: of each pair, sorted; a source's targets have different steps.
        steps: turns from source to target.
        posterior: of each pair.
        acceptance: of each pair's target.
        min_posterior: a pair below it is not believed.
        again: pairs whose target says the source's words again: taken only where no other words are believed.

    Returns:
        The chosen pairs, in order, and the posterior of "none of them" of each. O(pairs log pairs).
    """
    _, group = np.unique(source, return_inverse=True)
    believed = np.flatnonzero(posterior >= min_posterior)
    served = np.round(posterior * (0.5 + 0.5 * acceptance), 6)[believed]
    last = np.zeros(len(believed), dtype=bool) if again is None else again[believed]
    order = believed[np.lexsort((steps[believed], -served, last, group[believed]))]
    chosen = order[np.diff(group[order], prepend=-1) != 0]
    return chosen, nothing_of(source, posterior)[chosen]


def nothing_of(source: Ints, posterior: Floats) -> Floats:
    """For each pair the probability that none of its source's pairs is right. O(pairs log pairs)."""
    _, group = np.unique(source, return_inverse=True)
    # bincount adds in order, so a group's sum does not depend on what stands around it
    complement = np.bincount(group, np.log1p(-np.minimum(posterior, 1 - 1e-9)))
    return np.asarray(np.round(np.exp(complement), 9)[group], dtype=np.float64)


def new_requests(source: Ints, steps: Ints, posterior: Floats, taken: Ints, min_posterior: float) -> Ints:
    """Of each source that was not said again, the later turn that probably asks for something else in like words.

    Args:
        source, steps: as for `choose`.
        posterior: of each pair, that its target is such a request.
        taken: pairs that `choose` has chosen.
        min_posterior: a pair below it is not believed.

    Returns:
        The surest pair of each source, the nearer of equals, in order. O(pairs log pairs).
    """
    open_ = np.flatnonzero((posterior >= min_posterior) & ~np.isin(source, source[taken]))
    order = open_[np.lexsort((steps[open_], -np.round(posterior[open_], 6), source[open_]))]
    return np.asarray(order[np.diff(source[order], prepend=-1) != 0], dtype=np.int64)


def looked_up(locale: pa.ChunkedArray, pattern: Ints, values: Mapping[tuple[str, int], float]) -> Floats:
    """The value of each row's (locale, pattern). O(rows log rows).

    Raises:
        KeyError: one is not among the values.
    """
    if not len(pattern):
        return np.zeros(0)
    spelt = locale.combine_chunks().dictionary_encode()
    names, codes = spelt.dictionary.to_pylist(), np.asarray(spelt.indices.to_numpy(), np.int64)
    kinds, which = np.unique(np.stack([codes, pattern]), axis=1, return_inverse=True)
    return np.array([values[names[at], p] for at, p in kinds.T.tolist()], dtype=np.float64)[which.ravel()]
