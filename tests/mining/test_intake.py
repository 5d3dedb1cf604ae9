"""The intake kernel, without a JVM: every line becomes one row, and no user id gets through."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining import intake
from mining.bulk_intake import _brackets, good_records
from schemas.record import InteractionRecord
from schemas.tables import INTERACTIONS

KEY = b"k" * 32
WINDOW = (datetime(2015, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
GOOD: dict[str, Any] = {
    "interaction_id": "a1",
    "user_id": "amina@example.org",
    "locale": "sw-KE",
    "occurred_at": "2026-01-10T08:00:03+03:00",
    "utterance": "niamshe saa moja",
    "response": "completed",
    "interpretation": {
        "intent": "alarm_set",
        "slots": [{"name": "time", "value": "saa moja", "start": 8, "end": 16}],
    },
}


def check(*lines: bytes, file: str = "file:///logs/day%201.jsonl", split: int = 0) -> pa.Table:
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([file] * len(lines)),
            pa.array([split] * len(lines), pa.int64()),
            pa.array(lines, pa.binary()),
        ],
        schema=intake.LINES,
    )
    return pa.Table.from_batches(intake.check_lines([batch], KEY, WINDOW), intake.CHECKED)


def one(record: Any) -> dict[str, Any]:
    text = record if isinstance(record, bytes) else json.dumps(record).encode()
    return check(text).to_pylist()[0]


def test_a_good_record_becomes_an_interaction() -> None:
    row = one(GOOD)
    assert row["outcome"] == intake.KEPT
    assert row["reasons"] is None
    assert row["user_id"] == intake.pseudonym(KEY, "amina@example.org")
    assert row["occurred_at"] == datetime(2026, 1, 10, 5, 0, 3, tzinfo=UTC)
    assert row["date"].isoformat() == "2026-01-10"
    assert row["interpretation"]["slots"] == [{"name": "time", "value": "saa moja", "start": 8, "end": 16}]
    assert row["feedback"] == []
    assert row["file"] == "/logs/day 1.jsonl"
    missing = [c.name for c in INTERACTIONS.columns if not c.nullable and row.get(c.name) is None]
    assert missing == ["run_id"]


def test_every_reason_is_kept() -> None:
    row = one(GOOD | {"locale": "klingon", "occurred_at": "1970-01-01T00:00:00Z", "response": "maybe"})
    assert row["outcome"] == intake.REJECTED
    assert [reason.split(":")[0] for reason in row["reasons"]] == ["locale", "occurred_at", "response"]


@pytest.mark.parametrize("separator", [b"", b"\r"])
def test_line_ends_blank_lines_and_a_byte_order_mark(separator: bytes) -> None:
    text = json.dumps(GOOD).encode()
    rows = check(b"\xef\xbb\xbf" + text + separator, separator, b"   ", text + separator).to_pylist()
    assert [row["outcome"] for row in rows] == [intake.KEPT, intake.BLANK, intake.BLANK, intake.KEPT]
    assert [row["line"] for row in rows] == [1, 2, 3, 4]


def test_bytes_that_are_no_text_are_shown_and_conceal_the_user() -> None:
    row = one(b'{"user_id": "amina", "utterance": "\xff\xfe"}')
    assert row["outcome"] == intake.REJECTED
    assert row["reasons"] == ["record: not UTF-8 (byte 0xff at 35)"]
    assert "\\xff\\xfe" in row["raw"]
    assert "amina" not in row["raw"]


def test_deep_nesting_and_lone_surrogates_do_not_stop_the_batch() -> None:
    rows = check(
        b"[" * 100_000, json.dumps(GOOD | {"utterance": "a\ud800"}).encode(), json.dumps(GOOD).encode()
    ).to_pylist()
    assert [row["outcome"] for row in rows] == [intake.REJECTED, intake.REJECTED, intake.KEPT]


def test_an_alternative_with_a_span_outside_its_text_is_rejected() -> None:
    slot = {"name": "time", "value": "x", "start": 2**40, "end": 2**40 + 1}
    row = one(GOOD | {"alternatives": [{"intent": "alarm_query", "confidence": 0.5, "slots": [slot]}]})
    assert row["outcome"] == intake.REJECTED
    assert "alternatives" in row["reasons"][0]


def test_the_hash_is_of_the_content() -> None:
    first = one(GOOD)["record_hash"]
    reordered = one(dict(reversed(GOOD.items())) | {"unknown": 1, "feedback": []})["record_hash"]
    changed = one(GOOD | {"response": "failed"})["record_hash"]
    assert first == reordered != changed


SPELLINGS = [
    '{"user_id": "SECRET", "x": 1}',
    '{"user_id":"SECRET"',
    '{"user_id" : "SECRET',
    '{"a": 1, "user_id": "SECRET\\',
    "{'user_id': 'SECRET', 'x': 1}",
    "{user_id: SECRET}",
    '{"userId": "SECRET"}',
    '{"User-ID": "SECRET"}',
    '{"context": {"user_id": "SECRET"}}',
    '{"user_id": {"mail": "SECRET"}, "x": 1}',
    '{"user_id": ["SECRET"], "x": 1}',
    '{"user_id": ["SECRET", {"x": ',
    '{"user\\u005fid": "SECRET"}',
    '{"user_id": "SECRET"} trailing',
]


@pytest.mark.parametrize("raw", SPELLINGS)
def test_no_spelling_of_a_user_id_stays(raw: str) -> None:
    assert "SECRET" not in intake.conceal(raw, KEY)


def test_a_number_is_concealed_and_the_pseudonym_is_that_of_the_text() -> None:
    concealed = json.loads(intake.conceal('{"user_id": 8812345, "x": 7}', KEY))
    assert concealed == {"user_id": intake.pseudonym(KEY, "8812345"), "x": 7}
    assert intake.pseudonym(KEY, "über") in intake.conceal('{"user_id": "\\u00fcber"}', KEY)


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",)), min_size=1), st.integers(min_value=0))
def test_a_concealed_record_still_parses_or_was_broken(user: str, cut: int) -> None:
    raw = json.dumps({"user_id": user, "utterance": "hello", "locale": 3})
    concealed = json.loads(intake.conceal(raw, KEY))
    assert concealed == {"user_id": intake.pseudonym(KEY, user), "utterance": "hello", "locale": 3}
    intake.conceal(raw[: cut % len(raw)], KEY)  # a cut record never raises


RECORDS = st.one_of(
    st.builds(lambda i: json.dumps(GOOD | {"interaction_id": str(i)}).encode(), st.integers()),
    st.binary(max_size=40).filter(lambda b: b"\n" not in b),
    st.sampled_from([b"", b"\r", b"{}", b"null", b'{"user_id": 1}', json.dumps(GOOD | {"locale": "??"}).encode()]),
)


@settings(deadline=None)
@given(st.lists(RECORDS, max_size=30), st.integers(min_value=1, max_value=7))
def test_every_line_is_kept_rejected_or_blank(lines: list[bytes], size: int) -> None:
    """Count identity, and line numbers that do not depend on how the stream was cut into batches."""
    batches = [
        pa.RecordBatch.from_arrays(
            [
                pa.array(["f"] * len(part)),
                pa.array([0] * len(part), pa.int64()),
                pa.array(part, pa.binary()),
            ],
            schema=intake.LINES,
        )
        for part in (lines[i : i + size] for i in range(0, len(lines), size))
    ]
    rows = pa.Table.from_batches(intake.check_lines(batches, KEY, WINDOW), intake.CHECKED).to_pylist()
    assert [row["line"] for row in rows] == list(range(1, len(lines) + 1))
    for row in rows:
        assert (row["outcome"] == intake.KEPT) == (row["interaction_id"] is not None)
        assert (row["outcome"] == intake.REJECTED) == bool(row["reasons"])
        assert (row["outcome"] == intake.REJECTED) == (row["raw"] is not None)


def test_lines_are_counted_within_their_split() -> None:
    lines = [json.dumps(GOOD).encode()] * 4
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array(["f", "f", "g", "f"]),
            pa.array([0, 100, 0, 100], pa.int64()),
            pa.array(lines, pa.binary()),
        ],
        schema=intake.LINES,
    )
    [out] = intake.check_lines([batch], KEY, WINDOW)
    assert out.column("line").to_pylist() == [1, 1, 1, 2]


# In bulk as one by one


SLOT = {"name": "time", "value": "saa moja", "start": 8, "end": 16}
ODD_VALUES: list[Any] = [
    None, True, 0, 1, -1, 0.5, 1.0, 1.5, float("nan"), float("inf"), 2**70, "", " ", "x", "saa moja", "é" * 256,
    "é" * 257, "!", "²", "a" * 2001,
    "\ud800", "\x00", "\x1f", 'a"b\\', "sw_ke", "de", "thumbs_up", "2026-02-28T23:59:59.9Z",
    "2026-02-30T10:00:00Z", "2026-01-10T24:00:00Z", "2026-01-10 08:00:03.1234567+00:00", "20260110T080003Z",
    "2026-01-10T08:00:03", "2026-01-10T08:00:03-0300", "2031-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00",
    [], [None], [1], ["a"], ["thumbs_up", "stop"], {}, {"intent": "a"}, {"intent": "", "slots": []},
    {"intent": "a", "slots": None}, {"intent": "a", "slots": [None]}, {"intent": "a", "slots": [SLOT]},
    {"intent": "a", "slots": [SLOT | {"end": 15}]}, {"intent": "a", "slots": [SLOT | {"start": 8.0}]},
    {"intent": "a", "slots": [SLOT | {"start": -1}]}, {"intent": "a", "slots": [SLOT, SLOT | {"name": ""}]}, [None],
    [{"intent": "a", "confidence": 0.5}], [{"intent": "a"}], [{"intent": "a", "confidence": 2}],
    [{"intent": "a", "confidence": 1, "slots": [SLOT]}, {"intent": "b", "confidence": 0, "slots": [SLOT | {"end": 9}]}],
]  # fmt: skip
FIELDS = [*InteractionRecord.model_fields, "unknown", "user\u0130d"]
CHANGES = st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(ODD_VALUES), max_size=2)
SPELT = st.sampled_from(
    [
        lambda text: text,
        lambda text: text.replace(": ", ":"),
        lambda text: f"  {text}\r",
        lambda text: f"\u00a0{text}",
        lambda text: f"\ufeff{text}",
        lambda text: text + text,
        lambda text: text[:-1],
        lambda text: text[:-1] + ', "response": "failed"}',
        lambda text: text[:-1] + ', "x": Inf}',
        lambda text: text[:-1] + ', "x": ' + "[" * 150 + "]" * 150 + "}",
        lambda text: text[:-1] + ', "x": ' + "[" * 1500 + "]" * 1500 + "}",
        lambda text: text[:-1] + ', "feed\\u0062ack": null}',
        lambda text: text.replace("response", "resp\\u006fnse"),
        lambda text: text.replace(", ", ",\r"),
        lambda text: f"[{text}]",
        lambda text: "{" + text,
        lambda text: "}",
    ]
)


def spelt(changes: dict[str, Any], escape: bool, how: Any) -> bytes:
    return how(json.dumps(GOOD | changes, ensure_ascii=escape)).encode("utf-8", "surrogatepass")


LINES = st.lists(st.builds(spelt, CHANGES, st.booleans(), SPELT), min_size=1, max_size=20)


@settings(deadline=None, max_examples=150)
@given(LINES)
def test_a_batch_says_what_each_line_alone_would_have_said(lines: list[bytes]) -> None:
    rows = check(*lines).to_pylist()
    for line, row in zip(lines, rows, strict=True):
        expected = intake.check_line(line, KEY, WINDOW)
        assert {name: row[name] for name in expected} == expected
        assert row["outcome"] == intake.BLANK or (row["raw"] is None) == (row["record_hash"] is not None)


@settings(deadline=None)
@given(LINES)
def test_equal_hashes_are_equal_contents(lines: list[bytes]) -> None:
    fields = list(InteractionRecord.model_fields)
    kept = [row for row in check(*lines).to_pylist() if row["outcome"] == intake.KEPT]
    contents = {repr([row[name] for name in fields]): row["record_hash"] for row in kept}
    assert len(set(contents.values())) == len(contents)


def test_ordinary_records_are_taken_in_bulk() -> None:
    slots = {"intent": "alarm_set", "slots": [{"name": "time", "value": "ü saa", "start": 0, "end": 5}], "other": {}}
    lines = [
        GOOD,
        GOOD | {"interpretation": None, "confidence": None, "unknown": [{"a": None}]},
        GOOD | {"utterance": "ü saa", "interpretation": slots, "alternatives": [slots | {"confidence": 0.25}]},
        GOOD | {"feedback": ["thumbs_up"], "asr_alternatives": ["a"], "locale": "sw_ke"},
    ]
    texts = pa.array([json.dumps(line, ensure_ascii=i % 2 == 0).encode() for i, line in enumerate(lines)], pa.binary())
    taken, records = good_records(texts, str, WINDOW)
    assert taken.all()
    assert records.column("locale").to_pylist() == ["sw-KE"] * 4


def test_a_broken_line_costs_its_neighbours_nothing() -> None:
    lines = [json.dumps(GOOD).encode()] * 500
    lines[77] = b'{"user_id": "amina"'
    lines[300] = b'{"user_id": 3}'
    taken, _ = good_records(pa.array(lines, pa.binary()), str, WINDOW)
    assert taken.sum() >= 500 - 2 * 8
    assert not taken[[77, 300]].any()


@given(texts=st.lists(st.none() | st.text("[]{}aé", max_size=8), max_size=8), start=st.integers(0, 8))
def test_brackets_are_counted_text_by_text(texts: list[str | None], start: int) -> None:
    opened = [sum(text.count(bracket) for bracket in "[{") if text else 0 for text in texts]
    assert _brackets(pa.array(texts, pa.string()).slice(start)).tolist() == opened[start:]
