"""What a model says of an utterance, and the protocol through which anyone may ask it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, order=True)
class Slot:
    """A slot value. `start` and `end` are half-open offsets in code points into the utterance."""

    name: str
    value: str
    start: int
    end: int


@dataclass(frozen=True)
class Interpretation:
    """An intent with its slots, sorted by start."""

    intent: str
    slots: tuple[Slot, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """The best interpretation, its confidence in [0, 1] (of intent and slots together) and the n-best after it."""

    interpretation: Interpretation
    confidence: float
    alternatives: tuple[tuple[Interpretation, float], ...] = field(default=())


class Predictor(Protocol):
    """A served NLU model."""

    @property
    def version(self) -> str:
        """The name under which the model is logged with each turn that it answers."""
        ...

    def predict(self, utterances: Sequence[str], locale: str) -> list[Prediction]:
        """One prediction an utterance, in order. Deterministic."""
        ...
