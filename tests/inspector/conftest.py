"""A planted lake to look at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # planted_lake and browser, beside these tests

from planted_lake import plant

from schemas.lake import Lake


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with two pairs; not to be written to."""
    return plant(tmp_path_factory.mktemp("planted") / "lake")
