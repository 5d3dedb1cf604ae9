"""Whose turns make labels: those of users who are heard (`mining.voices`) and are not kept for the gate."""

from __future__ import annotations

import pyarrow.compute as pc

VOTERS = "heard and not held_out"  # rows of `turns`, in Spark SQL
OF_VOTERS = pc.field("heard") & ~pc.field("held_out")  # the same rows, in Arrow
