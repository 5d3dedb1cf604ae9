"""Fitting the model of slot spans (`mining.slot_model`) by expectation-maximisation: from what is observed of the
formulations of one language to rates.

Left to itself EM explains unannotated words as carriers, and finds half of the values that there are. But how many of
each type an utterance of an intent has is known from annotated utterances of any language, and a wish does not change
with the language it is said in. So before words are counted, and at the end, the chances that slots open are moved
until the expected number of each type is the known one.

Sources: Dempster et al. 1977; for hidden Markov models Rabiner 1989; Mann & McCallum 2010, "Generalized Expectation
Criteria for Semi-Supervised Learning with Weakly Labeled Data", and Ganchev et al. 2010, "Posterior Regularization for
Structured Latent Variable Models" (expectations of a posterior held to what is known of them).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mining.hidden_markov import backward, forward
from mining.served_answers import Answer, Trust, fit_trust, hear
from mining.slot_evidence import Sighting
from mining.slot_model import (
    Floats,
    IntentBatch,
    Ints,
    SlotModel,
    answers_told,
    emissions,
    intent_batches,
    levels,
    marginals,
    relations,
    transitions,
)
from mining.slot_rates import Counts, Priors

_SURE = 0.8  # posterior from which a token teaches its slot type a word: EM drifts into common words otherwise
_COMMON = 0.002  # share of the tokens above which a word is common
_BEFORE, _AFTER = 2, 4  # times that openings are moved before words are counted, and at the end
_SLACK = 2.0  # slots of a type in an intent by which few say little
_OPENS = 1e-5, 0.5  # chance that a slot opens at a token


def fit_slots(
    sightings: Sequence[Sighting],
    rates: Mapping[str, Mapping[str, float]],
    fillers: Iterable[tuple[str, Sequence[str], float]] = (),
    *,
    held: Mapping[str, Mapping[str, float]] | None = None,
    iterations: int = 2,
) -> SlotModel:
    """Fit the model.

    Args:
        sightings: formulations of one language, annotated ones among them or none.
        rates: for each intent the allowed slot types and how many of each an utterance has (`mining.slot_types`).
        fillers: (slot type, words, weight) known from elsewhere: answers to clarifications, values of another
            language's gold that are spelt alike.
        held: those of `rates` that are known, not guessed, to which the expected number of slots is held; all by
            default.
        iterations: of EM. Two are best by measurement: more find more values and are surer than right.

    Returns:
        The model of the last iteration.

    Cost: O(iterations x tokens x states^2) time: 15,000 formulations take about 40 s on one core; memory
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
    batches = list(intent_batches(model, sightings))
    known_openings = _known_openings(model, sightings, rates if held is None else held)

    def emitted() -> list[Floats]:  # of each batch, under the model's rates; what opens does not change them
        return [emissions(model, sightings, batch) for batch in batches]

    def trusted() -> Trust:
        each = zip(batches, likely, strict=True)
        return fit_trust([a for batch, of_batch in each for a in _answers(model, sightings, batch, of_batch)])

    likely = emitted()
    for _ in range(iterations):
        _hold_openings(model, sightings, batches, likely, known_openings, _BEFORE)
        counts = Counts.empty(base)
        for batch, of_batch in zip(batches, likely, strict=True):
            _expect(model, sightings, batch, of_batch, counts)
        model.rates = base.rates(counts)
        likely = emitted()
        model.trust = trusted()
    _hold_openings(model, sightings, batches, likely, known_openings, _AFTER)
    model.trust = trusted()
    return model


def _known_openings(
    model: SlotModel, sightings: Sequence[Sighting], rates: Mapping[str, Mapping[str, float]]
) -> Floats:
    """How many slots of each type the formulations of each intent have, (A, S); NaN in intents without a rate."""
    place = {name: i for i, name in enumerate(model.types)}
    said = defaultdict[str, float](float)
    for s in sightings:
        said[s.intent] += s.weight
    known = np.full((len(model.intents), len(place)), np.nan)
    for intent in rates.keys() & model.intents.keys():
        known[model.intents[intent]] = 0.0
        for name, rate in rates[intent].items():
            known[model.intents[intent], place[name]] = said[intent] * rate
    return known


def _hold_openings(
    model: SlotModel,
    sightings: Sequence[Sighting],
    batches: Sequence[IntentBatch],
    emitted: Sequence[Floats],
    known: Floats,
    times: int,
) -> None:
    """Move the chances that slots open towards those at which as many are expected as are known, so many times."""
    weights = [np.array([sightings[i].weight for i in batch.rows]) for batch in batches]
    for _ in range(times):
        expected = np.zeros_like(known)
        for batch, weight, likely in zip(batches, weights, emitted, strict=True):
            intent = sightings[batch.rows[0]].intent
            moves = transitions(model, batch, intent)
            ahead, total = forward(likely, moves, batch.mask)
            served = answers_told(sightings, batch, model.names(batch), likely, moves, total, model.trust)
            gamma = marginals(ahead, backward(likely, moves, batch.mask)[0], served)
            scale = weight[:, None] * batch.mask
            expected[model.intents[intent], batch.slots] += np.einsum("bl,bls->s", scale, gamma[..., 1::2])
        moved = model.rates.opens * (known + _SLACK) / (expected + _SLACK)
        model.rates.opens = np.where(np.isnan(known), model.rates.opens, np.clip(moved, *_OPENS))


def _mean_length(sightings: Sequence[Sighting]) -> float:
    lengths = [len(s.tokens) for s in sightings]
    return max(1.0, float(np.mean(lengths))) if lengths else 1.0


def _answers(model: SlotModel, sightings: Sequence[Sighting], batch: IntentBatch, emitted: Floats) -> list[Answer]:
    moves = transitions(model, batch, sightings[batch.rows[0]].intent)
    total = forward(emitted, moves, batch.mask)[1]
    served = answers_told(sightings, batch, model.names(batch), emitted, moves, total, model.trust)
    return [answer for answers in served for answer in answers]


def _expect(
    model: SlotModel, sightings: Sequence[Sighting], batch: IntentBatch, emitted: Floats, counts: Counts
) -> None:
    """Add the expected counts of one intent's formulations."""
    intent = sightings[batch.rows[0]].intent
    a, slots, names = model.intents[intent], batch.slots, model.names(batch)
    moves = transitions(model, batch, intent)
    ahead, total = forward(emitted, moves, batch.mask)
    behind, likely = backward(emitted, moves, batch.mask)
    served = answers_told(sightings, batch, names, emitted, moves, total, model.trust)
    weight = np.array([sightings[i].weight for i in batch.rows])
    scale = weight[:, None] * batch.mask
    gamma = marginals(ahead, behind, served)
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
        level = levels(s.substituted)
        np.add.at(counts.substituted[0], level, s.weight * filler)
        np.add.at(counts.substituted[1], level, s.weight * gamma[:n, 0])
    for source, weight, told in relations(s, names):
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
