from __future__ import annotations

from pathlib import Path

from jobs.pipeline import STEPS
from jobs.translations import parallel_of
from schemas.lake import Lake
from schemas.settings import EncoderSettings, Settings


def test_a_file_of_parallel_text_is_of_the_launch_language(tmp_path: Path) -> None:
    file, folder = tmp_path / "some.tsv", tmp_path / "tatoeba"
    folder.mkdir()
    settings = Settings(locale="sw-KE", encoder=EncoderSettings(parallel=(file, folder)))
    assert parallel_of(settings, "sw-KE") == [file, folder]
    assert parallel_of(settings, "de-DE") == [folder]
    unsaid = settings.model_copy(update={"locale": None})
    assert parallel_of(unsaid, "de-DE") == [file, folder]


def test_labels_are_made_anew_where_a_file_is_of_another_launch(tmp_path: Path) -> None:
    lake, also = Lake(tmp_path / "lake").open(create=True), STEPS["pseudo_labels"].also
    assert also is not None
    (tmp_path / "tatoeba").mkdir()

    def key(locale: str, name: str) -> object:
        return also(lake, Settings(locale=locale, encoder=EncoderSettings(parallel=(tmp_path / name,))))

    assert key("sw-KE", "some.tsv") != key("de-DE", "some.tsv")
    assert key("sw-KE", "tatoeba") == key("de-DE", "tatoeba")
