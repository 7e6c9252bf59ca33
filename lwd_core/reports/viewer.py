"""One episode as a Rerun recording: frames, state, action, actor, reward and value over time.

Two timelines: ``step`` counts control ticks, ``time`` is the recorder's clock. Rerun is an extra
(``lwd[view]``), so this module is imported by the command that needs it and by nothing else.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import rerun as rr
import rerun.blueprint as rrb

from lwd_core.errors import UserError
from lwd_core.lake.episode import Episode
from lwd_core.lake.frames import extension
from lwd_core.lake.pictures import Pictures
from lwd_core.storage.location import Location
from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import LabelKind

HOST = "127.0.0.1"
_ACTORS = {"policy": 0x1B6CA8FF, "human": 0xE0A53AFF}
_MEDIA = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_LABELS = {LabelKind.REWARD: "reward", LabelKind.PROGRESS: "value", LabelKind.ANNOTATION: "value"}


def write_recording(place: Location, view: Episode, embodiment: Embodiment | None, path: Path) -> None:
    """Write the episode to ``path`` (``.rrd``). ``place`` is the lake's: the frames are read from it.

    Entities: ``state``, ``action/executed``, ``action/proposed``, ``actor``, ``camera/<name>``,
    ``reward/<layer>``, ``value/<layer>``, ``facts``. Without an embodiment dims are numbered.
    """
    recording = rr.RecordingStream("lwd", recording_id=view.facts["episode_id"])
    recording.save(path)
    recording.send_blueprint(_blueprint(view))
    _facts(recording, view)
    state = [dim.name for dim in embodiment.state_dims] if embodiment else []
    action = [dim.name for dim in embodiment.action_dims] if embodiment else []
    steps = view.steps
    _vectors(recording, "state", steps, "state", state)
    _vectors(recording, "action/executed", steps, "action", action)
    _vectors(recording, "action/proposed", steps, "proposed", action)
    actors = rr.StateConfiguration(values=list(_ACTORS), labels=list(_ACTORS), colors=list(_ACTORS.values()))
    recording.log("actor", actors, static=True)
    recording.send_columns(
        "actor", _times(steps), rr.StateChange.columns(state=steps.column("actor").to_pylist())
    )
    _frames(recording, place, view)
    for name, rows in _curves(view):
        at = steps.take([row["step"] for row in rows])
        recording.send_columns(name, _times(at), rr.Scalars.columns(scalars=[row["value"] for row in rows]))
    recording.flush()
    recording.disconnect()


@contextmanager
def serve(path: Path, port: int, viewer_port: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Serve a recording to a browser on the loopback address; yield the server and where to look.

    The server answers when it is yielded and ends with the block. ``port`` carries the data,
    ``viewer_port`` the page. Raises UserError where it can't listen there.
    """
    command = [sys.executable, "-m", "rerun", str(path), "--serve-web", "--bind", HOST]
    command += ["--port", str(port), "--web-viewer-port", str(viewer_port)]
    # Rerun's own server reports use to its makers unless it believes itself in CI
    process = subprocess.Popen(
        command,
        env=os.environ | {"CI": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _await(process, (port, viewer_port))
        yield process, f"http://{HOST}:{viewer_port}?url=rerun%2Bhttp://{HOST}:{port}/proxy"
    finally:
        # the command is a launcher with the server as its child: both are in the new session's group
        _end(process)


def _end(process: subprocess.Popen[bytes], patience_s: float = 5.0) -> None:
    """Ask the group to end, and end it where it doesn't: on a busy machine Rerun may sit out what asks it."""
    for asked in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, asked)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
            return


def _await(process: subprocess.Popen[bytes], ports: tuple[int, ...], patience_s: float = 30.0) -> None:
    deadline = time.monotonic() + patience_s
    for port in ports:
        while True:
            with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise UserError(f"port {port}: the viewer can't listen there; choose another")
            time.sleep(0.05)


def _times(rows: pa.Table) -> list[rr.TimeColumn]:
    clock = rows.column("t_ns").to_numpy().astype("datetime64[ns]")
    return [
        rr.TimeColumn("step", sequence=rows.column("step").to_numpy()),
        rr.TimeColumn("time", timestamp=clock),
    ]


def _vectors(
    recording: rr.RecordingStream, entity: str, steps: pa.Table, column: str, names: Sequence[str]
) -> None:
    """A line a dim. Rows without the vector (the last state's action, no proposal) are left out."""
    vectors = steps.column(column).to_pylist()
    rows = steps.filter(pa.array([bool(v) for v in vectors], pa.bool_()))
    if not rows.num_rows:
        return
    values = np.array([v for v in vectors if v], np.float64)
    labels = list(names) if len(names) == values.shape[1] else [str(i) for i in range(values.shape[1])]
    recording.log(entity, rr.SeriesLines(names=labels), static=True)
    recording.send_columns(entity, _times(rows), rr.Scalars.columns(scalars=values))


def _frames(recording: rr.RecordingStream, place: Location, view: Episode) -> None:
    """The bytes the robot sent at the tick that first saw them and at their own time.

    One that can't be shown is a card; the log says how many are.
    """
    seen: set[tuple[str, int]] = set()
    pictures = Pictures(place)
    for step, frames in zip(
        view.steps.column("step").to_pylist(), view.steps.column("frames").to_pylist(), strict=True
    ):
        for frame in frames or ():
            if (frame["shard"], frame["offset"]) in seen:
                continue
            seen.add((frame["shard"], frame["offset"]))
            recording.set_time("step", sequence=step)
            recording.set_time("time", timestamp=np.datetime64(frame["t_ns"], "ns"))
            data = pictures.shown(pictures.bytes_of(frame))
            image = rr.EncodedImage(contents=data, media_type=_MEDIA.get(extension(data), _MEDIA["jpg"]))
            recording.log(f"camera/{frame['camera']}", image)
    if pictures.failed:
        recording.log(
            "frames", rr.TextLog(f"{pictures.failed} frames can't be shown", level="WARN"), static=True
        )


def _curves(view: Episode) -> Iterator[tuple[str, list[dict]]]:
    """Reward and value layers that speak of single steps; the outcome's own reward without a layer."""
    layers: dict[str, list[dict]] = {}
    for row in view.labels.to_pylist():
        if row["kind"] in _LABELS and row["step"] is not None and row["value"] is not None:
            layers.setdefault(f"{_LABELS[row['kind']]}/{row['layer_id']}", []).append(row)
    if not any(name.startswith("reward/") for name in layers):
        last = int(view.facts["steps"]) - 1
        done = view.facts["outcome"] == "success"
        layers["reward/outcome"] = [
            {"step": step, "value": float(done and step == last)} for step in range(last + 1)
        ]
    yield from layers.items()


def _facts(recording: rr.RecordingStream, view: Episode) -> None:
    lines = [f"# {view.facts['task']}: {view.facts['outcome']}", "", view.facts["instruction"], ""]
    facts = {k: v for k, v in view.facts.items() if k not in ("attributes", "instruction")}
    facts |= view.attributes | {"raw log": view.log_uri}
    lines += ["| fact | value |", "|---|---|"]
    lines += [f"| {name} | {'' if value is None else value} |" for name, value in facts.items()]
    for s in view.segments.to_pylist():
        lines.append(f"| steps {s['first_step']}–{s['last_step']} | {s['kind']} {s['reason'] or ''} |")
    document = rr.TextDocument("\n".join(lines), media_type=rr.MediaType.MARKDOWN)
    recording.log("facts", document, static=True)


def _blueprint(view: Episode) -> rrb.Blueprint:
    """Frames and facts left, curves right; a view only for what the episode has."""
    cameras = sorted(
        {f["camera"] for frames in view.steps.column("frames").to_pylist() for f in frames or ()}
    )
    left = [rrb.Spatial2DView(origin=f"camera/{name}", name=name) for name in cameras]
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Vertical(*left, rrb.TextDocumentView(origin="facts", name="facts")),
            rrb.Vertical(
                rrb.StateTimelineView(origin="actor", name="actor"),
                rrb.TimeSeriesView(origin="action", name="action"),
                rrb.TimeSeriesView(origin="state", name="state"),
                rrb.TimeSeriesView(contents=["reward/**", "value/**"], name="reward and value"),
                row_shares=[1, 3, 3, 2],
            ),
            column_shares=[1, 2],
        ),
        rrb.TimePanel(timeline="step"),
        collapse_panels=True,
    )
