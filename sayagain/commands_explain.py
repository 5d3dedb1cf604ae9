"""`sayagain explain` and `sayagain review`: why a pair is believed, and what a person says of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sayagain.show import console, metric_rows


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(explain)
    app.command()(review)


def explain(
    context: typer.Context, pair_id: Annotated[str, typer.Argument(help="As in the table rephrase_pairs.")]
) -> None:
    """Why a pair is believed: the waterfall of its match weights, and the session around it."""
    import pyarrow.compute as pc

    from schemas.errors import InputError
    from schemas.lake import Lake

    lake = Lake(context.obj.settings().lake).open()

    def rows(table: str, column: str, value: str) -> list[dict[str, Any]]:
        return lake.rows(table, where=pc.field(column) == value)

    found = rows("rephrase_pairs", "pair_id", pair_id)
    if not found:
        raise InputError(f"no pair {pair_id} in {lake.path}: `sayagain inspect` lists them")
    pair = found[0]
    console.print(f'\n[bold]"{pair["source_utterance"]}"[/bold] -> [bold]"{pair["target_utterance"]}"[/bold]')
    console.print(
        f"{pair['kind']} ({pair['edit']}), {pair['locale']}, {pair['gap_seconds']:.1f} s and {pair['steps']} turns "
        f"apart; posterior {pair['posterior']:.4f}, that it is another request in like words "
        f"{pair['new_request']:.4f}, that no turn of the session was meant instead {pair['none_posterior']:.4f}"
    )
    if pair["review"]:
        console.print(f"a person said: {pair['review']}")
    metric_rows("Match weights, in bits", ("evidence", "level", "weight", "sum"), waterfall(pair["features"]))
    session = sorted(rows("turns", "session_id", pair["session_id"]), key=lambda t: t["position"])
    marks = {pair["source"]: "source", pair["target"]: "target"}
    lines = [
        (
            marks.get(turn["interaction_id"], ""),
            f"{turn['occurred_at']:%H:%M:%S}",
            turn["utterance"],
            (turn["interpretation"] or {}).get("intent") or "",
            turn["response"],
            f"{turn['friction']:.3f}",
        )
        for turn in session
    ]
    metric_rows("The session", ("", "UTC", "said", "understood", "response", "friction"), lines)


def waterfall(features: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Each piece of evidence with its weight and the sum so far, in bits."""
    lines, total = [], 0.0
    for feature in features:
        total += feature["weight"]
        lines.append((feature["name"], feature["level"], f"{feature['weight']:+.2f}", f"{total:+.2f}"))
    return lines


def review(
    context: typer.Context,
    pair_id: Annotated[str, typer.Argument(help="As in the table rephrase_pairs.")],
    verdict: Annotated[str, typer.Argument(help="same_wish, new_request or unrelated.")],
    reviewer: Annotated[str, typer.Option(help="Who says so; by default whoever is logged in.")] = "",
) -> None:
    """Say what a pair is: the next `mine` takes it as said, and weighs all pairs of the locale by such verdicts."""
    from getpass import getuser

    from schemas.errors import InputError

    try:
        who = reviewer or getuser()
    except (KeyError, OSError):  # no name for this user id, as in some containers
        raise InputError("nobody is logged in by name: say who judges with --reviewer NAME") from None
    from jobs.reviews import add_review
    from schemas.lake import Lake

    lake = Lake(context.obj.settings().lake).open(write=True)
    add_review(lake, pair_id, verdict, who)
    console.print(f"{pair_id}: {verdict}; `sayagain mine` reads it")
