"""The nightly run: one `sayagain` command a task, from new logs to a promoted model.

Airflow lives in its own environment, so this file imports nothing of ours and calls the command line. Airflow
Variables (or AIRFLOW_VAR_... of the worker) say what to call:

| Variable | default | meaning |
|---|---|---|
| sayagain_command | `sayagain` | the command; may carry global flags such as `--lake PATH` |
| sayagain_raw | `raw` | file, folder or URI of the logs to ingest |
| sayagain_folder | `.` | folder to call it in, where its sayagain.toml lies |

The lake, the locale and every other setting are the command's own: it reads sayagain.toml and the worker's
SAYAGAIN_* variables. It refuses SAYAGAIN_* names that are no settings, so the three above may come from the
worker as AIRFLOW_VAR_SAYAGAIN_COMMAND and so on, and not as SAYAGAIN_COMMAND.

A task that fails by accident (exit code 1, a kill) is retried: every step may be killed and run again. Bad
input or settings (2) and a refusal by a gate (3) stay what they are when tried again, so they are not. A
refused batch fails the run. A refused challenger is an ordinary night: `gate` is skipped, `promote` with it,
the champion stays. Whether it goes on trial the gate says, and `trial` what came of it, before the champion is asked
about anything.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

# Each step and the steps whose tables, or encoder, it needs. Counting rephrases over users goes on beside
# training the encoder and embedding the wordings.
AFTER: dict[str, tuple[str, ...]] = {
    "ingest": (),
    "turns": ("ingest",),
    "trial": ("turns",),
    "guess": ("trial",),
    "rephrase_pairs": ("turns",),
    "rephrase_edges": ("rephrase_pairs",),
    "encoder": ("rephrase_pairs",),
    "utterances": ("encoder",),
    "variant_edges": ("utterances", "rephrase_edges"),
    "variant_clusters": ("variant_edges",),
    "reformulations": ("variant_clusters",),
    "pseudo_labels": ("variant_clusters", "reformulations", "guess"),
    "training_sets": ("pseudo_labels",),
    "train": ("training_sets",),
    "gate": ("train",),
    "promote": ("gate",),
}
NOT_MINING = ("ingest", "trial", "guess", "train", "gate", "promote")
BAD_INPUT, REFUSED = 2, 3  # exit codes of the command


class SayagainOperator(BaseOperator):
    """Runs one `sayagain` command; its output becomes the task's log.

    Args:
        arguments: what follows the command.
        skip_refused: whether a refusal skips the task instead of failing it.
    """

    template_fields: Sequence[str] = ("command", "arguments", "folder")

    def __init__(self, *, arguments: list[str], skip_refused: bool = False, **others: Any) -> None:
        super().__init__(**others)
        self.command = "{{ var.value.get('sayagain_command', 'sayagain') }}"
        self.folder = "{{ var.value.get('sayagain_folder', '.') }}"
        self.arguments = arguments
        self.skip_refused = skip_refused
        self._hook: SubprocessHook | None = None

    def execute(self, context: Any) -> None:
        """Run the command and turn its exit code into the task's outcome."""
        self._hook = SubprocessHook()
        # Without a folder the hook would run it in a new temporary one, where no sayagain.toml lies.
        done = self._hook.run_command(
            [*shlex.split(self.command), *self.arguments], env=dict(os.environ), cwd=self.folder
        )
        said = f"{self.task_id}: exit code {done.exit_code}: {done.output}"
        if done.exit_code == REFUSED and self.skip_refused:
            raise AirflowSkipException(said)
        if done.exit_code in (BAD_INPUT, REFUSED):
            raise AirflowFailException(said)
        if done.exit_code:
            raise AirflowException(said)

    def on_kill(self) -> None:
        """Stop the command, and Spark with it."""
        if self._hook is not None:
            self._hook.send_sigterm()


with DAG(
    dag_id="mine_daily",
    description="Ingest, mine, retrain, gate and promote",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # a run ingests all that is new, whatever the day: past days have nothing of their own
    max_active_runs=1,  # one table, one writer
    max_active_tasks=2,  # each mining step holds a Spark driver
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5), "execution_timeout": timedelta(hours=6)},
    doc_md=__doc__,
    tags=["sayagain"],
) as dag:
    tasks = {}
    for step, needs in AFTER.items():
        if step == "ingest":
            call = ["ingest", "{{ var.value.get('sayagain_raw', 'raw') }}"]
        else:
            call = [step] if step in NOT_MINING else ["mine", "--only", step]
        tasks[step] = SayagainOperator(task_id=step, arguments=call, skip_refused=step in ("gate", "promote"))
        for need in needs:
            tasks[need] >> tasks[step]
