"""Bots and abusers: ids that say one false pairing again and again, as if the second wording had been meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from schemas.predictor import Prediction, Slot
from simulator.assistant import respond
from simulator.catalogue import Catalogue, Goal
from simulator.population import Population
from simulator.reaction import meets
from simulator.turn import Turn

_ATTACK = 0xA77AC
_PAUSE = 30.0  # seconds, at least, between two repetitions


class Bot:
    """One id of an attacker; `speak` and `hear` alternate, as a user's do.

    The attacker's pairing is drawn from popular wordings of two intents, and depends neither on the round nor on the
    id: all ids of an attacker say the same two texts.
    """

    def __init__(
        self, attacker: int, number: int, catalogue: Catalogue, population: Population, key: Sequence[int], name: str
    ) -> None:
        seed, round_ = key
        self.catalogue, self.population = catalogue, population
        self.user_id = f"bot-{attacker:03d}-{number:05d}"
        self.prefix = f"{name}-bot-{attacker:03d}-{number:05d}"
        self.pairing = _pairing(catalogue, population, np.random.default_rng([seed, _ATTACK, attacker]))
        self.rng = np.random.default_rng([seed, _ATTACK, attacker, round_, 1 + number])
        repetitions = population.attack.repetitions
        self.starts = np.sort(self.rng.random(repetitions)) * population.days * 86_400
        self.clock, self.turns = 0.0, 0
        self.ended = Counter[str]()  # bots have no tasks that could succeed
        self.version: str | None = None

    def speak(self) -> str | None:
        """The next of the two texts, or None when all repetitions are said."""
        if self.turns >= 2 * len(self.starts):
            return None
        if self.turns % 2 == 0:
            self.clock = max(float(self.starts[self.turns // 2]), self.clock + _PAUSE if self.turns else 0.0)
        else:
            gap = self.population.repeat_gap
            self.clock += max(1.0, gap.median * float(np.exp(gap.sigma * self.rng.standard_normal())))
        return self.pairing[self.turns % 2][1]

    @property
    def asks_model(self) -> bool:
        """Everything that a bot says goes to the model."""
        return True

    def hear(self, prediction: Prediction | None) -> Turn:
        """Record the turn; what was answered changes nothing."""
        assert prediction is not None
        goal, text, slots = self.pairing[self.turns % 2]
        required = self.catalogue.required_slots(prediction.interpretation.intent)
        reply = respond(prediction, required, self.population.reject_below, execution_fails=False)
        turn = Turn(
            interaction_id=f"{self.prefix}-{self.turns:05d}",
            user_id=self.user_id,
            seconds=self.clock,
            utterance=text,
            asr_confidence=1.0,
            reply=reply,
            model_version=self.version,
            feedback=(),
            channel="phone",
            task_id=f"{self.prefix}-t{self.turns:05d}",
            goal_id=None,
            act="new",
            rewords=None,
            gold_intent=goal.intent,
            gold_slots=slots,
            clean_utterance=text,
            satisfied=meets(goal, reply),
            perceived=False,
            person=self.user_id,
            attack=True,
        )
        self.turns += 1
        return turn


def bots(catalogue: Catalogue, population: Population, key: Sequence[int], name: str) -> list[Bot]:
    """All ids of all attackers of a population; none where the catalogue has a single intent."""
    if len(catalogue.intents) < 2:
        return []
    attack = population.attack
    return [
        Bot(attacker, number, catalogue, population, key, name)
        for attacker in range(attack.attackers)
        for number in range(attack.ids)
    ]


def _pairing(
    catalogue: Catalogue, population: Population, rng: np.random.Generator
) -> tuple[tuple[Goal, str, tuple[Slot, ...]], tuple[Goal, str, tuple[Slot, ...]]]:
    """Two popular wordings of different intents, with values."""

    def drawn() -> Goal:
        return catalogue.draw_goal(rng, signatures=population.goal_exponent, values=population.value_exponent)

    source, target = drawn(), drawn()
    while target.intent == source.intent:
        target = drawn()
    said = []
    for goal in (source, target):
        ways = catalogue.wordings[goal.signature]
        text, slots = ways[catalogue.pick(len(ways), population.wording_exponent, rng)].realise(goal)
        said.append((goal, text, slots))
    return said[0], said[1]
