"""Calls AWS operations for the runner, which has no SDK crates for these services.

Reads one JSON object per line from stdin, and writes one per line to stdout:

    {"id": 1, "access_key": "test", "service": "logs", "operation": "FilterLogEvents", "parameters": {…}}
    {"id": 1, "result": {…}}
    {"id": 1, "error": {"code": "ResourceNotFoundException", "message": "…"}}

Operations run concurrently, so answers may come in a different order. A paginated operation returns all pages as one
result. AWS_ENDPOINT_URL and AWS_REGION name the emulator. The process ends when stdin closes.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError

MAX_CONCURRENT_OPERATIONS = 32


class Clients:
    """One client per access key and service. A botocore session isn't thread-safe while it creates a client."""

    def __init__(self) -> None:
        self._session = botocore.session.Session()
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    def get(self, access_key: str, service: str) -> Any:
        with self._lock:
            client = self._clients.get((access_key, service))
            if client is None:
                client = self._clients[access_key, service] = self._session.create_client(
                    service,
                    region_name=os.environ["AWS_REGION"],
                    endpoint_url=os.environ["AWS_ENDPOINT_URL"],
                    aws_access_key_id=access_key,
                    aws_secret_access_key="test",
                    # CreateStack and Invoke may take minutes, and a second attempt would do the work twice.
                    config=Config(
                        max_pool_connections=MAX_CONCURRENT_OPERATIONS,
                        read_timeout=600,
                        retries={"total_max_attempts": 3},
                    ),
                )
            return client


def call(clients: Clients, request: dict[str, Any]) -> dict[str, Any]:
    """Calls one operation and returns its result. `ResponseMetadata` is left out."""
    client = clients.get(request["access_key"], request["service"])
    method, parameters = xform_name(request["operation"]), request["parameters"]
    if client.can_paginate(method):
        return client.get_paginator(method).paginate(**parameters).build_full_result()
    result = getattr(client, method)(**parameters)
    result.pop("ResponseMetadata", None)
    return result


def answer(clients: Clients, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"id": request["id"], "result": call(clients, request)}
    except ClientError as error:
        code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
        return {"id": request["id"], "error": {"code": code, "message": message}}
    except Exception as error:  # The runner waits for an answer to every request.
        return {"id": request["id"], "error": {"code": type(error).__name__, "message": str(error)}}


def main() -> None:
    clients = Clients()
    pool = ThreadPoolExecutor(MAX_CONCURRENT_OPERATIONS)
    lock = threading.Lock()

    def run(request: dict[str, Any]) -> None:
        line = json.dumps(answer(clients, request), default=str) + "\n"  # default=str: times
        with lock:
            sys.stdout.write(line)
            sys.stdout.flush()

    for line in sys.stdin:
        pool.submit(run, json.loads(line))
    os._exit(0)  # Nothing waits for the operations in flight.


if __name__ == "__main__":
    main()
