"""Which slot types an utterance of an intent has: from annotated utterances of any language, or from what a model
tagged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from mining.slot_evidence import Sighting


def allowed_slots(signatures: Iterable[tuple[str, Iterable[str]]], least: float = 0.005) -> dict[str, dict[str, float]]:
    """How often each slot type occurs in an utterance of each intent.

    Args:
        signatures: (intent, slot types) of annotated utterances, of any language.
        least: rate below which a type counts as an annotator's slip, in intents of which enough is known.
    """
    seen: dict[str, int] = defaultdict(int)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for intent, names in signatures:
        seen[intent] += 1
        for name in names:
            counts[intent][name] += 1
    return {
        intent: {name: n / seen[intent] for name, n in sorted(counts[intent].items()) if n >= least * seen[intent]}
        for intent in sorted(seen)
    }


def rarely_bare(signatures: Iterable[tuple[str, Iterable[str]]]) -> frozenset[str]:
    """Intents less than half of whose annotated utterances, of any language, are without a slot.

    For them "no slot here" is no finding: it is right in half of the cases, and would teach a tagger to be silent.
    """
    seen: dict[str, int] = defaultdict(int)
    bare: dict[str, int] = defaultdict(int)
    for intent, names in signatures:
        seen[intent] += 1
        bare[intent] += not list(names)
    return frozenset(intent for intent, n in seen.items() if bare[intent] < 0.5 * n)


def heard_slots(sightings: Iterable[Sighting]) -> dict[str, dict[str, float]]:
    """As `allowed_slots`, from what a model tagged: for intents of which nothing is annotated."""
    heard = [
        (s.intent, [tag[2:] for tag in tagging.tags if tag is not None and tag[:1] == "B"])
        for s in sightings
        for tagging in s.taggings
        if tagging.source != "other"
    ]
    return allowed_slots(heard)
