"""Votes of users become soft labels: one vote a user, shrunk towards the cluster, floored by users.

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

_UNKNOWN = 0.5  # votes for "something else", so that a single vote is no certainty
_COUNTED = 0.3  # support of a user's vote from which the user counts towards the floor


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
    """A formulation of the cluster: its id, its most frequent spelling as logged, how often it was spoken."""

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
class _Tally:
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

    def weights(self) -> dict[str, float]:
        """Votes by intent, one a user: all models that answered descend from one, so what a user accepted of one and
        got from another counts as the better of the two, not as their sum. Own votes are discounted by how many users
        of the wording rejected the interpretation."""
        best: dict[str, dict[str, float]] = defaultdict(dict)
        for (source, intent), users in self.support.items():
            believed, mine = self.agreement(intent) if source == "own" else 1.0, best[intent]
            for user, support in users.items():
                mine[user] = max(mine.get(user, 0.0), support * believed)
        return {intent: sum(users.values()) for intent, users in best.items()}


def label_cluster(members: Sequence[Member], evidence: Iterable[Evidence], settings: LabelSettings) -> list[Label]:
    """Label every member of one cluster.

    The posterior of intent I for a formulation is (own_I + k q_I) / (own + k + 0.5): its own votes, shrunk towards
    the distribution q of its mates' votes with at most k = `mate_votes` votes in all (a Dirichlet prior).

    Returns:
        One label a member, in the order of `members`; status accepted, contested (no intent reaches
        `min_posterior`) or too_few_users (fewer than `vote_floor` distinct users behind the intent in the cluster).

    Cost: O(evidence) time and memory.
    """
    tallies: dict[str, _Tally] = {member.formulation_id: _Tally() for member in members}
    for item in evidence:
        tallies[item.formulation_id].add(item)
    own = {name: tally.weights() for name, tally in tallies.items()}
    total: dict[str, float] = defaultdict(float)
    voters: dict[str, set[str]] = defaultdict(set)
    for name in sorted(tallies):
        for intent, weight in own[name].items():
            total[intent] += weight
        for (_, intent), users in tallies[name].support.items():
            voters[intent].update(user for user, support in users.items() if support >= _COUNTED)
    return [_label(member, tallies[member.formulation_id], own[member.formulation_id], total, voters, settings)
            for member in members]  # fmt: skip


def _label(
    member: Member,
    tally: _Tally,
    own: Mapping[str, float],
    total: Mapping[str, float],
    voters: Mapping[str, set[str]],
    settings: LabelSettings,
) -> Label:
    mates = {intent: max(weight - own.get(intent, 0.0), 0.0) for intent, weight in total.items()}
    mass = sum(mates.values())
    strength = min(settings.mate_votes, mass)
    scale = sum(own.values()) + strength + _UNKNOWN
    posterior = {
        intent: (own.get(intent, 0.0) + (strength * mates[intent] / mass if mass > 1e-12 else 0.0)) / scale
        for intent in total
    }
    ranked = sorted(((intent, round(p, 9)) for intent, p in posterior.items()), key=lambda pair: (-pair[1], pair[0]))
    ranked = [(intent, p) for intent, p in ranked if p > 0]
    own_users = {user for users in tally.support.values() for user, support in users.items() if support >= _COUNTED}
    sources = [
        (source, intent, sum(s >= _COUNTED for s in users.values()), round(sum(users.values()), 6))
        for (source, intent), users in sorted(tally.support.items())
    ]
    label = Label(
        member.formulation_id, member.utterance, "contested", "nobody's turn or rephrase votes for an intent",
        ranked, None, None, 0, len(own_users), member.events, sources, [],
    )  # fmt: skip
    if not ranked:
        return label
    intent, best = ranked[0]
    label.users = len(voters[intent])
    label.pair_ids = sorted(tally.pairs.get(intent, []))[:50]
    if best < settings.min_posterior:
        second = f", {ranked[1][0]} has {ranked[1][1]:.2f}" if len(ranked) > 1 else ""
        label.why = f"{intent} has {best:.2f} of the votes, under {settings.min_posterior}{second}"
    elif label.users < settings.vote_floor:
        label.status = "too_few_users"
        label.why = f"{label.users} distinct users behind {intent} in its cluster, under {settings.vote_floor}"
    else:
        label.status = "accepted"
        label.why = f"{intent} has {best:.2f} of the votes of {label.users} users"
        label.slots, label.slot_posterior = _spans(member.utterance, intent, tally, settings.min_slot_posterior)
    return label


def _spans(utterance: str, intent: str, tally: _Tally, least: float) -> tuple[tuple[Slot, ...] | None, float | None]:
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
