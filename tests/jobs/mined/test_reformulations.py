"""Where tries end well, against the same weights summed in a loop and the closed form of the chain."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from mined_lake import Mined
from planted_log import LOCALE, WRONG, read

from jobs.pipeline import mine
from schemas.lake import Lake, Manifest
from schemas.normalise import formulation_id, normalise
from schemas.tables import TURNS

State = tuple[str, str]


def states_of(lake: Lake) -> dict[str, tuple[State, dict[str, Any]]]:
    cluster = {row["formulation_id"]: row["cluster_id"] for row in read(lake, "variant_clusters")}
    found = {}
    for turn in read(lake, "turns"):
        if turn["held_out"] or not turn["heard"]:
            continue
        said = turn["formulation_id"]
        if turn["rewritten_from"] is not None:
            said = formulation_id(turn["locale"], normalise(turn["rewritten_from"]))
        meant = turn["interpretation"] if turn["response"] != "no_match" else None
        types = sorted({slot["name"] for slot in meant["slots"]}) if meant else []
        spelt = f"{meant['intent']}({','.join(types)})" if meant else ""
        found[turn["interaction_id"]] = (cluster.get(said, said), spelt), turn
    return found


def expected(lake: Lake, doubt: float = 0.5) -> dict[State, dict[str, Any]]:
    """Each state's best ending, by a loop over the turns and a dense inverse."""
    states = states_of(lake)
    pairs = {pair["source"]: pair for pair in read(lake, "rephrase_pairs")}
    own: dict[tuple[State, str], int] = defaultdict(int)
    for state, turn in states.values():
        own[state, turn["user_id"]] += 1
    names = sorted({state for state, _ in states.values()})
    number = {state: i for i, state in enumerate(names)}
    moves, accepted, abandoned = np.zeros((len(names), len(names))), np.zeros(len(names)), np.zeros(len(names))
    for interaction, (state, turn) in states.items():
        share, i = 1 / own[state, turn["user_id"]], number[state]
        pair = pairs.get(interaction)
        on = turn["friction"] * pair["posterior"] if pair else 0.0
        if pair:
            moves[i, number[states[pair["target"]][0]]] += on * share
        accepted[i] += (1 - turn["friction"]) * share
        abandoned[i] += (turn["friction"] - on) * share
    total = moves.sum(axis=1) + accepted + abandoned + doubt
    ends = np.linalg.inv(np.eye(len(names)) - moves / total[:, None]) * (accepted / total)
    return {
        state: {"ends": dict(zip(names, ends[i], strict=True)), "users": len({u for s, u in own if s == state})}
        for state, i in number.items()
    }


def agrees(lake: Lake) -> list[dict[str, Any]]:
    rows, truth = read(lake, "reformulations"), expected(lake)
    assert {(row["cluster_id"], row["interpretation"]) for row in rows} == truth.keys()
    for row in rows:
        known = truth[row["cluster_id"], row["interpretation"]]
        ends = known["ends"]
        assert row["probability"] == pytest.approx(max(ends.values()), abs=1e-5)
        assert ends[row["best_cluster"], row["best_interpretation"]] == pytest.approx(row["probability"], abs=1e-5)
        assert row["own_probability"] == pytest.approx(ends[row["cluster_id"], row["interpretation"]], abs=1e-5)
        assert row["abandoned"] == pytest.approx(1 - sum(ends.values()), abs=1e-5)
        assert row["users"] == known["users"]
    return rows


def test_each_state_ends_where_the_closed_form_says(mined: Mined) -> None:
    rows = agrees(mined.lake)
    assert mined.results["reformulations"].counts["states"] == len(rows)
    assert sum(row["events"] for row in rows) == mined.results["reformulations"].counts["turns"]
    assert all(row["exposed_events"] == 0 for row in rows)


def test_wordings_that_nobody_understood_are_led_to_what_was_meant(mined: Mined) -> None:
    cluster = {row["formulation_id"]: row["cluster_id"] for row in mined.rows("variant_clusters")}
    rows = {(row["cluster_id"], row["interpretation"]): row for row in mined.rows("reformulations")}
    right, led = 0, 0
    for name, (intent, _) in mined.log.meaning.items():
        row = rows.get((cluster[name], ""))
        if row and row["users"] >= 5 and row["best_interpretation"]:
            led += 1
            right += row["best_interpretation"].split("(")[0] == intent
    assert led >= 5
    assert right == led
    # A wrong answer that its users bear in silence may be its own best end, but nobody else is led to it.
    others = [row for row in rows.values() if row["users"] >= 5 and not row["interpretation"].startswith(WRONG)]
    led_astray = [row for row in others if row["best_interpretation"].startswith(WRONG)]
    assert not led_astray


def test_a_rewrite_is_judged_where_its_users_were(copy: Lake) -> None:
    """Turns that a deployed rewrite answered belong to the wording that was said, and do not speak for the rewrite."""
    served, old = "niamshe saa moja", "nipe kengele saa moja"
    before = {(r["cluster_id"], r["interpretation"]): r for r in read(copy, "reformulations")}
    turns = read(copy, "turns")
    changed = 0
    for turn in turns:
        if turn["text"] == served and turn["heard"] and changed < 5:
            turn["rewritten_from"] = old
            changed += not turn["held_out"]
    write_deltalake(copy.table("turns"), pa.Table.from_pylist(turns, schema=TURNS.arrow), mode="overwrite")
    version = DeltaTable(copy.table("turns")).version()
    copy.publish(Manifest("turns", "rewritten", {}, {"turns": version}))
    [result] = mine(copy, _settings(copy), only="reformulations")
    assert result.status == "done"
    rows = {(row["cluster_id"], row["interpretation"]): row for row in agrees(copy)}
    exposed = [row for row in rows.values() if row["exposed_events"]]
    assert [row["cluster_id"] for row in exposed] == [formulation_id(LOCALE, normalise(old))]
    assert exposed[0]["exposed_events"] == changed == 5
    [(lost, state)] = [
        (before[s]["events"] - rows[s]["events"], s) for s in before if before[s]["events"] != rows[s]["events"]
    ]
    assert lost == 5
    assert state[1] == exposed[0]["interpretation"]


def _settings(lake: Lake) -> Any:
    from mined_lake import settings_for

    return settings_for(lake.path.parent)
