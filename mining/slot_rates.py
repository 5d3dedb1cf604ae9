"""Parameters of the slot model: what is believed before the log is looked at, and how counts change it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLOOR = 1e-12
_KEPT = (0.92, 0.45)  # prior share of fillers, and of carriers, that stay when the wording changes
_KEPT_STRENGTH = 50.0  # observations that the prior is worth
_SUBSTITUTED = ((0.35, 0.25, 0.2, 0.2), (0.75, 0.15, 0.06, 0.04))  # prior of the levels below for fillers, carriers
_SUBSTITUTED_STRENGTH = 100.0
LEVELS = (0, 1, 3)  # other fillers: none, one, up to three, more
# Prior of what a source says of a filler's token: right, right type, nothing, another type; and of a carrier: nothing.
_FILLER = {
    "own": (0.40, 0.07, 0.33, 0.20),
    "rephrase": (0.50, 0.05, 0.35, 0.10),
    "answer": (0.85, 0.05, 0.05, 0.05),
    "other": (0.25, 0.05, 0.5, 0.2),
    "translated": (0.65, 0.15, 0.12, 0.08),
    "perhaps translated": (0.45, 0.1, 0.35, 0.1),
}
_CARRIER = {"own": 0.85, "rephrase": 0.93, "answer": 0.5, "other": 0.85, "translated": 0.92,
            "perhaps translated": 0.85}  # fmt: skip
_SAID = 30.0  # tokens that these priors are worth
_OPENS, _GOES_ON = 6.0, 4.0  # strength of the common rate behind that after one word


@dataclass
class Rates:
    """Parameters. S slot types, V words (0 is the unknown one), A intents."""

    words: Floats  # (1 + 2 S, V): of O, then of B and I of each type
    carriers: Floats  # (A, V): O words of one intent
    opens: Floats  # (A, S): chance that a slot of the type opens at a token
    opens_after: Floats  # (V, S): the same after a word
    goes_on: Floats  # (S,)
    goes_on_after: Floats  # (V, S): the span goes on after a word of it
    kept: Floats  # (2 classes, 2 commonness)
    substituted: Floats  # (2 classes, levels)
    filler: dict[str, Floats]  # source -> right, right type, nothing, other type
    carrier: dict[str, float]


@dataclass
class Counts:
    """Expected counts of one iteration; shapes as in `Rates`."""

    words: Floats
    carriers: Floats
    opens: Floats
    could_open: Floats  # (A,)
    opens_after: Floats
    could_open_after: Floats  # (V,)
    goes_on: Floats
    ends: Floats
    goes_on_after: Floats
    ends_after: Floats
    kept: Floats  # (2, 2, kept or not)
    substituted: Floats
    filler: dict[str, Floats]
    carrier: dict[str, Floats]  # nothing, something

    @classmethod
    def empty(cls, base: Priors) -> Counts:
        v, s, a = len(base.q), len(base.place), len(base.intents)
        return cls(
            np.zeros((1 + 2 * s, v)), np.zeros((a, v)), np.zeros((a, s)), np.zeros(a), np.zeros((v, s)), np.zeros(v),
            np.zeros(s), np.zeros(s), np.zeros((v, s)), np.zeros((v, s)), np.zeros((2, 2, 2)),
            np.zeros((2, len(LEVELS) + 1)), defaultdict(lambda: np.zeros(4)), defaultdict(lambda: np.zeros(2)),
        )  # fmt: skip


class Priors:
    """What is believed before the log is looked at, and how counts change it."""

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        place: Mapping[str, int],
        intents: Mapping[str, int],
        rates: Mapping[str, Mapping[str, float]],
        q: Floats,
        fillers: Sequence[tuple[str, Sequence[str], float]],
        length: float,
    ) -> None:
        self.place, self.intents, self.q = place, intents, q
        self.known = np.zeros((1 + 2 * len(place), len(q)))
        for name, tokens, weight in fillers:
            if name not in place:
                continue
            for i, token in enumerate(tokens):
                if token in vocabulary:
                    self.known[1 + 2 * place[name] + (i > 0), vocabulary[token]] += weight
        self.opens = np.zeros((len(intents), len(place)))
        for intent, allowed in rates.items():
            for name, rate in allowed.items():
                self.opens[intents[intent], place[name]] = min(0.5, max(rate, 0.02) / length)

    def rates(self, counts: Counts) -> Rates:
        """Parameters from expected counts: their mode under Dirichlet priors, words with Witten-Bell back-off."""
        spoken = counts.words + self.known
        whole = spoken.copy()
        whole[1::2] += 0.5 * spoken[2::2]  # B and I of a type lend each other half their words
        whole[2::2] += 0.5 * spoken[1::2]
        rare = np.sqrt(self.q)  # an unseen filler is rather a rare word than "the"
        words = np.concatenate([_witten_bell(whole[:1], self.q), _witten_bell(whole[1:], rare / rare.sum())])
        carriers = _witten_bell(counts.carriers, words[0])
        opens = (counts.opens + 20 * self.opens) / (counts.could_open[:, None] + 20)
        mean_opens = (counts.opens_after.sum(0) + 1e-3) / (counts.could_open_after.sum() + 1.0)
        after = (counts.opens_after + _OPENS * mean_opens) / (counts.could_open_after[:, None] + _OPENS)
        goes_on = (counts.goes_on + 4.0) / (counts.goes_on + counts.ends + 10.0)
        on_after = (counts.goes_on_after + _GOES_ON * goes_on) / (counts.goes_on_after + counts.ends_after + _GOES_ON)
        prior_kept = np.array([[k, k] for k in _KEPT])
        kept = (counts.kept[..., 0] + _KEPT_STRENGTH * prior_kept) / (counts.kept.sum(-1) + _KEPT_STRENGTH)
        levels = counts.substituted + _SUBSTITUTED_STRENGTH * np.array(_SUBSTITUTED)
        filler, carrier = {}, {}
        for source in set(_FILLER) | set(counts.filler) | set(counts.carrier):
            told = counts.filler.get(source, np.zeros(4)) + _SAID * np.array(_FILLER.get(source, _FILLER["own"]))
            filler[source] = told / told.sum()
            silent = _CARRIER.get(source, _CARRIER["own"])
            of = counts.carrier.get(source, np.zeros(2)) + _SAID * np.array([silent, 1 - silent])
            carrier[source] = float(of[0] / of.sum())
        relative = after / np.maximum(mean_opens, FLOOR)
        return Rates(
            words, carriers, opens, relative, goes_on, on_after, kept,
            levels / levels.sum(1, keepdims=True), filler, carrier,
        )  # fmt: skip


def _witten_bell(counts: Floats, behind: Floats) -> Floats:
    """Row-wise word probabilities: the unseen have as much of the mass as there were first sightings."""
    first = np.maximum(np.minimum(counts, 1.0).sum(-1, keepdims=True), 1.0)
    made: Floats = (counts + first * behind) / (counts.sum(-1, keepdims=True) + first)
    return made
