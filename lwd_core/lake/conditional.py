"""Whether a bucket honours conditional put, on which every commit rests."""

import uuid

from lwd_core.errors import UserError
from lwd_core.lake.place import Place


def require_conditional_put(place: Place) -> None:
    """Put one object twice with If-None-Match; raise ``UserError`` unless the second put is refused.

    Some stores answer 200 to both: there two commits of one version overwrite each other in silence.
    """
    bucket, _, prefix = place.root.removeprefix("s3://").partition("/")
    key = f"{prefix}/.probe-{uuid.uuid4().hex}".lstrip("/")
    put = {"Bucket": bucket, "Key": key, "IfNoneMatch": "*"}
    try:
        place.fs.call_s3("put_object", Body=b"first", **put)
    except OSError as error:
        raise UserError(
            f"{place.root}: the bucket can't be written ({error}); check name, keys, endpoint"
        ) from None
    try:
        place.fs.call_s3("put_object", Body=b"second", **put)
    except OSError:
        return
    finally:
        place.fs.call_s3("delete_object", Bucket=bucket, Key=key)
    raise UserError(
        f"{place.root}: this store overwrites where it was told not to (no conditional put), so commits "
        f"would be lost; use one that honours If-None-Match (AWS S3, MinIO, SeaweedFS, Ceph)"
    )
