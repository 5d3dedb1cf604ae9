"""The one Spark session, started when the first step needs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from schemas.errors import InputError
from schemas.settings import Settings

_JAVA = (17, 21)
ARROW_BYTES = "spark.sql.execution.arrow.maxBytesPerBatch"  # to a Python worker at once; read when a job starts
# Delta asks for them, and pyspark has them.
_SHIPPED = ("org.apache.hadoop:hadoop-client-api", "org.apache.hadoop:hadoop-client-runtime")
UNBOUND = (1 << 31) - 1


def check_java() -> None:
    """Spark 4.1 needs Java 17 or 21.

    Raises:
        InputError: it is missing or another version; says which was found and how to install one.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=os.path.join(home, "bin")) if home else shutil.which("java")
    found = "none"
    if java:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
        match = re.search(r'version "(\d+)', said)
        found = match.group(1) if match else "one that says no version"
    if found not in map(str, _JAVA):
        raise InputError(
            f"Spark needs Java 17 or 21, found {found}: apt-get install openjdk-17-jre-headless, or set JAVA_HOME"
        )


def session(settings: Settings) -> SparkSession:
    """The running Spark session, or a new one made from the settings (Delta's jars come through Ivy, once).

    Under spark-submit the running session is used as it is, so a cluster keeps its own configuration.
    """
    running = SparkSession.getActiveSession()
    if running is not None:
        return running
    check_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    spark = settings.spark
    chosen = {
        "spark.app.name": "sayagain",
        "spark.master": spark.master,
        "spark.driver.memory": spark.driver_memory,
        "spark.jars.packages": _delta(),
        "spark.jars.excludes": ",".join(_SHIPPED),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.shuffle.partitions": str(spark.shuffle_partitions),
        "spark.databricks.delta.snapshotPartitions": str(spark.snapshot_partitions),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        # A bound in bytes has Spark add up all nested columns after each row; ten thousand rows are bound enough.
        ARROW_BYTES: str(UNBOUND),
        "spark.python.daemon.module": "jobs.python_workers",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": settings.log_level.upper(),
        "spark.sql.adaptive.enabled": "true",
    }
    conf = SparkConf().setAll(list((chosen | spark.conf).items()))
    if SparkContext._gateway is None:
        with _errors_only(settings.log_level == "error") as stderr:
            SparkContext(conf=conf, gateway=launch_gateway(conf, {"stderr": stderr}))
    started = SparkSession.builder.config(conf=conf).getOrCreate()
    started.sparkContext.setLogLevel(settings.log_level.upper())
    return started


def _delta() -> str:
    """Delta's Maven coordinates, for the versions of pyspark and delta-spark that are installed."""
    major, minor = version("pyspark").split(".")[:2]
    return f"io.delta:delta-spark_{major}.{minor}_2.13:{version('delta-spark')}"


@contextmanager
def _errors_only(quiet: bool) -> Iterator[int | None]:
    """A standard error for the JVM: what comes before the body ends is shown only if the body fails.

    Starting, Ivy tells a page and Spark ten lines, all of them well.
    """
    if not quiet:
        yield None
        return
    out, into = os.pipe()
    started, kept = threading.Event(), list[str]()

    def relay() -> None:
        with os.fdopen(out, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if started.is_set():
                    sys.stderr.write(line)
                else:
                    kept.append(line)

    reader = threading.Thread(target=relay, daemon=True)
    reader.start()
    try:
        yield into
    except BaseException:
        os.close(into)
        reader.join(timeout=5)  # until the JVM is gone; one that lives on has said why
        sys.stderr.writelines(kept)
        raise
    else:
        os.close(into)
    finally:
        started.set()
