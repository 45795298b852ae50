"""Records the AWS calls of each function; infra/test_permissions.py compares them with the function's policy.

The emulator sets AWS_SDK_UA_APP_ID for each function, so the user agent of every request names the function. If CALLS names
a folder, it gets one file per function and code version, such as `export.1a2b3c4d5e6f`, with a line `ACTION RESOURCE` per
kind of call. A tab and `KEY=VALUE` follow for each condition key of the request, and for a query the kind of statement and its
database. Account numbers and ULIDs are replaced by fixed ones, so that a file stays small.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

_AGENT = re.compile(r"\bapp/([a-z]+\.\w+)")
_USER = re.compile(r"\bapp/as-([a-z]+)")
_NORMALIZED = [
    (re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b"), "01JD675EJRSSKNZWWST95906C6"),
    (re.compile(r"\b\d{12}\b"), "123456789012"),
]


def app_id(function: str, code: str) -> str:
    """Returns the value for AWS_SDK_UA_APP_ID: the last word of the function's name, and the start of its code's hash."""
    return f"{function.rsplit('-', 1)[-1]}.{re.sub(r'[^0-9A-Za-z]', '', code)[:12]}"


def function_of(headers: Mapping[str, str]) -> str | None:
    """Returns the short name of the function that sent a request, such as `export`. Header names are in lower case.

    A function that has assumed the role for checks counts as `checks`.
    """
    caller = _caller(headers)
    return caller.split(".")[0] if caller else None


def _caller(headers: Mapping[str, str]) -> str | None:
    agent = _AGENT.search(headers.get("user-agent", ""))
    if agent is None or "ChecksRole" not in headers.get("x-amz-security-token", ""):
        return agent[1] if agent else None
    return f"checks.{agent[1].split('.', 1)[1]}"


def user_of(headers: Mapping[str, str]) -> str | None:
    """Returns the name of the IAM user that a request is sent as, if AWS_SDK_UA_APP_ID is as-NAME. Only tests set it."""
    agent = _USER.search(headers.get("user-agent", ""))
    return agent[1] if agent else None


Call = tuple[str, str, Mapping[str, str]]
"""An IAM action, a resource, and what else describes the request."""


class Calls:
    def __init__(self) -> None:
        folder = os.environ.get("CALLS")
        self._folder = Path(folder) if folder else None
        self._known: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def add(self, headers: Mapping[str, str], calls: Iterable[Call]) -> None:
        """Records calls. `headers` have lower-case names."""
        caller = _caller(headers) if self._folder else None
        if caller is None or self._folder is None:
            return
        file = self._folder / caller
        with self._lock:
            known = self._known.get(caller)
            if known is None:
                file.touch()  # The newest file is that of the code that ran last.
                known = self._known[caller] = set(file.read_text().splitlines())
            for action, resource, context in calls:
                for pattern, replacement in _NORMALIZED:
                    resource = pattern.sub(replacement, resource)
                words = [f"{action} {resource}", *(f"{key}={value}" for key, value in sorted(context.items()))]
                line = "\t".join(word.replace("\n", "?").replace("\t", "?") for word in words)
                if line not in known:
                    known.add(line)
                    with file.open("a") as lines:
                        lines.write(f"{line}\n")
