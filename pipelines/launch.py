"""Where the training process runs: here, in a pod, on a Ray cluster; the settings say which.

The process is the same (``training_process.py``) and speaks the same protocol, Dagster Pipes; the
clients of k8s and Ray are imported where they are asked for.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

import dagster as dg

from lwd_core.errors import UserError
from lwd_core.settings import PLACES, Settings

MODULE = ("-m", "pipelines.training_process")


class Launcher(dg.ConfigurableResource):
    """Starts one training process and follows it to its end. ``where``: empty for the setting."""

    where: str = ""

    def run(self, context: dg.AssetExecutionContext, extras: Mapping[str, Any]) -> dg.MaterializeResult:
        """Run with these extras; return what the process reported. Raises what Pipes raises."""
        settings = Settings()
        where = self.where or settings.train_on
        if where == "k8s":
            return _in_a_pod(context, extras, settings)
        if where == "ray":
            return _on_ray(context, extras, settings)
        client = dg.PipesSubprocessClient()
        command = [sys.executable, *MODULE]
        return client.run(
            context=context, command=command, env=dict(os.environ), extras=dict(extras)
        ).get_materialize_result()


def surroundings(settings: Settings) -> dict[str, str]:
    """What a training elsewhere is told: the places, resolved. Credentials are its own environment's."""
    told = {name: getattr(settings, name) for name in (*PLACES, "s3_endpoint", "reporters")}
    return {f"LWD_{name.upper()}": value for name, value in told.items()} | {"OMP_NUM_THREADS": "1"}


def pod(settings: Settings) -> dict[str, Any]:
    """The pod of a training, over what Dagster puts into it. Raises UserError without an image."""
    if not settings.train_image:
        raise UserError("train_image: empty; training on k8s needs the image this platform is built into")
    wanted = {"cpu": f"{settings.train_cpus:g}", "memory": f"{settings.train_memory_gb:g}Gi"}
    if settings.train_gpus:
        wanted["nvidia.com/gpu"] = str(settings.train_gpus)
    return {
        "restartPolicy": "Never",
        "containers": [
            {
                "name": "training",
                "image": settings.train_image,
                "resources": {"requests": wanted, "limits": wanted},
                # credentials of buckets: never part of a run's record
                "envFrom": [{"secretRef": {"name": "lwd-secrets", "optional": True}}],
            }
        ],
    }


def _in_a_pod(
    context: dg.AssetExecutionContext, extras: Mapping[str, Any], settings: Settings
) -> dg.MaterializeResult:
    from dagster_k8s import PipesK8sClient

    return (
        PipesK8sClient()
        .run(
            context=context,
            image=settings.train_image,
            command=["python", *MODULE],
            namespace=settings.train_namespace,
            env=surroundings(settings),
            base_pod_spec=pod(settings),
            extras=dict(extras),
        )
        .get_materialize_result()
    )


def _on_ray(
    context: dg.AssetExecutionContext, extras: Mapping[str, Any], settings: Settings
) -> dg.MaterializeResult:
    from dagster_ray import PipesRayJobClient

    client = PipesRayJobClient(address=settings.ray_address)
    return client.run(
        context=context,
        submit_job_params={
            "entrypoint": " ".join(["python", *MODULE]),
            "runtime_env": {"env_vars": surroundings(settings)},
            "entrypoint_num_cpus": settings.train_cpus,
            "entrypoint_num_gpus": settings.train_gpus,
        },
        extras=dict(extras),
    ).get_materialize_result()
