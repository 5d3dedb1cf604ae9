from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_language import CYRILLIC, toy_rows, toy_settings

from retrain.batches import Lexicon, batches, encode
from retrain.bio import encode_bio, tokens_of
from retrain.data import Example
from retrain.encoder import SubwordVectors
from retrain.evaluate import evaluate
from retrain.fit import generalised_cross_entropy
from retrain.lexicon import BilingualLexicon
from retrain.model import (
    Architecture,
    Network,
    Partial,
    bio_constraints,
    crf_log_partition,
    crf_score,
    grow,
    viterbi,
)
from retrain.plan import Plan, weight_of_words
from retrain.predictor import TorchPredictor
from retrain.train import finetune, pretrain, train
from retrain.vocabulary import Vocabulary
from schemas.annotated import write_annotated
from schemas.errors import InputError
from schemas.lake import Lake

SMALL = Architecture(8, 8, 8, 0.0)


def weights(predictor: TorchPredictor) -> dict[str, torch.Tensor]:
    return predictor.network.state_dict()


def test_a_toy_language_is_learnt(toy_model: TorchPredictor) -> None:
    figures = evaluate(toy_model, [e.annotated for e in toy_rows(200, 3)])
    assert figures.intent_accuracy > 0.95
    assert figures.slot_f1 > 0.9


def test_a_contested_wording_teaches_its_whole_distribution() -> None:
    said = [("alarm_set", 0.5), ("music_play", 0.3)]
    vocabulary = Vocabulary().grown(toy_rows(60, 1))
    lexicon = Lexicon(vocabulary, None)
    rows = [
        Example("blip", "xx-XX", "alarm_set", None, source="contested", intents=(*said, ("unheard_of", 0.1))),
        Example("blip", "xx-XX", "taxi_book", None),
    ]
    ((_, targets),) = batches(encode(rows, vocabulary, lexicon), lexicon, 8, np.random.default_rng(1))
    soft, hard = sorted(targets.intents.tolist(), key=max)
    assert sum(soft) == pytest.approx(1)
    at = vocabulary.intent_index
    assert [soft[at[name]] for name in ("alarm_set", "music_play", "taxi_book")] == pytest.approx([0.55, 0.35, 0.05])
    assert hard == [float(i == at["taxi_book"]) for i in range(len(at))]
    assert targets.mined.tolist().count(True) == 1


def test_a_model_learns_how_divided_users_are() -> None:
    settings = toy_settings()
    start = pretrain(settings, toy_rows(200, 1))
    soft = (("alarm_set", 0.6), ("music_play", 0.4))
    divided = [Example(f"blip blop {n}", "xx-XX", "alarm_set", None, 1.0, "train", "contested", intents=soft)
               for n in ("one", "two", "three", "four")] * 10  # fmt: skip
    model = finetune(settings, start, [*toy_rows(40, 2, "xx-XX"), *divided], locale="xx-XX")
    (found,) = model.predict(["blip blop one"])
    shares = {found.interpretation.intent: found.confidence} | {
        guess.intent: confidence for guess, confidence in found.alternatives
    }
    assert shares["alarm_set"] == pytest.approx(0.6, abs=0.12)
    assert shares["music_play"] == pytest.approx(0.4, abs=0.12)


def test_generalised_cross_entropy_lies_between_cross_entropy_and_absolute_error() -> None:
    torch.manual_seed(3)
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 1, 2])
    hard = torch.nn.functional.one_hot(labels, 4).float()
    p = logits.softmax(-1)[torch.arange(6), labels]
    assert torch.allclose(generalised_cross_entropy(logits, hard, 1e-4), -p.log(), atol=1e-3)
    assert torch.allclose(generalised_cross_entropy(logits, hard, 1.0), 1 - p)
    soft = torch.full((6, 4), 0.25)
    assert torch.allclose(generalised_cross_entropy(logits, soft, 1.0), torch.full((6,), 0.75))


