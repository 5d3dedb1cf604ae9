"""The requirement files are exact, fit pyproject.toml and hold no address; checked offline."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def requirements() -> ModuleType:
    spec = importlib.util.spec_from_file_location("requirements", ROOT / "requirements.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DIRECT = ["numpy==2.4.6", "Typer", "scipy>=1.10"]
PINS = ["numpy==2.4.6", "scipy==1.17.0", "typer==0.20.0", "click==8.3.0"]


def _text(requirements: ModuleType, *pins: str) -> str:
    return "\n".join([requirements.STAMP + requirements.fingerprint(DIRECT), *pins]) + "\n"


def test_the_files_of_this_repository_are_exact_and_up_to_date(requirements: ModuleType) -> None:
    assert requirements.check(ROOT) == []


def test_a_sound_file_has_no_fault_whatever_the_order_of_the_list(requirements: ModuleType) -> None:
    assert requirements.faults("r.txt", _text(requirements, *PINS), DIRECT[::-1]) == []


@pytest.mark.parametrize(
    ("pins", "fault"),
    [
        (PINS[1:], "no pin for numpy"),
        (["numpy==2.4.5", *PINS[1:]], "numpy==2.4.5 violates"),
        (["numpy==2.4.6", "scipy==1.9", *PINS[2:]], "scipy==1.9 violates"),
        ([*PINS, "rich>=14"], "rich has no exact version"),
        ([*PINS, "rich==14.*"], "rich has no exact version"),
        ([*PINS, "--index-url https://packages.invalid/simple"], "holds an address"),
        ([*PINS, "--extra-index-url=packages.invalid"], "holds an address"),
        ([*PINS, "--find-links /srv/wheels"], "holds an address"),
        ([*PINS, "-f /srv/wheels"], "holds an address"),
        ([*PINS, "rich @ file:///srv/rich.whl"], "holds an address"),
        ([*PINS, "# made with https://packages.invalid"], "holds an address"),
        ([*PINS, "not a requirement"], "not a requirement"),
    ],
)
def test_each_fault_is_named(requirements: ModuleType, pins: list[str], fault: str) -> None:
    found = requirements.faults("r.txt", _text(requirements, *pins), DIRECT)
    assert len(found) == 1
    assert fault in found[0]


def test_a_changed_dependency_list_makes_the_file_stale(requirements: ModuleType) -> None:
    found = requirements.faults("r.txt", _text(requirements, *PINS), [*DIRECT, "click"])
    assert found == ["r.txt: stale, pyproject.toml lists other dependencies: run `make pins`"]


def test_an_empty_and_a_missing_file_are_faults(requirements: ModuleType, tmp_path: Path) -> None:
    assert any("stale" in fault for fault in requirements.faults("r.txt", "", DIRECT))
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text("utf-8"), encoding="utf-8")
    assert len(requirements.check(tmp_path)) == len(requirements.wanted(_minimal()))


def _minimal() -> dict[str, object]:
    return {
        "project": {"dependencies": ["faiss-cpu", "numpy"], "optional-dependencies": {"gpu": ["faiss-gpu"]}},
        "dependency-groups": {"dev": ["pytest"], "airflow": ["apache-airflow"]},
    }


def test_the_gpu_file_replaces_faiss_cpu(requirements: ModuleType) -> None:
    wanted = requirements.wanted(_minimal())
    assert wanted["requirements-gpu.txt"] == ["numpy", "faiss-gpu"]
    assert wanted["requirements-dev.txt"] == ["faiss-cpu", "numpy", "pytest"]
    assert "faiss-cpu" not in (ROOT / "requirements-gpu.txt").read_text("utf-8")
