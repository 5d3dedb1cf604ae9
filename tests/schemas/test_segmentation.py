"""Words for alignment: of texts with spaces what stands between them, of others what often stands together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.normalise import normalise, words
from schemas.segmentation import Segmenter

_LETTERS = st.text(st.sampled_from("ab1 -éнあいう明日天気กั"), max_size=20)


def test_spaced_text_is_cut_at_its_spaces() -> None:
    texts = ["neno moja", ""]
    segmenter = Segmenter.learn(texts)
    assert segmenter.words(texts) == [("neno", "moja"), ()]
    assert segmenter.counted(texts) == [[("neno", 1), ("moja", 1)], []]


def test_what_often_stands_together_is_a_word_where_no_spaces_are_written() -> None:
    texts = ["明日天気", "天気明日", "明日", "天気"]
    segmenter = Segmenter.learn(texts)
    assert segmenter.words(["明日天気"]) == [("明日", "天気")]
    assert segmenter.counted(["天気予報 pm"])[0][0] == ("天気", 2)


@given(st.lists(_LETTERS, max_size=8), _LETTERS)
def test_words_cover_all_tokens_of_a_text(known: list[str], text: str) -> None:
    segmenter = Segmenter.learn([normalise(one) for one in known])
    normal = normalise(text)
    (found,) = segmenter.counted([normal])
    assert sum(many for _, many in found) == len(words(normal))
    assert all(many >= 0 for _, many in found)
    assert "".join(word for word, _ in found) == normal.replace(" ", "")
    assert segmenter.words([normal]) == [tuple(word for word, _ in found)]
