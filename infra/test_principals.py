"""Checks what principals outside the stack may do, by the policies that docs/deploy.md gives them and the bucket's policy.

The careless principal has `s3:*` on everything, so only the bucket's policy denies it anything.
"""

import json
import re

import pytest
from iam import allows, fits, flat
from parliament import analyze_policy_string
from test_deployer import policy as deployer
from test_permissions import BUCKET, FIXED, GENERATION, GIVEN, account_policy, bucket_policy, policies, role_arn
from test_template import FUNCTIONS, ROOT, of, statements

NAMES = {
    "ACCOUNT": FIXED["AWS::AccountId"], "REGION": FIXED["AWS::Region"], "STACK": FIXED["AWS::StackName"],
    "BUCKET": GIVEN["BucketName"], "DATABASE": "dmp", "DATASETS_KEY": "datasets.toml", "INBOX": "inbox/partner", "TABLES": "schemas",
    "READERS": "readers", "RESULTS": "readers-results", "INBOX_PREFIX": "inbox/", "FILTERED": "users_filtered", "DEPLOYER": GIVEN["DeployerArns"],
}  # fmt: skip
OUTSIDE = ["editor", "filtered-reader", "invoker", "operator", "partner", "reader"]
# A principal's role has its name. The editor is a deployer: DeployerArns names its role.
ARNS = {name: f"arn:aws:iam::{NAMES['ACCOUNT']}:role/{name}" for name in [*OUTSIDE, "careless"]} | {"editor": GIVEN["DeployerArns"]}

FLIP = f"arn:aws:lambda:{NAMES['REGION']}:{NAMES['ACCOUNT']}:function:lake-flip"
EXPORT = FLIP.replace("flip", "export")
TABLE = f"arn:aws:glue:{NAMES['REGION']}:{NAMES['ACCOUNT']}:table/dmp/users"
FILTERED = GENERATION.replace("/users/", "/users_filtered/")
DROP, OWN_REJECTS = f"{BUCKET}/inbox/partner/1.csv", f"{BUCKET}/inbox/partner/_rejected/1.json"
OTHER_KEY = GIVEN["KmsKeyArn"].replace("key/2", "key/3")
SSE, KEY_ID = "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"
SSE_C, STORAGE = "s3:x-amz-server-side-encryption-customer-algorithm", "s3:x-amz-storage-class"

# One key of each kind of record.
RECORDS = [
    "schemas/users/_manifests/blue-01JD675EJRSSKNZWWST95906C6.json", "schemas/users/_flips/01JD675EJRSSKNZWWST95906C6.json",
    "schemas/users/_hold.json", "schemas/users/_table.json", "schemas/users/_verdicts/blue-01JD675EJRSSKNZWWST95906C6.json",
    "schemas/users/_export_failed.json", "schemas/users/_returns/01JD675EJRSSKNZWWST95906C6.json",
    "schemas/users/_sweeping/blue-01JD675EJRSSKNZWWST95906C6.json", "schemas/users/_pending/blue-01JD675EJRSSKNZWWST95906C6.json",
    "_groups/core.json", "schemas/_groups/core.json", "_retired/schemas/users.json", "_stacks/lake/buckets.json",
    "_archive/inbox/partner/1/1.csv", "inbox/partner/_published.json", "schemas/optouts/_returning.json",
    "schemas/users/_refresh.json",
]  # fmt: skip


def documented(name):
    """Returns the statements of a policy of infra/policies, with the tests' names."""
    text = (ROOT / f"infra/policies/{name}.json").read_text()
    text = re.sub(rf"\b({'|'.join(NAMES)})\b", lambda found: NAMES[found[0]], text)
    return json.loads(text)["Statement"]


def may(name, action, resource, bucket=None, arn=None, **context):
    """Returns whether a principal may make a call, given its own policy and the bucket's."""
    own = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}] if name == "careless" else documented(name)
    limits = bucket_policy() if bucket is None else bucket
    known = {"aws:SecureTransport": "true", "aws:PrincipalArn": arn or ARNS[name], "s3:ObjectCreationOperation": "true"}
    return allows([*own, *limits], action, resource, known | {key.replace("__", ":"): value for key, value in context.items()})


