"""Spark's Python daemon, with what the steps need imported already: each worker is forked with it.

Idle workers end after a minute, and a new one would import for a second or more before its first row.
"""

from __future__ import annotations

import gc
import zipimport

import pyspark.sql.pandas.serializers  # noqa: F401
from pyspark.daemon import manager

import jobs.pipeline  # noqa: F401

# Before each task Spark has Python forget what it found on its path. Delta's jars are on it, and Python 3.11 reads the
# directory of each anew: half a second a task, for archives that hold no Python.
zipimport.zipimporter.invalidate_caches = lambda self: None  # type: ignore[method-assign]

if __name__ == "__main__":
    gc.freeze()  # the daemon collects after every task: not what all workers share
    manager()
