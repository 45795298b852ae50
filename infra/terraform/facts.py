"""What facts_of_template.py and facts_of_module.py share.

A fact is a property or a permission of a resource of CloudFormation, for example `Period: 3600` of
`AWS::CloudWatch::Alarm LiveAgeAlarm`. References to a resource become its ARN, URL or name, made from its logical ID.
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from test_template import FIXED, REQUIRED, flat  # noqa: E402

PLACE = f"{FIXED['AWS::Region']}:{FIXED['AWS::AccountId']}"
BUCKET = REQUIRED["BucketName"]

ARNS = {
    "AWS::CloudWatch::Alarm": f"arn:aws:cloudwatch:{PLACE}:alarm:",
    "AWS::Events::Rule": f"arn:aws:events:{PLACE}:rule/",
    "AWS::IAM::Role": f"arn:aws:iam::{FIXED['AWS::AccountId']}:role/",
    "AWS::Lambda::Alias": f"arn:aws:lambda:{PLACE}:alias:",
    "AWS::Lambda::Function": f"arn:aws:lambda:{PLACE}:function:",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{PLACE}:log-group:",
    "AWS::SQS::Queue": f"arn:aws:sqs:{PLACE}:",
}


def queue_url(name):
    return f"https://sqs.{FIXED['AWS::Region']}.amazonaws.com/{FIXED['AWS::AccountId']}/{name}"


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
