"""Checks that each function's policies allow the calls that the function makes, what AWS does on its behalf, and no more.

Evaluates the policies that CloudFormation makes of template.yaml, with their conditions and with the bucket's policy, for
- the calls of the chain tests, which infra/local/athena/turntable_athena/calls.py records;
- what Athena does with the caller's permissions for each kind of statement that the chain tests run;
- what Lambda does with a function's role;
- a few calls that no test can make.

    cargo test --workspace --test it chain:: && just permissions
"""

import json
import os
import re
from functools import cache
from pathlib import Path

import pytest
from iam import allows, applies, fits, flat
from test_template import FIXED, ROOT, of, statements, translated

CALLS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "tmp/calls"

# Parameters that enable every optional statement, with the names that the tests use.
GIVEN = {
    "BucketName": "turntable-123456789012",
    "GlueDatabases": "*",
    "DeployerArns": "arn:aws:iam::123456789012:role/deployer",
    "OtherAccounts": "210987654321",
    "SourceBuckets": "turntable-123456789012-scratch",
    "SecretArns": "arn:aws:secretsmanager:*:*:secret:*",
    "RdsUserArns": "arn:aws:rds-db:eu-west-1:123456789012:dbuser:db-1/turntable",
    "EngineWorkgroups": "etl,managed",
    "AthenaWorkgroup": "*",
    "AthenaResultsArn": "arn:aws:s3:::results/team/*",
    "GlueJobs": "orders_by_day",
    "ConnectorArns": "arn:aws:lambda:eu-west-1:123456789012:function:connector",
    "SubnetIds": "subnet-1",
    "SecurityGroupIds": "sg-1",
    "KmsKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/2",
    "LakeFormation": "true",
    "Tracing": "Active",
}
BUCKET = f"arn:aws:s3:::{GIVEN['BucketName']}"
GENERATION = f"{BUCKET}/schemas/users/blue-01JD675EJRSSKNZWWST95906C6"
ACCOUNT = f"{FIXED['AWS::Region']}:{FIXED['AWS::AccountId']}"
GLUE, ATHENA = f"arn:aws:glue:{ACCOUNT}", f"arn:aws:athena:{ACCOUNT}"

# What Athena calls with the permissions of whoever runs a statement: actions, and resources, of which each needs each action.
# DATABASE is the query's database. Sources, all in https://docs.aws.amazon.com/athena/latest/ug/:
# - fine-grained-access-to-glue-resources.html: Glue's actions, the resources' ancestors, and `default`
# - amazonathenafullaccess-managed-policy.html: partitions, and the bucket of results. awsdocs/amazon-athena-user-guide #81
#   misses GetDatabases in the first
# - query-results-specify-location.html and API_GetQueryResults: results. With KMS: encryption.html
# - unload.html: the files of UNLOAD; msck-repair-table.html: BatchCreatePartition
# - federated-query-iam-access.html: connectors
# - https://docs.aws.amazon.com/lake-formation/latest/dg/access-control-underlying-data.html: GetDataAccess
CATALOG, DATABASE, TABLE = f"{GLUE}:catalog", f"{GLUE}:database/DATABASE", f"{GLUE}:table/DATABASE/users"
_DATABASES = [
    ("glue:GetDatabase", [CATALOG, DATABASE, f"{GLUE}:database/default"]),
    ("glue:GetDatabases", [CATALOG, DATABASE, f"{GLUE}:database/default"]),
]
_PARTITIONS = [("glue:GetPartitions glue:GetPartition glue:BatchGetPartition", [CATALOG, DATABASE, TABLE])]
_RESULTS = [
    ("s3:GetBucketLocation s3:ListBucketMultipartUploads", [BUCKET, "arn:aws:s3:::results"]),
    ("s3:ListBucket", ["arn:aws:s3:::results"]),
    (
        "s3:PutObject s3:GetObject s3:AbortMultipartUpload s3:ListMultipartUploadParts",
        [f"{BUCKET}/_athena/1.csv", "arn:aws:s3:::results/team/1.csv"],
    ),
    ("kms:Decrypt kms:GenerateDataKey", [GIVEN["KmsKeyArn"]]),
]
_SELECT = [
    *_DATABASES,
    ("glue:GetTable", [CATALOG, DATABASE, TABLE]),
    *_PARTITIONS,
    ("s3:ListBucket", [BUCKET]),
    ("s3:GetObject", [f"{GENERATION}/part-00000.parquet"]),
    ("lakeformation:GetDataAccess", ["*"]),
    *_RESULTS,
]
_CREATE = [*_DATABASES, ("glue:GetTable glue:CreateTable", [CATALOG, DATABASE, TABLE]), *_RESULTS]
STATEMENTS = {
    "SELECT": _SELECT,
    "UNLOAD": [
        *_SELECT,
        ("s3:PutObject s3:AbortMultipartUpload s3:ListMultipartUploadParts", [f"{GENERATION}/20261130_x_y", f"{GENERATION}/dt=1/x"]),
    ],
    "CREATE_TABLE": _CREATE,
    "CREATE_VIEW": [*_CREATE, ("glue:UpdateTable", [CATALOG, DATABASE, TABLE])],
    "DROP_TABLE": [
        *_DATABASES,
        *_PARTITIONS,
        ("glue:GetTable glue:DeleteTable glue:DeletePartition", [CATALOG, DATABASE, TABLE]),
        *_RESULTS,
    ],
    "MSCK": [
        *_DATABASES,
        *_PARTITIONS,
        ("glue:GetTable glue:BatchCreatePartition", [CATALOG, DATABASE, TABLE]),
        ("s3:ListBucket", [BUCKET]),
        *_RESULTS,
    ],
}
# The kinds of statement that functions run. Their roles don't allow what only the others need.
RUN_BY = {"Export": {"SELECT", "UNLOAD"}, "Flip": set(), "Checks": {"SELECT"}, "Optout": set(), "Sweep": set()}
# Whose calls are evaluated: each function's role, and the role that flip assumes for `sql` checks and canaries.
ROLES = RUN_BY.keys()

