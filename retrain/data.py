"""Training examples and where they come from: annotated files (gold) and frozen snapshots of the lake."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from retrain.tables import read_table
from schemas.annotated import Annotated, read_annotated
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.normalise import tokenise
from schemas.predictor import Interpretation, Slot

SWITCHED = "code_switched"  # source of annotated rows in another language's words
MINED = ("pseudo_label", "contested", SWITCHED)  # sources that nobody annotated as they stand
READABLE_SPLITS = ("train", "dev")  # of annotated files: nothing in this room reads a test partition


@dataclass(frozen=True)
class Example:
    """One labelled utterance.

    `slots` is None where the spans are unknown: the tagger then learns what `tags` has, for each token the BIO tags
    that it may have (none: any), or nothing where that is empty. `intents` is a soft
    target in place of `intent`, which is then its likeliest: probabilities, and what they lack to one on any
    intent. `weight` multiplies its losses. `split` is train, dev or gate; `source` gold, pseudo_label or contested
    (with a soft target), of gate rows expected, held_out, voter or rephrased; `group` ties gate rows of one turn
    together, `weight` is then the probability that the answer served, and `stratum` says whether its wording has a
    label (`retrain.held_out`).
    """

    utterance: str
    locale: str
    intent: str
    slots: tuple[Slot, ...] | None = ()
    weight: float = 1.0
    split: str = "train"
    source: str = "gold"
    group: str = ""
    stratum: str = ""
    intents: tuple[tuple[str, float], ...] = ()
    tags: tuple[tuple[str, ...], ...] = ()

    @property
    def annotated(self) -> Annotated:
        """The example as gold; unknown slots count as none."""
        return Annotated(self.utterance, self.locale, Interpretation(self.intent, self.slots or ()), self.split)


@dataclass(frozen=True)
class Pair:
    """Two wordings that users said instead of each other, and how far each may be moved towards the other, 0 to 1."""

    left: str
    right: str
    locale: str
    left_weight: float
    right_weight: float


def from_annotated(rows: Iterable[Annotated], weight: float = 1.0) -> list[Example]:
    """Gold examples of annotated rows; their partition becomes the split."""
    return [
        Example(r.utterance, r.locale, r.interpretation.intent, r.interpretation.slots, weight, r.partition)
        for r in rows
    ]


def read_gold(files: Iterable[Path | str], splits: Sequence[str] = READABLE_SPLITS) -> list[Example]:
    """Train and dev partitions of MASSIVE-format files as examples.

    Raises:
        InputError: a file is missing or not in the format, or the test partition is asked for.
    """
    if not set(splits) <= set(READABLE_SPLITS):
        raise InputError(f"training reads {' and '.join(READABLE_SPLITS)} partitions only, not {', '.join(splits)}")
    return [example for file in files for example in from_annotated(read_annotated(file, splits))]


def read_snapshot(lake: Lake, snapshot_id: str, splits: Sequence[str] = ("train", "dev", "gate")) -> list[Example]:
    """Rows of one frozen snapshot, from `training_sets` at the lake's published version, in a stable order.

    Raises:
        InputError: no snapshot is published, or none of that id.
    """
    version = lake.version("training_sets")
    rows = read_table(lake, "training_sets", version=version, where=[("snapshot_id", "=", snapshot_id)])
    if not rows:
        raise InputError(
            f"no snapshot {snapshot_id} in the lake at {lake.path} (training_sets version {version}): "
            "run the step `training_sets`, or give an id it has published"
        )
    examples = [
        Example(
            row["utterance"],
            row["locale"],
            row["intent"],
            None if row["slots"] is None else tuple(Slot(**slot) for slot in row["slots"]),
            row["weight"],
            row["split"],
            row["source"],
            row["group_id"],
            row["stratum"],
            tuple((i["intent"], i["probability"]) for i in row.get("intents") or ()),
            tuple(map(tuple, row.get("tags") or ())),
        )
        for row in sorted(rows, key=lambda row: row["example_id"])
        if row["split"] in splits
    ]
    for example in examples:
        faults = [s for s in example.slots or () if not 0 <= s.start < s.end <= len(example.utterance)]
        if faults:
            raise InputError(f"snapshot {snapshot_id}: slot {faults[0]} lies outside {example.utterance!r}")
        if example.tags and len(example.tags) != len(tokenise(example.utterance)):
            raise InputError(f"snapshot {snapshot_id}: {len(example.tags)} tokens have tags in {example.utterance!r}")
    return examples


def read_pairs(lake: Lake, snapshot_id: str) -> list[Pair]:
    """The pairs of one frozen snapshot, in a stable order; none where it was made without them (`training.consistency`
    0) or by a program that knew none."""
    version = lake.published().get("training_pairs")
    if version is None:
        return []
    rows = read_table(lake, "training_pairs", version=version, where=[("snapshot_id", "=", snapshot_id)])
    ordered = sorted(rows, key=lambda row: row["pair_id"])
    return [Pair(r["left"], r["right"], r["locale"], r["left_weight"], r["right_weight"]) for r in ordered]


def read_translations(lake: Lake, snapshot_id: str, locale: str) -> dict[str, list[tuple[str, float]]]:
    """What words of the mature language are in the locale by one frozen snapshot, with how far both directions agree;
    none where the program that made it knew none."""
    version = lake.published().get("training_translations")
    if version is None:
        return {}
    rows = read_table(lake, "training_translations", version=version, where=[("snapshot_id", "=", snapshot_id)])
    found: dict[str, list[tuple[str, float]]] = {}
    for row in sorted(rows, key=lambda row: (row["word"], -row["agreement"], row["translation"])):
        if row["locale"] == locale:
            found.setdefault(row["word"], []).append((row["translation"], row["agreement"]))
    return found


def of_split(examples: Sequence[Example], split: str) -> list[Example]:
    """The examples of one partition, in their order."""
    return [e for e in examples if e.split == split]


def in_stable_order(examples: Iterable[Example]) -> list[Example]:
    """Sorted by content, so that training does not depend on the order in which files or rows were read."""
    return sorted(
        examples,
        key=lambda e: (e.locale, e.utterance, e.intent, e.slots or (), e.weight, e.split, e.source, e.intents, e.tags),
    )


def fingerprint(examples: Iterable[Example]) -> str:
    """16 hex digits that name a set of examples, whatever its order."""
    digest = hashlib.blake2b(digest_size=8)
    for e in in_stable_order(examples):
        slots = None if e.slots is None else [(s.name, s.start, s.end) for s in e.slots]
        said = (e.utterance, e.locale, e.intent, slots, round(e.weight, 9), e.split, *e.intents, *e.tags)
        digest.update(repr(said).encode())
    return digest.hexdigest()


def lighter(examples: Iterable[Example], factor: float) -> list[Example]:
    """The examples with their weights multiplied by `factor`."""
    return [replace(e, weight=e.weight * factor) for e in examples]
