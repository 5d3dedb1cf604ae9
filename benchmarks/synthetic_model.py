"""A model of stated accuracy that needs no training: it knows a share of a catalogue's wordings, and errs the same way
for every user of one wording.

For benchmarks of mining, where what matters is how users react to errors, not how the errors came about. Real models
are in `retrain/`.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from schemas.errors import InputError
from schemas.normalise import normalise, tokenise
from schemas.predictor import Interpretation, Prediction, Slot
from simulator.catalogue import OUT_OF_SCOPE, Catalogue, Wording

# What becomes of a wording that is not known. Shares of a launch model's errors are not published; assumed.
NO_MATCH, WRONG_INTENT = 0.45, 0.35  # the rest: the right intent with a slot lost


def chance(*parts: object) -> float:
    """A number in [0, 1) that depends on nothing but the parts."""
    said = "\x1f".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(said, digest_size=7).digest()) / 2**56


class SyntheticModel:
    """Knows wordings at random, some intents better than others.

    A text is taken for the wording whose fixed words it shares most (recogniser noise that leaves less than
    `recognised` of them makes it unknown); slot values are what stands in the wording's places, or else the longest
    known value in the text. Deterministic.

    Args:
        catalogue: whose wordings.
        accuracy: share of the wordings known, in [0, 1]; an intent's own share is up to 0.2 above or below.
        seed: which ones.
        recognised: share of the fixed words that must be heard.

    Raises:
        InputError: an accuracy outside [0, 1].

    About 0.2 ms a text, once; texts are remembered.
    """

    def __init__(self, catalogue: Catalogue, accuracy: float, seed: int, *, recognised: float = 0.6) -> None:
        if not 0 <= accuracy <= 1:
            raise InputError(f"accuracy {accuracy} is no share: give a number from 0 to 1")
        self.catalogue, self.accuracy, self.seed, self.recognised = catalogue, accuracy, seed, recognised
        self.version = f"synthetic-{accuracy:g}-{seed}"
        self.ways: list[Wording] = [way for ways in catalogue.wordings.values() for way in ways]
        self._bags = [frozenset(normalise(token) for token in way.carrier) for way in self.ways]
        self._with: dict[str, list[int]] = defaultdict(list)
        for i, bag in enumerate(self._bags):
            for token in sorted(bag):
                self._with[token].append(i)
        self._rare = {token: 1 / len(found) for token, found in self._with.items()}
        self._known: dict[str, Prediction] = {}

    def predict(self, utterances: Sequence[str], locale: str) -> list[Prediction]:
        """One prediction an utterance."""
        for text in utterances:
            if text not in self._known:
                self._known[text] = self._read(text)
        return [self._known[text] for text in utterances]

    def _read(self, text: str) -> Prediction:
        place = self._nearest(text)
        luck = [chance(self.seed, text, i) for i in range(3)]
        if place is None:
            return Prediction(Interpretation(OUT_OF_SCOPE), 0.28 * luck[0])
        way = self.ways[place]
        own = min(1.0, max(0.0, self.accuracy + 0.4 * (chance(self.seed, way.intent) - 0.5)))
        drawn, fate = chance(self.seed, way), chance(self.seed, way, "fate")
        if drawn < own:
            return Prediction(Interpretation(way.intent, self._slots(text, way)), 0.45 + 0.55 * max(luck[0], luck[1]))
        if fate < NO_MATCH:
            return Prediction(Interpretation(OUT_OF_SCOPE), 0.28 * luck[0])
        sure = 0.32 + 0.6 * luck[0]
        if fate < NO_MATCH + WRONG_INTENT:
            others = [intent for intent in self.catalogue.intents if intent != way.intent]
            if not others:
                return Prediction(Interpretation(OUT_OF_SCOPE), 0.28 * luck[0])
            wrong = others[int(chance(self.seed, way, "wrong") * len(others))]
            names = self.catalogue.required_slots(wrong)
            return Prediction(Interpretation(wrong, self._spot(text, wrong, names)), sure)
        slots = self._slots(text, way)
        lost = int(chance(self.seed, way, "lost") * len(slots)) if slots else 0
        return Prediction(Interpretation(way.intent, slots[:lost] + slots[lost + 1 :]), sure)

    def _nearest(self, text: str) -> int | None:
        """The wording with most of its fixed words in the text, rare words counting more; ties by order."""
        heard = {token.text for token in tokenise(normalise(text))}
        found: dict[int, float] = defaultdict(float)
        for token in sorted(heard):
            if len(self._with.get(token, ())) <= 2_000:
                for i in self._with.get(token, ()):
                    found[i] += self._rare[token]
        best = sorted(found, key=lambda i: (-found[i], i))[:50]
        scored = [
            (len(self._bags[i] & heard) / len(self._bags[i]), len(self._bags[i]), -i)
            for i in best
            if len(self._bags[i] & heard) >= self.recognised * len(self._bags[i])
        ]
        if not scored:
            bare = [i for i, bag in enumerate(self._bags) if not bag]
            return next((i for i in bare if self._slots(text, self.ways[i])), None)
        # Most words heard first: "turn the light on" is not "light on".
        exact = max(scored, key=lambda s: (s[0] * s[1], s[0], s[2]))
        return -exact[2]

    def _slots(self, text: str, way: Wording) -> tuple[Slot, ...]:
        pattern = "(.+?)".join(re.escape(literal) for literal in way.literals)
        match = re.fullmatch(pattern, text)
        if match:
            return tuple(Slot(n, match.group(i), *match.span(i)) for i, n in enumerate(way.names, start=1))
        return self._spot(text, way.intent, way.names)

    def _spot(self, text: str, intent: str, names: Sequence[str]) -> tuple[Slot, ...]:
        taken: list[Slot] = []
        for name in dict.fromkeys(names):
            values = [v for v in self.catalogue.values.get((intent, name), ()) if v in text]
            if values:
                value = max(values, key=lambda v: (len(v), v))
                start = text.index(value)
                if all(start >= s.end or start + len(value) <= s.start for s in taken):
                    taken.append(Slot(name, value, start, start + len(value)))
        return tuple(sorted(taken, key=lambda s: s.start))


def known_share(model: SyntheticModel, catalogue: Catalogue) -> float:
    """Share of a catalogue's distinct wordings that the model understands as meant, without noise; for tests."""
    right = np.array([model.predict([text], catalogue.locale)[0].interpretation.intent == intent
                      for intent, text in _plain(catalogue)])  # fmt: skip
    return float(right.mean())


def _plain(catalogue: Catalogue) -> list[tuple[str, str]]:
    rng = np.random.default_rng(0)
    found = []
    for signature, ways in catalogue.wordings.items():
        goal = catalogue.draw_goal(rng)
        for _ in range(200):
            if goal.signature == signature:
                break
            goal = catalogue.draw_goal(rng)
        else:
            continue
        found += [(signature[0], way.realise(goal)[0]) for way in ways]
    return found
