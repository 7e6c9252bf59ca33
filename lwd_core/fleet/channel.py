"""What robots poll between episodes: the newest policy of a release channel, verified."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lwd_core.errors import UserError
from lwd_core.extras import require
from lwd_core.fleet.link import over_the_line
from lwd_core.fleet.refusals import Refusals
from lwd_core.fleet.robot import RobotPolicy
from lwd_core.fleet.seen import Seen
from lwd_core.policies.channel_file import BadRelease, Release, current, refused
from lwd_core.policies.keys import trusted_keys
from lwd_core.settings import Settings
from lwd_core.storage.relative import resolve
from storage_schemas.vocabulary import Channel


@dataclass(frozen=True)
class Loaded:
    """A policy a robot holds, and the release that brought it. ``expires_ns``: till when it may be run."""

    policy: RobotPolicy
    release_id: str
    released_ns: int
    loaded_ns: int
    expires_ns: int | None = None

    def expired(self, now_ns: int) -> bool:
        """Whether it may not be run any more."""
        return self.expires_ns is not None and now_ns >= self.expires_ns

    def notes(self) -> Mapping[str, str]:
        """What an episode's log says of it; staleness and time to load are queries over these."""
        return {
            "release_id": self.release_id,
            "released_ns": str(self.released_ns),
            "loaded_ns": str(self.loaded_ns),
        }


class PolicySource(Protocol):
    """Where robots get their policy from."""

    def newest(self, channel: Channel, now_ns: int) -> Loaded | None:
        """The policy to run on a channel now; None while there is none that may be run."""
        ...


class ReleasedPolicies:
    """The release channels. What does not verify is refused: robots keep what they have, as long as they may.

    They may not any more once the channel file that brought it has expired, or a key was taken out of trust:
    then it must verify anew. A release whose policy was refused is fetched again after a minute, then ever
    more seldom, or once the channel or the trusted keys change. Robots on one channel share one copy of its
    policy. ``refused`` is told each problem once. ``device`` is torch's. Raises UserError where nothing is
    installed that runs a policy.
    """

    def __init__(
        self, settings: Settings, refused: Callable[[str], None] = lambda _: None, device: str = ""
    ) -> None:
        require("torch")
        self._settings, self._device = settings, device
        self._trusted = trusted_keys(settings.keys)
        self._seen = Seen(settings)
        self._refused = refused
        self._told: set[str] = set()
        self._held: dict[Channel, Loaded] = {}
        self._refusals = Refusals()

    def newest(self, channel: Channel, now_ns: int) -> Loaded | None:
        """Poll the channel. Canary robots follow production while the canary channel is empty."""
        trusted = self._reread()
        try:
            with over_the_line():
                release = current(self._settings.releases, channel, trusted)
                if release is None and channel is Channel.CANARY:
                    return self.newest(Channel.PRODUCTION, now_ns)
                if release is not None:
                    self._take(release, channel, now_ns)
                elif self._seen.number(channel) is not None:
                    self._tell(f"channel {channel}: its file is gone; `lwd policy refresh` writes it")
        except UserError as problem:
            self._tell(str(problem))
        except OSError as problem:  # the line is down: keep running what is here
            self._refused(f"channel {channel}: {problem}")
        held = self._may_run(channel, now_ns)
        return held or (self._may_run(Channel.PRODUCTION, now_ns) if channel is Channel.CANARY else None)

    def _reread(self) -> dict[str, Ed25519PublicKey]:
        """The keys trusted now. What a key vouched for that is not among them any more is let go."""
        try:
            trusted = trusted_keys(self._settings.keys)
        except UserError as problem:  # a file that is just being copied here
            self._tell(str(problem))
            return self._trusted
        gone = sorted(self._trusted.keys() - trusted.keys())
        if gone and self._held:
            self._tell(f"key {', '.join(gone)}: not trusted any more; what runs must verify without it")
            self._held.clear()
        if trusted.keys() != self._trusted.keys():
            self._refusals.forget()
        self._trusted = trusted
        return trusted

    def _take(self, release: Release, channel: Channel, now_ns: int) -> None:
        problem = refused(release, self._seen.number(channel), now_ns)
        if problem:
            raise BadRelease(problem)
        held = self._held.get(channel)
        if held is None or held.release_id != release.release_id:
            if self._refusals.waits(release, now_ns):
                return
            try:
                held = self._load(release, now_ns)
            except UserError:
                self._refusals.add(release, now_ns)
                raise
        self._seen.raise_to(channel, release.number)
        if held is not self._held.get(channel) or held.expires_ns != release.expires_ns:
            self._held[channel] = replace(held, expires_ns=release.expires_ns)

    def _may_run(self, channel: Channel, now_ns: int) -> Loaded | None:
        held = self._held.get(channel)
        if held and held.expired(now_ns):
            self._tell(
                f"channel {channel}: release {held.release_id} has expired and no newer file arrives; "
                "stopped until `lwd policy refresh` signs it anew"
            )
            return None
        return held

    def _tell(self, problem: str) -> None:
        if problem not in self._told:
            self._told.add(problem)
            self._refused(problem)

    def _load(self, release: Release, now_ns: int) -> Loaded:
        for held in self._held.values():
            if held.policy.policy_id == release.policy_id:
                return Loaded(held.policy, release.release_id, release.created_ns, now_ns)
        # acting needs torch; following a channel does not
        from lwd_core.policies.inference import Policy

        folder = resolve(self._settings.policies, release.policy_id)
        policy = Policy.load(folder, self._trusted, self._device)
        return Loaded(policy, release.release_id, release.created_ns, now_ns)
