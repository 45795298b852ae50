"""Evaluates the caller's policies and the bucket's policy for a call, as AWS does before it serves the call.

The callers are functions, and IAM users outside the stack. A call is recognised by its user agent, which names either:
athena/turntable_athena/calls.py. Of functions, only those whose role has the tag `enforce` are evaluated: tests/tests/it/chain/mod.rs
sets it. Of users, the inline policies count. Athena's endpoint evaluates nothing, and neither does AWS's own use of a role;
infra/test_permissions.py checks both after the run, for all chain tests.
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
from turntable_athena.calls import Call, function_of, user_of

sys.path.insert(0, str(Path(__file__).parents[1]))
from iam import allows, flat  # noqa: E402

TAG = "enforce"

Answer = tuple[int, dict[str, str], bytes]


def denial(headers: Mapping[str, str], calls: Iterable[Call]) -> Answer | None:
    """Returns AWS's error response if the caller may not make the request's calls, or None if it may or isn't evaluated."""
    caller = _user(user_of(headers)) or _function(function_of(headers))
    if caller is None:
        return None
    arn, name, policies = caller
    own = [statement for policy in policies.values() for statement in _statements(policy)]
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
        known = {"aws:SecureTransport": "true", "aws:PrincipalArn": arn, "aws:ResourceAccount": owner}
        if not allows([*own, *denies], action, resource, {**known, **context}):
            return _answer(headers, name, action, resource)
    return None


Caller = tuple[str, str, Mapping[str, Any]]
"""The ARN for `aws:PrincipalArn`, the ARN that an error shows, and the inline policies."""


def _user(name: str | None) -> Caller | None:
    """Returns the account's IAM user with this name."""
    user = identities._users.get(name) if name else None
    return (user["Arn"], user["Arn"], identities._user_inline_policies.get(name) or {}) if user else None


def _function(name: str | None) -> Caller | None:
    """Returns the session of a function's role, if the role is enforced."""
    role = _role(name)
    session = role and f"arn:aws:sts::{get_account_id()}:assumed-role/{role['RoleName']}/function"
    return (role["Arn"], session, role["InlinePolicies"]) if role and session else None


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


def _answer(headers: Mapping[str, str], caller: str, action: str, resource: str) -> Answer:
    text = (
        f"User: {caller} is not authorized to perform: {action} on resource: {resource} because no identity-based policy allows the "
        f"{action} action"
    )
    if "x-amz-target" in headers:
        body = json.dumps({"__type": "AccessDeniedException", "Message": text, "message": text}).encode()
        return 400, {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": str(uuid.uuid4())}, body
    if action.startswith("lambda:"):
        kind = {"Content-Type": "application/json", "x-amzn-ErrorType": "AccessDeniedException"}
        return 403, {**kind, "x-amzn-RequestId": str(uuid.uuid4())}, json.dumps({"Message": text}).encode()
    error = f"<Error><Code>AccessDenied</Code><Message>{escape(text)}</Message></Error>"
    body = error if action.startswith("s3:") else f"<ErrorResponse>{error}</ErrorResponse>"  # The form of the query protocol.
    return 403, {"Content-Type": "application/xml", "x-amz-request-id": str(uuid.uuid4())}, body.encode()
