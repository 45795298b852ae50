"""Reduces template.yaml and modules/stack to the same kind of facts, so that test_stack.py can compare them.

A fact is a property or a permission of a resource of CloudFormation, for example `Period: 3600` of
`AWS::CloudWatch::Alarm LiveAgeAlarm`. References to a resource become its ARN, URL or name, made from its logical ID.
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from parameters import snake  # noqa: E402
from test_template import FIXED, flat, solve, template, translated  # noqa: E402

PLACE = f"{FIXED['AWS::Region']}:{FIXED['AWS::AccountId']}"
BUCKET = "bucket"

# Gives each parameter a value that is not its default, except for the two about the bucket.
EVERYTHING = {
    "KmsKeyArn": f"arn:aws:kms:{PLACE}:key/2",
    "PermissionsBoundaryArn": f"arn:aws:iam::{FIXED['AWS::AccountId']}:policy/boundary",
    "DatasetsKey": "config/datasets.toml",
    "GlueDatabases": "dmp,sales_*",
    "InboxPrefix": "drops/",
    "ArchiveDays": "7",
    "SourceBuckets": "files,more-files",
    "SecretArns": "arn:aws:secretsmanager:*:*:secret:a,arn:aws:secretsmanager:*:*:secret:b",
    "RdsUserArns": f"arn:aws:rds-db:{PLACE}:dbuser:db-1/reader",
    "SubnetIds": "subnet-1,subnet-2",
    "SecurityGroupIds": "sg-1",
    "Layers": f"arn:aws:lambda:{PLACE}:layer:certificates:1,arn:aws:lambda:{PLACE}:layer:other:2",
    "EngineWorkgroups": "etl,more",
    "GlueJobs": "build-users,build-orders",
    "ConnectorArns": f"arn:aws:lambda:{PLACE}:function:connector",
    "Schedule": "rate(6 hours)",
    "ScheduleTimezone": "Asia/Tokyo",
    "ScheduleState": "DISABLED",
    "OptoutSchedule": "rate(2 minutes)",
    "LiveAgeSeconds": "3600",
    "OptoutLagSeconds": "60",
    "SweepSchedule": "rate(2 hours)",
    "Workgroups": "primary,team-*",
    "Architecture": "x86_64",
    "ExportMemory": "4096",
    "ExportConcurrency": "7",
    "DatasetMetrics": "false",
    "FlipReservedConcurrency": "4",
    "OptoutReservedConcurrency": "3",
    "AthenaWorkgroup": "checks",
    "AthenaResults": "WORKGROUP",
    "AthenaResultsArn": "arn:aws:s3:::results/team/*",
    "LakeFormation": "true",
    "LogLevel": "DEBUG",
    "Tracing": "Active",
    "AlarmTopicArn": f"arn:aws:sns:{PLACE}:alarms",
    "LogRetentionDays": "365",
}

ARNS = {
    "AWS::CloudWatch::Alarm": f"arn:aws:cloudwatch:{PLACE}:alarm:",
    "AWS::Events::Rule": f"arn:aws:events:{PLACE}:rule/",
    "AWS::IAM::Role": f"arn:aws:iam::{FIXED['AWS::AccountId']}:role/",
    "AWS::Lambda::Function": f"arn:aws:lambda:{PLACE}:function:",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{PLACE}:log-group:",
    "AWS::SQS::Queue": f"arn:aws:sqs:{PLACE}:",
}


def queue_url(name):
    return f"https://sqs.{FIXED['AWS::Region']}.amazonaws.com/{FIXED['AWS::AccountId']}/{name}"


def camel(name):
    """Returns CloudFormation's form of a name: live_age_seconds → LiveAgeSeconds."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


# template.yaml


def template_facts(given):
    """Returns the facts of template.yaml with these parameters, by resource."""
    made = translated(**given)
    facts = {}

    def add(kind, name, properties):
        facts.setdefault(f"{kind} {name}", {}).update(flattened(properties))

    for name, resource in made.items():
        kind, properties = resource["Type"], resolved(resource.get("Properties", {}), made)
        match kind:
            case "AWS::IAM::Policy":
                for role in properties["Roles"]:
                    add("AWS::IAM::Role", role, permissions(properties["PolicyDocument"]))
                continue
            case "AWS::IAM::Role":
                for policy in properties.pop("Policies", []):
                    add(kind, name, permissions(policy["PolicyDocument"]))
                properties["AssumeRolePolicyDocument"] = permissions(properties["AssumeRolePolicyDocument"])
            case "AWS::SQS::QueuePolicy":
                for url in properties["Queues"]:
                    queue = url.rpartition("/")[2]
                    own = f"{ARNS['AWS::SQS::Queue']}{queue}"  # A queue's policy has no effect on other queues.
                    add(kind, queue, permissions(properties["PolicyDocument"], lambda resource, own=own: resource == own))
                continue
            case "AWS::S3::BucketPolicy":
                properties["PolicyDocument"] = permissions(properties["PolicyDocument"])
            case "AWS::Lambda::Function":
                code = template()["Resources"][name]["Properties"]["CodeUri"]
                properties["Code"] = f"{Path(code).name}.zip"
                del properties["Tags"]  # SAM's own.
            case "AWS::CloudWatch::Alarm":
                properties["Dimensions"] = {one["Name"]: one["Value"] for one in properties["Dimensions"]}
            case "AWS::CloudWatch::Dashboard":
                properties["DashboardBody"] = dashboard(properties["DashboardBody"])
            case "AWS::Events::Rule":
                for target in properties["Targets"]:
                    del target["Id"]
        add(kind, name, properties)
    return facts


