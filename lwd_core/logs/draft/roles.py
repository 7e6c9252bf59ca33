"""What a topic is for, told by its name, its schema and the words it says."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from lwd_core.logs.draft.look import TopicSample
from lwd_core.logs.draft.shapes import get, members
from lwd_core.logs.fields import text
from lwd_core.logs.images import image, video_format


def _word(words: str) -> re.Pattern[str]:
    """A pattern that finds one of the words as a part of a topic or a path."""
    return re.compile(rf"(^|[/_.])({words})($|[/_.\d])", re.IGNORECASE)


_ACTION = _word(
    "actions?|acts?|cmds?|cmd_vel|commands?|targets?|setpoints?|executed|desired|reference|goals?|control_input|ctrl"
)
_ACTION_SCHEMA = re.compile(
    r"(^|[/.])(JointTrajectory|MultiDOFJointTrajectory|\w*Command|\w*Cmd|AckermannDrive\w*|PositionTarget|"
    r"AttitudeTarget|\w*Setpoint\w*|FollowJointTrajectory\w*Goal|FollowJointTrajectory_SendGoal_Request)$"
)
_LEADER, _FOLLOWER = _word("leader|master|leaders"), _word("follower|puppet|slave|followers")
_PROPOSED = re.compile(r"propos|policy_action|policy/(cmd|command|action)")
_ACTOR = re.compile(r"actor|interven|teleop|control_mode|operator")
_HUMAN = re.compile(r"human|person|teleop|manual|operator|interven|expert|joystick|^true$|^1(\.0)?$")
# messages about the recording or a sensor's make, not about the robot
_NO_STATE = re.compile(
    r"(^|[./])(Log|CameraInfo|CameraCalibration|Parameter\w*|Diagnostic\w*|PointField|TimeReference|Clock|"
    r"PointCloud2?|LaserScan|OccupancyGrid|TF\w*|Path|Marker\w*|ImageAnnotations|SceneUpdate|\w*Metadata)$"
)
_SUCCESS = _word("is_success|success|succeeded|solved|outcome|task_success|episode_success")
_REWARD = _word("rewards?")
_DONE = _word("done|dones|terminals?|terminated|truncated|is_terminal|is_last|is_first")
_EPISODE = _word("recording|is_recording|episode|in_episode|episode_active|rollout|trial|task_active")
_START = re.compile(r"(^|[_ .\-])(start|started|begin|began|reset)($|[_ .\-])", re.IGNORECASE)
_END = re.compile(
    r"(^|[_ .\-])(end|ended|stop|stopped|finish|finished|done|complete|completed)($|[_ .\-])", re.I
)
_WON = re.compile(r"(^|[_ .\-])(success|succeeded|successful|solved)($|[_ .\-])", re.IGNORECASE)
_LOST = re.compile(r"(^|[_ .\-])(failure|failed|fail|unsuccessful|aborted)($|[_ .\-])", re.IGNORECASE)
_OURS = {
    "start": "episode_start",
    "end": "episode_end",
    "success": "success",
    "failure": "failure",
}
_SAYS = ("kind", "event", "type", "name", "data", "state", "status", "actor", "mode", "value")


def no_state(schema: str) -> bool:
    """Whether a schema's messages are about something else than the robot's state or action."""
    return bool(_NO_STATE.search(schema))


def is_verdict(path: str) -> bool:
    """Whether a number so called judges an episode rather than describes the robot."""
    return bool(_SUCCESS.search(path) or _REWARD.search(path) or _DONE.search(path))


def role(topic: str, path: str, schema: str, followers: bool) -> str:
    """``state``, ``action`` or ``proposed``; ``followers``: the log has topics of arms that are led."""
    if _PROPOSED.search(topic.lower()) or _PROPOSED.search(path.lower()):
        return "proposed"
    told = _ACTION.search(topic) or _ACTION.search(path) or _ACTION_SCHEMA.search(schema)
    return "action" if told or (followers and _LEADER.search(topic)) else "state"


def follows(topic: str) -> bool:
    return bool(_FOLLOWER.search(topic))


def camera(seen: TopicSample) -> str | None:
    """Nothing where messages are pictures or a video's frames, else why not.

    Raises `LookupError` where they are not meant to be any.
    """
    said = [m for m in seen.messages if _has(m, "data") and (_has(m, "format") or _has(m, "encoding"))]
    if not said:
        raise LookupError("no pictures")
    fault = "its messages are empty"
    for message in said[:8]:
        if video_format(message):
            return None
        try:
            if image("data")(message):
                return None
        except Exception as e:  # a foreign picture fails in as many ways as there are encodings
            fault = str(e)
    return fault


def words(seen: TopicSample) -> Iterator[tuple[str, Counter[str]]]:
    """Fields that hold a text or a flag, and how often they say what."""
    first = next((m for m in seen.messages if m is not None), None)
    for path, value in members(first):
        if isinstance(value, str | bool) and path not in ("frame_id", "id"):
            yield path, Counter(text(v) for m in seen.messages if (v := get(m, path)) is not None)


def events(topic: str, seen: TopicSample) -> dict[str, Any] | None:
    """An event rule, where a text says where episodes begin and end."""
    for path, said in words(seen):
        ours = any(word in said for word in _OURS.values())
        kinds = path in _SAYS and len(said) <= 32 and not any(w in ("true", "false") for w in said)
        start = [w for w in said if _START.search(w)]
        end = [w for w in said if _END.search(w) and w not in start]
        attributed = any(_has(m, "attributes") for m in seen.messages)
        if not kinds or not (ours or (path == "kind" and attributed) or (start and end)):
            continue
        rule: dict[str, Any] = {"topic": topic}
        if path != "kind":
            rule["kind"] = path
        if not attributed:
            rule["attributes"] = None
        lists = {
            "start": start,
            "end": end,
            "success": [w for w in said if _WON.search(w) and not _LOST.search(w)],
            "failure": [w for w in said if _LOST.search(w)],
        }
        return rule | {k: w for k, w in lists.items() if w and w != [_OURS[k]]}
    return None


def actor(topic: str, seen: TopicSample) -> dict[str, Any] | None:
    """An actor rule, where a text or a flag could say who is in control."""
    if not _ACTOR.search(topic.lower()):
        return None
    found = dict(words(seen))
    for path in ("actor", "data", "mode"):
        if path in found:
            rule: dict[str, Any] = {"topic": topic, "field": path}
            human = sorted(w for w in found[path] if _HUMAN.search(w.lower()))
            if human and not set(human) <= {"human", "true", "1", "1.0"}:
                rule["human"] = human
            rule |= {"operator": "operator"} if "operator" in found else {}
            return rule | ({"policy": "policy_id"} if "policy_id" in found else {})
    return None


def episode_flag(topic: str, seen: TopicSample) -> dict[str, Any] | None:
    """A boundary rule, where a flag is up while an episode runs."""
    for path, said in words(seen):
        told = _EPISODE.search(topic) or _EPISODE.search(path)
        if told and set(said) <= {"true", "false"} and "true" in said:
            return {"boundary": "flag", "topic": topic, "field": path}
    return None


def outcome(
    topic: str, seen: TopicSample, scalars: dict[str, Any]
) -> tuple[dict[str, Any] | None, str | None]:
    """An outcome rule, where a flag, a word or a reward of 0 and 1 tells success; else what to ask."""
    for path, said in words(seen):
        if _SUCCESS.search(topic) or _SUCCESS.search(path):
            if set(said) <= {"true", "false"}:
                return {"topic": topic, "field": path}, None
            won = [w for w in said if _WON.search(w) and not _LOST.search(w)]
            lost = [w for w in said if _LOST.search(w)]
            if won or lost:
                lists = {"success": won or ["success"], "failure": lost or ["failure"]}
                return {"topic": topic, "field": path, **lists}, None
    for path, values in scalars.items():
        column = values[:, 0]
        whole = set(column.tolist()) <= {0.0, 1.0}
        if (_SUCCESS.search(topic) or _SUCCESS.search(path)) and whole:
            return {"topic": topic, "field": path, "success_at": 1.0}, None
        if _REWARD.search(topic) or _REWARD.search(path):
            if whole and 0.0 in column:
                return {"topic": topic, "field": path, "success_at": 1.0}, None
            seen_range = f"{column.min():.4g} … {column.max():.4g}"
            rule = f"outcome: {{topic: {topic}, field: {path}, success_at: …}}"
            return (
                None,
                f"outcome: {topic} is a reward of {seen_range}; from which value on a success? {rule}",
            )
    if _DONE.search(topic):
        return None, f"{topic}: says where an episode ends, but not how it went; not mapped"
    return None, None


def _has(message: Any, name: str) -> bool:
    return any(name == member for member, _ in members(message))
