"""Votes become labels: floors, contests, silent failures, slots, and what one user can do."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mining.votes import Evidence, Label, Member, label_cluster
from schemas.settings import LabelSettings

TIME = (("time", "saa moja"),)


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
    evidence: Iterable[Evidence], utterances: dict[str, str] | None = None, **settings: float
) -> dict[str, Label]:
    utterances = utterances or {"f": "weka kengele saa moja"}
    members = [Member(name, text, 1) for name, text in utterances.items()]
    found = label_cluster(members, evidence, LabelSettings(**settings))
    assert [label.formulation_id for label in found] == list(utterances)
    return {label.formulation_id: label for label in found}


@pytest.mark.parametrize("floor", [1, 3, 5])
def test_the_floor_counts_distinct_users(floor: int) -> None:
    for n, status in ((floor - 1, "too_few_users"), (floor, "accepted"), (floor + 1, "accepted")):
        if n == 0:
            continue
        label = labels([rephrase(u, "alarm_set") for u in users(n)], vote_floor=floor, min_posterior=0.3)["f"]
        assert (label.status, label.users, label.intents[0][0]) == (status, n, "alarm_set")
        assert str(floor) in label.why or status == "accepted"


def test_a_label_of_which_nobody_says_anything() -> None:
    label = labels([])["f"]
    assert (label.status, label.intents, label.slots, label.users) == ("contested", [], None, 0)
    assert label.why


def test_users_who_disagree_contest_a_label() -> None:
    divided = [rephrase(u, "alarm_set") for u in users(6)] + [rephrase(u, "alarm_query") for u in users(6, 6)]
    label = labels(divided)["f"]
    assert label.status == "contested"
    assert "alarm_set" in label.why
    assert "alarm_query" in label.why
    agreed = labels([*divided[:6], rephrase("x", "alarm_query")])["f"]
    assert (agreed.status, agreed.intents[0][0]) == ("accepted", "alarm_set")


def test_own_votes_outweigh_those_of_the_mates() -> None:
    mates = [rephrase(u, "alarm_set", of=f"m{i % 20}") for i, u in enumerate(users(200))]
    mine = [rephrase(u, "music_play") for u in users(8, 500)]
    texts = {"f": "play it", **{f"m{i}": "wake me" for i in range(20)}}
    found = labels(mates + mine, texts)
    assert found["f"].intents[0][0] == "music_play"
    assert found["f"].status == "accepted"
    assert found["m0"].intents[0][0] == "alarm_set"


def test_mates_speak_for_a_wording_that_has_no_vote_of_its_own() -> None:
    found = labels([rephrase(u, "alarm_set", of="m") for u in users(8)], {"f": "wake me", "m": "wake me up"})
    assert (found["f"].intents[0][0], found["f"].status, found["f"].own_users) == ("alarm_set", "accepted", 0)
    assert found["f"].slots is None  # the mates' slots are spelt elsewhere


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


@pytest.mark.parametrize("honest", [0, 1, 4])
def test_one_attacker_with_a_thousand_turns_passes_no_floor(honest: int) -> None:
    people = [rephrase(u, "alarm_set") for u in users(honest)]
    attack = [
        maker("evil", intent, 1.0)
        for maker in (own, rephrase)
        for intent in ("alarm_set", "weapon_fire")
        for _ in range(250)
    ]
    label = labels(people + attack)["f"]
    assert label.status != "accepted" if honest < 4 else label.intents[0][0] == "alarm_set"
    assert label.users <= honest + 1
    if honest:
        assert labels(people + attack[250:500] + attack[750:])["f"].users <= honest  # no voice for what they meant


def test_one_attacker_turns_no_accepted_label() -> None:
    people = [rephrase(u, "alarm_set") for u in users(8)]
    attack = [maker("evil", "weapon_fire", 1.0) for maker in (own, rephrase) for _ in range(500)]
    before, after = labels(people)["f"], labels(people + attack)["f"]
    assert (after.status, after.intents[0][0], after.users) == ("accepted", "alarm_set", before.users)


def test_a_user_who_votes_in_two_ways_has_one_vote() -> None:
    once = labels([rephrase(u, "alarm_set", 0.9) for u in users(6)])["f"]
    twice = labels([maker(u, "alarm_set", 0.9, opposition=0.0) if maker is own else maker(u, "alarm_set", 0.9)
                    for u in users(6) for maker in (own, rephrase)])["f"]  # fmt: skip
    assert twice.intents == once.intents


@given(st.integers(0, 30), st.integers(0, 40), st.booleans())
@example(11, 4, True)
def test_what_a_crowd_of_accounts_can_do(honest: int, attackers: int, mates: bool) -> None:
    """The stated rule: a false label needs the floor of accounts, and more of them than the wording's honest voters."""
    people = [rephrase(u, "alarm_set", 0.9) for u in users(honest)]
    crowd = [
        maker(u, "weapon_fire", 1.0, of=f)
        for u in users(attackers, 1000)
        for f in ("fm" if mates else "f")
        for maker in (own, rephrase)
    ]
    texts = {"f": "weka kengele saa moja", "m": "niamshe"}
    label = labels(people + crowd, texts)["f"]
    if label.status == "accepted" and label.intents[0][0] == "weapon_fire":
        assert attackers >= 5
        assert attackers > honest
    # Nor do accounts below the floor suppress what eleven people teach: 9.9 votes against 4, and 2 of mates.
    if attackers < 5 and honest >= 11:
        assert (label.status, label.intents[0][0]) == ("accepted", "alarm_set")


def test_the_few_who_kept_silent_do_not_make_a_rejected_interpretation_true() -> None:
    rejected = [own(u, "music_play", 0.05) for u in users(30)]
    silent = [own(u, "music_play", 0.9) for u in users(6, 30)]
    meant = [rephrase(u, "alarm_set") for u in users(12)]
    label = labels(rejected + silent + meant)["f"]
    assert (label.intents[0][0], label.status) == ("alarm_set", "accepted")
    # Without anybody's rejection the same silent users would carry it.
    assert labels(silent + [rephrase(u, "alarm_set") for u in users(2)])["f"].intents[0][0] == "music_play"


def test_a_rejection_alone_is_no_vote_for_the_interpretation() -> None:
    label = labels([own(u, "music_play", 0.0, opposition=1.0) for u in users(20)])["f"]
    assert label.status != "accepted"
    assert label.own_users == 0


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


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("xyz"), st.floats(0, 1), st.sampled_from("fm")),
        max_size=30,
    )
)
def test_probabilities_are_probabilities(votes: list) -> None:
    for label in labels([own(u, i, s, of=f) for u, i, s, f in votes], {"f": "a", "m": "b"}).values():
        chances = [p for _, p in label.intents]
        assert chances == sorted(chances, reverse=True)
        assert all(0 < p <= 1 for p in chances)
        assert sum(chances) <= 1 + 1e-6
