"""Tests the validation of requests against AWS's models: every kind of violation is found, and valid requests pass."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import Lake
from turntable_athena import models
from turntable_athena.models import compiled_pattern, faults

TABLE = {"DatabaseName": "dmp", "TableInput": {"Name": "users", "PartitionKeys": []}}


def called(target: str, request: Any) -> list[str]:
    return faults("POST", "/", {}, {"x-amz-target": target}, json.dumps(request).encode())


def s3(line: str, body: bytes = b"", **headers: str) -> list[str]:
    method, address = line.split(" ")
    path, _, text = address.partition("?")
    query = {name: [value] for name, _, value in (part.partition("=") for part in text.split("&") if part)}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    signed = {"authorization": "AWS4-HMAC-SHA256 Credential=1/20261130/eu-west-1/s3/aws4_request, SignedHeaders=host"}
    return faults(method, path, query, signed | named, body)


def table(**more: Any) -> dict[str, Any]:
    return TABLE | {"TableInput": TABLE["TableInput"] | more}


@pytest.mark.parametrize(
    ("target", "request_", "expected"),
    [
        ("AWSGlue.UpdateTable", TABLE | {"VersionId": "7", "SkipArchive": True}, []),
        ("AWSGlue.UpdateTable", {"TableInput": TABLE["TableInput"]}, ["DatabaseName: required member is missing"]),
        ("AWSGlue.UpdateTable", table(Name=None), ["TableInput.Name: required member is missing"]),
        ("AWSGlue.UpdateTable", table(Colour="blue"), ["TableInput.Colour: unknown member"]),
        ("AWSGlue.UpdateTable", table(Retention="7"), ["TableInput.Retention: expected a number of type integer"]),
        ("AWSGlue.UpdateTable", table(Retention=True), ["TableInput.Retention: expected a number of type integer"]),
        ("AWSGlue.UpdateTable", table(Retention=-1), ["TableInput.Retention: -1 is less than 0, the minimum"]),
        ("AWSGlue.UpdateTable", table(PartitionKeys={}), ["TableInput.PartitionKeys: expected a list"]),
        ("AWSGlue.UpdateTable", table(Parameters=[]), ["TableInput.Parameters: expected a map"]),
        ("AWSGlue.UpdateTable", table(Parameters={"a": 1}), ["TableInput.Parameters.a: expected a string"]),
        ("AWSGlue.UpdateTable", table(StorageDescriptor=""), ["TableInput.StorageDescriptor: expected a structure"]),
        ("AWSGlue.UpdateTable", table(LastAccessTime=[]), ["TableInput.LastAccessTime: expected a time"]),
        ("AWSGlue.UpdateTable", TABLE | {"SkipArchive": "true"}, ["SkipArchive: expected a boolean"]),
        ("AWSGlue.UpdateTable", table(Description="𝄞 und\nmore"), []),
        (
            "AWSGlue.UpdateTable",
            table(Name="a\nb"),
            [r"TableInput.Name: doesn't match the pattern [\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*"],
        ),
        ("AWSGlue.UpdateTable", table(Name="a" * 256), ["TableInput.Name: 256 is more than 255, the maximum"]),
        ("AWSGlue.UpdateTable", table(Name=""), ["TableInput.Name: 0 is less than 1, the minimum"]),
        ("AWSGlue.StartJobRun", {"JobName": "j", "Timeout": 0}, ["Timeout: 0 is less than 1, the minimum"]),
        (
            "AWSGlue.StartJobRun",
            {"JobName": "j", "ExecutionClass": "SLOW"},
            ["ExecutionClass: 'SLOW' is none of FLEX, STANDARD"],
        ),
        ("AmazonAthena.BatchGetQueryExecution", {"QueryExecutionIds": []}, ["QueryExecutionIds: 0 is less than 1, the minimum"]),
        (
            "AmazonAthena.StartQueryExecution",
            {"QueryString": "é" * 262_145, "ClientRequestToken": "short"},
            [
                "QueryString: 262145 is more than 262144, the maximum",
                "ClientRequestToken: 5 is less than 32, the minimum",
            ],
        ),
        (
            "AmazonSQS.SendMessageBatch",
            {"QueueUrl": "u", "Entries": [{"Id": "0"}]},
            ["Entries[0].MessageBody: required member is missing"],
        ),
    ],
)  # fmt: skip
def test_every_kind_of_violation_is_found(target: str, request_: Any, expected: list[str]) -> None:
    assert [fault.partition(": ")[2] for fault in called(target, request_)] == expected


def test_operations_that_do_not_exist_are_refused() -> None:
    assert called("AWSGlue.MoveTable", {}) == ["glue: no operation 'MoveTable'"]
    assert faults("POST", "/", {}, {"x-amz-target": "AWSGlue.GetTable"}, b"<a/>") == ["glue.GetTable: the body isn't JSON"]
    assert called("Elsewhere.Call", {"Any": "thing"}) == []


@pytest.mark.parametrize(
    ("line", "headers", "expected"),
    [
        ("GET /lake", {}, []),
        ("GET /lake?list-type=2&prefix=a%2F&max-keys=10", {}, []),
        ("GET /lake?list-type=2&prefixes=a", {}, ["s3.ListObjectsV2: parameter prefixes: unknown member"]),
        ("GET /lake?list-type=2&max-keys=many", {}, ["s3.ListObjectsV2: MaxKeys: expected a number of type integer"]),
        ("GET /lake?uploads=&prefix=a", {}, []),
        ("PUT /lake/a/b?x-id=PutObject", {"if_none_match": "*", "x_amz_meta_turntable_write": "1"}, []),
        ("PUT /lake/a/b", {"x_amz_storage_class": "CHEAP"}, ["s3.PutObject: StorageClass: 'CHEAP' is none of"]),
        ("PUT /lake/a/b", {"x_amz_colour": "blue"}, ["s3.PutObject: header x-amz-colour: unknown member"]),
        ("PUT /lake/a/b", {"x_amz_copy_source": "lake/c", "if_none_match": "*"}, []),
        ("PUT /lake/a/b?partNumber=1&uploadId=u", {}, []),
        ("PUT /lake/a/b?uploadId=u", {}, ["s3.PutObject: parameter uploadId: unknown member"]),
        ("PUT /lake/a/b?partNumber=1&uploadId=u", {"if_none_match": "*"}, ["s3.UploadPart: header if-none-match: unknown member"]),
        ("DELETE /lake/a/b", {"if_match": "e"}, []),
        ("DELETE /lake/a/b?uploadId=u", {}, []),
        ("POST /lake/a/b?uploads", {}, []),
        ("PATCH /lake/a/b", {}, ["s3: no operation for PATCH with no parameters"]),
    ],
)  # fmt: skip
def test_requests_to_s3_are_recognized_and_checked(line: str, headers: dict[str, str], expected: list[str]) -> None:
    found = s3(line, **headers)
    assert len(found) == len(expected) and all(map(str.startswith, found, expected)), found


def test_bodies_for_s3_are_checked() -> None:
    body = '<CompleteMultipartUpload xmlns="x"><Part><ETag>e</ETag><PartNumber>{}</PartNumber></Part></CompleteMultipartUpload>'
    assert s3("POST /lake/a?uploadId=u", body.format(1).encode()) == []
    wrong = ["s3.CompleteMultipartUpload: MultipartUpload.Part[0].PartNumber: expected a number of type integer"]
    assert s3("POST /lake/a?uploadId=u", body.format("one").encode()) == wrong
    events = "<NotificationConfiguration><EventBridgeConfiguration/></NotificationConfiguration>"
    assert s3("PUT /lake?notification", events.encode()) == []
    assert s3("PUT /lake?policy", b'{"Version": "2012-10-17"}') == []
    assert s3("PUT /lake?policy") == ["s3.PutBucketPolicy: Policy: required member is missing"]
    delete = "<Delete><Object><Key>a</Key></Object><Object><Name>b</Name></Object></Delete>"
    assert s3("POST /lake?delete", b"<Delete><Object><Key>a</Key></Object></Delete>", x_amz_checksum_crc32="1") == []
    assert s3("POST /lake?delete", delete.encode()) == [
        "s3.DeleteObjects: Delete.Object[1].Name: unknown member",
        "s3.DeleteObjects: Delete.Object[1].Key: required member is missing",
    ]


def test_every_pattern_of_the_operations_that_turntable_calls_is_understood() -> None:
    """Python lacks a few of Java's forms. A pattern with one of them would not be checked: only that of `TransactionId`, which
    Turntable doesn't send.
    """
    services = {"athena": ["StartQueryExecution", "ListQueryExecutions"], "glue": ["CreateTable", "GetTables", "StartJobRun"]}
    for service, names in services.items():
        model = models._model(service)
        shapes, seen = [model.operation_model(name).input_shape for name in names], {"TransactionIdString"}
        while shapes:
            shape = shapes.pop()
            if shape.name in seen:
                continue
            seen.add(shape.name)
            pattern = shape.metadata.get("pattern")
            assert pattern is None or compiled_pattern(pattern), (service, shape.name, pattern)
            shapes += getattr(shape, "members", {}).values()
            shapes += [getattr(shape, part) for part in ("member", "key", "value") if hasattr(shape, part)]
        assert len(seen) > 5, service


def test_the_endpoint_refuses_a_violation(lake: Lake) -> None:
    with pytest.raises(ClientError, match="MaxResults: 1001 is more than 1000, the maximum") as caught:
        lake.athena.get_query_results(QueryExecutionId="x", MaxResults=1001)
    assert caught.value.response["Error"]["Code"] == "InvalidRequestException"
