"""A frozen training set as files that others read: MASSIVE-format JSON Lines, Parquet, and a dataset card.

`datasets.load_dataset(folder)` reads the folder: the card's header names the Parquet files as splits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retrain.tables import read_table
from schemas.annotated import render_markup
from schemas.columns import TAGS
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.predictor import Slot

SPLITS = ("train", "dev")  # gate rows are turns of held-out users: they are never handed out
_STRATA = ("gold", "head", "torso", "tail")


def _slots(row: dict[str, Any]) -> tuple[Slot, ...] | None:
    return None if row["slots"] is None else tuple(Slot(**slot) for slot in row["slots"])


def _record(row: dict[str, Any]) -> dict[str, Any]:
    """A line of MASSIVE's format, with what this project adds. `annot_utt` is null where the slots are open; `tags` has
    there for each token those that it may have, and is null where nothing is known of them."""
    slots = _slots(row)
    return {
        "id": row["example_id"],
        "locale": row["locale"],
        "partition": row["split"],
        "scenario": row["intent"].split("_")[0],
        "intent": row["intent"],
        "utt": row["utterance"],
        "annot_utt": None if slots is None else render_markup(row["utterance"], slots),
        "tags": row.get("tags"),
        "source": row["source"],
        "weight": row["weight"],
        "stratum": row["stratum"],
        "group_id": row["group_id"],
    }


def export_snapshot(lake: Lake, snapshot_id: str, folder: Path) -> dict[str, int]:
    """Write one snapshot to a folder: `<split>.jsonl`, `data/<split>.parquet`, `manifest.json` and `README.md`.

    Rows whose slots are open are in the Parquet files and in the JSON Lines with a null `annot_utt`; MASSIVE's own
    readers want a mark-up there, so those lines stand in `<split>.intents.jsonl` instead.

    Returns:
        rows by split.

    Raises:
        InputError: no such snapshot, or the folder is not empty.

    Cost: memory of the snapshot.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty: give --out another folder")
    rows = read_table(
        lake, "training_sets", version=lake.version("training_sets"), where=[("snapshot_id", "=", snapshot_id)]
    )
    contested = sum(r["source"] == "contested" for r in rows)
    chosen = (r for r in rows if r["split"] in SPLITS and r["source"] != "contested")
    kept = sorted(chosen, key=lambda r: r["example_id"])
    if not kept:
        raise InputError(f"no snapshot {snapshot_id} in the lake at {lake.path}: run `sayagain mine`")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    written = {}
    for split in SPLITS:
        records = [_record(r) for r in kept if r["split"] == split]
        if not records:
            continue
        written[split] = len(records)
        whole = [r for r in records if r["annot_utt"] is not None]
        _write(folder / f"{split}.jsonl", whole)
        _write(folder / f"{split}.intents.jsonl", [r for r in records if r["annot_utt"] is None])
        pq.write_table(pa.Table.from_pylist(records, schema=_schema()), folder / "data" / f"{split}.parquet")
    manifest = lake.snapshots / snapshot_id / "manifest.json"
    described = json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else {}
    (folder / "manifest.json").write_text(json.dumps(described, indent=1, sort_keys=True), encoding="utf-8")
    (folder / "README.md").write_text(_card(snapshot_id, kept, written, described, contested), encoding="utf-8")
    return written


def _schema() -> Any:
    import pyarrow as pa

    text = ("id", "locale", "partition", "scenario", "intent", "utt", "annot_utt", "source")
    return pa.schema(
        [*((name, pa.string()) for name in text), ("tags", TAGS), ("weight", pa.float64()), ("stratum", pa.string()),
         ("group_id", pa.string())]
    )  # fmt: skip


def _write(path: Path, records: Sequence[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as lines:
        for record in records:
            lines.write(json.dumps(record, ensure_ascii=False) + "\n")


def _card(
    snapshot_id: str,
    rows: Sequence[dict[str, Any]],
    written: dict[str, int],
    manifest: dict[str, Any],
    contested: int,
) -> str:
    locales = sorted({r["locale"] for r in rows})
    languages = "\n".join(f"- {name}" for name in sorted({locale.split("-")[0] for locale in locales}))
    files = "\n".join(f"  - split: {split}\n    path: data/{split}.parquet" for split in written)
    labels = [r for r in rows if r["source"] == "pseudo_label"]
    of = {name: [r["weight"] for r in rows if r["stratum"] == name] for name in _STRATA}
    strata = "\n".join(f"| {name} | {len(weights)} | {sum(weights):.1f} |" for name, weights in of.items())
    settings = manifest.get("settings", {}).get("labels", {})
    opened = sum(r["slots"] is None for r in labels)
    partly = sum(r["slots"] is None and r.get("tags") is not None for r in labels)
    return f"""---
language:
{languages}
task_categories:
- text-classification
- token-classification
configs:
- config_name: default
  data_files:
{files}
---

# Training set {snapshot_id}

Locales: {", ".join(locales)}. {len(rows)} examples: {len(rows) - len(labels)} annotated, {len(labels)} pseudo-labels
mined from users' own rephrases, {opened} of them with open slots (`annot_utt` null). Of {partly} of these some tokens
are settled: `tags` has the BIO tags that each token may have, none where anything may stand. The others teach the
intent alone.

| stratum | examples | weight |
|---|---|---|
{strata}

- `weight` is the label's posterior, the head held to its share.
- Left out: {contested} wordings on whose intent the evidence is divided; they train with soft targets.
- Every pseudo-label has at least {settings.get("vote_floor", "vote_floor")} distinct pseudonyms behind its cluster's
  intent: a threshold, not a proof of anonymity. The texts are users' own words: treat them as such.
- `group_id` is a cluster (of gold: a signature); `train` and `dev` share none of a pseudo-label's clusters.
- Turns of held-out users are in no label and not in this export.
- `manifest.json` names the version of every input table and the settings.
"""
