"""Sets and policies to the Hugging Face Hub and back, through ``huggingface_hub``.

Where the Hub is and who asks is what its own variables say (``HF_ENDPOINT``, ``HF_TOKEN``, or
``hf auth login``). What comes back is only laid down: nothing is unpickled or run, a name that leaves its
folder refuses the whole, and a policy counts when its signature holds.
"""

import hashlib
import json
import shutil
import uuid
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lwd_core.errors import UserError
from lwd_core.extras import require
from lwd_core.lake.tombstones import Tombstones
from lwd_core.policies.bundle import BadBundle, Bundle, load_bundle
from lwd_core.redact import redacted
from lwd_core.storage.location import Location, open_location
from storage_schemas.policy import MANIFEST, POLICY_ID_LENGTH, SIGNATURE, WEIGHTS

Kind = Literal["dataset", "model"]
#: Endings of what runs code when it is opened as it is usually opened; left where it is.
CODE = (".bin", ".ckpt", ".dill", ".joblib", ".pickle", ".pkl", ".pt", ".pth", ".py", ".pyc", ".sh")
_POLICY = (MANIFEST, SIGNATURE, WEIGHTS)
_CARD = "README.md"
#: Files fetched at a time.
AT_A_TIME = 8


@dataclass(frozen=True)
class Pushed:
    """``url``: where it lies now; ``commit``: its revision there."""

    url: str
    commit: str


@dataclass(frozen=True)
class Pulled:
    """``commit``: the revision that was fetched; ``left``: files that could run code, which were not."""

    folder: Path
    commit: str
    files: int
    bytes: int
    left: tuple[str, ...]


def push_dataset(folder: Path, repo: str, tombstones: Tombstones, *, private: bool = True) -> Pushed:
    """Put a folder that an export wrote into a repository of data sets, made if there is none, as one commit.

    A LeRobot set gets a card and the tag by which its library finds its version. Raises UserError for what is
    no folder, an episode that was erased since the export, and a Hub that can't be reached or refuses.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; `lwd export` writes one")
    tombstones.refuse(_episodes(folder), f"{repo} on the Hub")
    info = folder / "meta" / "info.json"
    tag = json.loads(info.read_bytes()).get("codebase_version") if info.is_file() else None
    made = {} if (folder / _CARD).exists() else {_CARD: dataset_card(lerobot=tag is not None)}
    pushed = _push(folder, repo, "dataset", private, made)
    if tag:
        with _asking(repo) as api:
            api.create_tag(repo, tag=tag, revision=pushed.commit, repo_type="dataset", exist_ok=True)
    return pushed


def push_policy(place: Location, policy_id: str, repo: str, *, private: bool = True) -> Pushed:
    """Put a policy's bundle, as it is signed, into a repository of models. Raises UserError."""
    if place.remote:
        raise UserError(
            f"{place.root}: a bucket; copy the policy's folder here and set LWD_POLICIES to push it"
        )
    folder = Path(place.path(policy_id))
    if missing := [name for name in _POLICY if not (folder / name).is_file()]:
        raise BadBundle(f"{folder}: no {', '.join(missing)}; the bundle is incomplete")
    return _push(folder, repo, "model", private, {_CARD: policy_card(policy_id)}, _POLICY)


def pull_dataset(repo: str, out: Path, *, revision: str | None = None) -> Pulled:
    """Fetch a data set into the new folder ``out``, whole or not at all; `lwd ingest` takes it from there.

    Raises UserError where there is none, a name leaves the folder, or the disk has no room.
    """
    if out.exists():
        raise UserError(f"{out}: exists already; name a new folder")
    with _beside(out) as temporary:
        pulled = _pull(repo, "dataset", revision, temporary, None)
        temporary.rename(out)
    return Pulled(out, *pulled)


def pull_policy(
    repo: str, policies: str, trusted: dict[str, Ed25519PublicKey], *, revision: str | None = None
) -> Bundle:
    """Fetch a policy and lay it below ``policies`` under its id once its signature holds.

    Only its three files are asked for. Raises BadBundle where nobody trusted has signed it.
    """
    place = open_location(policies)
    with _beside(Path("." if place.remote else place.root) / "pulled") as temporary:
        _pull(repo, "model", revision, temporary, _POLICY)
        parts = {name: temporary / name for name in _POLICY}
        if missing := [name for name, path in parts.items() if not path.is_file()]:
            raise BadBundle(
                f"{repo}: no {', '.join(missing)}; it is no policy that `lwd hub push-policy` put there"
            )
        policy_id = hashlib.sha256(parts[MANIFEST].read_bytes()).hexdigest()[:POLICY_ID_LENGTH]
        named = temporary / policy_id
        named.mkdir()
        for path in parts.values():
            path.rename(named / path.name)
        load_bundle(str(named), trusted)
        for name in (WEIGHTS, SIGNATURE, MANIFEST):  # the manifest last: without one it is no bundle yet
            with place.write(policy_id, name) as file, (named / name).open("rb") as source:
                shutil.copyfileobj(source, file)
    return load_bundle(place.path(policy_id), trusted)


