"""Where things lie and how the platform runs: one typed object from defaults, one file and the environment.

Highest first: what the caller gives, ``LWD_*`` variables, the settings file, defaults. The file is
``LWD_CONFIG`` or ``lwd.toml`` in the home; it is TOML with the names of the fields below. Secrets have no
field: keys of buckets and databases come from the environment, as their own libraries read them.
"""

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lwd_core.config_file import faults
from lwd_core.errors import UserError, suggest

PLACES = (
    "landing",
    "lake",
    "snapshots",
    "checkpoints",
    "policies",
    "releases",
    "reports",
    "embodiments",
    "robots",
)
FILE = "lwd.toml"
_CRON = r"^\S+ \S+ \S+ \S+ \S+$"


class Settings(BaseModel):
    """Every place is a folder or an fsspec URL (``s3://bucket/prefix``).

    ``home`` holds all the others unless they are set one by one. Raises UserError for a settings file that
    can't be read and for a field that is unknown or of the wrong type.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    home: str = Field("lwd-data", description="Folder or URL that holds every place not set by itself.")
    landing: str = Field("", description="Where robots upload raw logs.")
    lake: str = Field("", description="Tables and camera frames.")
    snapshots: str = Field("", description="Frozen training sets.")
    checkpoints: str = Field("", description="Trainer state and metrics.")
    policies: str = Field("", description="Signed bundles.")
    releases: str = Field("", description="What each channel holds; robots poll it.")
    reports: str = Field("", description="Reports, HTML and JSON.")
    robots: str = Field("", description="Who is enrolled, what is wanted of each, what each said last.")
    keys: str = Field("", description="Folder of the signing key and the trusted ones; never a bucket.")
    embodiments: str = Field("", description="One YAML file a robot type.")
    s3_endpoint: str = Field("", description="URL of an S3 service; empty for AWS.")
    dagster: str = Field("", description="Folder of dagster.yaml; empty for the one shipped.")
    nightly: str = Field("0 2 * * *", pattern=_CRON, description="When to retrain, cron, UTC.")
    weekly: str = Field("0 4 * * 0", pattern=_CRON, description="When to compact and vacuum, cron, UTC.")
    keep_days: float = Field(30, ge=1, description="Days for which old table versions stay readable.")
    release_days: float = Field(
        30, gt=0, description="Days for which robots follow a channel file; the night signs it anew."
    )
    enrolled_only: bool = Field(
        False, description="Take in logs of the landing zone from enrolled robots only."
    )
    spool_gb: float = Field(
        0,
        ge=0,
        description="Logs a robot keeps while it has no line, GB; 0: what the disk holds (docs/fleet.md).",
    )
    upload_mbit: float = Field(0, ge=0, description="Most a robot uploads, Mbit/s; 0: what the line holds.")
    reporters: str = Field(
        "",
        description="Who hears a training's figures besides its folder: mlflow, wandb, trackio, one that a "
        "package adds; comma-separated.",
    )
    train_on: Literal["here", "k8s", "ray"] = Field("here", description="What runs the training process.")
    train_image: str = Field("", description="Container image of training on k8s.")
    train_namespace: str = Field("default", description="Kubernetes namespace of training.")
    train_cpus: float = Field(2, gt=0, description="CPUs a training asks for on k8s and Ray.")
    train_memory_gb: float = Field(4, gt=0, description="Memory a training asks for on k8s, GiB.")
    train_gpus: int = Field(0, ge=0, description="GPUs a training asks for on k8s and Ray.")
    ray_address: str = Field("", description="URL of a Ray cluster's job server.")

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**(outside(set(type(self).model_fields)) | given))
        except ValidationError as error:
            raise UserError(faults(error, f"settings ({settings_file() or 'environment'})")) from error

    def model_post_init(self, _context: object) -> None:
        home = self.home if "://" in self.home else str(Path(self.home).resolve())
        object.__setattr__(self, "home", home)
        for name in PLACES:
            place = getattr(self, name) or f"{home.rstrip('/')}/{name}"
            object.__setattr__(self, name, place)
        # A private key never lies in a bucket.
        local = Path(home) if "://" not in home else Path("lwd-data").resolve()
        object.__setattr__(self, "keys", self.keys or str(local / "keys"))


def outside(known: set[str]) -> dict[str, Any]:
    """What the environment and the settings file say, the environment before the file."""
    # names in other cases are read too, as long as they were; upper case, which is written of, goes first
    environment = {name.upper(): value for name, value in os.environ.items()} | dict(os.environ)
    variables = {name: environment.get(f"LWD_{name.upper()}") for name in known}
    return from_file(settings_file(), known) | {n: v for n, v in variables.items() if v is not None}


def settings_file() -> Path | None:
    """The settings file in force; None where there is none."""
    named = os.environ.get("LWD_CONFIG")
    if named:
        return Path(named)
    home = os.environ.get("LWD_HOME") or "lwd-data"
    beside = Path(home) / FILE
    return beside if "://" not in home and beside.is_file() else None


def from_file(path: Path | None, known: set[str]) -> dict[str, Any]:
    """The values of a settings file. Raises UserError for one that is none, or has an unknown name."""
    if path is None:
        return {}
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); correct LWD_CONFIG") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML ({error})") from error
    unknown = sorted(set(values) - known)
    if unknown:
        raise UserError(f"{path}: {unknown[0]}: no such setting{suggest(unknown[0], known)}")
    return values
