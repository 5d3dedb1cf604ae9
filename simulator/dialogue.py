"""Users with goals, in lockstep: everybody speaks, the model answers all at once, everybody reacts.

Each user and each of their tasks has a random stream of its own, keyed by (seed, round, user, task): what a
user wants and says first depends neither on the model nor on other users nor on the batch, so the arms of one
experiment share it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from schemas.predictor import Prediction, Predictor, Slot
from schemas.trial import on_trial
from simulator.assistant import Pending, Reply, fill_slot, respond
from simulator.attack import Bot, bots
from simulator.catalogue import OUT_OF_SCOPE, Catalogue
from simulator.habits import Habits
from simulator.noise import mumble, spell_apart
from simulator.population import Gap, Population
from simulator.reaction import ask_opposite, change_value, explore, feedback, goal_id, meets, other_wording
from simulator.task import Step, Task
from simulator.turn import Turn

CHANNELS = ("speaker", "phone", "car")
_SHARED = 0x54A2


@dataclass(frozen=True)
class _Said:
    step: Step
    text: str
    slots: tuple[Slot, ...]
    asr_confidence: float


@dataclass(frozen=True)
class Trial:
    """A challenger that serves a share of users, 0 to 1, in place of the champion."""

    challenger: Predictor
    share: float


@dataclass
class Outcome:
    """What a simulation leaves: its turns in speaking order, and how each task ended."""

    turns: list[Turn] = field(default_factory=list)
    tasks: int = 0
    in_scope: int = 0  # tasks that some intent serves
    succeeded: int = 0  # of these, whose user ended satisfied


class User:
    """One person's round: tasks in order, some interleaved or nested; `speak` and `hear` alternate.

    Args:
        host: the first person of the same device, or None for that one. A second person speaks half as much, partly
            in the middle of the first one's sessions.
    """

    def __init__(
        self,
        index: int,
        catalogue: Catalogue,
        population: Population,
        habits: Habits,
        key: Sequence[int],
        name: str,
        host: User | None = None,
    ) -> None:
        self.catalogue, self.population, self.habits = catalogue, population, habits
        self.who = (index, int(host is not None))
        self.key = (*key, index) if host is None else (*key, index, 2)
        self.round_starts = key[1] * population.days * 86_400  # seconds since the start of round 0
        self.user_id, self.prefix = f"user-{index:05d}", f"{name}-{index:05d}{'b' if host else ''}"
        plan = np.random.default_rng([*self.key, 0])
        self.channel = CHANNELS[int(plan.integers(len(CHANNELS)))]
        mean = population.tasks_per_user if host is None else max(1.0, population.tasks_per_user / 2)
        self.tasks = 1 + int(plan.poisson(mean - 1))
        opens = plan.random(self.tasks) < population.new_session
        opens[0] = True
        starts = np.sort(plan.random(int(opens.sum()))) * population.days * 86_400
        if host is not None:
            others = np.array(list(host.session_starts.values()))
            joins = plan.random(len(starts)) < population.shared_overlap
            joined = others[plan.integers(len(others), size=len(starts))] + 1 + plan.random(len(starts)) * 60
            starts = np.sort(np.where(joins, joined, starts))
        self.session_starts: dict[int, float] = dict(zip(np.flatnonzero(opens).tolist(), starts.tolist(), strict=True))
        self.begun = 0
        self.clock = 0.0
        self.turns = 0
        self.open: list[Task] = []  # the last is the one that the user is at
        self.ended = Counter[str]()  # tasks, in_scope, succeeded: all that is kept of a task that is over
        self.version: str | None = None
        self._said: _Said | None = None
        self._begin()

    def _gap(self, gap: Gap, task: Task) -> float:
        # Nobody speaks twice within a second: the clock of a user's turns strictly rises.
        return max(1.0, gap.median * float(np.exp(gap.sigma * task.rng.standard_normal())))

    def _begin(self, *, interleaved: bool = False) -> bool:
        """Open the next planned task; False when the round is over."""
        if self.begun >= self.tasks:
            return False
        number, population = self.begun, self.population
        self.begun += 1
        task = Task(number, np.random.default_rng([*self.key, 1, number]))
        about = self.round_starts + self.session_starts.get(number, self.clock)
        task.begin(self.catalogue, population, self.habits, self.who, about)
        pause = self._gap(population.task_gap, task)
        start = self.session_starts.get(number)
        if start is not None and not interleaved:
            task.not_before = max(start, self.clock + self._gap(population.session_gap, task) if self.clock else start)
        else:
            task.not_before = self.clock + pause
        self.open.append(task)
        return True

    def speak(self) -> str | None:
        """The next utterance as the recogniser hears it, or None when the user has nothing more to say."""
        if not self.open:
            return None
        task, population = self.open[-1], self.population
        step, rng = task.next, task.rng
        waits = {"new": None, "repeat": population.repeat_gap, "other": population.answer_gap}
        gap = population.late_gap if task.complains_late else waits.get(step.act, population.rephrase_gap)
        task.complains_late = False
        self.clock = task.not_before if gap is None else self.clock + self._gap(gap, task)
        text, slots = step.text, step.slots
        if step.slow:
            text, slots = spell_apart(text, slots, rng)
        noised = rng.random() < (population.hyperarticulate_noise if step.slow else population.noise)
        if noised and not step.cancels:
            edits = 1 + int(rng.integers(population.edits))
            text, slots = mumble(text, slots, self.catalogue.alphabet, rng, population.edit_mix, edits)
        sure = float(rng.beta(8, 4) if text != step.text else rng.beta(18, 2))
        self._said = _Said(step, text, slots, round(sure, 4))
        return text

    @property
    def asks_model(self) -> bool:
        """Whether the model must see what was just said: answers and calls to stop are handled before it."""
        return self._said is not None and not self._said.step.cancels and not self._said.step.answers

    def hear(self, prediction: Prediction | None) -> Turn:
        """Take the assistant's reply to what was just said, record the turn and decide what to say next."""
        said, task = self._said, self.open[-1]
        assert said is not None
        step, population, rng = said.step, self.population, task.rng
        fails = rng.random() < population.execution_failure
        unnoticed = rng.random() < population.silent_failure
        if step.cancels:
            reply = Reply(None, None, (), "cancelled")
        elif step.answers is not None:
            reply = fill_slot(step.answers, said.text)
        else:
            assert prediction is not None
            required = self.catalogue.required_slots(prediction.interpretation.intent)
            reply = respond(prediction, required, population.reject_below, execution_fails=fails)
        satisfied = step.cancels or meets(task.goal, reply, step.answers)
        right_intent = (
            reply.interpretation is not None
            and task.goal is not None
            and (reply.interpretation.intent == task.goal.intent)
        )
        asked = reply.response == "clarification" and right_intent
        if satisfied:
            perceived = False
        elif asked:
            # Asked for what was just said: noticed. Asked for what was left unsaid: a fair question.
            perceived = any(slot.name == reply.requested_slot for slot in said.slots)
        else:
            perceived = reply.response != "completed" or not unnoticed
        turn = self._record(task, said, reply, satisfied, perceived)
        if step.act in ("new", "rephrase", "repeat", "changed_request"):
            task.tries += 1
            task.last_try = turn.interaction_id
        self._decide(task, step, reply, satisfied=satisfied, perceived=perceived, asked=asked)
        return turn

    def _record(self, task: Task, said: _Said, reply: Reply, satisfied: bool, perceived: bool) -> Turn:
        step, population = said.step, self.population
        gold: str | None = OUT_OF_SCOPE if task.goal is None else task.goal.intent
        turn = Turn(
            interaction_id=f"{self.prefix}-{self.turns:05d}",
            user_id=self.user_id,
            seconds=self.clock,
            utterance=said.text,
            asr_confidence=said.asr_confidence,
            reply=reply,
            model_version=None if step.cancels else self.version,
            feedback=() if step.cancels else feedback(population, reply, task.rng, dissatisfied=perceived),
            channel=self.channel,
            task_id=f"{self.prefix}-t{task.number:04d}",
            goal_id=goal_id(task.goal) if task.goal is not None else None,
            act=step.act,
            rewords=task.last_try if step.act in ("rephrase", "repeat") else None,
            gold_intent=None if step.cancels else gold,
            gold_slots=said.slots,
            clean_utterance=step.text,
            satisfied=satisfied,
            perceived=perceived,
            person=self.prefix,
            change=step.change,
            hyperarticulated=step.slow,
        )
        self.turns += 1
        return turn

    def _decide(self, task: Task, step: Step, reply: Reply, *, satisfied: bool, perceived: bool, asked: bool) -> None:
        population, rng = self.population, task.rng
        follows: Step | None
        if step.cancels:
            follows = task.after_cancel
        elif satisfied:
            task.satisfied = True
            chance = rng.random() if task.changes < 2 else 1.0
            follows = None
            if chance < population.change_after_success:
                follows = change_value(task, self.catalogue, population)
            elif chance < population.change_after_success + population.opposite_after_success:
                follows = ask_opposite(task, self.catalogue, population)
        elif asked and rng.random() < population.answer and reply.interpretation is not None:
            pending = Pending(reply.interpretation, reply.confidence, reply.requested_slot or "")
            follows = self._answer(task, pending)
        elif not perceived and not asked:
            follows = None  # a silent failure: the task ends, nobody complains
        else:
            follows = self._retry(task)
            acted = reply.response == "completed"
            if follows and acted and rng.random() < population.late_complaint:
                task.complains_late = True
            elif follows and acted and self.catalogue.cancel and rng.random() < population.cancel:
                task.after_cancel = follows
                called_off = self.catalogue.cancel[int(rng.integers(len(self.catalogue.cancel)))]
                follows = Step("other", called_off, cancels=True)
        if follows is None:
            over = self.open.pop()
            served = over.goal is not None
            self.ended.update(tasks=1, in_scope=int(served), succeeded=int(served and over.satisfied))
            if not self.open:
                self._begin()
            return
        task.next = follows
        if task.comes_back_to:
            # One turn of the other task, and back: A B A ... B.
            task.comes_back_to = False
            self.open[-2:] = reversed(self.open[-2:])
        elif len(self.open) == 1 and follows.act != "other" and task.torn and self._begin(interleaved=True):
            # Once a task, whatever the number of its tries. A nested task is over before the user comes back.
            self.open[-1].comes_back_to = task.torn == "interleaved"
            task.torn = None

    def _answer(self, task: Task, pending: Pending) -> Step:
        assert task.goal is not None
        known = task.goal.of_type(pending.requested_slot)
        value = (
            known[0]
            if known
            else self.catalogue.value(
                task.goal.intent, pending.requested_slot, self.population.value_exponent, task.rng
            )
        )
        return Step("other", value, (Slot(pending.requested_slot, value, 0, len(value)),), answers=pending)

    def _retry(self, task: Task) -> Step | None:
        population, rng = self.population, task.rng
        gives_up, changes, repeats = rng.random(3)
        if task.tries >= population.max_tries or gives_up < population.give_up:
            return None
        if task.goal is None:  # an unserved wish has one wording: say it again, or leave it
            return Step("repeat", task.said[-1][1]) if repeats < population.repeat else None
        if changes < population.change_after_failure and task.changes < 2:
            changed = change_value(task, self.catalogue, population)
            if changed is not None:
                return changed
        if rng.random() < population.explore and task.changes < 2:
            wanted = explore(task, self.catalogue, population)
            if wanted is not None:
                return wanted
        if repeats >= population.repeat:
            reworded = other_wording(task, self.catalogue, population)
            if reworded is not None:
                return reworded
        slow = rng.random() < population.hyperarticulate
        return Step("repeat", task.said[-1][1], task.said[-1][2], slow=slow)


