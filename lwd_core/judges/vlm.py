"""A vision-language model as a labeller: a few pictures of an episode and the question whether it succeeded.

It is asked over the network by the protocol of OpenAI's chat completions, which most servers of models speak.
Nothing is sent that a `Outgoing` hasn't stated before: the task's words and the chosen pictures, as the robot
wrote them; no ids, states, names or sites.
"""

import base64
import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from lwd_core.errors import UserError, suggest
from lwd_core.labels.batches import each_batch
from lwd_core.labels.labeller import Labelled
from lwd_core.labels.said import LabelRows, Said, WrongAnswer
from lwd_core.lake.episode import Episode, Frame
from lwd_core.lake.frames import extension
from lwd_core.lake.query import condition
from storage_schemas.canonical import digest
from storage_schemas.embodiment import Embodiment
from storage_schemas.vocabulary import LabelKind, Outcome

if TYPE_CHECKING:
    from lwd_core.lake.store import Lake

#: Where the endpoint's key is, if it wants one.
KEY = "LWD_VLM_KEY"
#: What a picture counts for where a bill is estimated; endpoints differ.
TOKENS_A_PICTURE, LETTERS_A_TOKEN = 800, 4
ATTEMPTS, WAIT_S, TIMEOUT_S, LONGEST_ANSWER = 4, 2.0, 120.0, 1 << 20
QUESTION = """\
These {count} pictures from a robot's camera "{camera}" show one attempt, in order, evenly spaced; the last \
is its end. The robot was told: "{instruction}".
Did it succeed? Answer with JSON alone: {{"outcome": "success", "failure" or "unknown", "chance": chance of \
success from 0 to 1, "reason": one short sentence}}."""
_MEDIA = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
#: Visible ASCII: what an address and a header can hold.
_PLAIN = re.compile("[!-~]+")
_LOCAL = ("127.0.0.1", "localhost", "::1")


def layer_word(model: str) -> str:
    """A model's name as a part of its layer's; empty where nothing of it can be."""
    return re.sub("[^a-z0-9_]+", "_", model.lower()).strip("_")


@dataclass(frozen=True)
class Endpoint:
    """A server of models: ``url`` up to and with ``/v1``, the model's name there, the key to be let in."""

    url: str
    model: str
    key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        shown = repr(self.url.rpartition("@")[2])  # what stands before it may be a secret
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if not _PLAIN.fullmatch(self.url) or parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"url {shown}: no address; give one as https://host/v1 or https://host:8000/v1")
        if port == 0:
            raise UserError(f"url {shown}: nothing answers at port 0; give the endpoint's")
        if parts.username or parts.password:
            raise UserError(f"url of {parts.hostname}: there is a secret in it; put the key into {KEY}")
        if parts.scheme == "http" and parts.hostname not in _LOCAL:
            raise UserError(f"url {shown}: pictures and key would go unencrypted; use https")
        if not layer_word(self.model):
            raise UserError(
                f"model {self.model!r}: no letter or digit to call its layer by; name one it serves"
            )
        object.__setattr__(self, "key", self.key.strip())
        if self.key and not _PLAIN.fullmatch(self.key):
            raise UserError(
                f"{KEY}: there are blanks, control characters or letters beyond ASCII in it; mend it"
            )


@dataclass(frozen=True)
class Outgoing:
    """What would leave this machine, and about what it costs. ``pictures_bytes`` are those of the frames,
    ``sent_bytes`` those of all requests; ``without`` counts episodes that have no picture of ``camera``."""

    url: str
    layer_id: str
    episodes: tuple[str, ...] = field(repr=False)
    requests: int
    pictures: int
    pictures_bytes: int
    sent_bytes: int
    tokens: int
    without: int
    camera: str = ""

    def __str__(self) -> str:
        return (
            f"{self.requests} requests to {self.url}: {self.pictures} camera pictures as the robot wrote "
            f"them ({self.pictures_bytes / 1e6:.2f} MB) and the instruction of each episode, "
            f"{self.sent_bytes / 1e6:.2f} MB in all, about {self.tokens} tokens; no states, ids or names"
            + (f"; {self.without} episodes have no picture of {_camera(self.camera)}" if self.without else "")
        )


