"""What ingest cannot use: said before Spark starts, with what to do."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from jobs.ingest import ingest
from jobs.pseudonym_key import key_file, pseudonym_key
from jobs.raw_logs import is_remote, local_files
from schemas.errors import InputError
from schemas.lake import Lake, Manifest


def test_missing_path_and_empty_folder(tmp_path: Path, settings, lake) -> None:
    with pytest.raises(InputError, match=r"no such file or folder: .*nowhere"):
        ingest(lake(), settings(), [str(tmp_path / "nowhere")])
    (tmp_path / "empty" / "_temporary").mkdir(parents=True)
    (tmp_path / "empty" / "_temporary" / "part.jsonl").write_text("{}")
    (tmp_path / "empty" / "notes.md").write_text("")
    with pytest.raises(InputError, match=r"nothing to read in .*empty.*\.jsonl"):
        ingest(lake(), settings(), [str(tmp_path / "empty")])
    with pytest.raises(InputError, match=r"notes\.md: its name ends in none of"):
        ingest(lake(), settings(), [str(tmp_path / "empty" / "notes.md")])
    with pytest.raises(InputError, match="no input"):
        ingest(lake(), settings(), [])


def test_files_are_found_below_folders_once(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "a b"
    folder.mkdir(parents=True)
    (folder / "x.jsonl").write_text("")
    (folder / "y.parquet").write_text("")
    (folder / "_SUCCESS").write_text("")
    found = local_files([str(tmp_path / "logs"), f"file://{folder}/x.jsonl"])
    assert found == {f"file://{folder}/x.jsonl", f"file://{folder}/y.parquet"}
    assert is_remote("s3a://bucket/logs")
    assert not is_remote("file:///logs")


def test_a_lake_that_cannot_be_made(tmp_path: Path, settings, write_log, record) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="cannot write to the lake"):
        ingest(Lake(tmp_path / "file" / "lake"), settings(), [write_log("a.jsonl", record())])


def test_no_permission_on_the_lake(tmp_path: Path, settings, write_log, record, lake) -> None:
    made = lake()
    if os.geteuid() == 0:  # permission bits do not bind root: only an immutable folder does
        done = subprocess.run(["chattr", "+i", str(made.path)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"run as root, on a file system without chattr: {done.stderr.decode().strip()}")
    else:
        made.path.chmod(0o500)
    try:
        if os.access(made.path, os.W_OK):
            pytest.skip("the file system lets us write all the same")
        with pytest.raises(InputError, match="no permission to write to the lake"):
            ingest(made, settings(), [write_log("a.jsonl", record())])
    finally:
        if os.geteuid() == 0:
            subprocess.run(["chattr", "-i", str(made.path)], check=True)
        made.path.chmod(0o700)


def test_a_lake_of_a_newer_version(settings, write_log, record, lake) -> None:
    made = lake()
    (made.path / "_sayagain.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(InputError, match=r"format 99, made by a newer Sayagain.*upgrade"):
        ingest(made, settings(), [write_log("a.jsonl", record())])


def test_the_pseudonym_key_is_made_once_and_for_its_owner_only(lake, settings) -> None:
    made = lake()
    key, fingerprint = pseudonym_key(made, settings().ingest)
    assert stat.S_IMODE(key_file(made).stat().st_mode) == 0o600
    assert len(key) == 64
    assert pseudonym_key(made, settings().ingest) == (key, fingerprint)
    assert [p.name for p in made.path.parent.iterdir() if p.name.endswith(".key")] == ["lake.key"]


def test_another_key_is_refused_for_a_lake_with_rows(lake, settings) -> None:
    made = lake()
    _, fingerprint = pseudonym_key(made, settings().ingest)
    made.publish(Manifest("ingest", "r1", {}, {"interactions": 0}, details={"key_fingerprint": fingerprint}))
    with pytest.raises(InputError, match="every user two voters"):
        pseudonym_key(made, settings({"ingest.pseudonym_key": "another secret of ours"}).ingest)
    key_file(made).unlink()
    with pytest.raises(InputError, match=r"key of the lake .* is gone: restore .*lake\.key"):
        pseudonym_key(made, settings().ingest)
    assert not key_file(made).exists()
    with pytest.raises(InputError, match="empty"):
        pseudonym_key(lake("other"), settings({"ingest.pseudonym_key": ""}).ingest)
