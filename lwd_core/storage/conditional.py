"""Conditional put: an object is made once or not at all. Every commit in a bucket rests on it."""

import uuid

from lwd_core.errors import UserError
from lwd_core.storage.location import Location


def require_conditional_put(place: Location) -> None:
    """Put one object twice with If-None-Match; raise ``UserError`` unless the second put is refused.

    Some stores answer 200 to both: there two commits of one version overwrite each other in silence.
    """
    name = f".probe-{uuid.uuid4().hex}"
    try:
        _put(place, name, b"first")
    except OSError as error:
        raise UserError(
            f"{place.root}: the bucket can't be written ({error}); check name, keys, endpoint"
        ) from None
    try:
        _put(place, name, b"second")
    except OSError:
        return
    finally:
        bucket, key = _key(place, name)
        place.fs.call_s3("delete_object", Bucket=bucket, Key=key)
    raise UserError(
        f"{place.root}: this store overwrites where it was told not to (no conditional put), so commits "
        f"would be lost; use one that honours If-None-Match (AWS S3, MinIO, SeaweedFS, Ceph)"
    )


def put_new(place: Location, name: str, data: bytes) -> bool:
    """Make an object in a bucket; False where it is there already, made by somebody else.

    ``data`` must be the caller's own, so that a put whose answer was lost is known by it.
    """
    try:
        _put(place, name, data)
    except OSError:
        try:
            return place.read(name) == data
        except FileNotFoundError:
            pass
        raise
    return True


def _put(place: Location, name: str, data: bytes) -> None:
    bucket, key = _key(place, name)
    place.fs.call_s3("put_object", Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")


def _key(place: Location, name: str) -> tuple[str, str]:
    bucket, _, prefix = place.root.removeprefix("s3://").partition("/")
    return bucket, f"{prefix}/{name}".lstrip("/")
