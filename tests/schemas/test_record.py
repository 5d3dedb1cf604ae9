"""The input contract: what is taken, what is not, and every reason at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.record import FEEDBACK, RESPONSES, InteractionRecord, check_record, contract, standard_locale

ROOT = Path(__file__).parents[2]
WINDOW = (datetime(2015, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


def reasons(record: object) -> list[str]:
    found, why = check_record(record if isinstance(record, str) else json.dumps(record), WINDOW)
    assert (found is None) == bool(why)
    return why


def test_the_published_schema_is_the_one_in_force() -> None:
    """Made by: python -c 'from schemas.record import contract; print(contract(), end="")'."""
    assert (ROOT / "docs" / "interaction.schema.json").read_text(encoding="utf-8") == contract()


def test_the_documented_example_is_a_good_record() -> None:
    text = (ROOT / "docs" / "input-contract.md").read_text(encoding="utf-8")
    example = text.split("```json\n")[1].split("```")[0]
    assert reasons(json.loads(example)) == []
    documented = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    assert set(InteractionRecord.model_fields) <= documented


def test_unknown_keys_are_left_out(record) -> None:
    found, why = check_record(json.dumps(record(device_serial="x", battery=3)), WINDOW)
    assert not why
    assert not hasattr(found, "device_serial")


def test_half_a_surrogate_pair_in_any_field_is_no_text(record) -> None:
    assert reasons(record(model_version="a\ud800")) == ["record: holds half of a surrogate pair, which is no character"]
    assert reasons(record(model_version="a\ud83d\ude00", unknown="\ud800")) == []


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"interaction_id": ""}, "interaction_id", "at least 1 character"),
        ({"user_id": 7}, "user_id", "valid string"),
        ({"locale": "sw"}, "locale", "'sw' is no BCP-47 locale with a region"),
        ({"locale": "Swahili"}, "locale", "no BCP-47"),
        ({"locale": "xx-QQ"}, "locale", "no BCP-47"),
        ({"occurred_at": "1970-01-01T00:00:00Z"}, "occurred_at", "outside 2015-01-01 to 2027-01-01"),
        ({"occurred_at": "2099-01-01T00:00:00Z"}, "occurred_at", "outside"),
        ({"occurred_at": "2026-01-10T08:00:00"}, "occurred_at", "timezone"),
        ({"occurred_at": 1768032000}, "occurred_at", "valid datetime"),
        ({"occurred_at": "yesterday"}, "occurred_at", "isoformat"),
        ({"utterance": "…!?"}, "utterance", "no letter or digit"),
        ({"utterance": "a" * 2001}, "utterance", "at most 2000"),
        ({"utterance": "a\ud800"}, "utterance", "valid string"),
        ({"confidence": 1.2}, "confidence", "less than or equal to 1"),
        ({"confidence": float("nan")}, "confidence", "finite"),
        ({"response": "maybe"}, "response", "'completed'"),
        ({"feedback": ["shout"]}, "feedback.0", "'barge_in'"),
        ({"interpretation": {"slots": []}}, "interpretation.intent", "required"),
        ({"interpretation": "alarm_set"}, "interpretation", "valid dictionary"),
        (
            {"interpretation": {"intent": "a", "slots": [{"name": "t", "value": "x", "start": 3, "end": 3}]}},
            "interpretation",
            "slot t [3, 3) is outside its text of 16",
        ),
        (
            {
                "interpretation": {
                    "intent": "a",
                    "slots": [{"name": "t", "value": "x", "start": 0, "end": 17}],
                }
            },
            "interpretation",
            "slot t [0, 17) is outside its text of 16",
        ),
        (
            {
                "interpretation": {
                    "intent": "a",
                    "slots": [{"name": "t", "value": "saa", "start": 0, "end": 3}],
                }
            },
            "interpretation",
            "says 'saa' where the text has 'nia'",
        ),
    ],
)
def test_a_fault_is_named(record, changes: dict[str, object], field: str, says: str) -> None:
    [reason] = reasons(record(**changes))
    assert reason.startswith(f"{field}: ")
    assert says in reason


def test_all_faults_of_a_record_are_told(record) -> None:
    bad = record(locale="??", response="x", occurred_at="1970-01-01T00:00:00Z", confidence=-1)
    assert [reason.split(":")[0] for reason in reasons(bad)] == [
        "confidence",
        "locale",
        "occurred_at",
        "response",
    ]
    assert len(reasons({})) == sum(field.is_required() for field in InteractionRecord.model_fields.values())


@pytest.mark.parametrize("raw", ["", "{", "[1]", "null", '"text"', "[" * 100_000, "NaN", "1" * 5000])
def test_what_is_no_object(raw: str) -> None:
    [reason] = reasons(raw)
    assert reason.startswith("record: ")


def test_offsets_count_code_points(record) -> None:
    utterance = "👋🏽 目覚まし 七時"
    start = utterance.index("七")
    slot = {"name": "time", "value": "七時", "start": start, "end": start + 2}
    assert reasons(record(utterance=utterance, locale="ja-JP", interpretation={"intent": "a", "slots": [slot]})) == []


def test_locales_are_spelt_one_way() -> None:
    assert standard_locale("sw_ke") == "sw-KE"
    assert standard_locale("ZH-hant-tw") == "zh-Hant-TW"
    assert standard_locale("sw") is None
    assert standard_locale("") is None


@given(
    st.datetimes(min_value=datetime(2016, 1, 1), max_value=datetime(2026, 1, 1)),  # noqa: DTZ001
    st.integers(min_value=-14 * 60, max_value=14 * 60),
)
def test_times_come_out_in_utc(moment: datetime, minutes: int) -> None:
    from datetime import timezone

    said = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    raw = {"interaction_id": "a", "user_id": "u", "locale": "sw-KE", "utterance": "x", "response": "failed"}
    found, why = check_record(json.dumps(raw | {"occurred_at": said.isoformat()}), WINDOW)
    assert not why
    assert found is not None
    assert found.occurred_at == said
    assert found.occurred_at.utcoffset() == timedelta(0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(InteractionRecord.model_fields)), JSON), JSON)
def test_nothing_raises(fields: dict[str, object], other: object) -> None:
    reasons(fields)
    reasons(json.dumps(other))


def test_the_lists_of_the_contract_are_those_of_the_model() -> None:
    schema = json.loads(contract())["properties"]
    assert tuple(schema["response"]["enum"]) == RESPONSES
    assert tuple(schema["feedback"]["items"]["enum"]) == FEEDBACK
