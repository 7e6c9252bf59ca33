"""Where things lie: one typed settings object, from defaults and ``LWD_*`` environment variables."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

PLACES = (
    "landing",
    "lake",
    "snapshots",
    "checkpoints",
    "policies",
    "releases",
    "reports",
    "embodiments",
)


class Settings(BaseSettings):
    """Every place is a folder or an fsspec URL (``s3://bucket/prefix``).

    ``home`` holds all the others unless they are set one by one.
    """

    model_config = SettingsConfigDict(env_prefix="LWD_", frozen=True)

    home: str = "lwd-data"
    landing: str = ""
    lake: str = ""
    snapshots: str = ""
    checkpoints: str = ""
    policies: str = ""
    releases: str = ""
    reports: str = ""
    keys: str = ""
    embodiments: str = ""
    s3_endpoint: str = ""

    def model_post_init(self, _context: object) -> None:
        home = self.home if "://" in self.home else str(Path(self.home).resolve())
        object.__setattr__(self, "home", home)
        for name in PLACES:
            place = getattr(self, name) or f"{home.rstrip('/')}/{name}"
            object.__setattr__(self, name, place)
        # A private key never lies in a bucket.
        local = Path(home) if "://" not in home else Path("lwd-data").resolve()
        object.__setattr__(self, "keys", self.keys or str(local / "keys"))
