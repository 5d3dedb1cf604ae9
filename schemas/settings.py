"""Every setting, its unit, bounds and default. Read from sayagain.toml, then SAYAGAIN_* variables, then flags."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from schemas.errors import InputError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# Spark's configuration for logs so small that compiling a query takes longer than interpreting it.
INTERPRETED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}


class SparkSettings(_Section):
    """How the jobs start Spark when no session runs yet (spark-submit brings its own)."""

    master: str = "local[2]"
    driver_memory: Annotated[str, Field(pattern=r"^\d+[gm]$")] = "3g"
    shuffle_partitions: Count = 2
    snapshot_partitions: Count = 2
    conf: dict[str, str] = {}


class IngestSettings(_Section):
    """What a batch must look like to be published."""

    earliest: date = date(2015, 1, 1)
    latest_ahead_days: Annotated[float, Field(ge=0, le=366)] = 1.0  # clocks of devices run ahead
    pseudonym_key: SecretStr | None = None  # HMAC key; without one, a key file is made beside the lake
    min_records: Count = 1
    max_quarantined: Share = 0.2  # of the records read
    max_null_interpretation: Share = 1.0
    locales: tuple[str, ...] = ()  # allowed locales; empty allows every one
    max_other_locales: Share = 0.01  # of the kept records, outside `locales`


class SessionSettings(_Section):
    """Where one session ends and the next begins."""

    gap_seconds: Positive = 300.0
    max_turns: Annotated[int, Field(ge=2, le=1000)] = 50


class FrictionSettings(_Section):
    """The friction posterior's EM."""

    prior: Annotated[float, Field(gt=0, lt=1)] = 0.5  # share of answers that fail, before any evidence
    # Share of failed turns that nobody complains about: a belief, or from an audit. Near one, failing would look more
    # like serving than serving does, and the two change places.
    silent_failure: Annotated[float, Field(ge=0, le=0.8)] = 0.3
    iterations: Count = 100


class RephraseSettings(_Section):
    """Candidate pairs and the linkage model."""

    max_gap_seconds: Positive = 180.0
    lookahead: Annotated[int, Field(ge=1, le=20)] = 6  # turns
    min_source_friction: Share = 0.0  # sources below it are never paired; friction is evidence, so none by default
    min_posterior: Share = 0.7
    max_pairs_per_user: Count = 50  # of one user, that count in the EM
    iterations: Count = 100


class EncoderSettings(_Section):
    """The sentence encoder: `embedded`, or the name or path of any sentence-transformers model."""

    model: str = "embedded"
    dimensions: Annotated[int, Field(ge=16, le=1024)] = 128
    vocabulary: Annotated[int, Field(ge=200, le=100_000)] = 8000
    epochs: Count = 2
    # TSV files (sentence<TAB>translation) of the launch language, or folders in Tatoeba's form. Training learns a
    # lexicon from them as well.
    parallel: tuple[Path, ...] = ()
    # Trained anew when the log holds this many times the wordings or sure pairs it was trained on; 1 is every night.
    keep_until: Annotated[float, Field(ge=1)] = 1.2
    # The next three are for a model that is not `embedded`.
    prompt: str = ""  # put before every text
    truncate_dimensions: Count | None = None
    half_precision: bool = False
    batch_size: Count = 256


class NeighbourSettings(_Section):
    """Neighbours and variant edges, within a locale and between the launch locale and each other."""

    k: Annotated[int, Field(ge=1, le=200)] = 20
    min_cosine: Annotated[float, Field(ge=-1, le=1)] | None = None  # None: each locale's own (`mining.thresholds`)
    min_margin: Positive = 1.0
    # Looser neighbours: they join no cluster, but their users' votes say what a wording probably means.
    near_k: Annotated[int, Field(ge=0, le=200)] = 30
    near_min_cosine: Annotated[float, Field(ge=-1, le=1)] = 0.4
    cross_min_cosine: Annotated[float, Field(ge=-1, le=1)] = 0.5
    cross_min_margin: Positive = 1.05
    exact_below: Count = 20_000  # formulations; above it an inverted file
    probes: Count = 6  # cells of the inverted file that a formulation visits
    memory_gb: Positive | None = None  # of one search; 8-bit codes where 16-bit ones would take more
    device: Literal["auto", "cpu", "gpu"] = "auto"
    distribute_above: Count = 2_000_000  # formulations of a locale; above it one Spark task a group of cells


class ClusterSettings(_Section):
    """Variant clusters."""

    leiden_above: Count = 12  # members of a component
    resolution: Positive = 0.01  # mean weight of all pairs of members that keeps a group of a large component together
    min_rephrase_users: Count = 2  # distinct users behind a rephrase edge that joins clusters
    # None: by the least cosine of the locale's edges (`mining.thresholds`), which is 0.65 at most.
    min_medoid_cosine: Annotated[float, Field(ge=-1, le=1)] | None = None  # of members; 0.4 where edges begin at 0.65
    join_cosine: Annotated[float, Field(ge=-1, le=1)] | None = None  # of wordings that stand alone; as edges


class LabelSettings(_Section):
    """Votes and their floor, which counts distinct pseudonyms: a threshold, not a proof of anonymity."""

    vote_floor: Count = 5
    min_posterior: Share = 0.5  # rather right than not: a label is about as often right as it says (docs/labels.md)
    min_slot_posterior: Share = 0.5  # below it the spans stay open
    tag_level: Annotated[float, Field(ge=0.5, lt=1)] = 0.9  # where spans stay open: what a token's likely tags hold
    slots: Literal["evidence", "projection"] = "evidence"  # all slot evidence, or values copied from targets alone
    translations: bool = True  # learn which words say words of the mature language (`mining.translations`)
    held_out_users: Share = 0.1  # kept out of the votes, for the gate
    # Effective number of different wordings from which a user of twice as many turns is heard; 1 hears everybody.
    voice_wordings: Annotated[float, Field(ge=1, le=100)] = 4.0


