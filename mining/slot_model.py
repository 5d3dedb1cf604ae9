"""Slot spans from many weak sources: a hidden Markov model over slot tags whose observations are the words and what
each source says of them, fitted by expectation-maximisation.

The tags of a formulation follow a Markov chain that knows which slot types its intent allows and after which words
they open and end. Given the tags, the words, the kept and substituted counts and the taggings of each source are
independent; each source has a confusion matrix of its own, coarse enough to be learnt from little: right, right type
but wrong boundary, missed, wrong type, invented. What users did with a whole answer speaks for or against that one
sequence of tags (`mining.served_answers`). Fillers that recur are typed jointly, since all formulations share
the words of a slot type. Annotated formulations are observed, and anchor the rest.

Source: Nguyen et al. 2017, "Aggregating and Predicting Sequence Labels from Crowd Annotations" (HMM-crowd); words of
unseen kinds after Witten and Bell 1991; EM after Dempster et al. 1977.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mining.hidden_markov import backward, best, forward
from mining.served_answers import TRUST, Answer, Trust, hear, heard, of_answers
from mining.slot_evidence import Sighting, Tags
from mining.slot_rates import FLOOR, LEVELS, Rates

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_TEMPER = 0.6  # exponent of what sources say: their errors go together


@dataclass
class IntentBatch:
    """Formulations of one intent. B of them, L tokens, K states."""

    rows: list[int]
    words: Ints  # (B, L)
    mask: NDArray[np.bool_]
    states: Ints  # (K,): rows of `Rates.words`
    slots: Ints  # allowed types


class Decoded(NamedTuple):
    """What a model makes of one formulation.

    Args:
        tags: the most probable ones.
        posterior: that all of them are right.
        likely: for each token the fewest tags that hold the level asked for, likeliest first, and that of `tags`, so
            that some sequence is made of them; none where that takes all tags that the intent allows.
    """

    tags: Tags
    posterior: float
    likely: tuple[tuple[str, ...], ...]


@dataclass
class SlotModel:
    """A fitted model; `decode` labels formulations, also such as it has not seen."""

    vocabulary: Mapping[str, int]
    types: tuple[str, ...]
    intents: Mapping[str, int]
    allowed: Mapping[str, tuple[int, ...]]
    common: NDArray[np.bool_]
    rates: Rates = field(repr=False)
    trust: Trust = TRUST

    def decode(self, sightings: Sequence[Sighting], level: float = 0.9) -> list[Decoded]:
        """The most probable tags of each formulation and their posterior, in order, and what is settled token by token.

        Formulations of an intent that the model does not know have the tags O, the posterior 0 and nothing settled.

        Args:
            level: probability that the likely tags of a token hold together, in (0, 1). The model is as much too sure
                of tokens as it is of whole answers (the slope of `trust`).

        Cost: O(tokens x states^2) time; memory of one intent's formulations.
        """
        found = [Decoded(("O",) * len(s.tokens), 0.0, ((),) * len(s.tokens)) for s in sightings]
        asked = 1 / (1 + ((1 - level) / level) ** (1 / self.trust.slope))
        for batch in intent_batches(self, sightings):
            emitted = emissions(self, sightings, batch)
            moves = transitions(self, batch, sightings[batch.rows[0]].intent)
            names = self.names(batch)
            ahead, total = forward(emitted, moves, batch.mask)
            served = answers_told(sightings, batch, names, emitted, moves, total, self.trust)
            gamma = marginals(ahead, backward(emitted, moves, batch.mask)[0], served)
            # Of so many paths one at least is nobody's answer.
            paths, scores = best(emitted, moves, batch.mask, 1 + max(map(len, served)))
            for b, row in enumerate(batch.rows):
                n = len(sightings[row].tokens)
                found_here = zip(paths[b], scores[b], strict=True)  # fewer than asked for where there are fewer
                share = {tuple(p[:n].tolist()): np.exp(s - total[b]) for p, s in found_here if np.isfinite(s)}
                posterior = heard(share, served[b], self.trust)
                path = max(posterior, key=lambda p: (round(posterior[p], 9), p))
                likely = tuple(tuple(names[k] for k in states) for states in _likely(gamma[b, :n], path, asked))
                found[row] = Decoded(tuple(names[k] for k in path), posterior[path], likely)
        return found

    def names(self, batch: IntentBatch) -> list[str]:
        """The tags that the K states of a batch are."""
        return ["O", *(f"{p}-{self.types[s]}" for s in batch.slots for p in "BI")]


def intent_batches(model: SlotModel, sightings: Sequence[Sighting]) -> Iterable[IntentBatch]:
    """The formulations of each intent that the model knows, in order of the intents; those without a token left out."""
    by_intent: dict[str, list[int]] = defaultdict(list)
    for i, s in enumerate(sightings):
        if s.tokens and s.intent in model.allowed:
            by_intent[s.intent].append(i)
    for intent in sorted(by_intent):
        rows = by_intent[intent]
        length = max(len(sightings[i].tokens) for i in rows)
        words = np.zeros((len(rows), length), np.int64)
        mask = np.zeros((len(rows), length), bool)
        for b, i in enumerate(rows):
            coded = [model.vocabulary.get(w, 0) for w in sightings[i].tokens]
            words[b, : len(coded)] = coded
            mask[b, : len(coded)] = True
        slots = np.array(model.allowed[intent], np.int64)
        states = np.array([0, *(1 + 2 * s + k for s in slots for k in (0, 1))], np.int64)
        yield IntentBatch(rows, words, mask, states, slots)


def levels(counts: Sequence[int]) -> Ints:
    """The level of `mining.slot_rates` that each number of other fillers has."""
    return np.searchsorted(np.array(LEVELS), np.array(counts, np.int64), side="left")


def relations(sighting: Sighting, names: Sequence[str]) -> Iterable[tuple[str, float, list[tuple[int, int]]]]:
    """Each tagging as (source, weight, [(token, state it names; -1 for a type that the intent does not allow)])."""
    index = {name: k for k, name in enumerate(names)}
    for tagging in sighting.taggings:
        told = [(i, index.get(tag, -1)) for i, tag in enumerate(tagging.tags) if tag is not None]
        if told and tagging.weight > 0:
            yield tagging.source, tagging.weight, told


def _relation(states: int) -> Ints:
    """How a tag that was told relates to each state, (K + 1, K): row by the state it names, the last one a type that
    is not allowed; 0 right, 1 right type, 2 nothing told, 3 other type."""
    found = np.full((states + 1, states), 3, np.int64)
    found[0] = 2
    for said in range(1, states):
        found[said, said] = 0
        found[said, said + 1 if said % 2 else said - 1] = 1
    return found


def _told_log(rates: Rates, source: str, states: int) -> Floats:
    """Log-likelihood of what a source told of a token, (K + 1, K): rows as `_relation`'s, columns the states."""
    spread = np.array([1.0, 1.0, 1.0, 1.0 / max(states - 3, 1)])
    table = np.log(np.maximum(rates.filler[source] * spread, FLOOR))[_relation(states)]
    silent = rates.carrier[source]
    table[:, 0] = np.log((1 - silent) / max(states - 1, 1))
    table[0, 0] = np.log(silent)
    return np.asarray(table)