def test_crf_agrees_with_enumeration() -> None:
    torch.manual_seed(1)
    tags, lengths = 5, torch.tensor([4, 1, 3])
    scores, transitions, starts = torch.randn(3, 4, tags), torch.randn(tags, tags), torch.randn(tags)
    allowed, begins = bio_constraints(tags)
    transitions, starts = transitions.masked_fill(~allowed, -1e4), starts.masked_fill(~begins, -1e4)
    mask = torch.arange(4)[None, :] < lengths[:, None]
    best, total = (
        viterbi(scores, transitions, starts, mask),
        crf_log_partition(scores, transitions, starts, mask),
    )
    for b, length in enumerate(lengths.tolist()):
        paths = list(itertools.product(range(tags), repeat=length))
        found = torch.tensor(
            [
                starts[p[0]]
                + sum(scores[b, i, t] for i, t in enumerate(p))
                + sum(transitions[s, t] for s, t in itertools.pairwise(p))
                for p in paths
            ]
        )
        assert float(total[b]) == pytest.approx(float(torch.logsumexp(found, 0)), abs=1e-4)
        assert tuple(best[b, :length].tolist()) == paths[int(found.argmax())]
    assert torch.allclose(
        crf_score(scores, best, transitions, starts, mask)[0],
        starts[best[0, 0]] + scores[0, range(4), best[0]].sum() + transitions[best[0, :-1], best[0, 1:]].sum(),
    )


def test_an_inside_tag_follows_nothing_but_its_own_span() -> None:
    torch.manual_seed(2)
    network = Network(SMALL, Vocabulary(slots=("a", "b"), intents=("x",)))
    mask = torch.ones(50, 6, dtype=torch.bool)
    tags, _ = network.best_tags(3 * torch.randn(50, 6, 5), mask)
    for row in tags.tolist():
        for before, tag in itertools.pairwise([0, *row]):
            assert tag % 2 == 1 or tag == 0 or before in (tag - 1, tag)


def test_growing_keeps_what_was_learnt(toy_model: TorchPredictor) -> None:
    vocabulary = toy_model.vocabulary.grown(toy_rows(40, 9, "xx-XX", foreign=True))
    torch.manual_seed(0)
    larger = grow(toy_model.network, vocabulary)
    for name, old in weights(toy_model).items():
        new = larger.state_dict()[name]
        assert torch.equal(new[tuple(slice(0, n) for n in old.shape)], old), name
    assert len(vocabulary.words) > len(toy_model.vocabulary.words)
    texts = [e.utterance for e in toy_rows(30, 4)]
    kept = TorchPredictor(larger, vocabulary)
    assert [p.interpretation for p in kept.predict(texts)] == [p.interpretation for p in toy_model.predict(texts)]


def test_masked_slots_do_not_move_the_tagger() -> None:
    rows = [replace(e, slots=None) for e in toy_rows(32, 1)]
    vocabulary = Vocabulary().grown(toy_rows(32, 1))
    torch.manual_seed(0)
    network, lexicon = Network(SMALL, vocabulary), Lexicon(vocabulary, None)
    for batch, targets in batches(encode(rows, vocabulary, lexicon), lexicon, 8, np.random.default_rng(0)):
        _, scores = network(batch)
        losses = network.tag_losses(scores, targets.tags, batch.mask) * targets.tag_weights
        torch.autograd.backward(losses.sum())
    for name in ("transitions", "starts", "tags.weight", "to_tags.weight"):
        assert float(network.get_parameter(name).grad.abs().max()) == 0, name  # type: ignore[union-attr]


def test_partly_known_tags_agree_with_enumeration() -> None:
    """The loss is minus the log of the probability of all sequences that are allowed together."""
    torch.manual_seed(3)
    network = Network(SMALL, Vocabulary(slots=("a", "b"), intents=("x",)))
    torch.nn.init.normal_(network.transitions)
    transitions, starts = network.constrained()
    scores, lengths = torch.randn(4, 4, 5), torch.tensor([4, 3, 1, 4])
    mask = torch.arange(4)[None, :] < lengths[:, None]
    allowed = torch.rand(3, 4, 5) < 0.5
    allowed[..., 0] = True  # so that O O O O is
    allowed[2] = True
    rows = torch.tensor([0, 1, 3])
    whole = torch.tensor([[0, 1, 2, 0]] * 4)
    losses = network.tag_losses(scores, whole, mask, Partial(rows, allowed)).detach()
    assert torch.allclose(losses[2], network.tag_losses(scores, whole, mask)[2].detach())
    for sets, b in zip(allowed, rows.tolist(), strict=True):
        score: dict[tuple[int, ...], Tensor] = {
            path: starts[path[0]]
            + sum(scores[b, i, t] for i, t in enumerate(path))
            + sum(transitions[s, t] for s, t in itertools.pairwise(path))
            for path in itertools.product(range(5), repeat=int(lengths[b]))
        }
        within = [s for path, s in score.items() if all(bool(sets[i, t]) for i, t in enumerate(path))]
        expected = torch.stack(list(score.values())).logsumexp(0) - torch.stack(within).logsumexp(0)
        assert float(losses[b]) == pytest.approx(float(expected.detach()), abs=1e-4)
    assert float(losses[3]) == pytest.approx(0, abs=1e-4), "an utterance of which nothing is known"


