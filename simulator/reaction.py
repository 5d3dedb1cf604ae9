"""How a user judges a reply, and the other words or values they may come back with."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from functools import lru_cache

import numpy as np

from schemas.normalise import normalise, squash
from simulator.assistant import Pending, Reply
from simulator.catalogue import Catalogue, Goal, Wording
from simulator.population import Population
from simulator.task import Step, Task


@lru_cache(maxsize=65_536)
def spoken(value: str) -> str:
    """A slot value (or an utterance) as it is compared: normalised, without white space."""
    return squash(normalise(value))


@lru_cache(maxsize=65_536)
def goal_id(goal: Goal) -> str:
    """A stable 16-hex-digit id of intent and values: two users who want the same share it."""
    content = "\x1f".join([goal.intent, *(f"{name}\x1e{spoken(value)}" for name, value in goal.values)])
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def meets(goal: Goal | None, reply: Reply, answered: Pending | None = None) -> bool:
    """Whether the product did what the user wanted: it completed, with the right intent and all values right.

    Args:
        goal: what the user wanted; None (out of scope) is never met.
        reply: what the product did.
        answered: the question that the turn answered: its other slots are carried out too.
    """
    if goal is None or reply.response != "completed" or reply.interpretation is None:
        return False
    if reply.interpretation.intent != goal.intent:
        return False
    done = [(slot.name, spoken(slot.value)) for slot in reply.interpretation.slots]
    wanted = [(name, spoken(value)) for name, value in goal.values]
    if answered is not None:
        kept = answered.interpretation.slots
        done += [(s.name, spoken(s.value)) for s in kept if s.name != answered.requested_slot]
        if all(name != answered.requested_slot for name, _ in wanted):
            # The wish left the slot open and the user has just filled it: whatever was heard was said.
            done = [pair for pair in done if pair[0] != answered.requested_slot]
    return sorted(done) == sorted(wanted)


def feedback(population: Population, reply: Reply, rng: np.random.Generator, *, dissatisfied: bool) -> tuple[str, ...]:
    """What the user does beside speaking. Barge-in and stop need something that is going on."""
    kind = "dissatisfied" if dissatisfied else "satisfied"
    given = []
    draws = rng.random(4)
    acts = reply.response in ("completed", "clarification")
    for chance, name in zip(draws, ("barge_in", "stop", "thumbs_up", "thumbs_down"), strict=True):
        if chance < getattr(population, f"{name}_{kind}") and (acts or name.startswith("thumbs")):
            given.append(name)
    return tuple(given)


def closeness(wording: Wording, other: Wording) -> float:
    """Jaccard similarity of the fixed words."""
    either = wording.carrier | other.carrier
    return len(wording.carrier & other.carrier) / len(either) if either else 0.0


def other_wording(task: Task, catalogue: Catalogue, population: Population) -> Step | None:
    """The same goal in words that this user has not tried yet; None where the catalogue has no other.

    Popular wordings are likelier; a near rephrase also weighs how many words of the last one they keep.
    Linear in the wordings of the signature.
    """
    assert task.goal is not None
    rng = task.rng
    near = rng.random() < population.near_rephrase
    chance = rng.random()
    tried = {wording for wording, _, _ in task.said}
    heard = {spoken(text) for _, text, _ in task.said}
    last = task.said[-1][0]
    ways = catalogue.wordings[task.goal.signature]
    untried = [(rank, w) for rank, w in enumerate(ways) if w not in tried]
    while untried:
        weights = np.array([(rank + 1.0) ** -population.wording_exponent for rank, _ in untried])
        if near and last is not None:
            weights *= np.array([0.02 + closeness(last, w) for _, w in untried]) ** 2
        cumulated = np.cumsum(weights)
        place = min(int(np.searchsorted(cumulated / cumulated[-1], chance, side="right")), len(untried) - 1)
        wording = untried.pop(place)[1]
        if spoken(wording.realise(task.goal)[0]) not in heard:
            return task.say("rephrase", wording)
    return None


def change_value(task: Task, catalogue: Catalogue, population: Population) -> Step | None:
    """Ask for another value of one slot, a new request; None where nothing can change."""
    goal, rng = task.goal, task.rng
    if goal is None or not goal.values:
        return None
    place = int(rng.integers(len(goal.values)))
    name, value = goal.values[place]
    for _ in range(8):
        other = catalogue.value(goal.intent, name, population.value_exponent, rng)
        if spoken(other) != spoken(value):
            break
    else:
        return None
    last = task.said[-1][0]
    ways = catalogue.wordings[goal.signature]
    wording = ways[catalogue.pick(len(ways), population.wording_exponent, rng)]
    if last is not None and rng.random() < population.near_rephrase:
        wording = last
    task.take(goal.with_value(place, other))
    return replace(task.say("changed_request", wording), change="value")


def ask_opposite(task: Task, catalogue: Catalogue, population: Population) -> Step | None:
    """Ask for the opposite action with the same values, a new request; None where the catalogue has none.

    The wording is the one that is closest to the last: "turn the light on" -> "turn the light off".
    """
    goal = task.goal
    opposite = catalogue.opposite(goal.intent) if goal is not None else None
    if goal is None or opposite is None:
        return None
    wanted = Goal(opposite, goal.values)
    if wanted.signature not in catalogue.wordings:
        return None
    wording = _closest(task.said[-1][0], catalogue.wordings[wanted.signature])
    task.take(wanted)
    return replace(task.say("changed_request", wording), change="opposite")


def explore(task: Task, catalogue: Catalogue, population: Population) -> Step | None:
    """Ask for something broader or narrower: the same intent with one slot dropped or added; None where it has none."""
    goal, rng = task.goal, task.rng
    if goal is None:
        return None
    near = [s for s in catalogue.of_intent(goal.intent) if _one_apart(s[1], goal.signature[1])]
    if not near:
        return None
    chosen = near[int(rng.integers(len(near)))]
    left, values = list(goal.values), []
    for name in chosen[1]:
        kept = next((pair for pair in left if pair[0] == name), None)
        if kept is not None:
            left.remove(kept)
        values.append(kept or (name, catalogue.value(goal.intent, name, population.value_exponent, rng)))
    wording = _closest(task.said[-1][0], catalogue.wordings[chosen])
    task.take(Goal(goal.intent, tuple(values)))
    return replace(task.say("changed_request", wording), change="explore")


def _one_apart(names: tuple[str, ...], others: tuple[str, ...]) -> bool:
    fewer, more = sorted((Counter(names), Counter(others)), key=lambda counts: counts.total())
    return fewer <= more and more.total() - fewer.total() == 1


def _closest(last: Wording | None, ways: tuple[Wording, ...]) -> Wording:
    return ways[0] if last is None else max(ways, key=lambda way: closeness(last, way))
