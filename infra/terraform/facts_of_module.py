"""Returns the facts of a plan of modules/stack."""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from facts import ARNS, BUCKET, dashboard, flattened, permissions, queue_url  # noqa: E402
from parameters import snake  # noqa: E402
from test_template import flat, template, translated  # noqa: E402


def camel(name):
    """Returns CloudFormation's form of a name: live_age_seconds → LiveAgeSeconds."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def event(key):
    """Returns the logical ID for the key of a schedule or a rule. SAM names what it makes for a function: ExportFunctionDaily."""
    function, _, name = key.partition("_")
    resources = template()["Resources"]
    return camel(key) if camel(key) in resources else f"{camel(function)}Function{camel(name)}"


def mapping(key):
    """Returns the logical ID of the mapping of a queue to its function."""
    return "ExportFunctionPutQueue" if key == "put" else f"{camel(key)}FunctionQueue"


# CloudFormation's type for a resource of Terraform, and its logical ID for the key in `for_each`.
KINDS = {
    "aws_cloudwatch_dashboard.this": ("AWS::CloudWatch::Dashboard", lambda _: "Dashboard"),
    "aws_cloudwatch_event_rule.this": ("AWS::Events::Rule", event),
    "aws_cloudwatch_event_target.this": ("AWS::Events::Rule", event),
    "aws_cloudwatch_log_group.this": ("AWS::Logs::LogGroup", lambda key: f"{camel(key)}Logs"),
    "aws_cloudwatch_metric_alarm.this": ("AWS::CloudWatch::Alarm", lambda key: f"{camel(key)}Alarm"),
    "aws_iam_role.function": ("AWS::IAM::Role", lambda key: f"{camel(key)}Role"),
    "aws_iam_role.checks": ("AWS::IAM::Role", lambda _: "ChecksRole"),
    "aws_iam_role.schedule": ("AWS::IAM::Role", lambda key: f"{event(key)}Role"),
    "aws_lambda_alias.operator": ("AWS::Lambda::Alias", lambda key: f"{camel(key)}Operator"),
    "aws_lambda_event_source_mapping.queue": ("AWS::Lambda::EventSourceMapping", mapping),
    "aws_lambda_function.this": ("AWS::Lambda::Function", lambda key: f"{camel(key)}Function"),
    "aws_lambda_function_event_invoke_config.this": (
        "AWS::Lambda::EventInvokeConfig",
        lambda key: f"{camel(key)}FunctionEventInvokeConfig",
    ),
    "aws_lambda_permission.rule": ("AWS::Lambda::Permission", lambda key: f"{event(key)}Permission"),
    "aws_s3_bucket.this": ("AWS::S3::Bucket", lambda _: "Bucket"),
    "aws_s3_bucket_lifecycle_configuration.this": ("AWS::S3::Bucket", lambda _: "Bucket"),
    "aws_s3_bucket_notification.this": ("AWS::S3::Bucket", lambda _: "Bucket"),
    "aws_s3_bucket_ownership_controls.this": ("AWS::S3::Bucket", lambda _: "Bucket"),
    "aws_s3_bucket_policy.this": ("AWS::S3::BucketPolicy", lambda _: "BucketPolicy"),
    "aws_s3_bucket_public_access_block.this": ("AWS::S3::Bucket", lambda _: "Bucket"),
    "aws_s3_bucket_server_side_encryption_configuration.this": ("AWS::S3::Bucket", lambda _: "Bucket"),
    "aws_s3_bucket_versioning.this": ("AWS::S3::Bucket", lambda _: "Bucket"),
    "aws_scheduler_schedule.this": ("AWS::Scheduler::Schedule", event),
    "aws_sqs_queue.dead_letters": ("AWS::SQS::Queue", lambda key: f"{camel(key)}DeadLetters"),
    "aws_sqs_queue.work": ("AWS::SQS::Queue", lambda key: f"{camel(key)}Queue"),
}


def addresses(sets):
    """Yields each resource that others may refer to: its address in Terraform, and what AWS computes for it."""
    for name, kind in {name: one["Type"] for given in sets for name, one in translated(**given).items()}.items():
        stem = re.sub(r"Function(?=[A-Z])|(?:Logs|Alarm|Role|Function|Queue|DeadLetters)$", "", name)
        keys = {snake(stem), snake(name.removesuffix("Alarm"))}
        known = {"arn": ARNS.get(kind, "") + name}
        match kind:
            case "AWS::SQS::Queue":
                known |= {"url": queue_url(name), "id": queue_url(name)}
            case "AWS::IAM::Role":
                known |= {"id": name}
        if kind in ARNS:
            for address, (of, logical) in KINDS.items():
                yield from ((f'{address}["{key}"]', known) for key in keys if of == kind and logical(key) == name)
    yield "aws_iam_role.checks", {"id": "ChecksRole", "arn": ARNS["AWS::IAM::Role"] + "ChecksRole"}
    for function in ("flip", "optout"):
        yield f'aws_lambda_alias.operator["{function}"]', {"arn": f'{ARNS["AWS::Lambda::Alias"]}{camel(function)}Operator'}
    yield "aws_s3_bucket.this[0]", {"id": BUCKET}


def identity(resource):
    """Returns CloudFormation's type and logical ID for a resource of a plan, or two None for a part of another resource."""
    kind, logical = KINDS.get(f"{resource['type']}.{resource['name']}", (None, lambda _: None))
    return kind, logical(str(resource.get("index", "")))


