"""The closed loop against its baselines: how much of the way from launch to full annotation users teach.

All arms start from one launch model and one first round of traffic; then each is served by its own champions, so
that its traffic is its own (on-policy), with the same users, goals and first wordings. A challenger that is on trial
after the last round is decided on by users of one more, who teach nothing; their turns count. Every round's champion
is kept; the test partition is read once, after all of them.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.baselines import LABELLERS, label
from benchmarks.loop_metrics import by_stratum, difference_interval, flipped, gap_closed, gap_interval, strata_of
from benchmarks.rounds import (
    ceiling,
    figures,
    new_lake,
    of_loop,
    retrain_and_gate,
    traffic,
    trial_of,
    write_gold,
)
from benchmarks.scoring import read_truth, score_mining
from jobs.ingest import ingest
from jobs.lake import run_step
from jobs.pipeline import STEPS
from retrain import registry
from retrain.evaluate import Outcomes, outcomes
from retrain.predictor import TorchPredictor
from retrain.second_guesses import guess_again
from retrain.train import TrainedModel, train
from schemas.annotated import Annotated
from schemas.errors import InputError
from schemas.lake import Lake
from schemas.settings import Settings
from simulator.catalogue import Catalogue
from simulator.massive import MassiveCatalogue
from simulator.population import Population, population

Say = Callable[[str], None]
ARMS = (
    "ours",
    "ours-monolingual",
    "first-guesses",
    "projected-slots",
    "majority",
    "marupa",
    "accepted-only",
    "self-training",
)
SHARED = ("turns", "rephrase_pairs")  # steps that no arm changes


@dataclass(frozen=True)
class LoopOptions:
    """What a loop runs on.

    Args:
        out: folder for everything it makes; finished rounds found there are kept.
        massive: MASSIVE-format folder.
        source, locale: the mature language and the launch locale.
        rounds: of traffic, at least one.
        seed_labels: annotated utterances of the launch locale at launch.
        parallel: TSV files of sentence<TAB>translation, or Tatoeba folders, for the encoder and the models' lexicon.
        users: of a round.
        sample: train utterances of each locale; None takes all.
        arms: of `ARMS`.
        train_encoder: pass the lake's encoder to the model as input vectors.
    """

    out: Path
    massive: Path
    source: str = "en-US"
    locale: str = "sw-KE"
    rounds: int = 3
    seed_labels: int = 0
    parallel: tuple[Path, ...] = ()
    population: str = "launch"
    users: int = 500
    sample: int | None = None
    arms: tuple[str, ...] = ("ours",)
    train_encoder: bool = False

    def check(self) -> None:
        """Raises InputError, naming every bad option."""
        faults = [f"no arm {name!r}; there are {', '.join(ARMS)}" for name in self.arms if name not in ARMS]
        if self.rounds < 1:
            faults.append("at least one round")
        if faults:
            raise InputError("\n".join(faults))

    def identity(self, seed: int) -> dict[str, Any]:
        """What must not change between runs into one folder; arms and rounds may be added."""
        chosen = {k: v for k, v in asdict(self).items() if k not in ("out", "arms", "rounds")}
        return json.loads(json.dumps(chosen | {"seed": seed}, default=str))  # type: ignore[no-any-return]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Processes that run arms beside each other wait here for what they share."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def settings_of(settings: Settings, arm: str) -> Settings:
    """The settings of a loop as one of its arms has them."""
    changes: dict[str, Any] = {}
    if arm == "ours-monolingual":
        changes["encoder"] = settings.encoder.model_copy(update={"parallel": ()})
        changes["labels"] = settings.labels.model_copy(update={"translations": False})
    if arm == "projected-slots":
        changes["labels"] = settings.labels.model_copy(update={"slots": "projection"})
    return settings.model_copy(update=changes)


class Loop:
    """One experiment in one folder."""

    def __init__(self, settings: Settings, options: LoopOptions, say: Say) -> None:
        options.check()
        self.options, self.say, self.seed = options, say, settings.seed
        self._claim()
        self.book: Catalogue = MassiveCatalogue(
            options.massive, options.source, options.locale, options.sample, settings.seed
        )
        self.crowd: Population = population(options.population).model_copy(update={"users": options.users})
        gold = write_gold(
            self.book, options.out / "gold", options.source, options.locale, options.seed_labels, settings.seed
        )
        encoder = settings.encoder.model_copy(update={"parallel": options.parallel})
        self.settings = of_loop(
            settings.model_copy(update={"encoder": encoder}), options.out, options.source, options.locale, gold
        )

    def _claim(self) -> None:
        out, mark = self.options.out, self.options.out / "loop.json"
        mine = self.options.identity(self.seed)
        if mark.is_file():
            found = json.loads(mark.read_text(encoding="utf-8"))
            if other := [f"{k}: {found.get(k)} there, {v} asked" for k, v in mine.items() if found.get(k) != v]:
                raise InputError(f"{out} holds another experiment ({'; '.join(other)}): give another folder")
            return
        if out.is_dir() and any(out.iterdir()):
            raise InputError(f"{out} is not empty and holds no loop: give another folder")
        out.mkdir(parents=True, exist_ok=True)
        mark.write_text(json.dumps(mine, indent=1), encoding="utf-8")

    def of(self, lake: Path, arm: str = "ours") -> Settings:
        """The settings of one arm on one lake."""
        return settings_of(self.settings.model_copy(update={"lake": lake}), arm)

    def launch_model(self) -> TrainedModel:
        """The launch model, trained if need be."""
        folder = self.options.out / "launch"
        told = folder / "trained.json"
        if not told.is_file():
            self.say("launch: training")
            lake = Lake(folder / "lake").open(create=True)
            made = train(self.of(lake.path), lake)
            made.predictor.save(folder / "model")
            told.write_text(json.dumps([made.snapshot_id, made.examples, made.seconds, made.run_id]), encoding="utf-8")
        snapshot, examples, seconds, run_id = json.loads(told.read_text(encoding="utf-8"))
        model = TorchPredictor.load(folder / "model")
        return TrainedModel(model, self.options.locale, snapshot, examples, seconds, run_id)

    def serve(self, lake: Lake) -> None:
        """Make the launch model the champion of a lake, and lend it what was pretrained."""
        cache = lake.registry / "pretrained"
        cache.parent.mkdir(parents=True, exist_ok=True)
        if not cache.exists():
            cache.symlink_to((self.options.out / "launch" / "lake" / "_registry" / "pretrained").resolve())
        registry.register(self.launch_model(), None, lake)
        registry.promote(lake, self.options.locale, force=True)

    def _first(self, name: str = "first", crowd: Population | None = None) -> Path:
        """The first round's traffic, ingested and paired once for all arms."""
        folder = self.options.out / name
        if not (folder / "done.json").is_file():
            self.launch_model()
            shutil.rmtree(folder, ignore_errors=True)
            lake = new_lake(folder / "lake")
            self.serve(lake)
            told = self._talk(lake, folder, 1, crowd)
            self.mine(lake, SHARED)
            shutil.rmtree(lake.registry)
            (folder / "done.json").write_text(json.dumps(told), encoding="utf-8")
        return folder

    def first_lake(self, name: str = "first", crowd: Population | None = None) -> Lake:
        """The lake after the first round's shared steps, made if need be; its truth lies beside it.

        Args:
            name: of its folder; each crowd has its own.
            crowd: who speaks; the loop's by default.
        """
        with _alone(self.options.out / "first.lock"):
            return Lake(self._first(name, crowd) / "lake").open()

    def _talk(self, lake: Lake, folder: Path, number: int, crowd: Population | None = None) -> dict[str, Any]:
        crowd = crowd or self.crowd
        self.say(f"{folder.name}, round {number}: {crowd.users} users speak")
        raw, truth = folder / "raw", folder / "truth"
        found = traffic(self.of(lake.path), lake, self.book, crowd, number, raw, truth)
        ingest(lake, self.of(lake.path), [str(found.logs)])
        return {"turns": found.turns, "success_rate": found.success_rate, "rephrase_rate": found.rephrase_rate}

    def mine(self, lake: Lake, steps: Sequence[str], arm: str = "ours") -> None:
        """Run steps of the pipeline as an arm runs them; those that are fresh are skipped."""
        for name in steps:
            run_step(STEPS[name], lake, self.of(lake.path, arm))

    def run_arm(self, arm: str) -> list[dict[str, Any]]:
        """Play the rounds of one arm that are not finished yet; returns all of them."""
        with _alone(self.options.out / "first.lock"):
            first = self._first()
        folder = self.options.out / "arms" / arm
        state = folder / "rounds.json"
        done: list[dict[str, Any]] = json.loads(state.read_text(encoding="utf-8")) if state.is_file() else []
        lake = Lake(folder / "lake")
        if not done:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(first, folder)
            self.serve(lake)
        while len(done) < self.options.rounds:
            began, number = time.monotonic(), len(done) + 1
            told = self._heard(arm, lake, number)
            self.say(f"{arm}, round {number}: labelling")
            if arm in LABELLERS or arm == "self-training":
                label(lake, self.options.locale, self.of(lake.path, arm), arm)
                self.mine(lake, ("training_sets",), arm)
            else:
                if arm != "first-guesses":
                    guess_again(self.of(lake.path, arm), lake)
                self.mine(lake, [name for name in STEPS if name not in SHARED], arm)
            score = score_mining(lake, read_truth(folder / "truth"), self.options.locale)
            self.say(f"{arm}, round {number}: training")
            with_encoder = self.options.train_encoder and arm.startswith("ours")
            decision = retrain_and_gate(self.of(lake.path, arm), lake, with_encoder=with_encoder)
            done.append(
                {
                    **told,
                    **score.to_json(),
                    "challenger": decision.challenger,
                    "champion": decision.version,
                    "promoted": decision.promoted,
                    "gate": decision.reason,
                    "seconds": round(time.monotonic() - began, 1),
                }
            )
            state.write_text(json.dumps(done, indent=1), encoding="utf-8")
        if len(done) > self.options.rounds:
            return done[: self.options.rounds]
        return [*done[:-1], self._closed(arm, lake, done[-1])]

    def _kept(self, lake: Lake, number: int) -> dict[str, Any] | None:
        """What `_heard` kept of a round; None where it has not been spoken, or another one since."""
        path = lake.path.parent / "heard.json"
        found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        return found if found and found["round"] == number else None

    def _heard(self, arm: str, lake: Lake, number: int) -> dict[str, Any]:
        """Who spoke in a round, paired, and what that says of the challenger on trial. It is kept, so that no round is
        spoken twice that was cut off afterwards."""
        if (kept := self._kept(lake, number)) is not None:
            return kept
        folder, first = lake.path.parent, self.options.out / "first" / "done.json"
        told = json.loads(first.read_text()) if number == 1 else self._talk(lake, folder, number)
        self.mine(lake, SHARED, arm)
        found = {"round": number, **told, "trial": trial_of(self.of(lake.path, arm), lake)}
        (folder / "heard.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
        return found

    def _closed(self, arm: str, lake: Lake, last: dict[str, Any]) -> dict[str, Any]:
        """The last round, with what the users of one more say of the challenger that is on trial after it, if any."""
        number, locale = last["round"] + 1, self.options.locale
        if self._kept(lake, number) is None and registry.version_of(lake, locale, registry.TRIAL) is None:
            return last
        closing = self._heard(arm, lake, number)
        champion = registry.version_of(lake, locale, registry.CHAMPION)
        return last | {"turns": last["turns"] + closing["turns"], "champion": champion, "closing": closing}

    def report(self, played: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
        """Score everything on the test partition: the only place that reads it."""
        folder = self.options.out / "ceiling"
        if not (folder / "config.json").is_file():
            self.say("ceiling: training on every annotation")
            cache = self.options.out / "launch" / "lake" / "_registry"
            ceiling(self.settings, self.book, cache).save(folder)
        self.say("scoring every champion on the test partition")
        test = self.book.gold(self.options.locale, "test")
        strata = strata_of(self.book.gold(self.options.locale, "train"), test)
        launch = outcomes(self.launch_model().predictor, test)
        best = outcomes(TorchPredictor.load(folder), test)
        told: dict[str, Any] = {
            **self.options.identity(self.seed),
            "test_utterances": len(test),
            "launch": figures(launch, self.seed) | by_stratum(launch, strata),
            "ceiling": figures(best, self.seed) | by_stratum(best, strata),
            "arms": [],
        }
        last: dict[str, Outcomes] = {}
        for arm, rounds in played.items():
            lake = Lake(self.options.out / "arms" / arm / "lake")
            rows, last[arm] = self._scored(lake, rounds, launch, test)
            told["arms"].append(
                {
                    "name": arm,
                    "rounds": rows,
                    "strata": by_stratum(last[arm], strata)["strata"],
                    "gap_closed": gap_closed(launch, last[arm], best),
                    "gap_closed_interval": gap_interval(launch, last[arm], best, self.seed),
                }
            )
        if "ours" in last:
            told["ours_minus"] = {
                arm: difference_interval(last["ours"], found, self.seed) for arm, found in last.items() if arm != "ours"
            }
        return told

    def _scored(
        self, lake: Lake, rounds: list[dict[str, Any]], launch: Outcomes, test: list[Annotated]
    ) -> tuple[list[dict[str, Any]], Outcomes]:
        """An arm's rounds with the figures of their champions, and of challengers that did not become champion
        (`challenger_figures`; older rounds do not tell which they were); and what the last champion answers."""
        found: dict[str, Outcomes] = {}

        def of(version: str) -> Outcomes:
            if version not in found:
                found[version] = outcomes(registry.load(lake, version), test)
            return found[version]

        rows, before = [], launch
        for row in rounds:
            now = of(row["champion"])
            told = figures(now, self.seed)
            told |= {"negative_flips": flipped(launch, now), "negative_flips_of_round": flipped(before, now)}
            if row.get("challenger", row["champion"]) != row["champion"]:
                told["challenger_figures"] = figures(of(row["challenger"]), self.seed)
            rows.append(row | told)
            before = now
        return rows, before


def run_loop(settings: Settings, options: LoopOptions, say: Say) -> dict[str, Any]:
    """Play every arm, score every champion and the ceiling, and return the report.

    Raises:
        InputError: bad options, or a folder that holds another experiment.

    A round of 500 users takes minutes on two cores, most of them training; finished rounds are not played again.
    """
    loop = Loop(settings, options, say)
    return loop.report({arm: loop.run_arm(arm) for arm in options.arms})


def played_loop(settings: Settings, work: Path, arm: str, say: Say) -> Loop:
    """A loop that was played, from its folder.

    Args:
        settings: all that its options do not say.
        arm: that it was played with.

    Raises:
        InputError: the folder holds no such loop.
    """
    mark = work / "loop.json"
    if not mark.is_file() or not (work / "arms" / arm / "rounds.json").is_file():
        raise InputError(f"{work} holds no loop with the arm {arm}: run `sayagain bench loop --work {work}` first")
    told = json.loads(mark.read_text(encoding="utf-8"))
    seed = told.pop("seed")
    told |= {"massive": Path(told["massive"]), "parallel": tuple(Path(p) for p in told["parallel"]), "out": work}
    return Loop(settings.model_copy(update={"seed": seed}), LoopOptions(**told, arms=(arm,)), say)
