"""Every table of the lake. The columns several tables share are described once, on top."""

import pyarrow as pa

from storage_schemas import vocabulary as words
from storage_schemas.columns import Column, Table

STRING, BOOL = pa.string(), pa.bool_()
I32, I64, F32, F64 = pa.int32(), pa.int64(), pa.float32(), pa.float64()
VECTOR = pa.list_(F32)

FRAME = pa.struct(
    [
        pa.field("camera", STRING, nullable=False),
        pa.field("shard", STRING, nullable=False),
        pa.field("offset", I64, nullable=False),
        pa.field("size", I64, nullable=False),
        pa.field("t_ns", I64, nullable=False),
    ]
)

SITE = Column("site", STRING, "Depot, store or lab of the robots; from the landing path.")
DAY = Column("day", STRING, "UTC day of the recording, YYYY-MM-DD.")
ROBOT = Column("robot_id", STRING, "The robot that recorded it.")
LOG = Column("log_id", STRING, "SHA-256 of the raw log's bytes, hex; an opaque hash.")
EPISODE = Column("episode_id", STRING, "Opaque hash of the raw log and the episode's place in it.")
POLICY = Column("policy_id", STRING, "The policy that proposed the actions; null if none did.", nullable=True)
TASK = Column("task", STRING, "Short name of the task.")
READING = Column(
    "reading",
    STRING,
    "Which reading of the log made the row; rows of another than their episode's don't count.",
    nullable=True,
)
DIGEST_OF_EMBODIMENT = Column(
    "embodiment_digest",
    STRING,
    "SHA-256 of what the embodiment file meant then; its meaning lies in the lake's folder embodiments.",
    nullable=True,
)
CREATED = Column("created_ns", I64, "When the row was made, by the platform's clock.", unit="ns since epoch")

LOGS = Table(
    name="logs",
    version=1,
    meaning="Every raw log received, whatever became of it.",
    columns=(
        LOG,
        Column(
            "uri",
            STRING,
            "Where the log was received: its path within the landing zone, else its full address.",
        ),
        SITE,
        DAY,
        ROBOT,
        Column(
            "format",
            STRING,
            "Reader that took it: mcap, rosbag1, rosbag2, lerobot, npz, hdf5; unknown if none did.",
        ),
        Column("bytes", I64, "Size of the raw log.", unit="bytes"),
        Column(
            "state",
            STRING,
            "accepted, duplicate, salvaged, quarantined or superseded.",
            words=words.LogState,
        ),
        Column("reason", STRING, "Why it is not simply accepted.", nullable=True),
        Column("messages", I64, "Messages read from it."),
        Column(
            "messages_lost", I64, "Messages known to be lost; null when it can't be known.", nullable=True
        ),
        Column("episodes", I32, "Episodes it gave."),
        Column("embodiment", STRING, "Embodiment its topics were mapped with.", nullable=True),
        CREATED,
        DIGEST_OF_EMBODIMENT,
        Column("superseded_by", STRING, "Log that came to the same address since.", nullable=True),
    ),
    key=("log_id", "uri"),
    partition=("day", "site"),
    sort=("robot_id", "uri"),
)

EPISODES = Table(
    name="episodes",
    version=1,
    meaning="One attempt at one task by one robot. An episode exists for readers once its row is here.",
    columns=(
        EPISODE,
        LOG,
        Column("index_in_log", I32, "Place of the episode in its log, from 0."),
        SITE,
        DAY,
        ROBOT,
        Column("embodiment", STRING, "Robot type: name of its embodiment file."),
        TASK,
        Column("instruction", STRING, "What the robot was told, in natural language."),
        POLICY,
        Column("source", STRING, "demonstration, rollout, play or online.", words=words.Source),
        Column("outcome", STRING, "success, failure or unknown.", words=words.Outcome),
        Column("outcome_from", STRING, "person, robot, labeller or nobody.", words=words.OutcomeFrom),
        Column("end", STRING, "terminated or truncated.", words=words.EpisodeEnd),
        Column("steps", I32, "Control ticks.", unit="steps"),
        Column("human_steps", I32, "Steps whose executed action was a person's.", unit="steps"),
        Column("interventions", I32, "Intervention segments; a demonstration is none."),
        Column("start_ns", I64, "First step.", unit="ns since epoch"),
        Column("end_ns", I64, "Last step.", unit="ns since epoch"),
        Column("control_hz", F64, "Control rate the steps were aligned to.", unit="Hz"),
        Column("first_message", I64, "First message of the episode, counted in the log from 0."),
        Column("last_message", I64, "Last message of the episode, inclusive."),
        Column("attributes", STRING, "Everything else the log said of the episode, a JSON object of texts."),
        CREATED,
        DIGEST_OF_EMBODIMENT,
        Column("reader_version", STRING, "The reader and its version: mcap@0.1.0.", nullable=True),
        READING,
        Column(
            "content",
            STRING,
            "Digest of task, states and actions: the same for one recording, whichever way it came.",
            nullable=True,
        ),
    ),
    key=("episode_id",),
    partition=("day", "site"),
    sort=("robot_id", "start_ns"),
)

