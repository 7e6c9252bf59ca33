"""Sets and policies to the Hugging Face Hub and back."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lwd_core.cli._ask import Argument, Option
from lwd_core.cli._named import PolicyId, policy_named
from lwd_core.cli._output import AsJson, say_json
from lwd_core.lake.store import Lake
from lwd_core.settings import Settings

app = typer.Typer(no_args_is_help=True, help=__doc__)
Repo = Annotated[str, Argument(help="Repository, OWNER/NAME.")]
Public = Annotated[bool, Option("--public", help="Make a new repository for everybody to see.")]
Revision = Annotated[str | None, Option(help="Branch, tag or commit; default: the newest of main.")]


@app.command()
def push(
    folder: Annotated[Path, Argument(help="What `lwd export` wrote.")],
    repo: Repo,
    public: Public = False,
    as_json: AsJson = False,
) -> None:
    """Push an exported set, all its files, as one commit; the repository is made, private, if there is none.

    Example: lwd hub push ./successes acme/door-open
    """
    from lwd_core.hub import push_dataset

    done = push_dataset(folder, repo, Lake.open(Settings().lake).tombstones, private=not public)
    _say(asdict(done), f"{done.url}", as_json)


@app.command()
def pull(
    repo: Repo,
    out: Annotated[Path, Argument(help="New folder for the set.")],
    revision: Revision = None,
    as_json: AsJson = False,
) -> None:
    """Pull a data set into a new folder, for `lwd ingest`; files that could run code are left and named.

    Example: lwd hub pull acme/door-open ./door-open
    """
    from lwd_core.hub import pull_dataset

    done = pull_dataset(repo, out, revision=revision)
    line = f"{done.folder}: {done.files} files, {done.bytes} bytes of commit {done.commit}"
    _say(asdict(done), line, as_json)
    if done.left and not as_json:
        typer.echo(f"  left, since they could run code: {', '.join(done.left)}", err=True)


@app.command("push-policy")
def push_policy(policy: PolicyId, repo: Repo, public: Public = False, as_json: AsJson = False) -> None:
    """Push a signed policy; the repository is made, private, if there is none.

    Example: lwd hub push-policy production acme/door-policy
    """
    from lwd_core.hub import push_policy as put
    from lwd_core.storage.location import open_location

    settings = Settings()
    row = policy_named(Lake.open(settings.lake), policy)
    done = put(open_location(settings.policies), row["policy_id"], repo, private=not public)
    _say({"policy_id": row["policy_id"], **asdict(done)}, f"{row['policy_id']}: {done.url}", as_json)


@app.command("pull-policy")
def pull_policy(repo: Repo, revision: Revision = None, as_json: AsJson = False) -> None:
    """Pull a policy, verify it against the keys this home trusts, and enter it beside the others.

    Example: lwd hub pull-policy acme/door-policy
    """
    from lwd_core.hub import pull_policy as fetch
    from lwd_core.policies.keys import trusted_keys
    from lwd_core.policies.registry import register

    settings = Settings()
    bundle = fetch(repo, settings.policies, trusted_keys(settings.keys), revision=revision)
    register(Lake.open(settings.lake), bundle, now_ns=time.time_ns())
    _say({"policy_id": bundle.policy_id, "uri": bundle.uri}, f"{bundle.policy_id}: {bundle.uri}", as_json)


def _say(document: dict[str, Any], line: str, as_json: bool) -> None:
    if as_json:
        say_json(document)
    else:
        typer.echo(line)
