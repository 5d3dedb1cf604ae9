"""What a batch of raw records must look like to be published, as data made from the settings.

`jobs.expectations` hands each to Great Expectations by the name of its class there. The batch that they
describe has one row for every record read, with these columns; those that come from the record are null where
it was rejected: `quarantined`, `interpretation_missing` and `utterance_missing` (0 or 1), `interaction_id`
(null for a repeated delivery too), `occurred_at`, `locale`, `response`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from schemas.record import RESPONSES, standard_locale
from schemas.settings import IngestSettings


@dataclass(frozen=True)
class Expectation:
    """One expectation.

    Args:
        says: what it asks for, as an error message prints it.
        kind: class in `great_expectations.expectations`.
        arguments: of that class.
        setting: what to change where the batch is right and the expectation is not; empty if nothing.
    """

    says: str
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    setting: str = ""


def batch_expectations(
    settings: IngestSettings, window: tuple[datetime, datetime], fresh: bool = True
) -> tuple[Expectation, ...]:
    """The expectations of a batch.

    Args:
        settings: the bounds.
        window: earliest and latest plausible `occurred_at`.
        fresh: whether any record is new; of none, the share of distinct ids is not defined.
    """
    earliest, latest = window
    expectations = [
        Expectation(
            f"at least {settings.min_records} records read",
            "ExpectTableRowCountToBeBetween",
            {"min_value": settings.min_records},
            "ingest.min_records",
        ),
        Expectation(
            f"at most {settings.max_quarantined:.1%} of the records quarantined",
            "ExpectColumnMeanToBeBetween",
            {"column": "quarantined", "max_value": settings.max_quarantined},
            "ingest.max_quarantined",
        ),
        Expectation(
            f"at most {settings.max_null_interpretation:.1%} of the good records without an interpretation",
            "ExpectColumnMeanToBeBetween",
            {"column": "interpretation_missing", "max_value": settings.max_null_interpretation},
            "ingest.max_null_interpretation",
        ),
        Expectation(
            f"every occurred_at from {earliest:%Y-%m-%d} to {latest:%Y-%m-%d}",
            "ExpectColumnValuesToBeBetween",
            {"column": "occurred_at", "min_value": earliest, "max_value": latest},
            "ingest.earliest",
        ),
        Expectation(
            "an utterance in every good record",
            "ExpectColumnMeanToBeBetween",
            {"column": "utterance_missing", "max_value": 0},
        ),
        Expectation(
            f"every response one of {', '.join(RESPONSES)}",
            "ExpectColumnValuesToBeInSet",
            {"column": "response", "value_set": list(RESPONSES)},
        ),
    ]
    if fresh:
        expectations.append(
            Expectation(
                "every interaction_id once",
                "ExpectColumnProportionOfUniqueValuesToBeBetween",  # a window over the batch would cost far more
                {"column": "interaction_id", "min_value": 1},
            )
        )
    if settings.locales:
        allowed = sorted({standard_locale(tag) or tag for tag in settings.locales})
        expectations.append(
            Expectation(
                f"at most {settings.max_other_locales:.1%} of the good records outside {', '.join(allowed)}",
                "ExpectColumnValuesToBeInSet",
                {"column": "locale", "value_set": allowed, "mostly": 1 - settings.max_other_locales},
                "ingest.max_other_locales",
            )
        )
    return tuple(expectations)
