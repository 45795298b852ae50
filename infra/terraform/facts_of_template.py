"""Returns the facts of template.yaml, as SAM translates it."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from facts import ARNS, dashboard, flattened, permissions, queue_url  # noqa: E402
from parameters import snake  # noqa: E402
from test_template import FIXED, REQUIRED, solve, template, translated  # noqa: E402


def facts(given):
    """Returns the facts of template.yaml with these parameters, by resource."""
    made = translated(**given)
    found = {}

    def add(kind, name, properties):
        found.setdefault(f"{kind} {name}", {}).update(flattened(properties))

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
                properties["Code"] = f"{Path(code).name}-{properties['Architectures'][0]}.zip"
                del properties["Tags"]  # SAM's own.
            case "AWS::CloudWatch::Alarm":
                properties["Dimensions"] = {one["Name"]: one["Value"] for one in properties["Dimensions"]}
            case "AWS::CloudWatch::Dashboard":
                properties["DashboardBody"] = dashboard(properties["DashboardBody"])
            case "AWS::Scheduler::Schedule":
                properties.setdefault("ScheduleExpressionTimezone", "UTC")  # AWS's default.
            case "AWS::Events::Rule":
                for target in properties["Targets"]:
                    del target["Id"]
        add(kind, name, properties)
    return found


def outputs(given):
    """Returns the values of template.yaml's outputs with these parameters, by name in Terraform."""
    made = translated(**given)
    values = {name: parameter.get("Default", "") for name, parameter in template()["Parameters"].items()}
    values |= REQUIRED | FIXED | given
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
            case (_, "Arn") | ("AWS::Lambda::Alias", "Ref"):
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
