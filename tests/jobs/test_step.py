"""What a step keeps is freed, however the step ends."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.lake import Run, Step, run_step


class Fault(Exception):
    """Something goes wrong in the middle of a step."""


def _run(run: Run) -> None:
    kept = run.keep(run.spark.range(7).selectExpr("id % 2 as odd"))
    run.count(rows=kept.count(), odd=kept.where("odd = 1").count())
    assert kept.storageLevel.useMemory
    if run.settings.seed == 13:
        raise Fault


@pytest.mark.parametrize("seed", [1, 13])
def test_what_a_step_keeps_is_freed_however_it_ends(spark: Any, settings: Any, lake: Any, seed: int) -> None:
    cached = spark.sparkContext._jsc.getPersistentRDDs().size
    before = cached()
    step = Step(name="kept", reads=(), writes=(), settings=(), code=(), run=_run)
    if seed == 13:
        with pytest.raises(Fault):
            run_step(step, lake(), settings({"seed": seed}))
    else:
        assert run_step(step, lake(), settings({"seed": seed})).counts == {"rows": 7, "odd": 3}
    assert cached() == before
