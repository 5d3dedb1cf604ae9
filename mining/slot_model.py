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

import numpy as np
from numpy.typing import NDArray

from mining.hidden_markov import backward, best, forward
from mining.served_answers import TRUST, Answer, Trust, fit_trust, hear, heard, of_answers
from mining.slot_evidence import Sighting, Tags
from mining.slot_rates import FLOOR, LEVELS, Counts, Priors, Rates

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_TEMPER = 0.6  # exponent of what sources say: their errors go together
_SURE = 0.8  # posterior from which a token teaches its slot type a word: EM drifts into common words otherwise
_COMMON = 0.002  # share of the tokens above which a word is common


@dataclass
class _Batch:
    """Formulations of one intent. B of them, L tokens, K states."""

    rows: list[int]
    words: Ints  # (B, L)
    mask: NDArray[np.bool_]
    states: Ints  # (K,): rows of `Rates.words`
    slots: Ints  # allowed types


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

    def decode(self, sightings: Sequence[Sighting]) -> list[tuple[Tags, float]]:
        """The most probable tags of each formulation and their posterior, in order.

        Formulations of an intent that the model does not know have the tags O and the posterior 0.

        Cost: O(tokens x states^2) time; memory of one intent's formulations.
        """
        found: list[tuple[Tags, float]] = [(("O",) * len(s.tokens), 0.0) for s in sightings]
        for batch in _batches(self, sightings):
            emitted = _emissions(self, sightings, batch)
            moves = _moves(self, batch, sightings[batch.rows[0]].intent)
            names = self._names(batch)
            total = forward(emitted, moves, batch.mask)[1]
            served = _served(sightings, batch, names, emitted, moves, total, self.trust)
            # Of so many paths one at least is nobody's answer.
            paths, scores = best(emitted, moves, batch.mask, 1 + max(map(len, served)))
            for b, row in enumerate(batch.rows):
                n = len(sightings[row].tokens)
                found_here = zip(paths[b], scores[b], strict=True)  # fewer than asked for where there are fewer
                share = {tuple(p[:n].tolist()): np.exp(s - total[b]) for p, s in found_here if np.isfinite(s)}
                posterior = heard(share, served[b], self.trust)
                path = max(posterior, key=lambda p: (round(posterior[p], 9), p))
                found[row] = tuple(names[k] for k in path), posterior[path]
        return found

    def _names(self, batch: _Batch) -> list[str]:
        return ["O", *(f"{p}-{self.types[s]}" for s in batch.slots for p in "BI")]


def fit_slots(
    sightings: Sequence[Sighting],
    rates: Mapping[str, Mapping[str, float]],
    fillers: Iterable[tuple[str, Sequence[str], float]] = (),
    *,
    iterations: int = 1,
) -> SlotModel:
    """Fit the model.

    Args:
        sightings: formulations of one language, annotated ones among them or none.
        rates: for each intent the allowed slot types and how many of each an utterance has (`mining.slot_types`).
        fillers: (slot type, words, weight) known from elsewhere: answers to clarifications, values of another
            language's gold that are spelt alike.
        iterations: of EM. One is best by measurement: unannotated, the likelihood rises further by calling frequent
            carriers fillers.

    Returns:
        The model of the last iteration.

    Cost: O(iterations x tokens x states^2) time: 4,500 formulations take about 1.5 s on one core; memory
    8 (1 + 4 S) V bytes for S slot types and V words.
    """
    known = list(fillers)
    spoken = sorted({w for s in sightings for w in s.tokens})
    vocabulary = {word: i for i, word in enumerate(spoken, start=1)}
    types = tuple(sorted({t for allowed in rates.values() for t in allowed}))
    place = {name: i for i, name in enumerate(types)}
    intents = {name: i for i, name in enumerate(sorted(rates))}
    allowed = {name: tuple(place[t] for t in sorted(rates[name])) for name in intents}
    spoken_counts = np.zeros(len(vocabulary) + 1)
    for s in sightings:
        for w in s.tokens:
            spoken_counts[vocabulary[w]] += s.weight
    common = spoken_counts > _COMMON * spoken_counts.sum()
    q = (spoken_counts + 0.5) / (spoken_counts + 0.5).sum()
    base = Priors(vocabulary, place, intents, rates, q, known, _mean_length(sightings))
    model = SlotModel(vocabulary, types, intents, allowed, common, base.rates(Counts.empty(base)))
    batches = list(_batches(model, sightings))
    for _ in range(iterations):
        counts = Counts.empty(base)
        for batch in batches:
            _expect(model, sightings, batch, counts)
        model.rates = base.rates(counts)
        model.trust = fit_trust([a for batch in batches for a in _answers(model, sightings, batch)])
    return model


def _mean_length(sightings: Sequence[Sighting]) -> float:
    lengths = [len(s.tokens) for s in sightings]
    return max(1.0, float(np.mean(lengths))) if lengths else 1.0


def _batches(model: SlotModel, sightings: Sequence[Sighting]) -> Iterable[_Batch]:
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
        yield _Batch(rows, words, mask, states, slots)


def _levels(counts: Sequence[int]) -> Ints:
    return np.searchsorted(np.array(LEVELS), np.array(counts, np.int64), side="left")


def _relations(sighting: Sighting, names: Sequence[str]) -> Iterable[tuple[str, float, list[tuple[int, int]]]]:
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


