"""Tests the rules by which Athena refuses statements: names and quotas."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from conftest import Lake

SLOW = "SELECT count(*) FROM UNNEST(sequence(1, 100000)) AS a(x) CROSS JOIN UNNEST(sequence(1, 100000)) AS b(y) WHERE x * y % 7 = 3"


def refusal(lake: Lake, sql: str) -> str:
    with pytest.raises(ClientError) as caught:
        lake.start(sql)
    assert caught.value.response["Error"]["Code"] == "InvalidRequestException"
    assert caught.value.response["AthenaErrorCode"] == "MALFORMED_QUERY"
    return caught.value.response["Error"]["Message"]


@pytest.mark.parametrize(("sql", "expected"), [
    ("SELECT 1 AS skip", "line 1:13: mismatched input 'skip'. Expecting: <identifier>"),
    ("SELECT t.natural\nFROM t", "line 1:10: mismatched input 'natural'. Expecting: <identifier>"),
    ("SELECT id\n  FROM users AS last", "line 2:17: mismatched input 'last'. Expecting: <identifier>"),
    ("CREATE VIEW v AS SELECT id AS end FROM t", "line 1:31: mismatched input 'end'. Expecting: <identifier>"),
    ("SELECT `id` FROM t",
     "line 1:8: backquoted identifiers are not supported; use double quotes to quote identifiers"),
    ("SELECT 1x FROM t",
     "line 1:8: identifiers must not start with a digit; surround the identifier with double quotes"),
])  # fmt: skip
def test_queries_with_names_that_need_quotes_are_refused(lake: Lake, sql: str, expected: str) -> None:
    assert refusal(lake, sql) == expected


@pytest.mark.parametrize("sql", [
    'SELECT "skip", "end" FROM (SELECT 1 AS "skip", 2 AS "end")',
    "SELECT date, user_id, 'a`b', \"c`d\", 1e5, current_date FROM (SELECT 1 AS date, 2 AS user_id, 3 AS \"c`d\")",
    "SELECT trim(' a '), extract(year FROM DATE '2026-01-01'), CASE WHEN true THEN 1 ELSE 2 END",
])  # fmt: skip
def test_words_are_reserved_only_as_names(lake: Lake, sql: str) -> None:
    lake.run(sql)


@pytest.mark.parametrize("names", ["date (id int)", "t (timestamp string)", "t (id int) PARTITIONED BY (date string)"])
def test_ddl_has_its_own_reserved_words(lake: Lake, names: str) -> None:
    create = "CREATE EXTERNAL TABLE {} STORED AS PARQUET LOCATION '{}/t/'"
    expected = "line 1:8: mismatched input 'EXTERNAL'. Expecting: "
    assert refusal(lake, create.format(names, lake.root)).startswith(expected)
    escaped = names.replace("date", "`date`").replace("timestamp", "`timestamp`")
    lake.run(create.format(escaped, lake.root))


def test_queries_beyond_the_quota_are_refused(lake: Lake) -> None:
    slow = [lake.start(SLOW) for _ in range(20)]
    with pytest.raises(ClientError) as caught:
        lake.start("SELECT 1")
    assert caught.value.response["Error"]["Code"] == "TooManyRequestsException"
    assert caught.value.response["Reason"] == "CONCURRENT_QUERY_LIMIT_EXCEEDED"
    # DDL has its own quota.
    lake.run("SHOW TABLES")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda query: lake.athena.stop_query_execution(QueryExecutionId=query), slow))
    assert lake.one("1") == "1"
