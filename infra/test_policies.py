"""Has parliament check every policy: actions and condition keys that don't exist, and resources that an action doesn't take.

https://github.com/duo-labs/parliament
"""

import json
import re

import pytest
from parliament import analyze_policy_string
from test_deployer import policy
from test_permissions import GIVEN
from test_template import FUNCTIONS, statements

# What is known and right: a policy, the kind of finding, a text in it, and why.
KNOWN = [
    ("Export Optout", "RESOURCE_STAR", "ec2:CreateNetworkInterface", "Lambda's guide asks for it. The interfaces don't exist yet."),
    ("deployer", "INVALID_ARN", "Account expected", "The account of AWS's own transforms is `aws`."),
    # Actions that only a wildcard includes. They take other resources, so the statement doesn't allow them.
    ("deployer", "RESOURCE_MISMATCH", "s3:GetObjectAttributes", "s3:GetObject*"),
    ("deployer", "RESOURCE_MISMATCH", "s3:GetStorageLensConfiguration", "s3:Get*Configuration"),
    ("deployer", "RESOURCE_MISMATCH", "lambda:ListFunctions", "lambda:*Function*"),
    ("deployer", "RESOURCE_MISMATCH", "logs:ListEntitiesForLogGroup", "logs:*LogGroup"),
    ("deployer", "RESOURCE_MISMATCH", "cloudwatch:ListDashboards", "cloudwatch:*Dashboard*"),
]


def arn(reference):
    """Returns an ARN like that of the resource of the stack."""
    ((name, _),) = reference.values()
    service, resource = ("logs", "log-group:/aws/lambda/x:*") if name.endswith("Logs") else ("sqs", name)
    if name.endswith("Role"):
        return f"arn:aws:iam::123456789012:role/{name}"
    return f"arn:aws:{service}:eu-west-1:123456789012:{resource}"


def document(name):
    own = policy() if name == "deployer" else statements(f"{name}Role", **GIVEN)
    text = json.dumps({"Version": "2012-10-17", "Statement": own})
    return re.sub(r'\{"Fn::GetAtt": \["\w+", "Arn"\]\}', lambda found: f'"{arn(json.loads(found[0]))}"', text)


def findings(name, text):
    """Returns the findings that aren't known, as texts."""
    found = [(finding.issue, str(finding.detail)) for finding in analyze_policy_string(text).findings]
    known = [(issue, part) for names, issue, part, _ in KNOWN if name in names.split()]
    return [(issue, detail) for issue, detail in found if not any(issue == one and part in detail for one, part in known)]


@pytest.mark.parametrize("name", [*FUNCTIONS, "Checks", "deployer"])
def test_every_policy_is_valid(name):
    assert findings(name, document(name)) == []


@pytest.mark.parametrize(
    ("action", "resource", "issue"),
    [
        ("s3:ReadObject", "arn:aws:s3:::lake/*", "UNKNOWN_ACTION"),
        ("s3:GetObject", "arn:aws:s3:::lake", "RESOURCE_MISMATCH"),
        ("glue:GetTable", "arn:aws:glue:eu-west-1:123456789012:job/x", "RESOURCE_MISMATCH"),
    ],
)
def test_faults_are_found(action, resource, issue):
    text = document("Sweep").replace('"Statement": [', f'"Statement": [{{"Effect": "Allow", "Action": "{action}", "Resource": "{resource}"}}, ')
    assert [one for one, _ in findings("Sweep", text)] == [issue]