def _emissions(model: SlotModel, sightings: Sequence[Sighting], batch: _Batch) -> Floats:
    """Log-likelihood of everything observed at each token under each state, (B, L, K)."""
    rates, names = model.rates, model._names(batch)
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
            level = _levels(s.substituted)
            emitted[b, :n] += _TEMPER * level_log[of_class][:, level].T
        for source, weight, told in _relations(s, names):
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


def _served(
    sightings: Sequence[Sighting],
    batch: _Batch,
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
        found.append(of_answers(told, emitted[b], moves[b], float(total[b]), trust))
    return found


def _answers(model: SlotModel, sightings: Sequence[Sighting], batch: _Batch) -> list[Answer]:
    emitted, moves = _emissions(model, sightings, batch), _moves(model, batch, sightings[batch.rows[0]].intent)
    total = forward(emitted, moves, batch.mask)[1]
    served = _served(sightings, batch, model._names(batch), emitted, moves, total, model.trust)
    return [answer for answers in served for answer in answers]


def _moves(model: SlotModel, batch: _Batch, intent: str) -> Floats:
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


def _expect(model: SlotModel, sightings: Sequence[Sighting], batch: _Batch, counts: Counts) -> None:
    """Add the expected counts of one intent's formulations."""
    intent = sightings[batch.rows[0]].intent
    a, slots, names = model.intents[intent], batch.slots, model._names(batch)
    emitted, moves = _emissions(model, sightings, batch), _moves(model, batch, intent)
    ahead, total = forward(emitted, moves, batch.mask)
    behind, likely = backward(emitted, moves, batch.mask)
    served = _served(sightings, batch, names, emitted, moves, total, model.trust)
    weight = np.array([sightings[i].weight for i in batch.rows])
    scale = weight[:, None] * batch.mask
    gamma = ahead * behind
    gamma /= np.maximum(gamma.sum(-1, keepdims=True), 1e-300)
    for b, answers in enumerate(served):
        hear(answers, gamma[b], lambda path: (np.arange(len(path)), path))
    weighted = gamma * scale[..., None]
    flat = batch.words.ravel()
    sharp = np.where(gamma >= _SURE, gamma, 0.0) * scale[..., None]
    for j, state in enumerate(batch.states):
        np.add.at(counts.words[state], flat, (sharp if j else weighted)[..., j].ravel())
    np.add.at(counts.carriers[a], flat, weighted[..., 0].ravel())
    # What moved: xi (B, L - 1, K, K), and the first token's openings.
    if len(slots):
        xi = ahead[:, :-1, :, None] * moves[:, 1:] * (likely * behind)[:, 1:, None, :]
        xi /= np.maximum(xi.sum((-1, -2), keepdims=True), 1e-300)
        for b, answers in enumerate(served):
            hear(answers, xi[b], lambda path: (np.arange(len(path) - 1), path[:-1], path[1:]))
        xi *= scale[:, 1:, None, None]
        counts.opens[a][slots] += weighted[:, 0, 1::2].sum(0) + xi[:, :, :, 1::2].sum((0, 1, 2))
        counts.could_open[a] += weighted[:, 0].sum() + xi.sum() - xi[:, :, :, 2::2].sum()
        before = batch.words[:, :-1].ravel()
        opened = xi[:, :, 0, 1::2].reshape(-1, len(slots))
        np.add.at(counts.could_open_after, before, xi[:, :, 0].sum(-1).ravel())
        for j, s in enumerate(slots):
            np.add.at(counts.opens_after[:, s], before, opened[:, j])
            inside = slice(1 + 2 * j, 3 + 2 * j)
            on = xi[:, :, inside, 2 + 2 * j].sum(-1)
            left = xi[:, :, inside].sum((-1, -2)) - on
            counts.goes_on[s] += on.sum()
            counts.ends[s] += left.sum()
            np.add.at(counts.goes_on_after[:, s], before, on.ravel())
            np.add.at(counts.ends_after[:, s], before, left.ravel())
    for b, i in enumerate(batch.rows):
        _expect_observed(model, sightings[i], gamma[b], batch.words[b], names, counts)


def _expect_observed(
    model: SlotModel, s: Sighting, gamma: Floats, words: Ints, names: Sequence[str], counts: Counts
) -> None:
    n = len(s.tokens)
    filler = 1 - gamma[:n, 0]
    if s.partners > 0:
        shared, is_common = np.array(s.kept), model.common[words[:n]].astype(int)
        for c, share in ((0, filler), (1, gamma[:n, 0])):
            np.add.at(counts.kept[c, :, 0], is_common, s.weight * share * shared)
            np.add.at(counts.kept[c, :, 1], is_common, s.weight * share * (s.partners - shared))
    if s.substituted:
        level = _levels(s.substituted)
        np.add.at(counts.substituted[0], level, s.weight * filler)
        np.add.at(counts.substituted[1], level, s.weight * gamma[:n, 0])
    for source, weight, told in _relations(s, names):
        right = kind = silent = other = said_carrier = not_carrier = 0.0
        for i, said in told:
            if said == 0:
                silent += filler[i]
                said_carrier += gamma[i, 0]
                continue
            not_carrier += gamma[i, 0]
            here, near = (gamma[i, said], gamma[i, said + 1 if said % 2 else said - 1]) if said > 0 else (0.0, 0.0)
            right, kind, other = right + here, kind + near, other + max(filler[i] - here - near, 0.0)
        w = s.weight * weight
        counts.filler[source] += w * np.array([right, kind, silent, other])
        counts.carrier[source] += w * np.array([said_carrier, not_carrier])
