"""Raw logs to `interactions`, what is no interaction to `quarantine`, and a gate before both."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import pyarrow as pa
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.storagelevel import StorageLevel

from jobs import expectations as gate
from jobs.lake import Result, digest, record_run, spark_schema
from jobs.pseudonym_key import pseudonym_key
from jobs.raw_logs import is_remote, local_files, read_lines, remote_files
from jobs.spark import session
from mining import intake
from schemas.columns import Table
from schemas.errors import InputError, RefusedError
from schemas.expectations import batch_expectations
from schemas.lake import Lake, Manifest
from schemas.record import InteractionRecord
from schemas.settings import IngestSettings, Settings
from schemas.tables import INTERACTIONS, QUARANTINE

CONFLICT = "interaction_id: already used by a different record"
_DUPLICATE = "duplicate"
_STORED = StorageLevel.MEMORY_AND_DISK


def _checked(
    batches: Iterator[pa.RecordBatch], key: bytes, window: tuple[datetime, datetime]
) -> Iterator[pa.RecordBatch]:
    """What a worker runs."""
    return intake.check_lines(batches, key, window)


def _numbered(spark: SparkSession, checked: DataFrame) -> tuple[DataFrame, dict[str, int]]:
    """The records with their line in the file, blank lines left out, and the counts of lines.

    Lines were counted within splits, in parallel; a split's first line follows from the splits before it.
    """
    blank = F.count_if(F.col("outcome") == intake.BLANK).alias("blank")
    splits = checked.groupBy("file", "split").agg(F.count("*").alias("lines"), blank).collect()
    offsets: list[tuple[str, int, int]] = []
    passed: dict[str, int] = {}
    for row in sorted(splits, key=lambda row: (row["file"], row["split"])):
        offsets.append((row["file"], row["split"], passed.get(row["file"], 0)))
        passed[row["file"]] = passed.get(row["file"], 0) + row["lines"]
    blanks = sum(row["blank"] for row in splits)
    counts = {"files": len(passed), "blank": blanks, "read": sum(passed.values()) - blanks}
    records = checked.where(F.col("outcome") != intake.BLANK)
    if any(offset for _, _, offset in offsets):
        starts = spark.createDataFrame(offsets, "file string, split long, before long")
        records = records.join(F.broadcast(starts), ["file", "split"])
        records = records.withColumn("line", F.col("line") + F.col("before")).drop("before")
    return records.drop("split"), counts


def _repeats(records: DataFrame, published: DataFrame | None) -> DataFrame:
    """The good records whose id the table or an earlier line has used: (file, line, same content?).

    Shuffles ids and hashes only; reads two columns of the whole table, as an id may come back under any date.
    """
    ids = records.where(F.col("outcome") == intake.KEPT).select("interaction_id", "record_hash", "file", "line")
    # First by a number of eight bytes: most ids come once, and need no window.
    key = F.xxhash64("interaction_id").alias("key")
    suspect = ids.groupBy(key).count().where("count > 1").select("key")
    if published is not None:
        known = published.select("interaction_id", F.col("record_hash").alias("known"))
        known = known.join(ids.select("interaction_id"), "interaction_id", "leftsemi")
        suspect = suspect.union(known.select(key)).distinct()
    suspects = ids.withColumn("key", key).join(suspect, "key", "leftsemi")
    order = Window.partitionBy("interaction_id").orderBy("file", "line")
    ranked = suspects.withColumn("place", F.row_number().over(order))
    ranked = ranked.withColumn("first", F.first("record_hash").over(order))
    if published is not None:
        ranked = ranked.join(known, "interaction_id", "left")
    else:
        ranked = ranked.withColumn("known", F.lit(None).cast("string"))
    before = F.coalesce("known", F.when(F.col("place") > 1, F.col("first")))
    return ranked.where(before.isNotNull()).select("file", "line", (before == F.col("record_hash")).alias("same"))


def _judged(records: DataFrame, repeats: DataFrame) -> DataFrame:
    """The records with their final outcome: an id used twice is a duplicate, or a reason for quarantine."""
    joined = records.join(repeats, ["file", "line"], "left")
    conflict = F.col("same") == F.lit(False)
    outcome = F.when(conflict, intake.REJECTED).when(F.col("same"), _DUPLICATE).otherwise(F.col("outcome"))
    reasons = F.when(conflict, F.array(F.lit(CONFLICT))).otherwise(F.col("reasons"))
    # A good record's line is not kept; what is shown of one that comes second is what it says.
    said = F.to_json(F.struct(*(F.col(name) for name in InteractionRecord.model_fields)))
    raw = F.when(conflict, said).otherwise(F.col("raw"))
    return joined.withColumn("raw", raw).withColumn("outcome", outcome).withColumn("reasons", reasons).drop("same")


def _rejected(records: DataFrame) -> DataFrame:
    """Quarantine rows. The id leaves out the folder: a file that was moved is no new file."""
    name = F.element_at(F.split("file", "/"), -1)
    made = F.sha2(F.concat_ws("\x1f", name, F.col("line").cast("string"), F.col("raw")), 256)
    rows = records.where(F.col("outcome") == intake.REJECTED)
    return rows.select(F.substring(made, 1, 32).alias("quarantine_id"), "file", "line", "raw", "reasons")


def _batch(records: DataFrame) -> DataFrame:
    """What the gate sees: the columns that `schemas.expectations` names."""
    rejected = F.col("outcome") == intake.REJECTED
    kept = F.col("outcome") == intake.KEPT
    good = ["occurred_at", "locale", "response"]
    return records.select(
        rejected.cast("int").alias("quarantined"),
        *(
            F.when(~rejected, F.col(name).isNull().cast("int")).alias(f"{name}_missing")
            for name in ("interpretation", "utterance")
        ),
        F.when(kept, F.col("interaction_id")).alias("interaction_id"),
        *(F.when(~rejected, F.col(name)).alias(name) for name in good),
    )


@dataclass
class _Batch:
    """A batch that was read and judged. Its frames live until the run ends."""

    records: DataFrame
    rejected: DataFrame  # the quarantine rows that the table does not have yet
    counts: dict[str, int]
    fresh: int
    newly_rejected: int


class _Ingest:
    """One run. `with` it, so that whatever it cached is freed."""

    def __init__(self, spark: SparkSession, lake: Lake, last: Manifest | None) -> None:
        self.spark, self.lake, self.last = spark, lake, last
        self.outputs = dict(last.outputs) if last else {}
        self.run_id = ""
        self._cached: list[DataFrame] = []

    def __enter__(self) -> _Ingest:
        return self

    def __exit__(self, *_: object) -> None:
        for frame in self._cached:
            frame.unpersist()

    def _keep(self, frame: DataFrame) -> DataFrame:
        self._cached.append(frame.persist(_STORED))
        return frame

    def _published(self, table: Table) -> DataFrame | None:
        version = self.lake.published().get(table.name)
        if version is None:
            return None
        reader = self.spark.read.format("delta").option("versionAsOf", version)
        return reader.load(str(self.lake.table(table.name)))

    def judge(self, lines: DataFrame, key: bytes, window: tuple[datetime, datetime]) -> _Batch:
        """Check every line, number it, and tell new records from known ones."""
        schema = from_arrow_schema(intake.CHECKED)
        checked = self._keep(lines.mapInArrow(partial(_checked, key=key, window=window), schema))
        records, counts = _numbered(self.spark, checked)
        repeats = self._keep(_repeats(records, self._published(INTERACTIONS)))
        if not repeats.isEmpty():
            records = _judged(records, repeats)
        hashed = F.bit_xor(F.xxhash64("interaction_id", "record_hash")).alias("hash")
        found = records.groupBy("outcome").agg(F.count("*").alias("rows"), hashed).collect()
        rows = {row["outcome"]: row["rows"] for row in found}
        hashes = {row["outcome"]: row["hash"] for row in found}
        counts["kept"], counts["duplicates"] = rows.get(intake.KEPT, 0), rows.get(_DUPLICATE, 0)
        counts["quarantined"] = rows.get(intake.REJECTED, 0)
        if counts["read"] != counts["kept"] + counts["duplicates"] + counts["quarantined"]:
            raise AssertionError(f"records were lost or doubled on the way: {counts}")
        rejected = self._keep(_rejected(records))
        new, new_hash = rejected, None
        if counts["quarantined"]:
            counts |= _by_field(rejected)
            new, new_rows, new_hash = self._not_in_quarantine(rejected)
        else:
            new_rows = 0
        self.run_id = digest(self.last.run_id if self.last else "", hashes.get(intake.KEPT), new_hash)
        return _Batch(records, new, counts, counts["kept"], new_rows)

    def _not_in_quarantine(self, rejected: DataFrame) -> tuple[DataFrame, int, int | None]:
        new, known = rejected.dropDuplicates(["quarantine_id"]), self._published(QUARANTINE)
        if known is not None:
            new = new.join(known.select("quarantine_id"), "quarantine_id", "leftanti")
        [row] = new.agg(F.count("*"), F.bit_xor(F.xxhash64("quarantine_id"))).collect()
        return new, row[0], row[1]

    def validate(
        self, batch: _Batch, settings: IngestSettings, window: tuple[datetime, datetime]
    ) -> gate.Verdict | None:
        """Ask the gate; None where there is nothing to publish but what is published already."""
        if not batch.fresh and not batch.newly_rejected and batch.counts["duplicates"]:
            return None
        expected = batch_expectations(settings, window)
        seen = self._keep(_batch(batch.records))
        return gate.validate(seen, expected, self.lake.expectations, self.run_id)

    def write(self, batch: _Batch, passed: bool) -> bool:
        """Write the new rows; of a refused batch only those for the quarantine. True if there were any."""
        written = False
        if passed and batch.fresh:
            kept = batch.records.where(F.col("outcome") == intake.KEPT)
            rows = self._append(INTERACTIONS, kept)
            if rows != batch.fresh:
                raise AssertionError(f"{rows} interactions were written, {batch.fresh} were kept")
            written = True
        if batch.newly_rejected:
            self._append(QUARANTINE, batch.rejected)
            written = True
        elif written and QUARANTINE.name not in self.outputs:
            self.outputs[QUARANTINE.name] = _create_empty(self.lake, QUARANTINE)
        return written

    def _append(self, table: Table, frame: DataFrame) -> int:
        made = frame.withColumn("run_id", F.lit(self.run_id))
        columns = [F.col(f.name).cast(f.dataType).alias(f.name) for f in spark_schema(table).fields]
        mode = _heal(self.lake, table)
        writer = made.select(*columns).write.format("delta").mode(mode)
        if mode == "overwrite":
            writer = writer.option("overwriteSchema", "true")
        if table.partition_by:
            writer = writer.partitionBy(*table.partition_by)
        writer.save(str(self.lake.table(table.name)))
        delta = DeltaTable(self.lake.table(table.name))
        self.outputs[table.name] = delta.version()
        # Delta's own statistics of the commit: no job, no second pass over the rows.
        return int(delta.history(1)[0]["operationMetrics"]["numOutputRows"])

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


def _heal(lake: Lake, table: Table) -> str:
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

    One pass over the input; the checked records are cached in memory and on disk until the end.
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
            batch = work.judge(read_lines(spark, sorted(files)), key, window)
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
