"""What robots poll between episodes: the newest policy of a release channel, verified."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from lwd_core.fleet.link import over_the_line
from lwd_core.fleet.robot import Policy
from lwd_core.policies.bundle import BadBundle
from lwd_core.policies.inference import Policy as BundledPolicy
from lwd_core.policies.keys import trusted_keys
from lwd_core.policies.release import BadRelease, Release, current
from lwd_core.settings import Settings
from storage_schemas.vocabulary import Channel


@dataclass(frozen=True)
class Loaded:
    """A policy a robot holds, and the release that brought it."""

    policy: Policy
    release_id: str
    released_ns: int
    loaded_ns: int

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
    """The release channels. A release that does not verify is refused: robots keep what they have.

    Robots on one channel share one copy of its policy. ``refused`` is told each bad release once.
    """

    def __init__(self, settings: Settings, refused: Callable[[str], None] = lambda _: None) -> None:
        self._releases = settings.releases
        self._trusted = trusted_keys(settings.keys)
        self._refused = refused
        self._told: set[str] = set()
        self._held: dict[Channel, Loaded] = {}

    def newest(self, channel: Channel, now_ns: int) -> Loaded | None:
        """Poll the channel. Canary robots follow production while the canary channel is empty."""
        try:
            with over_the_line():
                release = current(self._releases, channel, self._trusted)
                if release is None:
                    return self.newest(Channel.PRODUCTION, now_ns) if channel is Channel.CANARY else None
                held = self._held.get(channel)
                if held is None or held.release_id != release.release_id:
                    self._held[channel] = self._load(release, now_ns)
        except (BadRelease, BadBundle) as problem:
            if str(problem) not in self._told:
                self._told.add(str(problem))
                self._refused(str(problem))
        except OSError as problem:  # the line is down: keep running what is here
            self._refused(f"channel {channel}: {problem}")
        return self._held.get(channel)

    def _load(self, release: Release, now_ns: int) -> Loaded:
        for held in self._held.values():
            if held.policy.policy_id == release.policy_id:
                return Loaded(held.policy, release.release_id, release.created_ns, now_ns)
        policy = BundledPolicy.load(release.policy_uri, self._trusted)
        if policy.policy_id != release.policy_id:
            raise BadRelease(
                f"{release.policy_uri}: is policy {policy.policy_id}, the release says {release.policy_id}; "
                "release the policy anew"
            )
        return Loaded(policy, release.release_id, release.created_ns, now_ns)
