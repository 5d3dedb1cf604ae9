"""What the page reads from a lake: published versions, through `deltalake`, with filters pushed to the files.

Every function names the columns it needs, so that a page over millions of turns reads one session of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake.exceptions import TableNotFoundError

from schemas.lake import Lake
from schemas.tables import BY_NAME

# No step's manifest names these: rows are only ever added, so the newest version is the one to read.
APPENDED = ("job_runs", "model_runs", "gate_reports", "reviews")
PAIR_COLUMNS = (
    "pair_id",
    "locale",
    "kind",
    "edit",
    "source_utterance",
    "target_utterance",
    "posterior",
    "new_request",
    "gap_seconds",
    "target_acceptance",
)
TURN_COLUMNS = (
    "interaction_id",
    "position",
    "occurred_at",
    "utterance",
    "interpretation",
    "confidence",
    "response",
    "feedback",
    "model_version",
    "friction",
    "evidence",
)
LABEL_COLUMNS = (
    "formulation_id",
    "locale",
    "utterance",
    "status",
    "why",
    "intent",
    "posterior",
    "slots",
    "tags",
    "users",
    "events",
)


_BELIEF = ("posterior", "kind", "new_request")
_SPOKEN = ("source_utterance", "target_utterance", "utterance", "word", "translation")  # a table has one or two


def _believed(posterior: Any, kind: Any = None, new_request: Any = None) -> Any:
    """What is believed of a row: of a new request that it is one, and not that it is a rephrase."""
    return posterior if new_request is None else pc.if_else(pc.equal(kind, "new_request"), new_request, posterior)


@dataclass(frozen=True)
class Search:
    """What to look for; an empty field lets everything through. Text is found anywhere, in any case."""

    locale: str = ""
    text: str = ""
    kind: str = ""
    status: str = ""
    min_posterior: float = 0.0

    def condition(self, table: str, there: Collection[str] | None = None) -> pc.Expression | None:
        """The filter on a table's rows, or None for every row. Fields that the table lacks do not filter.

        Args:
            there: the columns of its files, where an older program may have written fewer.
        """
        names = BY_NAME[table].names if there is None else there
        exact = {"locale": self.locale, "kind": self.kind, "status": self.status}
        found = [pc.field(name) == wanted for name, wanted in exact.items() if wanted and name in names]
        if self.min_posterior > 0 and "posterior" in names:
            found.append(_believed(*(pc.field(name) for name in _BELIEF if name in names)) >= self.min_posterior)
        text = self.text.strip()
        spoken = [name for name in _SPOKEN if name in names]
        if text and spoken:
            held = [pc.match_substring(pc.field(name), text, ignore_case=True) for name in spoken]
            found.append(held[0] if len(held) == 1 else held[0] | held[1])
        condition = None
        for one in found:
            condition = one if condition is None else condition & one
        return condition


@dataclass(frozen=True)
class Published:
    """A lake at the versions that were published when the page looked."""

    lake: Lake
    versions: dict[str, int]

    @classmethod
    def of(cls, path: Path) -> Published:
        """Open a lake for reading.

        Raises:
            InputError: there is no lake there, or a newer program made it.
        """
        lake = Lake(path).open()
        versions = lake.published()
        for name in APPENDED:
            if name not in versions and (latest := lake.latest(name)) is not None:
                versions[name] = latest
        return cls(lake, versions)

    def _dataset(self, table: str) -> Any:
        """The files of a table, or None when it is not published."""
        if table not in self.versions:
            return None
        try:
            return self.lake.dataset(table, self.versions[table])
        except TableNotFoundError:  # a manifest without its table: somebody removed the folder
            return None

    def rows(self, table: str, columns: tuple[str, ...] = (), condition: pc.Expression | None = None) -> pa.Table:
        """Rows of a table; none if it has not been published. A column that an older program did not write is null."""
        wanted = list(columns or BY_NAME[table].names)
        files = self._dataset(table)
        if files is None:
            return pa.schema([BY_NAME[table].arrow.field(name) for name in wanted]).empty_table()
        found = files.to_table(columns=[name for name in wanted if name in files.schema.names], filter=condition)
        for name in set(wanted) - set(found.column_names):
            found = found.append_column(name, pa.nulls(len(found), BY_NAME[table].arrow.field(name).type))
        return found.select(wanted)

    def count(self, table: str, search: Search) -> int:
        """How many rows of a table a search finds."""
        files = self._dataset(table)
        return 0 if files is None else int(files.count_rows(filter=search.condition(table, files.schema.names)))

    def locales(self) -> list[str]:
        """The locales of the logged turns."""
        for table in ("turns", "interactions"):
            if table in self.versions:
                return sorted(pc.unique(self.rows(table, ("locale",))["locale"]).to_pylist())
        return []

    def found(self, table: str, search: Search, columns: tuple[str, ...], limit: int) -> tuple[pa.Table, int]:
        """The most believed rows that a search finds, at most `limit`, and how many there are in all."""
        files = self._dataset(table)
        there = None if files is None else files.schema.names
        rows = self.rows(table, columns, search.condition(table, there))
        belief = _believed(*(rows.column(name) for name in _BELIEF if name in rows.column_names))
        ordered = rows.append_column("_belief", belief).sort_by(
            [("_belief", "descending"), (BY_NAME[table].names[0], "ascending")]
        )
        return ordered.drop_columns("_belief").slice(0, limit), len(rows)

    def one(self, table: str, key: str) -> dict[str, Any] | None:
        """The row of a table whose first column is `key`."""
        rows = self.rows(table, condition=pc.field(BY_NAME[table].names[0]) == key).to_pylist()
        return rows[0] if rows else None

    def session(self, session_id: str) -> list[dict[str, Any]]:
        """The turns of a session, in order."""
        turns = self.rows("turns", TURN_COLUMNS, pc.field("session_id") == session_id)
        return list(turns.sort_by("position").to_pylist())

    def latest_runs(self) -> list[dict[str, Any]]:
        """The newest run of each step, in the order in which they ran."""
        newest: dict[str, dict[str, Any]] = {}
        for run in self.rows("job_runs").sort_by("started_at").to_pylist():
            newest.pop(run["step"], None)
            newest[run["step"]] = run
        return list(newest.values())

    def label_statuses(self, locale: str = "") -> Counter[str]:
        """Pseudo-labels by status."""
        condition = Search(locale).condition("pseudo_labels")
        return Counter(self.rows("pseudo_labels", ("status",), condition)["status"].to_pylist())

    def quarantine_reasons(self) -> Counter[str]:
        """Faults of rejected records, by name; a record with two faults counts under both."""
        faults = self.rows("quarantine", ("reasons",))["reasons"].to_pylist()
        return Counter(reason for reasons in faults for reason in reasons or ())
