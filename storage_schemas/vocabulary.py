"""Closed vocabularies. A stored text column that names one of these holds only its values."""

from enum import StrEnum


class Outcome(StrEnum):
    """How an episode ended with respect to its task."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"


class OutcomeFrom(StrEnum):
    """Who said so, strongest first."""

    PERSON = "person"
    ROBOT = "robot"
    LABELLER = "labeller"
    NOBODY = "nobody"


class EpisodeEnd(StrEnum):
    """Whether the episode's last state is a terminal state of the task.

    ``TERMINATED`` drops the value bootstrap; ``TRUNCATED`` (a cut log, a time-out of a
    recording) keeps it.
    """

    TERMINATED = "terminated"
    TRUNCATED = "truncated"


class Actor(StrEnum):
    """Who chose the executed action of a step."""

    POLICY = "policy"
    HUMAN = "human"


class Source(StrEnum):
    """Why an episode was recorded."""

    DEMONSTRATION = "demonstration"
    ROLLOUT = "rollout"
    PLAY = "play"
    ONLINE = "online"


class LogState(StrEnum):
    """What became of a raw log. Received = the sum over these, in files and in bytes.

    ``SUPERSEDED``: other bytes came to its address since.
    """

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    SALVAGED = "salvaged"
    QUARANTINED = "quarantined"
    SUPERSEDED = "superseded"


class SegmentKind(StrEnum):
    """A maximal span of steps with one actor.

    ``DEMONSTRATION``: a person drove all of it, in an episode recorded to show how; nobody stepped in.
    """

    AUTONOMOUS = "autonomous"
    INTERVENTION = "intervention"
    DEMONSTRATION = "demonstration"


class InterventionReason(StrEnum):
    """Why a person took over."""

    NO_PROGRESS = "no_progress"
    TIME_RUNNING_OUT = "time_running_out"
    OVERDUE = "overdue"
    UNSAFE = "unsafe"
    OPERATOR = "operator"
    DEMONSTRATION = "demonstration"
    UNSTATED = "unstated"


class LabelKind(StrEnum):
    """What a label layer says. ``ANNOTATION``: whatever its author means by it."""

    REWARD = "reward"
    OUTCOME = "outcome"
    PROGRESS = "progress"
    PHASE = "phase"
    QUALITY = "quality"
    ANNOTATION = "annotation"


class Verdict(StrEnum):
    """A quality check's answer."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Stage(StrEnum):
    """A training stage."""

    SFT = "sft"
    OFFLINE = "offline"
    ONLINE = "online"


class Channel(StrEnum):
    """Where robots look for their policy."""

    CANARY = "canary"
    PRODUCTION = "production"


class ReleaseState(StrEnum):
    """The life of a release."""

    CANDIDATE = "candidate"
    CANARY = "canary"
    PRODUCTION = "production"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"


class SnapshotState(StrEnum):
    """Whether a snapshot may still be trained on."""

    VALID = "valid"
    WITHDRAWN = "withdrawn"


class Split(StrEnum):
    """Which part of a snapshot an episode belongs to."""

    TRAIN = "train"
    HOLDOUT = "holdout"


class Words(StrEnum):
    """How a task is said.

    ``USUAL``: the canonical way; ``TRAIN``: any of the ways that people use while robots learn; ``UNSEEN``:
    ways kept for evaluation; ``WRONG``: usual words for something else than the scene asks, to see whether a
    policy listens.
    """

    USUAL = "usual"
    TRAIN = "train"
    UNSEEN = "unseen"
    WRONG = "wrong"
