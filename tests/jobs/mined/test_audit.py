"""An audit of the mined lake by a person who knows what was planted, and the lineage of its labels."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from mined_lake import Mined
from planted_log import read

from jobs.audit import draw_audit, score_audit
from jobs.lineage import lineage_of
from schemas.errors import InputError
from schemas.lake import Lake, Manifest
from schemas.tables import PSEUDO_LABELS


def _filled(mined: Mined, drawn: Path, out: Path) -> None:
    of_turn = {t["interaction_id"]: t["formulation_id"] for t in mined.rows("turns")}
    lines = []
    for line in drawn.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        intent, value = mined.log.meaning.get(of_turn[row["interaction_id"]], (None, None))
        row["intent"] = intent
        if intent and value in row["utt"]:
            row["annot_utt"] = row["utt"].replace(value, f"[{SLOT[intent]} : {value}]")
        lines.append(json.dumps(row))
    out.write_text("\n".join(lines), encoding="utf-8")


SLOT = {
    "alarm_set": "time",
    "music_play": "artist",
    "weather_query": "place",
    "light_on": "room",
    "call_make": "person",
}


def test_a_person_who_knows_the_truth_measures_what_the_truth_says(mined: Mined, tmp_path: Path) -> None:
    assert draw_audit(mined.lake, "sw-KE", 250, 3, tmp_path / "drawn.jsonl") == 250
    text = (tmp_path / "drawn.jsonl").read_text(encoding="utf-8")
    assert all(row["intent"] is None for row in map(json.loads, text.splitlines()))
    _filled(mined, tmp_path / "drawn.jsonl", tmp_path / "filled.jsonl")
    found = score_audit(mined.lake, tmp_path / "filled.jsonl")
    # The same figure over all turns, not over a sample of them.
    labels = {r["formulation_id"]: r for r in mined.rows("pseudo_labels") if r["status"] == "accepted"}
    meant = [(t["formulation_id"], mined.log.meaning.get(t["formulation_id"])) for t in mined.rows("turns")]
    judged = [(labels[name]["intent"], m[0]) for name, m in meant if m and name in labels]
    truth = sum(a == b for a, b in judged) / len(judged)
    assert found["label_precision"].low <= truth <= found["label_precision"].high
    assert found["label_precision"].of > 100
    assert found["slot_precision"].share > 0.9


def test_what_an_audit_refuses(mined: Mined, tmp_path: Path) -> None:
    drawn = tmp_path / "drawn.jsonl"
    draw_audit(mined.lake, "sw-KE", 5, 3, drawn)
    with pytest.raises(InputError, match="exists"):
        draw_audit(mined.lake, "sw-KE", 5, 3, drawn)
    with pytest.raises(InputError, match="no turns of de-DE"):
        draw_audit(mined.lake, "de-DE", 5, 3, tmp_path / "x.jsonl")
    with pytest.raises(InputError, match="no answered line"):
        score_audit(mined.lake, drawn)
    with pytest.raises(InputError, match="no audit file"):
        score_audit(mined.lake, tmp_path / "none.jsonl")
    drawn.write_text('{"interaction_id": "stranger", "utt": "a", "intent": "b", "annot_utt": null}', encoding="utf-8")
    with pytest.raises(InputError, match="no turn stranger"):
        score_audit(mined.lake, drawn)
    drawn.write_text('{"interaction_id": "a", "utt": "a", "intent": "b", "annot_utt": "c"}', encoding="utf-8")
    with pytest.raises(InputError, match=r"drawn\.jsonl:1"):
        score_audit(mined.lake, drawn)


def test_a_label_leads_to_its_pairs_and_a_target_to_what_it_taught(mined: Mined) -> None:
    found = lineage_of(mined.lake, "sw-KE", "Weka kengele ya saa moja!")
    assert found["label"]["intent"] == "alarm_set"
    assert found["pairs"]
    pairs = {p["pair_id"]: p for p in mined.rows("rephrase_pairs")}
    for pair in found["pairs"]:
        assert pairs[pair["pair_id"]]["source_formulation"] == found["label"]["formulation_id"]
        assert not pairs[pair["pair_id"]]["held_out"]
    said = [t for t in mined.rows("turns") if t["formulation_id"] == found["label"]["formulation_id"]]
    assert found["turns"] == len(said)
    assert found["users"] == len({t["user_id"] for t in said})
    target = pairs[found["pairs"][0]["pair_id"]]["target_formulation"]
    back = lineage_of(mined.lake, None, target)
    assert found["label"]["formulation_id"] in {r["formulation_id"] for r in back["teaches"]}


def test_a_label_leads_to_the_wordings_of_its_wish(copy: Lake) -> None:
    rows = sorted(read(copy, "pseudo_labels"), key=lambda row: str(row["formulation_id"]))
    told = {"source": "wish", "intent": "alarm_set", "users": 9, "weight": 0.75}
    for row in rows[:15]:
        row |= {"wish_id": rows[0]["formulation_id"], "sources": [*row["sources"], told]}
    table = pa.Table.from_pylist(rows, schema=PSEUDO_LABELS.arrow)
    write_deltalake(copy.table("pseudo_labels"), table, mode="overwrite")
    version = DeltaTable(copy.table("pseudo_labels")).version()
    copy.publish(Manifest("pseudo_labels", "planted", {}, {"pseudo_labels": version}))
    wish = lineage_of(copy, None, rows[3]["formulation_id"])["wish"]
    spoken = [(r["events"], r["formulation_id"]) for r in wish["most_spoken"]]
    assert spoken == sorted(((r["events"], r["formulation_id"]) for r in rows[:15]), key=lambda s: (-s[0], s[1]))[:10]
    assert {k: wish[k] for k in ("wish_id", "intent", "probability", "users", "wordings")} == {
        "wish_id": rows[0]["formulation_id"], "intent": "alarm_set", "probability": 0.75, "users": 9, "wordings": 15,
    }  # fmt: skip
    assert lineage_of(copy, None, rows[15]["formulation_id"])["wish"] is None


def test_no_label_no_lineage(mined: Mined) -> None:
    with pytest.raises(InputError, match="no label of 'nobody said this'"):
        lineage_of(mined.lake, "sw-KE", "nobody said this")