STEPS = Table(
    name="steps",
    version=1,
    meaning="Control ticks of episodes; read through episodes.",
    columns=(
        EPISODE,
        LOG,
        SITE,
        DAY,
        Column("step", I32, "Tick within the episode, from 0."),
        Column("t_ns", I64, "Time of the tick by the recorder's clock.", unit="ns since epoch"),
        Column("state", VECTOR, "Observation vector in the embodiment's order.", unit="per embodiment"),
        Column("action", VECTOR, "Executed action.", unit="per embodiment"),
        Column(
            "proposed",
            VECTOR,
            "Action the policy proposed; null where none did.",
            unit="per embodiment",
            nullable=True,
        ),
        Column("actor", STRING, "Who chose the executed action: policy or human.", words=words.Actor),
        Column("valid", BOOL, "False where a feature was missing or older than its stated staleness."),
        Column(
            "gap", BOOL, "True where time between this tick and the one before is not one control period."
        ),
        Column("state_age_ns", I64, "Age of the oldest part of the state.", unit="ns", nullable=True),
        Column(
            "action_age_ns",
            I64,
            "Distance of the furthest part of the action from the tick, before or after.",
            unit="ns",
            nullable=True,
        ),
        Column(
            "publish_ns", I64, "Publisher's time of the state message.", unit="ns since epoch", nullable=True
        ),
        Column(
            "header_ns",
            I64,
            "Sensor's own time stamp of the state message.",
            unit="ns since epoch",
            nullable=True,
        ),
        Column(
            "frames",
            pa.list_(FRAME),
            "Camera frames shown at this tick: where their bytes lie.",
            nullable=True,
        ),
        READING,
    ),
    key=("episode_id", "step"),
    partition=("day", "site"),
    sort=("episode_id", "step"),
)

SEGMENTS = Table(
    name="segments",
    version=1,
    meaning="Maximal spans of steps with one actor.",
    columns=(
        EPISODE,
        LOG,
        SITE,
        DAY,
        Column("segment", I32, "Place within the episode, from 0."),
        Column("kind", STRING, "autonomous, intervention or demonstration.", words=words.SegmentKind),
        Column("first_step", I32, "First step."),
        Column("last_step", I32, "Last step, inclusive."),
        Column("start_ns", I64, "Time of the first step.", unit="ns since epoch"),
        Column("end_ns", I64, "Time of the last step.", unit="ns since epoch"),
        Column("actor", STRING, "policy or human.", words=words.Actor),
        Column("who", STRING, "Operator, or policy id.", nullable=True),
        Column("reason", STRING, "Why a person took over.", nullable=True, words=words.InterventionReason),
        READING,
    ),
    key=("episode_id", "segment"),
    partition=("day", "site"),
    sort=("episode_id", "segment"),
)

#: Layers of what people say are named so: person.NAME.outcome@1.
PERSON = "person."

LABELS = Table(
    name="labels",
    version=1,
    meaning="Label layers: outputs of labeller runs; added, never edited.",
    columns=(
        Column("layer_id", STRING, "Labeller and version, as in reward.sparse@1; what a snapshot names."),
        Column(
            "kind",
            STRING,
            "reward, outcome, progress, phase, quality or annotation.",
            words=words.LabelKind,
        ),
        EPISODE,
        LOG,
        SITE,
        DAY,
        Column("step", I32, "Step it speaks of; null: the whole episode.", nullable=True),
        Column(
            "check", STRING, "Quality check, or which of several things is told; else null.", nullable=True
        ),
        Column("value", F64, "Number it gives.", nullable=True),
        Column(
            "text",
            STRING,
            "Word it gives: an outcome, a verdict, what a segment is.",
            nullable=True,
            words_by=("kind", {"outcome": words.Outcome, "quality": words.Verdict}),
        ),
        Column("detail", STRING, "What was seen, for a person.", nullable=True),
        CREATED,
        Column(
            "last_step",
            I32,
            "Last step of a segment that begins at step, inclusive; else null.",
            nullable=True,
        ),
        Column(
            "source_digest",
            STRING,
            "Digest of the source of the function that said it; null where none did.",
            nullable=True,
        ),
        Column(
            "said_by", STRING, "The person who said it; null where a robot or a model did.", nullable=True
        ),
        Column(
            "replaced_ns",
            I64,
            "When the same person said otherwise or took it back; null: it counts.",
            unit="ns since epoch",
            nullable=True,
        ),
        Column(
            "start_ns",
            I64,
            "Begin of the time a person speaks of; null: the whole episode.",
            unit="ns since epoch",
            nullable=True,
        ),
        Column(
            "end_ns",
            I64,
            "End of the time a person speaks of; null: the whole episode.",
            unit="ns since epoch",
            nullable=True,
        ),
    ),
    key=("layer_id", "episode_id", "step", "check", "text", "created_ns"),
    partition=("day", "site"),
    sort=("layer_id", "episode_id"),
)

