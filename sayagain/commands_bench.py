"""Commands that measure: `bench rephrases`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sayagain.show import console, metric_rows, percent, working, write_json


def add_to(bench: typer.Typer) -> None:
    """Register the command with the group."""
    bench.command()(rephrases)


def rephrases(
    context: typer.Context,
    population: Annotated[str, typer.Option(help="calm, launch, hurried or hostile.")] = "launch",
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    massive: Annotated[
        Path | None, typer.Option(help="A MASSIVE-format folder instead of the project's phrasebook.")
    ] = None,
    locale: Annotated[str | None, typer.Option(help="What the users speak.")] = None,
    users: Annotated[int, typer.Option(min=10)] = 500,
    accuracy: Annotated[float, typer.Option(min=0, max=1, help="Share of wordings that the served model knows.")] = 0.4,
    sample: Annotated[int, typer.Option(help="Train utterances taken from --massive; 0 takes all.")] = 4000,
    resamples: Annotated[int, typer.Option(min=2, help="Of the bootstrap over users.")] = 100,
    logs: Annotated[Path | None, typer.Option(help="A folder of real logs (*.jsonl) instead; needs --gold.")] = None,
    gold: Annotated[
        Path | None, typer.Option(help='JSON Lines of {"source": id, "targets": [ids], "kind": KIND}.')
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File for the report as JSON.")] = None,
) -> None:
    """Score rephrase mining and its baselines: precision, recall, F1, PR-AUC by kind, attacks, calibration."""
    from benchmarks.rephrases import BenchOptions, rounded, run_bench, share_of_ceiling

    settings = context.obj.settings(seed=seed)
    options = BenchOptions(
        population=population,
        massive=massive,
        locale=locale or settings.locale or "es-ES",
        users=users,
        accuracy=accuracy,
        sample=sample or None,
        resamples=resamples,
        logs=logs,
        gold=gold,
    )
    with working("bench rephrases") as progress:
        report = run_bench(settings, options, lambda line: progress.update(progress.task_ids[0], description=line))
    write_json(out, rounded(report))
    show_rephrases(report)
    console.print(f"ours / classifier trained with the truth, PR-AUC: {percent(share_of_ceiling(report))}%")


def show_rephrases(report: dict[str, Any]) -> None:
    """The report as tables."""
    console.print(
        f"\n{report['data']}, {report['locale']}, {report['population']}, seed {report['seed']}, "
        f"{report['turns']:,} turns of {report['users']:,} users; percent"
    )
    methods = [(method["name"], method["kinds"]) for method in report["methods"]]
    rows = [
        (
            name,
            *(percent(kinds["all"][figure]) for figure in ("precision", "recall", "f1", "pr_auc")),
            f"{percent(kinds['all']['low'])}-{percent(kinds['all']['high'])}",
        )
        for name, kinds in methods
    ]
    metric_rows("Pairs", ("", "prec.", "recall", "F1", "PR-AUC", "95%"), rows)
    by_kind = [
        (
            name,
            *(percent(kinds[kind]["f1"]) for kind in ("one_step", "chain", "interleaved", "repeat")),
            percent(kinds["hard_negative"]["precision"]),
        )
        for name, kinds in methods
    ]
    columns = ("", "1 step", "chain", "interl.", "repeat", "hard")
    metric_rows("F1 by kind of source; precision against hard negatives", columns, by_kind)
    attacked = [
        (method["name"], name, f["ids"], f["others_changed"], f["false_pairs"], f["false_edges"], f["edges_past_floor"])
        for method in report["methods"]
        for name, f in method["attack"].items()
    ]
    if attacked:
        names = ("", "attack", "ids", "others", "pairs", "edges", "past")
        title = "One attacker: pairs of others changed, false pairs, false edges, edges past the floor of users"
        metric_rows(title, names, attacked)
    if "outcomes" in report:
        possible = list(report["outcomes"])
        counts = [(true, *(f"{of[name]:,}" for name in possible)) for true, of in report["outcomes"].items()]
        metric_rows("Turns by what followed: true outcome in rows, what ours says in columns", ("", *possible), counts)
    if "friction" in report:
        found = report["friction"]
        console.print(
            f"Friction: Brier {found['brier']:.4f}; of the base rate {found['brier_base_rate']:.4f}, of each "
            f"response's own rate {found['brier_response_rate']:.4f}"
        )
        table = [
            (f"{b['from']:.1f}", f"{b['turns']:,}", percent(b["said"]), percent(b["failed"]))
            for b in found["reliability"]
        ]
        metric_rows("Reliability of friction", ("from", "turns", "said", "failed"), table)
