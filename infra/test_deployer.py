"""Checks that infra/deployer.json allows what CloudFormation needs to create, read, update and delete each resource of template.yaml.

CloudFormation acts with the permissions of the person who deploys. Each type's schema lists the actions that its handlers call
("permissions" of "handlers"); cfn-lint ships AWS's schemas.
"""

import json
from functools import cache
from importlib.resources import files

import pytest
from iam import allows, flat
from test_template import FIXED, ROOT, translated

STACK, BUCKET = FIXED["AWS::StackName"], "bucket"
NAMES = {"ACCOUNT": FIXED["AWS::AccountId"], "REGION": FIXED["AWS::Region"], "STACK": STACK, "BUCKET": BUCKET, "DATABASE": "dmp"}
GIVEN = {"EngineWorkgroups": "etl", "GlueJobs": "job", "SubnetIds": "subnet-1", "SecurityGroupIds": "sg-1", "Tracing": "Active"}
PLACE = f"{FIXED['AWS::Region']}:{FIXED['AWS::AccountId']}"
GIVEN["Layers"] = f"arn:aws:lambda:{PLACE}:layer:certificates:1"

# Where a resource of each type is. CloudFormation makes a name from the stack's name, the logical ID and a random text.
ARNS = {
    "AWS::CloudWatch::Alarm": f"arn:aws:cloudwatch:{PLACE}:alarm:{STACK}-{{}}-1A",
    "AWS::CloudWatch::Dashboard": f"arn:aws:cloudwatch::{FIXED['AWS::AccountId']}:dashboard/{STACK}",
    "AWS::Events::Rule": f"arn:aws:events:{PLACE}:rule/{STACK}-{{}}-1A",
    "AWS::IAM::Policy": f"arn:aws:iam::{FIXED['AWS::AccountId']}:role/{STACK}-ExportRole-1A",
    "AWS::IAM::Role": f"arn:aws:iam::{FIXED['AWS::AccountId']}:role/{STACK}-{{}}-1A",
    "AWS::Lambda::Alias": f"arn:aws:lambda:{PLACE}:function:{STACK}-flip",
    "AWS::Lambda::EventInvokeConfig": f"arn:aws:lambda:{PLACE}:function:{STACK}-export",
    "AWS::Lambda::EventSourceMapping": f"arn:aws:lambda:{PLACE}:event-source-mapping:1a",
    "AWS::Lambda::Function": f"arn:aws:lambda:{PLACE}:function:{STACK}-export",
    "AWS::Lambda::Permission": f"arn:aws:lambda:{PLACE}:function:{STACK}-export",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{PLACE}:log-group:/aws/lambda/{STACK}-export",
    "AWS::S3::Bucket": f"arn:aws:s3:::{BUCKET}",
    "AWS::S3::BucketPolicy": f"arn:aws:s3:::{BUCKET}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{PLACE}:{STACK}-{{}}-1A",
    "AWS::SQS::QueuePolicy": f"arn:aws:sqs:{PLACE}:{STACK}-ExportQueue-1A",
    "AWS::Scheduler::Schedule": f"arn:aws:scheduler:{PLACE}:schedule/default/{STACK}-daily",
}

