"""The input contract over whole batches of lines: takes the records that are certainly good, leaves the others.

Arrow parses the lines and checks what `schemas.record` checks, in columns. A line that is not certainly good (broken,
out of bounds, or merely unusual: escapes in a name, a fraction of more than six digits) is left to the check of one
record at a time, which knows every reason. So what this takes is right, and what it leaves costs time only.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
from numpy.typing import NDArray

from schemas.columns import ALTERNATIVES, INTERPRETATION, SLOT, SLOTS, STRINGS, TIME
from schemas.record import FEEDBACK, RESPONSES, standard_locale

Flags = NDArray[np.bool_]
_LONGEST = 4096  # bytes of a line: longer ones may hold what only one of the two JSON readers takes
_SMALLEST = 8  # lines: a part of a batch that does not parse is halved down to this
_READ_SLOT = pa.struct([("name", pa.string()), ("value", pa.string()), ("start", pa.int64()), ("end", pa.int64())])
_READ_SLOTS = pa.list_(_READ_SLOT)
_READ = pa.schema(
    [
        *((name, pa.string()) for name in ("interaction_id", "user_id", "locale", "occurred_at", "utterance")),
        ("asr_confidence", pa.float64()),
        ("asr_alternatives", pa.list_(pa.string())),
        ("interpretation", pa.struct([("intent", pa.string()), ("slots", _READ_SLOTS)])),
        ("confidence", pa.float64()),
        (
            "alternatives",
            pa.list_(pa.struct([("intent", pa.string()), ("slots", _READ_SLOTS), ("confidence", pa.float64())])),
        ),
        *((name, pa.string()) for name in ("model_version", "rewritten_from", "response", "requested_slot")),
        ("feedback", pa.list_(pa.string())),
        ("channel", pa.string()),
    ]
)
_DEEPEST = 200  # brackets of a line
# Written null where the contract wants a list; an escape in a name; numbers that JSON does not have.
_DOUBTFUL = r'"(asr_alternatives|alternatives|feedback|slots)"\s*:\s*null|"[^"]*\\[^"]*"\s*:|[:\[,]\s*-?(Inf|NaN)'
_MOMENT = (
    r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[T ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?"
    r"(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$"
)


def good_records(
    lines: pa.Array, pseudonym: Callable[[str], str], window: tuple[datetime, datetime]
) -> tuple[Flags, pa.Table]:
    """The lines that are certainly good records.

    Args:
        lines: binary, one record a line.
        pseudonym: of a user id.
        window: earliest and latest plausible `occurred_at`.

    Returns:
        Which lines they are, and their columns as the `interactions` table holds them (less `date`, `record_hash` and
        `run_id`), in the order of the lines. About 6 microseconds a line; memory some 10 times the lines.
    """
    texts = pc.ascii_trim_whitespace(_as_text(lines))
    likely = pc.and_(pc.starts_with(texts, "{"), pc.ends_with(texts, "}"))
    likely = pc.and_(likely, pc.less(pc.binary_length(texts), _LONGEST))
    likely = pc.and_not(likely, pc.match_substring_regex(texts, _DOUBTFUL))
    rows = np.flatnonzero(_flags(likely) & (_brackets(texts) < _DEEPEST))
    parts: list[tuple[NDArray[np.int64], pa.Table]] = []
    _parse(texts, rows, parts)
    table = pa.concat_tables([part for _, part in parts]) if parts else _READ.empty_table()
    rows = np.concatenate([found for found, _ in parts]) if parts else np.zeros(0, dtype=np.int64)
    table = table.combine_chunks()
    good, moments, locales = _judge(table, window)
    taken = np.zeros(len(lines), dtype=bool)
    taken[rows[good]] = True
    mask = pa.array(good)
    return taken, _columns(table.filter(mask), moments.filter(mask), locales.filter(mask), pseudonym)


def _brackets(texts: pa.Array) -> NDArray[np.int64]:
    """How many brackets each text opens."""
    _, ends, text = texts.buffers()
    if text is None:
        return np.zeros(len(texts), dtype=np.int64)
    offsets = np.frombuffer(ends, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    letters = np.frombuffer(text, dtype=np.uint8)[offsets[0] : offsets[-1]]
    opened = np.flatnonzero((letters == ord("[")) | (letters == ord("{"))) + offsets[0]
    return np.diff(np.searchsorted(opened, offsets))


def _as_text(lines: pa.Array) -> pa.Array:
    """The lines as strings, null where they are not UTF-8."""
    try:
        return lines.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([_decoded(line) for line in lines.to_pylist()], pa.string())


def _decoded(line: bytes | None) -> str | None:
    try:
        return None if line is None else line.decode()
    except UnicodeDecodeError:
        return None


def _parse(texts: pa.Array, rows: NDArray[np.int64], parts: list[tuple[NDArray[np.int64], pa.Table]]) -> None:
    """Parse the lines `rows`; a part that does not parse is halved until only what is broken is left out."""
    if not len(rows):
        return
    text = "\n".join(texts.take(pa.array(rows)).to_pylist()).encode()
    try:
        # Each line begins with { and ends with }, so as many records as lines means one record a line.
        table = pa.json.read_json(
            io.BytesIO(text),
            read_options=pa.json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            parse_options=pa.json.ParseOptions(explicit_schema=_READ, unexpected_field_behavior="ignore"),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError):
        table = None
    if table is not None and len(table) == len(rows):
        parts.append((rows, table))
    elif len(rows) > _SMALLEST:
        middle = len(rows) // 2
        _parse(texts, rows[:middle], parts)
        _parse(texts, rows[middle:], parts)


def _flags(values: pa.Array | pa.ChunkedArray) -> Flags:
    return np.asarray(pc.fill_null(values, False).to_numpy(zero_copy_only=False), dtype=bool)


def _between(values: pa.Array, low: float, high: float) -> pa.Array:
    return pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))


def _sized(texts: pa.Array, most: int) -> Flags:
    """Present, with 1 to `most` characters."""
    return _flags(_between(pc.utf8_length(texts), 1, most))


def _probable(values: pa.Array, optional: bool = True) -> Flags:
    inside = _flags(_between(values, 0.0, 1.0))
    return inside | values.is_null().to_numpy(zero_copy_only=False) if optional else inside


def _judge(table: pa.Table, window: tuple[datetime, datetime]) -> tuple[Flags, pa.Array, pa.Array]:
    """Which rows meet the contract; when they occurred; their locales in standard spelling."""
    column = {name: table.column(name).combine_chunks() for name in _READ.names}
    good = _sized(column["interaction_id"], 256) & _sized(column["user_id"], 256) & _sized(column["utterance"], 2000)
    good &= _flags(pc.is_in(column["response"], pa.array(RESPONSES)))
    good &= _probable(column["confidence"]) & _probable(column["asr_confidence"])
    spelt = column["locale"].dictionary_encode()
    known = pa.array([standard_locale(tag) if tag else None for tag in spelt.dictionary.to_pylist()], pa.string())
    locales = known.take(spelt.indices)
    good &= locales.is_valid().to_numpy(zero_copy_only=False)
    moments = _moments(column["occurred_at"])
    inside = pc.and_(
        pc.greater_equal(moments, pa.scalar(window[0], TIME)), pc.less_equal(moments, pa.scalar(window[1], TIME))
    )
    good &= _flags(inside)
    texts = column["utterance"].to_pylist()
    good &= np.fromiter((text is not None and any(map(str.isalnum, text)) for text in texts), bool, len(texts))
    every = np.arange(len(table))
    _each(column["feedback"], every, good, lambda said: _flags(pc.is_in(said, pa.array(FEEDBACK))))
    _each(column["asr_alternatives"], every, good, lambda said: said.is_valid().to_numpy(zero_copy_only=False))
    meant, others = column["interpretation"], column["alternatives"]
    there = meant.is_valid().to_numpy(zero_copy_only=False)
    good &= ~there | _sized(pc.struct_field(meant, "intent"), 256)
    _slots_fit(pc.struct_field(meant, "slots"), every, texts, good)
    other, owner = others.flatten(), _owners(others, every)
    sound = other.is_valid().to_numpy(zero_copy_only=False) & _sized(pc.struct_field(other, "intent"), 256)
    good[owner[~(sound & _probable(pc.struct_field(other, "confidence"), optional=False))]] = False
    _slots_fit(pc.struct_field(other, "slots"), owner, texts, good)
    return good, moments, locales


def _moments(spelt: pa.Array) -> pa.Array:
    """Times, null where the spelling is not the plainest."""
    plain = pc.if_else(pc.match_substring_regex(spelt, _MOMENT), spelt, pa.scalar(None, pa.string()))
    try:
        return plain.cast(TIME)
    except pa.ArrowInvalid:  # a thirtieth of February, it may be
        early = pc.less(pc.utf8_slice_codeunits(plain, 8, 10), "29")
        return pc.if_else(early, plain, pa.scalar(None, pa.string())).cast(TIME)


def _owners(lists: pa.Array, owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """The row that owns each item of `lists.flatten()`, where `owner[i]` owns list i."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return np.repeat(owner, lengths)


