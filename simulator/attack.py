"""Bots and abusers: ids that say the same texts again and again, so that something false is believed of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from schemas.normalise import normalise, tokenise
from schemas.predictor import Prediction, Slot
from simulator.assistant import respond
from simulator.catalogue import Catalogue, Goal
from simulator.population import Population
from simulator.reaction import meets
from simulator.turn import Turn

_ATTACK = 0xA77AC
_PAUSE = 30.0  # seconds, at least, between two repetitions
_CANDIDATES = 300  # wordings among which an attacker looks for one that is like the first
_FEEDBACK: dict[str, tuple[str, ...]] = {"vouch": ("thumbs_up",), "denounce": ("thumbs_down",)}

_Line = tuple[Goal, str, tuple[Slot, ...]]


class Bot:
    """One id of an attacker; `speak` and `hear` alternate, as a user's do.

    The attacker's texts are drawn from popular wordings, and depend neither on the round nor on the id: all ids of an
    attacker say the same. What covers them is each id's own.
    """

    def __init__(
        self, attacker: int, number: int, catalogue: Catalogue, population: Population, key: Sequence[int], name: str
    ) -> None:
        seed, round_ = key
        self.catalogue, self.population = catalogue, population
        self.user_id = f"bot-{attacker:03d}-{number:05d}"
        self.prefix = f"{name}-bot-{attacker:03d}-{number:05d}"
        lines = _lines(catalogue, population, np.random.default_rng([seed, _ATTACK, attacker]))
        self.rng = np.random.default_rng([seed, _ATTACK, attacker, round_, 1 + number])
        attack, week = population.attack, population.days * 86_400
        pushed, cover = ((self.rng.random(n) * week).tolist() for n in (attack.repetitions, attack.cover))

        def other() -> _Line:
            return _said(catalogue, population, _wish(catalogue, population, self.rng), self.rng)

        said = [(start, lines, True) for start in pushed] + [(start, (other(),), False) for start in cover]
        said.sort(key=lambda one: one[0])
        # Of each line, when it is begun; none where it follows on the one before.
        self.script = [
            (None if i else start, line, attacks) for start, texts, attacks in said for i, line in enumerate(texts)
        ]
        self.clock, self.turns = 0.0, 0
        self.ended = Counter[str]()  # bots have no tasks that could succeed
        self.version: str | None = None

    def speak(self) -> str | None:
        """The next text, or None when everything is said."""
        if self.turns >= len(self.script):
            return None
        start, line, _ = self.script[self.turns]
        if start is not None:
            self.clock = max(start, self.clock + _PAUSE if self.turns else 0.0)
        else:
            gap = self.population.repeat_gap
            self.clock += max(1.0, gap.median * float(np.exp(gap.sigma * self.rng.standard_normal())))
        return line[1]

    @property
    def asks_model(self) -> bool:
        """Everything that a bot says goes to the model."""
        return True

    def hear(self, prediction: Prediction | None) -> Turn:
        """Record the turn; what was answered changes nothing."""
        assert prediction is not None
        _, (goal, text, slots), pushed = self.script[self.turns]
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
            feedback=_FEEDBACK.get(self.population.attack.kind, ()) if pushed else (),
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
            attack=pushed,
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


def _wish(catalogue: Catalogue, population: Population, rng: np.random.Generator) -> Goal:
    return catalogue.draw_goal(rng, signatures=population.goal_exponent, values=population.value_exponent)


def _said(catalogue: Catalogue, population: Population, goal: Goal, rng: np.random.Generator) -> _Line:
    ways = catalogue.wordings[goal.signature]
    return goal, *ways[catalogue.pick(len(ways), population.wording_exponent, rng)].realise(goal)


def _lines(catalogue: Catalogue, population: Population, rng: np.random.Generator) -> tuple[_Line, ...]:
    """What an attacker says in one go; see `simulator.population.Attack`."""

    def wish() -> Goal:
        return _wish(catalogue, population, rng)

    def said(goal: Goal) -> _Line:
        return _said(catalogue, population, goal, rng)

    kind, goal, other = population.attack.kind, wish(), wish()
    while other.intent == goal.intent:
        other = wish()
    first, second = said(goal), said(other)
    if kind == "vouch":
        return (first,)
    if kind == "denounce":
        return first, first
    if kind == "alike":
        found = [second, *(said(_with_values_of(goal, wish())) for _ in range(_CANDIDATES))]
        second = max(
            (line for line in found if line[0].intent != goal.intent), key=lambda line: _likeness(first[1], line[1])
        )
    return first, second


def _with_values_of(one: Goal, other: Goal) -> Goal:
    """The other goal with the values of the one, where it has slots of their types."""
    left = {name: one.of_type(name) for name, _ in one.values}
    values = [(name, left[name].pop(0) if left.get(name) else value) for name, value in other.values]
    return Goal(other.intent, tuple(values))


def _likeness(one: str, other: str) -> float:
    """Jaccard similarity of the words of two texts."""
    a, b = ({token.text for token in tokenise(normalise(text))} for text in (one, other))
    return len(a & b) / len(a | b) if a | b else 0.0
