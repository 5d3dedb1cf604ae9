"""Parallel text: TSV files and folders in Tatoeba's form, and what is said about broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import InputError
from schemas.parallel import pairs_of_folder, read_parallel, read_parallel_of


def test_a_tsv_file(tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text("wake me\tniamshe\nplay music\tcheza muziki\tand more\n")
    assert list(read_parallel(file)) == [("wake me", "niamshe"), ("play music", "cheza muziki\tand more")]
    file.write_text("good\tline\nno tab here\n")
    with pytest.raises(InputError, match=r"pairs\.tsv:2: expected sentence<TAB>translation"):
        list(read_parallel(file))


def test_a_folder_of_file_pairs(tmp_path: Path) -> None:
    for name, text in {
        "tatoeba.swh-eng.swh": "niamshe\ncheza\n", "tatoeba.swh-eng.eng": "wake me\nplay\n",
        "tatoeba.deu-eng.deu": "weck mich\n", "tatoeba.deu-eng.eng": "wake me\n", "README.md": "no text",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    assert sorted(pairs_of_folder(tmp_path)) == ["deu", "swh"]
    assert list(read_parallel(tmp_path)) == [("weck mich", "wake me"), ("niamshe", "wake me"), ("cheza", "play")]
    (tmp_path / "tatoeba.swh-eng.eng").write_text("wake me\n")
    with pytest.raises(InputError, match="differ in their number of lines: one ends before line 2"):
        list(read_parallel(tmp_path))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file or folder at .*nowhere"):
        list(read_parallel(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="has no parallel text"):
        list(read_parallel(tmp_path))


def test_of_a_folder_the_locales_language_is_read_however_its_code_is_spelt(tmp_path: Path) -> None:
    for code in ("nob", "deu", "not!a!tag"):
        (tmp_path / f"t.{code}-eng.{code}").write_text(f"{code}\n", encoding="utf-8")
        (tmp_path / f"t.{code}-eng.eng").write_text("said\n", encoding="utf-8")
    assert list(read_parallel_of(tmp_path, "nb-NO")) == [("nob", "said")]
    assert list(read_parallel_of(tmp_path, "de-DE")) == [("deu", "said")]
    assert list(read_parallel_of(tmp_path, "sw-KE")) == []


def test_what_is_no_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "old.tsv").write_bytes("schön\tnice\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"old\.tsv is not UTF-8"):
        list(read_parallel(tmp_path / "old.tsv"))
