"""The loss of two wordings of one wish: against a naive computation, and on planted pairs of which one is labelled."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_language import snapshot_row, toy_rows, toy_settings

from retrain.batches import Lexicon
from retrain.consistency import EncodedPairs, consistency_losses, symmetric_divergence
from retrain.data import Example, Pair, read_pairs
from retrain.model import Architecture, Network
from retrain.predictor import TorchPredictor
from retrain.tables import append_rows
from retrain.train import finetune, train
from retrain.vocabulary import Vocabulary
from schemas.annotated import write_annotated
from schemas.lake import Lake, Manifest

LOCALE = "xx-XX"


def drawn(pairs: int, intents: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    left, right = (3 * torch.randn(pairs, intents, generator=made) for _ in range(2))
    return left.requires_grad_(), right.requires_grad_()


def test_the_divergence_is_the_mean_of_both_directions() -> None:
    left, right = drawn(5, 4, 1)
    for found, one, other in zip(
        symmetric_divergence(left, right).tolist(), left.tolist(), right.tolist(), strict=True
    ):
        p, q = ([math.exp(x) / sum(map(math.exp, row)) for x in row] for row in (one, other))
        naive = [sum(a * math.log(a / b) for a, b in zip(x, y, strict=True)) for x, y in ((p, q), (q, p))]
        assert found == pytest.approx(sum(naive) / 2, abs=1e-5)


def test_where_both_agree_nothing_is_lost_and_nothing_moves() -> None:
    left, _ = drawn(6, 5, 2)
    same = (left.detach() + 2.5).requires_grad_()  # logits that differ by a constant are one distribution
    losses = consistency_losses(left, same, torch.ones(6), torch.ones(6))
    torch.autograd.backward(losses.sum())
    assert losses.tolist() == pytest.approx([0] * 6, abs=1e-6)
    for side in (left, same):
        assert side.grad is not None
        assert float(side.grad.abs().max()) < 1e-6


def test_each_wording_moves_by_its_own_weight() -> None:
    sides, plain = drawn(6, 5, 3), drawn(6, 5, 3)
    weights = torch.rand(2, 6, generator=torch.Generator().manual_seed(4))
    torch.autograd.backward(consistency_losses(*sides, *weights).sum())
    torch.autograd.backward(symmetric_divergence(*plain).sum())
    for side, alone, weight in zip(sides, plain, weights, strict=True):
        assert side.grad is not None
        assert alone.grad is not None
        assert torch.allclose(side.grad, alone.grad * weight[:, None], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e6])
def test_gradients_are_finite_however_sure_the_model_is(scale: float) -> None:
    left, right = (logits.detach().mul(scale).requires_grad_() for logits in drawn(6, 5, 5))
    torch.autograd.backward(consistency_losses(left, right, torch.ones(6), torch.ones(6)).sum())
    for side in (left, right):
        assert side.grad is not None
        assert torch.isfinite(side.grad).all()


def test_an_epoch_gives_out_each_pair_once_and_no_more_than_its_steps_hold() -> None:
    lexicon = Lexicon(Vocabulary().grown(toy_rows(20, 1)), None)
    pairs = EncodedPairs([Pair(f"a {n}", f"b {n}", LOCALE, 1.0, 1.0) for n in range(25)], lexicon)
    given = list(pairs.portions(7, 8, np.random.default_rng(1)))
    assert len(given) == 7
    assert sorted(np.concatenate(given).tolist()) == list(range(25))
    assert {len(portion) for portion in given} == {3, 4}
    few = list(pairs.portions(4, 2, np.random.default_rng(1)))
    assert [len(portion) for portion in few] == [2] * 4
    assert [len(portion) for portion in EncodedPairs([], lexicon).portions(3, 8, np.random.default_rng(1))] == [0] * 3


def test_losses_of_encoded_pairs_are_those_of_their_wordings() -> None:
    vocabulary = Vocabulary().grown(toy_rows(60, 1))
    lexicon = Lexicon(vocabulary, None)
    said = [Pair("play a song", "wake me at noon", LOCALE, 0.5, 0.25), Pair("is it cold", "call a taxi", LOCALE, 1, 1)]
    pairs = EncodedPairs(said, lexicon)
    torch.manual_seed(1)
    network = Network(Architecture(8, 8, 8, 0.0), vocabulary).eval()
    with torch.no_grad():
        found = pairs.losses(network, np.array([1, 0]), None)
        for loss, pair in zip(found.tolist(), said[::-1], strict=True):
            alone = [lexicon.batch([lexicon.indices(text.split())]) for text in (pair.left, pair.right)]
            divergence = float(symmetric_divergence(*(network(batch)[0] for batch in alone)))
            assert loss == pytest.approx((pair.left_weight + pair.right_weight) * divergence, abs=1e-5)


def test_what_was_said_instead_of_a_labelled_wording_follows_it(toy_model: TorchPredictor) -> None:
    rows = toy_rows(40, 2, LOCALE)
    taught = {"zumbo kelet": "taxi_book", "ferrin lopash": "music_play", "mirta dunol": "alarm_set"}
    rows += [Example(text, LOCALE, intent, None, 1.0, "train", "pseudo_label") for text, intent in taught.items()] * 10
    silent = dict(zip(("ogwen brix", "plonk tavi", "yurdo shenk"), taught, strict=True))
    pairs = [Pair(text, other, LOCALE, 0.9, 0.9) for text, other in silent.items()]

    def followed(weight: float, some: list[Pair]) -> list[bool]:
        model = finetune(toy_settings(consistency=weight), toy_model, rows, locale=LOCALE, pairs=some)
        answers = model.predict([*silent, *taught])
        intents = [answer.interpretation.intent for answer in answers]
        assert intents[len(silent) :] == list(taught.values())
        return [said == taught[other] for said, other in zip(intents, silent.values(), strict=False)]

    assert all(followed(1.0, pairs))
    assert not all(followed(0.0, pairs))
    assert not all(followed(1.0, []))


def test_without_the_loss_pairs_change_nothing(toy_model: TorchPredictor) -> None:
    rows, pairs = toy_rows(30, 5, LOCALE), [Pair("wholly new", "words here", LOCALE, 1.0, 1.0)]
    models = [finetune(toy_settings(), toy_model, rows, epochs=1, pairs=some) for some in (pairs, [])]
    one, other = (model.network.state_dict() for model in models)
    assert models[0].vocabulary == models[1].vocabulary
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_training_takes_the_pairs_of_its_snapshot(lake: Lake, tmp_path: Path) -> None:
    gold = tmp_path / "en-US.jsonl"
    write_annotated(gold, [e.annotated for e in toy_rows(60, 1)])
    rows = [replace(e, split="train") for e in toy_rows(40, 2, LOCALE)]
    examples = append_rows(lake, "training_sets", [snapshot_row("s1", i, e) for i, e in enumerate(rows)])
    row = {"left": "play a song", "right": "want a tune", "left_weight": 0.5, "right_weight": 1.0, "users": 1}
    row |= {"locale": LOCALE, "run_id": "r", "pair_id": "p"}
    append_rows(lake, "training_pairs", [row | {"snapshot_id": "s1"}, row | {"snapshot_id": "s0", "left": "old"}])
    others = row | {"snapshot_id": "s1", "pair_id": "a", "locale": "de-DE"}
    pairs = append_rows(lake, "training_pairs", [others])
    lake.publish(Manifest("training_sets", "r", {}, {"training_sets": examples}))
    assert read_pairs(lake, "s1") == []  # of an older program
    lake.publish(Manifest("training_sets", "r", {}, {"training_sets": examples, "training_pairs": pairs}))
    mine = Pair("play a song", "want a tune", LOCALE, 0.5, 1.0)
    assert read_pairs(lake, "s1") == [replace(mine, locale="de-DE"), mine]
    made = {}
    for weight in (0.0, 1.0):
        settings = toy_settings(consistency=weight, gold=[gold], pretrain_epochs=1)
        made[weight] = train(settings, lake, snapshot_id="s1", epochs=1)
    assert [made[weight].parameters["pairs"] for weight in (0.0, 1.0)] == ["0", "1"]
    assert made[0.0].examples == made[1.0].examples == len(rows)
    assert "tune" in made[1.0].predictor.vocabulary.words
    assert "tune" not in made[0.0].predictor.vocabulary.words
