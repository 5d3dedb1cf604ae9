"""The gate's expectations as data."""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.expectations import batch_expectations

WINDOW = (datetime(2015, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


def test_bounds_come_from_the_settings(settings) -> None:
    chosen = settings({"ingest.min_records": 9, "ingest.max_quarantined": 0.125, "ingest.max_null_interpretation": 0.5})
    by_setting = {e.setting: e for e in batch_expectations(chosen.ingest, WINDOW)}
    assert by_setting["ingest.min_records"].arguments["min_value"] == 9
    assert by_setting["ingest.max_quarantined"].arguments["max_value"] == 0.125
    assert by_setting["ingest.max_null_interpretation"].arguments["max_value"] == 0.5
    assert by_setting["ingest.max_quarantined"].says == "at most 12.5% of the records quarantined"
    assert not any(e.arguments.get("column") == "locale" for e in by_setting.values())


def test_locales_are_asked_for_where_they_are_named(settings) -> None:
    chosen = settings({"ingest.locales": ["sw_ke", "de-DE", "sw-KE"], "ingest.max_other_locales": 0.25})
    [expected] = [e for e in batch_expectations(chosen.ingest, WINDOW) if e.arguments.get("column") == "locale"]
    assert expected.arguments == {"column": "locale", "value_set": ["de-DE", "sw-KE"], "mostly": 0.75}