# What else AWS does with a function's role, and calls that no test can make: functions, actions, resources, reason or source.
LAMBDA = "https://docs.aws.amazon.com/lambda/latest/dg/"
UNRECORDED = [
    ("Export Flip Optout Sweep", "logs:CreateLogStream logs:PutLogEvents", "arn:aws:logs:1-{}Logs-1", f"{LAMBDA}monitoring-cloudwatchlogs.html"),
    ("Export Flip Optout Sweep", "xray:PutTraceSegments xray:PutTelemetryRecords", "*", f"{LAMBDA}services-xray.html"),
    ("*", "kms:Decrypt kms:GenerateDataKey", GIVEN["KmsKeyArn"], "S3 and SQS use the key; the emulator does not."),
    ("Export Flip Optout Sweep", "sqs:SendMessage", "arn:aws:sqs:1-{}DeadLetters-1", f"{LAMBDA}invocation-async-retain-records.html"),
    (
        "Export Optout",
        "sqs:ReceiveMessage sqs:DeleteMessage sqs:GetQueueAttributes",
        "arn:aws:sqs:1-{}Queue-1",
        f"{LAMBDA}services-sqs-configure.html",
    ),
    (
        "Export",
        "sqs:ReceiveMessage sqs:DeleteMessage sqs:GetQueueAttributes",
        "arn:aws:sqs:1-PutQueue-1",
        f"{LAMBDA}services-sqs-configure.html",
    ),
    (
        "Export Optout",
        "ec2:CreateNetworkInterface ec2:DescribeNetworkInterfaces ec2:DescribeSubnets ec2:DeleteNetworkInterface "
        "ec2:AssignPrivateIpAddresses ec2:UnassignPrivateIpAddresses",
        "*",
        f"{LAMBDA}configuration-vpc.html#configuration-vpc-permissions",
    ),
    ("Export", "lambda:InvokeFunction", GIVEN["ConnectorArns"], "Athena does it: federated-query-iam-access.html"),
    ("Export", "athena:GetDataCatalog", f"{ATHENA}:datacatalog/orders", "API_StartQueryExecution: an external catalog needs it."),
    *[
        ("Export", "athena:GetWorkGroup", f"{ATHENA}:workgroup/{workgroup}", "Athena does it: federated-query-iam-access.html")
        for workgroup in GIVEN["EngineWorkgroups"].split(",")
    ],
    *[
        ("Export Checks", "athena:StopQueryExecution", f"{ATHENA}:workgroup/{workgroup}", "No test waits until a query times out.")
        for workgroup in GIVEN["EngineWorkgroups"].split(",")
    ],
    ("Export Optout", "rds-db:connect", GIVEN["RdsUserArns"], "Signing a token makes no call, and only RDS checks it."),
    ("Optout", "s3:AbortMultipartUpload", f"{GENERATION}/part-00000.parquet", "No test fails in the middle of a large upload."),
    ("Sweep", "s3:AbortMultipartUpload", f"{GENERATION}/part-00000.parquet", "MiniStack can't backdate an upload by an hour."),
    ("Flip Sweep", "s3:PutObject", f"{BUCKET}/_groups/day.json", "No test has its tables in the bucket's root."),
    *[
        ("Optout", "glue:GetPartitions", resource, "No test gives an opt-out table registered partitions.")
        for resource in (CATALOG, f"{GLUE}:database/dmp", f"{GLUE}:table/dmp/optouts")
    ],
]

