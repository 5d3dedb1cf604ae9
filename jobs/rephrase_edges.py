"""rephrase_pairs -> rephrase_edges: pairs of formulations over all users, one vote a user."""

from __future__ import annotations

from pyspark.sql import functions as F

from jobs.lake import Run, Step
from schemas.tables import REPHRASE_EDGES

_EDGE = ("locale", "source_formulation", "target_formulation")


def _run(run: Run) -> None:
    pairs = run.read("rephrase_pairs").where("kind = 'rephrase' and not held_out")
    of_user = pairs.groupBy(*_EDGE, "user_id").agg(
        F.count("*").alias("events"),
        F.max("posterior").alias("best"),
        F.avg("target_acceptance").alias("acceptance"),
    )
    edges = of_user.groupBy(*_EDGE).agg(
        F.count("*").alias("users"),
        F.sum("events").alias("events"),
        F.round(F.sum("best"), 6).alias("weight"),
        F.round(F.avg("acceptance"), 6).alias("success_rate"),
    )
    run.count(edges=run.write(REPHRASE_EDGES, edges))


STEP = Step(
    name="rephrase_edges",
    reads=("rephrase_pairs",),
    writes=(REPHRASE_EDGES,),
    settings=(),
    code=(),
    run=_run,
)
