"""One turn of a simulated round."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.predictor import Slot
from simulator.assistant import Reply


@dataclass(frozen=True)
class Turn:
    """What the product logs of a turn, and the truth about it."""

    interaction_id: str
    user_id: str
    seconds: float  # since the start of the round
    utterance: str
    asr_confidence: float
    reply: Reply
    model_version: str | None
    feedback: tuple[str, ...]
    channel: str
    task_id: str
    goal_id: str | None
    act: str
    rewords: str | None
    gold_intent: str | None
    gold_slots: tuple[Slot, ...]
    clean_utterance: str
    satisfied: bool
    perceived: bool
    person: str = ""  # who spoke: two people may share a user id
    change: str | None = None  # of a changed request: value, opposite, or explore
    hyperarticulated: bool = False
    attack: bool = False
