"""`explain`, `guess` and `bench` from the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from typer.testing import CliRunner

from jobs.reviews import read_reviews
from sayagain.app import app
from sayagain.commands_explain import waterfall
from schemas.errors import InputError
from schemas.lake import Lake, Manifest
from schemas.tables import REPHRASE_PAIRS, TURNS

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FEATURES = [
    {"name": "prior", "level": "0.300", "weight": -1.0},
    {"name": "wording", "level": "near", "weight": 4.5},
    {"name": "changed_request", "level": "0.5", "weight": -1.0},
]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path / "lake").open(create=True)
    blank = {"user_id": "u", "held_out": False, "locale": "en-US", "run_id": "r", "session_id": "s"}
    turns = [
        blank
        | {"interaction_id": f"i{n}", "position": n, "occurred_at": NOON, "utterance": text, "text": text}
        | {"formulation_id": text, "response": "completed", "feedback": [], "friction": 0.25, "evidence": []}
        for n, text in enumerate(("wake me at seven", "get me up at seven", "play jazz"))
    ]
    pair = blank | {
        "pair_id": "p1", "source": "i0", "target": "i1", "kind": "rephrase", "source_formulation": "a",
        "target_formulation": "b", "source_utterance": "wake me at seven", "target_utterance": "get me up at seven",
        "gap_seconds": 6.0, "steps": 1, "features": FEATURES, "match_weight": 2.5, "posterior": 0.85,
        "none_posterior": 0.15, "new_request": 0.1, "edit": "words_exchanged",
        "source_friction": 0.25, "target_acceptance": 0.75,
    }  # fmt: skip
    for table, rows in ((TURNS, turns), (REPHRASE_PAIRS, [pair])):
        schema = pa.schema([pa.field(f.name, f.type) for f in table.arrow])
        write_deltalake(made.table(table.name), pa.Table.from_pylist(rows, schema=schema))
        made.publish(Manifest(table.name, "r", {}, {table.name: 0}))
    return made


def test_without_a_champion_guess_is_skipped_and_says_so(lake: Lake) -> None:
    said = CliRunner().invoke(app, ["--lake", str(lake.path), "--locale", "en-US", "guess"])
    assert said.exit_code == 0
    assert "skipped" in said.output
    without = CliRunner().invoke(app, ["--lake", str(lake.path), "guess"])
    assert isinstance(without.exception, InputError)
    assert "--locale" in str(without.exception)


def test_the_waterfall_adds_up() -> None:
    assert [line[3] for line in waterfall(FEATURES)] == ["-1.00", "+3.50", "+2.50"]


def test_a_pair_is_explained_with_its_session(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    said = CliRunner().invoke(app, ["--lake", str(lake.path), "explain", "p1"])
    assert said.exit_code == 0, said.output
    for wanted in ("wake me at seven", "play jazz", "wording", "+4.50", "+2.50", "source", "target", "0.8500"):
        assert wanted in said.output


def test_an_unknown_pair_is_an_input_error(lake: Lake) -> None:
    said = CliRunner().invoke(app, ["--lake", str(lake.path), "explain", "p2"])
    assert isinstance(said.exception, InputError)
    assert "no pair p2" in str(said.exception)


def test_gold_pairs_of_real_logs_are_scored(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    turns, gold = [], []
    for n in range(30):
        for place, (text, response) in enumerate(
            ((f"please play song{n % 5}", "no_match"), (f"song{n % 5} play", "completed"))
        ):
            turns.append(
                {
                    "interaction_id": f"i{n}-{place}", "user_id": f"u{n}", "locale": "en-US", "utterance": text,
                    "occurred_at": f"2026-01-01T12:{n:02}:0{5 * place}Z", "response": response, "confidence": 0.9,
                    "interpretation": {"intent": "music_play", "slots": []} if place else None,
                }
            )  # fmt: skip
        gold.append({"source": f"i{n}-0", "targets": [f"i{n}-1"]})
    (logs / "day.jsonl").write_text("\n".join(map(json.dumps, turns)) + "\n")
    (tmp_path / "gold.jsonl").write_text("\n".join(map(json.dumps, gold)) + "\n")
    out = tmp_path / "report.json"
    arguments = ["bench", "rephrases", "--logs", str(logs), "--gold", str(tmp_path / "gold.jsonl"), "--out", str(out)]
    said = CliRunner().invoke(app, [*arguments, "--resamples", "3"])
    assert said.exit_code == 0, (said.output, said.exception)
    report = json.loads(out.read_text())
    assert report["population"] == "real"
    assert {m["name"]: m["kinds"]["all"]["recall"] for m in report["methods"]}["adjacency 60 s"] == 1


def test_a_verdict_is_kept_with_the_comparisons_that_were_judged(lake: Lake) -> None:
    run = CliRunner().invoke
    assert run(app, ["--lake", str(lake.path), "review", "p1", "unrelated", "--reviewer", "ana"]).exit_code == 0
    assert run(app, ["--lake", str(lake.path), "review", "p1", "new_request", "--reviewer", "ben"]).exit_code == 0
    assert [r.verdict for r in read_reviews(lake)] == ["new_request"]  # the last one
    assert read_reviews(lake)[0].levels["wording"] == "near"
    for bad, hint in ((("p1", "maybe"), "same_wish"), (("p2", "unrelated"), "sayagain inspect")):
        refused = run(app, ["--lake", str(lake.path), "review", *bad])
        assert isinstance(refused.exception, InputError)
        assert hint in str(refused.exception)
    assert len(read_reviews(lake)) == 1
    # The verdict took the pair out of the table; a person may still think better of it.
    write_deltalake(
        lake.table("rephrase_pairs"), pa.Table.from_pylist([], schema=REPHRASE_PAIRS.arrow), mode="overwrite"
    )
    lake.publish(Manifest("rephrase_pairs", "r", {}, {"rephrase_pairs": 1}))
    assert run(app, ["--lake", str(lake.path), "review", "p1", "same_wish", "--reviewer", "ana"]).exit_code == 0
    assert [(r.verdict, r.source, r.target) for r in read_reviews(lake)] == [("same_wish", "i0", "i1")]
