"""Tests the endpoint with MiniStack: protocol, tables, SQL, views, UNLOAD."""

from __future__ import annotations

import json
import signal
import threading
import time
import urllib.error
import urllib.request
import uuid
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from conftest import Lake, start_endpoint

USERS = {"id": "bigint", "name": "string"}


def users(*ids: int, **more: list) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "name": [f"n{i}" for i in ids], **more})


def refused(call, *arguments, **keywords) -> str:
    with pytest.raises(ClientError) as caught:
        call(*arguments, **keywords)
    assert caught.value.response["Error"]["Code"] == "InvalidRequestException"
    return caught.value.response["Error"]["Message"]


# ---- protocol


def test_select_has_header_typed_columns_and_result_file(lake: Lake) -> None:
    query_id = lake.run("SELECT 1 AS a, 'x,\"y' AS b, CAST(NULL AS varchar) AS c, '' AS d, count(*)")[
        "QueryExecutionId"
    ]
    assert lake.results(query_id) == [["a", "b", "c", "d", "_col4"], ["1", 'x,"y', None, "", "1"]]
    info = lake.athena.get_query_results(QueryExecutionId=query_id)["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]
    assert [(c["Name"], c["Type"]) for c in info][0::4] == [("a", "integer"), ("_col4", "bigint")]
    execution = lake.athena.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
    assert execution["ResultConfiguration"]["OutputLocation"] == f"{lake.root}/results/{query_id}.csv"
    body = lake.s3.get_object(Bucket=lake.bucket, Key=f"results/{query_id}.csv")["Body"].read()
    assert body == b'"a","b","c","d","_col4"\n"1","x,""y",,"","1"\n'


def test_results_are_paginated(lake: Lake) -> None:
    query_id = lake.run("SELECT x FROM UNNEST(sequence(1, 2500)) AS t(x) ORDER BY x")["QueryExecutionId"]
    pages = list(lake.athena.get_paginator("get_query_results").paginate(QueryExecutionId=query_id))
    values = [row["Data"][0]["VarCharValue"] for page in pages for row in page["ResultSet"]["Rows"]]
    assert len(pages) == 3 and values == ["x", *map(str, range(1, 2501))]
    assert lake.results(query_id, MaxResults=2) == [["x"], ["1"]]


def test_client_request_token_makes_start_idempotent(lake: Lake) -> None:
    token = str(uuid.uuid4())
    first = lake.start("SELECT 1", ClientRequestToken=token)
    assert lake.start("SELECT 1", ClientRequestToken=token) == first
    assert "Idempotent parameters do not match" in refused(lake.start, "SELECT 2", ClientRequestToken=token)


def test_invalid_requests_are_refused_and_server_keeps_running(lake: Lake, endpoint: str) -> None:
    assert "No output location provided" in refused(lake.start, "SELECT 1", ResultConfiguration={})
    assert "mismatched input" in refused(lake.start, "SELEC 1")
    assert "mismatched input" in refused(lake.start, "SELECT (1")
    assert "Only one sql statement" in refused(lake.start, "SELECT 1; SELECT 2")
    assert "not supported" in refused(lake.start, "INSERT INTO t SELECT 1")
    assert "was not found" in refused(lake.athena.get_query_execution, QueryExecutionId=str(uuid.uuid4()))
    for body, target in (
        (b"\xff{", "StartQueryExecution"),
        (b"[]", "GetQueryResults"),
        (b"{}", "GetQueryExecution"),
        (b"{}", "Nonsense"),
    ):
        request = urllib.request.Request(endpoint, body, {"X-Amz-Target": f"AmazonAthena.{target}"})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        assert caught.value.code == 400 and "__type" in json.loads(caught.value.read())
    assert lake.one("1") == "1"


def test_queries_are_listed_and_read_in_batches(lake: Lake) -> None:
    ids = [lake.run(f"SELECT {i}")["QueryExecutionId"] for i in range(3)]
    assert lake.athena.list_query_executions()["QueryExecutionIds"] == ids[::-1]
    answer = lake.athena.batch_get_query_execution(QueryExecutionIds=[ids[0], "nope"])
    assert [q["Query"] for q in answer["QueryExecutions"]] == ["SELECT 0"]
    assert answer["UnprocessedQueryExecutionIds"][0]["QueryExecutionId"] == "nope"


def test_query_can_be_stopped(lake: Lake) -> None:
    slow = lake.start(
        "SELECT count(*) FROM UNNEST(sequence(1, 100000)) a(x) CROSS JOIN UNNEST(sequence(1, 1000000)) b(y)"
    )
    time.sleep(0.2)
    lake.athena.stop_query_execution(QueryExecutionId=slow)
    assert lake.wait(slow)["Status"]["State"] == "CANCELLED"
    assert "CANCELLED" in refused(lake.results, slow)


def test_output_location_comes_from_the_emulators_workgroup(lake: Lake) -> None:
    settings = {"ResultConfiguration": {"OutputLocation": f"{lake.root}/wg/"}}
    lake.athena.create_work_group(Name="readers", Configuration=settings)
    assert lake.athena.get_work_group(WorkGroup="readers")["WorkGroup"]["Name"] == "readers"
    execution = lake.wait(lake.start("SELECT 1", WorkGroup="readers", ResultConfiguration={}))
    assert execution["ResultConfiguration"]["OutputLocation"].startswith(f"{lake.root}/wg/")
    assert "is not found" in refused(lake.start, "SELECT 1", WorkGroup="nobody")


def test_a_workgroup_that_enforces_its_location_overrides_the_request(lake: Lake) -> None:
    settings = {"EnforceWorkGroupConfiguration": True, "ResultConfiguration": {"OutputLocation": f"{lake.root}/wg/"}}
    lake.athena.create_work_group(Name="strict", Configuration=settings)
    execution = lake.wait(lake.start("SELECT 1", WorkGroup="strict"))
    assert execution["ResultConfiguration"]["OutputLocation"].startswith(f"{lake.root}/wg/")


def test_managed_query_results_refuse_a_location(lake: Lake) -> None:
    settings = {"ManagedQueryResultsConfiguration": {"Enabled": True}}
    lake.athena.create_work_group(Name="managed", Configuration=settings)

    def start(sql: str, **more: object) -> str:
        context = {"Database": "dmp"}
        request = {"QueryString": sql, "WorkGroup": "managed", "QueryExecutionContext": context} | more
        return lake.athena.start_query_execution(**request)["QueryExecutionId"]

    message = refused(start, "SELECT 1", ResultConfiguration={"OutputLocation": f"{lake.root}/results/"})
    assert message == "ManagedQueryResultsConfiguration and ResultConfiguration cannot be set together."
    reuse = {"ResultReuseByAgeConfiguration": {"Enabled": False}}
    assert "ResultReuseConfiguration" in refused(start, "SELECT 1", ResultReuseConfiguration=reuse)
    query_id = start("SELECT 1 AS a")
    execution = lake.wait(query_id)
    assert execution["ManagedQueryResultsConfiguration"] == {"Enabled": True} and "ResultConfiguration" not in execution
    assert lake.results(query_id) == [["a"], ["1"]]
    unload = f"UNLOAD (SELECT 1 AS a) TO '{lake.root}/out/' WITH (format = 'PARQUET')"
    assert lake.wait(start(unload))["Status"]["State"] == "SUCCEEDED"
    assert len(lake.keys("out/")) == 1 and lake.keys("results/") == []


@pytest.mark.parametrize("end", ["stdin", "SIGTERM", "SIGINT"])
def test_server_ends_with_its_starter(emulator: str, end: str) -> None:
    process, _ = start_endpoint(emulator)
    process.stdin.close() if end == "stdin" else process.send_signal(getattr(signal, end))
    assert process.wait(5) == 0


def test_event_is_put_when_a_query_ends(emulator: str, lake: Lake) -> None:
    """Names another source, because MiniStack refuses PutEvents from `aws.athena`, as AWS does."""
    process, url = start_endpoint(emulator, "--events", "local.athena")
    account = lake.bucket.removeprefix("lake-")
    other = Lake(emulator, url, f"4{account[1:]}")
    queue = _session_queue(emulator, other)
    query_id = other.run("SELECT 1")["QueryExecutionId"]
    for _ in range(50):
        messages = queue()
        if messages:
            break
        time.sleep(0.1)
    detail = json.loads(messages[0]["Body"])["detail"]
    assert (detail["queryExecutionId"], detail["currentState"], detail["previousState"]) == (
        query_id,
        "SUCCEEDED",
        "RUNNING",
    )
    process.stdin.close()
    process.wait(5)


def _session_queue(emulator: str, lake: Lake):
    import conftest

    sqs = conftest._session.create_client(
        "sqs", region_name=conftest.REGION, endpoint_url=emulator,
        aws_access_key_id=lake.bucket.removeprefix("lake-"), aws_secret_access_key="test",
    )  # fmt: skip
    url = sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    lake.events.put_rule(Name="athena", EventPattern=json.dumps({"detail-type": ["Athena Query State Change"]}))
    lake.events.put_targets(Rule="athena", Targets=[{"Id": "queue", "Arn": arn}])
    return lambda: sqs.receive_message(QueueUrl=url).get("Messages", [])


# ---- reading tables


def test_each_query_reads_the_location_from_glue(lake: Lake) -> None:
    lake.put("users/blue/a.parquet", users(1))
    lake.put("users/green/a.parquet", users(1, 2))
    lake.table("users", USERS, "users/blue")
    assert lake.rows("SELECT count(*) FROM users") == [["1"]]
    lake.glue.update_table(DatabaseName="dmp", TableInput=lake.table_input("users", USERS, "users/green/"))
    assert lake.rows('SELECT count(*) FROM "AwsDataCatalog"."dmp"."users"') == [["2"]]


def test_one_query_sees_one_version_of_a_table(lake: Lake) -> None:
    """A query that names a table twice reads one location, however often the table moves meanwhile."""
    inputs = []
    for colour, count in (("blue", 1), ("green", 2)):
        lake.put(f"users/{colour}/a.parquet", users(*range(count)))
        inputs.append(lake.table_input("users", USERS, f"users/{colour}"))
    lake.table("users", USERS, "users/blue")
    stop = threading.Event()

    def flip() -> None:
        while not stop.is_set():
            for table in inputs:
                lake.glue.update_table(DatabaseName="dmp", TableInput=table)

    flipper = threading.Thread(target=flip)
    flipper.start()
    try:
        sql = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM dmp.users)"
        seen = {tuple(lake.rows(sql)[0]) for _ in range(40)}
    finally:
        stop.set()
        flipper.join()
    assert seen == {("1", "1"), ("2", "2")}


