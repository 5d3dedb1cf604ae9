"""How simulated users behave: every parameter with its unit, bounds and source.

The defaults were set before any miner was tuned, and are not to be tuned for one. Where no published number
fits, the description says "assumed", and names who describes the phenomenon.

References:
    Baeza-Yates et al. 2007, The impact of caching on search engines, SIGIR.
    Bastianelli et al. 2020, SLURP: a spoken language understanding resource package, EMNLP.
    Hassan et al. 2014, Struggling or exploring? Disambiguating long search sessions, WSDM.
    Jiang, Jeng & He 2013, How do users respond to voice input errors?, SIGIR.
    Jones & Klinkner 2008, Beyond the session timeout, CIKM.
    Kiseleva et al. 2016, Understanding user satisfaction with intelligent assistants, CHIIR.
    Lau, Zimmerman & Schaub 2018, Alexa, are you listening? (smart speakers shared in a household), CSCW.
    Larson et al. 2019, An evaluation dataset for intent classification and out-of-scope prediction, EMNLP.
    Oviatt, MacEachern & Levow 1998, Predicting hyperarticulate speech during error resolution, Speech Communication.
    Park et al. 2021, A scalable framework for learning from implicit user feedback, EMNLP.
    Teevan et al. 2007, Information re-retrieval: repeat queries in Yahoo's logs, SIGIR.
    Ponnusamy et al. 2020, Feedback-based self-learning in large-scale conversational AI agents, AAAI.
    Zipf 1949, Human behavior and the principle of least effort.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.errors import InputError

Share = Annotated[float, Field(ge=0, le=1)]
Exponent = Annotated[float, Field(ge=0, le=3)]
Rate = Annotated[float, Field(ge=0)]


class Gap(BaseModel):
    """A lognormal waiting time: median in seconds, and sigma of its natural logarithm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    median: Annotated[float, Field(gt=0, le=86_400 * 7)]
    sigma: Annotated[float, Field(ge=0, le=3)]


class EditMix(BaseModel):
    """What recogniser noise does to an utterance, as relative weights; script-agnostic.

    Learnt from real recogniser output beside its transcripts (SLURP's, 13,071 utterances; none of its words are kept):
    `python -m benchmarks.recogniser_rates PATH/asr_pairs.jsonl.gz` prints them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    substitute: Rate = Field(default=0.332, description="Letters exchanged.")
    delete: Rate = Field(default=0.312, description="Letters lost.")
    insert: Rate = Field(default=0.174, description="Letters added.")
    drop_word: Rate = Field(default=0.120, description="Words lost.")
    add_word: Rate = Field(default=0.062, description="Words added.")
    burst: Share = Field(
        default=0.732, description="Letter edits in the word of the last one: 3.7 edits a misheard word on average."
    )

    @model_validator(mode="after")
    def _some(self) -> EditMix:
        if self.substitute + self.delete + self.insert + self.drop_word + self.add_word <= 0:
            raise ValueError("all edits weigh nothing: give at least one a weight")
        return self


class Attack(BaseModel):
    """Ids that say the same again and again, to make the miner believe something false of it.

    `pair`: a popular wording and then one of another intent, as if that had been meant. `alike`: the same, with the
    wording of another intent that has most words in common with the first, so that it looks like a rephrase. `vouch`: a
    popular wording, praised whatever it was answered with. `denounce`: a popular wording, twice, blamed both times.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attackers: Annotated[int, Field(ge=0, le=1_000)] = Field(
        default=0, description="Attackers, each with texts of their own."
    )
    ids: Annotated[int, Field(ge=1, le=10_000)] = Field(default=1, description="Ids that each attacker uses.")
    repetitions: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=500, description="Times that each id says its texts in a round."
    )
    kind: Literal["pair", "alike", "vouch", "denounce"] = Field(default="pair", description="What is pushed, and how.")
    cover: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=0, description="Other wishes that each id says once, as a person would, so as to be taken for one."
    )