# Calls that no policy needs to allow: on resources that don't exist, and on a test's inbox outside InboxPrefix.
NOT_ALLOWED = [
    ("Export", "s3:ListBucket", "arn:aws:s3:::no-such-bucket-here"),
    ("Optout", "s3:PutObject", f"{BUCKET}/elsewhere/optouts/_published.json"),
]
# Requests that tests send to see them refused.
REFUSED_ON_PURPOSE: set[str] = set()


def alike(resource):
    """Returns the resource with its colour normalised to blue, because policies treat both colours alike."""
    return resource.replace("/green-", "/blue-")


@cache
def recorded(function):
    """Returns the calls of the function's most recent code: action, resource and context."""
    files = sorted(CALLS.glob(f"{function.lower()}.*"), key=lambda file: file.stat().st_mtime)
    if not files:
        pytest.fail("no calls are noted: run `cargo test --workspace --test it chain::` first")
    calls = set()
    for line in files[-1].read_text().splitlines():
        call, *context = line.split("\t")
        action, resource = alike(call).replace(":us-east-1:", f":{FIXED['AWS::Region']}:").split(" ", 1)
        resource = re.sub(r"/_stacks/[^/]+/", f"/_stacks/{FIXED['AWS::StackName']}/", resource)
        if (function, action, resource) not in NOT_ALLOWED:
            calls.add((action, resource, tuple(tuple(pair.split("=", 1)) for pair in context)))
    return calls


@cache
def statements_run(function):
    """Returns the kinds of statement that the function has run in Athena, with their databases."""
    contexts = [dict(context) for action, _, context in recorded(function) if action == "athena:StartQueryExecution"]
    return {(context["statement"], context["database"]) for context in contexts}


@cache
def on_behalf(function):
    """Returns the calls that AWS makes with the function's role, and those that no test can make."""
    calls = set()
    for kind, database in statements_run(function):
        for actions, resources in STATEMENTS[kind]:
            calls |= {(action, resource.replace("DATABASE", database), ()) for action in actions.split() for resource in resources}
    for functions, actions, resource, _ in UNRECORDED:
        if any(fits(each, function) for each in functions.split()):
            calls |= {(action, resource.format(function), ()) for action in actions.split()}
    return calls


@cache
def policies(function):
    """Returns what the function's role allows. The ARN of a resource of the stack becomes a pattern."""
    made = []
    for statement in statements(f"{function}Role", **GIVEN):
        if statement["Effect"] == "Deny":
            continue
        resources = [f"*-{named(each)}-*" if isinstance(each, dict) else alike(each) for each in flat(statement["Resource"])]
        made.append({**statement, "Action": flat(statement["Action"]), "Resource": resources})
    return made


def named(reference):
    ((name, _),) = reference.values()
    return name


@cache
def bucket_policy(**given):
    """Returns what the bucket's policy denies. It restricts every caller, and allows nothing."""
    (policy,) = of("AWS::S3::BucketPolicy", **GIVEN | given).values()
    text = re.sub(r'\{"Fn::GetAtt": \["(\w+Role)", "Arn"\]\}', lambda role: f'"{role_arn(role[1])}"', json.dumps(policy))
    made = json.loads(text)["PolicyDocument"]["Statement"]
    assert all(statement["Effect"] == "Deny" and statement["Principal"] == "*" for statement in made)
    return [{**statement, "Resource": [alike(each) for each in flat(statement["Resource"])]} for statement in made]