def emissions(model: SlotModel, sightings: Sequence[Sighting], batch: IntentBatch) -> Floats:
    """Log-likelihood of everything observed at each token under each state, (B, L, K)."""
    rates, names = model.rates, model.names(batch)
    states, k = batch.states, len(batch.states)
    a = model.intents[sightings[batch.rows[0]].intent]
    emitted = np.log(rates.words[states][:, batch.words] + FLOOR).transpose(1, 2, 0)
    emitted[..., 0] = np.log(rates.carriers[a][batch.words] + FLOOR)
    kept_log, lost_log = np.log(rates.kept), np.log1p(-rates.kept)
    level_log = np.log(rates.substituted)
    of_class = np.array([1, *([0] * (k - 1))])  # 1 carrier, 0 filler
    logs: dict[str, Floats] = {}
    for b, i in enumerate(batch.rows):
        s = sightings[i]
        n = len(s.tokens)
        if s.partners > 0:
            shared = np.array(s.kept)
            is_common = model.common[batch.words[b, :n]].astype(int)
            for c in (0, 1):
                gain = kept_log[c, is_common] * shared + lost_log[c, is_common] * (s.partners - shared)
                emitted[b, :n, of_class == c] += _TEMPER * gain
        if s.substituted:
            level = levels(s.substituted)
            emitted[b, :n] += _TEMPER * level_log[of_class][:, level].T
        for source, weight, told in relations(s, names):
            if source not in logs:
                logs[source] = _told_log(rates, source, k)
            tokens, said = zip(*told, strict=True)
            emitted[b, list(tokens)] += _TEMPER * weight * logs[source][list(said)]
        if s.gold is not None:
            index = {name: j for j, name in enumerate(names)}
            for i_token, tag in enumerate(s.gold):
                if tag is not None and tag in index:
                    sure = np.full(k, -1e3)
                    sure[index[tag]] = 0.0
                    emitted[b, i_token] += sure
    return emitted


