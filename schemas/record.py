"""The input contract: one raw interaction record, as the product's logger writes it.

pydantic checks a record and reports every fault; the JSON Schema in docs/interaction.schema.json is made from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

import langcodes
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticSerializationError

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
RESPONSES = ("completed", "failed", "no_match", "clarification", "cancelled")
FEEDBACK = ("barge_in", "stop", "thumbs_up", "thumbs_down", "repeat_request")

Text = Annotated[str, Field(min_length=1, max_length=2_000)]
Identifier = Annotated[str, Field(min_length=1, max_length=256)]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Strict(BaseModel):
    # Unknown keys are kept out silently: a product logs more than we read.
    model_config = ConfigDict(extra="ignore", strict=True)


class SlotRecord(_Strict):
    """A slot value; `start` and `end` are half-open offsets in Unicode code points into `utterance`."""

    name: Identifier
    value: Text
    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=1)]


class InterpretationRecord(_Strict):
    """What the model understood."""

    intent: Identifier
    slots: list[SlotRecord] = []


class AlternativeRecord(InterpretationRecord):
    """An n-best interpretation behind the first."""

    confidence: Probability


def _timestamp(value: Any) -> Any:
    # Strict mode would take no string from a dict; a number is ambiguous (seconds? milliseconds?) and refused.
    return datetime.fromisoformat(value) if isinstance(value, str) else value


@lru_cache(maxsize=4096)
def standard_locale(value: str) -> str | None:
    """The standard spelling of a BCP-47 tag with a region (`sw_ke` gives `sw-KE`), or None if it is none."""
    try:
        tag = langcodes.standardize_tag(value)
        known = langcodes.tag_is_valid(tag) and langcodes.Language.get(tag).territory is not None
    except (ValueError, LookupError):
        return None
    return tag if known else None


def _span_faults(utterance: str, slots: Sequence[SlotRecord]) -> list[str]:
    faults = []
    for slot in slots:
        if slot.start >= slot.end or slot.end > len(utterance):
            faults.append(f"slot {slot.name} [{slot.start}, {slot.end}) is outside its text of {len(utterance)}")
        elif utterance[slot.start : slot.end] != slot.value:
            spelt = utterance[slot.start : slot.end]
            faults.append(f"slot {slot.name} says {slot.value!r} where the text has {spelt!r}")
    return faults


class InteractionRecord(_Strict):
    """One user turn as logged."""

    interaction_id: Identifier = Field(description="Unique id of the turn.")
    user_id: Identifier = Field(description="The product's user id; replaced by a pseudonym on ingest.")
    locale: str = Field(description="BCP-47 tag with a region, such as sw-KE.", examples=["sw-KE"])
    occurred_at: Annotated[AwareDatetime, BeforeValidator(_timestamp)] = Field(
        description="ISO 8601 with an offset, when the user began to speak."
    )
    utterance: Text = Field(description="The recogniser's first hypothesis.")
    asr_confidence: Probability | None = None
    asr_alternatives: list[str] = []
    interpretation: InterpretationRecord | None = Field(default=None, description="Null where nothing was understood.")
    confidence: Probability | None = Field(default=None, description="The model's own, of its interpretation.")
    alternatives: list[AlternativeRecord] = []
    model_version: str | None = None
    rewritten_from: str | None = Field(
        default=None, description="The utterance before a deployed rewrite replaced it, if one did."
    )
    response: Literal["completed", "failed", "no_match", "clarification", "cancelled"]
    requested_slot: str | None = Field(default=None, description="The slot type that a clarification asked for.")
    feedback: list[Literal["barge_in", "stop", "thumbs_up", "thumbs_down", "repeat_request"]] = []
    channel: str | None = None

    @field_validator("locale")
    @classmethod
    def _known_locale(cls, value: str) -> str:
        tag = standard_locale(value)
        if tag is None:
            raise ValueError(f"{value!r} is no BCP-47 locale with a region, such as 'sw-KE'")
        return tag

    @field_validator("utterance")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not any(c.isalnum() for c in value):
            raise ValueError("has no letter or digit")
        return value

    @field_validator("occurred_at")
    @classmethod
    def _plausible_time(cls, value: datetime, info: ValidationInfo) -> datetime:
        earliest, latest = (info.context or {}).get("window", (None, None))
        if (earliest and value < earliest) or (latest and value > latest):
            raise ValueError(f"{value.isoformat()} is outside {earliest:%Y-%m-%d} to {latest:%Y-%m-%d}")
        return value.astimezone(UTC)

    @field_validator("interpretation")
    @classmethod
    def _spans_in_text(cls, value: InterpretationRecord | None, info: ValidationInfo) -> InterpretationRecord | None:
        utterance = info.data.get("utterance")
        faults = _span_faults(utterance, value.slots) if value and utterance is not None else []
        if faults:
            raise ValueError("; ".join(faults))
        return value

    @field_validator("alternatives")
    @classmethod
    def _alternative_spans_in_text(
        cls, value: list[AlternativeRecord], info: ValidationInfo
    ) -> list[AlternativeRecord]:
        utterance = info.data.get("utterance")
        if utterance is not None:
            faults = [fault for other in value for fault in _span_faults(utterance, other.slots)]
            if faults:
                raise ValueError("; ".join(faults))
        return value


def check_record(raw: str, window: tuple[datetime, datetime]) -> tuple[InteractionRecord | None, list[str]]:
    """Check one raw JSON record against the contract.

    Args:
        raw: one line of the log.
        window: earliest and latest plausible `occurred_at`, both aware.

    Returns:
        The record and no reasons, or None and every reason as `field: what is wrong`, sorted.
    """
    try:
        parsed = json.loads(raw)
    except ValueError as fault:
        return None, [f"record: not JSON ({fault})"]
    except RecursionError:
        return None, ["record: nested too deeply"]
    if not isinstance(parsed, dict):
        return None, [f"record: a JSON {type(parsed).__name__}, not an object"]
    try:
        record = InteractionRecord.model_validate(parsed, context={"window": window})
        if _SURROGATE.search(raw):
            record.model_dump_json()  # a field without bounds takes half a character
        return record, []
    except PydanticSerializationError:
        return None, ["record: holds half of a surrogate pair, which is no character"]
    except ValidationError as error:
        reasons = (
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False)
        )
        return None, sorted(reasons)


def contract() -> str:
    """The JSON Schema (2020-12) of one record, as text."""
    return json.dumps(InteractionRecord.model_json_schema(), indent=2, ensure_ascii=False) + "\n"