def _each(lists: pa.Array, owner: NDArray[np.int64], good: Flags, sound: Callable[[pa.Array], Flags]) -> None:
    """Strike the rows that own an item which is not sound."""
    items = lists.flatten()
    if len(items):
        good[_owners(lists, owner)[~sound(items)]] = False


def _slots_fit(lists: pa.Array, owner: NDArray[np.int64], texts: list[str | None], good: Flags) -> None:
    """Strike the rows with a slot that is not what stands at its place in the utterance."""
    slots, owner = lists.flatten(), _owners(lists, owner)
    if not len(slots):
        return
    name, value, start, end = (pc.struct_field(slots, field.name) for field in _READ_SLOT)
    sound = _sized(name, 256) & _sized(value, 2000)
    sound &= _flags(pc.and_(pc.greater_equal(start, 0), pc.less(start, end)))
    good[owner[~sound]] = False
    rows = np.flatnonzero(sound)
    places = zip(
        owner[rows].tolist(),
        value.take(pa.array(rows)).to_pylist(),
        start.take(pa.array(rows)).to_pylist(),
        end.take(pa.array(rows)).to_pylist(),
        strict=True,
    )
    for row, said, begin, stop in places:
        text = texts[row]
        if text is None or stop > len(text) or text[begin:stop] != said:
            good[row] = False


