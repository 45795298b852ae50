"""Clients of the emulator, one set per account, and the S3 operations that queries need."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from .errors import QueryFailed

MAX_CONCURRENT_LISTINGS = 16
_listing_pool = ThreadPoolExecutor(MAX_CONCURRENT_LISTINGS, thread_name_prefix="list")


@dataclass(frozen=True)
class S3File:
    """One object, with its properties at the time of the listing."""

    uri: str
    size: int
    etag: str
    modified: float


class Aws:
    """The emulator at `endpoint`; returns one `Account` per access key."""

    def __init__(self, endpoint: str, region: str, secret: str) -> None:
        self.endpoint, self.region, self.secret = endpoint, region, secret
        self._session = botocore.session.Session()
        self._accounts: dict[str, Account] = {}
        self._lock = threading.Lock()

    def account(self, access_key: str) -> Account:
        with self._lock:
            return self._accounts.setdefault(access_key, Account(self, access_key))

    def client(self, service: str, access_key: str) -> Any:
        """Makes a client, under a lock because botocore sessions are not thread-safe while they make one.

        Checksums are off by default: the default CRC64NVME is slow in MiniStack.
        """
        config = Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            parameter_validation=False,
            retries={"total_max_attempts": 3},
            max_pool_connections=64,
            s3={"addressing_style": "path"},
        )
        with self._lock:
            return self._session.create_client(
                service,
                region_name=self.region,
                endpoint_url=self.endpoint,
                aws_access_key_id=access_key,
                aws_secret_access_key=self.secret,
                config=config,
            )


class Account:
    """One caller's view: in the emulator, each 12-digit access key is a separate account."""

    def __init__(self, aws: Aws, access_key: str) -> None:
        self.aws, self.access_key = aws, access_key

    @cached_property
    def glue(self) -> Any:
        return self.aws.client("glue", self.access_key)

    @cached_property
    def s3(self) -> Any:
        return self.aws.client("s3", self.access_key)

    @cached_property
    def athena(self) -> Any:
        return self.aws.client("athena", self.access_key)

    @cached_property
    def events(self) -> Any:
        return self.aws.client("events", self.access_key)

    def list_files(self, location: str) -> list[S3File]:
        """Lists every object that Athena reads under `location`, including sub-folders.

        Ignores empty objects (folder markers), and objects with `_` or `.` at the beginning of the name or of a folder
        below the location.
        https://docs.aws.amazon.com/athena/latest/ug/tables-location-format.html
        """
        bucket, prefix = split_uri(location)
        prefix = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
        found: list[S3File] = []
        request: dict[str, str] = {"Bucket": bucket, "Prefix": prefix}
        try:
            while True:
                page = self.s3.list_objects_v2(**request)
                for item in page.get("Contents", ()):
                    if item["Size"] and not _hidden(item["Key"][len(prefix) :]):
                        found.append(
                            S3File(
                                f"s3://{bucket}/{item['Key']}",
                                item["Size"],
                                item["ETag"],
                                item["LastModified"].timestamp(),
                            )
                        )
                if not page.get("IsTruncated"):
                    return found
                request["ContinuationToken"] = page["NextContinuationToken"]
        except (ClientError, BotoCoreError) as error:
            raise QueryFailed("HIVE_FILESYSTEM_ERROR", f"Failed to list directory: {location}: {error}") from error

    def list_many(self, locations: Iterable[str]) -> list[list[S3File]]:
        """Calls `list_files` for each location, several at a time; keeps the order."""
        return list(_listing_pool.map(self.list_files, locations))

    def is_empty(self, location: str) -> bool:
        """Returns whether there is no object at all under the location, not even a hidden one."""
        bucket, prefix = split_uri(location)
        try:
            page = self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix.rstrip("/") + "/", MaxKeys=1)
        except (ClientError, BotoCoreError) as error:
            raise QueryFailed("HIVE_FILESYSTEM_ERROR", f"Failed to list directory: {location}: {error}") from error
        return not page.get("Contents")

    def put(self, uri: str, body: Any) -> None:
        bucket, key = split_uri(uri)
        try:
            self.s3.put_object(Bucket=bucket, Key=key, Body=body, ChecksumAlgorithm="CRC32")
        except (ClientError, BotoCoreError) as error:
            raise QueryFailed("HIVE_WRITER_CLOSE_ERROR", f"Unable to write {uri}: {error}") from error

    def get(self, uri: str) -> bytes:
        bucket, key = split_uri(uri)
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def split_uri(uri: str) -> tuple[str, str]:
    """Splits `s3://bucket/a/b` into (`bucket`, `a/b`). Like Athena, treats `s3a://` and `s3n://` the same."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme not in ("s3", "s3a", "s3n") or not bucket:
        raise QueryFailed("INVALID_TABLE_PROPERTY", f"not an S3 location: {uri!r}")
    return bucket, key


def _hidden(relative_key: str) -> bool:
    return any(part.startswith(("_", ".")) for part in relative_key.split("/"))
