"""Commands about labels: audit, lineage, and export of a training set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sayagain.show import console, metric_rows, percent, write_json

audit = typer.Typer(no_args_is_help=True, help="A uniform random sample with a person's answers: the unbiased measure.")


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(audit, name="audit")
    app.command()(export)
    app.command()(lineage)


@audit.command("draw")
def audit_draw(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="The file to fill in, JSON Lines.")] = Path("audit.jsonl"),
    n: Annotated[int, typer.Option("--turns", min=1, help="Turns to draw.")] = 200,
) -> None:
    """Draw turns uniformly; a person fills in `intent`, and `annot_utt` where they can."""
    from jobs.audit import draw_audit
    from schemas.errors import InputError
    from schemas.lake import Lake

    settings = context.obj.settings()
    if settings.locale is None:
        raise InputError("locale: not set; give --locale before the command, such as --locale sw-KE")
    drawn = draw_audit(Lake(settings.lake).open(), settings.locale, n, settings.seed, out)
    console.print(f"{out}: {drawn} turns of {settings.locale}; fill in `intent` and `annot_utt` of every line")


@audit.command("score")
def audit_score(
    context: typer.Context,
    answers: Annotated[Path, typer.Argument(help="The file that `draw` wrote, filled in.")],
    out: Annotated[Path | None, typer.Option(help="The figures as JSON.")] = None,
) -> None:
    """Precision and coverage of the labels and the share of silent failures, with exact 95% intervals."""
    from dataclasses import asdict

    from jobs.audit import score_audit
    from schemas.lake import Lake

    found = score_audit(Lake(context.obj.settings().lake).open(), answers)
    rows = [
        (name.replace("_", " "), f"{s.right} of {s.of}", percent(s.share) if s.of else "",
         f"{percent(s.low)}-{percent(s.high)}" if s.of else "")
        for name, s in found.items()
    ]  # fmt: skip
    metric_rows(f"Audit {answers}, percent of turns", ("", "turns", "share", "95% interval"), rows)
    write_json(out, {name: asdict(s) | {"share": s.share if s.of else None} for name, s in found.items()})


def export(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="An empty or new folder.")],
    snapshot: Annotated[str | None, typer.Option(help="Snapshot id; the newest by default.")] = None,
) -> None:
    """Write a training set as MASSIVE-format JSON Lines and Parquet, with a dataset card."""
    from retrain.dataset import export_snapshot
    from schemas.errors import InputError
    from schemas.lake import Lake

    lake = Lake(context.obj.settings().lake).open()
    if snapshot is None:
        manifest = lake.manifest("training_sets")
        if manifest is None:
            raise InputError(f"the lake at {lake.path} has no training set yet: run `sayagain mine`")
        snapshot = str(manifest.details["snapshot_id"])
    written = export_snapshot(lake, snapshot, out)
    console.print(f"{out}: snapshot {snapshot}, " + ", ".join(f"{n:,} {split}" for split, n in written.items()))


def lineage(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="An utterance, or a formulation id.")],
    out: Annotated[Path | None, typer.Option(help="All of it as JSON.")] = None,
) -> None:
    """From a label to its votes, pairs, turns and users, and from a wording to the labels that its turns are behind."""
    from jobs.lineage import lineage_of
    from schemas.lake import Lake

    settings = context.obj.settings()
    found = lineage_of(Lake(settings.lake).open(), settings.locale, text)
    label = found["label"]
    console.print(f"[bold]{found['utterance']}[/bold]  {label['status']}: {label['why']}")
    metric_rows(
        "Votes",
        ("source", "intent", "users", "weight"),
        [(s["source"], s["intent"], s["users"], f"{s['weight']:.2f}") for s in label["sources"]],
    )
    if second := found["second_guess"]:
        guessed = ", ".join(f"{g['intent']} {g['probability']:.2f}" for g in second["guesses"])
        console.print(f"{second['model_version']}, asked again: {guessed}")
    if wish := found["wish"]:
        metric_rows(
            f"Its wish, {wish['intent']} {wish['probability']:.2f}: {wish['wordings']:,} wordings of {wish['users']:,} "
            "users, the most spoken",
            ("wording", "label", "status", "spoken"),
            [(r["utterance"], r["intent"] or "", r["status"], r["events"]) for r in wish["most_spoken"]],
        )
    metric_rows(
        "Pairs behind it",
        ("said instead", "understood as", "posterior", "turns"),
        [
            (p["target_utterance"], p["intent"] or "", f"{p['posterior']:.2f}", f"{p['source']} > {p['target']}")
            for p in found["pairs"]
        ],
    )
    metric_rows(
        "Labels that its own turns are behind",
        ("label", "intent", "pairs"),
        [(r["utterance"], r["intent"] or "", r["pairs"]) for r in found["teaches"]],
    )
    console.print(
        f"{found['turns']} turns of {found['users']} users; "
        f"{len(label['pair_ids'])} pairs are listed of those behind the label"
    )
    write_json(out, found)
