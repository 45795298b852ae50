"""Checks that each function's policy allows the calls that the function makes and no others. Compares the policy that
CloudFormation makes of template.yaml with the calls of the chain tests, which infra/local/athena/turntable_athena/calls.py records.

    cargo test --workspace --test it chain:: && just permissions
"""

import os
import re
from functools import cache
from pathlib import Path

import pytest
from test_template import FIXED, FUNCTIONS, ROOT, flat, statements

CALLS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "tmp/calls"

# Parameters that enable every optional statement, with the names that the tests use.
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

# Allowed actions whose use no test records: functions, actions, resources, reason.
ATHENA = "Athena does it with the caller's permissions."  # https://docs.aws.amazon.com/athena/latest/ug/s3-permissions.html
LAMBDA = "Lambda does it with the function's role."
UNRECORDED = [
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
    ("Export Flip Optout", "athena:StopQueryExecution", "*", "No test waits until a query times out."),
    ("Optout", "s3:AbortMultipartUpload", "*/blue-*/*", "No test fails in the middle of a large upload."),
    ("Sweep", "s3:AbortMultipartUpload", "*/blue-*/*", "Abandoned means an hour old, and MiniStack can't backdate an upload."),
    ("Flip", "s3:PutObject", "arn:aws:s3:::*123456789012/_groups/*.json", "No test has its tables in the bucket's root."),
    ("*", "kms:Decrypt kms:GenerateDataKey", "*", "S3 uses the key; the emulator does not."),
    ("Export Optout", "rds-db:connect", "*", "Signing a token makes no call, and only RDS checks it."),
]

# Calls on resources that don't exist, which no policy needs to allow.
NONEXISTENT = [
    ("Export", "s3:ListBucket", "arn:aws:s3:::no-such-bucket-here"),
]


def alike(resource):
    """Returns the resource with its colour normalised to blue, because policies treat both colours alike."""
    return resource.replace("/green-", "/blue-")


@cache
def made(function):
    """Returns the calls of the function's most recent code as pairs of action and resource."""
    files = sorted(CALLS.glob(f"{function.lower()}.*"), key=lambda file: file.stat().st_mtime)
    if not files:
        pytest.fail("no calls are noted: run `cargo test --workspace --test it chain::` first")
    region = f":{FIXED['AWS::Region']}:"
    calls = {tuple(alike(line).replace(":us-east-1:", region).split(" ", 1)) for line in files[-1].read_text().splitlines()}
    return calls - {(action, resource) for of, action, resource in NONEXISTENT if of == function}


@cache
def allowed(function):
    """Returns the allowed actions as pairs of action and resource pattern."""
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
    """Returns whether the text matches the pattern with IAM's wildcards."""
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
def test_every_recorded_call_is_allowed(function):
    assert {call for call in made(function) if not any(covers(pair, call) for pair in allowed(function))} == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_allowed_action_is_used(function):
    assert {pair for pair in unused(function) if not any(excused(reason, function, pair) for reason in UNRECORDED)} == set()


def test_every_listed_exception_is_needed():
    pairs = [(function, pair) for function in FUNCTIONS for pair in unused(function)]
    assert [reason for reason in UNRECORDED if not any(excused(reason, *pair) for pair in pairs)] == []
