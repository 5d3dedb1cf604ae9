"""Mines the planted log once for all tests of this folder."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # mined_lake, beside these tests
from mined_lake import Mined, Remade, settings_for
from planted_log import Log, busy_user, planted_log, robots

from jobs.pipeline import mine
from schemas.lake import Lake


@pytest.fixture(scope="session")
def log() -> Log:
    made = planted_log()
    busy_user(made)
    robots(made)
    return made


@pytest.fixture(scope="session")
def mined(spark: Any, tmp_path_factory: pytest.TempPathFactory, log: Log) -> Mined:
    return Mined(tmp_path_factory.mktemp("mined"), log)


@pytest.fixture
def copy(mined: Mined, tmp_path: Path) -> Lake:
    """The mined lake, for a test that changes it."""
    shutil.copytree(mined.lake.path, tmp_path / "lake")
    return Lake(tmp_path / "lake").open()


@pytest.fixture(scope="session")
def remade(mined: Mined, tmp_path_factory: pytest.TempPathFactory) -> Remade:
    """The mined lake, mined again with other settings of the training set and the gate, and each step's status."""
    lake = Lake(tmp_path_factory.mktemp("remade") / "lake")
    shutil.copytree(mined.lake.path, lake.path)
    changed = settings_for(mined.folder, training__head_share=0.2, gate__margin=0.5)
    return lake, {r.step: r.status for r in mine(lake, changed)}
