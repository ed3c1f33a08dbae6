"""The stores of buckets, through TensorStore, and their errors."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import tensorstore as ts

_RETRIES = {"max_retries": 12, "initial_delay": "500ms", "max_delay": "16s"}
"""Limits a request to two minutes; TensorStore's default is a quarter of an hour."""

_ERROR_CODES = {
    "PERMISSION_DENIED": errno.EACCES,
    "UNAUTHENTICATED": errno.EACCES,
    "NOT_FOUND": errno.ENOENT,
}


def spec_of(scheme: str, bucket: str) -> dict[str, Any]:
    """TensorStore's description of a bucket; `scheme` is gs:// or s3://."""
    if scheme == "gs://":
        return {"driver": "gcs", "bucket": bucket, "context": {"gcs_request_retries": _RETRIES}}
    spec = {"driver": "s3", "bucket": bucket, "context": {"s3_request_retries": _RETRIES}}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    url = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if url:
        spec |= {"endpoint": url, "aws_region": region or "us-east-1"}
    return spec | ({"aws_region": region} if region else {})


@cache
def store_of(scheme: str, bucket: str) -> ts.KvStore:
    """The open store of a bucket."""
    return ts.KvStore.open(spec_of(scheme, bucket)).result()


@cache
def missing() -> bytes:
    """The generation that stands for an object that does not exist."""
    return ts.KvStore.open({"driver": "memory"}).result().read("x").result().stamp.generation


def starting_with(prefix: str) -> ts.KvStore.KeyRange:
    """The range of keys with a prefix."""
    first = prefix.encode()
    return ts.KvStore.KeyRange(first, first[:-1] + bytes([first[-1] + 1]) if first else b"")


@contextmanager
def os_errors(path: Any) -> Iterator[None]:
    """Turn an error of TensorStore, whatever its type, into an OSError of one line."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        message = str(error).partition(" [")[0].partition("\n")[0]
        code = next((_ERROR_CODES[name] for name in _ERROR_CODES if name in str(error)), errno.EIO)
        raise OSError(code, message, str(path)) from error
