"""Annotated utterances: the slot mark-up `[slot_type : value]` and files in MASSIVE's format.

Source: FitzGerald et al., "MASSIVE: A 1M-Example Multilingual Natural Language Understanding Dataset", ACL 2023.
One JSON object a line with at least `locale, partition, intent, utt, annot_utt`; plain or .gz.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import InputError
from schemas.predictor import Interpretation, Slot

_SLOT = re.compile(r"\[\s*([^\[\]:]+?)\s*:\s*([^\[\]]*?)\s*\]")
PARTITIONS = ("train", "dev", "test")


@dataclass(frozen=True)
class Annotated:
    """An utterance with its gold interpretation. `partition` is one of train, dev, test."""

    utterance: str
    locale: str
    interpretation: Interpretation
    partition: str = "train"

    @property
    def signature(self) -> tuple[str, tuple[str, ...]]:
        """Intent and sorted slot types: what wordings of one goal have in common, whatever the values."""
        return self.interpretation.intent, tuple(sorted(s.name for s in self.interpretation.slots))


def parse_markup(marked: str) -> tuple[str, tuple[Slot, ...]]:
    """Split `wake me at [time : seven]` into its plain text and the slots with offsets into that text."""
    text, slots, cursor = "", [], 0
    for match in _SLOT.finditer(marked):
        text += marked[cursor : match.start()]
        value = match.group(2)
        slots.append(Slot(match.group(1).strip(), value, len(text), len(text) + len(value)))
        text += value
        cursor = match.end()
    return text + marked[cursor:], tuple(slots)


def render_markup(utterance: str, slots: Iterable[Slot]) -> str:
    """The inverse of `parse_markup`."""
    marked, cursor = "", 0
    for slot in sorted(slots, key=lambda s: s.start):
        marked += utterance[cursor : slot.start] + f"[{slot.name} : {utterance[slot.start : slot.end]}]"
        cursor = slot.end
    return marked + utterance[cursor:]


def align_markup(utterance: str, marked: str) -> tuple[Slot, ...]:
    """Slots of `marked` with offsets into `utterance`, which may differ from it in white space only.

    Raises:
        ValueError: the texts differ in more than white space.
    """
    plain, slots = parse_markup(marked)
    if plain == utterance:
        return slots
    positions = [i for i, c in enumerate(utterance) if not c.isspace()]
    if [utterance[i] for i in positions] != [c for c in plain if not c.isspace()]:
        raise ValueError(f"annotation {marked!r} does not spell its utterance {utterance!r}")
    solid = [0]  # solid[i]: how many non-space characters stand before plain[i]
    for c in plain:
        solid.append(solid[-1] + (not c.isspace()))
    aligned = []
    for slot in slots:
        first, last = solid[slot.start], solid[slot.end] - 1
        if last >= first:
            start, end = positions[first], positions[last] + 1
            aligned.append(Slot(slot.name, utterance[start:end], start, end))
    return tuple(aligned)


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        yield from lines


def read_annotated(path: Path | str, partitions: Iterable[str] = PARTITIONS) -> list[Annotated]:
    """Read one MASSIVE-format file, keeping the named partitions. Slots are offsets into `utt`.

    Raises:
        InputError: the file is missing or a line is not in the format; names file, line and fault.
    """
    path, wanted, rows = Path(path), set(partitions), []
    if not path.is_file():
        raise InputError(f"no annotated file at {path}")
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if row.get("partition", "train") not in wanted:
                continue
            slots = align_markup(row["utt"], row["annot_utt"])
            rows.append(
                Annotated(
                    row["utt"],
                    row["locale"],
                    Interpretation(row["intent"], slots),
                    row.get("partition", "train"),
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError) as fault:
            raise InputError(
                f"{path}:{number}: not a MASSIVE-format line ({type(fault).__name__}: {fault}); "
                "expected a JSON object with locale, partition, intent, utt and annot_utt"
            ) from None
    return rows


def write_annotated(path: Path | str, rows: Iterable[Annotated]) -> int:
    """Write rows in MASSIVE's format (plain JSON Lines), the file whole or not at all; returns how many."""
    count = 0
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_name(f"{path.name}.{os.getpid()}.making")
    with making.open("w", encoding="utf-8") as out:
        for count, row in enumerate(rows, start=1):
            record = {
                "id": str(count - 1),
                "locale": row.locale,
                "partition": row.partition,
                "scenario": row.interpretation.intent.split("_")[0],
                "intent": row.interpretation.intent,
                "utt": row.utterance,
                "annot_utt": render_markup(row.utterance, row.interpretation.slots),
            }
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
    making.replace(path)
    return count


def massive_file(folder: Path | str, locale: str) -> Path:
    """The file of `locale` in a MASSIVE-format folder, plain or .gz.

    Raises:
        InputError: the folder has no file of that locale; names the locales that it has.
    """
    folder = Path(folder)
    for name in (f"{locale}.jsonl", f"{locale}.jsonl.gz"):
        if (folder / name).is_file():
            return folder / name
    found = sorted(p.name.split(".")[0] for p in folder.glob("*.jsonl*")) if folder.is_dir() else []
    raise InputError(f"no {locale}.jsonl[.gz] in {folder}; it has {', '.join(found) or 'no such file at all'}")
