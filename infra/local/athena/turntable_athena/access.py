"""Decides which requests the emulator and the Athena endpoint answer.

Both listen on loopback, where every program and every web page on this machine can send requests too. A request is
answered only if

- its Host names the endpoint: a page whose domain resolves to 127.0.0.1 ("DNS rebinding") sends its own domain;
- it has none of the headers that browsers add: no page has a reason to call AWS here;
- it uses the stack's access key, if ACCESS_KEY is set. Signatures aren't checked, as in the emulator, so the key is the
  secret. It's random, and `up` prints it.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qs, unquote, urlsplit

_FROM_BROWSERS = ("origin", "referer", "sec-fetch-site", "sec-fetch-mode", "access-control-request-method")


class Access:
    """The access rules of one endpoint, which is reachable at the URLs in `endpoints`."""

    def __init__(self, endpoints: Iterable[str], access_key: str | None = None) -> None:
        self.hosts = {host for url in endpoints if url for host in _hosts(url)}
        self.access_key = os.environ.get("ACCESS_KEY", "") if access_key is None else access_key

    def refusal(self, headers: Mapping[str, str], query: str = "", open_to_all: bool = False) -> str | None:
        """Returns why a request is refused, or None if it is allowed. The header names must be in lower case.

        With `open_to_all`, no access key is required.
        """
        if headers.get("host", "").lower() not in self.hosts:
            return "the Host header doesn't name this endpoint"
        if found := [name for name in _FROM_BROWSERS if name in headers]:
            return f"requests from web pages are refused (header {found[0]})"
        if self.access_key and not open_to_all and not hmac.compare_digest(access_key(headers, query), self.access_key):
            return "the access key isn't the one of this stack: `up` prints it"
        return None


def access_key(headers: Mapping[str, str], query: str = "") -> str:
    """Returns a request's access key, or an empty string."""
    given = parse_qs(query).get("X-Amz-Credential", [""])[0]
    match = re.search(r"Credential=([^/,\s]+)/", headers.get("authorization", ""))
    return match[1] if match else unquote(given).split("/")[0]


def _hosts(url: str) -> list[str]:
    parts = urlsplit(url)
    return [parts.netloc.lower(), f"localhost:{parts.port}"]
