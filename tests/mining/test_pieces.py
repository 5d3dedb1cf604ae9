"""The embedded encoder's tokenizer: what is one piece, in scripts with spaces and without."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from mining.pieces import train_tokenizer

JAPANESE = [f"{t}時に{v}" for t in "一二三四五六七八" for v in ("起こしてください", "アラームをかけて", "電気を消して")]
CHINESE = [f"{a}{b}点的闹钟" for a in ("设置一个", "取消今天", "打开明天") for b in "一二三四五六七八"]
ENGLISH = [
    f"{v} at {t}" for v in ("wake me up", "set an alarm", "turn off the lights") for t in ("six", "seven", "ten")
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(sorted(JAPANESE + CHINESE + ENGLISH), 400)


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return [piece for piece in tokenizer.encode(text).tokens if piece != "▁"]


def script(character: str) -> str:
    return unicodedata.name(character).split(" ")[0].split("-")[0]


def test_no_piece_crosses_a_change_of_script_in_japanese(tokenizer: Tokenizer) -> None:
    for text in JAPANESE:
        for piece in pieces(tokenizer, text):
            assert len({script(c) for c in piece if c != "ー"}) <= 1, piece
    runs = [run for run, _ in tokenizer.pre_tokenizer.pre_tokenize_str("明日のアラームを消して") if run != "▁"]
    assert runs == ["明日", "の", "アラーム", "を", "消", "して"]


def test_a_piece_has_at_most_two_ideographs(tokenizer: Tokenizer) -> None:
    longest = max(len(piece) for text in CHINESE for piece in pieces(tokenizer, text))
    assert longest <= 2
    for text, other in itertools.pairwise(CHINESE[:8]):
        assert len(set(pieces(tokenizer, text)) & set(pieces(tokenizer, other))) >= 3


def test_a_plain_unigram_model_takes_half_a_sentence_for_one_piece() -> None:
    plain = Tokenizer(models.Unigram())
    plain.normalizer = normalizers.NFKC()
    plain.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    plain.train_from_iterator(sorted(CHINESE), trainer)
    assert max(len(piece) for text in CHINESE for piece in plain.encode(text).tokens) > 4


def test_spaced_text_is_cut_within_its_words(tokenizer: Tokenizer) -> None:
    for text in ENGLISH:
        found = tokenizer.encode(text).tokens
        assert "".join(found) == "▁" + text.replace(" ", "▁")
        assert all("▁" not in piece[1:] for piece in found)


def test_the_same_texts_give_the_same_pieces(tokenizer: Tokenizer) -> None:
    assert train_tokenizer(sorted(JAPANESE + CHINESE + ENGLISH), 400).to_str() == tokenizer.to_str()


@given(st.text(st.sampled_from("一二起明時にをしてアラームー ae"), max_size=20))
def test_pieces_are_the_text(tokenizer: Tokenizer, text: str) -> None:
    assert "".join(pieces(tokenizer, text)).replace("▁", "") == text.replace(" ", "")