# Actions for features that the template doesn't use, which handlers call only for them.
UNUSED = {
    "AWS::IAM::Policy": {"iam:*GroupPolicy", "iam:*UserPolicy"},
    "AWS::Lambda::Alias": {"codedeploy:*", "lambda:*ProvisionedConcurrencyConfig"},
    "AWS::Lambda::EventSourceMapping": {"kms:*"},
    "AWS::Lambda::Function": {
        "elasticfilesystem:*", "kms:*", "lambda:AssociateRuntimeAlias", "lambda:GetCodeSigningConfig",
        "lambda:PassCapacityProvider", "lambda:PublishVersion", "s3:GetObject*", "s3files:*",
    },
    "AWS::Logs::LogGroup": {
        "firehose:*", "s3:*", "logs:CreateLogDelivery", "logs:*DataProtectionPolicy", "logs:*IndexPolicy", "logs:*ResourcePolicy",
        "logs:PutBearerTokenAuthentication", "logs:PutLogGroupDeletionProtection",
    },
    # The bucket is kept when the stack is deleted.
    "AWS::S3::Bucket": {
        "iam:PassRole", "s3:CreateBucketMetadataTableConfiguration", "s3:Delete*", "s3:PutAccelerateConfiguration",
        "s3:PutAnalyticsConfiguration", "s3:PutIntelligentTieringConfiguration", "s3:PutInventoryConfiguration",
        "s3:PutMetricsConfiguration", "s3:PutObject*", "s3:PutReplicationConfiguration", "s3:UpdateBucketMetadata*", "s3tables:*",
    },
}  # fmt: skip
SERVICES = {"AWS::Lambda::Function": "lambda.amazonaws.com", "AWS::Scheduler::Schedule": "scheduler.amazonaws.com"}


@cache
def policy():
    text = (ROOT / "infra/deployer.json").read_text()
    for name, value in NAMES.items():
        text = text.replace(name, value)
    return json.loads(text)["Statement"]


@cache
def handlers():
    """Returns the actions of each type's handlers."""
    types = {resource["Type"] for resource in translated(**GIVEN).values()}
    found = {}
    for file in files("cfnlint").joinpath("data/schemas/resources").iterdir():
        schema = json.loads(file.read_text()) if file.name.endswith(".json") else {}
        if schema.get("typeName") in types:
            wanted = [schema["handlers"].get(how, {}).get("permissions", []) for how in ("create", "read", "update", "delete")]
            found[schema["typeName"]] = {action for actions in wanted for action in actions}
    assert found.keys() == types
    return found


def wanted():
    for name, resource in translated(**GIVEN).items():
        kind = resource["Type"]
        for action in handlers()[kind]:
            if not any(allows([{"Effect": "Allow", "Action": each, "Resource": "*"}], action, "*", {}) for each in UNUSED.get(kind, ())):
                yield kind, name, action


def place(kind, name, action):
    if action == "iam:PassRole":
        return ARNS["AWS::IAM::Role"].format("ExportRole")
    if action == "lambda:GetLayerVersion":
        return GIVEN["Layers"]
    return "*" if action in WITHOUT_RESOURCE else ARNS[kind].format(name)


WITHOUT_RESOURCE = {action for statement in policy() if statement["Sid"] == "NoNarrowerResource" for action in statement["Action"]}


def context(kind):
    keys = {"iam:PassedToService": SERVICES.get(kind, "")}
    mapping = {"lambda:FunctionArn": ARNS["AWS::Lambda::Function"]} if kind == "AWS::Lambda::EventSourceMapping" else {}
    return keys | mapping


def refused(statements):
    return {
        (kind, action)
        for kind, name, action in wanted()
        if not allows(statements, action, place(kind, name, action), context(kind))
        # A rule with a role would pass it. The template's rules have none.
        and (kind, action) != ("AWS::Events::Rule", "iam:PassRole")
    }


def test_a_person_with_this_policy_can_deploy_every_resource():
    assert refused(policy()) == set()


@pytest.mark.parametrize("sid", ["Bucket", "Functions", "Layers", "NewMappings", "Mappings", "TagsOfMappings", "Roles", "PassRoles", "Queues", "Rules", "Schedules", "Logs", "Alarms"])
def test_every_statement_is_needed(sid):
    assert refused([statement for statement in policy() if statement["Sid"] != sid]) != set()


def test_the_policy_is_short_and_names_the_stacks_own_resources():
    text = json.dumps(json.loads((ROOT / "infra/deployer.json").read_text()), separators=(",", ":"))
    assert len(text) < 6144, "IAM's limit for a managed policy"
    for statement in policy():
        resources = flat(statement["Resource"])
        if "*" in resources:
            assert statement["Sid"] == "NoNarrowerResource" or "lambda:FunctionArn" in statement["Condition"]["ArnLike"]
    assert not any(name in json.dumps(policy()) for name in NAMES), "a placeholder is left"
