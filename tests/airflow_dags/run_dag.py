"""Runs the nightly DAG with `dag.test()`: first around a stand-in command, then around the real one.

Not a pytest module: it needs Airflow's own environment, which has nothing of ours (`make airflow-test`). The
real run takes `--sayagain`, the command of the project's environment, and checks the lake it leaves by that
environment's python. Everything happens in a temporary folder. What Airflow and the tasks print goes to a file; its
end is shown if something fails.

    .venv-airflow/bin/python tests/airflow_dags/run_dag.py --sayagain .venv/bin/sayagain
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = """#!/bin/sh
# Writes down how it was called; exits as the test asks for that call.
echo "$*" >> "$CALLS"
case "$*" in "$EXIT_AT"*) echo "asked to exit $EXIT_WITH" >&2; exit "$EXIT_WITH";; esac
"""
CHECK = """
import sys
from pathlib import Path
from deltalake import DeltaTable
from schemas.lake import Lake
lake = Lake(Path(sys.argv[1]))
versions = lake.published()
for table in sys.argv[2:]:
    version = versions[table] if table in versions else DeltaTable(lake.table(table)).version()
    rows = lake.dataset(table, version).count_rows()
    assert rows, f"{table} is empty"
    print(f"  {table}: {rows} rows")
"""
# What a night must leave, and what it must have written down.
TABLES = ("interactions", "turns", "rephrase_pairs", "rephrase_edges", "utterances", "variant_edges")
TABLES += ("variant_clusters", "pseudo_labels", "training_sets", "model_runs", "gate_reports", "job_runs")


def configure(home: Path) -> None:
    """Point Airflow at a fresh home. Must run before anything of Airflow is imported."""
    os.environ |= {
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "airflow_dags"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "airflow" / "logs"),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    }
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"], check=True, stdout=subprocess.DEVNULL, timeout=300
    )


@contextmanager
def printed_to(log: Path, shown: int = 120) -> Iterator[None]:
    """Everything printed goes to a file, that of child processes too; after a failure its last lines are shown."""
    sys.stdout.flush()
    kept = os.dup(1), os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    failed = True
    try:
        yield
        failed = False
    finally:
        sys.stdout.flush()
        for number, descriptor in enumerate(kept, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        if failed:
            print("\n".join(log.read_text("utf-8", errors="replace").splitlines()[-shown:]), flush=True)


def load() -> Any:
    """The DAG file as a module."""
    spec = importlib.util.spec_from_file_location("mine_daily", ROOT / "airflow_dags" / "mine_daily.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mine_daily"] = module
    spec.loader.exec_module(module)
    return module


def states(module: Any, day: int) -> dict[str, tuple[str, int]]:
    """Run the DAG once and return each task's state and number of tries, and the run's state under ''."""
    run = module.dag.test(logical_date=datetime(2026, 2, 1, tzinfo=UTC) + timedelta(days=day))
    found = {ti.task_id: (str(ti.state), int(ti.try_number)) for ti in run.get_task_instances()}
    return found | {"": (str(run.state), 1)}


def try_stand_in(module: Any, folder: Path) -> None:
    """Order of the calls, and what becomes of each exit code."""
    command, calls = folder / "stand-in", folder / "calls"
    command.write_text(STAND_IN, encoding="utf-8")
    command.chmod(0o755)
    os.environ |= {
        "AIRFLOW_VAR_SAYAGAIN_COMMAND": f"{command} --seed 3",
        "AIRFLOW_VAR_SAYAGAIN_RAW": "/logs/of today",
        "AIRFLOW_VAR_SAYAGAIN_FOLDER": str(folder),
        "CALLS": str(calls),
    }

    def night(day: int, exit_at: str = "nothing", exit_with: int = 0) -> tuple[dict[str, tuple[str, int]], list[str]]:
        calls.unlink(missing_ok=True)
        os.environ |= {"EXIT_AT": f"--seed 3 {exit_at}", "EXIT_WITH": str(exit_with)}
        return states(module, day), calls.read_text("utf-8").splitlines()

    found, called = night(0)
    assert set(found.values()) == {("success", 1)}, found
    assert called[0] == "--seed 3 ingest /logs/of today", called
    order = [line.split()[-1] if "ingest" not in line else "ingest" for line in called]
    assert sorted(order) == sorted(module.AFTER), order
    for step, needs in module.AFTER.items():
        assert all(order.index(need) < order.index(step) for need in needs), order
    assert "--seed 3 mine --only rephrase_pairs" in called, called

    found, called = night(1, "gate", module.REFUSED)
    assert found["gate"][0] == found["promote"][0] == "skipped", found
    assert found[""][0] == "success", found
    assert not any("promote" in line for line in called), called

    for day, (step, arguments, code) in enumerate(
        [("ingest", "ingest", 3), ("turns", "mine --only turns", 2), ("gate", "gate", 2)], start=2
    ):
        found, called = night(day, arguments, code)
        assert found[step] == ("failed", 1), (step, found)
        assert sum(arguments in line for line in called) == 1, f"{step} was retried after exit code {code}"
        assert found["promote"][0] == "upstream_failed", found
        assert found[""][0] == "failed", found


def run_night(module: Any, sayagain: Path, folder: Path) -> None:
    """One night with the real command on a few simulated users."""
    home = folder / "night"
    home.mkdir()
    python = sayagain.parent / "python"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SAYAGAIN_")}
    prepare = [str(python), str(ROOT / "tests" / "airflow_dags" / "prepare_night.py"), str(home)]
    subprocess.run(prepare, env=environment, check=True, timeout=1200)
    os.environ |= {
        "AIRFLOW_VAR_SAYAGAIN_COMMAND": str(sayagain),
        "AIRFLOW_VAR_SAYAGAIN_RAW": "raw",
        "AIRFLOW_VAR_SAYAGAIN_FOLDER": str(home),
    }
    found = states(module, 20)
    assert set(found.values()) == {("success", 1)}, found
    check = [str(python), "-c", CHECK, str(home / "lake"), *TABLES]
    subprocess.run(check, cwd=ROOT, check=True, timeout=120)


def main() -> None:
    """The command line of this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sayagain", type=Path, help="the project's command; without it only the stand-in runs")
    chosen = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sayagain-airflow-") as name:
        folder = Path(name)
        with printed_to(folder / "stand-in.log"):
            configure(folder)
            module = load()
            try_stand_in(module, folder)
        print(f"the DAG around a stand-in command: passed ({time.monotonic() - began:.0f} s)", flush=True)
        if chosen.sayagain is not None:
            with printed_to(folder / "night.log"):
                run_night(module, chosen.sayagain.absolute(), folder)
            print(f"the DAG around the real command: passed ({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
