"""One task of a user: the goal, what was said for it so far, and what comes next."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from schemas.predictor import Slot
from simulator.assistant import Pending
from simulator.catalogue import Catalogue, Goal, Wording
from simulator.habits import Habits
from simulator.population import Population


@dataclass(frozen=True)
class Step:
    """What a user is about to say. `act` is new, rephrase, repeat, changed_request or other."""

    act: str
    text: str
    slots: tuple[Slot, ...] = ()
    answers: Pending | None = None  # the question that this answers
    cancels: bool = False  # calls the last answer off
    change: str | None = None  # of a changed request: value, opposite, or explore
    slow: bool = False  # hyper-articulated


@dataclass
class Task:
    """A task in progress. `goal` is None where the wish is out of scope."""

    number: int
    rng: np.random.Generator
    goal: Goal | None = None
    said: list[tuple[Wording | None, str, tuple[Slot, ...]]] = field(default_factory=list)  # of the present goal
    tries: int = 0  # of the present goal
    last_try: str | None = None  # its interaction id
    changes: int = 0
    satisfied: bool = False
    next: Step = Step("new", "")
    after_cancel: Step | None = None
    not_before: float = 0.0  # seconds since the start of the round, of the first turn
    torn: str | None = None  # interleaved or nested: how another task comes in the first time it stays unfinished
    complains_late: bool = False  # the next turn comes after a while
    comes_back_to: bool = False  # another task waits for the user to come back after one turn of this one

    def begin(
        self, catalogue: Catalogue, population: Population, habits: Habits, who: tuple[int, ...], seconds: float
    ) -> None:
        """Draw the goal and the first wording. The first draws of the stream: no model changes them."""
        rng = self.rng
        out_of_scope = rng.random() < population.out_of_scope
        torn = rng.random()
        if torn < population.interleave + population.nest:
            self.torn = "interleaved" if torn < population.interleave else "nested"
        if out_of_scope and catalogue.out_of_scope:
            ranks = len(catalogue.out_of_scope)
            text = catalogue.out_of_scope[catalogue.pick(ranks, population.wording_exponent, rng)]
            self.said.append((None, text, ()))
            self.next = Step("new", text)
            return
        self.goal = catalogue.draw_goal(rng, signatures=population.goal_exponent, values=population.value_exponent)
        self.next = self.say("new", habits.first(self.goal.signature, who, seconds, rng))

    def say(self, act: str, wording: Wording) -> Step:
        """The step that says the present goal in this wording; remembered as said."""
        assert self.goal is not None
        text, slots = wording.realise(self.goal)
        self.said.append((wording, text, slots))
        return Step(act, text, slots)

    def take(self, goal: Goal) -> None:
        """Want something else from now on: a new goal, not yet tried."""
        self.goal, self.tries, self.last_try, self.satisfied = goal, 0, None, False
        self.said = []
        self.changes += 1
