"""Where raw logs lie and how their lines are read: files, folders and URIs, JSON Lines and Parquet."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from schemas.errors import InputError

_LINES = (".jsonl", ".json", ".ndjson", ".txt", ".gz")
READABLE = (*_LINES, ".parquet")
_URI = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.\-]+://")
_HIDDEN = re.compile(r"/[_.][^/]*$")


def is_remote(given: str) -> bool:
    """True for a URI that only Spark can list."""
    return bool(_URI.match(given)) and not given.startswith("file://")


def local_files(given: Iterable[str]) -> set[str]:
    """The log files that local paths name, as `file://` URIs; no JVM needed.

    Raises:
        InputError: a path is missing, holds nothing to read or cannot be read; says what to do.
    """
    return {file for one in given for file in _local_files(one)}


def remote_files(spark: SparkSession, given: Iterable[str]) -> set[str]:
    """The log files below URIs of any file system that this Spark reads.

    Raises:
        InputError: a URI cannot be listed or holds nothing to read.
    """
    return {file for one in given for file in _remote_files(spark, one)}


def _local_files(given: str) -> list[str]:
    path = Path(given.removeprefix("file://")).absolute()
    if path.is_file():
        if not path.name.endswith(READABLE):
            raise InputError(f"cannot read {path}: its name ends in none of {', '.join(READABLE)}")
        found = [path]
    elif path.is_dir():
        inside = (p for p in path.rglob("*") if p.is_file() and p.name.endswith(READABLE))
        # Spark passes over names that begin so: markers and half-written files.
        found = [p for p in inside if not any(part[0] in "_." for part in p.relative_to(path).parts)]
        if not found:
            raise InputError(f"nothing to read in {path}: no file in it ends in one of {', '.join(READABLE)}")
    else:
        raise InputError(f"no such file or folder: {path}; give the path of a log file or of a folder of them")
    for file in found:
        if not os.access(file, os.R_OK):
            raise InputError(f"no permission to read {file}: fix its owner or mode")
    return [f"file://{file}" for file in found]


def _remote_files(spark: SparkSession, given: str) -> list[str]:
    """Files below a URI of any file system that this Spark reads."""
    path = spark._jvm.org.apache.hadoop.fs.Path(given)
    try:
        files = path.getFileSystem(spark._jsc.hadoopConfiguration()).listFiles(path, True)
        found = []
        while files.hasNext():
            found.append(files.next().getPath().toString())
    except Exception as fault:  # a file system's own exceptions, as py4j brings them
        said = str(getattr(fault, "java_exception", fault)).splitlines()[0]
        raise InputError(f"cannot list {given}: {said}") from None
    found = [uri for uri in found if uri.endswith(READABLE) and not _HIDDEN.search(uri)]
    if not found:
        raise InputError(f"nothing to read in {given}: no file in it ends in one of {', '.join(READABLE)}")
    return found


def _escape(uri: str) -> str:
    """A path that Spark takes literally: it would read brackets and stars as a pattern."""
    return re.sub(r"([\\{}\[\]*?])", r"\\\1", uri)


def read_lines(spark: SparkSession, files: Sequence[str]) -> DataFrame:
    """Every line of the files, or Parquet row as JSON, with file and split: the columns of `intake.LINES`.

    Lazy: the files are read when the frame is.
    """
    place = [F.col("_metadata.file_path").alias("file"), F.col("_metadata.file_block_start").alias("split")]
    text = [_escape(f) for f in files if not f.endswith(".parquet")]
    columnar = [_escape(f) for f in files if f.endswith(".parquet")]
    frames = []
    if text:
        # A line ends at \n alone, as editors and `wc` count; the kernel strips a \r before it.
        read = spark.read.option("lineSep", "\n").text(text)
        frames.append(read.select(*place, F.col("value").cast("binary").alias("text")))
    if columnar:
        read = spark.read.option("mergeSchema", "true").parquet(*columnar)
        record = F.to_json(F.struct(*[F.col(f"`{name}`") for name in read.columns]))
        frames.append(read.select(*place, record.cast("binary").alias("text")))
    return frames[0] if len(frames) == 1 else frames[0].unionByName(frames[1])