def test_the_tags_that_a_token_may_have_stand_where_the_token_stands() -> None:
    short = Example("wake me", "en-US", "alarm", None, tags=(("O",), ()))
    long = Example("wake me at seven", "en-US", "alarm", None, tags=((), ("B-time", "I-time"), (), ("O", "B-who")))
    masked = Example("wake", "en-US", "alarm", None)
    vocabulary = Vocabulary().grown([short, long, masked])
    assert vocabulary.slots == ("time", "who")
    lexicon = Lexicon(vocabulary, None)
    encoded = encode([short, long, masked], vocabulary, lexicon)
    (_, targets) = next(batches(encoded, lexicon, 8, np.random.default_rng(0)))
    assert targets.partial is not None
    assert sorted(targets.tag_weights.tolist()) == [0, 1, 1]
    names = [
        [{tag for tag, may in zip(vocabulary.tags, token, strict=True) if may} for token in row]
        for row in targets.partial.allowed.tolist()
    ]
    every = set(vocabulary.tags)
    assert sorted(names, key=str) == sorted(
        [[{"O"}, every, every, every], [every, {"B-time", "I-time"}, every, {"O", "B-who"}]], key=str
    )


def test_settled_tokens_teach_the_tagger_what_open_spans_do_not() -> None:
    """Seven annotated rows, and many of which one token in two is known."""
    random = np.random.default_rng(4)
    gold, dev = toy_rows(7, 5), [e.annotated for e in toy_rows(100, 6)]

    def half(e: Example) -> Example:
        tags = encode_bio(tokens_of(e.utterance), e.slots or ())
        return replace(e, slots=None, tags=tuple((tag,) if random.random() < 0.5 else () for tag in tags))

    known = [half(e) for e in toy_rows(150, 7)]
    taught = pretrain(toy_settings(), gold + known)
    masked = pretrain(toy_settings(), gold + [replace(e, tags=()) for e in known])
    assert evaluate(taught, dev).slot_f1 > evaluate(masked, dev).slot_f1 + 0.3


def test_words_of_open_rows_count_until_they_outweigh_whole_sequences() -> None:
    whole = [replace(e, weight=3.0) for e in toy_rows(4, 1)]
    some = [replace(e, slots=None, tags=(("O",),), weight=0.5) for e in toy_rows(48, 2)]
    masked = [replace(e, slots=None) for e in toy_rows(9, 3)]
    assert weight_of_words(whole + some[:24]) == weight_of_words(whole) == weight_of_words([]) == 1.0
    assert weight_of_words(whole + some[:36] + masked) == pytest.approx(0.5)
    assert weight_of_words(whole + some) == weight_of_words(some) == 0.0


def test_a_plan_bounds_what_is_seen_and_tells_what_the_settings_leave_to_the_data() -> None:
    settings = toy_settings(batch_size=10, finetune_epochs=12, max_seen=6000)
    source, few = toy_rows(800, 1), toy_rows(40, 2, "xx-XX")
    assert Plan.of(settings, few, source).parameters() == {
        "epochs": "17",  # 400 steps of 10 rows
        "rows_an_epoch": "240",  # 40 annotated, 200 rehearsed
        "weight_of_words": "1",
    }
    some = [replace(e, slots=None, tags=(("O",),), source="pseudo_label") for e in toy_rows(1160, 3, "xx-XX")]
    told = Plan.of(settings, few + some, source)
    assert (told.sample, len(told.rows)) == (780, 40 * 10 + 1160)
    assert told.parameters() == {"epochs": "3", "rows_an_epoch": "2340", "weight_of_words": "1"}
    assert told.schedule.words == 1.0  # 400 annotated at weight 3 beside 1,160
    assert Plan.of(settings, few + some, source, epochs=1).schedule.epochs == 1
    assert Plan.of(settings, some, source).parameters()["weight_of_words"] == "0"
    lexicon = BilingualLexicon({"please": (("tafadhali", 1.0),)})
    assert (Plan.of(settings, few, source, lexicon).switching, Plan.of(settings, few, source).switching) == (800, 0)


