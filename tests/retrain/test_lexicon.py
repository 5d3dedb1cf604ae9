"""A planted dictionary is found again in sentences whose words nobody aligned."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_language import snapshot_row, toy_rows, toy_settings

from retrain.data import read_translations
from retrain.lexicon import (
    _DIAGONAL,
    _ITERATIONS,
    _LEAST,
    _NOTHING,
    BilingualLexicon,
    _model_1,
    learn_lexicon,
    read_lexicon,
)
from retrain.tables import append_rows
from retrain.train import train
from schemas.annotated import write_annotated
from schemas.errors import InputError
from schemas.lake import Lake, Manifest
from schemas.segmentation import Segmenter

PLANTED = {f"word{i:02d}": f"neno{(7 * i) % 60:02d}" for i in range(60)}
LOCALE = "sw-KE"


def sentences(many: int, seed: int) -> list[tuple[list[str], list[str]]]:
    """Frequent and rare words; the translation swaps neighbours, and drops a word or adds one now and then."""
    random = np.random.default_rng(seed)
    chance = 1 / (np.arange(60) + 5)
    made = []
    for _ in range(many):
        one = [f"word{i:02d}" for i in random.choice(60, random.integers(3, 9), replace=False, p=chance / chance.sum())]
        other = [PLANTED[word] for word in one]
        at = int(random.integers(len(other) - 1))
        other[at], other[at + 1] = other[at + 1], other[at]
        if random.random() < 0.3:
            other.pop(int(random.integers(len(other))))
        if random.random() < 0.3:
            other.insert(int(random.integers(len(other))), "ya")
        made.append((one, other))
    return made


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_planted_dictionary_is_found(seed: int) -> None:
    lexicon = learn_lexicon(sentences(300, seed))
    best = {word: ways[0][0] for word, ways in lexicon.entries.items()}
    right = sum(PLANTED[word] == other for word, other in best.items())
    assert right / len(best) > 0.95
    assert right / len(PLANTED) > 0.9
    for ways in lexicon.entries.values():
        shares = [share for _, share in ways]
        assert sum(shares) == pytest.approx(1, abs=1e-6)
        assert shares == sorted(shares, reverse=True)


def test_alignment_agrees_with_a_plain_loop() -> None:
    pairs = sentences(25, 4)
    t: dict[tuple[str, str], float] = defaultdict(lambda: 1.0)
    for _ in range(_ITERATIONS):
        counts: dict[tuple[str, str], float] = defaultdict(float)
        for one, other in pairs:
            for j, target in enumerate(other):
                near = [
                    np.exp(-_DIAGONAL * abs((i + 0.5) / len(one) - (j + 0.5) / len(other))) for i in range(len(one))
                ]
                share = {0: _NOTHING * t["", target]}
                for i, source in enumerate(one, start=1):
                    share[i] = (1 - _NOTHING) * near[i - 1] / sum(near) * t[source, target]
                for i, weight in share.items():
                    counts["" if i == 0 else one[i - 1], target] += weight / sum(share.values())
        total: dict[str, float] = defaultdict(float)
        for (source, _), count in counts.items():
            total[source] += count
        t = defaultdict(float, {key: count / total[key[0]] for key, count in counts.items()})
    found = _model_1(pairs)
    enough = {key: value for key, value in t.items() if key[0] and value >= _LEAST**2}
    assert len(enough) < len(t)
    assert found == pytest.approx(enough, abs=1e-9)


def _write(path: Path, rows: list[tuple[list[str], list[str]]], first: int) -> Path:
    lines = ["\t".join(" ".join(row[side]) for side in (first, 1 - first)) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_either_side_may_be_the_mature_language(tmp_path: Path) -> None:
    rows = sentences(100, 5)
    spoken = [" ".join(one) for one, _ in rows[:20]]
    there, back = (read_lexicon([_write(tmp_path / f"{i}.tsv", rows, i)], LOCALE, spoken) for i in (0, 1))
    assert there == back
    assert there.fingerprint == back.fingerprint
    assert len(there) > 30
    assert set(there.target_words) <= {*PLANTED.values(), "ya"}


def test_of_a_folder_only_the_launch_language_is_read(tmp_path: Path) -> None:
    rows = sentences(100, 6)
    for code, words in (("swh", rows), ("deu", [(one, ["wort"]) for one, _ in rows])):
        for side, name in ((1, code), (0, "eng")):
            text = "\n".join(" ".join(row[side]) for row in words)
            (tmp_path / f"t.{code}-eng.{name}").write_text(text + "\n", encoding="utf-8")
    spoken = [" ".join(one) for one, _ in rows]
    assert "wort" not in read_lexicon([tmp_path], LOCALE, spoken).target_words
    assert read_lexicon([tmp_path], "de-DE", spoken).target_words == ("wort",)
    assert len(read_lexicon([tmp_path], "hi-IN", spoken)) == 0


def test_nothing_is_learnt_from_nothing(tmp_path: Path) -> None:
    assert learn_lexicon([]) == learn_lexicon([(["word"], [])]) == BilingualLexicon({})
    assert not read_lexicon([], LOCALE, ["word"])
    with pytest.raises(InputError, match="no file or folder"):
        read_lexicon([tmp_path / "gone"], LOCALE, ["word"])


def test_every_pair_that_is_given_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrain.lexicon._MOST_PAIRS", 12)
    given = [*sentences(9, 1), (["word"], []), (["word"] * 41, ["neno"]), (["word"], ["neno"]), *sentences(5, 2)]
    assert learn_lexicon(given).counts == {"aligned": 11, "shortened": 1, "empty": 1, "too_many": 5}


def test_words_are_found_where_no_spaces_are_written() -> None:
    signs = [chr(0x4E00 + i) for i in range(200)]
    words = {f"word{i:02d}": signs[2 * i] + signs[2 * i + 1] for i in range(60)}
    pairs = [(one, "".join(words[word] for word in one)) for one, _ in sentences(400, 7)]
    texts = [text for _, text in pairs]
    found = Segmenter.learn(texts).words(texts)
    assert ["".join(pieces) for pieces in found] == [text for _, text in pairs]
    lexicon = learn_lexicon([(one, pieces) for (one, _), pieces in zip(pairs, found, strict=True)])
    right = sum(words[word] == ways[0][0] for word, ways in lexicon.entries.items())
    assert right / len(lexicon) > 0.9


def test_what_a_log_says_of_words_stands_in_the_place_of_what_parallel_text_said() -> None:
    lexicon = BilingualLexicon({"alarm": (("saa", 1.0),), "song": (("wimbo", 1.0),)}, {"aligned": 3})
    revised = lexicon.revised({"alarm": [("kengele", 0.6), ("saa", 0.2)], "play": [("cheza", 0.3)]})
    assert revised.entries == {
        "alarm": (("kengele", 0.75), ("saa", 0.25)),
        "play": (("cheza", 1.0),),
        "song": (("wimbo", 1.0),),
    }
    assert revised.target_words == ("cheza", "kengele", "saa", "wimbo")
    assert revised.counts == lexicon.counts
    assert revised.fingerprint != lexicon.fingerprint == lexicon.revised({}).fingerprint


def test_training_takes_the_translations_of_its_snapshot(lake: Lake, tmp_path: Path) -> None:
    gold = tmp_path / "en-US.jsonl"
    write_annotated(gold, [e.annotated for e in toy_rows(60, 1)])
    rows = [replace(e, split="train") for e in toy_rows(40, 2, "xx-XX")]
    examples = append_rows(lake, "training_sets", [snapshot_row("s1", i, e) for i, e in enumerate(rows)])
    row = {
        "snapshot_id": "s1",
        "locale": "xx-XX",
        "word": "play",
        "translation": "cheza",
        "agreement": 0.5,
        "run_id": "r",
    }
    others = [row | {"snapshot_id": "s0", "word": "old"}, row | {"locale": "de-DE", "word": "far"}]
    said = append_rows(lake, "training_translations", [row, *others, row | {"translation": "piga", "agreement": 0.9}])
    lake.publish(Manifest("training_sets", "r", {}, {"training_sets": examples}))
    assert read_translations(lake, "s1", "xx-XX") == {}  # of an older program
    lake.publish(Manifest("training_sets", "r", {}, {"training_sets": examples, "training_translations": said}))
    assert read_translations(lake, "s1", "xx-XX") == {"play": [("piga", 0.9), ("cheza", 0.5)]}
    settings = toy_settings(gold=[gold], pretrain_epochs=1)
    made = train(settings, lake, snapshot_id="s1", epochs=1)
    assert made.parameters["translations"] == "1"
    assert "piga" in made.predictor.vocabulary.words