def facts(plan):
    """Returns the facts of a plan, by resource of CloudFormation."""
    schemas = next(iter(plan["provider_schemas"].values()))["resource_schemas"]
    found = {}
    queues = {one["change"]["after"]["name"]: identity(one)[1] for one in plan["resource_changes"] if one["type"] == "aws_sqs_queue"}
    for resource in plan["resource_changes"]:
        kind, name = identity(resource)
        after, unknown = resource["change"]["after"], resource["change"]["after_unknown"]
        match resource["type"]:
            case "aws_iam_role_policy":
                role = after.get("role", "(unknown)")
                found.setdefault(f"AWS::IAM::Role {role}", {}).update(flattened(permissions(policy(after))))
                continue
            case "aws_sqs_queue_policy":
                queue = after.get("queue_url", "(unknown)").rpartition("/")[2]
                found.setdefault(f"AWS::SQS::QueuePolicy {queue}", {}).update(flattened(permissions(policy(after))))
                continue
        if kind is None:
            found[resource["address"]] = {"(not compared)": "facts_of_module.py, KINDS: add its type"}
            continue
        schema = schemas[resource["type"]]["block"]
        given = configured(after, schema)
        given |= {camel(key): "(unknown)" for key, value in unknown.items() if value is True and not computed(schema, key)}
        properties = shaped(resource["type"], given, queues)
        found.setdefault(f"{kind} {name}", {}).update(flattened(properties, queues))
    return found


def outputs(plan):
    return {name: str(change["after"]) for name, change in plan["output_changes"].items()}


def policy(after):
    """Returns a policy's document. Terraform knows it only if everything that it refers to is in the template too."""
    unknown = {"Statement": [{"Effect": "Allow", "Action": "(unknown)", "Resource": "(a resource that template.yaml lacks)"}]}
    return json.loads(after["policy"]) if "policy" in after else unknown


def computed(schema, attribute):
    return schema.get("attributes", {}).get(attribute, {}).get("computed", False)


def made_up(value):
    """Returns whether a mocked provider could have made up this value."""
    return value in (None, 0, False, [], {}) or (isinstance(value, str) and re.fullmatch("[a-z0-9]{8}", value) is not None)


def configured(values, schema):
    """Returns what the module sets of a resource or a block, with CloudFormation's names. A block that occurs once is no list."""
    given = {}
    for name, value in values.items():
        if computed(schema, name) and made_up(value):
            continue
        if block := schema.get("block_types", {}).get(name):
            value = [configured(each, block["block"]) for each in value or []]
            value = value[0] if len(value) == 1 else value
        given[camel(name)] = value
    return given


