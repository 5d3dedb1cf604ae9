"""How a step runs: read published versions, do nothing when nothing changed, write, publish last, keep count."""

from __future__ import annotations

import hashlib
import inspect
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from types import ModuleType
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from pyarrow.dataset import Expression
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType
from pyspark.storagelevel import StorageLevel

from jobs.cells import read_cells
from jobs.files import commit
from jobs.spark import session
from jobs.staged import Kept
from schemas.columns import Table
from schemas.lake import Lake, Manifest
from schemas.settings import Settings
from schemas.tables import BY_NAME, JOB_RUNS


def spark_schema(table: Table, *without: str) -> StructType:
    """The Spark schema of a table, less the named columns."""
    return from_arrow_schema(pa.schema([f for f in table.arrow if f.name not in without]))


def digest(*parts: Any) -> str:
    """A 16-hex-digit hash of plain values."""
    text = json.dumps(parts, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Step:
    """A step of the pipeline.

    Args:
        name: as in `sayagain mine --only NAME`.
        reads: tables it reads, at their published versions.
        writes: tables it owns.
        settings: settings sections that change what it writes.
        code: modules beside the step's own whose source is part of the run's key.
        run: writes the tables through the `Run` it is given.
        locale: whether the launch locale is part of the key.
    """

    name: str
    reads: tuple[str, ...]
    writes: tuple[Table, ...]
    settings: tuple[str, ...]
    code: tuple[ModuleType, ...]
    run: Callable[[Run], None]
    locale: bool = False
    # What else the outcome depends on (files named in settings, another step's details), as plain values.
    also: Callable[[Lake, Settings], Any] | None = None


@dataclass(frozen=True)
class Result:
    """What a step did. `status` is done, unchanged or refused."""

    step: str
    status: str
    seconds: float
    counts: dict[str, int]


@dataclass
class Run:
    """One run of a step: its inputs, its counts, and the way to write."""

    step: Step
    lake: Lake
    settings: Settings
    run_id: str
    inputs: dict[str, int]
    outputs: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    status: str = "done"
    _kept: Kept = field(default_factory=Kept)

    @cached_property
    def spark(self) -> SparkSession:
        """The Spark session."""
        return session(self.settings)

    def read(self, table: str) -> DataFrame:
        """A table at the version this run was keyed by."""
        reader = self.spark.read.format("delta").option("versionAsOf", self.inputs[table])
        return reader.load(str(self.lake.table(table)))

    def keep(self, frame: DataFrame, level: StorageLevel = StorageLevel.MEMORY_AND_DISK_DESER) -> DataFrame:
        """A frame that is read more than once: cached until the step ends, however it ends."""
        return self._kept.keep(frame, level)

    def free(self) -> None:
        """Drop what was kept."""
        self._kept.free()

    def partitions(self, table: str, rows_each: int = 200_000) -> int:
        """Into how many parts to shuffle an input, so that a task's sort stays in memory whatever the table's size."""
        delta = DeltaTable(self.lake.table(table), version=self.inputs[table])
        rows = sum(n or 0 for n in delta.get_add_actions(flatten=True).column("num_records").to_pylist())
        return max(int(self.spark.conf.get("spark.sql.shuffle.partitions") or 1), -(-rows // rows_each))

    def cells(
        self, table: str, columns: Sequence[str], by: str, prepare: Callable[[pa.Table], pa.Table] = lambda rows: rows
    ) -> DataFrame:
        """Columns of an input as cells (`jobs.cells`), the rows of one value of `by` in one partition."""
        parts = self.partitions(table)
        data = self.lake.dataset(table, self.inputs[table])
        tasks = max(parts, self.spark.sparkContext.defaultParallelism)
        return read_cells(self.spark, data, columns, by, parts, tasks, prepare).repartitionById(parts, "part")

    def tally(self, table: str, *columns: str, where: Expression | None = None) -> Counter[tuple[Any, ...]]:
        """Rows by the values of some columns, of what this run has written of a table, or else reads of it.

        Arrow scans those columns alone, a batch at a time: no Spark job, and no cache to keep for one.
        """
        found: Counter[tuple[Any, ...]] = Counter()
        version = self.outputs[table] if table in self.outputs else self.inputs[table]
        scan = self.lake.dataset(table, version).scanner(columns=list(columns), filter=where)
        for batch in scan.to_batches():
            counts = pa.Table.from_batches([batch]).group_by(list(columns)).aggregate([([], "count_all")])
            *values, n = (column.to_pylist() for column in counts.columns)
            for key, count in zip(zip(*values, strict=True), n, strict=True):
                found[key] += count
        return found

    def rows(self, table: str, where: Expression | None = None) -> int:
        """How many rows this run has written of a table, or else reads of it; as `tally`, without a Spark job."""
        version = self.outputs[table] if table in self.outputs else self.inputs[table]
        return int(self.lake.dataset(table, version).count_rows(filter=where))

    def write(self, table: Table, frame: DataFrame, replace_where: str | None = None) -> int:
        """Replace a table that the step owns, or the part of it that a predicate names; return the rows written.

        Columns are put in the table's order and cast to its types; `run_id` is added.
        """
        schema = spark_schema(table)
        made = frame.withColumn("run_id", F.lit(self.run_id)) if "run_id" in table.names else frame
        columns = [F.col(f"`{f.name}`").cast(f.dataType).alias(f.name) for f in schema.fields]
        writer = made.select(*columns).write.format("delta").mode("overwrite")
        if replace_where and self.lake.table(table.name).exists():
            # A lake of an older program lacks the columns that came later; its rows have null there.
            writer = writer.option("replaceWhere", replace_where).option("mergeSchema", "true")
        else:
            writer = writer.option("overwriteSchema", "true")
        if table.partition_by:
            writer = writer.partitionBy(*table.partition_by)
        path = self.lake.table(table.name)
        writer.save(str(path))
        delta = DeltaTable(path)
        self.outputs[table.name] = delta.version()
        # Delta's own statistics of the commit: no job, no second pass over the rows.
        return int(delta.history(1)[0]["operationMetrics"]["numOutputRows"])

    def commit(self, table: Table, written: DataFrame) -> int:
        """Replace a table that the step owns by the files that tasks have written (`jobs.files`); return the rows."""
        self.outputs[table.name], rows = commit(table, self.lake.table(table.name), written.toArrow())
        return rows

    def count(self, **counts: int) -> None:
        """Add to the counts of this run; every dropped row is counted under a name."""
        for name, value in counts.items():
            self.counts[name] = self.counts.get(name, 0) + int(value)


def source_of(step: Step) -> str:
    """The code that a step's outcome depends on: its own module's and `step.code`."""
    return "".join(inspect.getsource(module) for module in (sys.modules[step.run.__module__], *step.code))


def _content(lake: Lake, tables: tuple[str, ...]) -> dict[str, str]:
    """What each input holds, by the run that wrote it: equal content has an equal key, whatever its version."""
    found = {}
    for table in tables:
        lake.version(table)  # a clear error when there is none
        manifest = lake.manifest(BY_NAME[table].writer.split(".")[-1])
        found[table] = manifest.run_id if manifest else ""
    return found


def run_step(step: Step, lake: Lake, settings: Settings) -> Result:
    """Run a step if its code, settings or inputs changed since it last published; publish last.

    Killed at any moment, the tables that readers see are the old ones; run again, it writes the same as if it had
    never died.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    chosen = settings.model_dump(mode="json", include=set(step.settings) | {"seed"})
    key: list[Any] = [source_of(step), chosen, _content(lake, step.reads)]
    key += [settings.locale] if step.locale else []
    key += [step.also(lake, settings)] if step.also else []
    run_id = digest(step.name, *key)
    last = lake.manifest(step.name)
    if last is not None and last.run_id == run_id:
        return Result(step.name, "unchanged", time.monotonic() - clock, last.counts)
    run = Run(step, lake, settings, run_id, {table: lake.version(table) for table in step.reads})
    try:
        step.run(run)
    finally:
        run.free()
    lake.publish(Manifest(step.name, run_id, run.inputs, run.outputs, run.counts, run.details))
    seconds = time.monotonic() - clock
    record_run(lake, step.name, run_id, started, seconds, run.status, run.inputs, run.outputs, run.counts)
    return Result(step.name, run.status, seconds, run.counts)


def record_run(
    lake: Lake,
    step: str,
    run_id: str,
    started: datetime,
    seconds: float,
    status: str,
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    counts: Mapping[str, int],
) -> None:
    """Append one row to `job_runs`."""
    row = {
        "run_id": run_id,
        "step": step,
        "started_at": started,
        "seconds": seconds,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "status": status,
        "inputs": [f"{table}@{version}" for table, version in sorted(inputs.items())],
        "outputs": [f"{table}@{version}" for table, version in sorted(outputs.items())],
        "counts": [{"name": name, "value": value} for name, value in counts.items()],
    }
    write_deltalake(lake.table(JOB_RUNS.name), pa.Table.from_pylist([row], schema=JOB_RUNS.arrow), mode="append")