class TrainingSettings(_Section):
    """The snapshot, and the model that is trained on it."""

    gold: tuple[Path, ...] = ()  # MASSIVE-format files; train partitions train, dev partitions steer and gate
    source_locale: str = "en-US"
    max_per_cluster: Count = 200
    head_share: Share = 0.5  # of the training weight, at most, for the head stratum
    word_dimensions: Annotated[int, Field(ge=8, le=1024)] = 128
    char_dimensions: Annotated[int, Field(ge=8, le=512)] = 48
    hidden: Annotated[int, Field(ge=8, le=1024)] = 160
    dropout: Share = 0.3
    batch_size: Count = 64
    pretrain_epochs: Count = 8
    finetune_epochs: Count = 12
    # Rows that fine-tuning sees, rehearsal counted: bounds its time to some 20 minutes of one core; three epochs at
    # least.
    max_seen: Count = 600_000
    learning_rate: Positive = 2e-3
    substitution: Share = 0.0  # probability that fine-tuning puts another annotated filler in a value's place
    # Rows of the mature language's gold that an epoch of fine-tuning shows in words of the launch language, as a share
    # of all: where `encoder.parallel` has text of it (`retrain.code_switching`).
    code_switching: Share = 1.0
    threads: Count = 1  # at the default sizes a second one gains nothing
    gold_weight: Annotated[float, Field(gt=0, le=100)] = (
        3.0  # of the launch locale's annotated rows, beside pseudo-labels
    )
    # q of the generalised cross entropy of pseudo-labels' intents (Zhang and Sabuncu 2018); 0 is cross entropy.
    forgiving: Share = 0.0
    # Weight of wordings on whose intent the evidence is divided, beside labels at their posterior: they teach the whole
    # distribution. 0 leaves them out: docs/tried.md.
    contested: Share = 0.0
    # Weight of the consistency loss between the two wordings of a mined pair, beside a label of the same evidence
    # (`retrain.consistency`). 0 leaves the pairs out of the snapshot: docs/tried.md.
    consistency: Annotated[float, Field(ge=0, le=10)] = 0.0


class GateSettings(_Section):
    """When a challenger may become champion."""

    margin: Share = 0.02  # non-inferiority, in intent accuracy
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95  # one-sided
    min_examples: Count = 30
    trial_share: Share = 0.25  # of users, served by a challenger that could not be decided on; 0: no trials


class Settings(BaseSettings):
    """All settings of one deployment."""

    model_config = SettingsConfigDict(
        env_prefix="SAYAGAIN_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        toml_file="sayagain.toml",
    )

    lake: Path = Path("lake")
    locale: str | None = None  # the launch locale that is trained and served
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 17
    log_level: Literal["error", "warn", "info"] = "error"  # of Spark
    spark: SparkSettings = SparkSettings()
    ingest: IngestSettings = IngestSettings()
    sessions: SessionSettings = SessionSettings()
    friction: FrictionSettings = FrictionSettings()
    rephrase: RephraseSettings = RephraseSettings()
    encoder: EncoderSettings = EncoderSettings()
    neighbours: NeighbourSettings = NeighbourSettings()
    clusters: ClusterSettings = ClusterSettings()
    labels: LabelSettings = LabelSettings()
    training: TrainingSettings = TrainingSettings()
    gate: GateSettings = GateSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.rephrase.max_gap_seconds > self.sessions.gap_seconds:
            raise ValueError("rephrase.max_gap_seconds is longer than sessions.gap_seconds: no pair crosses a session")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags win over variables, variables over the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def _plain(value: Any) -> Any:
    """A flag that holds a list or an object is JSON, as it is in a variable."""
    if not isinstance(value, str) or value[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value  # the type check then says what was expected


def load_settings(flags: Mapping[str, Any] | None = None, file: Path | None = None) -> Settings:
    """Read settings from `file` (default sayagain.toml, if there is one), SAYAGAIN_* variables and flags.

    Args:
        flags: nested values, or dotted names such as {"labels.vote_floor": "3"}; they win.

    Raises:
        InputError: every bad setting at once, one a line.
    """
    if file is not None and not file.is_file():
        raise InputError(f"no settings file at {file}")
    nested: dict[str, Any] = {}
    for name, value in (flags or {}).items():
        *sections, last = name.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = _plain(value)

    class _FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file or "sayagain.toml")

    _FromFile.__name__ = "Settings"
    unknown = [
        name
        for name in os.environ
        if name.startswith("SAYAGAIN_") and name[9:].lower().split("__")[0] not in Settings.model_fields
    ]
    faults = [f"{name}: no such setting (from the environment)" for name in sorted(unknown)]
    settings: Settings | None = None
    try:
        settings = _FromFile(**nested)
    except tomllib.TOMLDecodeError as broken:
        faults.append(f"{file or 'sayagain.toml'}: not TOML: {broken}")
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            name = ".".join(str(part) for part in fault["loc"]) or "settings"
            said = (
                "no such setting" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, ")
            )
            faults.append(f"{name}: {said}")
    except SettingsError as unread:  # a variable that is no JSON
        faults.append(str(unread))
    if faults or settings is None:
        raise InputError("\n".join(faults))
    return settings
