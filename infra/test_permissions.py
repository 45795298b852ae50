"""Checks that each function may make exactly the AWS calls that it makes. Compares its policy, as CloudFormation derives it
from template.yaml, with the calls in the chain tests, which infra/local/athena/turntable_athena/calls.py records.

    cargo test --workspace --test chain && just permissions
"""

import os
import re
from functools import cache
from pathlib import Path

import pytest
from test_template import FIXED, FUNCTIONS, ROOT, flat, statements

CALLS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "tmp/calls"

# Switches on everything that a parameter can, with the names in the tests.
GIVEN = {
    "BucketName": "turntable-123456789012",
    "SourceBuckets": "turntable-123456789012-scratch",
    "SecretArns": "arn:aws:secretsmanager:*:*:secret:*",
    "RdsUserArns": "arn:aws:rds-db:eu-west-1:123456789012:dbuser:db-1/turntable",
    "EngineWorkgroups": "etl",
    "GlueJobs": "orders_by_day",
    "ConnectorArns": "arn:aws:lambda:eu-west-1:123456789012:function:connector",
    "SubnetIds": "subnet-1",
    "SecurityGroupIds": "sg-1",
    "KmsKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/2",
    "Tracing": "Active",
}

# Permissions that no test can use: functions, actions, resources, reason.
ATHENA = "Athena makes the call with the caller's permissions."  # https://docs.aws.amazon.com/athena/latest/ug/s3-permissions.html
LAMBDA = "Lambda makes the call with the function's permissions."
UNSEEN = [
    ("*", "logs:CreateLogStream logs:PutLogEvents", "*", LAMBDA),
    ("*", "xray:PutTraceSegments xray:PutTelemetryRecords", "*", LAMBDA),
    ("Export", "ec2:*", "*", LAMBDA),
    ("Export Optout", "sqs:ReceiveMessage sqs:DeleteMessage sqs:GetQueueAttributes", "*Queue*", LAMBDA),
    ("Flip Optout Sweep", "sqs:SendMessage", "*DeadLetters*", LAMBDA),
    ("Export Flip Optout", "glue:GetDatabase s3:GetBucketLocation", "*", ATHENA),
    ("Export", "s3:ListBucketMultipartUploads s3:ListMultipartUploadParts", "*", ATHENA),
    ("Export Flip Optout", "s3:PutObject s3:AbortMultipartUpload", "*/_athena/*", ATHENA),
    ("Optout", "glue:GetPartitions", "*", ATHENA),
    ("Export", "lambda:InvokeFunction athena:GetDataCatalog", "*", ATHENA),
    ("Export Flip Optout", "athena:StopQueryExecution", "*", "No test waits for a query's time limit."),
    ("Optout", "s3:AbortMultipartUpload", "*/blue-*/*", "No test fails in the middle of a large upload."),
    ("Sweep", "s3:AbortMultipartUpload", "*/blue-*/*", "Only uploads older than an hour are aborted, and MiniStack can't set another time."),
    ("Flip", "s3:PutObject", "arn:aws:s3:::*123456789012/_groups/*.json", "No test has tables in the root of the bucket."),
    ("*", "kms:Decrypt kms:GenerateDataKey", "*", "S3 uses the key; the emulator doesn't."),
    ("Export Optout", "rds-db:connect", "*", "Signing a token makes no call; RDS checks the permission."),
]

# Calls in tests that no policy can allow.
IGNORED_CALLS = [
    ("Export", "s3:ListBucket", "arn:aws:s3:::no-such-bucket-here"),
]


def alike(resource):
    """Replaces green by blue: policies don't depend on the colour."""
    return resource.replace("/green-", "/blue-")


@cache
def made(function):
    """Returns the calls of the function's code that ran last, as (action, resource)."""
    files = sorted(CALLS.glob(f"{function.lower()}.*"), key=lambda file: file.stat().st_mtime)
    if not files:
        pytest.fail("no calls are recorded: run `cargo test --workspace --test chain` first")
    region = f":{FIXED['AWS::Region']}:"
    calls = {tuple(alike(line).replace(":us-east-1:", region).split(" ", 1)) for line in files[-1].read_text().splitlines()}
    return calls - {(action, resource) for of, action, resource in IGNORED_CALLS if of == function}


@cache
def allowed(function):
    """Returns the allowed actions, each with a pattern of resources."""
    pairs = set()
    for statement in statements(f"{function}Role", **GIVEN):
        assert statement["Effect"] == "Allow" and "Condition" not in statement, statement
        for resource in flat(statement["Resource"]):
            if isinstance(resource, dict):
                ((name, _),) = resource.values()
                resource = f"*-{name}-*"
            pairs |= {(action, alike(resource)) for action in flat(statement["Action"])}
    return pairs


def fits(pattern, text):
    """Returns whether a text matches IAM's wildcards."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), text, re.DOTALL) is not None


def covers(pair, call):
    return pair[0] == call[0] and fits(pair[1], call[1])


def unused(function):
    return {pair for pair in allowed(function) if not any(covers(pair, call) for call in made(function))}


def excused(reason, function, pair):
    functions, actions, resources, _ = reason
    return (
        any(fits(each, function) for each in functions.split())
        and any(fits(each, pair[0]) for each in actions.split())
        and fits(resources, pair[1])
    )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_call_is_allowed(function):
    assert {call for call in made(function) if not any(covers(pair, call) for pair in allowed(function))} == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_permission_is_used_or_excused(function):
    assert {pair for pair in unused(function) if not any(excused(reason, function, pair) for reason in UNSEEN)} == set()


def test_every_excuse_is_needed():
    pairs = [(function, pair) for function in FUNCTIONS for pair in unused(function)]
    assert [reason for reason in UNSEEN if not any(excused(reason, *pair) for pair in pairs)] == []
