"""Synthetic traffic: the same block for the same number, good records, and the shares that were asked for."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from schemas.record import check_record
from simulator.synthetic import SyntheticTraffic, block, json_lines, pseudonymous

WINDOW = (datetime(2015, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
TRAFFIC = SyntheticTraffic(seed=5)


def test_a_block_is_a_function_of_its_number() -> None:
    first, truth = block(TRAFFIC, 3, 2000)
    again, _ = block(TRAFFIC, 3, 2000)
    other, _ = block(TRAFFIC, 4, 2000)
    assert first.equals(again)
    assert len(first) == len(truth) == 2000
    for name in ("interaction_id", "user_id"):
        assert not set(first.column(name).to_pylist()) & set(other.column(name).to_pylist())
    assert len(set(first.column("interaction_id").to_pylist())) == 2000


def test_every_line_meets_the_contract_but_those_that_were_broken() -> None:
    traffic = TRAFFIC.model_copy(update={"broken": 0.05, "redelivered": 0.05})
    table, _ = block(traffic, 0, 3000)
    lines = json_lines(traffic, 0, table).to_pylist()
    checked = [check_record(line, WINDOW) for line in lines]
    good = {record.interaction_id: record for record, _ in checked if record}
    faults = sum(1 for record, _ in checked if record is None)
    assert len(good) == 3000
    assert 90 < faults < 220
    assert 90 < len(lines) - 3000 - faults < 220
    assert json_lines(traffic, 0, table).to_pylist() == lines
    for row in table.slice(0, 500).to_pylist():
        record = good[row["interaction_id"]].model_dump()
        assert {name: row[name] for name in record} == record


def test_the_model_is_as_good_as_it_was_asked_to_be_and_users_try_again() -> None:
    for accuracy in (0.2, 0.7):
        traffic = TRAFFIC.model_copy(update={"accuracy": accuracy, "misheard": 0.0})
        table, truth = block(traffic, 0, 20_000)
        task = truth.column("task_id").to_numpy()
        first = task[1:] != task[:-1]
        right = truth.column("right").to_numpy()
        assert right[1:][first].mean() == pytest.approx(accuracy, abs=0.05)
        assert not right[:-1][~first].any()  # whoever was served does not try again
        tried = json.dumps(table.column("response").value_counts().to_pylist())
        assert "no_match" in tried
        assert "completed" in tried


def test_users_are_in_order_of_time_and_a_robot_never_pauses() -> None:
    traffic = TRAFFIC.model_copy(update={"robot_block": True})
    for number, users in ((0, 1), (1, 50)):
        table, _ = block(traffic, number, 5000)
        user, at = table.column("user_id").to_pylist(), table.column("occurred_at").cast("int64").to_numpy()
        assert len(set(user)) >= users
        same = [a == b for a, b in zip(user[1:], user[:-1], strict=True)]
        ordered = [later >= now for now, later, mine in zip(at[:-1], at[1:], same, strict=True) if mine]
        assert sum(ordered) / len(ordered) > 0.99  # two sessions of a user may overlap
    table, _ = block(traffic, 0, 5000)
    at = table.column("occurred_at").cast("int64").to_numpy()
    assert (at[1:] - at[:-1]).max() <= 60_000_000
    assert len(set(table.column("user_id").to_pylist())) == 1
    assert set(pseudonymous(table).column("user_id").to_pylist()).isdisjoint(table.column("user_id").to_pylist())