def role_arn(name):
    """Returns the ARN of a role of the stack. CloudFormation adds a random text to its name."""
    return f"arn:aws:iam::{FIXED['AWS::AccountId']}:role/{FIXED['AWS::StackName']}-{name}-1A"


@cache
def account_policy():
    """Returns what every role of the stack is denied: resources of other accounts."""
    (policy,) = [one for one in of("AWS::IAM::Policy", **GIVEN).values() if one["PolicyName"] == "account"]
    return policy["PolicyDocument"]["Statement"]


def is_allowed(own, call):
    """Returns whether a role of the stack may make a call, by default on a resource of the stack's account."""
    action, resource, context = call
    known = {"aws:SecureTransport": "true", "aws:PrincipalArn": role_arn("FlipRole"), "aws:ResourceAccount": FIXED["AWS::AccountId"]}
    return allows([*own, *account_policy(), *bucket_policy()], action, resource, known | dict(context))


def reduced(own, at, action):
    """Returns the statements without one action of the statement at this position."""
    kept = [each for each in own[at]["Action"] if each != action]
    return [*own[:at], *([{**own[at], "Action": kept}] if kept else []), *own[at + 1 :]]


def unnecessary(own, calls):
    """Returns the actions without which every call is still allowed, with the resources of their statements."""
    found = []
    for at, statement in enumerate(own):
        for action in statement["Action"]:
            about = [call for call in calls if applies({**statement, "Action": action}, call[0], call[1], dict(call[2]))]
            rest = reduced(own, at, action)
            if all(is_allowed(rest, call) for call in about):
                found.append((action, statement["Resource"]))
    return found


def unused_resources(own, calls):
    """Returns the pairs of action and resource that no call needs."""
    pairs = {(action, resource) for statement in own for action in statement["Action"] for resource in statement["Resource"]}
    return {pair for pair in pairs if not any(call[0] == pair[0] and fits(pair[1], call[1]) for call in calls)}


@pytest.mark.parametrize("function", ROLES)
def test_every_call_is_allowed(function):
    own = policies(function)
    assert {call for call in recorded(function) | on_behalf(function) if not is_allowed(own, call)} == set()


@pytest.mark.parametrize("function", ROLES)
def test_without_any_single_action_a_call_would_be_denied(function):
    assert unnecessary(policies(function), recorded(function) | on_behalf(function)) == []


@pytest.mark.parametrize("function", ROLES)
def test_every_allowed_resource_is_used(function):
    assert unused_resources(policies(function), recorded(function) | on_behalf(function)) == set()


@pytest.mark.parametrize("function", ROLES)
def test_functions_run_only_the_statements_whose_actions_their_roles_allow(function):
    assert {kind for kind, _ in statements_run(function)} == RUN_BY[function]


def test_every_listed_exception_is_needed():
    """A call that a test has recorded needs no entry in UNRECORDED, except that AWS makes the same call."""
    for functions, actions, resource, reason in UNRECORDED:
        matching = [function for function in ROLES if any(fits(each, function) for each in functions.split())]
        assert matching, functions
        if not reason.startswith(("No test", "MiniStack")):
            continue
        for function in matching:
            own = {(action, of_call) for action, of_call, _ in recorded(function)}
            assert not any((action, resource) in own for action in actions.split()), (function, actions, resource)


def test_no_request_violates_its_operations_model():
    """The emulator refuses such requests, and notes them: infra/local/athena/turntable_athena/models.py."""
    file = CALLS.parent / "violations"
    found = set(file.read_text().splitlines()) if file.exists() else set()
    assert found - REFUSED_ON_PURPOSE == set()


def test_inline_policies_of_a_role_stay_below_iams_limit_with_100_databases():
    """IAM allows 10,240 characters for all inline policies of a role together, without white space.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    """
    names = ",".join(f"department_{number:03}_lake" for number in range(100))
    given = GIVEN | {"GlueDatabases": names, "AthenaWorkgroup": "primary"}
    made = translated(**given)
    for name, role in of("AWS::IAM::Role", **given).items():
        documents = [policy["PolicyDocument"] for policy in role.get("Policies", [])]
        documents += [
            policy["PolicyDocument"] for policy in of("AWS::IAM::Policy", **given).values() if {"Ref": name} in policy["Roles"]
        ]
        text = json.dumps(documents, separators=(",", ":"), default=str)
        for logical in made:  # A reference becomes an ARN.
            text = text.replace(json.dumps({"Fn::GetAtt": [logical, "Arn"]}, separators=(",", ":")), f'"{"x" * 100}"')
        assert "Fn::" not in text and len(text) <= 10_240, (name, len(text))


