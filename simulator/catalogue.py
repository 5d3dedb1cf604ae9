"""What users may want and how they may say it: goals, their wordings, and gold to train and report on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from schemas.annotated import Annotated
from schemas.errors import InputError
from schemas.normalise import normalise, tokenise
from schemas.predictor import Interpretation, Slot

Signature = tuple[str, tuple[str, ...]]  # intent and sorted slot types, a type as often as it occurs
OUT_OF_SCOPE = "out_of_scope"
# Endings of intent names that are opposite actions (`light_on`, `iot_hue_lightoff`, `alarm_cancel`).
OPPOSITES = (
    ("on", "off"),
    ("up", "down"),
    ("lightup", "lightdim"),
    ("set", "cancel"),
    ("set", "remove"),
    ("play", "pause"),
)


@dataclass(frozen=True)
class Goal:
    """What a user wants: an intent and, sorted by type, the slot values. A type may occur more than once."""

    intent: str
    values: tuple[tuple[str, str], ...] = ()

    @property
    def signature(self) -> Signature:
        """Intent and sorted slot types."""
        return self.intent, tuple(sorted(name for name, _ in self.values))

    def of_type(self, name: str) -> list[str]:
        """The values of one slot type, in order."""
        return [value for kind, value in self.values if kind == name]

    def with_value(self, place: int, value: str) -> Goal:
        """This goal with the value at `place` changed."""
        values = list(self.values)
        values[place] = (values[place][0], value)
        return Goal(self.intent, tuple(values))


@dataclass(frozen=True)
class Wording:
    """A way to say a goal: fixed text with places for values. `literals` has one entry more than `names`."""

    intent: str
    literals: tuple[str, ...]
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, row: Annotated) -> Wording:
        """The wording of an annotated utterance: its values taken out, its spaces kept as they are."""
        literals, cursor = [], 0
        for slot in row.interpretation.slots:
            literals.append(row.utterance[cursor : slot.start])
            cursor = slot.end
        literals.append(row.utterance[cursor:])
        return cls(row.interpretation.intent, tuple(literals), tuple(s.name for s in row.interpretation.slots))

    @property
    def signature(self) -> Signature:
        """Intent and sorted slot types."""
        return self.intent, tuple(sorted(self.names))

    @cached_property
    def carrier(self) -> frozenset[str]:
        """The words of the fixed text: what makes two wordings close or far."""
        return frozenset(token.text for text in self.literals for token in tokenise(text))

    def realise(self, goal: Goal) -> tuple[str, tuple[Slot, ...]]:
        """The text of this wording with the goal's values put in, and the gold slots with offsets into it.

        The n-th place of a type takes the goal's n-th value of that type. No white space is added, so that
        scripts without spaces stay without.
        """
        left = {name: goal.of_type(name) for name in self.names}
        text, slots = self.literals[0], []
        for name, literal in zip(self.names, self.literals[1:], strict=True):
            value = left[name].pop(0)
            slots.append(Slot(name, value, len(text), len(text) + len(value)))
            text += value + literal
        return text, tuple(slots)


def zipf(ranks: int, exponent: float) -> np.ndarray:
    """Cumulative probabilities of ranks 1..n under a Zipf law; exponent 0 is uniform."""
    weights = np.arange(1, ranks + 1, dtype=np.float64) ** -exponent
    cumulated: np.ndarray = np.cumsum(weights) / weights.sum()
    return cumulated


def draw(cumulated: np.ndarray, rng: np.random.Generator) -> int:
    """One rank, from 0, drawn from cumulative probabilities."""
    return min(int(np.searchsorted(cumulated, rng.random(), side="right")), len(cumulated) - 1)


class Catalogue(ABC):
    """Goals and wordings of one target locale, all in order of popularity, and gold in two locales.

    Args:
        locale: the target locale, which users speak.
        source_locale: the mature locale, of which there is gold.
        wordings: what users may say, grouped by signature. Signatures and the wordings of each stand in order
            of popularity, which all users share: that is why popular formulations recur across users.
        values: the values of each (intent, slot type), most popular first.
        out_of_scope: what users say that no intent serves. May be empty.
        cancel: what users say to call off the last answer. May be empty.
    """

    def __init__(
        self,
        locale: str,
        source_locale: str,
        wordings: Mapping[Signature, Sequence[Wording]],
        values: Mapping[tuple[str, str], Sequence[str]],
        out_of_scope: Sequence[str] = (),
        cancel: Sequence[str] = (),
    ) -> None:
        if not wordings:
            raise InputError(f"the catalogue of {locale} has no wordings: give it train utterances")
        self.locale = locale
        self.source_locale = source_locale
        self.wordings = {signature: tuple(ways) for signature, ways in wordings.items()}
        self.values = {key: tuple(found) for key, found in values.items()}
        self.out_of_scope = tuple(out_of_scope)
        self.cancel = tuple(cancel)
        self.signatures = tuple(self.wordings)
        self._cumulated: dict[tuple[int, float], np.ndarray] = {}

    @abstractmethod
    def gold(self, locale: str, partition: str = "train") -> list[Annotated]:
        """Annotated utterances of a locale.

        Args:
            locale: the source locale (gold of the mature language) or the target locale (`train` is for the
                supervised ceiling and for experiments "with N labels" only).
            partition: `train`, `dev`, or `test`: wordings that no user speaks.

        Raises:
            InputError: another locale or partition.
        """

    @cached_property
    def intents(self) -> tuple[str, ...]:
        """The intents that users may want, sorted."""
        return tuple(sorted({intent for intent, _ in self.signatures}))

    @cached_property
    def alphabet(self) -> str:
        """Letters, marks and digits that users' utterances are written with, sorted: for recogniser noise."""
        texts = [literal for ways in self.wordings.values() for w in ways for literal in w.literals]
        texts += [value for found in self.values.values() for value in found]
        return "".join(sorted({c for c in normalise(" ".join(texts)) if not c.isspace()}))

    @cached_property
    def _required(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[Signature]] = {}
        for signature, ways in self.wordings.items():
            found.setdefault(signature[0], []).extend([signature] * len(ways))
        return {
            intent: tuple(
                name
                for name in sorted({n for _, names in signatures for n in names})
                if sum(name in names for _, names in signatures) >= 0.8 * len(signatures)
            )
            for intent, signatures in found.items()
        }

    def required_slots(self, intent: str) -> tuple[str, ...]:
        """Slot types without which the product asks back: those in at least 80% of the intent's wordings."""
        return self._required.get(intent, ())

    @cached_property
    def _opposite(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for one, other in (*OPPOSITES, *((b, a) for a, b in OPPOSITES)):
            for intent in self.intents:
                if intent.endswith(one) and intent.removesuffix(one) + other in self.intents:
                    found.setdefault(intent, intent.removesuffix(one) + other)
        return found

    def opposite(self, intent: str) -> str | None:
        """The intent that does the opposite, by the ending of its name; None where there is none."""
        return self._opposite.get(intent)

    @cached_property
    def _of_intent(self) -> dict[str, list[Signature]]:
        found: dict[str, list[Signature]] = {}
        for signature in self.signatures:
            found.setdefault(signature[0], []).append(signature)
        return found

    def of_intent(self, intent: str) -> list[Signature]:
        """The signatures of an intent, most popular first."""
        return self._of_intent.get(intent, [])

    def pick(self, ranks: int, exponent: float, rng: np.random.Generator) -> int:
        """A Zipf-popular rank among `ranks`. O(log ranks) once its law is cached."""
        key = (ranks, exponent)
        if key not in self._cumulated:
            self._cumulated[key] = zipf(ranks, exponent)
        return draw(self._cumulated[key], rng)

    def value(self, intent: str, name: str, exponent: float, rng: np.random.Generator) -> str:
        """A Zipf-popular value of a slot type, as users of this intent say it."""
        found = self.values[(intent, name)]
        return found[self.pick(len(found), exponent, rng)]

    def draw_goal(self, rng: np.random.Generator, *, signatures: float = 1.0, values: float = 1.0) -> Goal:
        """A goal: a Zipf-popular signature with Zipf-popular values; the arguments are the exponents.

        Values of a repeated type are distinct where the catalogue has enough of them.
        """
        intent, names = self.signatures[self.pick(len(self.signatures), signatures, rng)]
        chosen: list[tuple[str, str]] = []
        for name in names:
            value = self.value(intent, name, values, rng)
            for _ in range(4):
                if (name, value) not in chosen:
                    break
                value = self.value(intent, name, values, rng)
            chosen.append((name, value))
        return Goal(intent, tuple(chosen))

    def seed_labels(self, n: int, seed: int) -> list[Annotated]:
        """`n` utterances drawn uniformly from the target's train gold, as a person would have annotated them.

        Raises:
            InputError: the target has fewer.
        """
        rows = self.gold(self.locale, "train")
        if not 0 <= n <= len(rows):
            raise InputError(f"{n} seed labels asked of {len(rows)} in {self.locale}: ask for at most {len(rows)}")
        chosen = np.random.default_rng([seed, 0x5EED]).choice(len(rows), size=n, replace=False)
        return [rows[i] for i in sorted(chosen.tolist())]


def group_by_signature(ways: Iterable[Wording]) -> dict[Signature, list[Wording]]:
    """Wordings by signature, in order of appearance and without duplicates."""
    grouped: dict[Signature, dict[Wording, None]] = {}
    for wording in ways:
        grouped.setdefault(wording.signature, {})[wording] = None
    return {signature: list(unique) for signature, unique in grouped.items()}


def fill(wording: Wording, goal: Goal, locale: str, partition: str) -> Annotated:
    """An annotated utterance: the wording with the goal's values in it."""
    text, slots = wording.realise(goal)
    return Annotated(text, locale, Interpretation(goal.intent, slots), partition)
