"""What the product does with a model's answer: act, ask back, or say that it did not understand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.predictor import Interpretation, Prediction, Slot
from simulator.catalogue import OUT_OF_SCOPE


@dataclass(frozen=True)
class Reply:
    """One turn as the product logs it, next to what the user said."""

    interpretation: Interpretation | None
    confidence: float | None
    alternatives: tuple[tuple[Interpretation, float], ...]
    response: str
    requested_slot: str | None = None


@dataclass(frozen=True)
class Pending:
    """A request that waits for one slot."""

    interpretation: Interpretation
    confidence: float | None
    requested_slot: str


def respond(prediction: Prediction, required: Sequence[str], reject_below: float, *, execution_fails: bool) -> Reply:
    """Act on a prediction.

    Args:
        prediction: what the model says.
        required: slot types without which the predicted intent cannot be carried out.
        reject_below: confidence under which the product does not act.
        execution_fails: that the action fails, right or wrong.

    Returns:
        `no_match` with no interpretation where the confidence is too low or the intent is out of scope (what
        the model would have said leads the alternatives); `clarification` where a required slot is missing;
        else `completed`, or `failed`.
    """
    best, n_best = prediction.interpretation, prediction.alternatives
    if prediction.confidence < reject_below or best.intent == OUT_OF_SCOPE:
        rejected = ((best, prediction.confidence),) if prediction.confidence > 0 else ()
        return Reply(None, prediction.confidence, (*rejected, *n_best), "no_match")
    filled = {slot.name for slot in best.slots}
    missing = [name for name in required if name not in filled]
    if missing:
        return Reply(best, prediction.confidence, n_best, "clarification", missing[0])
    return Reply(best, prediction.confidence, n_best, "failed" if execution_fails else "completed")


def fill_slot(pending: Pending, answer: str) -> Reply:
    """The answer to a clarification: the whole of it is the requested slot of the pending intent.

    Slots of the pending request were said in an earlier turn and have no offsets here, so the product carries
    them out but logs only what this text spells.
    """
    slot = Slot(pending.requested_slot, answer, 0, len(answer))
    return Reply(Interpretation(pending.interpretation.intent, (slot,)), pending.confidence, (), "completed")


class NoModel:
    """A predictor that understands nothing: a locale before its first model."""

    version = "none"

    def predict(self, utterances: Sequence[str], locale: str) -> list[Prediction]:
        """No understanding, with confidence 0."""
        return [Prediction(Interpretation(OUT_OF_SCOPE), 0.0)] * len(utterances)
