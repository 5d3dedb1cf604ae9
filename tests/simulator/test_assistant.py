"""What the product does with a prediction."""

from __future__ import annotations

from schemas.predictor import Interpretation, Prediction, Slot
from simulator.assistant import NoModel, Pending, fill_slot, respond
from simulator.catalogue import Goal
from simulator.reaction import meets

SET = Interpretation("alarm_set", (Slot("date", "mañana", 20, 26),))
FULL = Interpretation("alarm_set", (Slot("time", "las siete", 15, 24),))


def test_respond() -> None:
    low = respond(Prediction(FULL, 0.2, ((SET, 0.1),)), ("time",), 0.3, execution_fails=False)
    assert (low.interpretation, low.response) == (None, "no_match")
    assert low.alternatives == ((FULL, 0.2), (SET, 0.1))
    unserved = respond(Prediction(Interpretation("out_of_scope"), 0.9), (), 0.3, execution_fails=False)
    assert (unserved.interpretation, unserved.response) == (None, "no_match")
    asks = respond(Prediction(SET, 0.9), ("time",), 0.3, execution_fails=True)
    assert (asks.response, asks.requested_slot) == ("clarification", "time")
    assert respond(Prediction(FULL, 0.9), ("time",), 0.3, execution_fails=False).response == "completed"
    assert respond(Prediction(FULL, 0.9), ("time",), 0.3, execution_fails=True).response == "failed"


def test_slot_filling() -> None:
    pending = Pending(SET, 0.9, "time")
    reply = fill_slot(pending, "las ocho")
    assert reply.interpretation == Interpretation("alarm_set", (Slot("time", "las ocho", 0, 8),))
    assert meets(Goal("alarm_set", (("date", "Mañana"), ("time", "las ocho"))), reply, pending)
    assert not meets(Goal("alarm_set", (("date", "hoy"), ("time", "las ocho"))), reply, pending)
    assert meets(Goal("alarm_set", (("date", "mañana"),)), reply, pending)  # the wish left the time open


def test_meeting_a_goal() -> None:
    reply = respond(Prediction(FULL, 0.9), ("time",), 0.3, execution_fails=False)
    assert meets(Goal("alarm_set", (("time", "Las  Siete"),)), reply)
    assert not meets(Goal("alarm_set", (("time", "las ocho"),)), reply)
    assert not meets(Goal("alarm_set", (("date", "hoy"), ("time", "las siete"))), reply)
    assert not meets(Goal("alarm_cancel", (("time", "las siete"),)), reply)
    assert not meets(None, reply)
    failed = respond(Prediction(FULL, 0.9), ("time",), 0.3, execution_fails=True)
    assert not meets(Goal("alarm_set", (("time", "las siete"),)), failed)


def test_no_model() -> None:
    answers = NoModel().predict(["a", "b"], "es-ES")
    assert [a.confidence for a in answers] == [0.0, 0.0]
    reply = respond(answers[0], (), 0.0, execution_fails=False)
    assert (reply.response, reply.interpretation, reply.alternatives) == ("no_match", None, ())
