"""Fixtures: MiniStack, an endpoint, and an account for each test."""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.config import Config

PROJECT = Path(__file__).parents[1]
REGION = "eu-west-1"
PARQUET = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
_session = botocore.session.Session()
_accounts = itertools.count(300000000000)


def _ports() -> Iterator[int]:
    for port in range(14520, 14600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                yield port


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = next(_ports())
    endpoint = f"http://127.0.0.1:{port}"
    folder = tmp_path_factory.mktemp("ministack")
    environment = os.environ | {
        "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "MINISTACK_HOST": "127.0.0.1", "AWS_ENDPOINT_URL": endpoint,
        "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0", "S3_DATA_DIR": str(folder / "s3"), "STATE_DIR": str(folder / "state"),
    }  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "ministack"], env=environment, stdout=log, stderr=log)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        yield endpoint
    finally:
        process.terminate()
        process.wait(10)


def start_endpoint(emulator: str, *options: str) -> tuple[subprocess.Popen[str], str]:
    environment = os.environ | {
        "AWS_ENDPOINT_URL": emulator,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "PYTHONPATH": str(PROJECT),
    }
    command = [sys.executable, "-m", "turntable_athena", "--region", REGION, *options]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, json.loads(process.stdout.readline())["endpoint"]


@pytest.fixture(scope="session")
def endpoint(emulator: str) -> Iterator[str]:
    process, url = start_endpoint(emulator)
    yield url
    process.stdin.close()
    assert process.wait(5) == 0


class Lake:
    """One account with a bucket `lake-ACCOUNT`, a database `dmp`, and clients."""

    def __init__(self, emulator: str, endpoint: str, account: str) -> None:
        def client(service: str, url: str) -> Any:
            return _session.create_client(
                service, region_name=REGION, endpoint_url=url, aws_access_key_id=account, aws_secret_access_key="test",
                config=Config(request_checksum_calculation="when_required", retries={"total_max_attempts": 1}),
            )  # fmt: skip

        self.s3, self.glue = client("s3", emulator), client("glue", emulator)
        self.athena, self.events = client("athena", endpoint), client("events", emulator)
        self.bucket = f"lake-{account}"
        self.root = f"s3://{self.bucket}"
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.glue.create_database(DatabaseInput={"Name": "dmp"})

    def put(self, key: str, content: pa.Table | str) -> str:
        body: bytes | str = content
        if isinstance(content, pa.Table):
            buffer = io.BytesIO()
            pq.write_table(content, buffer, compression="zstd")
            body = buffer.getvalue()
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, ChecksumAlgorithm="CRC32")
        return f"{self.root}/{key}"

    def keys(self, prefix: str) -> list[str]:
        return [item["Key"] for item in self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])]

    def table_input(self, name: str, columns: dict[str, str], folder: str, **more: Any) -> dict[str, Any]:
        serde = {"SerializationLibrary": more.pop("serde", PARQUET), "Parameters": more.pop("serde_parameters", {})}
        storage = {
            "Columns": [{"Name": n, "Type": t} for n, t in columns.items()],
            "Location": f"{self.root}/{folder}",
            "SerdeInfo": serde,
        }
        keys = [{"Name": n, "Type": t} for n, t in more.pop("keys", {}).items()]
        return {
            "Name": name,
            "TableType": "EXTERNAL_TABLE",
            "StorageDescriptor": storage,
            "PartitionKeys": keys,
            **more,
        }

    def table(self, name: str, columns: dict[str, str], folder: str, **more: Any) -> None:
        self.glue.create_table(DatabaseName="dmp", TableInput=self.table_input(name, columns, folder, **more))

    def view_input(self, name: str, sql: str, columns: dict[str, str], **more: Any) -> dict[str, Any]:
        """Returns a view in the form in which Turntable writes it. The types of `columns` are Trino's."""
        body = {
            "originalSql": sql,
            "catalog": "awsdatacatalog",
            "schema": "dmp",
            "columns": [{"name": n, "type": t} for n, t in columns.items()],
        }
        encoded = base64.b64encode(json.dumps(body | more.pop("body", {})).encode()).decode()
        storage = {
            "Columns": [{"Name": n, "Type": "string"} for n in columns],
            "Location": "",
            "SerdeInfo": {},
        }
        return {
            "Name": name,
            "TableType": "VIRTUAL_VIEW",
            "ViewOriginalText": f"/* Presto View: {encoded} */",
            "ViewExpandedText": "/* Presto View */",
            "Parameters": {"presto_view": "true", "comment": "Presto View"},
            "StorageDescriptor": storage,
            **more,
        }

    def view(self, name: str, sql: str, columns: dict[str, str], **more: Any) -> None:
        self.glue.create_table(DatabaseName="dmp", TableInput=self.view_input(name, sql, columns, **more))

    def definition(self, name: str) -> dict[str, Any]:
        """Returns the JSON of a view in Glue."""
        text = self.glue.get_table(DatabaseName="dmp", Name=name)["Table"]["ViewOriginalText"]
        return json.loads(base64.b64decode(text.removeprefix("/* Presto View: ").removesuffix(" */")))

    def start(self, sql: str, **more: Any) -> str:
        request = {"ResultConfiguration": {"OutputLocation": f"{self.root}/results/"}} | more
        answer = self.athena.start_query_execution(
            QueryString=sql, QueryExecutionContext={"Database": "dmp"}, **request
        )
        return answer["QueryExecutionId"]

    def wait(self, query_id: str) -> dict[str, Any]:
        for _ in range(6000):
            execution = self.athena.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
            if execution["Status"]["State"] not in ("QUEUED", "RUNNING"):
                return execution
            time.sleep(0.005)
        raise AssertionError(f"query {query_id} does not end")

    def run(self, sql: str) -> dict[str, Any]:
        execution = self.wait(self.start(sql))
        assert execution["Status"]["State"] == "SUCCEEDED", execution["Status"]
        return execution

    def results(self, query_id: str, **more: Any) -> list[list[str | None]]:
        answer = self.athena.get_query_results(QueryExecutionId=query_id, **more)
        return [[cell.get("VarCharValue") for cell in row["Data"]] for row in answer["ResultSet"]["Rows"]]

    def rows(self, sql: str) -> list[list[str | None]]:
        """Returns the rows of a SELECT, without the header."""
        return self.results(self.run(sql)["QueryExecutionId"])[1:]

    def one(self, expression: str) -> str | None:
        return self.rows(f"SELECT {expression}")[0][0]

    def failure(self, sql: str) -> str:
        execution = self.wait(self.start(sql))
        assert execution["Status"]["State"] == "FAILED", execution["Status"]
        return execution["Status"]["StateChangeReason"]


@pytest.fixture
def lake(emulator: str, endpoint: str) -> Lake:
    return Lake(emulator, endpoint, str(next(_accounts)))