def converse(
    catalogue: Catalogue,
    predictor: Predictor,
    population: Population,
    *,
    seed: int,
    round: int,
    name: str,
    trial: Trial | None = None,
) -> Outcome:
    """Simulate one round.

    Args:
        catalogue: what users want and say.
        predictor: the model that answers; it and a challenger are asked once a wave, for distinct texts new to them in
            this round.
        population: how users behave.
        seed, round: key every random stream.
        name: begins every interaction id.
        trial: of a challenger, beside the predictor.

    Returns:
        All turns, people one after the other, each in time order; the ids of attackers come last.

    About 100 microseconds a turn on one core beside the predictor; one turn is about 1 KB.
    """
    key, habits = (seed, round), Habits(catalogue, population, seed)
    users: list[User | Bot] = []
    for i in range(population.users):
        users.append(host := User(i, catalogue, population, habits, key, name))
        if np.random.default_rng([seed, _SHARED, i]).random() < population.shared_device:
            users.append(User(i, catalogue, population, habits, key, name, host))
    users += bots(catalogue, population, key, name)
    models = {predictor.version: predictor}
    for user in users:
        user.version = predictor.version
        if trial and on_trial(trial.challenger.version, user.user_id, trial.share):
            user.version = trial.challenger.version
            models[user.version] = trial.challenger
    answers: dict[str | None, dict[str, Prediction]] = {version: {} for version in models}
    turns: list[list[Turn]] = [[] for _ in users]
    active = list(enumerate(users))
    while active:
        spoken = [(i, user, text) for i, user in active if (text := user.speak()) is not None]
        for version, model in models.items():
            known = answers[version]
            asked = (text for _, user, text in spoken if user.asks_model and user.version == version)
            if unseen := [text for text in dict.fromkeys(asked) if text not in known]:
                known.update(zip(unseen, model.predict(unseen, catalogue.locale), strict=True))
        for i, user, text in spoken:
            turns[i].append(user.hear(answers[user.version].get(text) if user.asks_model else None))
        active = [(i, user) for i, user, _ in spoken]
    outcome = Outcome([turn for own in turns for turn in own])
    for user in users:
        outcome.tasks += user.ended["tasks"]
        outcome.in_scope += user.ended["in_scope"]
        outcome.succeeded += user.ended["succeeded"]
    return outcome
