"""What a robot may do in the buckets, as an S3 policy: put its own logs and heartbeat, read what it runs."""

from typing import Any

from lwd_core.errors import UserError
from lwd_core.robots.enrolment import Enrolment
from lwd_core.settings import Settings


def bucket_policy(settings: Settings, robot: Enrolment) -> dict[str, Any]:
    """The policy document (AWS IAM, also MinIO's and SeaweedFS's).

    It may put logs into its own folders of the landing zone and its own heartbeat, see whether they are
    there, and read releases, policies and what is wanted of it; nothing else, and delete nothing. Raises
    UserError where places are no buckets: rights to folders are the file system's.
    """
    # a star goes over slashes: any other day would be another robot's folder
    logs = f"{robot.site}/????-??-??/{robot.robot_id}/*"
    landing = f"{_resource(settings.landing, 'landing')}/{logs}"
    own = f"{_resource(settings.robots, 'robots')}/{robot.robot_id}"
    runs = [f"{_resource(getattr(settings, place), place)}/*" for place in ("releases", "policies")]
    # without the right to list, a store says "forbidden" of what is not there
    seen: dict[str, list[str]] = {}
    for resource in (landing, f"{own}/*", *runs):
        bucket, _, prefix = resource.partition("/")
        seen.setdefault(bucket, []).append(prefix)
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"],
                "Resource": [landing, f"{own}/heartbeat.json"],
            },
            {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [*runs, f"{own}/*"]},
            *(
                {
                    "Effect": "Allow",
                    "Action": ["s3:ListBucket"],
                    "Resource": [bucket],
                    "Condition": {"StringLike": {"s3:prefix": prefixes}},
                }
                for bucket, prefixes in seen.items()
            ),
        ],
    }


def _resource(place: str, name: str) -> str:
    if not place.startswith("s3://"):
        raise UserError(
            f"{name} {place}: no bucket; give the robot's user the right to write its own folder there, and "
            "to read releases, policies and its folder of robots"
        )
    return "arn:aws:s3:::" + place.removeprefix("s3://").rstrip("/")