def test_many_open_rows_do_not_silence_the_tagger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: of open rows the words that are no value are settled, and half of the values as none."""
    random = np.random.default_rng(4)
    start = pretrain(toy_settings(), toy_rows(100, 9))
    gold, dev = toy_rows(20, 5, foreign=True), [e.annotated for e in toy_rows(100, 6, foreign=True)]

    def biased(e: Example) -> Example:
        told = encode_bio(tokens_of(e.utterance), e.slots or ())
        tags = tuple(("O",) if tag == "O" or random.random() < 0.5 else () for tag in told)
        return replace(e, slots=None, tags=tags)

    rows = gold + [biased(e) for e in toy_rows(400, 7, foreign=True)]
    weighed = evaluate(finetune(toy_settings(), start, rows, locale="xx-XX"), dev).slot_f1
    monkeypatch.setattr("retrain.plan.weight_of_words", lambda rows: 1.0)
    assert weighed > evaluate(finetune(toy_settings(), start, rows, locale="xx-XX"), dev).slot_f1 + 0.1


def test_weights_of_examples_count() -> None:
    good = toy_rows(120, 1)
    bad = [replace(e, intent="taxi_book", weight=0.0) for e in toy_rows(120, 2)]
    model = pretrain(toy_settings(), good + bad)
    assert evaluate(model, [e.annotated for e in toy_rows(100, 3)]).intent_accuracy > 0.9


def test_the_same_seed_gives_the_same_weights() -> None:
    rows, few = toy_rows(60, 1), toy_rows(30, 5, "xx-XX", foreign=True)
    settings = toy_settings(pretrain_epochs=2, finetune_epochs=1)

    def made(order: int) -> dict[str, torch.Tensor]:
        start = pretrain(settings, rows[::order])
        return weights(finetune(settings, start, few[::order], source=rows, epochs=2))

    one, two = made(1), made(-1)
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_few_dev_rows_choose_no_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dev rows that say the opposite of the train rows would choose the first epoch."""
    rows = toy_rows(200, 1)
    intents = sorted({row.intent for row in rows})
    opposite = [
        replace(row, split="dev", intent=intents[intents.index(row.intent) - 1]) for row in toy_rows(60, 2)
    ]  # fmt: skip
    settings = toy_settings(pretrain_epochs=6)
    last = weights(pretrain(settings, rows + opposite))
    monkeypatch.setattr("retrain.fit.MIN_CHOICE", 60)
    chosen = weights(pretrain(settings, rows + opposite))
    assert not all(torch.equal(last[k], chosen[k]) for k in last)


def test_finetuning_leaves_its_start_alone_and_learns_the_new_language(toy_model: TorchPredictor) -> None:
    before = {k: v.clone() for k, v in weights(toy_model).items()}
    judged = [e.annotated for e in toy_rows(150, 8, "xx-XX", foreign=True)]
    few = toy_rows(80, 7, "xx-XX", foreign=True)
    tuned = finetune(toy_settings(), toy_model, few, source=toy_rows(200, 1), locale="xx-XX", epochs=8)
    assert all(torch.equal(before[k], v) for k, v in weights(toy_model).items())
    assert evaluate(toy_model, judged).intent_accuracy < 0.7
    assert evaluate(tuned, judged).intent_accuracy > 0.9
    assert evaluate(tuned, [e.annotated for e in toy_rows(150, 3)]).exact_match > 0.85  # rehearsal kept it


