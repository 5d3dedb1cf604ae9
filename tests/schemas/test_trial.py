from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.trial import on_trial

USERS = [f"user-{i}" for i in range(20_000)]


def test_a_share_of_users_is_on_trial() -> None:
    chosen = [on_trial("sayagain-sw-KE/3", user, 0.25) for user in USERS]
    assert abs(sum(chosen) / len(USERS) - 0.25) < 0.01
    again = [on_trial("sayagain-sw-KE/4", user, 0.25) for user in USERS]
    both = sum(one and other for one, other in zip(chosen, again, strict=True)) / len(USERS)
    assert abs(both - 0.25**2) < 0.01  # another version draws other users


@given(st.text(max_size=20), st.text(max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_raising_the_share_keeps_who_is_on_trial(version: str, user: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert on_trial(version, user, high) or not on_trial(version, user, low)
    assert on_trial(version, user, 1.0)
    assert not on_trial(version, user, 0.0)
