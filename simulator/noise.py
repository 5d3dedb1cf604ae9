"""Recogniser noise as edits of characters and words, the same in every script; gold spans follow the text."""

from __future__ import annotations

import numpy as np

from schemas.normalise import is_unspaced, tokenise
from schemas.predictor import Slot
from simulator.population import EditMix

_NOBODY = -1


class _Tape:
    """Characters with the slot that each belongs to, so that an edit cannot lose track of a span."""

    def __init__(self, text: str, slots: tuple[Slot, ...]) -> None:
        self.characters = list(text)
        self.owners = [_NOBODY] * len(text)
        for place, slot in enumerate(slots):
            self.owners[slot.start : slot.end] = [place] * (slot.end - slot.start)

    def substitute(self, at: int, character: str) -> None:
        self.characters[at] = character

    def delete(self, start: int, end: int) -> None:
        del self.characters[start:end]
        del self.owners[start:end]

    def insert(self, at: int, character: str) -> None:
        # Between two characters of one slot the newcomer is part of it; anywhere else it is of none.
        inside = 0 < at < len(self.owners) and self.owners[at - 1] == self.owners[at]
        owner = self.owners[at] if inside else _NOBODY
        self.characters.insert(at, character)
        self.owners.insert(at, owner)

    def add_word(self, at: int, word: str) -> None:
        # A word heard twice; at the end of a slot the second one is outside it.
        inside = 0 < at < len(self.owners) and self.owners[at - 1] == self.owners[at]
        owner = self.owners[at] if inside else _NOBODY
        added = word if is_unspaced(word[0]) else f" {word}"
        self.characters[at:at] = added
        self.owners[at:at] = [owner] * len(added)

    def tidy(self) -> None:
        """Single spaces, none at the ends: what a recogniser would write."""
        kept = [
            i
            for i, c in enumerate(self.characters)
            if not (c.isspace() and (i == 0 or self.characters[i - 1].isspace()))
        ]
        while kept and self.characters[kept[-1]].isspace():
            kept.pop()
        self.characters = [self.characters[i] for i in kept]
        self.owners = [self.owners[i] for i in kept]

    def read(self, slots: tuple[Slot, ...]) -> tuple[str, tuple[Slot, ...]]:
        text, found = "".join(self.characters), []
        for place, slot in enumerate(slots):
            own = [i for i, o in enumerate(self.owners) if o == place and not text[i].isspace()]
            if own:
                start, end = own[0], own[-1] + 1
                found.append(Slot(slot.name, text[start:end], start, end))
        return text, tuple(found)


def mumble(
    text: str,
    slots: tuple[Slot, ...],
    alphabet: str,
    rng: np.random.Generator,
    mix: EditMix,
    edits: int = 1,
) -> tuple[str, tuple[Slot, ...]]:
    """An utterance as a recogniser might mishear it.

    Args:
        text: the clean utterance; has a letter or digit.
        slots: its gold slots, not overlapping.
        alphabet: what to substitute and insert; no white space.
        rng: the only source of chance.
        mix: relative weights of the edits.
        edits: how many to make.

    Returns:
        The noised text and its slots. Offsets spell the values, which may have changed; a slot that lost all
        its characters is left out. An utterance is never noised to nothing: the edit that would is not made.

    Linear in the text and in `edits`.
    """
    tape = _Tape(text, slots)
    weights = np.array([mix.substitute, mix.delete, mix.insert, mix.drop_word, mix.add_word], dtype=np.float64)
    law = np.cumsum(weights) / weights.sum()
    last: int | None = None  # where the last letter was edited
    for _ in range(edits):
        kind = min(int(np.searchsorted(law, rng.random(), side="right")), 4)
        solid = [i for i, c in enumerate(tape.characters) if not c.isspace()]
        if last is not None and rng.random() < mix.burst:
            solid = _word_at(tape, min(last, len(tape.characters) - 1)) or solid
        at = solid[int(rng.integers(len(solid)))]
        letter = alphabet[int(rng.integers(len(alphabet)))] if alphabet else tape.characters[at]
        before = list(tape.characters), list(tape.owners)
        if kind == 0:
            tape.substitute(at, letter)
        elif kind == 1:
            tape.delete(at, at + 1)
        elif kind == 2:
            tape.insert(at + int(rng.integers(2)), letter)
        else:
            words = tokenise("".join(tape.characters))
            word = words[int(rng.integers(len(words)))]
            if kind == 3:
                tape.delete(word.start, word.end)
            else:
                tape.add_word(word.end, word.text)
        last = at if kind < 3 else None
        tape.tidy()
        if not any(c.isalnum() for c in tape.characters):
            tape.characters, tape.owners = before
    return tape.read(slots)


def spell_apart(text: str, slots: tuple[Slot, ...], rng: np.random.Generator) -> tuple[str, tuple[Slot, ...]]:
    """An utterance spoken with a pause inside its longest word, which a recogniser writes as two."""
    longest = max(tokenise(text), key=lambda word: (word.end - word.start, -word.start), default=None)
    if longest is None or longest.end - longest.start < 4:
        return text, slots
    tape = _Tape(text, slots)
    at = int(rng.integers(longest.start + 2, longest.end - 1))
    if not text[at].isalnum() or not text[at - 1].isalnum():  # never between a letter and its mark
        return text, slots
    tape.insert(at, " ")
    return tape.read(slots)


def _word_at(tape: _Tape, at: int) -> list[int]:
    """The places of the run of characters around `at` that no white space breaks."""
    start, end = at, at
    while start > 0 and not tape.characters[start - 1].isspace():
        start -= 1
    while end < len(tape.characters) and not tape.characters[end].isspace():
        end += 1
    return list(range(start, end))
