"""Commands about models: train, evaluate, predict, gate, trial, promote, rollback, guess."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sayagain.show import console, metric_rows, percent, step_line, working, write_json

if TYPE_CHECKING:
    from schemas.lake import Lake
    from schemas.settings import Settings

Which = Annotated[str, typer.Option("--model", help="champion, challenger, or a version such as sayagain-sw-KE/3.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (train, evaluate, predict, gate, trial, promote, rollback, guess):
        app.command()(command)


def _opened(context: typer.Context, *, create: bool = False, write: bool = False) -> tuple[Settings, Lake, str]:
    from schemas.errors import InputError
    from schemas.lake import Lake

    settings = context.obj.settings()
    if settings.locale is None:
        raise InputError(
            "locale: the launch locale is not set; give --locale before the command, such as --locale sw-KE"
        )
    return settings, Lake(settings.lake).open(create=create, write=write), settings.locale


def _model(lake: Lake, locale: str, which: str) -> Any:
    from retrain import registry
    from schemas.errors import InputError

    if which in ("champion", "challenger"):
        found = registry.champion(lake, locale) if which == "champion" else registry.challenger(lake, locale)
        if found is None:
            raise InputError(f"no {which} for {locale} in {lake.path}: run `sayagain train`, `gate` and `promote`")
        return found
    return registry.load(lake, which)


def train(
    context: typer.Context,
    launch: Annotated[bool, typer.Option(help="From the gold files alone, also where a training set exists.")] = False,
) -> None:
    """Train a challenger on the last training set; without one, the launch model on the gold files."""
    settings, lake, locale = _opened(context, create=True)
    from retrain import registry
    from retrain.train import train as run

    manifest = None if launch else lake.manifest("training_sets")
    snapshot = str(manifest.details["snapshot_id"]) if manifest else None
    with working(f"training {locale}") as progress:
        bar = progress.task_ids[0]

        def epoch(stage: str, done: int, epochs: int, _: Any) -> None:
            progress.update(bar, description=f"{stage} {done}/{epochs}", total=epochs, completed=done)

        trained = run(settings, lake, snapshot_id=snapshot, progress=epoch)
        version = registry.register(trained, trained.dev, lake)
    dev = f", dev exact match {percent(trained.dev.exact_match)}%" if trained.dev else ""
    console.print(
        f"train            [green]done[/green]  {trained.seconds:.1f} s  {version} on {trained.snapshot_id}: "
        f"{trained.examples:,} examples{dev}"
    )


def evaluate(
    context: typer.Context,
    gold: Annotated[Path, typer.Argument(help="A MASSIVE-format file.")],
    partition: Annotated[str, typer.Option(help="train, dev or test.")] = "test",
    model: Which = "champion",
    out: Annotated[Path | None, typer.Option(help="Also write the figures to this JSON file.")] = None,
) -> None:
    """Intent accuracy, slot F1 and exact match of a model on annotated utterances, with 95% intervals."""
    from schemas.annotated import PARTITIONS, read_annotated
    from schemas.errors import InputError

    if partition not in PARTITIONS:
        raise InputError(f"--partition {partition}: one of {', '.join(PARTITIONS)}")
    rows = read_annotated(gold, (partition,))
    if not rows:
        raise InputError(f"{gold} has no {partition} rows")
    settings, lake, locale = _opened(context)
    from retrain.evaluate import outcomes

    with working(f"{len(rows):,} utterances"):
        predictor = _model(lake, locale, model)
        found = outcomes(predictor, rows)
        metrics, low_high = found.metrics(), found.interval(settings.seed)
    names = ("intent_accuracy", "slot_f1", "exact_match")
    table = [(n.replace("_", " "), percent(getattr(metrics, n)), *(percent(x) for x in low_high[n])) for n in names]
    metric_rows(f"{predictor.version} on {len(rows):,} {partition} utterances", ("", "%", "low", "high"), table)
    report = {"model": predictor.version, "gold": gold.name, "partition": partition, "examples": len(rows)}
    write_json(
        out,
        report | {n: getattr(metrics, n) for n in names} | {"interval": {n: list(low_high[n]) for n in names}},
    )


def predict(
    context: typer.Context,
    text: Annotated[list[str], typer.Argument(help="Utterances.")],
    model: Which = "champion",
) -> None:
    """What the champion understands of a text."""
    from schemas.annotated import render_markup

    _, lake, locale = _opened(context)
    predictor = _model(lake, locale, model)
    for said, answer in zip(text, predictor.predict(text, locale), strict=True):
        found = answer.interpretation
        console.print(
            f"{found.intent}  {answer.confidence:.2f}  {render_markup(said, found.slots)}",
            markup=False,
            soft_wrap=True,
        )


def gate(context: typer.Context) -> None:
    """Decide whether the challenger may become champion; exit code 3 if not."""
    from schemas.errors import InputError, RefusedError

    settings, lake, locale = _opened(context, write=True)
    from retrain import registry
    from retrain.gate import gate as run
    from retrain.tables import read_table

    contender = registry.version_of(lake, locale, "challenger")
    runs = read_table(lake, "model_runs", where=[("model_version", "=", contender)]) if contender else []
    if not runs:
        raise InputError(f"no challenger for {locale}: run `sayagain train` first")
    with working("gate"):
        report = run(settings, lake, runs[-1]["snapshot_id"])
    if not report.passed:
        refused = f"{report.challenger} may not replace {report.champion or 'nothing'}: {report.reason}"
        if registry.version_of(lake, locale, registry.TRIAL) == report.challenger:
            share = percent(settings.gate.trial_share)
            refused += f"; on trial now: serve it to {share}% of users, and `sayagain trial` will decide"
        raise RefusedError(refused)
    console.print(f"gate             [green]passed[/green]  {report.challenger}: {report.reason}", soft_wrap=True)


def trial(
    context: typer.Context,
    begin: Annotated[bool, typer.Option("--begin", help="Put the challenger on trial, unasked.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End the trial undecided.")] = False,
) -> None:
    """Judge the challenger on trial by the users it served: promote it, end the trial, or let it go on."""
    from schemas.errors import InputError

    if begin and stop:
        raise InputError("--begin and --stop: one of them")
    settings, lake, locale = _opened(context, write=True)
    from retrain import registry
    from retrain.trial import decide_trial

    if begin:
        share = settings.gate.trial_share
        if not share:
            raise InputError("gate.trial_share is 0: set the share of users that a challenger on trial serves")
        console.print(f"{registry.begin_trial(lake, locale)} is on trial: serve it to {percent(share)}% of users")
    elif stop:
        stopped = registry.end_trial(lake, locale)
        console.print(f"{stopped} is no longer on trial" if stopped else f"no challenger of {locale} is on trial")
    elif (outcome := decide_trial(settings, lake)) is None:
        console.print(f"no challenger of {locale} is on trial")
    else:
        became = {"passed": "champion now", "worse": "off trial", "open": "still on trial"}[outcome.result]
        console.print(f"trial            {outcome.challenger} is {became}: {outcome.reason}", soft_wrap=True)


def promote(
    context: typer.Context, force: Annotated[bool, typer.Option(help="Without a passed gate.")] = False
) -> None:
    """Make the challenger the champion, if it passed the gate."""
    _, lake, locale = _opened(context, write=True)
    from retrain import registry

    console.print(f"{registry.promote(lake, locale, force=force)} is champion of {locale}")


def rollback(context: typer.Context) -> None:
    """Make the previous champion the champion again."""
    _, lake, locale = _opened(context, write=True)
    from retrain import registry

    console.print(f"{registry.rollback(lake, locale)} is champion of {locale} again")


def guess(context: typer.Context) -> None:
    """Ask the champion about the wordings that other models answered: evidence for their labels. Without a champion, or
    with nothing new, it does nothing."""
    settings, lake, _ = _opened(context, write=True)
    guess_again(settings, lake)


def guess_again(settings: Settings, lake: Lake) -> None:
    """`guess`, as a part of `mine` too."""
    from retrain.second_guesses import guess_again as run

    began = time.monotonic()
    with working("guess"):
        done = run(settings, lake)
    status = "skipped" if done.champion is None else "unchanged" if done.unchanged else "done"
    step_line("guess", status, time.monotonic() - began, done.counts)
