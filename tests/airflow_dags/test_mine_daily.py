"""What can be said of the nightly DAG without Airflow; `make airflow-test` runs it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from jobs.pipeline import STEPS
from schemas.tables import BY_NAME

ROOT = Path(__file__).resolve().parents[2]
DAG = ROOT / "airflow_dags" / "mine_daily.py"
OURS = {path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file()} | {
    "schemas",
    "mining",
    "jobs",
}
OURS |= {"retrain", "simulator", "inspector", "sayagain", "benchmarks", "tests"}


def _literal(name: str) -> object:
    for node in ast.parse(DAG.read_text("utf-8")).body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return ast.literal_eval(node.value)  # type: ignore[attr-defined]
    raise AssertionError(f"no {name} in {DAG}")


def _after() -> dict[str, tuple[str, ...]]:
    after = _literal("AFTER")
    assert isinstance(after, dict)
    return after


def _before(step: str) -> set[str]:
    return {need for direct in _after()[step] for need in (direct, *_before(direct))}


@pytest.mark.parametrize("path", sorted((ROOT / "airflow_dags").glob("*.py")), ids=lambda path: path.name)
def test_a_dag_imports_nothing_of_ours(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported
    assert not imported & OURS


def test_every_step_has_what_it_needs_and_the_promotion_is_last() -> None:
    after = _after()
    assert all(need in after for needs in after.values() for need in needs)
    assert _before("promote") == after.keys() - {"promote"}
    assert "encoder" in _before("utterances")  # no table says so: it embeds with what that step trained
    assert "rephrase_edges" not in _before("utterances")  # what can go on side by side does


def test_every_mining_step_is_there_and_runs_after_the_writers_of_what_it_reads() -> None:
    not_mining = _literal("NOT_MINING")
    assert isinstance(not_mining, tuple)
    assert _after().keys() - set(not_mining) == STEPS.keys()
    for name, step in STEPS.items():
        writers = {BY_NAME[table].writer.split(".")[-1] for table in step.reads} - {name}
        assert writers <= _before(name), f"{name} reads what {writers - _before(name)} write"
