"""What a night needs: settings, a lake with a launch champion, and the logs of a day that it served.

`run_dag.py` calls it with the project's python, since Airflow's environment has nothing of ours:

    .venv/bin/python tests/airflow_dags/prepare_night.py FOLDER
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from retrain import registry
from retrain.train import train
from schemas.annotated import write_annotated
from schemas.lake import Lake
from schemas.settings import INTERPRETED, load_settings
from simulator.logs import simulate
from simulator.phrasebook import Phrasebook
from simulator.population import population

LOCALE, SEEDS, USERS = "es-ES", 60, 80  # small enough for minutes, large enough for labels
NOTHING_COMPILED = "\n".join(f'"{name}" = "{value}"' for name, value in INTERPRETED.items())
SETTINGS = f"""
lake = "lake"
locale = "{LOCALE}"
[spark.conf]  # each step is a JVM that ends before it is warm
"spark.driver.extraJavaOptions" = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
{NOTHING_COMPILED}
[labels]
vote_floor = 2
held_out_users = 0.2
[encoder]
dimensions = 32
vocabulary = 1000
epochs = 1
[training]
gold = ["gold/en-US.jsonl", "gold/{LOCALE}.jsonl"]
hidden = 48
word_dimensions = 48
char_dimensions = 16
pretrain_epochs = 3
finetune_epochs = 3
[gate]
margin = 1.0  # what is tried is the order of the steps, not the model
min_examples = 1
"""


def prepare(folder: Path) -> None:
    """Write `sayagain.toml`, `gold/`, `lake/` with a champion, and `raw/` under a folder."""
    (folder / "sayagain.toml").write_text(SETTINGS, encoding="utf-8")
    book = Phrasebook(seed=1, target=LOCALE)
    gold = [*book.gold("en-US"), *book.gold("en-US", "dev")]
    write_annotated(folder / "gold" / "en-US.jsonl", gold)
    write_annotated(folder / "gold" / f"{LOCALE}.jsonl", book.seed_labels(SEEDS, seed=1))
    settings = load_settings(file=folder / "sayagain.toml")
    lake = Lake(folder / "lake").open(create=True)
    registry.register(train(settings, lake), None, lake)
    version = registry.promote(lake, LOCALE, force=True)
    champion = registry.load(lake, version)
    day = datetime(2026, 1, 31, tzinfo=UTC)
    crowd = population().model_copy(update={"users": USERS, "days": 1.0})
    done = simulate(book, champion, crowd, seed=1, round=0, start=day, out=folder / "raw", truth=folder / "truth")
    print(f"{version} served {done.turns} turns of {done.users} users")


if __name__ == "__main__":
    os.chdir(sys.argv[1])  # the paths in the settings are meant from there, as the DAG's tasks run there
    prepare(Path.cwd())
