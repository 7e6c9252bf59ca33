"""Drafting an embodiment from a set of rows: columns by their names, which say what they are."""

import re

from lwd_core.logs.draft import Draft, DraftDim, DraftFeature, clean, unique
from lwd_core.logs.rows import SUCCESS_COLUMN
from lwd_core.logs.survey import Survey

_WIDEST = 512
_STATE_COLUMN = re.compile(r"^(observations?$|observation\.|obs/|states?$)")
_ACTION_COLUMNS = ("action", "actions")
_PROPOSED_COLUMNS = ("proposed_action", "complementary_info.policy_action", "policy_action")


def fill(draft: Draft, survey: Survey) -> None:
    topics = {k: t for k, t in survey.topics.items() if t.width or t.encoding == "mp4" or t.schema == "image"}
    for name, topic in topics.items():
        width = topic.width or 0
        short = clean(name.rsplit("/", 1)[-1].rsplit(".", 1)[-1])
        if topic.schema == "image" or topic.encoding == "mp4":
            if topic.schema == "image":
                draft.cameras.append((short, name, "data"))
            else:
                draft.open.append(f"cameras: [{{name: {short}, topic: {name}}}] decodes its videos to JPEG")
            continue
        labels = topic.names if len(topic.names) == width else tuple(f"{short}_{i}" for i in range(width))
        feature = DraftFeature(name, tuple(DraftDim(n) for n in unique(labels)))
        if name in _ACTION_COLUMNS:
            draft.action.append(feature)
        elif name in _PROPOSED_COLUMNS:
            draft.proposed.append(feature)
        elif _STATE_COLUMN.match(name) and 0 < width <= _WIDEST and not name.endswith("capture_time_ns"):
            draft.state.append(feature)
    for name, topic in survey.topics.items():
        if topic.schema.startswith("struct<bytes"):
            draft.cameras.append((clean(name.rsplit(".", 1)[-1]), name, "data"))
    if SUCCESS_COLUMN not in survey.topics:
        draft.open.append("outcome: the set says nothing of success; name a column (a reward) or a default")
    fps = survey.facts.get("fps")
    draft.control_hz = float(fps) if fps else 20.0
    if not fps:
        draft.open.append("control_hz: the set does not say its rate; 20 is a guess")
    draft.source = "play" if survey.facts.get("layout") == "ogbench" else "demonstration"
    if len(draft.state) > 1:
        draft.state = [_prefixed(f) for f in draft.state]


def _prefixed(feature: DraftFeature) -> DraftFeature:
    short = clean(re.split(r"[./]", feature.topic)[-1])
    dims = tuple(
        d if d.name.startswith(short) else DraftDim(f"{short}_{d.name}", d.field, d.key, d.seen)
        for d in feature.dims
    )
    return DraftFeature(feature.topic, dims, feature.field, feature.names_field, feature.hz)
