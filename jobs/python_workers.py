"""Spark's Python daemon, with what the steps need imported already: each worker is forked with it.

Idle workers end after a minute, and a new one would import for a second or more before its first row.
"""

from __future__ import annotations

import gc

import pyspark.sql.pandas.serializers  # noqa: F401
from pyspark.daemon import manager

import jobs.pipeline  # noqa: F401

if __name__ == "__main__":
    gc.freeze()  # the daemon collects after every task: not what all workers share
    manager()
