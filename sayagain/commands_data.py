"""Commands about data: simulate, ingest, mine, status, inspect, demo."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from sayagain.commands_models import guess_again
from sayagain.show import console, metric_rows, percent, step_line, working

STEPS = (
    "turns",
    "rephrase_pairs",
    "rephrase_edges",
    "encoder",
    "utterances",
    "variant_edges",
    "variant_clusters",
    "reformulations",
    "pseudo_labels",
    "training_sets",
)
Massive = Annotated[
    Path | None,
    typer.Option(help="A MASSIVE-format folder (plain or .gz) instead of the project's phrasebook."),
]
Source = Annotated[str, typer.Option(help="The mature language.")]
Sample = Annotated[int, typer.Option(help="Train utterances of each locale taken from --massive; 0 takes all.")]
Seeds = Annotated[int, typer.Option(help="Annotated utterances of the launch locale.", min=0)]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (simulate, ingest, mine, status, inspect, demo):
        app.command()(command)


def simulate(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for the raw logs.")] = Path("raw"),
    truth: Annotated[Path, typer.Option(help="Folder for the truth; never inside --out.")] = Path("truth"),
    gold: Annotated[Path, typer.Option(help="Folder for the annotated files to train on.")] = Path("gold"),
    massive: Massive = None,
    source: Source = "en-US",
    sample: Sample = 4000,
    seed_labels: Seeds = 40,
    users: Annotated[int, typer.Option(min=1)] = 500,
    population: Annotated[str, typer.Option(help="calm, launch, hurried or hostile.")] = "launch",
    round: Annotated[int, typer.Option(min=0, help="Number of the round; part of every id.")] = 1,
    start: Annotated[datetime, typer.Option(help="When the round begins, UTC.")] = datetime(2026, 1, 5),  # noqa: DTZ001
) -> None:
    """Simulate users who talk to the current champion, and write their raw logs, the truth and the gold files."""
    from datetime import UTC

    from schemas.annotated import write_annotated
    from schemas.lake import Lake
    from simulator.assistant import NoModel
    from simulator.logs import simulate as run
    from simulator.massive import MassiveCatalogue
    from simulator.phrasebook import Phrasebook
    from simulator.population import population as named

    settings = context.obj.settings()
    locale = settings.locale or "es-ES"
    book = (
        Phrasebook(settings.seed, source, locale)
        if massive is None
        else MassiveCatalogue(massive, source, locale, sample or None, settings.seed)
    )
    crowd = named(population).model_copy(update={"users": users})
    predictor: Any = None
    with working(f"{users} users of {locale}"):
        if (settings.lake / "_registry").is_dir():
            from retrain import registry

            predictor = registry.champion(Lake(settings.lake).open(), locale)
        served = predictor.version if predictor else "no model"
        done = run(
            book,
            predictor or NoModel(),
            crowd,
            seed=settings.seed,
            round=round,
            start=start.replace(tzinfo=UTC),
            out=out,
            truth=truth,
        )
        write_annotated(gold / f"{source}.jsonl", [*book.gold(source, "train"), *book.gold(source, "dev")])
        if seed_labels:
            write_annotated(gold / f"{locale}.jsonl", book.seed_labels(seed_labels, settings.seed))
    console.print(
        f"{done.logs}: {done.turns:,} turns of {done.users:,} users, served by {served}; "
        f"{percent(done.success_rate)}% of tasks succeed, {percent(done.rephrase_rate)}% of turns say it again"
    )


def ingest(
    context: typer.Context, inputs: Annotated[list[str], typer.Argument(help="Files, folders or URIs.")]
) -> None:
    """Check raw logs against the input contract and the data gate, and add the good records to the lake."""
    from schemas.lake import Lake

    settings = context.obj.settings()
    lake = Lake(settings.lake).open(create=True)
    from jobs.ingest import ingest as run
    from jobs.spark import check_java

    check_java()
    with working("ingest"):
        done = run(lake, settings, inputs)
    step_line(done.step, done.status, done.seconds, done.counts)


def mine(
    context: typer.Context,
    only: Annotated[str | None, typer.Option(metavar="STEP", help=f"One step of: {', '.join(STEPS)}.")] = None,
) -> None:
    """Mine rephrases and variants into pseudo-labels and a training set; steps with nothing new do nothing."""
    from schemas.errors import InputError
    from schemas.lake import Lake

    if only is not None and only not in STEPS:
        raise InputError(f"--only {only}: no such step; the steps are {', '.join(STEPS)}")
    settings = context.obj.settings()
    lake = Lake(settings.lake).open(write=True)
    from jobs.lake import run_step
    from jobs.pipeline import STEPS as steps
    from jobs.spark import check_java

    check_java()
    for name in [only] if only else STEPS:
        with working(name):
            done = run_step(steps[name], lake, settings)
        step_line(done.step, done.status, done.seconds, done.counts)
        if name == "turns" and only is None and settings.locale is not None:
            guess_again(settings, lake)


def status(context: typer.Context) -> None:
    """What each table holds, versions, the last runs and the current champion."""
    from deltalake import DeltaTable

    from schemas.lake import Lake
    from schemas.tables import ALL, JOB_RUNS

    settings = context.obj.settings()
    lake = Lake(settings.lake).open()
    published = lake.published()
    rows = []
    for table in ALL:
        path = lake.table(table.name)
        if not DeltaTable.is_deltatable(str(path)):
            continue
        delta = DeltaTable(path, version=published.get(table.name))
        held = sum(delta.get_add_actions(flatten=True).column("num_records").to_pylist())
        rows.append((table.name, f"{held:,}", delta.version(), table.row))
    metric_rows(f"Lake {lake.path}", ("table", "rows", "version", "one row is"), rows)
    if (latest := lake.latest(JOB_RUNS.name)) is not None:
        runs = lake.dataset(JOB_RUNS.name, latest).to_table().sort_by([("started_at", "descending")])
        last = [
            (
                r["step"],
                r["status"],
                f"{r['started_at']:%Y-%m-%d %H:%M}",
                f"{r['seconds']:.1f}",
                f"{r['peak_memory_mb']:,.0f}",
            )
            for r in runs.slice(0, 12).to_pylist()
        ]
        metric_rows("Last runs", ("step", "status", "started (UTC)", "seconds", "peak MB"), last)
    if lake.registry.is_dir():
        from retrain import registry

        locales = [settings.locale] if settings.locale else registry.locales(lake)
        models = [(name, *(v or "" for v in registry.status(lake, name).values())) for name in locales]
        metric_rows("Models", ("locale", "champion", "challenger", "previous", "on trial"), models)


def inspect(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
    headless: Annotated[bool, typer.Option(help="Do not open a browser.")] = False,
) -> None:
    """Open the page where people look at pairs, labels, counts and models."""
    from inspector.serve import serve
    from schemas.lake import Lake

    lake = Lake(context.obj.settings().lake).open()
    raise typer.Exit(serve(lake.path, port, headless))


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("demo"),
    massive: Massive = None,
    source: Source = "en-US",
    locale: Annotated[str | None, typer.Option(help="Launch locale.")] = None,
    seed_labels: Seeds = 40,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    users: Annotated[int, typer.Option(min=10, help="Simulated users a round.")] = 200,
    sample: Sample = 4000,
    population: Annotated[str, typer.Option(help="calm, launch, hurried or hostile.")] = "launch",
) -> None:
    """Watch a newly launched language learn from its own (simulated) users, from raw logs to a promoted model."""
    settings = context.obj.settings()
    from benchmarks.demo import DemoOptions, run_demo
    from jobs.spark import check_java

    check_java()
    options = DemoOptions(
        out=out,
        massive=massive,
        source=source,
        locale=locale or settings.locale or "es-ES",
        seed_labels=seed_labels,
        rounds=rounds,
        users=users,
        sample=sample or None,
        population=population,
    )
    with working("demo") as progress:

        def say(line: str) -> None:
            progress.update(progress.task_ids[0], description=line)
            console.print(f"[dim]{line}[/dim]")

        report = run_demo(settings, options, say)
    show_demo(report)
    console.print(f"\n{out / 'report.html'} has the curves and example pairs, {out / 'report.json'} the same figures.")
    console.print(f"Look at every pair and its evidence: sayagain --lake {out / 'lake'} inspect")


def show_demo(report: dict[str, Any]) -> None:
    """The demo's figures, round by round."""
    from benchmarks.loop_reports import crowned, told_of_trial

    mined = [
        (
            f"round {row['round']}",
            *(percent(row[name]) for name in ("success_rate", "rephrase_rate")),
            f"{row['pairs']:,}",
            *(percent(row[name]) for name in ("pair_precision", "pair_recall")),
            f"{row['labels']:,}",
            *(percent(row[name]) for name in ("label_precision", "label_coverage")),
        )
        for row in report["rounds"]
    ]
    console.print(
        f"\n{report['locale']}, {report['users']} simulated users a round, seed {report['seed']}, "
        f"{report['seed_labels']} seed labels; all shares in percent"
    )
    columns = ("", "served", "again", "pairs", "prec.", "recall", "labels", "prec.", "cover")
    metric_rows("What users lived through, and what was mined from it", columns, mined)
    stages = [("launch", report["launch"], "")]
    stages += [(f"round {row['round']}", row, crowned(row)) for row in report["rounds"]]
    stages.append(("ceiling", report["ceiling"], ""))
    learnt = [
        (name, *(_with_interval(stage, metric) for metric in ("intent_accuracy", "slot_f1", "exact_match")), promoted)
        for name, stage, promoted in stages
    ]
    title = f"The champion after it, on {report['test_utterances']} utterances in wordings that no user spoke"
    metric_rows(title, ("", "intent", "slot F1", "exact match", "promoted"), learnt)
    for row in report["rounds"]:
        if row["trial"]:
            console.print(f"On trial in round {row['round']}: {told_of_trial(row['trial'])}.", soft_wrap=True)
    console.print("ceiling: the same model trained on every annotation. Brackets: 95% bootstrap intervals.")


def _with_interval(stage: dict[str, Any], metric: str) -> str:
    low, high = stage["interval"][metric]
    return f"{percent(stage[metric])} ({percent(low)}-{percent(high)})"
