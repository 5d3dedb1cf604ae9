"""The one Spark session, started when the first step needs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import suppress

from delta import configure_spark_with_delta_pip
from pyspark.sql import SparkSession

from schemas.errors import InputError
from schemas.settings import Settings

_JAVA = (17, 21)


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
    builder = (
        SparkSession.builder.appName("sayagain")
        .master(spark.master)
        .config("spark.driver.memory", spark.driver_memory)
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.sql.shuffle.partitions", spark.shuffle_partitions)
        .config("spark.databricks.delta.snapshotPartitions", spark.snapshot_partitions)
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.execution.arrow.pyspark.enabled", True)
        .config("spark.sql.execution.arrow.maxBytesPerBatch", 64 << 20)  # staged cells are large (jobs.staged)
        .config("spark.ui.enabled", False)
        .config("spark.ui.showConsoleProgress", False)
        .config("spark.log.level", settings.log_level.upper())
        .config("spark.sql.adaptive.enabled", True)
    )
    for name, value in spark.conf.items():
        builder = builder.config(name, value)
    started = configure_spark_with_delta_pip(builder).getOrCreate()
    started.sparkContext.setLogLevel(settings.log_level.upper())
    return started


def start_beside(settings: Settings) -> None:
    """Start the session in a thread, beside a caller's other work; nothing to do when one runs."""

    def start() -> None:
        with suppress(Exception):  # the first step tries again, and its error reaches the user
            session(settings)

    if SparkSession.getActiveSession() is None:
        threading.Thread(target=start, daemon=True).start()