class Population(BaseModel):
    """Users of one round. Shares and probabilities are in [0, 1]; times in seconds unless said otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    users: int = Field(default=500, ge=1, le=1_000_000, description="Distinct users.")
    tasks_per_user: float = Field(
        default=10.0, ge=1, le=10_000, description="Mean tasks of a user in a round: 1 + Poisson(mean - 1)."
    )
    days: float = Field(default=7.0, gt=0, le=3_650, description="Days that a round spans.")
    new_session: Share = Field(default=0.5, description="Tasks that open a new session. Assumed: two a session.")

    goal_exponent: Exponent = Field(
        default=1.0, description="Zipf exponent of signatures. Queries follow a power law (Baeza-Yates 2007)."
    )
    value_exponent: Exponent = Field(default=1.0, description="Zipf exponent of slot values (ibid.).")
    wording_exponent: Exponent = Field(
        default=1.0,
        description="Zipf exponent of a signature's wordings, the same for all users (Zipf 1949).",
    )
    habit: Share = Field(
        default=0.4,
        description="First wordings that are the user's own habit for what they want, the same in every round "
        "(Teevan 2007: a third to 40% of queries are the same person's again).",
    )
    drift: Rate = Field(
        default=0.1,
        description="How far the log-popularity of a wording walks in a week, as a standard deviation. Assumed.",
    )
    shared_device: Share = Field(
        default=0.1,
        description="Ids behind which two people speak. Speakers stand in shared rooms (Lau 2018); the number is "
        "assumed.",
    )
    shared_overlap: Share = Field(
        default=0.3, description="Sessions of the second person that fall into one of the first's. Assumed."
    )
    out_of_scope: Share = Field(default=0.05, description="Tasks that no intent serves (Larson 2019). Assumed.")

    silent_failure: Share = Field(
        default=0.07,
        description="Wrong actions not noticed, or let pass: 0.05 to 0.1. Satisfaction is not "
        "the absence of reformulation (Kiseleva 2016); the number is assumed.",
    )
    give_up: Share = Field(default=0.2, description="Giving up after a noticed failure. Assumed.")
    max_tries: int = Field(default=6, ge=1, le=50, description="Tries of one goal at most. Assumed.")
    repeat: Share = Field(
        default=0.3,
        description="Retries that say the same words again. Users do both after recognition errors "
        "(Jiang 2013: phonetic and lexical reformulation); the number is assumed.",
    )
    near_rephrase: Share = Field(
        default=0.5,
        description="Rephrases that keep what they can of the last one's words (Jiang 2013: terms added, "
        "substituted, removed, reordered); the others take any popular wording. The number is assumed.",
    )
    change_after_failure: Share = Field(
        default=0.05, description="Asking for another value after a noticed failure: a new request. Assumed."
    )
    change_after_success: Share = Field(
        default=0.05, description="Asking for another value after success ('seven', 'eight'). Assumed."
    )
    opposite_after_success: Share = Field(
        default=0.02, description="Asking for the opposite ('on', 'off') after success: a new request. Assumed."
    )
    explore: Share = Field(
        default=0.05,
        description="Retries that ask for something broader or narrower instead: a slot added or dropped, another "
        "goal. Long search sessions explore as often as they struggle (Hassan 2014); of spoken commands, assumed.",
    )
    hyperarticulate: Share = Field(
        default=0.25,
        description="Repetitions spoken slowly and apart, which recognisers understand less well (Oviatt 1998: users "
        "turn to it after errors); the number is assumed.",
    )
    late_complaint: Share = Field(
        default=0.08,
        description="Noticed wrong actions that are only taken up again after `late_gap`. Assumed.",
    )
    interleave: Share = Field(
        default=0.17, description="Unfinished tasks interleaved with another (Jones & Klinkner 2008: 17%)."
    )
    nest: Share = Field(
        default=0.2,
        description="Unfinished tasks put aside until another is over (Jones & Klinkner 2008: 20% are nested).",
    )
    answer: Share = Field(
        default=0.85,
        description="Questions for a missing slot that are answered. Assumed.",
    )
    cancel: Share = Field(
        default=0.1, description="Noticed wrong actions that are called off in words before a retry. Assumed."
    )

    # Explicit feedback is rare: hence the mining of implicit feedback (Park 2021). Numbers are assumed.
    thumbs_down_dissatisfied: Share = Field(default=0.03, description="Of turns whose failure was noticed.")
    thumbs_up_dissatisfied: Share = Field(default=0.001, description="Of the same: slips.")
    barge_in_dissatisfied: Share = Field(default=0.2, description="Of the same, where something was going on.")
    stop_dissatisfied: Share = Field(default=0.1, description="Of the same, where something was going on.")
    thumbs_down_satisfied: Share = Field(default=0.001, description="Of all other turns: slips.")
    thumbs_up_satisfied: Share = Field(default=0.02, description="Of all other turns.")
    barge_in_satisfied: Share = Field(default=0.03, description="Of all other turns: the rest was not needed.")
    stop_satisfied: Share = Field(default=0.02, description="Of all other turns: it had served its purpose.")

    noise: Share = Field(
        default=0.15,
        description="Utterances with a recogniser error: a word error rate of 5%. Assumed; far-field recordings have "
        "0.51 and 18% (SLURP's, as `EditMix`).",
    )
    hyperarticulate_noise: Share = Field(
        default=0.3, description="The same for hyper-articulated ones: twice as often. Assumed (Oviatt 1998)."
    )
    edits: int = Field(
        default=10, ge=1, le=20, description="Edits of a noised utterance: 1 to this, uniformly (SLURP's mean: 5.8)."
    )
    edit_mix: EditMix = Field(default=EditMix(), description="What the edits are.")

    reject_below: Share = Field(default=0.3, description="Confidence below which the assistant does not act.")
    execution_failure: Share = Field(default=0.02, description="Actions that fail, right or wrong. Assumed.")

    # Ponnusamy 2020 mines reformulations within seconds of each other; medians and sigmas are assumed.
    repeat_gap: Gap = Field(default=Gap(median=6.0, sigma=0.5), description="Before the same words again.")
    rephrase_gap: Gap = Field(default=Gap(median=9.0, sigma=0.6), description="Before other words.")
    answer_gap: Gap = Field(default=Gap(median=4.0, sigma=0.4), description="Before an answer or a 'never mind'.")
    task_gap: Gap = Field(default=Gap(median=40.0, sigma=1.0), description="Before another task of the session.")
    late_gap: Gap = Field(default=Gap(median=75.0, sigma=0.5), description="Before a late complaint.")
    session_gap: Gap = Field(
        default=Gap(median=2_400.0, sigma=0.8),
        description="Least pause before a session: well over 5 minutes.",
    )

    attack: Attack = Field(default=Attack(), description="Bots and abusers beside the users.")


POPULATIONS: dict[str, Population] = {
    # A locale launched last week: the numbers above.
    "launch": Population(),
    # Patient, careful users in quiet rooms: an easy case to tell a broken miner from a hard population.
    "calm": Population(
        out_of_scope=0.01,
        silent_failure=0.02,
        give_up=0.08,
        repeat=0.1,
        near_rephrase=0.7,
        interleave=0.05,
        nest=0.05,
        shared_device=0.02,
        late_complaint=0.02,
        explore=0.01,
        change_after_failure=0.01,
        change_after_success=0.02,
        noise=0.03,
        execution_failure=0.005,
        barge_in_satisfied=0.01,
        stop_satisfied=0.005,
    ),
    # The other end: loud rooms, short tempers, much that nobody complains about.
    "hurried": Population(
        out_of_scope=0.1,
        silent_failure=0.1,
        give_up=0.35,
        repeat=0.45,
        near_rephrase=0.35,
        interleave=0.25,
        change_after_failure=0.1,
        noise=0.3,
        execution_failure=0.04,
        late_complaint=0.15,
        explore=0.1,
    ),
    # Everything at once: a recogniser as bad as with far-field microphones, rooms full of people, users who change
    # their minds, and three abusers with ten ids each.
    "hostile": Population(
        out_of_scope=0.12,
        silent_failure=0.15,
        give_up=0.3,
        repeat=0.4,
        near_rephrase=0.35,
        interleave=0.25,
        nest=0.25,
        change_after_failure=0.12,
        change_after_success=0.12,
        opposite_after_success=0.08,
        explore=0.15,
        late_complaint=0.15,
        shared_device=0.3,
        noise=0.5,
        hyperarticulate_noise=0.7,
        execution_failure=0.05,
        drift=0.3,
        attack=Attack(attackers=3, ids=10, repetitions=200),
    ),
}


def population(name: str = "launch") -> Population:
    """A named population.

    Raises:
        InputError: no such name; lists those there are.
    """
    if name not in POPULATIONS:
        raise InputError(f"no population {name!r}; there are {', '.join(POPULATIONS)}")
    return POPULATIONS[name]
