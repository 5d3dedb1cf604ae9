"""Slots carried from one wording to another: what stays when the wording changes is the value.

A target's slot value that also stands in the source's wording is the same filler there; the words around it are
carriers. Values are matched token by token, exactly first and then with the small differences that a recogniser or
an inflection makes.
"""

from __future__ import annotations

from collections.abc import Iterable

from rapidfuzz import fuzz

from schemas.normalise import Token, is_unspaced, normalise, tokenise
from schemas.predictor import Slot

_FUZZY = 82.0  # fuzz.ratio of a window with the value, 0 to 100


def project(values: Iterable[tuple[str, str]], utterance: str) -> tuple[Slot, ...] | None:
    """Find slot values in another wording.

    Args:
        values: (slot type, value as heard elsewhere).
        utterance: the wording to find them in.

    Returns:
        The spans, sorted by start; empty for no values; None where a value is not found: the slots stay open.
        Longer values are placed first and no two spans overlap. O(values x tokens).
    """
    tokens = tokenise(utterance)
    plain = [normalise(token.text) for token in tokens]
    free = [True] * len(tokens)
    found: list[Slot] = []
    for name, value in sorted(values, key=lambda pair: (-len(pair[1]), pair)):
        wanted = [normalise(token.text) for token in tokenise(value)]
        window = _place(wanted, plain, free)
        if window is None:
            return None
        first, last = window
        for i in range(first, last):
            free[i] = False
        found.append(_slot(name, utterance, tokens[first], tokens[last - 1]))
    return tuple(sorted(found, key=lambda slot: slot.start))


def _slot(name: str, utterance: str, first: Token, last: Token) -> Slot:
    return Slot(name, utterance[first.start : last.end], first.start, last.end)


def _place(wanted: list[str], plain: list[str], free: list[bool]) -> tuple[int, int] | None:
    size = len(wanted)
    if not size:
        return None
    for start in range(len(plain) - size + 1):
        if plain[start : start + size] == wanted and all(free[start : start + size]):
            return start, start + size
    joined = "".join(wanted)
    unspaced = is_unspaced(joined[0])
    if len(joined) < 4 or unspaced:  # too short, or one character a token: alike means little
        return None
    best: tuple[float, int, int, int] | None = None
    for length in (size, size - 1, size + 1):
        for start in range(len(plain) - length + 1) if length > 0 else ():
            if not all(free[start : start + length]):
                continue
            score = fuzz.ratio("".join(plain[start : start + length]), joined)
            ranked = (score, -abs(length - size), -start, length)
            if score >= _FUZZY and (best is None or ranked > best):
                best = ranked
    return (-best[2], -best[2] + best[3]) if best else None
