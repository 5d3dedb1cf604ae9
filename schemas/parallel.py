"""Parallel text: a sentence and its translation, from TSV files or folders in Tatoeba's and Moses' form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

import langcodes

from schemas.errors import InputError
from schemas.normalise import normalise, words

_PIVOT = "eng"


@contextmanager
def _utf8(*files: Path) -> Iterator[None]:
    """What is no UTF-8 is told of as a person can mend it."""
    try:
        yield
    except UnicodeDecodeError as fault:
        named = " or ".join(map(str, files))
        raise InputError(f"{named} is not UTF-8 ({fault.reason}): convert it, for example with iconv") from None


def _tsv(path: Path) -> Iterator[tuple[str, str]]:
    with _utf8(path), path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            left, tab, right = line.rstrip("\n").partition("\t")
            if not tab:
                raise InputError(f"{path}:{number}: expected sentence<TAB>translation")
            yield left, right


def read_side_by_side(one: Path, other: Path) -> Iterator[tuple[str, str]]:
    """Two files, line by line.

    Raises:
        InputError: one has more lines than the other.
    """
    with _utf8(one, other), one.open(encoding="utf-8") as lefts, other.open(encoding="utf-8") as rights:
        for number, (left, right) in enumerate(zip_longest(lefts, rights), start=1):
            if left is None or right is None:
                raise InputError(f"{one} and {other} differ in their number of lines: one ends before line {number}")
            yield left.rstrip("\n"), right.rstrip("\n")


def pairs_of_folder(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Language code -> the two files of a folder: `NAME.swh-eng.swh` beside `NAME.swh-eng.eng`.

    Raises:
        InputError: there is no such pair.
    """
    found = {}
    for other in sorted(folder.glob(f"*-{_PIVOT}.{_PIVOT}")):
        language = other.name.removesuffix(f"-{_PIVOT}.{_PIVOT}").rpartition(".")[2]
        one = other.with_name(other.name.removesuffix(_PIVOT) + language)
        if one.is_file():
            found[language] = (one, other)
    if not found:
        raise InputError(
            f"{folder} has no parallel text: expected pairs of files such as x.swh-eng.swh and x.swh-eng.eng"
        )
    return found


def read_parallel_of(path: Path, locale: str) -> Iterator[tuple[str, str]]:
    """`read_parallel`, of a folder the files of the locale's language alone; none where it has not got them.

    Raises:
        InputError: as `read_parallel`.
    """
    if not path.is_dir():
        yield from read_parallel(path)
        return
    language = _language(locale)
    for code, files in pairs_of_folder(path).items():
        if _language(code) == language:
            yield from read_side_by_side(*files)


def read_translated(files: Iterable[Path], locale: str, mature: Iterable[str]) -> list[tuple[str, str]]:
    """All parallel text that is given for a launch locale, normalised: (mature language, launch language).

    Args:
        files: as `encoder.parallel`; of a folder the launch locale's language alone.
        mature: utterances of the mature language: the side of a file that shares more words with them is its side.

    Raises:
        InputError: a file is missing or not in the format.
    """
    spoken = Counter(word for text in mature for word in words(normalise(text)))
    found: list[tuple[str, str]] = []
    for path in files:
        read = [(normalise(one), normalise(other)) for one, other in read_parallel_of(path, locale)]
        said = [[word for pair in read for word in words(pair[side])] for side in (0, 1)]
        known = [sum(word in spoken for word in side) / max(len(side), 1) for side in said]
        found += read if known[0] > known[1] else [(one, other) for other, one in read]
    return found


def _language(tag: str) -> str | None:
    """The language of a tag, whether in two letters or three (`nob`, `nb-NO`: `no`); None of what is no tag."""
    try:
        language: str | None = langcodes.Language.get(langcodes.standardize_tag(tag, macro=True)).language
    except langcodes.LanguageTagError:
        return None
    return language


def read_parallel(path: Path) -> Iterator[tuple[str, str]]:
    """Sentences and their translations from a TSV file, or from all pairs of files of a folder.

    Raises:
        InputError: it does not exist or a line has no tab; says where.
    """
    if path.is_dir():
        for one, other in pairs_of_folder(path).values():
            yield from read_side_by_side(one, other)
    elif path.is_file():
        yield from _tsv(path)
    else:
        raise InputError(f"encoder.parallel: no file or folder at {path}")