def shaped(kind, given, queues):
    """Returns the properties of a resource as CloudFormation arranges them. What is not named here has the same name."""
    renamed = {
        "aws_cloudwatch_log_group": {"Name": "LogGroupName"},
        "aws_s3_bucket": {"Bucket": "BucketName"},
        "aws_sqs_queue": {"VisibilityTimeoutSeconds": "VisibilityTimeout", "MessageRetentionSeconds": "MessageRetentionPeriod"},
    }.get(kind, {})
    # CloudFormation makes these names itself.
    made = {
        "aws_cloudwatch_event_rule": {"Name"},
        "aws_cloudwatch_metric_alarm": {"AlarmName"},
        "aws_iam_role": {"Name"},
        "aws_sqs_queue": {"Name"},
    }.get(kind, set())
    identifiers = {"Id", "Arn", "Url"} - ({"Arn"} if kind == "aws_cloudwatch_event_target" else set())
    given = {renamed.get(key, key): value for key, value in given.items() if key not in made | identifiers}
    bucket = given.pop("Bucket", None)
    match kind:
        case "aws_lambda_function":
            given["Code"] = Path(given.pop("Filename")).name
            del given["SourceCodeHash"]
        case "aws_cloudwatch_event_rule":
            given["EventPattern"] = json.loads(given["EventPattern"])
        case "aws_cloudwatch_event_target":
            del given["Rule"]
            return {"Targets": [given]}
        case "aws_cloudwatch_dashboard":
            given["DashboardBody"] = dashboard(given["DashboardBody"], queues)
        case "aws_iam_role":
            given["AssumeRolePolicyDocument"] = permissions(json.loads(given.pop("AssumeRolePolicy")))
        case "aws_sqs_queue" if "RedrivePolicy" in given:
            given["RedrivePolicy"] = json.loads(given["RedrivePolicy"])
        case "aws_s3_bucket_notification":
            given = {"NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": given.pop("Eventbridge")}, **given}}
        case "aws_s3_bucket_public_access_block":
            given = {"PublicAccessBlockConfiguration": given}
        case "aws_s3_bucket_ownership_controls":
            given = {"OwnershipControls": {"Rules": flat(given.pop("Rule")), **given}}
        case "aws_s3_bucket_server_side_encryption_configuration":
            rules = [encryption(rule) for rule in flat(given.pop("Rule"))]
            given = {"BucketEncryption": {"ServerSideEncryptionConfiguration": rules, **given}}
        case "aws_s3_bucket_lifecycle_configuration":
            given = {"LifecycleConfiguration": {"Rules": [lifecycle(rule) for rule in flat(given.pop("Rule"))], **given}}
        case "aws_s3_bucket_policy":
            given = {"PolicyDocument": permissions(json.loads(given.pop("Policy"))), **given}
    if kind.startswith("aws_s3_bucket_") and bucket != BUCKET:
        given["Bucket"] = bucket
    if kind == "aws_s3_bucket_policy":
        given["Bucket"] = bucket
    return given


def encryption(rule):
    default = rule.pop("ApplyServerSideEncryptionByDefault")
    names = {"SseAlgorithm": "SSEAlgorithm", "KmsMasterKeyId": "KMSMasterKeyID"}
    return {**rule, "ServerSideEncryptionByDefault": {names.get(key, key): value for key, value in default.items()}}


def lifecycle(rule):
    objects, expiration = rule.pop("Filter") or {}, rule.pop("Expiration") or {}
    rule |= {
        "Prefix": objects.pop("Prefix", None),
        "ExpirationInDays": expiration.pop("Days", None),
        "ExpiredObjectDeleteMarker": expiration.pop("ExpiredObjectDeleteMarker", None),
    }
    return {**rule, "Filter": objects, "Expiration": expiration}
