"""The Arrow types of columns, and what a column and a table are. `schemas.tables` defines every table with them."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

TIME = pa.timestamp("us", tz="UTC")


def list_of(of: pa.DataType) -> pa.DataType:
    """The list type of tables, whatever lies between them."""
    # Spark and Delta call a list's items "element"; Arrow's own default would differ after a round trip.
    return pa.list_(pa.field("element", of))


# Fields inside a struct are nullable: Delta keeps no constraint on them, and Arrow refuses to cast one away.
SLOT = pa.struct([("name", pa.string()), ("value", pa.string()), ("start", pa.int32()), ("end", pa.int32())])
SLOTS = list_of(SLOT)
INTERPRETATION = pa.struct([("intent", pa.string()), ("slots", SLOTS)])
ALTERNATIVES = list_of(pa.struct([("intent", pa.string()), ("slots", SLOTS), ("confidence", pa.float64())]))
# One comparison or one piece of evidence: its name, the level observed, and its weight in bits (log2 m/u).
EVIDENCE = list_of(pa.struct([("name", pa.string()), ("level", pa.string()), ("weight", pa.float64())]))
INTENTS = list_of(pa.struct([("intent", pa.string()), ("probability", pa.float64())]))
STRINGS = list_of(pa.string())
TAGS = list_of(
    STRINGS
)  # for each token of `schemas.normalise.tokenise` the BIO tags it may have; none: nothing is known


@dataclass(frozen=True)
class Column:
    """A column: Arrow type, what it means, and whether it may be null."""

    name: str
    type: pa.DataType
    doc: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """A Delta table. `writer` is the only module that writes it; `scope` are the columns a run replaces by."""

    name: str
    row: str
    writer: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partition_by: tuple[str, ...] = ()

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema, with each column's meaning as metadata."""
        return pa.schema([pa.field(c.name, c.type, c.nullable, metadata={"comment": c.doc}) for c in self.columns])

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(c.name for c in self.columns)


RUN_ID = Column("run_id", pa.string(), "hash of step source, settings and input content")
LOCALE = Column("locale", pa.string(), "BCP-47 tag")