def test_pretraining_is_cached_by_content(lake: Lake, tmp_path: Path) -> None:
    rows = toy_rows(60, 1) + toy_rows(40, 2, split="dev")
    write_annotated(tmp_path / "en-US.jsonl", [e.annotated for e in rows])
    calls: list[str] = []
    settings = toy_settings(pretrain_epochs=1, gold=[tmp_path / "en-US.jsonl"])

    def note(stage: str, *_: object) -> None:
        calls.append(stage)

    first = train(settings, lake, progress=note)
    second = train(settings, lake, progress=note)
    assert calls == ["pretrain"]
    assert first.run_id == second.run_id
    assert first.locale == "xx-XX"
    later = settings.training.model_copy(update={"code_switching": 0.5})
    train(settings.model_copy(update={"training": later}), lake, progress=note)
    assert calls == ["pretrain"], "what comes afterwards does not change what was pretrained"
    assert all(torch.equal(v, weights(second.predictor)[k]) for k, v in weights(first.predictor).items())
    with pytest.raises(InputError, match="no launch locale"):
        train(settings.model_copy(update={"locale": None}), lake)
    with pytest.raises(InputError, match="en-US"):
        train(toy_settings(), lake)


def test_save_and_load_give_identical_answers(toy_model: TorchPredictor, tmp_path: Path) -> None:
    texts = [
        "wake me at noon",
        "",
        "?!",
        "größe 東京 zzz",
        *(e.utterance for e in toy_rows(30, 4)),
        "a " * 90,
    ]
    again = TorchPredictor.load(toy_model.save(tmp_path / "m"), "name/1")
    assert again.predict(texts) == toy_model.predict(texts)
    assert again.version == "name/1"
    assert not [p for p in (tmp_path / "m").iterdir() if p.suffix not in (".json", ".safetensors")]
    with pytest.raises(InputError, match="no model"):
        TorchPredictor.load(tmp_path)


def test_answers_do_not_depend_on_company(toy_model: TorchPredictor) -> None:
    texts = [e.utterance for e in toy_rows(12, 4)]
    together, alone = toy_model.predict(texts), [toy_model.predict([t])[0] for t in texts]
    assert [p.interpretation for p in together] == [p.interpretation for p in alone]
    assert [p.confidence for p in together] == pytest.approx([p.confidence for p in alone], abs=1e-5)
    for p in together:
        assert 1 >= p.confidence >= p.alternatives[0][1] >= p.alternatives[1][1] >= 0


def static_encoder(folder: Path, words: list[str], vectors: np.ndarray) -> Path:
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token=words[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    (folder / "0_StaticEmbedding").mkdir(parents=True)
    tokenizer.save(str(folder / "0_StaticEmbedding" / "tokenizer.json"))
    save_file({"embedding.weight": vectors}, folder / "0_StaticEmbedding" / "model.safetensors")
    return folder


def test_an_encoder_carries_meaning_across_languages(tmp_path: Path) -> None:
    """Carrier words and their Cyrillic spellings share vectors, so zero-shot works."""
    source = toy_rows(300, 1)
    words = sorted({w for e in source for w in e.utterance.split()})
    random = np.random.default_rng(0).normal(size=(len(words) + 1, 24)).astype(np.float32)
    both = ["[unknown]", *words, *(w.translate(CYRILLIC) for w in words)]
    rows = [0, *range(1, len(words) + 1), *range(1, len(words) + 1)]
    encoder = SubwordVectors(static_encoder(tmp_path / "e", both, random[rows]))
    judged = [e.annotated for e in toy_rows(150, 8, "xx-XX", foreign=True)]
    model = pretrain(toy_settings(pretrain_epochs=8), source, encoder=encoder)
    figures = evaluate(model, judged)
    assert figures.intent_accuracy > 0.8
    loaded = TorchPredictor.load(model.save(tmp_path / "m"))
    assert evaluate(loaded, judged) == figures
    with pytest.raises(InputError, match="StaticEmbedding"):
        SubwordVectors(tmp_path / "nowhere")


def test_an_unlabelled_utterance_without_words_is_answered(toy_model: TorchPredictor) -> None:
    assert toy_model.predict([]) == []
    assert toy_model.predict(["..."])[0].interpretation.slots == ()
    assert pretrain(toy_settings(pretrain_epochs=1), [Example("...", "en-US", "x"), Example("", "en-US", "y")])
