"""The model registry: MLflow on a local SQLite store in the lake. Aliases move, files are never copied.

One registered model a locale, `sayagain-<locale>`, with the aliases `champion` (served), `challenger` (last
trained), `previous` (the champion before, for a one-command rollback) and `trial` (a challenger that serves a share of
users, `retrain.trial`). Only this module imports MLflow.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from retrain.evaluate import Metrics
from retrain.predictor import TorchPredictor
from retrain.tables import append_rows, read_table
from retrain.train import TrainedModel
from schemas.errors import InputError, RefusedError
from schemas.lake import Lake

CHAMPION, CHALLENGER, PREVIOUS, TRIAL = "champion", "challenger", "previous", "trial"
_REIGNED = "was_champion"  # tag of a version
_HISTORY = "champions"  # tag of the registered model: versions that were champion before this one, oldest first


def model_name(locale: str) -> str:
    """Name of a locale's registered model."""
    return f"sayagain-{locale}"


def _quiet() -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    for name in ("mlflow", "alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.ERROR)


@lru_cache(maxsize=8)
def _client(registry: Path) -> Any:
    _quiet()
    from mlflow.tracking import MlflowClient

    _quiet()  # importing MLflow sets its loggers' levels
    registry.mkdir(parents=True, exist_ok=True)
    uri = f"sqlite:///{registry / 'mlflow.db'}"
    return MlflowClient(uri, uri)


def _connect(lake: Lake) -> Any:
    return _client(lake.registry.resolve())


def _experiment(lake: Lake, locale: str) -> str:
    client = _connect(lake)
    found = client.get_experiment_by_name(model_name(locale))
    if found is not None:
        return str(found.experiment_id)
    artifacts = lake.registry.resolve() / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    return str(client.create_experiment(model_name(locale), artifact_location=artifacts.as_uri()))


def _number(lake: Lake, locale: str, alias: str) -> str | None:
    from mlflow.exceptions import MlflowException

    try:
        return str(_connect(lake).get_model_version_by_alias(model_name(locale), alias).version)
    except MlflowException:
        return None


def version_of(lake: Lake, locale: str, alias: str) -> str | None:
    """`sayagain-<locale>/<n>` behind an alias, or None."""
    if not (lake.registry / "mlflow.db").is_file():
        return None
    number = _number(lake, locale, alias)
    return None if number is None else f"{model_name(locale)}/{number}"


def register(trained: TrainedModel, metrics: Metrics | None, lake: Lake) -> str:
    """Log a trained model, register it, make it the challenger and append its row to `model_runs`.

    Args:
        metrics: its figures on rows that may be looked at (dev, or gate rows), or None.

    Returns:
        its version, `sayagain-<locale>/<n>`.

    Cost: 3 s the first time in a process (importing MLflow), then about 0.3 s.
    """
    from mlflow.exceptions import MlflowException

    client, name = _connect(lake), model_name(trained.locale)
    run = client.create_run(_experiment(lake, trained.locale), tags={"snapshot_id": trained.snapshot_id})
    for key, value in trained.parameters.items():
        client.log_param(run.info.run_id, key, value)
    for key, number in asdict(metrics).items() if metrics else ():
        client.log_metric(run.info.run_id, key, float(number))
    with tempfile.TemporaryDirectory() as folder:
        trained.predictor.save(Path(folder))
        client.log_artifacts(run.info.run_id, folder, "model")
    with contextlib.suppress(MlflowException):  # it exists
        client.create_registered_model(name)
    made = client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_terminated(run.info.run_id)
    client.set_registered_model_alias(name, CHALLENGER, made.version)
    version = f"{name}/{made.version}"
    row = {
        "model_version": version,
        "locale": trained.locale,
        "snapshot_id": trained.snapshot_id,
        "trained_at": datetime.now(UTC),
        "seconds": trained.seconds,
        "examples": trained.examples,
        "intent_accuracy": metrics.intent_accuracy if metrics else None,
        "slot_f1": metrics.slot_f1 if metrics else None,
        "exact_match": metrics.exact_match if metrics else None,
        "run_id": trained.run_id,
    }
    append_rows(lake, "model_runs", [row])
    return version


def load(lake: Lake, version: str) -> TorchPredictor:
    """The model of an explicit version, `sayagain-<locale>/<n>`.

    Raises:
        InputError: there is none of that name.
    """
    from urllib.parse import unquote, urlparse

    from mlflow.exceptions import MlflowException

    name, _, number = version.rpartition("/")
    try:
        source = _connect(lake).get_model_version(name, number).source
    except MlflowException:
        raise InputError(f"no model {version} in the registry of the lake at {lake.path}") from None
    folder = Path(unquote(urlparse(source).path))
    if not folder.is_dir():  # the lake was moved: artifacts are addressed from its present place
        folder = lake.registry / "artifacts" / Path(*folder.parts[folder.parts.index("artifacts") + 1 :])
    return TorchPredictor.load(folder, version)


def _aliased(lake: Lake, locale: str, alias: str) -> TorchPredictor | None:
    version = version_of(lake, locale, alias)
    return None if version is None else load(lake, version)


def champion(lake: Lake, locale: str) -> TorchPredictor | None:
    """The served model of a locale, or None before the first promotion."""
    return _aliased(lake, locale, CHAMPION)


def challenger(lake: Lake, locale: str) -> TorchPredictor | None:
    """The last trained model of a locale, or None."""
    return _aliased(lake, locale, CHALLENGER)


def on_trial(lake: Lake, locale: str) -> TorchPredictor | None:
    """The challenger that serves a share of a locale's users, or None."""
    return _aliased(lake, locale, TRIAL)


def begin_trial(lake: Lake, locale: str) -> str:
    """Put the challenger on trial, in place of whichever is; returns its version.

    Raises:
        InputError: there is no challenger beside a champion, or it was champion itself: then its turns are of
        everybody, and of another time than those it would be compared with.
    """
    contender, incumbent = version_of(lake, locale, CHALLENGER), version_of(lake, locale, CHAMPION)
    if contender is None or incumbent is None or contender == incumbent:
        raise InputError(f"no challenger beside the champion of {locale}: run `sayagain train` first")
    if was_champion(lake, contender):
        raise InputError(f"{contender} was champion and served everybody: train anew, or `sayagain promote --force`")
    _connect(lake).set_registered_model_alias(model_name(locale), TRIAL, contender.rpartition("/")[2])
    return contender


def was_champion(lake: Lake, version: str) -> bool:
    """Whether a version has served everybody, now or before a rollback."""
    name, _, number = version.rpartition("/")
    return _REIGNED in _connect(lake).get_model_version(name, number).tags


def end_trial(lake: Lake, locale: str) -> str | None:
    """Take the challenger on trial off it; returns its version, None where none was."""
    tried = version_of(lake, locale, TRIAL)
    if tried is not None:
        _connect(lake).delete_registered_model_alias(model_name(locale), TRIAL)
    return tried


def _history(lake: Lake, locale: str) -> list[str]:
    tags = _connect(lake).get_registered_model(model_name(locale)).tags
    return [n for n in tags.get(_HISTORY, "").split(",") if n]


def _crown(lake: Lake, locale: str, number: str, history: list[str]) -> None:
    client, name = _connect(lake), model_name(locale)
    client.set_registered_model_tag(name, _HISTORY, ",".join(history))
    if history:
        client.set_registered_model_alias(name, PREVIOUS, history[-1])
    elif _number(lake, locale, PREVIOUS) is not None:
        client.delete_registered_model_alias(name, PREVIOUS)
    client.set_registered_model_alias(name, CHAMPION, number)
    client.set_model_version_tag(name, number, _REIGNED, "true")
    end_trial(lake, locale)  # it was against the champion before


def promote(lake: Lake, locale: str, *, alias: str = CHALLENGER, force: bool = False) -> str:
    """Make the challenger the champion; the champion becomes `previous`, and a trial is over. Returns the new
    champion's version.

    Args:
        alias: `TRIAL` takes the challenger on trial instead of the last trained.
        force: promote without a passed gate.

    Raises:
        InputError: there is no such challenger.
        RefusedError: the last gate report of this challenger against this champion did not pass, or there
        is none.
    """
    contender, incumbent = version_of(lake, locale, alias), version_of(lake, locale, CHAMPION)
    if contender is None:
        raise InputError(f"no {alias} for {locale}: run `sayagain train` first")
    if contender == incumbent:
        return contender
    if not force:
        reports = [
            row
            for row in read_table(lake, "gate_reports", where=[("challenger", "=", contender)])
            if row["champion"] == incumbent
        ]
        last = max(reports, key=lambda row: row["decided_at"], default=None)
        if last is None:
            raise RefusedError(
                f"{contender} has not been through the gate against {incumbent or 'no champion'}: run `sayagain gate`"
            )
        if not last["passed"]:
            raise RefusedError(f"{contender} did not pass the gate: {last['reason']}")
    history = _history(lake, locale)
    if incumbent is not None:
        history.append(incumbent.rpartition("/")[2])
    _crown(lake, locale, contender.rpartition("/")[2], history)
    return contender


def rollback(lake: Lake, locale: str) -> str:
    """Make the previous champion the champion again; returns its version.

    Raises:
        InputError: there was no champion before this one.
    """
    history = _history(lake, locale) if version_of(lake, locale, CHAMPION) else []
    if not history:
        raise InputError(f"nothing to roll back to: {locale} has had no champion before the present one")
    number = history.pop()
    _crown(lake, locale, number, history)
    return f"{model_name(locale)}/{number}"


def status(lake: Lake, locale: str) -> dict[str, str | None]:
    """Versions behind the aliases."""
    return {alias: version_of(lake, locale, alias) for alias in (CHAMPION, CHALLENGER, PREVIOUS, TRIAL)}


def locales(lake: Lake) -> list[str]:
    """Locales that have a registered model."""
    names = (model.name for model in _connect(lake).search_registered_models())
    return sorted(name.removeprefix("sayagain-") for name in names)
