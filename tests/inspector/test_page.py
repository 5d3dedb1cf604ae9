"""The page as its reader sees it: search, open a pair, read its reasons and its session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from planted_lake import EVIDENCE, pair, turn, write
from streamlit.testing.v1 import AppTest

from inspector.serve import PAGE
from schemas.lake import Lake

SWAHILI, GERMAN = (
    "weka kengele saa moja  →  niamshe saa moja",
    "Stell den <b>Wecker</b>  →  Stell den <b>Wecker</b>",
)


@pytest.fixture
def page(planted: Lake, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    return _open(planted.path, monkeypatch)


def _open(lake: Path, monkeypatch: pytest.MonkeyPatch, **query: str) -> AppTest:
    monkeypatch.setenv("SAYAGAIN_LAKE", str(lake))
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    for name, value in query.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception
    return page


def _tables(page: AppTest) -> list[pd.DataFrame]:
    return [table.value for table in page.dataframe]


def _with(page: AppTest, *columns: str) -> pd.DataFrame:
    (found,) = [table for table in _tables(page) if set(columns) <= set(table.columns)]
    return found


def _pairs(page: AppTest) -> list[str]:
    return list(_with(page, "source_utterance", "gap_seconds")["pair_id"])


def _said(page: AppTest) -> str:
    parts: list[Any] = [*page.text, *page.caption, *page.info, *page.success, *page.subheader, *page.markdown]
    return "\n".join(str(part.value) for part in parts)


def test_the_most_believed_pair_is_opened_with_its_reasons_and_session(page: AppTest) -> None:
    assert _pairs(page) == ["p-swahili"]  # rephrases first: repeats teach nothing
    assert page.selectbox(key="pair").value == "p-swahili"
    assert {m.label: m.value for m in page.metric}["Posterior"] == "0.962"
    reasons = _with(page, "comparison", "level", "bits")
    assert list(reasons["comparison"]) == [piece["name"] for piece in EVIDENCE]
    assert reasons["probability so far"].iloc[-1] == pytest.approx(0.962, abs=0.001)
    assert list(_with(page, "evidence", "bits")["level"]) == ["0.300", "no_match"]
    session = _with(page, "role", "said")
    assert list(session["said"]) == ["weka kengele saa moja", "niamshe saa moja", "asante"]
    assert list(session["role"]) == ["failed", "said instead", ""]
    assert session["understood"].iloc[1] == "alarm_set (time = saa moja)"


def test_another_pair_is_opened_and_what_users_said_is_no_markup(page: AppTest) -> None:
    page.selectbox(key="pair_kind").select("any").run()
    assert _pairs(page) == ["p-swahili", "p-german"]
    page.selectbox(key="pair").select("p-german").run()
    assert not page.exception
    assert list(_with(page, "role", "said")["role"]) == ["failed", "said instead"]
    (wordings,) = [str(part.proto.body) for part in page.get("html")]
    assert "&lt;b&gt;Wecker&lt;/b&gt;" in wordings
    assert page.query_params["pair"] in ("p-german", ["p-german"])


def test_an_address_names_a_pair(planted: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _open(planted.path, monkeypatch, pair="p-german").selectbox(key="pair").value == "p-german"
    assert _open(planted.path, monkeypatch, pair="gone").selectbox(key="pair").value == "p-swahili"


def test_pairs_are_filtered(page: AppTest) -> None:
    page.selectbox(key="pair_kind").select("any").run()
    page.text_input(key="pair_text").input("WECKER").run()
    assert _pairs(page) == ["p-german"]
    assert page.selectbox(key="pair").value == "p-german"
    page.text_input(key="pair_text").input("no such words").run()
    assert "No pair fits this search." in _said(page)
    page.text_input(key="pair_text").input("").run()
    page.selectbox(key="pair_kind").select("repeat (the same words)").run()
    assert _pairs(page) == ["p-german"]
    page.selectbox(key="pair_kind").select("any").run()
    page.slider(key="pair_posterior").set_value(0.95).run()
    assert _pairs(page) == ["p-swahili"]
    page.slider(key="pair_posterior").set_value(0.0).run()
    page.selectbox(key="locale").select("de-DE").run()
    assert _pairs(page) == ["p-german"]
    assert {m.label: m.value for m in page.metric}["Turns"] == "2"
    assert not page.exception


def test_counts_name_every_drop_of_the_newest_run(page: AppTest) -> None:
    steps = _with(page, "step", "counts")
    assert list(steps["step"]) == ["ingest", "turns"]
    assert steps["counts"].iloc[0] == "read 1,200  ·  kept 1,000  ·  duplicates 198  ·  quarantined 2"
    page.selectbox(key="count_step").select("ingest").run()
    counts = _with(page, "step", "count", "rows")
    assert dict(zip(counts["count"], counts["rows"], strict=True))["duplicates"] == 198
    assert "turns" not in set(counts["step"])


def test_labels_are_filtered_and_show_their_votes_and_pairs(page: AppTest) -> None:
    metrics = {m.label: m.value for m in page.metric}
    assert (metrics["accepted"], metrics["contested"], metrics["too few users"]) == ("1", "0", "1")
    page.selectbox(key="label_status").select("accepted").run()
    assert list(_with(page, "utterance", "why")["utterance"]) == ["weka kengele saa moja"]
    assert list(_with(page, "utterance", "why")["slots"]) == ["(open, 3 of 4 words known)"]
    assert list(_with(page, "source", "weight")["source"]) == ["rephrase", "wish"]
    alike = [table for table in _tables(page) if list(table.columns)[-2:] == ["status", "events"]]
    assert list(alike[0]["utterance"]) == ["weka kengele saa moja"]
    behind = [table for table in _tables(page) if list(table.columns)[-1:] == ["pair_id"]]
    assert list(behind[0]["pair_id"]) == ["p-swahili"]
    page.selectbox(key="label_status").select("too_few_users").run()
    assert list(_with(page, "utterance", "why")["slots"]) == ["(open)"]


def test_words_are_found_from_either_language(page: AppTest) -> None:
    assert list(_with(page, "word", "agreement")["translation"]) == ["moja", "kengele", "niamshe"]
    page.text_input(key="translated_word").input("ALARM").run()
    assert list(_with(page, "word", "agreement")["translation"]) == ["kengele", "niamshe"]
    page.text_input(key="translated_word").input("moj").run()
    assert list(_with(page, "word", "agreement")["word"]) == ["one"]
    page.selectbox(key="locale").select("de-DE").run()
    assert "No word fits this search." in _said(page)
    page.text_input(key="translated_word").input("").run()
    assert "No words were learnt." in _said(page)


def test_rejected_records_are_shown_by_reason(page: AppTest) -> None:
    assert list(_with(page, "file", "reasons")["line"]) == [3, 9]
    page.selectbox(key="reason").select("utterance: missing").run()
    assert list(_with(page, "file", "reasons")["line"]) == [3]


def test_models_and_decisions_are_shown(page: AppTest) -> None:
    assert list(_with(page, "trained_at")["model_version"]) == ["sw-KE/2"]
    assert list(_with(page, "verdict")["verdict"]) == ["passed"]


def test_no_lake_and_an_empty_one_are_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no lake at" in _said(_open(tmp_path / "nowhere", monkeypatch))
    Lake(tmp_path / "empty").open(create=True)
    page = _open(tmp_path / "empty", monkeypatch)
    assert "has no tables yet" in _said(page)
    assert not page.tabs


def test_a_lake_after_ingest_only_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path / "lake").open(create=True)
    write(lake, "job_runs", [{"step": "ingest", "counts": []}], mode="append")
    page = _open(lake.path, monkeypatch)
    said = _said(page)
    for line in ("No pairs yet", "No labels yet", "No record was rejected", "No model yet"):
        assert line in said


def test_a_pair_whose_session_is_gone_is_still_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from schemas.lake import Manifest

    lake = Lake(tmp_path / "lake").open(create=True)
    turns = [turn("x-1", 0, "a", "sw-KE", "failed", 0.9), turn("x-2", 1, "b", "sw-KE", "completed", 0.1)]
    version = write(lake, "rephrase_pairs", [pair("p", *turns, 0.9)])
    lake.publish(Manifest("rephrase_pairs", "r", {}, {"rephrase_pairs": version}))
    page = _open(lake.path, monkeypatch)
    assert "The session is not in the published turns" in _said(page)
    assert len(_with(page, "comparison", "bits")) == len(EVIDENCE)
