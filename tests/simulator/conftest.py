"""What the simulator's tests share: a small crowd, and a model that understands clean utterances."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest

from schemas.predictor import Interpretation, Prediction, Slot
from simulator.catalogue import Catalogue
from simulator.phrasebook import Phrasebook
from simulator.population import Population


class Oracle:
    """Understands what the catalogue's users say, when they say it clearly, and knows nothing else."""

    version = "oracle-1"

    def __init__(self, catalogue: Catalogue) -> None:
        self.calls: list[list[str]] = []
        self.patterns: list[tuple[re.Pattern[str], tuple[str, tuple[str, ...]]]] = []
        for (intent, _), ways in catalogue.wordings.items():
            for wording in ways:
                pattern = re.escape(wording.literals[0])
                for name, literal in zip(wording.names, wording.literals[1:], strict=True):
                    values = "|".join(re.escape(v) for v in catalogue.values[(intent, name)])
                    pattern += f"({values})" + re.escape(literal)
                self.patterns.append((re.compile(pattern), (intent, wording.names)))

    def predict(self, utterances: Sequence[str], locale: str) -> list[Prediction]:
        self.calls.append(list(utterances))
        return [self._read(text) for text in utterances]

    def _read(self, text: str) -> Prediction:
        for pattern, (intent, names) in self.patterns:
            match = pattern.fullmatch(text)
            if match:
                slots = [Slot(n, match.group(i), *match.span(i)) for i, n in enumerate(names, start=1)]
                return Prediction(Interpretation(intent, tuple(slots)), 0.95)
        return Prediction(Interpretation("out_of_scope"), 0.05)


@pytest.fixture(scope="session")
def phrasebook() -> Phrasebook:
    return Phrasebook(seed=3, fillings=12)


@pytest.fixture(scope="session")
def crowd() -> Population:
    return Population(users=60, tasks_per_user=6.0, days=2.0)


@pytest.fixture(scope="session")
def oracle(phrasebook: Phrasebook) -> Oracle:
    return Oracle(phrasebook)


class Muddled(Oracle):
    """Errs like a launch model, the same way for every user of one text: wrong intents and lost slots."""

    version = "muddled-1"

    def _read(self, text: str) -> Prediction:
        right, luck = super()._read(text), sum(map(ord, text)) % 10
        if luck < 2:
            return Prediction(Interpretation("music_pause"), 0.6, ((right.interpretation, 0.3),))
        if luck < 4:
            return Prediction(Interpretation(right.interpretation.intent), 0.7)
        return right


@pytest.fixture(scope="session")
def muddled(phrasebook: Phrasebook) -> Muddled:
    return Muddled(phrasebook)


@pytest.fixture(scope="session")
def understand() -> Callable[[Catalogue], Oracle]:
    """Makes a model that understands what a catalogue's users say; `calls` keeps what it was asked."""
    return Oracle
