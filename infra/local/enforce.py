"""Evaluates the role's policies for a function's call, and the bucket's policy, as AWS does before it serves the call.

Only roles with the tag `enforce` are evaluated: tests/tests/it/chain/mod.rs sets it. A call is recognised by its user agent, which
names the function: athena/turntable_athena/calls.py. Athena's endpoint evaluates nothing, and neither does AWS's own use of a
role; infra/test_permissions.py checks both after the run, for all chain tests.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from ministack.core.responses import get_account_id
from ministack.services import iam as identities
from ministack.services import lambda_svc, s3
from turntable_athena.calls import Call, function_of

sys.path.insert(0, str(Path(__file__).parents[1]))
from iam import allows, flat  # noqa: E402

TAG = "enforce"

Answer = tuple[int, dict[str, str], bytes]


def denial(headers: Mapping[str, str], calls: Iterable[Call]) -> Answer | None:
    """Returns AWS's error response if the function's role may not make the request's calls, or None if it may."""
    role = _role(function_of(headers))
    if role is None:
        return None
    own = [statement for policy in role["InlinePolicies"].values() for statement in _statements(policy)]
    for action, resource, context in calls:
        owner = get_account_id()
        if action.startswith("s3:"):
            bucket = resource.removeprefix("arn:aws:s3:::").split("/")[0]
            owner = s3._bucket_owner_account(bucket)
            if owner is None:
                continue  # S3 responds that the bucket doesn't exist.
            denies = [each for each in _statements(s3._bucket_policies.get(bucket) or "{}") if each["Effect"] == "Deny"]
        else:
            denies = []
        known = {"aws:SecureTransport": "true", "aws:PrincipalArn": role["Arn"], "aws:ResourceAccount": owner}
        if not allows([*own, *denies], action, resource, {**known, **context}):
            return _answer(headers, role["RoleName"], action, resource)
    return None


def _role(function: str | None) -> dict[str, Any] | None:
    """Returns the role of the account's function with this short name, or None if the role isn't enforced."""
    if function is None:
        return None
    arns = [one["config"]["Role"] for name, one in lambda_svc._functions.items() if name.endswith(f"-{function}")]
    roles = [identities._roles.get(arn.rsplit("/", 1)[-1]) for arn in arns]
    enforced = [role for role in roles if role and any(tag["Key"] == TAG for tag in role.get("Tags") or ())]
    # If there are several stacks, the user agent doesn't say which one the call comes from.
    return enforced[0] if len(roles) == 1 and enforced else None


def _statements(policy: Any) -> list[dict[str, Any]]:
    document = json.loads(policy) if isinstance(policy, str) else policy
    return flat(document.get("Statement", []))


def _answer(headers: Mapping[str, str], role: str, action: str, resource: str) -> Answer:
    text = (
        f"User: arn:aws:sts::{get_account_id()}:assumed-role/{role}/function is not authorized to perform: {action} on resource: "
        f"{resource} because no identity-based policy allows the {action} action"
    )
    if "x-amz-target" in headers:
        body = json.dumps({"__type": "AccessDeniedException", "Message": text, "message": text}).encode()
        return 400, {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": str(uuid.uuid4())}, body
    body = f"<Error><Code>AccessDenied</Code><Message>{escape(text)}</Message></Error>".encode()
    return 403, {"Content-Type": "application/xml", "x-amz-request-id": str(uuid.uuid4())}, body
