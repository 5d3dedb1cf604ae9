"""Settings: where they come from, and every fault at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import InputError
from schemas.settings import load_settings


def test_flags_win_over_variables_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ours.toml"
    file.write_text("seed = 1\n[labels]\nvote_floor = 2\nmin_posterior = 0.75\n[sessions]\nmax_turns = 9\n")
    monkeypatch.setenv("SAYAGAIN_LABELS__VOTE_FLOOR", "7")
    monkeypatch.setenv("SAYAGAIN_SEED", "8")
    chosen = load_settings({"seed": "9"}, file)
    assert (chosen.seed, chosen.labels.vote_floor, chosen.labels.min_posterior) == (9, 7, 0.75)
    assert chosen.sessions.max_turns == 9


def test_every_bad_setting_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ours.toml"
    file.write_text("sed = 1\n[labels]\nvote_floor = 0\n[spark]\ndriver_memory = 'lots'\n")
    monkeypatch.setenv("SAYAGAIN_NEIGHBORS__K", "3")
    with pytest.raises(InputError) as fault:
        load_settings({"friction.prior": "2"}, file)
    said = str(fault.value).splitlines()
    assert sorted(line.split(":")[0] for line in said) == [
        "SAYAGAIN_NEIGHBORS__K",
        "friction.prior",
        "labels.vote_floor",
        "sed",
        "spark.driver_memory",
    ]


def test_a_missing_or_broken_file_and_settings_that_contradict(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no settings file at"):
        load_settings({}, tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[labels\n")
    with pytest.raises(InputError, match="not TOML"):
        load_settings({}, broken)
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    with pytest.raises(InputError, match="no pair crosses a session"):
        load_settings({"rephrase.max_gap_seconds": 400}, empty)


def test_the_pseudonym_key_is_not_printed(settings) -> None:
    assert "hush" not in repr(settings({"ingest.pseudonym_key": "hush hush"}))