def dataset_card(*, lerobot: bool) -> str:
    """The page of a data set."""
    head = "tags:\n- robotics\n" + ("- LeRobot\n" if lerobot else "")
    data = "configs:\n- config_name: default\n  data_files: data/*/*.parquet\n" if lerobot else ""
    return f"---\n{head}{data}---\n\nEpisodes of a robot fleet, exported from an LWD lake.\n"


def policy_card(policy_id: str) -> str:
    """The page of a policy."""
    return (
        f"---\ntags:\n- robotics\nlibrary_name: lwd\n---\n\nPolicy `{policy_id}`, signed. "
        "`lwd hub pull-policy` fetches it and verifies it against the keys you trust.\n"
    )


def _push(
    folder: Path,
    repo: str,
    kind: Kind,
    private: bool,
    made: dict[str, str],
    only: Iterable[str] | None = None,
) -> Pushed:
    hub: Any = _client()
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    if only is not None:
        names = {name: names[name] for name in only}
    operations = [hub.CommitOperationAdd(name, str(path)) for name, path in names.items()]
    operations += [hub.CommitOperationAdd(name, text.encode()) for name, text in made.items()]
    with _asking(repo) as api:
        api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
        done = api.create_commit(repo, operations, commit_message="lwd", repo_type=kind)
    return Pushed(redacted(str(done.commit_url)), str(done.oid))


def _pull(
    repo: str, kind: Kind, revision: str | None, into: Path, only: Iterable[str] | None
) -> tuple[str, int, int, tuple[str, ...]]:
    """Fetch the files of one commit: its revision, how many they are, their bytes, and what was left."""
    with _asking(repo) as api:
        commit = str(api.repo_info(repo, repo_type=kind, revision=revision).sha)
        tree = list(api.list_repo_tree(repo, recursive=True, revision=commit, repo_type=kind))
    sizes = {entry.path: int(entry.size) for entry in tree if hasattr(entry, "size")}
    for name in sizes:
        if not within(name):
            raise UserError(
                f"{repo}: holds a file called {name!r}, which leaves its folder; nothing was fetched"
            )
    wanted = [name for name in sizes if (name in only if only is not None else not name.endswith(CODE))]
    total, room = sum(sizes[name] for name in wanted), shutil.disk_usage(into).free
    if total > room:
        raise UserError(
            f"{repo}: {total:,} bytes, and {into.parent} has room for {room:,}; make room, or pull elsewhere"
        )

    with _asking(repo) as api, ThreadPoolExecutor(AT_A_TIME) as pool:
        fetched = [
            pool.submit(api.hf_hub_download, repo, name, repo_type=kind, revision=commit, local_dir=str(into))
            for name in wanted
        ]
        for one in fetched:
            one.result()
    shutil.rmtree(into / ".cache", ignore_errors=True)  # the client's own notes
    left = () if only is not None else tuple(sorted(sizes.keys() - set(wanted)))
    return commit, len(wanted), total, left


def within(name: str) -> bool:
    """Whether a name a server gave stays in the folder it is put into."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not (
        name.startswith("/") or "\\" in name or "\0" in name or ".." in parts or ":" in parts[0]
    )


def _client() -> Any:
    """The client's module. Raises `MissingExtra`, which says what to install."""
    require("huggingface_hub")
    return import_module("huggingface_hub")


@contextmanager
def _asking(repo: str) -> Generator[Any]:
    """The client's API; whatever it raises is one line without a token, with the remedy."""
    hub: Any = _client()
    try:
        yield hub.HfApi()
    except UserError:
        raise
    except Exception as error:  # of the client, its HTTP library and the operating system
        said = redacted(" ".join(str(error).split()))[:500]
        raise UserError(f"{repo}: {_remedy(error)} ({type(error).__name__}: {said})") from None


def _remedy(error: Exception) -> str:
    errors: Any = import_module("huggingface_hub.errors")
    response = getattr(error, "response", None)
    code = getattr(response, "status_code", None)
    if isinstance(error, errors.HFValidationError):
        return "no name of a repository; it is called OWNER/NAME"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so the Hub is not asked; unset it"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the Hub has no such revision of it"
    if code in (401, 403) or isinstance(error, errors.RepositoryNotFoundError):
        return (
            "the Hub has none that you may see or write; look at the name, and at HF_TOKEN or `hf auth login`"
        )
    if code is not None:
        return f"the Hub answered {code}"
    where = redacted(str(import_module("huggingface_hub.constants").ENDPOINT))
    return f"the Hub at {where} can't be reached; look at the network and HF_ENDPOINT"


@contextmanager
def _beside(out: Path) -> Generator[Path]:
    """A folder beside where something will lie; gone in the end."""
    temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}.part")
    temporary.mkdir(parents=True)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _episodes(folder: Path) -> list[str]:
    """The lake's episodes in a LeRobot set of ours, or in several; nothing of other formats is known."""
    parquet: Any = import_module("pyarrow.parquet")
    found: list[str] = []
    for file in sorted(folder.glob("**/meta/episodes/*/*.parquet")):
        if "lwd/episode_id" in parquet.read_schema(file).names:
            found += parquet.read_table(file, columns=["lwd/episode_id"]).column(0).to_pylist()
    return found
