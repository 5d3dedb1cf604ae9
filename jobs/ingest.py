"""Raw logs to `interactions`, what is no interaction to `quarantine`, and a gate before both."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import pyarrow as pa
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.storagelevel import StorageLevel

from jobs import expectations as gate
from jobs.cells import read_cells
from jobs.checked import Checked
from jobs.files import WRITTEN, commit, writes
from jobs.lake import Result, digest, record_run
from jobs.pseudonym_key import pseudonym_key
from jobs.raw_logs import is_remote, local_files, read_lines, remote_files
from jobs.repeats import Told, known_as, marked, told
from jobs.spark import session
from jobs.staged import Kept, few_at_once
from schemas.columns import Table
from schemas.errors import InputError, RefusedError
from schemas.expectations import batch_expectations
from schemas.lake import Lake, Manifest
from schemas.settings import IngestSettings, Settings
from schemas.tables import INTERACTIONS, QUARANTINE

CONFLICT = "interaction_id: already used by a different record"
_IDS_EACH = 500_000  # records of a task that looks for repeated ids
_LOOKED_THROUGH = 1_000_000  # ids of the table that one task looks through


def _with_ids(rejected: DataFrame) -> DataFrame:
    """Quarantine rows. The id leaves out the folder: a file that was moved is no new file."""
    name = F.element_at(F.split("file", "/"), -1)
    made = F.sha2(F.concat_ws("\x1f", name, F.col("line").cast("string"), F.col("raw")), 256)
    return rejected.select(F.substring(made, 1, 32).alias("quarantine_id"), "file", "line", "raw", "reasons")


@dataclass
class _Batch:
    """A batch that was read and judged. Its frames live until the run ends."""

    checked: Checked
    rejected: DataFrame  # the quarantine rows that the table does not have yet
    counts: dict[str, int]
    fresh: int
    newly_rejected: int


class _Ingest:
    """One run. `with` it, so that whatever it cached is freed and what its tasks told one another is removed."""

    def __init__(self, spark: SparkSession, lake: Lake, last: Manifest | None) -> None:
        self.spark, self.lake, self.last = spark, lake, last
        self.outputs = dict(last.outputs) if last else {}
        self.run_id = ""
        self._kept, self._places = Kept(), lake.scratch("ingest")

    def __enter__(self) -> _Ingest:
        shutil.rmtree(self._places, ignore_errors=True)  # of a run that was killed
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.free()
        shutil.rmtree(self._places, ignore_errors=True)

    def check(self, lines: DataFrame, key: bytes, window: tuple[datetime, datetime]) -> Checked:
        """Read the input and check every line."""
        return Checked(self._kept.keep, lines, key, window)

    def judge(self, checked: Checked) -> _Batch:
        """Tell new records from known ones."""
        counts = dict(checked.counts)
        told = self._told(checked, counts["read"])
        rejected = checked.rejected()
        if told.conflicts:
            rejected = rejected.unionByName(checked.conflicts(self._places, CONFLICT))
        rejected = self._kept.keep(_with_ids(rejected))
        counts["kept"], counts["duplicates"], counts["quarantined"] = told.first, told.same, rejected.count()
        if counts["read"] != counts["kept"] + counts["duplicates"] + counts["quarantined"]:
            raise AssertionError(f"records were lost or doubled on the way: {counts}")
        new, new_rows, new_hash = rejected, 0, None
        if counts["quarantined"]:
            counts |= _by_field(rejected)
            new, new_rows, new_hash = self._not_in_quarantine(rejected)
        self.run_id = digest(self.last.run_id if self.last else "", told.content, new_hash)
        return _Batch(checked, new, counts, counts["kept"], new_rows)

    def _told(self, checked: Checked, read: int) -> Told:
        """Which records use an id that the table or an earlier line has used. An id may come back under any date."""
        tasks = int(self.spark.conf.get("spark.sql.shuffle.partitions") or 1)
        parts = max(tasks, -(-read // _IDS_EACH))
        ids, known = checked.ids(parts), None
        version = self.lake.published().get(INTERACTIONS.name)
        if version is not None:
            data, columns = self.lake.dataset(INTERACTIONS.name, version), ["interaction_id", "record_hash"]
            ids = self._kept.keep(ids, StorageLevel.DISK_ONLY)  # read twice
            of_batch = known_as(marked(ids, self._places / "marks"))
            readers = max(self.spark.sparkContext.defaultParallelism, -(-data.count_rows() // _LOOKED_THROUGH))
            known = read_cells(self.spark, data, columns, "interaction_id", parts, readers, of_batch)
        return told(ids, known, self._places, parts)

    def _not_in_quarantine(self, rejected: DataFrame) -> tuple[DataFrame, int, int | None]:
        new, version = rejected.dropDuplicates(["quarantine_id"]), self.lake.published().get(QUARANTINE.name)
        if version is not None:
            reader = self.spark.read.format("delta").option("versionAsOf", version)
            known = reader.load(str(self.lake.table(QUARANTINE.name))).select("quarantine_id")
            new = new.join(known, "quarantine_id", "leftanti")
        [row] = new.agg(F.count("*"), F.bit_xor(F.xxhash64("quarantine_id"))).collect()
        return new, row[0], row[1]

    def validate(
        self, batch: _Batch, settings: IngestSettings, window: tuple[datetime, datetime]
    ) -> gate.Verdict | None:
        """Ask the gate; None where there is nothing to publish but what is published already."""
        if not batch.fresh and not batch.newly_rejected and batch.counts["duplicates"]:
            return None
        expected = batch_expectations(settings, window, fresh=batch.fresh > 0)
        seen = self._kept.keep(batch.checked.gate_rows(self._places))
        return gate.validate(seen, expected, self.lake.expectations, self.run_id)

    def write(self, batch: _Batch, passed: bool) -> bool:
        """Write the new rows; of a refused batch only those for the quarantine. True if there were any."""
        written = False
        if passed and batch.fresh:
            folder = self.lake.table(INTERACTIONS.name)
            rows = self._add(INTERACTIONS, batch.checked.write(self._places, folder, self.run_id))
            if rows != batch.fresh:
                raise AssertionError(f"{rows} interactions were written, {batch.fresh} were kept")
            written = True
        if batch.newly_rejected:
            self._add(QUARANTINE, batch.rejected.mapInArrow(self._quarantines(), from_arrow_schema(WRITTEN)))
            written = True
        elif written and QUARANTINE.name not in self.outputs:
            self.outputs[QUARANTINE.name] = _create_empty(self.lake, QUARANTINE)
        return written

    def _quarantines(self) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
        """What a task does with its quarantine rows."""
        run_id, write = self.run_id, writes(QUARANTINE, self.lake.table(QUARANTINE.name))

        def files(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            rows = (pa.Table.from_batches([batch]) for batch in batches)
            yield from write(table.append_column("run_id", pa.repeat(run_id, len(table))) for table in rows)

        return files

    def _add(self, table: Table, written: DataFrame) -> int:
        """Add the files that tasks write to their table; return how many rows they hold."""
        mode, folder = _heal(self.lake, table), self.lake.table(table.name)
        self.outputs[table.name], rows = commit(table, folder, written.toArrow(), mode)
        return rows

    def publish(self, counts: dict[str, int], fingerprint: str) -> None:
        """Make what was written the tables that readers see."""
        name, last = INTERACTIONS.name, self.last
        # Steps key their runs by this id, so it changes only with the interactions.
        same = last is not None and self.outputs.get(name) == last.outputs.get(name)
        run_id = last.run_id if last is not None and same else self.run_id
        details = {"key_fingerprint": fingerprint}
        self.lake.publish(Manifest("ingest", run_id, {}, self.outputs, counts, details))


def _by_field(rejected: DataFrame) -> dict[str, int]:
    """How many records were rejected for each field; a record with two faulty fields counts for both."""
    fields = F.array_distinct(F.transform("reasons", lambda reason: F.regexp_extract(reason, r"^[^:.]+", 0)))
    counted = rejected.select(F.explode(fields).alias("field")).groupBy("field").count().collect()
    return {f"quarantined.{row['field']}": row["count"] for row in sorted(counted)}


def _heal(lake: Lake, table: Table) -> Literal["append", "overwrite"]:
    """Undo what a killed run wrote and never published, and say how to write: append or overwrite."""
    version = lake.published().get(table.name)
    if version is None:
        return "overwrite"
    delta = DeltaTable(lake.table(table.name))
    if delta.version() > version:
        delta.restore(version)
    return "append"


def _create_empty(lake: Lake, table: Table) -> int:
    """A table without rows, so that readers find it; no JVM."""
    schema = pa.schema([field.with_nullable(True).remove_metadata() for field in table.arrow])
    made = DeltaTable.create(lake.table(table.name), schema, mode="overwrite", partition_by=list(table.partition_by))
    return int(made.version())


def _read_fault(fault: Exception) -> InputError | None:
    """The error of a file that cannot be read, as one that a person can act on; None if it is another."""
    found = re.search(r"\[((?:FAILED_READ|CANNOT_READ|CANNOT_MERGE|PATH_NOT)[A-Z_.]*)\] (.*)", str(fault))
    if found is None:
        return None
    said = found[2].split(" SQLSTATE")[0].strip()
    return InputError(f"an input file cannot be read: {said} Repair the file or leave it out, and run again.")


def ingest(lake: Lake, settings: Settings, inputs: Sequence[str]) -> Result:
    """Read raw logs: every record becomes an interaction, a counted duplicate or a quarantine row.

    Args:
        lake: made when it does not exist.
        settings: section `ingest`.
        inputs: files, folders or URIs of JSON Lines or Parquet.

    Returns:
        What was done, with `read = kept + duplicates + quarantined`. `unchanged` if every record was known.

    Raises:
        InputError: an input, the lake or the pseudonym key cannot be used.
        RefusedError: the gate refused the batch. Its quarantine rows are published, its interactions are not.

    One pass over the input; the checked records are kept on disk until the end, compressed.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    lake.open(create=True)
    if not inputs:
        raise InputError("no input: give at least one file or folder of logs")
    files = local_files(given for given in inputs if not is_remote(given))
    key, fingerprint = pseudonym_key(lake, settings.ingest)
    earliest = datetime.combine(settings.ingest.earliest, datetime.min.time(), UTC)
    window = (earliest, started + timedelta(days=settings.ingest.latest_ahead_days))
    spark = session(settings)
    files |= remote_files(spark, (given for given in inputs if is_remote(given)))
    try:
        with _Ingest(spark, lake, lake.manifest("ingest")) as work:
            checked = work.check(read_lines(spark, sorted(files)), key, window)
            with few_at_once(spark):
                batch = work.judge(checked)
                verdict = work.validate(batch, settings.ingest, window)
                passed = verdict is None or verdict.passed
                written = work.write(batch, passed)
            if written:
                work.publish(batch.counts, fingerprint)
    except Exception as fault:  # Spark's and py4j's: a file that cannot be read shows up under many types
        explained = _read_fault(fault)
        if explained is None:
            raise
        raise explained from fault
    status = "refused" if not passed else "done" if written else "unchanged"
    seconds = time.monotonic() - clock
    record_run(lake, "ingest", work.run_id, started, seconds, status, {}, work.outputs, batch.counts)
    if verdict is not None and not verdict.passed:
        raise RefusedError(_refusal(verdict, batch.counts))
    return Result("ingest", status, seconds, batch.counts)


def _refusal(verdict: gate.Verdict, counts: dict[str, int]) -> str:
    worst = sorted((-n, name.split(".", 1)[1]) for name, n in counts.items() if name.startswith("quarantined."))
    faults = ", ".join(f"{name} ({-n})" for n, name in worst[:5])
    lines = [f"the batch was not published: {counts['quarantined']} of {counts['read']} records were quarantined"]
    lines[0] += f", for {faults}" if faults else ""
    lines += [f"  {failure}" for failure in verdict.failures]
    lines.append(f"  all expectations: {verdict.page}")
    if counts["quarantined"]:
        lines.append("  the rejected records, each with its reasons, are in the table `quarantine`")
    return "\n".join(lines)
