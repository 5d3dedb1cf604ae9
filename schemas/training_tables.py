"""The tables of training: frozen examples and pairs, models, gate decisions (`schemas.tables` has all others)."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from schemas.columns import INTENTS, LOCALE, RUN_ID, SLOTS, TAGS, TIME, Column, Table

_S, _F, _L, _B = pa.string(), pa.float64(), pa.int64(), pa.bool_()

NO_ANSWER = ""  # the intent of gate rows of turns that the assistant made nothing of


def turn_group(interaction_id: str) -> str:
    """`group_id` of a turn's gate rows, as `jobs.training_sets` hashes it in Spark."""
    return hashlib.sha256(interaction_id.encode()).hexdigest()[:16]


TRAINING_SETS = Table(
    "training_sets",
    "one example of one frozen snapshot",
    "jobs.training_sets",
    ("snapshot_id", "example_id"),
    (
        Column("snapshot_id", _S, "the run that froze it"),
        Column(
            "example_id", _S, "hash of what the row is of: a label's utterance, a gate row's turn, intent and source"
        ),
        LOCALE,
        Column("split", _S, "train, dev or gate"),
        Column(
            "source",
            _S,
            "gold, pseudo_label or contested; of gate rows expected, held_out, voter or rephrased: `retrain.held_out`",
        ),
        Column("utterance", _S, "text"),
        Column("intent", _S, "label; '' in gate rows of turns that were not answered"),
        Column("intents", INTENTS, "of a contested wording, its whole distribution: a soft target", True),
        Column("slots", SLOTS, "spans, or null where they are open", True),
        Column(
            "tags", TAGS, "where the spans are open, for each token the tags it may have: none masks the tagger", True
        ),
        Column(
            "weight",
            _F,
            "of the example in the loss; of a gate row, the probability that it served (a rephrase: and meant it)",
        ),
        Column(
            "stratum",
            _S,
            "head, torso or tail by how often it was spoken; gold, contested; of gate rows labelled or unlabelled",
        ),
        Column("group_id", _S, "cluster, signature of gold, or the turn whose possible answers the gate rows are"),
        RUN_ID,
    ),
    ("snapshot_id",),
)

TRAINING_PAIRS = Table(
    "training_pairs",
    "two wordings of one frozen snapshot that users said instead of each other",
    "jobs.training_sets",
    ("snapshot_id", "pair_id"),
    (
        Column("snapshot_id", _S, "the run that froze it"),
        Column("pair_id", _S, "hash of both formulations"),
        LOCALE,
        Column("left", _S, "the one wording, of the smaller formulation id, in its most frequent spelling"),
        Column("right", _S, "the other"),
        Column("left_weight", _F, "how far the left may be moved: its users' belief in the pair, as a share of them"),
        Column("right_weight", _F, "how far the right may be moved"),
        Column("users", _L, "distinct users who said the one instead of the other"),
        RUN_ID,
    ),
    ("snapshot_id",),
)

_WORDS = (
    Column("word", _S, "of the mature language, normalised"),
    Column("translation", _S, "a word of the launch language that says it"),
    Column("agreement", _F, "geometric mean of the probabilities that the one is said by the other, both ways"),
)

TRANSLATIONS = Table(
    "translations",
    "a word of the mature language and one of the launch language that says it, found in wordings of believed intent",
    "jobs.pseudo_labels",
    ("locale", "word", "translation"),
    (LOCALE, *_WORDS, RUN_ID),
    ("locale",),
)

TRAINING_TRANSLATIONS = Table(
    "training_translations",
    "one translation as one frozen snapshot has it",
    "jobs.training_sets",
    ("snapshot_id", "word", "translation"),
    (Column("snapshot_id", _S, "the run that froze it"), LOCALE, *_WORDS, RUN_ID),
    ("snapshot_id",),
)

_METRICS = (
    Column("intent_accuracy", _F, "share of examples with the right intent", True),
    Column("slot_f1", _F, "micro F1 of exact spans", True),
    Column("exact_match", _F, "share with intent and all slots right", True),
)

MODEL_RUNS = Table(
    "model_runs",
    "one training run",
    "retrain.registry",
    ("model_version",),
    (
        Column("model_version", _S, "registered name and version"),
        LOCALE,
        Column("snapshot_id", _S, "what it was trained on"),
        Column("trained_at", TIME, "end of training"),
        Column("seconds", _F, "duration"),
        Column("examples", _L, "training examples"),
        *_METRICS,
        RUN_ID,
    ),
)

SECOND_GUESSES = Table(
    "second_guesses",
    "what the champion makes of a wording that other models answered and that it was not taught",
    "retrain.second_guesses",
    ("formulation_id",),
    (
        Column("formulation_id", _S, "the wording"),
        LOCALE,
        Column("model_version", _S, "the champion that guesses"),
        Column("guesses", INTENTS, "its best intents with their confidence, best first"),
        RUN_ID,
    ),
    ("locale",),
)

GATE_REPORTS = Table(
    "gate_reports",
    "one decision",
    "retrain.gate",
    ("challenger", "champion", "snapshot_id"),
    (
        Column("decided_at", TIME, "when"),
        LOCALE,
        Column("challenger", _S, "model version"),
        Column("champion", _S, "model version, null at launch", True),
        Column("snapshot_id", _S, "whose gate and dev rows were used; `trial` where users on trial decided"),
        Column("passed", _B, "the decision"),
        Column("reason", _S, "one sentence"),
        Column("examples", _L, "gate examples"),
        Column("challenger_accuracy", _F, "on them", True),
        Column("champion_accuracy", _F, "on them", True),
        Column("lower_bound", _F, "one-sided 95% paired bound of the difference", True),
        Column("margin", _F, "non-inferiority margin"),
    ),
)