SNAPSHOTS = Table(
    name="snapshots",
    version=1,
    meaning="Frozen training sets.",
    columns=(
        Column("digest", STRING, "Digest over everything in the snapshot; its name."),
        Column("name", STRING, "What the spec calls it."),
        Column("uri", STRING, "Folder of manifest and shards, within the place of snapshots."),
        Column("state", STRING, "valid or withdrawn.", words=words.SnapshotState),
        Column("successor", STRING, "Digest that replaces a withdrawn one.", nullable=True),
        Column("spec", STRING, "The spec, canonical JSON."),
        Column("versions", STRING, "Table versions it was read at, a JSON object."),
        Column("episodes", I64, "Episodes."),
        Column("steps", I64, "Steps.", unit="steps"),
        Column("bytes", I64, "Bytes of all shards.", unit="bytes"),
        CREATED,
    ),
    key=("digest",),
    sort=("created_ns",),
)

SNAPSHOT_MEMBERS = Table(
    name="snapshot_members",
    version=1,
    meaning="Which episode stands in which snapshot, and where.",
    columns=(
        Column("digest", STRING, "The snapshot."),
        EPISODE,
        LOG,
        Column("split", STRING, "train or holdout.", words=words.Split),
        Column("shard", STRING, "Shard file of the episode."),
        Column("index_in_shard", I32, "Place in the shard, from 0."),
    ),
    key=("digest", "episode_id"),
    sort=("digest", "episode_id"),
)

POLICIES = Table(
    name="policies",
    version=1,
    meaning="Deployable bundles and where they came from.",
    columns=(
        Column("policy_id", STRING, "Digest of the bundle."),
        Column(
            "uri",
            STRING,
            "Folder of the bundle below the policies root; older rows: a full address, not followed.",
        ),
        Column("stage", STRING, "sft, offline or online.", words=words.Stage),
        Column("parent", STRING, "Policy its training started from.", nullable=True),
        Column("checkpoint", STRING, "Digest of the trainer state it was taken from."),
        Column("train_step", I64, "Update it was taken at.", unit="updates"),
        Column("snapshots", pa.list_(STRING), "Digests of the snapshots it was trained on."),
        Column("config", STRING, "Training configuration, canonical JSON."),
        CREATED,
    ),
    key=("policy_id",),
    sort=("created_ns",),
)

RELEASES = Table(
    name="releases",
    version=1,
    meaning="What happened on the release channels, one row an event.",
    columns=(
        Column("release_id", STRING, "Opaque hash."),
        Column("channel", STRING, "canary or production.", words=words.Channel),
        Column("policy_id", STRING, "The policy."),
        Column("parent", STRING, "Release it replaced.", nullable=True),
        Column(
            "state",
            STRING,
            "candidate, canary, production, rolled_back or superseded.",
            words=words.ReleaseState,
        ),
        Column("evidence", STRING, "Why: figures and rule, a JSON object."),
        CREATED,
        Column("number", I64, "Number of the channel file; grows on each channel.", nullable=True),
        Column(
            "expires_ns",
            I64,
            "Until when robots follow the channel file.",
            unit="ns since epoch",
            nullable=True,
        ),
    ),
    key=("release_id", "state"),
    sort=("created_ns",),
)

EVALUATIONS = Table(
    name="evaluations",
    version=1,
    meaning="Evaluation episodes: seeds no training episode used.",
    columns=(
        Column("policy_id", STRING, "The policy that ran."),
        TASK,
        Column("seed", I64, "Seed of the scene."),
        Column("success", BOOL, "Whether the task was done."),
        Column("steps", I32, "Control ticks until success or the limit.", unit="steps"),
        CREATED,
        Column(
            "words",
            STRING,
            "How it was told what to do; null: in the usual way.",
            nullable=True,
            words=words.Words,
        ),
        Column("robot", STRING, "Type of the robot; null where it was not written down.", nullable=True),
    ),
    key=("policy_id", "task", "seed"),
    sort=("policy_id", "task", "seed"),
)

TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        LOGS,
        EPISODES,
        STEPS,
        SEGMENTS,
        LABELS,
        SNAPSHOTS,
        SNAPSHOT_MEMBERS,
        POLICIES,
        RELEASES,
        EVALUATIONS,
    )
}