@dataclass(frozen=True)
class VlmJudge:
    """Asks a model of each episode whether it succeeded, by ``pictures`` of a camera, evenly spaced."""

    endpoint: Endpoint
    camera: str = ""
    pictures: int = 4
    version: int = 1
    kind = LabelKind.OUTCOME
    spent: dict[str, int] = field(default_factory=lambda: {"requests": 0, "tokens": 0})

    @property
    def layer_id(self) -> str:
        """``vlm.MODEL@version``."""
        return f"vlm.{layer_word(self.endpoint.model)}@{self.version}"

    @property
    def description(self) -> str:
        """One line for a person."""
        return f"{self.endpoint.model} asked whether it succeeded, by {self.pictures} pictures"

    @property
    def source_digest(self) -> str:
        """Of the model's name, the question and which pictures."""
        return digest([self.endpoint.model, QUESTION, self.camera, self.pictures])

    def plan(
        self, lake: "Lake", *, where: str = "true", params: Sequence[Any] = (), limit: int = 100
    ) -> Outgoing:
        """What a run over the newest ``limit`` episodes that it hasn't labelled would send.

        Raises `UserError` for a condition that means nothing, and a camera that none of these has.
        """
        asked = lake.sql(
            f"SELECT episode_id FROM episodes WHERE {condition(where)} AND episode_id NOT IN "
            "(SELECT episode_id FROM labels WHERE layer_id = ?) ORDER BY start_ns DESC, episode_id LIMIT ?",
            (*params, self.layer_id, limit),
        )["episode_id"].to_pylist()
        sizes: list[int] = []
        cameras: set[str] = set()
        bodies = pictures = letters = without = 0
        for episode_id in asked:
            episode = lake.episode(episode_id)
            shown = self._shown(episode)
            cameras.update(episode.cameras)
            if not shown:
                without += 1
                continue
            own = [int(frame.at["size"]) for frame in shown]
            sizes += own
            pictures += len(own)
            text = len(self._question(episode, shown))
            letters += text
            bodies += text + 200 + sum(4 * ((size + 2) // 3) + 80 for size in own)
        tokens = pictures * TOKENS_A_PICTURE + letters // LETTERS_A_TOKEN
        n = len(asked) - without
        if self.camera and asked and not n:
            raise UserError(
                f"camera {self.camera}: none of {len(asked)} episodes has a picture of it"
                f"{suggest(self.camera, cameras)}"
            )
        return Outgoing(
            self.endpoint.url, self.layer_id, tuple(asked), n, pictures, sum(sizes), bodies, tokens, without,
            self.camera,
        )  # fmt: skip

    def label(
        self, lake: "Lake", episodes: pa.Table, embodiments: Mapping[str, Embodiment]
    ) -> Iterator[Labelled]:
        """One request an episode; what was answered is kept whatever comes after."""
        for i in range(episodes.num_rows):
            yield from each_batch(lake, episodes.slice(i, 1), embodiments, self._answers)

    def _answers(self, episodes: list[Episode]) -> Labelled:
        rows, failed = LabelRows(self.kind, self.layer_id.partition("@")[0]), dict[str, str]()
        for episode in episodes:
            shown = self._shown(episode)
            if not shown:
                failed[episode.id] = f"no picture of {_camera(self.camera)}"
                continue
            try:
                rows.add(episode.id, len(episode), self._ask(episode, shown))
            except (ValueError, WrongAnswer) as error:
                failed[episode.id] = f"{self.endpoint.model}: {error}"
        return Labelled(rows.table(), failed)

    def _shown(self, episode: Episode) -> list[Frame]:
        cameras = episode.cameras
        camera = self.camera or (cameras[0] if cameras else "")
        if camera not in cameras:
            return []
        frames = episode.frames(camera)
        return [
            frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, self.pictures).round().astype(int))
        ]

    def _question(self, episode: Episode, shown: Sequence[Frame]) -> str:
        return QUESTION.format(count=len(shown), camera=shown[0].camera, instruction=episode.instruction)

    def _ask(self, episode: Episode, shown: Sequence[Frame]) -> Said:
        content: list[dict[str, Any]] = [{"type": "text", "text": self._question(episode, shown)}]
        for frame in shown:
            media = _MEDIA.get(extension(frame.data))
            if media is None:
                raise ValueError(f"its frame at step {frame.step} is no picture")
            data = base64.b64encode(frame.data).decode()
            content.append({"type": "image_url", "image_url": {"url": f"data:{media};base64,{data}"}})
        asked = {
            "model": self.endpoint.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": 200,
        }
        answer: Any = self._post(json.dumps(asked).encode())
        try:
            usage: dict[str, Any] = answer.get("usage") or {}
            self.spent["tokens"] += int(usage.get("total_tokens") or 0)
            return _said(answer["choices"][0]["message"]["content"])
        except (KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"answered no chat completion ({error!r})") from error

    def _post(self, body: bytes) -> Any:
        """The endpoint's answer. ``UserError`` where it lets nobody in, or isn't there."""
        url = f"{self.endpoint.url.rstrip('/')}/chat/completions"
        headers = {"Content-Type": "application/json"}
        if self.endpoint.key:
            headers["Authorization"] = f"Bearer {self.endpoint.key}"
        for attempt in range(ATTEMPTS):
            last = attempt == ATTEMPTS - 1
            self.spent["requests"] += 1
            try:
                request = urllib.request.Request(url, body, headers, method="POST")
                with self._opener.open(request, timeout=TIMEOUT_S) as response:
                    answer = response.read(LONGEST_ANSWER)
                return _json(answer)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code in (401, 403):
                    raise UserError(
                        f"{url}: {error.code}, it lets nobody in with this key; set {KEY}"
                    ) from None
                if error.code == 404:
                    raise UserError(f"{url}: 404, no such path or model; check url and model") from None
                if error.code not in (408, 429) and error.code < 500:
                    raise ValueError(f"refused with {error.code}") from None
                if last:
                    raise UserError(f"{url}: {error.code}, {ATTEMPTS} times; go on later") from None
            except (
                OSError,
                http.client.HTTPException,
            ) as error:  # of urllib, or of a server that speaks oddly
                if last:
                    raise UserError(f"{url}: not reached ({error!r}); go on later") from None
            time.sleep(WAIT_S * 2**attempt)
        raise AssertionError

    @cached_property
    def _opener(self) -> urllib.request.OpenerDirector:
        return urllib.request.build_opener(_NoRedirect)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Pictures and key go where the plan said, and nowhere else."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any) -> None:
        return None


def _camera(name: str) -> str:
    return f"camera {name}" if name else "any camera"


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"answered no JSON ({error})") from None


def _said(text: str) -> Said:
    """Raises ``ValueError`` for an answer that is none."""
    found = re.search(r"\{.*\}", text, re.DOTALL)
    read: object = _json(found[0]) if found else None
    told = cast("dict[str, Any]", read) if isinstance(read, dict) else {}
    if told.get("outcome") not in tuple(Outcome):
        raise ValueError(f"answered {text[:80]!r}")
    chance = cast(Any, told.get("chance"))
    number = isinstance(chance, int | float) and not isinstance(chance, bool) and 0 <= chance <= 1
    reason = "".join(c if c.isprintable() else " " for c in str(told.get("reason") or "")[:500])
    return Said(value=float(chance) if number else None, text=told["outcome"], detail=reason or None)
