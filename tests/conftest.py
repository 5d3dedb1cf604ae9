"""What every test may ask for: one Spark session, settings that ignore the machine, a fresh lake, a log."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings as hypothesis_settings
from xdist.scheduler import LoadScopeScheduling

from schemas.lake import Lake
from schemas.settings import INTERPRETED, Settings, load_settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# A busy machine is no fault of the code: no deadline for one example. And the same examples each time: what a change
# broke must not depend on the draw. HYPOTHESIS_PROFILE=search looks for new ones.
hypothesis_settings.register_profile("sayagain", deadline=None, derandomize=True)
hypothesis_settings.register_profile("search", deadline=None, max_examples=1000)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "sayagain"))

# Test tables are tiny: one partition a shuffle, since a task costs more than its rows; and neither Spark nor the JVM
# compiles what runs once, which halves the processor time of a run of all steps. README's commands run as users do.
SPARK: dict[str, Any] = {
    "spark.master": "local[2]",
    "spark.driver_memory": "1g",
    "spark.shuffle_partitions": 1,
    "spark.snapshot_partitions": 1,
    "spark.conf": INTERPRETED
    | {
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:CompileThresholdScaling=3 "
        "-XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC",
    },
}
MINED = "tests/jobs/mined/"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """With `-n 2` a file's tests stay together, and all that look at the one mined lake, which takes a minute."""

    class Rooms(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.split("::")[0]
            return MINED if path.startswith(MINED) else path

    return Rooms(config, log)


MakeSettings = Callable[..., Settings]
MakeLake = Callable[..., Lake]


def _settings(empty: Path, flags: Mapping[str, Any]) -> Settings:
    empty.write_text("")
    return load_settings(SPARK | dict(flags), empty)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """A variable of the developer's shell must not decide whether a test passes."""
    for name in [name for name in os.environ if name.startswith("SAYAGAIN_")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The Spark session that the steps find running. It takes about ten seconds, once."""
    from jobs.spark import session

    started = session(_settings(tmp_path_factory.mktemp("settings") / "empty.toml", {}))
    yield started
    started.stop()


@pytest.fixture(scope="session")
def small_spark() -> dict[str, Any]:
    """The settings of a session for tiny tables, for a process of its own."""
    return SPARK


@pytest.fixture
def settings(tmp_path: Path) -> MakeSettings:
    """Make settings: `settings({"labels.vote_floor": 2})`. No file and no environment variable is read."""

    def make(flags: Mapping[str, Any] | None = None) -> Settings:
        return _settings(tmp_path / "empty.toml", {"lake": tmp_path / "lake", **(flags or {})})

    return make


@pytest.fixture
def lake(tmp_path: Path) -> MakeLake:
    """Make an empty lake of the test's own: `lake()`, or `lake("second")` for another."""

    def make(name: str = "lake") -> Lake:
        return Lake(tmp_path / name).open(create=True)

    return make


@pytest.fixture
def record() -> Callable[..., dict[str, Any]]:
    """Make a raw log record that is good, but for what is changed: `record("a1", locale="xx")`."""

    def make(interaction_id: str = "a1", **changes: Any) -> dict[str, Any]:
        good = {
            "interaction_id": interaction_id,
            "user_id": "amina",
            "locale": "sw-KE",
            "occurred_at": "2026-01-10T08:00:03+00:00",
            "utterance": "niamshe saa moja",
            "interpretation": {
                "intent": "alarm_set",
                "slots": [{"name": "time", "value": "saa moja", "start": 8, "end": 16}],
            },
            "confidence": 0.9,
            "model_version": "launch",
            "response": "completed",
        }
        return good | changes

    return make


@pytest.fixture
def write_log(tmp_path: Path) -> Callable[..., str]:
    """Write a log file of records and of raw lines (text or bytes), and return its path."""

    def write(name: str, *lines: dict[str, Any] | str | bytes) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made = (json.dumps(line, ensure_ascii=False) if isinstance(line, dict) else line for line in lines)
        path.write_bytes(b"".join((x if isinstance(x, bytes) else x.encode()) + b"\n" for x in made))
        return str(path)

    return write