def template_outputs(given):
    """Returns the values of template.yaml's outputs with these parameters, by name in Terraform."""
    made = translated(**given)
    values = {name: parameter.get("Default", "") for name, parameter in template()["Parameters"].items()}
    values |= {"BucketName": BUCKET} | FIXED | given
    return {
        snake(name): str(resolved(solve(output["Value"], values, {}), made)) for name, output in template()["Outputs"].items()
    }


def resolved(node, made):
    """Replaces references to resources by their ARNs, URLs and names."""

    def attribute(name, of="Ref"):
        resource = made[name]
        kind, properties = resource["Type"], resource["Properties"]
        match kind, of:
            case "AWS::Logs::LogGroup", "Arn":
                return f"{ARNS[kind]}{name}:*"
            case _, "Arn":
                return ARNS[kind] + name
            case "AWS::SQS::Queue", "Ref":
                return queue_url(name)
            case "AWS::Lambda::Function", "Ref":
                return properties["FunctionName"]
            case "AWS::Logs::LogGroup", "Ref":
                return properties["LogGroupName"]
            case "AWS::S3::Bucket", "Ref":
                return properties["BucketName"]
            case ("AWS::IAM::Role", "Ref") | ("AWS::SQS::Queue", "QueueName"):
                return name
        raise AssertionError(f"not implemented: {of} of {kind}")

    if isinstance(node, list):
        return [resolved(each, made) for each in node]
    if isinstance(node, str):
        return re.sub(r"\$\{(\w+)(?:\.(\w+))?\}", lambda found: attribute(found[1], found[2] or "Ref"), node)
    if not isinstance(node, dict):
        return node
    match node:
        case {"Ref": name}:
            return attribute(name)
        case {"Fn::GetAtt": [name, of]}:
            return attribute(name, of)
    return {key: resolved(value, made) for key, value in node.items()}


# modules/stack


def event(key):
    """Returns the logical ID for the key of a schedule or a rule. SAM names what it makes for a function: ExportFunctionDaily."""
    function, _, name = key.partition("_")
    resources = template()["Resources"]
    return camel(key) if camel(key) in resources else f"{camel(function)}Function{camel(name)}"


# CloudFormation's type for a resource of Terraform, and its logical ID for the key in `for_each`.
KINDS = {
    "aws_cloudwatch_dashboard.this": ("AWS::CloudWatch::Dashboard", lambda _: "Dashboard"),
    "aws_cloudwatch_event_rule.this": ("AWS::Events::Rule", event),
    "aws_cloudwatch_event_target.this": ("AWS::Events::Rule", event),
    "aws_cloudwatch_log_group.this": ("AWS::Logs::LogGroup", lambda key: f"{camel(key)}Logs"),
    "aws_cloudwatch_metric_alarm.this": ("AWS::CloudWatch::Alarm", lambda key: f"{camel(key)}Alarm"),
    "aws_iam_role.function": ("AWS::IAM::Role", lambda key: f"{camel(key)}Role"),
    "aws_iam_role.schedule": ("AWS::IAM::Role", lambda key: f"{event(key)}Role"),
    "aws_lambda_event_source_mapping.queue": ("AWS::Lambda::EventSourceMapping", lambda key: f"{camel(key)}FunctionQueue"),
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
    "aws_scheduler_schedule.this": ("AWS::Scheduler::Schedule", event),
    "aws_sqs_queue.dead_letters": ("AWS::SQS::Queue", lambda key: f"{camel(key)}DeadLetters"),
    "aws_sqs_queue.work": ("AWS::SQS::Queue", lambda key: f"{camel(key)}Queue"),
}