# ---- the evaluation itself

READ = {"Effect": "Allow", "Action": ["s3:Get*", "s3:PutObject"], "Resource": ["arn:aws:s3:::lake/*"]}
ONCE = {
    "Effect": "Deny",
    "Action": "s3:PutObject",
    "Resource": "arn:aws:s3:::lake/a/*",
    "Condition": {"Null": {"s3:if-none-match": True}, "Bool": {"s3:ObjectCreationOperation": True}},
}


@pytest.mark.parametrize(
    ("action", "resource", "context", "allowed"),
    [
        ("s3:GetObject", "arn:aws:s3:::lake/a", {}, True),
        ("S3:getobject", "arn:aws:s3:::lake/a", {}, True),
        ("s3:GetObject", "arn:aws:s3:::lake", {}, False),
        ("s3:DeleteObject", "arn:aws:s3:::lake/a", {}, False),
        ("s3:PutObject", "arn:aws:s3:::lake/b", {"s3:ObjectCreationOperation": "true"}, True),
        ("s3:PutObject", "arn:aws:s3:::lake/a/1", {"s3:ObjectCreationOperation": "true"}, False),
        ("s3:PutObject", "arn:aws:s3:::lake/a/1", {"s3:ObjectCreationOperation": "false"}, True),
        ("s3:PutObject", "arn:aws:s3:::lake/a/1", {"s3:ObjectCreationOperation": "true", "s3:If-None-Match": "*"}, True),
    ],
)
def test_a_denial_outweighs_what_is_allowed(action, resource, context, allowed):
    assert allows([READ, ONCE], action, resource, context) == allowed


@pytest.mark.parametrize(
    ("operator", "values", "value", "expected"),
    [
        ("StringEquals", ["a", "b"], "b", True),
        ("StringEquals", ["a*"], "ab", False),
        ("StringLike", ["a*"], "ab", True),
        ("ArnLike", ["arn:aws:events:*:rule/x"], "arn:aws:events:1:rule/x", True),
        ("StringEquals", ["a"], None, False),
        ("StringEqualsIfExists", ["a"], None, True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", ["a", "b"], "c", True),
        ("StringNotEquals", ["a"], None, True),
        ("ArnNotLike", ["arn:aws:iam::1:role/x*"], "arn:aws:iam::1:role/xy", False),
        ("ArnNotLike", ["arn:aws:iam::1:role/x*"], None, True),
        ("Bool", [False], "false", True),
        ("Null", ["false"], "x", True),
    ],
)
def test_conditions(operator, values, value, expected):
    context = {} if value is None else {"aws:Key": value}
    statement = {"Effect": "Allow", "Action": "a:B", "Resource": "*", "Condition": {operator: {"aws:key": values}}}
    assert allows([statement], "a:B", "r", context) == expected


def test_what_is_not_implemented_is_refused():
    with pytest.raises(AssertionError, match="NotAction"):
        applies({"Effect": "Allow", "NotAction": "a:B", "Action": "a:B", "Resource": "*"}, "a:B", "r", {})
    with pytest.raises(AssertionError, match="DateLessThan"):
        allows([{"Effect": "Allow", "Action": "a:B", "Resource": "*", "Condition": {"DateLessThan": {"k": "1"}}}], "a:B", "r", {"k": "1"})


def test_a_superfluous_action_is_found():
    own = [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": ["arn:aws:s3:::lake/*"]}]
    calls = {("s3:GetObject", "arn:aws:s3:::lake/a", ())}
    assert unnecessary(own, calls) == [("s3:PutObject", ["arn:aws:s3:::lake/*"])]
    # Two statements that allow the same: neither is necessary.
    assert len(unnecessary([own[0], own[0]], calls)) == 4
    assert unused_resources(own, calls) == {("s3:PutObject", "arn:aws:s3:::lake/*")}
