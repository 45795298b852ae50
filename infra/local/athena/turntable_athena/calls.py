"""Which calls each function makes: infra/test_permissions.py compares them with its policy.

A function's SDK says in its user agent whose it is, because the emulator tells it in AWS_SDK_UA_APP_ID. Where CALLS names a
folder, it gets a file for each function and code, `export.1a2b3c4d5e6f`, with a line `ACTION RESOURCE` for whatever was
asked. Accounts and ULIDs are the same in every line, so that a file does not grow for ever.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

_AGENT = re.compile(r"\bapp/([a-z]+\.\w+)")
_ALIKE = [
    (re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b"), "01JD675EJRSSKNZWWST95906C6"),
    (re.compile(r"\b\d{12}\b"), "123456789012"),
]


def app_id(function: str, code: str) -> str:
    """For AWS_SDK_UA_APP_ID: the last word of the function's name, and what tells its code from another."""
    return f"{function.rsplit('-', 1)[-1]}.{re.sub(r'[^0-9A-Za-z]', '', code)[:12]}"


class Calls:
    def __init__(self) -> None:
        folder = os.environ.get("CALLS")
        self._folder = Path(folder) if folder else None
        self._known: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def add(self, headers: Mapping[str, str], calls: Iterable[tuple[str, str]]) -> None:
        """`headers` by their names in lower case; `calls` are actions and resources as IAM has them."""
        agent = _AGENT.search(headers.get("user-agent", "")) if self._folder else None
        if agent is None:
            return
        file = self._folder / agent[1]
        with self._lock:
            known = self._known.get(agent[1])
            if known is None:
                file.touch()  # That the newest is the code that ran last.
                known = self._known[agent[1]] = set(file.read_text().splitlines())
            for action, resource in calls:
                for pattern, same in _ALIKE:
                    resource = pattern.sub(same, resource)
                line = f"{action} {resource}".replace("\n", "?")
                if line not in known:
                    known.add(line)
                    with file.open("a") as lines:
                        lines.write(f"{line}\n")
