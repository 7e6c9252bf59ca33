"""What a person said, on disk before the page is told so, and from there into the lake: a commit a batch.

A folder of files, one a batch, each line a label. What is being written is the file of this process alone;
files whose process is gone are what a kill left, and the next one commits them. The same label twice is one
(it bears the moment it was said), so a batch that was committed and not yet removed may be committed again.
"""

import fcntl
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from lwd_core.errors import UserError
from lwd_core.labels.people import KINDS, PersonLabel, set_labels
from lwd_core.lake.store import Lake
from storage_schemas.vocabulary import Outcome

#: A batch is committed when nothing was added for so long, when it is so old or so large. A person takes some
#: seconds for an episode, and a commit each would be many.
QUIET_S, OLDEST_S, MOST = 20.0, 60.0, 100
_AGAIN_S = 5.0
_REFUSED = "refused.jsonl"
_Refused = tuple[dict[str, Any], str]  # what was said, and why it is kept aside
#: What a label's own values raise.
_FAULTS = (UserError, ValueError, TypeError, ArithmeticError)
#: The last moment (ms) that the lake has a number for.
_LAST_MS = 2**63 // 1_000_000 - 1


def said(told: Mapping[str, Any], by: str) -> PersonLabel:
    """A label as the page sends it. Raises `UserError` for what is none."""
    where = f"label of episode {str(told.get('episode_id'))[:40]}"
    text, detail, kind = told.get("text"), told.get("detail"), told.get("kind")
    span = [told.get(name) for name in ("from_s", "to_s")]
    at = told.get("at_ms")
    if not isinstance(told.get("episode_id"), str) or kind not in KINDS:
        raise UserError(f"{where}: needs episode_id and a kind of {', '.join(KINDS)}")
    if not all(isinstance(one, str | None) for one in (text, detail)):
        raise UserError(f"{where}: text and detail are texts")
    if not all(one is None or type(one) in (int, float) for one in span) or type(at) is not int:
        raise UserError(f"{where}: from_s, to_s are seconds, at_ms is when it was said")
    if not 0 <= at <= _LAST_MS:
        raise UserError(f"{where}: at_ms {at} is no moment, in milliseconds since 1970")
    if kind == "outcome" and text is not None and text not in tuple(Outcome):
        raise UserError(f"{where}: outcome {text!r} is none of {', '.join(Outcome)}")
    return PersonLabel(told["episode_id"], by, kind, text, detail, *span, at_ns=at * 1_000_000)


@dataclass
class _Batch:
    """``file`` is open, and so locked, where this process wrote it."""

    path: Path
    file: IO[bytes] | None = None
    labels: int = 0


class LabelOutbox:
    """The outbox of one server. `put` returns when its labels are on disk; a thread commits them.

    ``commits`` counts batches, ``refused`` labels that the lake would not take, ``last_refused`` says why the
    last of them; ``trouble`` why nothing can be committed at the moment.
    """

    def __init__(self, lake: Lake, folder: Path) -> None:
        self._lake, self._folder = lake, folder
        folder.mkdir(parents=True, exist_ok=True)
        self._changed = threading.Condition()
        self._sealed = _left(folder)
        self._open: _Batch | None = None
        self._began = self._added = 0.0
        self._ending = self._wanted = False
        self.commits, self.trouble = 0, ""
        self.refused, self.last_refused = 0, ""
        self._thread = threading.Thread(target=self._run, name="label outbox", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Labels of this process that are on disk and not in the lake yet."""
        with self._changed:
            return sum(batch.labels for batch in [*self._sealed, *([self._open] if self._open else [])])

    def put(self, labels: Sequence[PersonLabel]) -> None:
        """Keep them. They are on disk when this returns. Raises ``OSError`` where the disk takes no more."""
        if not labels:
            return
        lines = b"".join(json.dumps(asdict(label)).encode() + b"\n" for label in labels)
        with self._changed:
            if self._open is None:
                self._open = _begun(self._folder)
                self._began = time.monotonic()
            file = self._open.file
            assert file is not None
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
            self._open.labels += len(labels)
            self._added = time.monotonic()
            self._changed.notify()

    def commit(self) -> None:
        """Don't wait for more: somebody is about to look at what was said."""
        with self._changed:
            self._wanted = self._open is not None
            self._changed.notify()

    def close(self) -> None:
        """Commit what waits, and end; what the lake can't take now stays on disk."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            try:
                labels, refused = _read(batch.path)
                self._set_aside(refused + self._keep(labels))
            except Exception as error:  # whatever it is: the thread goes on, and the page says what it is
                self.trouble = _why(error)
                with self._changed:
                    if not self._ending:
                        self._changed.wait(_AGAIN_S)
                    if self._ending:
                        return
                continue
            self.trouble = ""
            self.commits += 1
            batch.path.unlink(missing_ok=True)
            if batch.file is not None:
                batch.file.close()
            with self._changed:
                self._sealed.remove(batch)

    def _next(self) -> _Batch | None:
        """The batch to commit, once there is one; None where there will be none any more."""
        with self._changed:
            while not self._sealed and not self._due():
                if self._ending:
                    return None
                self._changed.wait(0.2 if self._open else None)
            if self._open is not None and self._due():
                self._sealed.append(self._open)
                self._open, self._wanted = None, False
            return self._sealed[0]

    def _due(self) -> bool:
        if self._open is None:
            return False
        now = time.monotonic()
        late = now - self._began >= OLDEST_S or now - self._added >= QUIET_S
        return late or self._wanted or self._ending or self._open.labels >= MOST

    def _keep(self, labels: list[PersonLabel]) -> list[_Refused]:
        """All in one commit; those that can't be. Where the lake refuses one (its episode was erased, say),
        halves find which. Raises what is no label's fault: it is tried again."""
        try:
            set_labels(self._lake, labels, now_ns=time.time_ns())
        except OSError:
            raise
        except _FAULTS as error:
            if len(labels) == 1:
                return [(asdict(labels[0]), _why(error))]
            half = len(labels) // 2
            return self._keep(labels[:half]) + self._keep(labels[half:])
        return []

    def _set_aside(self, refused: list[_Refused]) -> None:
        if not refused:
            return
        with open(self._folder / _REFUSED, "ab") as file:
            for label, why in refused:
                file.write(json.dumps({**label, "why": why}).encode() + b"\n")
        self.refused += len(refused)
        self.last_refused = refused[-1][1]


def _left(folder: Path) -> list[_Batch]:
    """Batches of processes that are gone, oldest first."""
    found: list[_Batch] = []
    for path in sorted(folder.glob("*.batch")):
        file = open(path, "rb")  # noqa: SIM115  its lock is held as long as the batch
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody else's, who is still at it
            file.close()
            continue
        found.append(_Batch(path, file))
    return found


def _begun(folder: Path) -> _Batch:
    path = folder / f"{time.time_ns()}-{os.getpid()}.batch"
    hidden = path.with_suffix(".new")
    file = open(hidden, "xb")  # noqa: SIM115  its lock is held as long as the batch
    fcntl.flock(file, fcntl.LOCK_EX)
    hidden.rename(path)  # seen by others once it is locked
    return _Batch(path, file)


def _read(path: Path) -> tuple[list[PersonLabel], list[_Refused]]:
    """The labels of a batch, and lines that are none. A last line that a kill cut was never answered for: the
    page sends it again."""
    found: list[PersonLabel] = []
    refused: list[_Refused] = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            found.append(PersonLabel(**json.loads(line)))
        except (ValueError, TypeError) as error:
            refused.append(({"line": line.decode(errors="replace")}, _why(error)))
    return found, refused


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