def _columns(table: pa.Table, moments: pa.Array, locales: pa.Array, pseudonym: Callable[[str], str]) -> pa.Table:
    column = {name: table.column(name).combine_chunks() for name in _READ.names}
    users = column["user_id"].dictionary_encode()
    pseudonyms = pa.array([pseudonym(user) for user in users.dictionary.to_pylist()], pa.string())
    meant, others = column["interpretation"], column["alternatives"]
    other = others.flatten()
    column |= {
        "user_id": pseudonyms.take(users.indices),
        "locale": locales,
        "occurred_at": moments,
        "asr_alternatives": _refilled(column["asr_alternatives"], None, STRINGS),
        "feedback": _refilled(column["feedback"], None, STRINGS),
        "interpretation": pa.StructArray.from_arrays(
            [pc.struct_field(meant, "intent"), _slots(pc.struct_field(meant, "slots"))],
            fields=list(INTERPRETATION),
            mask=meant.is_null(),
        ),
        "alternatives": _refilled(
            others,
            pa.StructArray.from_arrays(
                [
                    pc.struct_field(other, "intent"),
                    _slots(pc.struct_field(other, "slots")),
                    pc.struct_field(other, "confidence"),
                ],
                fields=list(ALTERNATIVES.value_type),
            ),
            ALTERNATIVES,
        ),
    }
    return pa.table(column)


def _slots(lists: pa.Array) -> pa.Array:
    flat = lists.flatten()
    fields = [pc.struct_field(flat, field.name).cast(field.type) for field in SLOT]
    return _refilled(lists, pa.StructArray.from_arrays(fields, fields=list(SLOT)), SLOTS)


def _refilled(lists: pa.Array, items: pa.Array | None, type_: pa.DataType) -> pa.Array:
    """The lists with other items in the same places, and empty lists for null."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), lists.flatten() if items is None else items, type=type_)
