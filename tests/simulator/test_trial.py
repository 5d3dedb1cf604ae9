from __future__ import annotations

import pytest

from schemas.predictor import Predictor
from schemas.trial import on_trial
from simulator.assistant import NoModel
from simulator.dialogue import Trial, converse
from simulator.phrasebook import Phrasebook
from simulator.population import Attack, Population


@pytest.mark.parametrize("attack", [Attack(), Attack(kind="vouch", attackers=2, ids=3, repetitions=5)])
def test_a_challenger_serves_its_share_and_nobody_else_notices(
    phrasebook: Phrasebook, crowd: Population, oracle: Predictor, attack: Attack
) -> None:
    crowd = crowd.model_copy(update={"attack": attack})

    def turns(trial: Trial | None) -> dict[str, list[tuple[object, ...]]]:
        of_user: dict[str, list[tuple[object, ...]]] = {}
        for t in converse(phrasebook, oracle, crowd, seed=1, round=0, name="x", trial=trial).turns:
            of_user.setdefault(t.user_id, []).append(
                (t.interaction_id, t.seconds, t.utterance, t.reply, t.model_version)
            )
        return of_user

    challenger = NoModel()
    alone, beside = turns(None), turns(Trial(challenger, 0.3))
    tried = {user for user in alone if on_trial(challenger.version, user, 0.3)}
    assert 0 < len(tried) < len(alone)
    assert beside.keys() == alone.keys()
    for user, said in beside.items():
        versions = {t[4] for t in said} - {None}
        assert versions <= ({challenger.version} if user in tried else {oracle.version})
        if user in tried:
            assert said[0][2] == alone[user][0][2]  # the same wish in the same words
            assert all(t[3].response != "completed" for t in said if t[4])  # type: ignore[attr-defined]
        else:
            assert said == alone[user]
