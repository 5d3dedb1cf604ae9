"""Where the rest of the gap was lost: the last training set of a loop, with the truth put in stage by stage.

Each line trains the same model on the same log with one more stage replaced by the truth; what a line gains over the
one before is what that stage lost. Only traffic that was spoken is used: the step from the last line to the ceiling
is what the users never said.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.loop import played_loop
from benchmarks.loop_reports import METRICS
from benchmarks.rounds import figures
from benchmarks.scoring import read_truth
from retrain.data import Example, read_gold, read_pairs, read_snapshot, read_translations
from retrain.evaluate import outcomes
from retrain.predictor import TorchPredictor
from retrain.train import finetune, lexicon_of, pretrain
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.normalise import formulation_id, normalise
from schemas.predictor import Slot
from schemas.settings import Settings

LINES = (
    "as mined",
    "intents of accepted labels right",
    "their spans right as well",
    "every formulation of enough users labelled",
    "every formulation labelled",
)


@dataclass(frozen=True)
class Meant:
    """What users meant by a formulation in one spelling, and how many they were."""

    utterance: str
    intent: str
    slots: tuple[Slot, ...]
    users: int


def meanings(lake: Lake, truth: dict[str, dict[str, Any]], locale: str, version: int | None = None) -> dict[str, Meant]:
    """The most frequent meaning of each formulation of users who vote, by a version of `turns` (the published one by
    default). O(turns)."""
    seen: dict[str, Counter[tuple[str, str, tuple[Slot, ...]]]] = defaultdict(Counter)
    users: dict[str, set[str]] = defaultdict(set)
    columns = ["interaction_id", "formulation_id", "user_id", "utterance", "text", "locale", "held_out"]
    for turn in lake.rows("turns", columns, version=version):
        meant = truth.get(turn["interaction_id"])
        if turn["locale"] != locale or turn["held_out"] or not turn["text"] or not meant or not meant["gold_intent"]:
            continue
        if meant["act"] == "other":  # an answer to a question: outside its dialogue it means nothing
            continue
        slots = tuple(Slot(**s) for s in meant["gold_slots"])
        seen[turn["formulation_id"]][turn["utterance"], meant["gold_intent"], slots] += 1
        users[turn["formulation_id"]].add(turn["user_id"])
    found = {}
    for name, counts in seen.items():
        (utterance, intent, slots), _ = max(counts.items(), key=lambda item: (item[1], str(item[0])))
        found[name] = Meant(utterance, intent, slots, len(users[name]))
    return found


def substituted(rows: list[Example], truth: dict[str, Meant], line: int, floor: int) -> list[Example]:
    """The training rows of one of `LINES`: gold stays, pseudo-labels are corrected, then added.

    Args:
        rows: of the snapshot, launch locale only.
        truth: by formulation.
        line: index into `LINES`.
        floor: distinct users from which a formulation counts as one of enough users.
    """
    made, labelled = [], set()
    for row in rows:
        name = formulation_id(row.locale, normalise(row.utterance))
        meant = truth.get(name)
        if row.source == "contested" and meant is not None and (line == 4 or (line == 3 and meant.users >= floor)):
            continue  # labelled below
        labelled.add(name)
        if row.source != "pseudo_label" or line == 0 or meant is None:
            made.append(row)
        elif line == 1:
            right = meant.intent == row.intent
            made.append(row if right else replace(row, intent=meant.intent, slots=None, tags=()))
        else:
            made.append(replace(row, utterance=meant.utterance, intent=meant.intent, slots=meant.slots))
    if line >= 3 and rows:
        made += [
            Example(m.utterance, rows[0].locale, m.intent, m.slots, 1.0, "train", "pseudo_label")
            for name, m in sorted(truth.items())
            if name not in labelled and (line == 4 or m.users >= floor)
        ]
    return made


def run_budget(settings: Settings, work: Path, say: Callable[[str], None], arm: str = "ours") -> dict[str, Any]:
    """The table of a finished loop's last round.

    Args:
        work: the loop's folder.

    Raises:
        InputError: no finished loop there.

    Cost: one training a line; of sets of 30,000 rows ten minutes of a core each.
    """
    loop = played_loop(settings, work, arm, say)
    locale, seed, played = loop.options.locale, loop.seed, work / "arms" / arm
    lake = Lake(played / "lake").open()
    manifest, labelled = lake.manifest("training_sets"), lake.manifest("pseudo_labels")
    if manifest is None or labelled is None:
        raise InputError(f"the arm {arm} in {work} has no training set")
    snapshot = str(manifest.details["snapshot_id"])
    rows = [e for e in read_snapshot(lake, snapshot, ("train", "dev")) if e.locale == locale]
    pairs = read_pairs(lake, snapshot)
    truth = meanings(lake, read_truth(played / "truth"), locale, labelled.inputs.get("turns"))
    # What a person annotated is no loss of the loop.
    source = [e for e in read_gold(loop.settings.training.gold) if e.locale == loop.options.source]
    lexicon = lexicon_of(loop.settings, locale, source, read_translations(lake, snapshot, locale))
    base = pretrain(loop.settings, source, cache=work / "launch" / "lake" / "_registry")
    test = loop.book.gold(locale, "test")
    lines: list[dict[str, Any]] = [{"line": "launch"} | figures(outcomes(loop.launch_model().predictor, test), seed)]
    for line, name in enumerate(LINES):
        say(f"training: {name}")
        chosen = substituted(rows, truth, line, settings.labels.vote_floor)
        model = finetune(loop.settings, base, chosen, source=source, locale=locale, pairs=pairs, lexicon=lexicon)
        labels = sum(e.source == "pseudo_label" for e in chosen)
        lines.append({"line": name, "labels": labels} | figures(outcomes(model, test), seed))
    best = work / "ceiling"
    if (best / "config.json").is_file():
        lines.append({"line": "all annotations"} | figures(outcomes(TorchPredictor.load(best), test), seed))
    for before, after in pairwise(lines):
        after["gain"] = {m: after[m] - before[m] for m in METRICS}
    return {"locale": locale, "seed": seed, "snapshot_id": snapshot, "arm": arm, "lines": lines}
