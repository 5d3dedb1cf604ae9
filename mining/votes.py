"""Votes of users and the posterior of a wording's intent become a soft label, floored by users.

A turn votes for its own interpretation by its acceptance, and against it by its friction: a deterministic model errs
the same way for every user of one wording, so an interpretation that most users of a wording reject is not made true
by the few who kept silent. A rephrase pair votes for what the model understood of the target.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mining.slots import project
from schemas.predictor import Slot
from schemas.settings import LabelSettings

COUNTED = 0.5  # support of a user's vote from which the user counts towards the floor


@dataclass(frozen=True)
class Evidence:
    """One user's evidence on one formulation: a turn of theirs, or a rephrase pair that starts there.

    Args:
        formulation_id: the formulation that is voted on.
        user_id: whose vote.
        source: own or rephrase.
        intent: voted for.
        slots: (type, value) of the interpretation.
        support: probability that the interpretation is right, as far as this user shows.
        opposition: probability that it is wrong.
        pair_id: the pair behind a rephrase vote.
    """

    formulation_id: str
    user_id: str
    source: str
    intent: str
    slots: tuple[tuple[str, str], ...]
    support: float
    opposition: float
    pair_id: str | None = None


@dataclass(frozen=True)
class Member:
    """A formulation: its id, its most frequent spelling as logged, how often it was spoken."""

    formulation_id: str
    utterance: str
    events: int


@dataclass
class Label:
    """A formulation's soft label; `slots` is None where they stay open."""

    formulation_id: str
    utterance: str
    status: str
    why: str
    intents: list[tuple[str, float]]
    slots: tuple[Slot, ...] | None
    slot_posterior: float | None
    users: int
    own_users: int
    events: int
    sources: list[tuple[str, str, int, float]]
    pair_ids: list[str]


@dataclass
class Tally:
    """Votes on one formulation: per (source, intent, slots) the users' best support, per intent the opposition."""

    support: dict[tuple[str, str], dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    opposition: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    spans: dict[tuple[str, tuple[tuple[str, str], ...]], dict[tuple[str, str], float]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    pairs: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, evidence: Evidence) -> None:
        mine = self.support[evidence.source, evidence.intent]
        mine[evidence.user_id] = max(mine.get(evidence.user_id, 0.0), evidence.support)
        if evidence.opposition:
            against = self.opposition[evidence.intent]
            against[evidence.user_id] = max(against.get(evidence.user_id, 0.0), evidence.opposition)
        voter = (evidence.user_id, evidence.source)
        for_spans = self.spans[evidence.intent, evidence.slots]
        for_spans[voter] = max(for_spans.get(voter, 0.0), evidence.support)
        if evidence.pair_id:
            self.pairs[evidence.intent].append(evidence.pair_id)

    def agreement(self, intent: str) -> float:
        """Share of the own votes on `intent` that support it."""
        own = sum(self.support.get(("own", intent), {}).values())
        against = sum(self.opposition.get(intent, {}).values())
        return own / (own + against) if own + against else 1.0


def tallied(evidence: Iterable[Evidence]) -> Tally:
    """The votes on one formulation, one a user. O(evidence)."""
    tally = Tally()
    for item in evidence:
        tally.add(item)
    return tally


def label_formulation(
    member: Member,
    tally: Tally,
    posterior: Sequence[tuple[str, float]],
    backers: Mapping[str, int],
    settings: LabelSettings,
) -> Label:
    """Label one formulation.

    Args:
        tally: its votes.
        posterior: probabilities of intents (`mining.intent_posterior`).
        backers: by intent, the distinct users behind it, its near wordings' users counted in.

    Returns:
        The label; status accepted, contested (no intent reaches `min_posterior`) or too_few_users (fewer than
        `vote_floor` distinct users behind the intent). Its slots are open unless `labels.slots` is projection.

    Cost: O(votes) time and memory.
    """
    ranked = sorted(posterior, key=lambda pair: (-pair[1], pair[0]))
    own_users = {user for users in tally.support.values() for user, support in users.items() if support >= COUNTED}
    sources = [
        (source, intent, sum(s >= COUNTED for s in users.values()), round(sum(users.values()), 6))
        for (source, intent), users in sorted(tally.support.items())
    ]
    label = Label(
        member.formulation_id, member.utterance, "contested", "nothing speaks for an intent",
        ranked, None, None, 0, len(own_users), member.events, sources, [],
    )  # fmt: skip
    if not ranked:
        return label
    intent, best = ranked[0]
    label.users = backers.get(intent, 0)
    label.pair_ids = sorted(tally.pairs.get(intent, []))[:50]
    if best < settings.min_posterior:
        second = f", {ranked[1][0]} has {ranked[1][1]:.2f}" if len(ranked) > 1 else ""
        label.why = f"{intent} has {best:.2f}, under {settings.min_posterior}{second}"
    elif label.users < settings.vote_floor:
        label.status = "too_few_users"
        label.why = f"{label.users} distinct users of it and of near wordings are behind {intent}, "
        label.why += f"under {settings.vote_floor}"
    else:
        label.status = "accepted"
        label.why = f"{intent} has {best:.2f}, and {label.users} users of it and of near wordings behind it"
        if settings.slots == "projection":
            label.slots, label.slot_posterior = _spans(member.utterance, intent, tally, settings.min_slot_posterior)
    return label


def _spans(utterance: str, intent: str, tally: Tally, least: float) -> tuple[tuple[Slot, ...] | None, float | None]:
    """The spans with the most votes among those for `intent`, or None where they stay open."""
    weight: dict[tuple[Slot, ...] | None, float] = defaultdict(float)
    agreement = tally.agreement(intent)
    for (voted, values), voters in sorted(tally.spans.items()):
        if voted != intent:
            continue
        spans = project(values, utterance)
        for (_, source), support in sorted(voters.items()):
            weight[spans] += support * (agreement if source == "own" else 1.0)
    mass = sum(weight.values())
    known = {spans: votes for spans, votes in weight.items() if spans is not None}
    if not known or mass <= 1e-12:
        return None, None
    best = max(known, key=lambda spans: (round(known[spans], 9), json.dumps([vars(s) for s in spans])))
    share = round(known[best] / mass, 9)
    return (best, share) if share >= least else (None, share)
