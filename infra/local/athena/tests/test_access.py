"""Tests access: web pages, other host names and other access keys are refused."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import pytest
from turntable_athena.access import Access
from turntable_athena.engine import Engine

HOST = {"host": "127.0.0.1:4566"}
SIGNED = {"authorization": "AWS4-HMAC-SHA256 Credential=123456789012/20260101/us-east-1/glue/aws4_request, Signature=0"}


@pytest.mark.parametrize(
    ("headers", "query", "answered"),
    [
        ({**HOST, **SIGNED}, "", True),
        ({"host": "localhost:4566", **SIGNED}, "", True),
        (HOST, "X-Amz-Credential=123456789012%2F20260101%2Fus-east-1%2Fs3%2Faws4_request", True),
        ({"host": "evil.example:4566", **SIGNED}, "", False),
        ({"host": "127.0.0.1:4567", **SIGNED}, "", False),
        (SIGNED, "", False),
        ({**HOST, **SIGNED, "origin": "https://evil.example"}, "", False),
        ({**HOST, **SIGNED, "origin": "null"}, "", False),
        ({**HOST, **SIGNED, "sec-fetch-site": "cross-site"}, "", False),
        (HOST, "", False),
        ({**HOST, "authorization": SIGNED["authorization"].replace("123456789012", "000000000000")}, "", False),
    ],
)
def test_only_programs_of_this_stack_are_answered(headers: dict[str, str], query: str, answered: bool) -> None:
    access = Access(["http://127.0.0.1:4566"], "123456789012")
    assert (access.refusal(headers, query) is None) == answered


def test_every_key_is_an_account_where_no_key_is_set() -> None:
    access = Access(["http://127.0.0.1:4566"], "")
    assert access.refusal(HOST) is None
    assert access.refusal({**HOST, "origin": "http://127.0.0.1:4566"}) is not None


def test_a_web_page_gets_no_answer_from_the_endpoint(endpoint: str) -> None:
    for more in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        connection = http.client.HTTPConnection(urlsplit(endpoint).netloc)
        connection.request("POST", "/", json.dumps({"QueryString": "SELECT 1"}), {"X-Amz-Target": "AmazonAthena.StartQueryExecution", **more})
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Access-Control-Allow-Origin")) == (403, None)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '/etc/hosts.csv'",
        "SELECT * FROM read_csv('http://127.0.0.1:1/x')",
        "COPY (SELECT 1) TO '{folder}/x.csv'",
        "ATTACH '{folder}/x.db'",
        "SET GLOBAL enable_external_access = true",
        "SET GLOBAL allowed_directories = ['/']",
        "INSTALL spatial",
    ],
)
def test_duckdb_reaches_only_s3_and_its_own_folder(sql: str, tmp_path: Path) -> None:
    engine = Engine("http://127.0.0.1:1", "eu-west-1", "test")
    with engine.session("test") as connection:
        with pytest.raises((duckdb.PermissionException, duckdb.InvalidInputException)):
            connection.execute(sql.format(folder=tmp_path))
        connection.execute(f"COPY (SELECT 1) TO '{engine.unloaded}/x.csv'")