def addresses():
    """Yields each resource that others may refer to: its address in Terraform, and what AWS computes for it."""
    for name, kind in {name: one["Type"] for given in ({}, EVERYTHING) for name, one in translated(**given).items()}.items():
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
    yield "aws_s3_bucket.this[0]", {"id": BUCKET}


def identity(resource):
    """Returns CloudFormation's type and logical ID for a resource of a plan, or two None for a part of another resource."""
    kind, logical = KINDS.get(f"{resource['type']}.{resource['name']}", (None, lambda _: None))
    return kind, logical(str(resource.get("index", "")))


def module_facts(plan):
    """Returns the facts of a plan, by resource of CloudFormation."""
    schemas = next(iter(plan["provider_schemas"].values()))["resource_schemas"]
    facts = {}
    queues = {one["change"]["after"]["name"]: identity(one)[1] for one in plan["resource_changes"] if one["type"] == "aws_sqs_queue"}
    for resource in plan["resource_changes"]:
        kind, name = identity(resource)
        after, unknown = resource["change"]["after"], resource["change"]["after_unknown"]
        match resource["type"]:
            case "aws_iam_role_policy":
                role = after.get("role", "(unknown)")
                facts.setdefault(f"AWS::IAM::Role {role}", {}).update(flattened(permissions(policy(after))))
                continue
            case "aws_sqs_queue_policy":
                queue = after.get("queue_url", "(unknown)").rpartition("/")[2]
                facts.setdefault(f"AWS::SQS::QueuePolicy {queue}", {}).update(flattened(permissions(policy(after))))
                continue
        if kind is None:
            facts[resource["address"]] = {"(not compared)": "stack_facts.py, KINDS: add its type"}
            continue
        schema = schemas[resource["type"]]["block"]
        given = configured(after, schema)
        given |= {camel(key): "(unknown)" for key, value in unknown.items() if value is True and not computed(schema, key)}
        properties = shaped(resource["type"], given, queues)
        facts.setdefault(f"{kind} {name}", {}).update(flattened(properties, queues))
    return facts


def module_outputs(plan):
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
    rule |= {"Prefix": objects.pop("Prefix", None), "ExpirationInDays": expiration.pop("Days", None)}
    return {**rule, "Filter": objects, "Expiration": expiration}


# Both


def permissions(document, about=lambda _: True):
    """Returns a policy as one entry for each action on each resource."""
    found = {}
    for statement in document["Statement"]:
        rest = {key: value for key, value in statement.items() if key not in ("Action", "Resource", "Sid")}
        (effect,) = flat(rest.pop("Effect"))
        how = "".join(f" {key} {json.dumps(plain(value), sort_keys=True)}" for key, value in sorted(rest.items()))
        for action in flat(statement["Action"]):
            for resource in flat(statement.get("Resource", "itself")):
                if about(resource):
                    found[f"{effect} {action} on {full(resource)}{how}"] = "yes"
    return found


def full(arn):
    """Returns an ARN of this stack's partition, region and account. CloudFormation can't join full ARNs, so it has wildcards."""
    return re.sub(r"^arn:(?:\*|aws):(\w+):\*:\*:", rf"arn:aws:\1:{PLACE}:", arn).replace("arn:*:", "arn:aws:")


def plain(node):
    """Returns values of conditions as sorted lists of texts, as IAM compares them."""
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    return sorted(str(each).lower() if isinstance(each, bool) else str(each) for each in flat(node))


def dashboard(body, queues=None):
    """Returns a dashboard's widgets by their titles. The order of a graph's lines doesn't count."""
    widgets = {}
    for widget in json.loads(body)["widgets"]:
        shown = widget["properties"]
        lines = [[(queues or {}).get(word, word) if isinstance(word, str) else word for word in line] for line in shown.get("metrics", [])]
        shown["metrics"] = {json.dumps(line, sort_keys=True): "shown" for line in lines}
        widgets[shown["title"]] = widget
    return widgets


def flattened(node, queues=None, path=""):
    """Returns a tree's leaves by their paths. Empty leaves are left out, and the order counts only for layers."""
    queues = queues or {}
    if isinstance(node, dict):
        parts = [(f"{path}.{key}" if path else key, value) for key, value in node.items()]
    elif isinstance(node, list) and any(isinstance(each, (dict, list)) for each in node):
        parts = [(f"{path}[{each.get('Id', at) if isinstance(each, dict) else at}]", each) for at, each in enumerate(node)]
    elif isinstance(node, list):
        values = [queues.get(each, text(each)) for each in node]
        return {path: ", ".join(values if path == "Layers" else sorted(values))} if values else {}
    else:
        return {} if node in (None, "") else {path: queues.get(node, text(node))}
    return {key: leaf for where, value in parts for key, leaf in flattened(value, queues, where).items()}


def text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)
