"""The embedded encoder: an ordinary sentence-transformers folder, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mining.encoder import embed, fingerprint, load_encoder, train_embedded
from mining.positives import Positive
from schemas.errors import InputError

PAIRS = (
    ("wake me at seven", "set an alarm for seven"),
    ("weka kengele saa moja", "niamshe saa moja"),
    ("turn on the lights", "lamps please"),
    ("play some jazz", "put music on"),
    ("weather in rome", "will it rain there"),
    ("七時に起こして", "アラームをかけて"),
    ("add milk to my list", "buy milk"),
    ("call my mother", "ring mum"),
    ("send an email", "write a letter"),
    ("what time is it", "tell me the hour"),
)
ONE, OTHER = [one for one, _ in PAIRS], [other for _, other in PAIRS]
POSITIVES = [Positive(a, b) for a, b in zip(ONE, OTHER, strict=True)]
SIZE = {"dimensions": 32, "vocabulary": 300, "batch_size": 8}


def trained(
    folder: Path, positives: list[Positive] = POSITIVES, seed: int = 1, epochs: int = 60, **changes: int
) -> Path:
    return train_embedded([*ONE, *OTHER], positives, folder, seed=seed, epochs=epochs, **SIZE | changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("encoder") / "learnt")


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_bare_sentence_transformer_loads_the_folder(folder: Path) -> None:
    from sentence_transformers import SentenceTransformer

    vectors = SentenceTransformer(str(folder), device="cpu").encode(ONE)
    assert vectors.shape == (len(ONE), 32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(embed(load_encoder(folder), ONE), vectors, atol=1e-6)


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = train_embedded([*reversed(OTHER), *ONE, *ONE], POSITIVES, tmp_path / "again", seed=1, epochs=60, **SIZE)
    assert files(again) == files(folder)
    assert fingerprint(again) == fingerprint(folder)
    assert fingerprint(trained(tmp_path / "seed", seed=2)) != fingerprint(folder)


def test_positives_come_closer_than_before(folder: Path, tmp_path: Path) -> None:
    def ranks(path: Path) -> tuple[float, float]:
        model = load_encoder(path)
        cosine = embed(model, ONE) @ embed(model, OTHER).T
        return float(np.diag(cosine).mean()), float((cosine.argmax(axis=1) == np.arange(len(ONE))).mean())

    before, learnt = ranks(trained(tmp_path / "start", positives=[])), ranks(folder)
    assert learnt[0] > before[0] + 0.2
    assert learnt[1] == 1.0 > before[1]


def test_texts_of_one_group_are_not_contrasted(folder: Path, tmp_path: Path) -> None:
    grouped = [Positive(p.left, p.right, 3) for p in POSITIVES]
    start, one_group = trained(tmp_path / "start", positives=[]), trained(tmp_path / "group", grouped)
    # All in one group: nobody is anybody's negative, so nothing is learnt.
    at_start, alone, contrasted = (embed(load_encoder(path), ONE) for path in (start, one_group, folder))
    np.testing.assert_allclose(alone, at_start, atol=1e-6)
    assert np.abs(contrasted - at_start).max() > 0.1


def test_weaker_pairs_are_learnt_first(folder: Path, tmp_path: Path) -> None:
    only = train_embedded([*ONE, *OTHER], [], tmp_path / "only", first=POSITIVES, seed=1, epochs=60, **SIZE)
    assert fingerprint(only) == fingerprint(folder)  # the same pairs, the same number of epochs
    wrong = [Positive(a, b) for a, b in zip(ONE, [*OTHER[1:], OTHER[0]], strict=True)]
    both = train_embedded([*ONE, *OTHER], POSITIVES, tmp_path / "both", first=wrong, seed=1, epochs=60, **SIZE)
    model = load_encoder(both)
    cosine = embed(model, ONE) @ embed(model, OTHER).T
    assert (cosine.argmax(axis=1) == np.arange(len(ONE))).all()  # what comes last has the last word
    assert "first from 10 of them in halves, then from 10 positive pairs" in (both / "README.md").read_text()


def test_a_hard_negative_goes_further_away(folder: Path, tmp_path: Path) -> None:
    against = [Positive(p.left, p.right, p.group, negative=ONE[i - 1]) for i, p in enumerate(POSITIVES)]
    # Only the negative's own column differs: a batch of one pair has no other.
    one = trained(tmp_path / "one", POSITIVES[:1], epochs=5)
    pushed = trained(tmp_path / "pushed", against[:1], epochs=5)

    def cosine(path: Path) -> float:
        left, other = embed(load_encoder(path), [against[0].left, against[0].negative])
        return float(left @ other)

    assert cosine(pushed) < cosine(one) - 0.05


def test_the_fingerprint_is_of_what_embeds(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    (copy / "README.md").write_text("another card")
    assert fingerprint(copy) == fingerprint(folder)
    weights = next(copy.rglob("*.safetensors"))
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(bytes(changed))
    assert fingerprint(copy) != fingerprint(folder)
    assert fingerprint("some/model") != fingerprint("other/model")


def test_no_text_and_unknown_text(folder: Path) -> None:
    model = load_encoder(folder)
    assert embed(model, []).shape == (0, 32)
    assert np.isfinite(embed(model, ["", "ﷺ🎉", "zzz"])).all()


def test_an_encoder_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"encoder\.model .*empty"):
        load_encoder(tmp_path / "empty")


def test_prompt_truncation_and_precision_make_spaces_of_their_own(folder: Path) -> None:
    plain = embed(load_encoder(folder), ONE)
    shorter = embed(load_encoder(folder, truncate=16), ONE)
    assert shorter.shape == (len(ONE), 16)
    np.testing.assert_allclose(np.linalg.norm(shorter, axis=1), 1, atol=1e-5)
    prompted = embed(load_encoder(folder, prompt="query: "), ONE)
    np.testing.assert_allclose(prompted, embed(load_encoder(folder), [f"query: {text}" for text in ONE]), atol=1e-6)
    assert np.abs(prompted - plain).max() > 0.01
    halved = embed(load_encoder(folder, half=True), ONE)
    assert 0 < np.abs(halved - plain).max() < 0.01
    spaces = [fingerprint(folder), fingerprint(folder, "query: "), fingerprint(folder, truncate=16)]
    assert len({*spaces, fingerprint(folder, half=True)}) == 4
