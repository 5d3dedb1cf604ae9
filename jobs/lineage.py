"""From a label to every pair, turn and user count behind it, and from a wording to the labels its turns are behind."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import InputError
from schemas.lake import Lake
from schemas.normalise import formulation_id, normalise


def _rows(lake: Lake, table: str, column: str, values: list[str], columns: list[str]) -> list[dict[str, Any]]:
    return lake.rows(table, columns, pc.field(column).isin(pa.array(values, pa.string())))


def _second_guess(lake: Lake, name: str) -> dict[str, Any] | None:
    """What the champion of the labels' run made of a wording that others answered; None where it was not asked."""
    manifest = lake.manifest("pseudo_labels")
    version = manifest.details.get("second_guesses") if manifest else None
    if version is None:
        return None
    data = lake.dataset("second_guesses", version)
    found = data.to_table(["model_version", "guesses"], filter=pc.field("formulation_id") == name).to_pylist()
    return found[0] if found else None


def _wish(lake: Lake, label: dict[str, Any]) -> dict[str, Any] | None:
    """The community that a label's wording is of, with its most spoken wordings."""
    if label["wish_id"] is None:
        return None
    told = next(s for s in label["sources"] if s["source"] == "wish")
    columns = ["formulation_id", "utterance", "status", "intent", "events"]
    members = _rows(lake, "pseudo_labels", "wish_id", [label["wish_id"]], columns)
    members.sort(key=lambda r: (-r["events"], r["formulation_id"]))
    return {
        "wish_id": label["wish_id"],
        "intent": told["intent"],
        "probability": told["weight"],
        "users": told["users"],
        "wordings": len(members),
        "most_spoken": members[:_MOST_SPOKEN],
    }


def lineage_of(lake: Lake, locale: str | None, text: str) -> dict[str, Any]:
    """Everything that a label stands on.

    Args:
        locale: of the utterance; not needed for an id.
        text: an utterance, or a formulation id.

    Returns:
        utterance, label (its row), pairs (those behind it that the label lists), wish (None, or what its community is
        held for: intent, probability, users, and its most spoken wordings), turns and users (of the formulation
        itself), second_guess (model_version and guesses of the champion, where others answered), teaches (labels of
        other formulations that rephrase pairs to this one are behind).

    Raises:
        InputError: no such formulation in the lake's labels.

    Cost: one scan of the pairs, of the turns and of the labels.
    """
    name = text
    found = _rows(lake, "pseudo_labels", "formulation_id", [text], _LABEL)
    if not found and locale is not None:
        name = formulation_id(locale, normalise(text))
        found = _rows(lake, "pseudo_labels", "formulation_id", [name], _LABEL)
    if not found:
        where = f" of {locale}" if locale else "; give --locale before the command for an utterance"
        raise InputError(f"no label of {text!r}{where} in the lake at {lake.path}")
    label = found[0]
    columns = ["pair_id", "source", "target", "target_utterance", "target_interpretation", "posterior", "user_id"]
    pairs = _rows(lake, "rephrase_pairs", "pair_id", label["pair_ids"], columns)
    turns = _rows(lake, "turns", "formulation_id", [name], ["interaction_id", "user_id", "held_out", "heard"])
    taught = Counter(
        p["source_formulation"]
        for p in _rows(lake, "rephrase_pairs", "target_formulation", [name], ["source_formulation", "kind", "held_out"])
        if p["kind"] == "rephrase" and not p["held_out"]
    )
    others = _rows(lake, "pseudo_labels", "formulation_id", sorted(taught), ["formulation_id", "utterance", "intent"])
    return {
        "utterance": label["utterance"],
        "label": label,
        "pairs": [
            {k: p[k] for k in ("pair_id", "source", "target", "target_utterance", "posterior")}
            | {"intent": (p["target_interpretation"] or {}).get("intent")}
            for p in sorted(pairs, key=lambda p: (-p["posterior"], p["pair_id"]))
        ],
        "wish": _wish(lake, label),
        "second_guess": _second_guess(lake, label["formulation_id"]),
        "turns": len(turns),
        "users": len({t["user_id"] for t in turns}),
        "held_out_turns": sum(t["held_out"] for t in turns),
        "unheard_turns": sum(not t["heard"] for t in turns),
        "teaches": [
            {"formulation_id": r["formulation_id"], "utterance": r["utterance"], "intent": r["intent"],
             "pairs": taught[r["formulation_id"]]}
            for r in sorted(others, key=lambda r: (-taught[r["formulation_id"]], r["formulation_id"]))
        ],
    }  # fmt: skip


_LABEL = [
    "formulation_id",
    "utterance",
    "locale",
    "cluster_id",
    "status",
    "why",
    "intent",
    "posterior",
    "users",
    "own_users",
    "events",
    "sources",
    "pair_ids",
    "wish_id",
]
_MOST_SPOKEN = 10  # wordings of a wish
