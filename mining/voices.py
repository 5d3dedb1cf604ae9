"""Whose turns are evidence: all users' but those who say the same again and again.

Scripts and abusers say few texts many times, from as many ids as it takes to pass a floor of distinct users. What tells
them from people at no cost to people is variety: the effective number of a user's wordings, (sum of n)^2 / (sum of n^2)
over how often each was said. It is the number of wordings that would be as various if all were said equally often, so a
text that is said a hundred times counts little more than one that is said ten times, and a few misheard spellings of it
add little. Who has said little yet is heard: nothing tells a newcomer from an attacker with many ids.

Source: the Hill number of order 2 (Hill 1973, "Diversity and Evenness"), the inverse of Simpson's index.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mining.sessions import run_codes

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def effective_wordings(user: Ints, wording: Ints) -> Floats:
    """The effective number of each user's wordings.

    Args:
        user: number of each turn's user, from 0.
        wording: number of each turn's wording, from 0.

    Returns:
        One a user, 0 for a number that has no turn. O(turns log turns).
    """
    if not len(user):
        return np.zeros(0)
    width = int(wording.max()) + 1
    both, times = np.unique(user * width + wording, return_counts=True)
    whose = both // width
    said, squares = np.bincount(whose, times), np.bincount(whose, times.astype(np.float64) ** 2)
    return np.asarray(said**2 / np.maximum(squares, 1))


def whole_users(tables: Iterable[pa.Table], hold: int = 100_000) -> Iterator[pa.Table]:
    """Re-cut a stream of tables, sorted by user, so that no user straddles two of the tables given back.

    Holds back the last user's turns until their end is seen. A user with more than `hold` turns (a robot) is cut where
    the tables were, so memory stays bounded.
    """
    held: list[pa.Table] = []
    for table in tables:
        if not len(table):
            continue
        table = pa.concat_tables([*held, table])
        codes = run_codes(table.column("user_id"))
        last = int(np.searchsorted(codes, codes[-1]))
        if len(table) - last > hold:
            last = len(table)
        if last:
            yield table.slice(0, last)
        held = [table.slice(last)] if last < len(table) else []
    if held:
        yield held[0]


@dataclass
class Voices:
    """Tells whose turns are evidence, over the tables of `whole_users`.

    Args:
        least: effective number of wordings from which a user is heard who has twice as many turns; 1 hears everybody.
    """

    least: float
    _user: str | None = None
    _heard: bool = True

    def of(self, user: pa.ChunkedArray, formulation: pa.ChunkedArray) -> NDArray[np.bool_]:
        """Whether each turn's user is heard; of a user who was cut, what the first of the tables told.

        O(turns log turns) time, 40 bytes a turn.
        """
        if not len(user):
            return np.zeros(0, dtype=bool)
        codes = run_codes(user)
        wording = formulation.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
        heard = np.round(effective_wordings(codes, wording), 9) >= self.least
        heard |= np.bincount(codes) < 2 * self.least
        if user[0].as_py() == self._user:
            heard[0] = self._heard
        self._user, self._heard = user[-1].as_py(), bool(heard[-1])
        return np.asarray(heard[codes], dtype=bool)
