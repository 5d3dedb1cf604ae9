"""Which words of a locale are values, by what its log holds: words that a model tagged, and words that vary in frames.

A rephrase keeps its values, and a new request exchanges them, so a miner that knows which words are values knows what
to look for. Where the model understands, it has tagged them. What it does not understand has values all the same: in
"what is on _" stand tuesday, friday and tomorrow, and where one frame takes that many fillers they are values, while a
carrier has a synonym or two. Frames are looked at in distinct texts, so that a popular one does not count for more.

Words that stand in the same contexts are of one kind: Harris 1954, "Distributional Structure".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz

from mining.tokens import RARE, SPELT_ALIKE
from schemas.normalise import words

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]

DRAWN = 20_000  # texts of a locale in which frames are looked for
FILLER_SHARE = 0.5  # of a token's formulations where it stands in a slot: from there on it is taken for a value
# A token in more of a locale's formulations is a word of the language, though it may stand in slots as often as not
# ("the"): one such word on the other side of `FILLER_SHARE` changes a fifth of all comparisons.
COMMON, FEW = 0.05, 20  # share of the formulations; and how many a token may have in any log
_FILLERS = 3  # of one frame, above which it is the frame of a value
_VARYING_SHARE = 0.2  # of a token's formulations where it stands in such a frame: many texts have none other like them
_FRAME_WORDS, _FILLER_WORDS = 2, 2  # of a frame at least, of a filler at most
_LONGEST = 64  # tokens; longer texts have none that differ in one stretch alone, and would widen every row


def drawn(texts: Iterable[str], most: int = DRAWN) -> list[str]:
    """At most so many of the texts, by a hash, so that it does not matter how they came. O(n log n)."""
    return sorted(texts, key=lambda text: (crc32(text.encode()), text))[:most]


def tagged_values(formulations: int, there: Mapping[str, int], inside: Mapping[str, int]) -> frozenset[str]:
    """Tokens in at least three understood formulations, and in a slot in at least `FILLER_SHARE` of them; but none in
    more understood formulations than `COMMON` of all, as a word of the language is.

    Args:
        formulations: of the locale, understood or not.
        there, inside: in how many understood ones each token stands, and stands in a slot
            (`mining.tokens.slot_token_counts`).
    """
    most = max(COMMON * formulations, FEW)
    return frozenset(t for t, n in inside.items() if RARE <= there[t] <= most and n >= FILLER_SHARE * there[t])


def varying_values(texts: Sequence[str]) -> frozenset[str]:
    """Tokens in at least three of the texts that in a fifth of them stand where one or two words have more than three
    fillers, the rest of the text being equal. Fillers that are one misheard word count once; common tokens are none. A
    filler is in no more texts than any word of its frame: in "_ norah jones" the carriers vary, not the value.

    Args:
        texts: normalised, distinct, of one locale; understood or not (`drawn`). Of more than 64 tokens, not looked at.

    O(tokens log tokens) time, some 100 bytes a token and 1.5 KB a text: 20,000 texts take less than a second.
    """
    number: dict[str, int] = {}
    split = [tokens for text in texts if len(tokens := words(text)) <= _LONGEST]
    said = [[number.setdefault(token, len(number)) for token in tokens] for tokens in split]
    names, length = list(number), np.array([len(tokens) for tokens in said], dtype=np.int64)
    token = np.array([t for tokens in said for t in tokens], dtype=np.int64)
    if not len(token):
        return frozenset()
    text = np.repeat(np.arange(len(said)), length)
    place = np.arange(len(token)) - (np.cumsum(length) - length)[text]
    there = _texts_with(token, text, len(names))
    known = there >= RARE
    row, size, frame = _frames(token, text, place, length, known)
    most = np.maximum(there[token[row]], there[token[row + size - 1]])
    rarer = most <= _rarest_around(there[token], text, place, row, size)
    row, size, frame = row[rarer], size[rarer], frame[rarer]
    filler = np.where(size == 1, token[row], (token[row] + 1) * len(names) + token[row + size - 1])
    varies = _with_many_fillers(frame, filler, names)
    at = np.concatenate([row[varies], row[varies & (size == 2)] + 1])
    inside = _texts_with(token[at], text[at], len(names))
    taken = known & (there <= max(COMMON * len(said), FEW)) & (inside >= _VARYING_SHARE * there) & (inside > 0)
    return frozenset(names[t] for t in np.flatnonzero(taken).tolist())


def _texts_with(token: Ints, text: Ints, tokens: int) -> Ints:
    """In how many texts each token stands."""
    once = np.unique(text * tokens + token)
    return np.bincount(once % tokens, minlength=tokens)


def _frames(token: Ints, text: Ints, place: Ints, length: Ints, known: NDArray[np.bool_]) -> tuple[Ints, Ints, Hashes]:
    """Every stretch of one or two known tokens with enough words around it: its first row, its size, and a hash of what
    stands before it and after it."""
    starts, after = np.cumsum(length) - length, length[text] - 1 - place
    random, longest = np.random.default_rng(0), int(length.max())
    word, nth, nth_last = (random.integers(0, 2**64, n, dtype=np.uint64) for n in (len(known), longest, longest))
    # Sums over what stands before a token and what after it, each token by its word and its distance to that end.
    nothing, places = np.zeros(1, np.uint64), (nth[place], nth_last[after])
    to_left, to_right = (np.concatenate([nothing, np.cumsum(word[token] * place)]) for place in places)
    found = []
    for size in range(1, _FILLER_WORDS + 1):
        row = np.flatnonzero((after >= size - 1) & (length[text] >= _FRAME_WORDS + size))
        for offset in range(size):
            row = row[known[token[row + offset]]]
        left = to_left[row] - to_left[starts[text[row]]]
        right = to_right[starts[text[row]] + length[text[row]]] - to_right[row + size]
        found.append((row, np.full(len(row), size), left + right))
    rows, sizes, frames = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, sizes, frames


def _rarest_around(there: Ints, text: Ints, place: Ints, row: Ints, size: Ints) -> Ints:
    """The least of `there` (of each token) over the words around each stretch."""
    counts = np.full((int(text.max()) + 1, int(place.max()) + 3), np.iinfo(np.int64).max)
    counts[text, place + 1] = there
    before, after = np.minimum.accumulate(counts, axis=1), np.minimum.accumulate(counts[:, ::-1], axis=1)[:, ::-1]
    at, of = place[row], text[row]
    return np.asarray(np.minimum(before[of, at], after[of, at + size + 1]), dtype=np.int64)


def _with_many_fillers(frame: Hashes, filler: Ints, names: Sequence[str]) -> NDArray[np.bool_]:
    """Which stretches stand in a frame with more than `_FILLERS` fillers that are spelt differently."""
    order = np.lexsort((filler, frame))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (frame[order][1:] != frame[order][:-1]) | (filler[order][1:] != filler[order][:-1])
    distinct = order[new]
    hashes, begins, many = np.unique(frame[distinct], return_index=True, return_counts=True)
    wide = np.zeros(len(hashes), dtype=bool)
    for one in np.flatnonzero(many > _FILLERS).tolist():
        spelt = (_spelt(f, names) for f in filler[distinct[begins[one] : begins[one] + many[one]]].tolist())
        kept: list[str] = []
        for text in sorted(spelt):
            if not any(fuzz.ratio(text, other) >= SPELT_ALIKE for other in kept):
                kept.append(text)
            if len(kept) > _FILLERS:
                wide[one] = True
                break
    return np.asarray(wide[np.searchsorted(hashes, frame)], dtype=bool)


def _spelt(filler: int, names: Sequence[str]) -> str:
    if filler < len(names):
        return names[filler]
    first, second = divmod(filler - len(names), len(names))
    return f"{names[first]} {names[second]}"