def answers_told(
    sightings: Sequence[Sighting],
    batch: IntentBatch,
    names: Sequence[str],
    emitted: Floats,
    moves: Floats,
    total: Floats,
    trust: Trust,
) -> list[list[Answer]]:
    """The answers of each formulation of a batch, but for those with a type that the intent does not allow."""
    index = {name: k for k, name in enumerate(names)}
    found = []
    for b, row in enumerate(batch.rows):
        told = [
            (np.array([index[str(tag)] for tag in tags], np.int64), bits)
            for tags, bits in sightings[row].served
            if all(tag in index for tag in tags)
        ]
        found.append(of_answers(told, emitted[b], moves[b], float(total[b]), trust, sightings[row].believed))
    return found


def transitions(model: SlotModel, batch: IntentBatch, intent: str) -> Floats:
    """Transition probabilities into each token, (B, L, K, K); into the first token only row 0 counts."""
    rates, a, slots = model.rates, model.intents[intent], batch.slots
    k = len(batch.states)
    b, length = batch.words.shape
    moves = np.zeros((b, length, k, k))
    previous = np.concatenate([np.zeros((b, 1), np.int64), batch.words[:, :-1]], 1)
    opens = rates.opens[a, slots]
    relative = np.ones((b, length, len(slots)))
    relative[:, 1:] = rates.opens_after[previous[:, 1:]][..., slots]
    fresh = np.clip(opens * relative, 1e-5, 0.9)
    fresh /= np.maximum(1.0, fresh.sum(-1, keepdims=True) / 0.95)
    closed = 1 - fresh.sum(-1)
    moves[..., 0, 0] = closed
    moves[..., 0, 1::2] = fresh
    again = np.clip(np.broadcast_to(opens, fresh.shape), 1e-5, 0.9)
    rest = 1 - again.sum(-1)
    for j, s in enumerate(slots):
        on = np.clip(rates.goes_on_after[previous, s], 0.01, 0.99)
        for k_from in (1 + 2 * j, 2 + 2 * j):
            moves[..., k_from, 2 + 2 * j] = on
            moves[..., k_from, 0] = (1 - on) * np.maximum(rest, 0.05)
            moves[..., k_from, 1::2] += (1 - on)[..., None] * again
    return moves


def marginals(ahead: Floats, behind: Floats, served: Sequence[Sequence[Answer]]) -> Floats:
    """Probability of each state at each token, (B, L, K), once users are heard."""
    gamma = ahead * behind
    gamma /= np.maximum(gamma.sum(-1, keepdims=True), 1e-300)
    for b, answers in enumerate(served):
        hear(answers, gamma[b], lambda path: (np.arange(len(path)), path))
    return gamma


def _likely(gamma: Floats, path: Sequence[int], level: float) -> list[list[int]]:
    """For each token (L, K) the fewest states that hold `level`, likeliest first, and the path's; none where it takes
    all."""
    share = np.round(gamma, 9)
    order = np.argsort(-share, axis=-1, kind="stable")
    held = np.take_along_axis(share, order, -1).cumsum(-1)
    many = 1 + (held < level - 1e-9).sum(-1)
    found = []
    for ranked, m, best_ in zip(order.tolist(), many.tolist(), path, strict=True):
        states = ranked[:m] if best_ in ranked[:m] else [*ranked[:m], best_]
        found.append(states if len(states) < len(ranked) else [])
    return found