def put(name, key, **context):
    return may(name, "s3:PutObject", f"{BUCKET}/{key}", **context)


ALLOWED = [
    ("partner", "s3:PutObject", DROP, {}),
    ("partner", "s3:PutObject", DROP, {SSE: "aws:kms", KEY_ID: GIVEN["KmsKeyArn"]}),
    ("partner", "s3:PutObject", DROP, {STORAGE: "STANDARD"}),
    ("editor", "s3:PutObject", f"{BUCKET}/datasets.toml", {}),
    ("filtered-reader", "s3:GetObject", f"{FILTERED}/part-00000.parquet", {}),
    ("filtered-reader", "s3:ListBucket", BUCKET, {"s3:prefix": "schemas/users_filtered/"}),
    ("filtered-reader", "glue:GetTable", f"{TABLE}_filtered", {}),
    ("reader", "s3:GetObject", f"{GENERATION}/part-00000.parquet", {}),
    ("reader", "glue:GetTable", TABLE, {}),
    ("reader", "s3:PutObject", "arn:aws:s3:::readers-results/1.csv", {}),
    ("invoker", "lambda:InvokeFunction", EXPORT, {}),
    ("operator", "lambda:InvokeFunction", f"{FLIP}:operator", {}),
    ("operator", "lambda:InvokeFunction", f"{FLIP.replace('flip', 'optout')}:operator", {}),
    ("careless", "s3:PutObject", f"{BUCKET}/source/users/1.csv", {}),
]
DENIED = [
    # A drop that OptoutFunction could not read.
    ("partner", "s3:PutObject", DROP, {SSE_C: "AES256"}),
    ("partner", "s3:PutObject", DROP, {SSE: "AES256"}),
    ("partner", "s3:PutObject", DROP, {SSE: "aws:kms:dsse"}),
    ("partner", "s3:PutObject", DROP, {SSE: "aws:kms", KEY_ID: OTHER_KEY}),
    ("partner", "s3:PutObject", DROP, {STORAGE: "GLACIER"}),
    ("partner", "s3:PutObject", DROP, {STORAGE: "DEEP_ARCHIVE"}),
    ("partner", "s3:PutObject", DROP, {"aws:SecureTransport": "false"}),
    # Another inbox, records in its own, and keys that look like records.
    ("partner", "s3:PutObject", f"{BUCKET}/inbox/other/1.csv", {}),
    ("partner", "s3:PutObject", f"{BUCKET}/inbox/partner/_published.json", {}),
    ("partner", "s3:PutObject", OWN_REJECTS, {}),
    ("partner", "s3:PutObject", f"{BUCKET}/inbox/partner/x/_manifests/blue-01JD675EJRSSKNZWWST95906C6.json", {}),
    ("partner", "s3:PutObject", f"{BUCKET}/datasets.toml", {}),
    ("partner", "s3:PutObject", f"{GENERATION}/part-00000.parquet", {}),
    # What is not a partner's at all.
    ("partner", "s3:GetObject", DROP, {}),
    ("partner", "s3:DeleteObject", DROP, {}),
    ("partner", "s3:ListBucket", BUCKET, {}),
    ("partner", "lambda:InvokeFunction", EXPORT, {}),
    ("partner", "glue:GetTable", TABLE, {}),
    # Who may only read the filtered table sees neither the people who opted out nor the list of them.
    *[("filtered-reader", action, resource, {})
      for table in ("users", "optouts", "users_protected", "optouts_active", "users_filtered_too")
      for action, resource in (
          ("glue:GetTable", TABLE.replace("/users", f"/{table}")),
          ("glue:GetPartitions", TABLE.replace("/users", f"/{table}")),
          ("s3:GetObject", f"{FILTERED.replace('users_filtered', table)}/part-00000.parquet"),
      )],
    *[("filtered-reader", "s3:ListBucket", BUCKET, {"s3:prefix": prefix}) for prefix in ("schemas/", "schemas/users/", "schemas/optouts/", "inbox/")],
    ("filtered-reader", "s3:GetObject", DROP, {}),
    ("filtered-reader", "s3:PutObject", f"{FILTERED}/part-00000.parquet", {}),
    ("filtered-reader", "glue:UpdateTable", f"{TABLE}_filtered", {}),
    # A reader changes nothing, and sees neither drops nor records outside the tables' folders.
    ("reader", "s3:PutObject", f"{BUCKET}/source/users/1.csv", {}),
    ("reader", "s3:PutObject", f"{BUCKET}/_athena/1.csv", {}),
    ("reader", "s3:DeleteObject", f"{GENERATION}/part-00000.parquet", {}),
    ("reader", "s3:GetObject", DROP, {}),
    ("reader", "s3:GetObject", f"{BUCKET}/_archive/inbox/partner/1/1.csv", {}),
    ("reader", "s3:GetObject", f"{BUCKET}/datasets.toml", {}),
    ("reader", "s3:ListBucket", BUCKET, {"s3:prefix": "inbox/"}),
    ("reader", "glue:UpdateTable", TABLE, {}),
    ("reader", "glue:DeleteTable", TABLE, {}),
    ("reader", "athena:StartQueryExecution", TABLE.replace("glue", "athena").replace("table/dmp/users", "workgroup/etl"), {}),
    ("reader", "lambda:InvokeFunction", f"{FLIP}:operator", {}),
    # An invoker starts exports, and nothing that an operator may do.
    ("invoker", "lambda:InvokeFunction", FLIP, {}),
    ("invoker", "lambda:InvokeFunction", f"{FLIP}:operator", {}),
    ("invoker", "lambda:InvokeFunction", FLIP.replace("flip", "sweep"), {}),
    ("invoker", "lambda:UpdateFunctionCode", EXPORT, {}),
    ("invoker", "s3:PutObject", f"{BUCKET}/source/users/1.csv", {}),
    ("invoker", "lambda:InvokeFunction", f"{FLIP.replace('flip', 'optout')}:operator", {}),
    # An operator's requests go to the aliases: events invoke the functions themselves.
    ("operator", "lambda:InvokeFunction", FLIP, {}),
    ("operator", "lambda:InvokeFunction", FLIP.replace("flip", "optout"), {}),
    ("operator", "lambda:UpdateFunctionCode", FLIP, {}),
    ("operator", "s3:PutObject", f"{BUCKET}/schemas/users/_hold.json", {}),
    # An editor changes datasets.toml only.
    ("editor", "s3:PutObject", f"{BUCKET}/schemas/users/_pending/blue-01JD675EJRSSKNZWWST95906C6.json", {}),
    ("editor", "s3:DeleteObject", f"{BUCKET}/datasets.toml", {}),
    ("editor", "lambda:InvokeFunction", EXPORT, {}),
    # Whoever may write the whole bucket.
    *[("careless", action, f"{BUCKET}/{key}", {}) for key in RECORDS for action in ("s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion")],
    *[("careless", action, f"{BUCKET}/{key}", {})
      for key in ("datasets.toml", "tls/ca.pem") for action in ("s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion")],
    ("careless", "s3:PutObject", f"{BUCKET}/_athena/1.csv", {}),
    ("careless", "s3:PutObject", OWN_REJECTS, {}),
    ("careless", "s3:PutObject", f"{GENERATION}/part-00000.parquet", {}),
    *[("careless", "s3:PutObject", DROP, header) for header in ({SSE_C: "AES256"}, {SSE: "AES256"}, {KEY_ID: OTHER_KEY}, {STORAGE: "GLACIER"})],
    ("careless", "s3:GetObject", DROP, {"aws:SecureTransport": "false"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "action", "resource", "context"), ALLOWED)
def test_what_a_principal_is_for_is_allowed(name, action, resource, context):
    assert may(name, action, resource, **context)


@pytest.mark.parametrize(("name", "action", "resource", "context"), DENIED)
def test_everything_else_is_denied(name, action, resource, context):
    assert not may(name, action, resource, **context)


def test_each_statement_of_the_buckets_policy_denies_something_that_nothing_else_denies():
    for at, statement in enumerate(bucket_policy()):
        rest = [*bucket_policy()[:at], *bucket_policy()[at + 1 :]]
        assert any(may(name, action, resource, bucket=rest, **context) for name, action, resource, context in DENIED), statement["Sid"]


def test_without_a_kms_key_drops_have_the_encryption_of_s3():
    plain = bucket_policy(KmsKeyArn="")
    assert put("partner", "inbox/partner/1.csv", bucket=plain) and put("partner", "inbox/partner/1.csv", bucket=plain, **{SSE: "AES256"})
    for header in ({SSE: "aws:kms"}, {SSE: "aws:kms", KEY_ID: OTHER_KEY}, {SSE_C: "AES256"}):
        assert not put("partner", "inbox/partner/1.csv", bucket=plain, **header), header


def test_only_a_named_deployer_writes_the_configuration_and_removes_records():
    for arn, expected in [(GIVEN["DeployerArns"], True), (ARNS["operator"], False), (role_arn("FlipRole"), False)]:
        for key in ("datasets.toml", "tls/ca.pem"):
            assert put("careless", key, arn=arn) == expected, (arn, key)
    deletes = {arn: may("careless", "s3:DeleteObject", f"{BUCKET}/schemas/users/_table.json", arn=arn) for arn in (GIVEN["DeployerArns"], ARNS["operator"])}
    assert list(deletes.values()) == [True, False]
    assert not put("careless", "schemas/users/_flips/01JD675EJRSSKNZWWST95906C6.json", arn=GIVEN["DeployerArns"])
    # A handled report of rejected records is anybody's to delete.
    assert may("careless", "s3:DeleteObject", OWN_REJECTS)


def test_the_policy_to_deploy_with_writes_the_configuration_only_for_a_named_deployer():
    configuration = deployer_call("s3:PutObject", "datasets.toml")
    for arn, expected in [("arn:aws:iam::123456789012:role/deployer", True), ("arn:aws:iam::123456789012:user/another", False)]:
        assert allows([*deployer(), *bucket_policy_of("bucket")], *configuration, {"aws:SecureTransport": "true", "aws:PrincipalArn": arn}) == expected
    record = deployer_call("s3:PutObject", "schemas/users/_hold.json")
    context = {"aws:SecureTransport": "true", "aws:PrincipalArn": "arn:aws:iam::123456789012:role/deployer"}
    assert not allows([*deployer(), *bucket_policy_of("bucket")], *record, context)


def deployer_call(action, key):
    return action, f"arn:aws:s3:::bucket/{key}"


def bucket_policy_of(name):
    return bucket_policy(BucketName=name)


def test_no_record_that_a_function_writes_is_left_unprotected():
    """Generations are the exception: Glue jobs write them with roles of their own, and the audit compares their files."""
    for function in FUNCTIONS:
        for statement in policies(function):
            for pattern in statement["Resource"] if "s3:PutObject" in statement["Action"] else []:
                if pattern.startswith(BUCKET) and "/blue-*/" not in pattern:
                    assert not may("careless", "s3:PutObject", pattern.replace("*_", "x/_").replace("*", "x")), (function, pattern)


def test_every_role_of_the_stack_is_limited_to_known_accounts():
    (account,) = [one for one in of("AWS::IAM::Policy", **GIVEN).values() if one["PolicyName"] == "account"]
    assert {each["Ref"] for each in account["Roles"]} == of("AWS::IAM::Role", **GIVEN).keys()
    for function in FUNCTIONS:
        assert any(statement["Effect"] == "Deny" for statement in statements(f"{function}Role")), function


@pytest.mark.parametrize(("owner", "expected"), [(NAMES["ACCOUNT"], True), ("210987654321", True), ("666666666666", False), (None, True)])
def test_a_bucket_of_an_unknown_account_is_not_read(owner, expected):
    context = {"aws:SecureTransport": "true"} | ({} if owner is None else {"aws:ResourceAccount": owner})
    read = "s3:GetObject", f"{BUCKET}-scratch/users.csv"
    assert allows([*policies("Export"), *account_policy()], *read, context) == expected


def test_the_functions_read_only_the_sources_that_the_parameters_name():
    context = {"aws:SecureTransport": "true", "aws:ResourceAccount": NAMES["ACCOUNT"]}
    calls = {
        "s3:GetObject": (f"{BUCKET}-scratch/a.csv", "arn:aws:s3:::payroll/a.csv"),
        "s3:ListBucket": (f"{BUCKET}-scratch", "arn:aws:s3:::payroll"),
        "rds-db:connect": (GIVEN["RdsUserArns"], GIVEN["RdsUserArns"].replace("turntable", "admin")),
        "glue:StartJobRun": (TABLE.replace("table/dmp/users", "job/orders_by_day"), TABLE.replace("table/dmp/users", "job/payroll")),
        "lambda:InvokeFunction": (GIVEN["ConnectorArns"], EXPORT),
    }
    for action, (named, other) in calls.items():
        assert allows(policies("Export"), action, named, context) and not allows(policies("Export"), action, other, context), action
    secrets = [one for one in statements("ExportRole", SecretArns="arn:aws:secretsmanager:eu-west-1:1:secret:shop-*") if "Secret" in str(one["Action"])]
    assert [one["Resource"] for one in secrets] == [["arn:aws:secretsmanager:eu-west-1:1:secret:shop-*"]]
    assert not any("Secret" in str(one["Action"]) for one in statements("ExportRole"))


def test_a_stack_without_other_accounts_uses_only_its_own():
    deny = [statement for statement in statements("ExportRole") if statement["Effect"] == "Deny"]
    assert [one["Condition"]["StringNotEquals"]["aws:ResourceAccount"] for one in deny] == [NAMES["ACCOUNT"]]


def existing():
    """Returns the template's bucket policy as infra/policies/bucket.json has it: for a stack without a KMS key."""
    names = {"BucketName": "BUCKET", "InboxPrefix": "INBOX_PREFIX", "DatasetsKey": "DATASETS_KEY", "DeployerArns": "DEPLOYER"}
    (made,) = of("AWS::S3::BucketPolicy", **names).values()
    text = json.dumps(made["PolicyDocument"])
    text = re.sub(r'\{"Fn::GetAtt": \["(\w+Role)", "Arn"\]\}', r'"arn:aws:iam::ACCOUNT:role/STACK-\1-*"', text)
    return json.loads(text)


def test_the_policy_for_an_existing_bucket_is_the_templates():
    made, there = existing(), json.loads((ROOT / "infra/policies/bucket.json").read_text())
    assert there == made, f"infra/policies/bucket.json must be {json.dumps(made)}"
    # S3's limit is 20 KB: https://docs.aws.amazon.com/AmazonS3/latest/userguide/example-bucket-policies.html
    assert len(json.dumps(made)) < 15_000
    # A stack's own roles are exempt from it, whatever CloudFormation appends to their names.
    (records,) = [statement for statement in documented("bucket") if statement["Sid"] == "Records"]
    assert any(fits(each, role_arn("FlipRole")) for each in flat(records["Condition"]["ArnNotEquals"]["aws:PrincipalArn"]))


@pytest.mark.parametrize("name", OUTSIDE)
def test_every_documented_policy_is_valid(name):
    text = json.dumps({"Version": "2012-10-17", "Statement": documented(name)})
    assert [str(finding) for finding in analyze_policy_string(text).findings] == []


def test_the_documented_policies_are_those_of_the_page():
    page = (ROOT / "docs/deploy.md").read_text()
    there = {path.stem for path in (ROOT / "infra/policies").iterdir()}
    assert there == {*OUTSIDE, "bucket"} and all(f"infra/policies/{name}.json" in page for name in there)
