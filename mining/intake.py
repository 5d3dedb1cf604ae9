"""Raw log lines to interactions or to quarantine rows: contract, pseudonyms, line numbers. Pure Arrow."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mining.bulk_intake import good_records
from schemas.columns import STRINGS
from schemas.record import InteractionRecord, check_record
from schemas.tables import INTERACTIONS

KEPT, REJECTED, BLANK = "kept", "rejected", "blank"

# What a split of a file is cut into. `text` is bytes, as nothing guarantees UTF-8.
LINES = pa.schema([("file", pa.string()), ("split", pa.int64()), ("text", pa.binary())])
# What becomes of each line. `line` counts from 1 within the split; `raw` is kept of what is rejected.
CHECKED = pa.schema(
    [
        pa.field("file", pa.string()),
        pa.field("split", pa.int64()),
        pa.field("line", pa.int64()),
        pa.field("outcome", pa.string()),
        pa.field("raw", pa.string()),
        pa.field("reasons", STRINGS),
        *(f.with_nullable(True).remove_metadata() for f in INTERACTIONS.arrow if f.name != "run_id"),
    ]
)

# A user id however it is spelt or quoted, so that broken JSON and a misnamed field keep no id in clear.
# A string may lack its end; an object or an array is left to whoever can parse the record.
_USER = re.compile(
    r"""(?P<name>["']?\buser[_\- ]?id["']?\s*[:=]\s*)
        (?: "(?P<double>(?:[^"\\]|\\.)*+)(?:"|\\?$)
          | '(?P<single>(?:[^'\\]|\\.)*+)(?:'|\\?$)
          | (?P<bare>[^\s,{}\[\]"']++) )""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_NESTED = re.compile(r"""["']?\buser[_\- ]?id["']?\s*[:=]\s*[\[{]""", re.IGNORECASE)
_FILE = re.compile(r"^file:(?://)?(?=/)")  # Spark writes one slash or three
_ESCAPED_NAME = re.compile(r'"[^"]*\\u[^"]*"\s*:')


def pseudonym(key: bytes, user_id: str) -> str:
    """HMAC-SHA256 of a user id, as 64 hex digits."""
    return hmac.digest(key, user_id.encode("utf-8", "surrogatepass"), "sha256").hex()


def _spelt(inside: str) -> str:
    """What a JSON string says, from the text between its quotes; the text itself where that is broken."""
    try:
        return str(json.loads(f'"{inside}"'))
    except ValueError:
        return inside


def conceal(raw: str, key: bytes) -> str:
    """A raw record with its user ids replaced by their pseudonyms; the record may be broken JSON.

    A user id that is an object or an array is replaced whole where the record parses; in broken JSON the
    rest of the text goes with it, as its end cannot be known. O(len(raw)).
    """

    def replaced(match: re.Match[str]) -> str:
        if match["bare"] is not None:
            known = match["bare"] == "null"
            return match[0] if known else f'{match["name"]}"{pseudonym(key, match["bare"])}"'
        inside = match["double"] if match["double"] is not None else match["single"]
        return f'{match["name"]}"{pseudonym(key, _spelt(inside))}"'

    concealed = _USER.sub(replaced, raw)
    nested = _NESTED.search(concealed)
    if nested is None and not _ESCAPED_NAME.search(raw):
        return concealed
    # An object as an id, or a name spelt with escapes: only parsing can tell.
    try:
        made = json.dumps(_conceal_parsed(json.loads(raw), key), ensure_ascii=False)
        return made.encode("utf-8", "backslashreplace").decode()  # a lone surrogate is no text
    except (ValueError, RecursionError):
        if nested is None:
            return concealed
        return f'{concealed[: nested.end() - 1]}"{pseudonym(key, concealed[nested.end() - 1 :])}"'


def _conceal_parsed(value: Any, key: bytes) -> Any:
    if isinstance(value, list):
        return [_conceal_parsed(item, key) for item in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for name, inner in value.items():
        if re.sub(r"[_\- ]", "", name).lower() == "userid" and inner is not None:
            made[name] = pseudonym(key, inner if isinstance(inner, str) else json.dumps(inner, sort_keys=True))
        else:
            made[name] = _conceal_parsed(inner, key)
    return made


def check_line(text: bytes, key: bytes, window: tuple[datetime, datetime]) -> dict[str, Any]:
    """One line of a log as a row of `CHECKED`, less its place, date and hash.

    Args:
        text: the line's bytes, with or without a carriage return at its end.
        key: the HMAC key of the pseudonyms.
        window: earliest and latest plausible `occurred_at`.
    """
    try:
        raw = text.decode("utf-8-sig").strip()
    except UnicodeDecodeError as fault:
        # Bytes that are no text are kept as \xNN, so that a person can still see what was sent.
        shown = conceal(text.decode("utf-8", "backslashreplace").strip(), key)
        reason = f"record: not UTF-8 (byte 0x{text[fault.start]:02x} at {fault.start})"
        return {"outcome": REJECTED, "raw": shown, "reasons": [reason]}
    if not raw:
        return {"outcome": BLANK}
    record, reasons = check_record(raw, window)
    if record is None:
        return {"outcome": REJECTED, "raw": conceal(raw, key), "reasons": reasons}
    record.user_id = pseudonym(key, record.user_id)
    return record.model_dump() | {"outcome": KEPT}


def content_hashes(records: pa.Table) -> pa.Array:
    """Hashes of good records by what they say, however their lines spelt it: 32 hex digits each.

    Fields left at their defaults are not hashed: a field added to the contract later changes no old hash. Every value
    stands with its name and length, so that no two records make the same text. About 3 microseconds a record.
    """
    parts = [_spelt_field(name, records.column(name).combine_chunks()) for name in InteractionRecord.model_fields]
    texts = pc.binary_join_element_wise(*parts, "").cast(pa.binary()).to_pylist()
    return pa.array([hashlib.blake2b(text, digest_size=16).hexdigest() for text in texts], pa.string())


def _spelt_field(name: str, values: pa.Array) -> pa.Array:
    """`name=value;` of each row, or nothing where the value is null or an empty list."""
    text, there = _spelt_values(values), values.is_valid()
    if pa.types.is_list(values.type):
        there = pc.greater(pc.fill_null(pc.list_value_length(values), 0), 0)
    return pc.if_else(there, pc.binary_join_element_wise(f"{name}=", pc.fill_null(text, ""), ";", ""), "")


def _spelt_values(values: pa.Array) -> pa.Array:
    if pa.types.is_struct(values.type):
        fields = [_spelt_field(f.name, pc.struct_field(values, f.name)) for f in values.type]
        return pc.binary_join_element_wise(*fields, "")
    if pa.types.is_list(values.type):
        items = pc.fill_null(_spelt_values(values.flatten()), "")
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), items), "|")
    if pa.types.is_timestamp(values.type):
        return values.cast(pa.int64()).cast(pa.string())
    if pa.types.is_string(values.type):
        return pc.binary_join_element_wise(pc.binary_length(values).cast(pa.string()), values, ":")
    return values.cast(pa.string())


def check_lines(
    batches: Iterable[pa.RecordBatch], key: bytes, window: tuple[datetime, datetime]
) -> Iterator[pa.RecordBatch]:
    """Check a stream of log lines against the contract.

    Args:
        batches: of `LINES`, the lines of each (file, split) in their order; files as percent-encoded URIs.
        key: the HMAC key of the pseudonyms.
        window: earliest and latest plausible `occurred_at`.

    Yields:
        One batch of `CHECKED` for each, in the same order, one row a line: an interaction (`kept`), a record
        with every reason against it (`rejected`), or a `blank` line. About 12 microseconds a good line, 60 any
        other; memory for one batch, some 20 times its lines.
    """
    counted: dict[tuple[str, int], int] = {}
    for batch in batches:
        if batch.num_rows:
            rows = _checked(batch.column("text"), key, window)
            yield _placed(batch, rows, counted)


def _checked(texts: pa.Array, key: bytes, window: tuple[datetime, datetime]) -> pa.Table:
    """The columns of `CHECKED` but for the place: the plainly good lines at once, the others one by one."""
    taken, good = good_records(texts, partial(pseudonym, key), window)
    good = good.append_column("outcome", pa.repeat(KEPT, len(good)))
    left = np.flatnonzero(~taken)
    others = [check_line(text or b"", key, window) for text in texts.take(pa.array(left)).to_pylist()]
    names = [name for name in CHECKED.names if name not in ("file", "split", "line", "date", "record_hash")]
    schema = pa.schema([CHECKED.field(name) for name in names])
    slow = pa.table([pa.array([row.get(f.name) for row in others], type=f.type) for f in schema], schema=schema)
    for name in names:
        if name not in good.column_names:
            good = good.append_column(name, pa.nulls(len(good), schema.field(name).type))
    rows = pa.concat_tables([good.select(names).cast(schema), slow]).combine_chunks()
    kept = pc.equal(rows.column("outcome"), KEPT)
    hashes = content_hashes(rows.filter(kept))
    which = pc.if_else(kept, pc.subtract(pc.cumulative_sum(kept.cast(pa.int64())), 1), None)
    rows = rows.append_column("record_hash", hashes.take(which.combine_chunks()))
    rows = rows.append_column("date", rows.column("occurred_at").cast(pa.date32()))
    back = np.empty(len(texts), dtype=np.int64)
    back[np.concatenate([np.flatnonzero(taken), left])] = np.arange(len(texts))
    return rows.take(pa.array(back)) if len(left) else rows


def _placed(batch: pa.RecordBatch, rows: pa.Table, counted: dict[tuple[str, int], int]) -> pa.RecordBatch:
    """The rows with their file, split and line; `counted` holds how many lines of each split came before."""
    files, splits = batch.column("file").dictionary_encode(), batch.column("split").to_numpy()
    paths = [_FILE.sub("", unquote(uri)) for uri in files.dictionary.to_pylist()]
    codes, line = files.indices.to_numpy(), np.empty(batch.num_rows, dtype=np.int64)
    for code, split in set(zip(codes.tolist(), splits.tolist(), strict=True)):
        here = np.flatnonzero((codes == code) & (splits == split))
        before = counted.get((paths[code], split), 0)
        line[here] = before + 1 + np.arange(len(here))
        counted[paths[code], split] = before + len(here)
    place = {"file": pa.array(paths).take(files.indices), "split": batch.column("split"), "line": pa.array(line)}
    columns = [place[f.name] if f.name in place else rows.column(f.name).combine_chunks() for f in CHECKED]
    return pa.RecordBatch.from_arrays(columns, schema=CHECKED)
