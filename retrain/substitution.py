"""Other fillers in the place of an utterance's values ("wake me at seven" becomes "wake me at noon"), anew each epoch.

Mention replacement after Dai and Adel 2020, "An Analysis of Simple Data Augmentation for Named Entity Recognition".
The carrier stays, so the tagger sees more fillers of a slot than the few that were annotated in each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np

from retrain.data import Example
from schemas.predictor import Slot

Fillers = Mapping[tuple[str, str], list[str]]  # values of (locale, slot type), as often as they occur


def fillers_of(examples: Iterable[Example]) -> Fillers:
    """The values of annotated slots; mined ones are wrong too often to be spread. O(examples)."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for e in examples:
        if e.source == "gold":
            for slot in e.slots or ():
                found[e.locale, slot.name].append(slot.value)
    return {key: sorted(values) for key, values in found.items()}


def substituted(example: Example, fillers: Fillers, share: float, random: np.random.Generator) -> Example:
    """The example with each value replaced, with probability `share`, by a known filler of its slot and locale.

    Spans that overlap stay as they are. O(length).
    """
    ordered = sorted(example.slots or (), key=lambda s: s.start)
    if not ordered or any(later.start < slot.end for slot, later in pairwise(ordered)):
        return example
    text, end, slots = "", 0, []
    for slot in ordered:
        known = fillers.get((example.locale, slot.name))
        value = slot.value
        if known and random.random() < share:
            value = known[int(random.integers(len(known)))]
        text += example.utterance[end : slot.start]
        slots.append(Slot(slot.name, value, len(text), len(text) + len(value)))
        text, end = text + value, slot.end
    return replace(example, utterance=text + example.utterance[end:], slots=tuple(slots))
