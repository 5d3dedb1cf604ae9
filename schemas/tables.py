"""One definition of every table: columns with types and meaning, key, writer, and the scope a run replaces.

Those of training are in `schemas.training_tables`; `ALL` holds them too.

Times are UTC with microseconds; probabilities are doubles in [0, 1]; slot offsets are half-open, in Unicode code
points into `utterance` as logged; ids are strings. Every derived row carries the `run_id` that wrote it.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.columns import ALTERNATIVES, EVIDENCE, INTENTS, INTERPRETATION, SLOTS, STRINGS, TAGS, TIME, Table, list_of
from schemas.columns import LOCALE as _LOCALE
from schemas.columns import RUN_ID as _RUN
from schemas.columns import Column as _c
from schemas.training_tables import (
    GATE_REPORTS,
    MODEL_RUNS,
    SECOND_GUESSES,
    TRAINING_PAIRS,
    TRAINING_SETS,
    TRAINING_TRANSLATIONS,
    TRANSLATIONS,
)

_S, _F, _I, _L, _B = pa.string(), pa.float64(), pa.int32(), pa.int64(), pa.bool_()
_USER = _c("user_id", _S, "HMAC-SHA256 pseudonym")

_LOGGED = (
    _c("locale", _S, "BCP-47 tag"),
    _c("occurred_at", TIME, "when the user began to speak"),
    _c("utterance", _S, "the recogniser's first hypothesis, as logged"),
    _c("interpretation", INTERPRETATION, "what the model understood", True),
    _c("confidence", _F, "the model's own, of its interpretation", True),
    _c("model_version", _S, "the model that answered", True),
    _c("rewritten_from", _S, "the utterance before a deployed rewrite replaced it", True),
    _c("response", _S, "completed, failed, no_match, clarification or cancelled"),
    _c("requested_slot", _S, "the slot type a clarification asked for", True),
    _c("feedback", STRINGS, "barge_in, stop, thumbs_up, thumbs_down, repeat_request"),
)

INTERACTIONS = Table(
    "interactions",
    "one user turn as logged",
    "jobs.ingest",
    ("interaction_id",),
    (
        _c("interaction_id", _S, "unique id of the turn"),
        _c("date", pa.date32(), "UTC date of occurred_at"),
        _USER,
        *_LOGGED,
        _c("asr_confidence", _F, "the recogniser's own", True),
        _c("asr_alternatives", STRINGS, "the recogniser's other hypotheses"),
        _c("alternatives", ALTERNATIVES, "n-best interpretations behind the first"),
        _c("channel", _S, "device or application", True),
        _c(
            "record_hash",
            _S,
            "hash of the record's content, to tell a repeated delivery from an id used twice",
        ),
        _RUN,
    ),
    ("date",),
)

QUARANTINE = Table(
    "quarantine",
    "one rejected input record",
    "jobs.ingest",
    ("quarantine_id",),
    (
        _c("quarantine_id", _S, "hash of file name, line and raw record"),
        _c("file", _S, "the input file"),
        _c("line", _L, "line in it, from 1 (row of a Parquet file)"),
        _c("raw", _S, "the record as read, its user id replaced by the pseudonym"),
        _c("reasons", STRINGS, "every fault, as `field: what is wrong`"),
        _RUN,
    ),
)

TURNS = Table(
    "turns",
    "one interaction in its session",
    "jobs.turns",
    ("interaction_id",),
    (
        _c("interaction_id", _S, "the interaction"),
        _c("session_id", _S, "hash of the user and the session's first interaction"),
        _c("position", _I, "place in the session, from 0"),
        _USER,
        _c("held_out", _B, "true for the share of users whose votes are kept for the gate"),
        _c("heard", _B, "false for users who say the same again and again, as scripts do: their turns are no evidence"),
        _c("seconds_since_previous", _F, "null at the start of a session", True),
        _c("seconds_to_next", _F, "null at the end of a session", True),
        _c("formulation_id", _S, "hash of locale and normalised text"),
        _c("text", _S, "normalised utterance"),
        *_LOGGED,
        _c("alternatives", ALTERNATIVES, "n-best interpretations behind the first"),
        _c("friction", _F, "posterior probability that the turn did not serve its user"),
        _c("evidence", EVIDENCE, "what the posterior was made from, in bits"),
        _RUN,
    ),
)

REPHRASE_PAIRS = Table(
    "rephrase_pairs",
    "a turn and the later turn by which its user said it again, or asked for something else in like words",
    "jobs.rephrase_pairs",
    ("source", "target"),
    (
        _c("pair_id", _S, "hash of source and target"),
        _c("source", _S, "the earlier interaction"),
        _c("target", _S, "the later interaction"),
        _c(
            "kind",
            _S,
            "rephrase (other words), repeat (the same words), or new_request (another value, the opposite, broader, "
            "narrower: not the same wish)",
        ),
        _c(
            "edit",
            _S,
            "what became of the words: same_words, respelled, reordered, words_added, words_dropped, words_exchanged "
            "or other_words",
        ),
        _c("session_id", _S, "the session of both"),
        _USER,
        _c("held_out", _B, "true for users kept for the gate"),
        _LOCALE,
        _c("source_formulation", _S, "formulation of the source"),
        _c("target_formulation", _S, "formulation of the target"),
        _c("source_utterance", _S, "as logged"),
        _c("target_utterance", _S, "as logged"),
        _c("target_interpretation", INTERPRETATION, "what the model understood of the target", True),
        _c("model_version", _S, "the model that answered the target", True),
        _c("gap_seconds", _F, "from source to target"),
        _c("steps", _I, "turns from source to target"),
        _c("features", EVIDENCE, "each comparison's level and match weight, in bits"),
        _c("match_weight", _F, "sum of the weights and the prior, in bits"),
        _c(
            "posterior",
            _F,
            "probability that the target is what the user said instead",
        ),
        _c("new_request", _F, "probability that the target asks for something else in like words"),
        _c("none_posterior", _F, "probability that no turn of the session is"),
        _c("source_friction", _F, "friction posterior of the source"),
        _c("target_acceptance", _F, "one minus the friction posterior of the target"),
        _c("review", _S, "what a person said of it: same_wish, new_request or unrelated", True),
        _RUN,
    ),
    ("locale",),
)

REVIEWS = Table(
    "reviews",
    "a person's verdict on a pair",
    "jobs.reviews",
    ("pair_id", "reviewer", "reviewed_at"),
    (
        _c("pair_id", _S, "the pair"),
        _c("source", _S, "its source"),
        _c("target", _S, "its target"),
        _LOCALE,
        _c("features", EVIDENCE, "its comparisons when it was judged"),
        _c("verdict", _S, "same_wish, new_request or unrelated"),
        _c("reviewer", _S, "who said so"),
        _c("reviewed_at", TIME, "when; the last verdict on a pair counts"),
    ),
)

REPHRASE_EDGES = Table(
    "rephrase_edges",
    "(source formulation, target formulation) over all users",
    "jobs.rephrase_edges",
    ("source_formulation", "target_formulation"),
    (
        _LOCALE,
        _c("source_formulation", _S, "what failed"),
        _c("target_formulation", _S, "what was said instead"),
        _c("users", _L, "distinct users"),
        _c("events", _L, "pairs"),
        _c("weight", _F, "sum over users of their best pair posterior"),
        _c("success_rate", _F, "mean acceptance of the targets, one vote a user"),
        _RUN,
    ),
    ("locale",),
)

UTTERANCES = Table(
    "utterances",
    "one formulation in one locale",
    "jobs.utterances",
    ("formulation_id",),
    (
        _c("formulation_id", _S, "hash of locale and text"),
        _LOCALE,
        _c("text", _S, "normalised utterance"),
        _c("users", _L, "distinct users"),
        _c("events", _L, "turns"),
        _c("first_seen", TIME, "first turn"),
        _c("last_seen", TIME, "last turn"),
        _c("embedding", list_of(pa.float32()), "unit vector"),
        _c("encoder", _S, "fingerprint of the encoder that made it; spaces are never mixed"),
        _RUN,
    ),
    ("locale",),
)

VARIANT_EDGES = Table(
    "variant_edges",
    "two formulations that mean the same, or probably do (near)",
    "jobs.variant_edges",
    ("left", "right", "kind"),
    (
        _LOCALE,
        _c("left", _S, "the smaller formulation id"),
        _c("right", _S, "the larger formulation id"),
        _c("cosine", _F, "of the embeddings"),
        _c("margin", _F, "cosine over the mean cosine of both neighbourhoods (ratio margin)"),
        _c("mutual_rank", _I, "the worse of the two ranks, from 1"),
        _c("kind", _S, "same_locale, near (looser), rephrase, or cross_locale (the locale is then the launch's)"),
        _RUN,
    ),
    ("locale",),
)

VARIANT_CLUSTERS = Table(
    "variant_clusters",
    "formulation to cluster",
    "jobs.variant_clusters",
    ("formulation_id",),
    (
        _c("formulation_id", _S, "the member"),
        _LOCALE,
        _c("cluster_id", _S, "stable from run to run while most members stay"),
        _c("medoid", _S, "formulation id of the member nearest to all others"),
        _c("size", _I, "members"),
        _c("cohesion", _F, "mean cosine of the members to the medoid"),
        _RUN,
    ),
    ("locale",),
)

CLUSTER_LINKS = Table(
    "cluster_links",
    "the cluster of another locale that a cluster of the launch locale is nearest to",
    "jobs.variant_clusters",
    ("cluster_id", "other_locale"),
    (
        _LOCALE,
        _c("cluster_id", _S, "cluster of the launch locale"),
        _c("other_locale", _S, "the other locale"),
        _c("other_cluster", _S, "its cluster with the most cross_locale edges to this one"),
        _c("edges", _I, "cross_locale edges between the two"),
        _c("cosine", _F, "mean cosine of those edges"),
        _RUN,
    ),
)

CLUSTER_EVENTS = Table(
    "cluster_events",
    "one change of a cluster between two runs",
    "jobs.variant_clusters",
    ("run_id", "cluster_id", "event"),
    (
        _LOCALE,
        _c("event", _S, "birth, merge, split or death"),
        _c("cluster_id", _S, "the cluster it happened to"),
        _c("others", STRINGS, "clusters merged in, or split from"),
        _RUN,
    ),
)

REFORMULATIONS = Table(
    "reformulations",
    "a state of what users try: a wording's cluster and what the model made of it",
    "jobs.reformulations",
    ("locale", "cluster_id", "interpretation"),
    (
        _LOCALE,
        _c("cluster_id", _S, "cluster of what the user said, also where a deployed rewrite replaced it"),
        _c("interpretation", _S, "intent and slot types, empty where nothing was understood"),
        _c("best_cluster", _S, "cluster of the state in which tries most probably end accepted; may be its own"),
        _c("best_interpretation", _S, "interpretation of that state"),
        _c("probability", _F, "that a try of this state ends accepted there"),
        _c("own_probability", _F, "that it ends accepted in this state"),
        _c("abandoned", _F, "that it ends given up"),
        _c("users", _L, "distinct users seen in this state"),
        _c("best_users", _L, "distinct users seen in the best state"),
        _c("events", _L, "turns in this state"),
        _c("exposed_events", _L, "turns in it whose words a deployed rewrite replaced"),
        _RUN,
    ),
    ("locale",),
)

PSEUDO_LABELS = Table(
    "pseudo_labels",
    "a formulation's soft label",
    "jobs.pseudo_labels",
    ("formulation_id",),
    (
        _c("formulation_id", _S, "the formulation"),
        _LOCALE,
        _c("utterance", _S, "its most frequent spelling as logged; slot offsets point into it"),
        _c("cluster_id", _S, "its cluster"),
        _c("status", _S, "accepted, contested or too_few_users"),
        _c("why", _S, "one sentence"),
        _c("intent", _S, "the most probable intent", True),
        _c("posterior", _F, "its probability", True),
        _c("intents", INTENTS, "the distribution, best first"),
        _c("slots", SLOTS, "spans, or null where they stay open", True),
        _c("slot_posterior", _F, "probability that all of these spans are right", True),
        _c("tags", TAGS, "where the spans stay open, for each token its likely tags; null where that is nothing", True),
        _c("users", _L, "distinct users behind the intent, those of near wordings counted in (50 of each)"),
        _c("own_users", _L, "distinct users behind the formulation's own votes"),
        _c("events", _L, "times it was spoken"),
        _c(
            "sources",
            list_of(pa.struct([("source", _S), ("intent", _S), ("users", _L), ("weight", _F)])),
            "votes by source and intent; of `annotated`, what near annotated utterances say, without users; of "
            "`absorption`, for how many users tries of its variant cluster end well with the intent; of `wish`, what "
            "the community of the wording means, and its users",
        ),
        _c("pair_ids", STRINGS, "rephrase pairs behind it"),
        _c("wish_id", _S, "the community of wordings that it is of; null where it is of no large one", True),
        _RUN,
    ),
    ("locale",),
)

JOB_RUNS = Table(
    "job_runs",
    "one step's run",
    "jobs.lake",
    ("run_id", "started_at"),
    (
        _c("run_id", _S, "hash of step source, settings and input content"),
        _c("step", _S, "the step"),
        _c("started_at", TIME, "when"),
        _c("seconds", _F, "duration"),
        _c("peak_memory_mb", _F, "largest resident set of the driver's Python process so far"),
        _c("status", _S, "done, unchanged or refused"),
        _c("inputs", STRINGS, "table@version"),
        _c("outputs", STRINGS, "table@version"),
        _c("counts", list_of(pa.struct([("name", _S), ("value", _L)])), "rows in, out, and dropped by reason"),
    ),
)

ALL = (
    INTERACTIONS,
    QUARANTINE,
    TURNS,
    REPHRASE_PAIRS,
    REVIEWS,
    REPHRASE_EDGES,
    UTTERANCES,
    VARIANT_EDGES,
    VARIANT_CLUSTERS,
    CLUSTER_LINKS,
    CLUSTER_EVENTS,
    REFORMULATIONS,
    PSEUDO_LABELS,
    TRANSLATIONS,
    TRAINING_SETS,
    TRAINING_PAIRS,
    TRAINING_TRANSLATIONS,
    MODEL_RUNS,
    SECOND_GUESSES,
    GATE_REPORTS,
    JOB_RUNS,
)
BY_NAME = {table.name: table for table in ALL}