def test_sub_folders_are_read_but_hidden_names_are_not(lake: Lake) -> None:
    for i, key in enumerate(["a.parquet", "deep/er/b.parquet", "_c.parquet", ".d.parquet", "_temporary/e.parquet"]):
        lake.put(f"t/{key}", users(i))
    lake.put("t/folder/", "")
    lake.put("t2/f.parquet", users(9))
    lake.table("t", USERS, "t")
    assert lake.rows('SELECT id, "$path" FROM t ORDER BY id') == [
        ["0", f"{lake.root}/t/a.parquet"],
        ["1", f"{lake.root}/t/deep/er/b.parquet"],
    ]
    assert lake.rows("SELECT * FROM t WHERE \"$path\" LIKE '%a.parquet'") == [["0", "n0"]]
    assert int(lake.rows('SELECT max("$file_size") FROM t')[0][0]) > 100


def test_empty_location_has_no_rows_and_all_columns(lake: Lake) -> None:
    lake.table("t", USERS, "nothing")
    assert lake.results(lake.run("SELECT * FROM t")["QueryExecutionId"]) == [["id", "name"]]
    assert lake.rows("SELECT count(*), max(id) FROM t") == [["0", None]]


def test_columns_are_matched_by_name_and_a_missing_one_is_null(lake: Lake) -> None:
    lake.put("t/a.parquet", pa.table({"NAME": ["x"], "other": [1.5], "id": pa.array([1], pa.int32())}))
    lake.put("t/b.parquet", users(2))
    lake.table("t", {**USERS, "later": "date"}, "t")
    assert lake.rows("SELECT * FROM t ORDER BY id") == [["1", "x", None], ["2", "n2", None]]


