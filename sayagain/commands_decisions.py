"""Benchmarks of decisions: does the gate, does a trial, decide as the truth would have it."""

from __future__ import annotations

import typer

from sayagain.commands_loop import Arm, Played, Report, played
from sayagain.show import metric_rows, percent, working, write_json


def add_to(bench: typer.Typer) -> None:
    """Register the commands in the group of benchmarks."""
    bench.command("gate")(gate)
    bench.command("trials")(trials)


def gate(
    context: typer.Context,
    work: Played,
    out: Report,
    arm: Arm = "ours",
) -> None:
    """Whether the gate decides as the truth would have it: every model against every other, on users' turns."""
    from benchmarks.gate_decisions import gate_decisions, shares_served, summary

    lake, truth, locale, seed = played(work, arm)
    decisions = gate_decisions(context.obj.settings(seed=seed), lake, truth, locale)
    served = shares_served(lake, truth, locale)
    told = {"locale": locale} | summary(decisions) | {"served": served}
    write_json(out, told)
    metric_rows(
        f"{locale}: {told['right']} of {told['of']} decided as the truth would have it, {told['passed_wrongly']} "
        "passed wrongly; points of intent accuracy",
        ("turns of round", "champion", "challenger", "true gain", "estimate", "bound", "passes", "right", "then"),
        [(d.round, d.champion.rpartition("/")[2], d.challenger.rpartition("/")[2],
          *("" if value is None else f"{100 * value:+.1f}" for value in (d.gain, d.estimate, d.bound)),
          *("" if value is None else "yes" if value else "no" for value in (d.passes, d.right, d.recorded)))
         for d in decisions],
    )  # fmt: skip
    metric_rows(
        "Turns that served, percent: what a trial says of each model, and the truth",
        ("model", "turns", "says", "truth"),
        [(m["model"], f"{m['turns']:,}", percent(m["estimate"]), percent(m["served"])) for m in served],
    )


def trials(
    context: typer.Context,
    work: Played,
    out: Report,
    arm: Arm = "ours",
) -> None:
    """Whether trials decide as the truth would have it: a loop's models on trial against each other, for a round."""
    from benchmarks.trial_decisions import summary, trial_decisions
    from jobs.spark import check_java

    check_java()
    with working("trials") as progress:
        settings = context.obj.settings()
        locale, decisions = trial_decisions(
            settings, work, lambda line: progress.update(progress.task_ids[0], description=line), arm
        )
    told = {"locale": locale, "trial_share": settings.gate.trial_share} | summary(decisions)
    write_json(out, told)
    metric_rows(
        f"{locale}: {told['passed']} passed ({told['passed_wrongly']} wrongly), {told['worse']} taken off "
        f"({told['worse_wrongly']} wrongly), {told['open']} open; points of turns served",
        ("champion", "challenger", "true gain", "estimate", "bound", "result", "wrong"),
        [(d.champion.rpartition("/")[2], d.challenger.rpartition("/")[2],
          *("" if value is None else f"{100 * value:+.1f}" for value in (d.gain, d.estimate, d.bound)),
          d.result, "yes" if d.wrong else "")
         for d in decisions],
    )  # fmt: skip
