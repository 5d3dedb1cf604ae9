"""Benchmarks of learning: the closed loop against its baselines, and slot labels against gold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sayagain.show import console, metric_rows, percent, working, write_json

if TYPE_CHECKING:
    from schemas.lake import Lake

_METRICS = ("intent_accuracy", "slot_f1", "exact_match")

Massive = Annotated[Path, typer.Option(help="A MASSIVE-format folder (plain or .gz).")]
Source = Annotated[str, typer.Option(help="The mature language.")]
Locale = Annotated[str, typer.Option(help="Launch locale.")]
Seeds = Annotated[int, typer.Option(min=0, help="Annotated utterances of the launch locale.")]
Parallel = Annotated[
    list[Path] | None,
    typer.Option(
        help="TSV file of sentence<TAB>translation, or Tatoeba folder: for the encoder and the models' lexicon."
    ),
]
Crowd = Annotated[str, typer.Option("--population", help="Named population of simulated users.")]
Users = Annotated[int, typer.Option(min=10, help="Simulated users a round.")]
Sample = Annotated[int, typer.Option(min=0, help="Train utterances of each locale; 0 takes all.")]
Report = Annotated[Path, typer.Option(help="The report, JSON.")]
Played = Annotated[Path, typer.Argument(help="The folder of a loop, or of a demo.")]
Arm = Annotated[str, typer.Option(help="Whose lake, in a loop.")]
Work = Annotated[Path | None, typer.Option(help="Folder for lakes and models, kept; by default beside --out.")]


def add_to(bench: typer.Typer) -> None:
    """Register the commands in the group of benchmarks."""
    bench.command("loop")(loop)
    bench.command("launch")(launch)
    bench.command("slots")(slots)
    bench.command("budget")(budget)
    bench.command("label-models")(label_models)
    bench.command("label-quality")(label_quality)
    bench.command("attacks")(attacks)


def _options(out: Path, work: Path | None, **chosen: Any) -> Any:
    from benchmarks.loop import LoopOptions
    from jobs.spark import check_java

    check_java()
    chosen["parallel"] = tuple(chosen.get("parallel") or ())
    chosen["sample"] = chosen["sample"] or None
    return LoopOptions(out=work or out.with_suffix(""), **chosen)


def loop(
    context: typer.Context,
    massive: Massive,
    out: Annotated[Path, typer.Option(help="The report, JSON; a figure is written beside it.")],
    locale: Locale,
    source: Source = "en-US",
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    seed_labels: Seeds = 0,
    parallel: Parallel = None,
    population: Crowd = "launch",
    arms: Annotated[str, typer.Option(help="Comma-separated; all by default.")] = "",
    users: Users = 500,
    sample: Sample = 0,
    encoder: Annotated[bool, typer.Option("--encoder", help="Give our models the lake's encoder as input.")] = False,
    work: Work = None,
) -> None:
    """Rounds of traffic, mining, retraining and gate, for our arm and its baselines; scored on test at the end.

    Arms can run as separate processes with one --work folder; finished rounds are not played again.
    """
    from benchmarks.loop import ARMS, run_loop

    chosen = tuple(name.strip() for name in arms.split(",") if name.strip()) or ARMS
    settings = context.obj.settings(seed=seed)
    options = _options(
        out, work, massive=massive, source=source, locale=locale, rounds=rounds, seed_labels=seed_labels,
        parallel=parallel, population=population, users=users, sample=sample, arms=chosen, train_encoder=encoder,
    )  # fmt: skip
    with working("loop") as progress:

        def say(line: str) -> None:
            progress.update(progress.task_ids[0], description=line)
            console.print(f"[dim]{line}[/dim]")

        told = run_loop(settings, options, say)
    from benchmarks.loop_figure import write_figure

    write_json(out, told)
    write_figure(told, out.with_suffix(".html"))
    show_loop(told)
    console.print(f"{out} has every figure, {out.with_suffix('.html')} the curves.")


def show_loop(told: dict[str, Any]) -> None:
    """Every arm after its last round."""
    rows: list[tuple[object, ...]] = [("launch", "", *_figures(told["launch"]), "")]
    for arm in told["arms"]:
        last = arm["rounds"][-1]
        turns = sum(row["turns"] for row in arm["rounds"])
        closed = " / ".join(percent(arm["gap_closed"][n]) for n in _METRICS)
        rows.append((arm["name"], f"{turns:,}", *_figures(last), closed))
    rows.append(("ceiling", "", *_figures(told["ceiling"]), ""))
    columns = ("", "turns", "intent", "slot F1", "exact match", "gap closed")
    metric_rows(f"{told['locale']}, {told['seed_labels']} seed labels, seed {told['seed']}, percent", columns, rows)


def _figures(stage: dict[str, Any]) -> list[str]:
    """The three metrics with their intervals."""
    low_high = stage["interval"]
    return [f"{percent(stage[n])} ({percent(low_high[n][0])}-{percent(low_high[n][1])})" for n in _METRICS]


def launch(
    context: typer.Context,
    massive: Massive,
    out: Report,
    locale: Annotated[list[str], typer.Option(help="Launch locale; may be given again.")],
    parallel: Annotated[list[Path], typer.Option(help="TSV file of sentence<TAB>translation, or Tatoeba folder.")],
    source: Source = "en-US",
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    seed_labels: Annotated[
        list[int] | None, typer.Option(min=0, help="Annotated utterances of the launch locale; may be given again.")
    ] = None,
    sample: Sample = 4000,
    work: Work = None,
) -> None:
    """What a launch model knows before its first user, without and with a lexicon from parallel text."""
    from benchmarks.launch import STARTS, run_launch
    from benchmarks.loop import LoopOptions

    settings = context.obj.settings(seed=seed)
    told: list[dict[str, Any]] = []
    with working("launch") as progress:

        def say(line: str) -> None:
            progress.update(progress.task_ids[0], description=line)

        for name in locale:
            for labels in seed_labels or [0]:
                options = LoopOptions(
                    out=work or out.with_suffix(""), massive=massive, source=source, locale=name,
                    seed_labels=labels, sample=sample or None, parallel=tuple(parallel),
                )  # fmt: skip
                told.append(run_launch(settings, options, say))
                write_json(out, told)
    rows = [
        (
            row["locale"] if start == STARTS[0] else "", row["seed_labels"], start,
            row["words"] if start == STARTS[1] else "", *_figures(row[start]),
        )
        for row in told
        for start in STARTS
    ]  # fmt: skip
    columns = ("", "seed labels", "", "words", "intent", "slot F1", "exact match")
    metric_rows("Launch models on test utterances, percent", columns, rows)


def slots(
    context: typer.Context,
    massive: Massive,
    out: Report,
    locale: Annotated[list[str], typer.Option(help="Launch locale; may be given again.")],
    source: Source = "en-US",
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    seed_labels: Seeds = 300,
    population: Crowd = "launch",
    users: Users = 500,
    sample: Sample = 4000,
    work: Work = None,
) -> None:
    """Slots of the labels of one round of traffic with the launch model, against gold: evidence and projection."""
    from benchmarks.slots import run_slots

    settings = context.obj.settings(seed=seed)
    told: list[dict[str, Any]] = []
    with working("slots") as progress:
        for name in locale:
            folder = (work or out.with_suffix("")) / name
            options = _options(
                out, folder, massive=massive, source=source, locale=name, rounds=1, seed_labels=seed_labels,
                population=population, users=users, sample=sample,
            )  # fmt: skip

            def say(line: str) -> None:
                progress.update(progress.task_ids[0], description=line)

            told.append(run_slots(settings, options, say))
            write_json(out, told)
    rows = [
        (
            row["locale"] if kind == "evidence" else "", kind, row[kind]["labels"],
            *(percent(row[kind][n]) for n in ("settled", "precision", "recall", "f1", "exact", "recall_of_all")),
        )
        for row in told
        for kind in ("evidence", "projection")
    ]  # fmt: skip
    columns = ("", "slots", "labels", "settled", "prec.", "recall", "F1", "exact", "recall of all")
    metric_rows("Spans of accepted labels against gold, percent", columns, rows)


def attacks(
    context: typer.Context,
    massive: Massive,
    out: Report,
    locale: Locale,
    source: Source = "en-US",
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    seed_labels: Seeds = 300,
    population: Crowd = "hostile",
    users: Users = 500,
    sample: Sample = 4000,
    kinds: Annotated[str, typer.Option(help="Of pair, alike, vouch, denounce; comma-separated, all by default.")] = "",
    ids: Annotated[
        list[int] | None,
        typer.Option(help="Ids of each attacker, may be given again; by default below and above the floor."),
    ] = None,
    attackers: Annotated[int, typer.Option(min=1, help="Each has texts of their own.")] = 5,
    repetitions: Annotated[int, typer.Option(min=1, help="Times that each id says them.")] = 20,
    cover: Annotated[int, typer.Option(min=0, help="Other wishes that each id says once, to look like a person.")] = 0,
    retrained: Annotated[
        bool, typer.Option("--retrain", help="Train on each log's labels, too, and score on dev.")
    ] = False,
    work: Work = None,
) -> None:
    """What attackers change: false labels they push, right ones they suppress, in one round of a launch."""
    from benchmarks.attacks import KINDS, run_attacks

    settings = context.obj.settings(seed=seed)
    options = _options(
        out, work, massive=massive, source=source, locale=locale, rounds=1, seed_labels=seed_labels,
        population=population, users=users, sample=sample,
    )  # fmt: skip
    with working("attacks") as progress:
        told = run_attacks(
            settings, options, lambda line: progress.update(progress.task_ids[0], description=line),
            kinds=[name.strip() for name in kinds.split(",") if name.strip()] or KINDS, ids=ids or (),
            attackers=attackers, repetitions=repetitions, cover=cover, retrained=retrained,
        )  # fmt: skip
    write_json(out, told)
    names = ("attacked", "false_pushed", "true_suppressed", "others_false", "others_suppressed", "others_right")
    rows: list[tuple[object, ...]] = [
        ("none", "", told["labels"], percent(told["label_precision"]), *[""] * len(names))
    ]
    rows += [
        (row["kind"], row["ids"], row["labels"], percent(row["label_precision"]), *(row[n] for n in names))
        for row in told["attacks"]
    ]
    columns = ("attack", "ids", "all", "right", "texts", "pushed", "gone", "false", "lost", "new")
    title = f"{attackers} attackers in {told['population']}, {locale}, floor of {told['floor']} users, cover {cover}"
    metric_rows(f"{title}; last three: other labels", columns, rows)
    if retrained:
        figures = ("intent_accuracy", "slot_f1", "exact_match")
        metric_rows(
            "The champion after this round on dev, percent",
            ("attack", "ids", "intent", "slot F1", "exact match", "promoted"),
            [(row.get("kind", "none"), row.get("ids", ""), *(percent(row["dev"][n]) for n in figures),
              "yes" if row["dev"]["promoted"] else "no") for row in (told, *told["attacks"])],
        )  # fmt: skip


def budget(
    context: typer.Context,
    work: Annotated[Path, typer.Argument(help="The folder of a finished loop.")],
    out: Report,
    arm: Annotated[str, typer.Option(help="Whose last training set.")] = "ours",
) -> None:
    """Where the rest of the gap was lost: a loop's last training set with the truth put in stage by stage."""
    from benchmarks.budget import run_budget

    with working("budget") as progress:
        told = run_budget(
            context.obj.settings(),
            work,
            lambda line: progress.update(progress.task_ids[0], description=line),
            arm,
        )
    write_json(out, told)
    names = ("intent_accuracy", "slot_f1", "exact_match")
    rows = [
        (line["line"], line.get("labels", ""), *(percent(line[n]) for n in names),
         " / ".join(f"{100 * line['gain'][n]:+.1f}" for n in names) if "gain" in line else "")
        for line in told["lines"]
    ]  # fmt: skip
    metric_rows(f"{told['locale']}, {arm}, percent", ("", "labels", "intent", "slot F1", "exact match", "gain"), rows)