def test_file_with_another_type_is_bad_data(lake: Lake) -> None:
    lake.put("t/a.parquet", users(1))
    lake.put("t/b.parquet", pa.table({"id": ["2"], "name": ["x"]}))
    lake.table("t", USERS, "t")
    reason = lake.failure("SELECT count(*) FROM t")
    assert reason.startswith("HIVE_BAD_DATA: Field id's type VARCHAR in parquet file") and "t/b.parquet" in reason
    lake.put("garbage/a.parquet", "this is not Parquet at all")
    lake.table("garbage", USERS, "garbage")
    assert lake.failure("SELECT * FROM garbage").startswith("HIVE_BAD_DATA")


def test_query_fails_if_a_file_is_deleted_meanwhile(lake: Lake) -> None:
    """Files are listed at the start. One of many is deleted while the first are being read."""
    for i in range(60):
        lake.put(f"t/{i:03}.parquet", users(i))
    lake.table("t", USERS, "t")
    assert lake.rows("SELECT count(*) FROM t") == [["60"]]  # the footers are cached from here on
    outcomes = []
    for round_ in range(5):
        query_id = lake.start("SELECT count(*), count(name) FROM t")
        time.sleep(0.02 * (round_ + 1))
        lake.s3.delete_object(Bucket=lake.bucket, Key="t/059.parquet")
        status = lake.wait(query_id)["Status"]
        if status["State"] == "SUCCEEDED":
            outcomes.append(lake.results(query_id)[1][0])
        else:
            assert status["StateChangeReason"].startswith("HIVE_CURSOR_ERROR"), status
            outcomes.append("failed")
        lake.put("t/059.parquet", users(59))
    assert "failed" in outcomes and set(outcomes) <= {"failed", "60"}, outcomes


