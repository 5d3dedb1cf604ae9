"""Votes become labels: floors, contests, silent failures, slots, and what one user can do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.votes import COUNTED, Evidence, Label, Member, label_formulation, tallied
from schemas.settings import LabelSettings

TIME = (("time", "saa moja"),)
SURE = {"alarm_set": 0.9, "alarm_query": 0.05}


def own(
    user: str,
    intent: str,
    support: float = 0.9,
    of: str = "f",
    slots: tuple = (),
    opposition: float | None = None,
) -> Evidence:
    against = round(1 - support, 6) if opposition is None else opposition
    return Evidence(of, user, "own", intent, slots, support, against)


def rephrase(
    user: str, intent: str, support: float = 0.9, of: str = "f", slots: tuple = (), pair: str = "p"
) -> Evidence:
    return Evidence(of, user, "rephrase", intent, slots, support, 0.0, f"{pair}-{user}")


def users(n: int, start: int = 0) -> list[str]:
    return [f"u{i}" for i in range(start, start + n)]


def labels(
    evidence: Iterable[Evidence],
    utterances: dict[str, str] | None = None,
    posterior: Mapping[str, float] | None = None,
    **settings: float,
) -> dict[str, Label]:
    """Labels of wordings that are all near to each other, with one posterior for all of them."""
    utterances = utterances or {"f": "weka kengele saa moja"}
    evidence = list(evidence)
    voters: dict[str, set[str]] = defaultdict(set)
    for e in evidence:
        if e.support >= COUNTED:
            voters[e.intent].add(e.user_id)
    backers = {intent: len(them) for intent, them in voters.items()}
    return {
        name: label_formulation(
            Member(name, text, 1),
            tallied(e for e in evidence if e.formulation_id == name),
            list((SURE if posterior is None else posterior).items()),
            backers,
            LabelSettings(slots="projection", **settings),
        )
        for name, text in utterances.items()
    }


@pytest.mark.parametrize("floor", [1, 3, 5])
def test_the_floor_counts_distinct_users(floor: int) -> None:
    for n, status in ((floor - 1, "too_few_users"), (floor, "accepted"), (floor + 1, "accepted")):
        if n == 0:
            continue
        label = labels([rephrase(u, "alarm_set") for u in users(n)], vote_floor=floor, min_posterior=0.3)["f"]
        assert (label.status, label.users, label.intents[0][0]) == (status, n, "alarm_set")
        assert str(floor) in label.why or status == "accepted"


def test_a_label_of_which_nobody_says_anything() -> None:
    label = labels([], posterior={})["f"]
    assert (label.status, label.intents, label.slots, label.users) == ("contested", [], None, 0)
    assert label.why


def test_a_posterior_without_a_sure_intent_is_contested() -> None:
    divided = [rephrase(u, "alarm_set") for u in users(6)] + [rephrase(u, "alarm_query") for u in users(6, 6)]
    label = labels(divided, posterior={"alarm_query": 0.42, "alarm_set": 0.45}, min_posterior=0.5)["f"]
    assert (label.status, label.intents[0]) == ("contested", ("alarm_set", 0.45))
    assert "alarm_set has 0.45" in label.why
    assert "alarm_query has 0.42" in label.why
    assert labels(divided, posterior={"alarm_set": 0.45}, min_posterior=0.4)["f"].status == "accepted"


def test_a_wording_may_be_labelled_by_what_near_wordings_mean() -> None:
    near = [rephrase(u, "alarm_set", of="m") for u in users(8)]
    found = labels(near, {"f": "wake me", "m": "wake me up"})
    assert (found["f"].intents[0], found["f"].status, found["f"].own_users) == (("alarm_set", 0.9), "accepted", 0)
    assert found["f"].slots is None  # the mates' slots are spelt elsewhere
    assert labels(near[:4], {"f": "wake me"})["f"].status == "too_few_users"


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from(["x", "y"]), st.floats(0, 1), st.booleans()),
        max_size=20,
    ),
    st.integers(1, 30),
)
def test_a_vote_counts_once_however_often_it_is_cast(votes: list, times: int) -> None:
    evidence = [own(u, i, s) if mine else rephrase(u, i, s) for u, i, s, mine in votes]
    assert vars(labels(evidence, vote_floor=2)["f"]) | {"pair_ids": 0} == vars(
        labels(evidence * times, vote_floor=2)["f"]
    ) | {"pair_ids": 0}


@given(st.permutations(list(range(12))), st.integers(0, 10**6))
def test_the_order_of_the_votes_does_not_matter(order: list[int], seed: int) -> None:
    makers = [own, rephrase]
    evidence = [
        makers[(i + seed) % 2](f"u{i % 7}", "xyz"[(i * seed) % 3], 0.3 + (i * 7 + seed) % 7 / 10, of="fm"[i % 2])
        for i in range(12)
    ]
    texts = {"f": "one", "m": "two"}
    first, second = (
        labels(evidence, texts, vote_floor=2),
        labels([evidence[i] for i in order], texts, vote_floor=2),
    )
    for name in texts:
        a, b = vars(first[name]), vars(second[name])
        for (i, p), (j, q) in zip(a["intents"], b["intents"], strict=True):
            assert i == j
            assert p == pytest.approx(q, abs=1e-8)
        assert {k: v for k, v in a.items() if k != "intents"} == {k: v for k, v in b.items() if k != "intents"}


@given(st.integers(0, 4), st.integers(1, 4))
def test_accounts_below_the_floor_pass_no_label_however_often_they_speak(honest: int, accounts: int) -> None:
    """Whatever the posterior comes to: the floor counts who is behind the intent."""
    people = [rephrase(u, "alarm_set") for u in users(honest)]
    attack = [
        maker(u, "weapon_fire", 1.0) for u in users(accounts, 1000) for maker in (own, rephrase) for _ in range(100)
    ]
    label = labels(people + attack, posterior={"weapon_fire": 0.97})["f"]
    assert (label.status, label.users) == ("too_few_users", accounts)


def test_a_rejection_alone_is_no_voice_for_the_interpretation() -> None:
    label = labels([own(u, "alarm_set", 0.0, opposition=1.0) for u in users(20)])["f"]
    assert (label.status, label.own_users) == ("too_few_users", 0)


def test_slots_of_a_success_of_its_own() -> None:
    label = labels([own(u, "alarm_set", slots=TIME) for u in users(8)])["f"]
    assert label.status == "accepted"
    assert label.slots is not None
    assert [(s.name, s.value, s.start, s.end) for s in label.slots] == [("time", "saa moja", 13, 21)]
    assert label.slot_posterior == pytest.approx(1)


def test_slots_of_a_rephrase_are_projected() -> None:
    target = (("time", "Saa moja"),)
    found = labels(
        [rephrase(u, "alarm_set", of=f, slots=target) for u in users(8) for f in "fg"],
        {"f": "weka kengele saa moja", "g": "niamshe asubuhi"},
    )
    assert found["f"].slots is not None
    assert found["f"].slots[0].value == "saa moja"
    assert found["g"].status == "accepted"
    assert found["g"].slots is None


def test_an_intent_without_slots_is_not_an_intent_with_open_slots() -> None:
    label = labels([rephrase(u, "alarm_set") for u in users(8)])["f"]
    assert label.slots == ()


def test_slots_that_users_dispute_stay_open() -> None:
    values = [(("time", "saa moja"),), (("date", "saa moja"),), (("place", "kengele"),)]
    label = labels([rephrase(u, "alarm_set", slots=values[i % 3]) for i, u in enumerate(users(9))])["f"]
    assert label.status == "accepted"
    assert label.slots is None
    assert label.slot_posterior == pytest.approx(1 / 3, abs=1e-6)


def test_slots_come_from_the_votes_for_the_winning_intent_only() -> None:
    votes = [rephrase(u, "alarm_set", slots=TIME) for u in users(9)]
    votes += [rephrase(u, "alarm_query", slots=(("place", "kengele"),)) for u in users(2, 20)]
    label = labels(votes)["f"]
    assert label.slots is not None
    assert [s.name for s in label.slots] == ["time"]


def test_a_label_names_the_pairs_and_sources_behind_it() -> None:
    votes = [rephrase(u, "alarm_set") for u in users(6)] + [own(u, "alarm_set") for u in users(2)]
    label = labels([*votes, rephrase("u9", "alarm_query", pair="other")])["f"]
    assert label.pair_ids == [f"p-u{i}" for i in range(6)]
    by_source = {(source, intent): n for source, intent, n, _ in label.sources}
    assert by_source == {
        ("own", "alarm_set"): 2,
        ("rephrase", "alarm_set"): 6,
        ("rephrase", "alarm_query"): 1,
    }
    assert (label.users, label.own_users) == (6, 7)
