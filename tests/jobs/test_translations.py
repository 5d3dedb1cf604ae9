from __future__ import annotations

from pathlib import Path

from jobs.translations import parallel_of
from schemas.settings import EncoderSettings, Settings


def test_a_file_of_parallel_text_is_of_the_launch_language(tmp_path: Path) -> None:
    file, folder = tmp_path / "some.tsv", tmp_path / "tatoeba"
    folder.mkdir()
    settings = Settings(locale="sw-KE", encoder=EncoderSettings(parallel=(file, folder)))
    assert parallel_of(settings, "sw-KE") == [file, folder]
    assert parallel_of(settings, "de-DE") == [folder]
    unsaid = settings.model_copy(update={"locale": None})
    assert parallel_of(unsaid, "de-DE") == [file, folder]