def test_errors_name_missing_tables_columns_and_functions(lake: Lake) -> None:
    assert lake.failure("SELECT * FROM nope") == "TABLE_NOT_FOUND: Table 'awsdatacatalog.dmp.nope' does not exist"
    lake.table("t", USERS, "t")
    assert lake.failure("SELECT nope FROM t").startswith("COLUMN_NOT_FOUND: Column 'nope'")
    assert lake.failure("SELECT nope(1)").startswith("FUNCTION_NOT_FOUND: Function 'nope'")
    for query in (
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM (SELECT 1) CROSS JOIN LATERAL read_text('/etc/hostname')",
        "SELECT (SELECT content FROM read_text('/etc/hostname'))",
        "SELECT 1 WHERE EXISTS (SELECT * FROM duckdb_settings())",
        "WITH a AS (SELECT * FROM read_csv('http://127.0.0.1:1/')) SELECT * FROM a",
        "SELECT a FROM (VALUES 1) AS t(a) WHERE a IN (SELECT size FROM read_blob('/etc/hostname'))",
    ):
        assert lake.failure(query).startswith("FUNCTION_NOT_FOUND"), query
    assert lake.rows("SELECT x FROM (SELECT 1 AS a) CROSS JOIN LATERAL (SELECT a + 1 AS x)") == [["2"]]
    lake.table("elsewhere", USERS, "x", Parameters={})
    lake.glue.update_table(
        DatabaseName="dmp",
        TableInput={"Name": "elsewhere", "StorageDescriptor": {"Location": "s3://no-such-bucket-1/x", "Columns": []}},
    )
    assert lake.failure("SELECT * FROM elsewhere").startswith("HIVE_FILESYSTEM_ERROR")


def test_accounts_are_isolated(lake: Lake, emulator: str, endpoint: str) -> None:
    other = Lake(emulator, endpoint, str(int(lake.bucket.removeprefix("lake-")) + 500000))
    for one, ids in ((lake, (1,)), (other, (1, 2, 3))):
        one.put("t/a.parquet", users(*ids))
        one.table("t", USERS, "t")
    query_id = lake.run("SELECT count(*) FROM t")["QueryExecutionId"]
    assert lake.results(query_id)[1] == ["1"] and other.rows("SELECT count(*) FROM t") == [["3"]]
    assert "was not found" in refused(other.results, query_id)