def label_models(
    context: typer.Context,
    work: Played,
    out: Report,
    arm: Arm = "ours",
) -> None:
    """The posterior beside a weighted majority and a label model, on a loop's last labels and the truth."""
    from benchmarks.label_models import WAYS, compare_label_models

    lake, truth, locale, _ = played(work, arm)
    told = compare_label_models(lake, truth, locale, context.obj.settings().labels.vote_floor)
    write_json(out, told)
    names = ("precision", "precision_of_all", "calibration_error")
    metric_rows(
        f"{locale}: {told['compared']} formulations, {told['accepted']} accepted, percent",
        ("", "precision of as many", "of all", "calibration error"),
        [(kind, *(percent(told[kind][n]) for n in names)) for kind in WAYS],
    )


def label_quality(
    context: typer.Context,
    work: Played,
    out: Report,
    arm: Arm = "ours",
) -> None:
    """Whether a loop's last labels are as often right as they say: intents, spans and whole answers."""
    from benchmarks.label_quality import calibration_error
    from benchmarks.label_quality import label_quality as judged

    lake, truth, locale, _ = played(work, arm)
    floor = context.obj.settings().labels.vote_floor
    told = judged(lake, truth, locale, floor)
    write_json(out, told)
    headings = {
        "intents": f"intents by posterior, {floor} users or more",
        "intents_of_few": "intents by posterior, fewer users",
        "spans": "all spans right, by slot posterior (intent right, slots settled)",
        "answers": "all slots right, by the friction of the answer's turns (intent right)",
    }
    for name, heading in headings.items():
        # Friction is the probability that an answer failed, no posterior of what is right.
        off = "" if name == "answers" else f"; calibration error {percent(calibration_error(told[name]))}"
        metric_rows(
            f"{locale}: {heading}{off}",
            ("from", "mean", "count", "right, percent"),
            [(f"{row['from']:.1f}", f"{row['mean']:.2f}", f"{row['count']:,}", percent(row["right"]))
             for row in told[name]],
        )  # fmt: skip


def played(work: Path, arm: str) -> tuple[Lake, Path, str, int]:
    """The lake of one arm of a loop, or of a demo, its truth, locale and seed."""
    from schemas.errors import InputError
    from schemas.lake import Lake

    for name, folder in (("loop.json", work / "arms" / arm), ("report.json", work)):
        if (work / name).is_file() and (folder / "lake").is_dir():
            told = json.loads((work / name).read_text(encoding="utf-8"))
            return Lake(folder / "lake").open(), folder / "truth", told["locale"], told["seed"]
    raise InputError(
        f"{work} holds no loop with the arm {arm} and no demo: run `sayagain bench loop --work {work}` first"
    )