def test_concurrent_queries_are_isolated(lake: Lake) -> None:
    for i in range(4):
        lake.put(f"t{i}/a.parquet", users(*range(i + 1)))
        lake.table(f"t{i}", USERS, f"t{i}")
    wrong: list[object] = []

    def ask(i: int) -> None:
        for _ in range(10):
            rows = lake.rows(f"SELECT count(*), max(u.id) FROM t{i} AS u")
            if rows != [[str(i + 1), str(i)]]:
                wrong.append((i, rows))

    threads = [threading.Thread(target=ask, args=(i % 4,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_values_render_as_in_athena(lake: Lake) -> None:
    moment = datetime(2024, 1, 2, 3, 4, 5, 678901)
    lake.put("t/a.parquet", pa.table({
        "d": pa.array([Decimal("1.50")], pa.decimal128(10, 2)), "f": pa.array([0.1], pa.float32()), "g": [1e10],
        "b": [b"he"], "t": pa.array([moment], pa.timestamp("us")), "z": pa.array([moment], pa.timestamp("us", "UTC")),
        "y": [date(2024, 1, 2)], "o": [True], "l": pa.array([[1, None]], pa.list_(pa.int32())),
        "m": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "r": [{"x": 1, "y": "é"}],
        "i": pa.array([7], pa.int8()),
    }))  # fmt: skip
    lake.table("t", {
        "d": "decimal(10,2)", "f": "float", "g": "double", "b": "binary", "t": "timestamp", "z": "timestamp", "y": "date",
        "o": "boolean", "l": "array<int>", "m": "map<string,bigint>", "r": "struct<y:string,x:bigint,more:int>", "i": "tinyint",
    }, "t")  # fmt: skip
    query_id = lake.run("SELECT * FROM t")["QueryExecutionId"]
    assert lake.results(query_id)[1] == [
        "1.50", "0.1", "1.0E10", "68 65", "2024-01-02 03:04:05.679", "2024-01-02 03:04:05.679", "2024-01-02",
        "true", "[1, null]", "{a=1}", "{y=é, x=1, more=null}", "7",
    ]  # fmt: skip
    info = lake.athena.get_query_results(QueryExecutionId=query_id)["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]
    assert [c["Type"] for c in info] == [
        "decimal", "float", "double", "varbinary", "timestamp", "timestamp", "date", "boolean", "array", "map", "row", "tinyint",
    ]  # fmt: skip
    assert (info[0]["Precision"], info[0]["Scale"]) == (10, 2)


def test_text_tables(lake: Lake) -> None:
    lake.put("lazy/a.csv", "id,name\n1,x\n\\N,y\nbad,\n")
    lazy = "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe"
    lake.table(
        "lazy",
        USERS,
        "lazy",
        serde=lazy,
        serde_parameters={"field.delim": ","},
        Parameters={"skip.header.line.count": "1"},
    )
    assert lake.rows("SELECT * FROM lazy") == [["1", "x"], [None, "y"], [None, ""]]
    lake.put("quoted/a.csv", '"1","a,""b"\n"2","c"\n')
    lake.table(
        "quoted", {"id": "bigint", "name": "string"}, "quoted", serde="org.apache.hadoop.hive.serde2.OpenCSVSerde"
    )
    assert lake.rows('SELECT id + 1, name, "$path" FROM quoted') == [
        ["2", 'a,"b', f"{lake.root}/quoted/a.csv"], ["3", "c", f"{lake.root}/quoted/a.csv"],
    ]  # fmt: skip
    lake.put("json/a.json", '{"id": 1, "name": "x", "more": 2}\n{"id": 2}\n')
    lake.table("json", USERS, "json", serde="org.openx.data.jsonserde.JsonSerDe")
    assert lake.rows("SELECT * FROM json") == [["1", "x"], ["2", None]]


# ---- partitions


def test_projected_partitions_follow_the_template(lake: Lake) -> None:
    for day in ("2024-01-01", "2024-01-02", "2024-01-04"):
        for side in ("a", "b"):
            lake.put(f"p/green/{day}/{side}/x.parquet", users(1))
    lake.put("p/green/2023-12-31/a/x.parquet", users(1))
    lake.table("p", USERS, "p/green", keys={"dt": "date", "side": "string"}, Parameters={
        "projection.enabled": "true", "projection.dt.type": "date", "projection.dt.format": "yyyy-MM-dd",
        "projection.dt.range": "2024-01-01,2024-01-03", "projection.side.type": "enum", "projection.side.values": "a,b",
        "storage.location.template": f"{lake.root}/p/green/${{dt}}/${{side}}",
    })  # fmt: skip
    assert lake.rows("SELECT dt, side, count(*) FROM p GROUP BY 1, 2 ORDER BY 1, 2") == [
        [day, side, "1"] for day in ("2024-01-01", "2024-01-02") for side in ("a", "b")
    ]
    execution = lake.run("SELECT count(*) FROM p x WHERE x.dt >= date '2024-01-02' AND side IN ('b') AND name = 'n1'")
    assert lake.results(execution["QueryExecutionId"])[1] == ["1"]
    whole = lake.run("SELECT count(*) FROM p")["Statistics"]["DataScannedInBytes"]
    assert execution["Statistics"]["DataScannedInBytes"] * 4 == whole > 0
    assert lake.results(lake.run("SELECT * FROM p WHERE side = 'none'")["QueryExecutionId"]) == [
        ["id", "name", "dt", "side"]
    ]


def test_projected_integers_and_relative_dates_use_default_folders(lake: Lake) -> None:
    month = datetime.now().strftime("%Y-%m")
    lake.put(f"p/n=008/m={month}/x.parquet", users(1))
    lake.put(f"p/n=009/m={month}/x.parquet", users(2))
    lake.table("p", USERS, "p", keys={"n": "int", "m": "string"}, Parameters={
        "projection.enabled": "true", "projection.n.type": "integer", "projection.n.range": "0,20", "projection.n.digits": "3",
        "projection.n.interval": "4", "projection.m.type": "date", "projection.m.format": "yyyy-MM", "projection.m.range": "NOW-2MONTHS,NOW",
    })  # fmt: skip
    assert lake.rows("SELECT id, n, m FROM p") == [["1", "8", month]]
    assert lake.rows(f"SELECT id FROM p WHERE m = '{month}' AND n BETWEEN 5 AND 8") == [["1"]]


def test_registered_partition_has_its_own_location(lake: Lake) -> None:
    lake.put("old/x.parquet", users(1))
    lake.put("new/dt=2/y.parquet", users(2))
    lake.table("p", USERS, "new", keys={"dt": "string"})
    for value, folder in (("1", "old"), ("2", "new/dt=2")):
        partition = {"Values": [value], "StorageDescriptor": lake.table_input("p", USERS, folder)["StorageDescriptor"]}
        lake.glue.create_partition(DatabaseName="dmp", TableName="p", PartitionInput=partition)
    assert lake.rows("SELECT * FROM p ORDER BY dt") == [["1", "n1", "1"], ["2", "n2", "2"]]
    assert lake.rows("SELECT count(*) FROM p a LEFT JOIN p b ON a.id = b.id AND b.dt = '1' WHERE b.dt IS NULL") == [
        ["1"]
    ]


# ---- SQL


@pytest.mark.parametrize(("expression", "shown"), [
    ("7 / 2", "3"), ("CAST(1e10 AS double)", "1.0E10"), ("1e-5", "1.0E-5"), ("123456.789e0", "123456.789"), ("nan()", "NaN"),
    ("CAST(1.5e0 AS varchar)", "1.5E0"), ("CAST(-1.23e-3 AS varchar)", "-1.23E-3"), ("CAST(1e20 AS varchar)", "1.0E20"), ("CAST(0e0 AS varchar)", "0E0"), ("CAST(true AS varchar)", "true"), ("CAST('abc' AS varchar(2))", "ab"),
    ("DECIMAL '1.10'", "1.10"), ("CAST(10 AS decimal(12,3))", "10.000"), ("sum(1)", "1"), ("typeof(1) IS NOT NULL", "true"),
    ("timestamp '2024-01-02 03:04:05'", "2024-01-02 03:04:05.000"),
    ("CAST(timestamp '2024-01-02 03:04:05' AS varchar)", "2024-01-02 03:04:05.000"),
    ("from_iso8601_timestamp('2024-01-02T03:04:05Z')", "2024-01-02 03:04:05.000 UTC"),
    ("current_timestamp > from_iso8601_timestamp('2024-01-02T03:04:05Z')", "true"),
    ("date_diff('hour', timestamp '2024-01-01 00:59:00', timestamp '2024-01-01 02:00:00')", "1"),
    ("date_diff('day', date '2024-01-01', date '2024-01-10')", "9"), ("date_add('day', 1, date '2024-01-31')", "2024-02-01"),
    ("date_trunc('month', date '2024-01-31')", "2024-01-01"), ("date '2024-01-01' + interval '1' day", "2024-01-02"),
    ("extract(dow FROM date '2024-01-07')", "7"), ("millisecond(timestamp '2024-01-02 03:04:05.678')", "678"),
    ("date_format(timestamp '2024-01-02 03:04:05', '%Y-%m-%d %H:%i')", "2024-01-02 03:04"), ("to_iso8601(date '2024-01-02')", "2024-01-02"),
    ("regexp_extract(CAST(timestamp '2024-01-02 03:04:05' AS varchar), '...$')", "000"), ("md5(to_utf8('a'))", "0c c1 75 b9 c0 f1 b6 a8 31 c3 99 e2 69 77 26 61"), ("lower(to_hex(md5(to_utf8('a'))))", "0cc175b9c0f1b6a831c399e269772661"),
    ("to_hex(sha1(to_utf8('a')))", "86F7E437FAA5A7FCE15D1DDCB9EAEAEA377667B8"), ("to_base64(to_utf8('a'))", "YQ=="),
    ("try_cast('x' AS bigint)", None), ("regexp_extract('abc', 'x')", None), ("regexp_extract('a12', '(\\d+)', 1)", "12"),
    ("regexp_replace('abc', '(b)', '<$1>')", "a<b>c"), ("regexp_like('abc', 'b')", "true"),
    ("cardinality(ARRAY[1, 2])", "2"), ("cardinality(map(ARRAY['a'], ARRAY[1]))", "1"), ("cardinality(CAST(NULL AS array(integer)))", None),
    ("element_at(ARRAY[1, 2], 5)", None), ("element_at(map(ARRAY['a'], ARRAY[1]), 'a')", "1"), ("slice(ARRAY[1, 2, 3], 2, 2)", "[2, 3]"),
    ("any_match(ARRAY[1, 2], x -> x > 1)", "true"), ("all_match(ARRAY[1, 2], x -> x > 1)", "false"), ("filter(ARRAY[1, 2], x -> x > 1)", "[2]"),
    ("transform(ARRAY[1], x -> x + 1)", "[2]"), ("array_join(ARRAY['a', 'b'], ',')", "a,b"), ("CAST(ROW(1, 'a') AS ROW(x integer, y varchar))", "{x=1, y=a}"),
    ("json_extract_scalar('{\"a\": {\"b\": 1}}', '$.a.b')", "1"), ("format('%s-%d', 'a', 1)", "a-1"), ("approx_distinct(1)", "1"),
    ("X'6865'", "68 65"), ("map_agg('a', 1)", "{a=1}"), ("'é' || chr(65)", "éA"), ("count(DISTINCT 1)", "1"), ("count_if(true)", "1"),
    ("array_agg(1)", "[1]"), ("coalesce(NULL, 'x')", "x"), ("length('né')", "2"), ("CAST(date '2024-01-02' AS varchar)", "2024-01-02"),
])  # fmt: skip
def test_trino_functions(lake: Lake, expression: str, shown: str | None) -> None:
    assert lake.one(expression) == shown


def test_shapes_of_statements(lake: Lake) -> None:
    lake.put("t/a.parquet", users(1, 2, 3, xs=[[1, 2], [], [3]]))
    lake.table("t", {**USERS, "xs": "array<bigint>"}, "t")
    assert lake.rows("VALUES (1, 'a'), (2, 'b')") == [["1", "a"], ["2", "b"]]
    assert lake.rows("-- why\nWITH t AS (SELECT 5 AS id) SELECT id FROM t;") == [["5"]]
    assert lake.rows("SELECT u.id, x FROM dmp.t u CROSS JOIN UNNEST(u.xs) AS e(x) ORDER BY x") == [
        ["1", "1"],
        ["1", "2"],
        ["3", "3"],
    ]
    assert lake.rows("SELECT id FROM t WHERE id > (SELECT min(id) FROM t) EXCEPT SELECT 3") == [["2"]]
    assert lake.rows("SELECT t.id FROM t WHERE EXISTS (SELECT 1 FROM t b WHERE b.id = t.id + 2)") == [["1"]]
    by_text = "SELECT 1 FROM t b WHERE CAST(b.id AS varchar) = CAST(t.id + 1 AS varchar)"
    assert lake.rows(f"SELECT t.id FROM t WHERE NOT EXISTS ({by_text})") == [["3"]]
    assert lake.rows("SELECT dmp.t.id FROM dmp.t WHERE dmp.t.id = 1") == [["1"]]
    assert lake.rows("SELECT r.a.b FROM (SELECT CAST(ROW(ROW(1)) AS ROW(a ROW(b integer))) AS r)") == [["1"]]
    assert lake.failure("SELECT 7 / (id - 1) FROM t") == "DIVISION_BY_ZERO: Division by zero"
    assert lake.rows("SELECT CASE WHEN id = 1 THEN 0 ELSE 7 / (id - 1) END, 7 % id, id / 2e0 FROM t ORDER BY id") == [
        ["0", "0", "0.5"],
        ["7", "1", "1.0"],
        ["3", "1", "1.5"],
    ]
    assert lake.rows("SELECT * FROM (SELECT count(*) AS n FROM t) AS q, (SELECT 1 AS one)") == [["3", "1"]]
    assert lake.rows('SELECT a.*, b."$path" FROM t a JOIN t b ON a.id = b.id WHERE a.id = 1') == [
        ["1", "n1", "[1, 2]", f"{lake.root}/t/a.parquet"]
    ]


# ---- views and DDL


def test_views_are_stored_as_presto_views(lake: Lake) -> None:
    lake.put("t/a.parquet", users(1, 2, 3))
    lake.table("t", USERS, "t")
    lake.run("CREATE VIEW v AS SELECT id, name, CAST(id AS decimal(10,2)) AS d FROM t WHERE id > 1")
    stored = lake.glue.get_table(DatabaseName="dmp", Name="v")["Table"]
    assert stored["TableType"] == "VIRTUAL_VIEW" and stored["Parameters"]["presto_view"] == "true"
    assert stored["ViewOriginalText"].startswith("/* Presto View: ")
    assert stored["StorageDescriptor"]["Columns"][2]["Type"] == "decimal(10,2)"
    assert "already exists" in lake.failure("CREATE VIEW v AS SELECT 1 AS a")
    lake.run("CREATE OR REPLACE VIEW w AS SELECT max(id) AS top FROM v")
    lake.run("CREATE OR REPLACE VIEW w AS SELECT max(id) AS top, min(id) AS low FROM v")
    lake.glue.create_database(DatabaseInput={"Name": "other"})
    query_id = lake.athena.start_query_execution(
        QueryString="SELECT * FROM dmp.w", QueryExecutionContext={"Database": "other"},
        ResultConfiguration={"OutputLocation": lake.root + "/r"},
    )["QueryExecutionId"]  # fmt: skip
    assert lake.wait(query_id)["Status"]["State"] == "SUCCEEDED"
    assert lake.results(query_id) == [["top", "low"], ["3", "2"]]
    assert "SELECT max(id) AS top" in lake.results(lake.run("SHOW CREATE VIEW w")["QueryExecutionId"])[0][0]
    assert "Column name not specified" in lake.failure("CREATE VIEW x AS SELECT 1")
    lake.run("DROP VIEW v")
    assert lake.failure("SELECT * FROM w") == (
        "INVALID_VIEW: line 1:15: Failed analyzing stored view 'awsdatacatalog.dmp.w': "
        "Table 'awsdatacatalog.dmp.v' does not exist"
    )
    assert lake.failure("DROP VIEW v").startswith("TABLE_NOT_FOUND")
    lake.run("DROP VIEW IF EXISTS v")


def test_external_tables_are_created_shown_and_dropped(lake: Lake) -> None:
    lake.put("t/dt=1/a.parquet", users(1))
    lake.run(f"""CREATE EXTERNAL TABLE IF NOT EXISTS t (id bigint, name string, r struct<a:int,b:array<string>>)
        PARTITIONED BY (dt string) STORED AS PARQUET LOCATION '{lake.root}/t/'
        TBLPROPERTIES ('projection.enabled' = 'true', 'projection.dt.type' = 'enum', 'projection.dt.values' = '1,2')""")
    assert lake.rows("SELECT * FROM t") == [["1", "n1", None, "1"]]
    assert lake.results(lake.run("SHOW TABLES IN dmp")["QueryExecutionId"]) == [["t"]]
    described = lake.results(lake.run("DESCRIBE dmp.t")["QueryExecutionId"])
    assert [row[0].split()[0] for row in described] == ["id", "name", "r", "dt"]
    made = [row[0] for row in lake.results(lake.run("SHOW CREATE TABLE t")["QueryExecutionId"])]
    assert made[:7] == [
        "CREATE EXTERNAL TABLE `dmp.t`(", "  `id` bigint,", "  `name` string,", "  `r` struct<a:int, b:array<string>>)",
        "PARTITIONED BY ( ", "  `dt` string)", "ROW FORMAT SERDE ",
    ]  # fmt: skip
    assert f"  '{lake.root}/t'" in made and made[-1] == "  'projection.enabled'='true')"
    assert lake.failure("DROP VIEW t").startswith("NOT_SUPPORTED")
    lake.run("DROP TABLE t")
    assert lake.failure("SELECT * FROM t").startswith("TABLE_NOT_FOUND") and lake.keys("t/")


# ---- CREATE TABLE AS


def test_ctas_writes_files_and_a_table_as_athena_does(lake: Lake) -> None:
    lake.put("t/a.parquet", users(1, 2, 3))
    lake.table("t", USERS, "t")
    # What dbt-athena 1.9 generates for a table.
    made = lake.run(f"""create table "dmp"."by_dbt"
        with (
          table_type='hive',
          is_external=true,external_location='{lake.root}/dbt/by_dbt',
          format='parquet'
        )
        as
          select id, cast(name as varchar(9)) as name from t""")
    assert (made["StatementType"], made["SubstatementType"]) == ("DML", "CREATE_TABLE_AS_SELECT")
    assert lake.rows("SELECT count(*), max(name) FROM by_dbt") == [["3", "n3"]]
    table = lake.glue.get_table(DatabaseName="dmp", Name="by_dbt")["Table"]
    parameters = table["Parameters"]
    assert parameters.pop("trino_query_id") and parameters.pop("trino_version")
    assert parameters == {
        "EXTERNAL": "TRUE", "auto.purge": "false", "has_encrypted_data": "false", "numFiles": "-1", "parquet.compression": "GZIP",
        "totalSize": "-1", "transactional": "false",
    }  # fmt: skip
    storage = table["StorageDescriptor"]
    assert [(c["Name"], c["Type"]) for c in storage["Columns"]] == [("id", "bigint"), ("name", "varchar(9)")]
    assert storage["Location"] == f"{lake.root}/dbt/by_dbt" and len(lake.keys("dbt/by_dbt/")) == 1
    again = "create table by_dbt as select 1 as id"
    assert lake.failure(again).startswith("TABLE_ALREADY_EXISTS")
    lake.run(again.replace("table", "table if not exists"))
    taken = f"create table other with (external_location = '{lake.root}/dbt/by_dbt') as select 1 as id"
    assert lake.failure(taken).startswith("HIVE_PATH_ALREADY_EXISTS")
    lake.run("create table placed with (write_compression = 'snappy') as select 1 as id")
    placed = lake.glue.get_table(DatabaseName="dmp", Name="placed")["Table"]
    assert "/tables/" in placed["StorageDescriptor"]["Location"] and placed["Parameters"]["parquet.compression"] == "SNAPPY"
    for property in ("bucketed_by = array['id'], bucket_count = 2", "partitioned_by = array['id']", "table_type = 'ICEBERG'"):
        with pytest.raises(lake.athena.exceptions.InvalidRequestException, match="not supported by this endpoint"):
            lake.run(f"create table no with ({property}) as select 1 as id")


# ---- UNLOAD


def test_unload_writes_partitions_and_a_manifest(lake: Lake) -> None:
    lake.put("t/a.parquet", users(1, 2, 3))
    lake.table("t", USERS, "t")
    execution = lake.run(
        f"UNLOAD (SELECT id, name, CASE WHEN id < 3 THEN 'x)' ELSE 'y' END AS dt FROM t) TO '{lake.root}/out/' "
        "WITH (format = 'PARQUET', compression = 'ZSTD', partitioned_by = ARRAY['dt'])"
    )
    manifest = execution["Statistics"]["DataManifestLocation"]
    listed = (
        lake.s3.get_object(Bucket=lake.bucket, Key=manifest.removeprefix(lake.root + "/"))["Body"]
        .read()
        .decode()
        .split()
    )
    assert sorted(listed) == [f"{lake.root}/{key}" for key in lake.keys("out/")] and len(listed) == 2
    lake.table("copy", USERS, "out")
    assert lake.rows("SELECT * FROM copy ORDER BY id") == [["1", "n1"], ["2", "n2"], ["3", "n3"]]
    assert lake.failure(f"UNLOAD (SELECT 1 AS a) TO '{lake.root}/out' WITH (format='PARQUET')").startswith(
        "HIVE_PATH_ALREADY_EXISTS"
    )


def test_unload_has_limits(lake: Lake) -> None:
    many = "SELECT x, x AS dt FROM UNNEST(sequence(1, 101)) AS t(x)"
    options = "WITH (format = 'PARQUET', partitioned_by = ARRAY['dt'])"
    assert lake.failure(f"UNLOAD ({many}) TO '{lake.root}/many/' {options}").startswith("HIVE_TOO_MANY_OPEN_PARTITIONS")
    assert lake.keys("many/") == []
    assert "Column name not specified" in lake.failure(f"UNLOAD (SELECT 1) TO '{lake.root}/a/' WITH (format='JSON')")
    lake.run(f"UNLOAD (SELECT 1 AS a WHERE false) TO '{lake.root}/none/' WITH (format='PARQUET')")
    assert lake.keys("none/") == []
    nowhere = "UNLOAD (SELECT 1 AS a) TO 's3://no-such-bucket-1/a/' WITH (format='PARQUET')"
    assert lake.failure(nowhere).startswith("HIVE_FILESYSTEM_ERROR")
    assert "expected UNLOAD" in refused(lake.start, f"UNLOAD (SELECT 1 TO '{lake.root}/a/'")
