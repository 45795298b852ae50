"""A local Athena: the JSON 1.1 protocol over HTTP, on 127.0.0.1 only.

    python -m turntable_athena --region eu-west-1 [--port N] [--output s3://…] [--events [SOURCE]]

AWS_ENDPOINT_URL names the emulator with Glue and S3. When ready, the server prints one line, {"endpoint": …}. It ends on
SIGTERM, on SIGINT and when its stdin closes, so that it can't outlive the process that started it.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3

from .access import Access, access_key
from .aws import Aws
from .calls import Calls
from .engine import Engine
from .errors import InvalidRequest, TooManyRequests
from .executions import Executions
from .models import Refusals, faults
from .protocol import Api

_MAX_REQUEST_BYTES = 16 * 1024 * 1024
log = logging.getLogger("athena")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, aws: Aws, api: Api) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.aws, self.api = aws, api
        self.emulator = urllib3.PoolManager(maxsize=16)
        self.calls, self.refusals = Calls(), Refusals()
        self.access = Access([self.endpoint, os.environ.get("AWS_ENDPOINT_URL_ATHENA", self.endpoint)])

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One kept-alive connection. Every request is one operation."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # sends headers and body in one packet

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _MAX_REQUEST_BYTES:
            self.close_connection = True
            return self._refuse("InvalidRequestException", "Content-Length is missing or too large")
        body = self.rfile.read(int(length))
        operation = self.headers.get("X-Amz-Target", "").removeprefix("AmazonAthena.")
        headers = {name.lower(): value for name, value in self.headers.items()}
        if refusal := self.server.access.refusal(headers):
            return self._refuse("AccessDeniedException", refusal, status=403)
        if found := faults("POST", "/", {}, headers, body):
            self.server.refusals.add(found)
            return self._refuse("InvalidRequestException", "; ".join(found), AthenaErrorCode="INVALID_INPUT")
        handle = self.server.api.operations.get(operation)
        if handle is None:
            return self._forward(body)
        try:
            request = json.loads(body or b"{}")
            if not isinstance(request, dict):
                raise ValueError("expected a JSON object")
            # In the emulator, the access key selects the account.
            account = self.server.aws.account(access_key(headers) or "test")
            answer = handle(account, request)
            call = (f"athena:{operation}", self.server.api.resource(account, request), self.server.api.context(account, answer))
            self.server.calls.add(headers, [call])
        except InvalidRequest as error:
            return self._refuse("InvalidRequestException", str(error), AthenaErrorCode=error.code)
        except TooManyRequests as error:
            return self._refuse("TooManyRequestsException", str(error), Reason=error.reason)
        except ValueError as error:
            return self._refuse("SerializationException", str(error))
        except Exception as error:  # the server survives every request
            log.exception("%s", operation)
            return self._refuse("InternalServerException", f"{type(error).__name__}: {error}", status=500)
        self._answer(200, json.dumps(answer).encode())

    def _forward(self, body: bytes) -> None:
        """Forwards operations that are not about queries (workgroups, tags, …) to the emulator's own Athena."""
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        try:
            answer = self.server.emulator.request(
                "POST", self.server.aws.endpoint, body=body, headers=headers, retries=False
            )
        except urllib3.exceptions.HTTPError as error:
            return self._refuse("InternalServerException", f"the emulator doesn't respond: {error}", status=500)
        self._answer(answer.status, answer.data)

    def _refuse(self, kind: str, message: str, status: int = 400, **more: str) -> None:
        self._answer(status, json.dumps({"__type": kind, "message": message, "Message": message, **more}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Logs nothing: errors are logged where they happen."""


def _end_with_stdin(stop: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    stop.set()


def main() -> int:
    options = argparse.ArgumentParser(description="A local Athena endpoint.")
    options.add_argument("--port", type=int, default=0, help="0 (the default) chooses a free port")
    options.add_argument("--region", default=os.environ.get("AWS_REGION", "us-east-1"))
    options.add_argument("--output", help="s3://… for queries without an output location")
    options.add_argument(
        "--events",
        nargs="?",
        const="aws.athena",
        metavar="SOURCE",
        help="put Athena Query State Change events from this source (MiniStack refuses sources that begin with aws.)",
    )
    given = options.parse_args()
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint:
        print("athena: AWS_ENDPOINT_URL is not set: set it to the emulator's endpoint", file=sys.stderr)
        return 2
    logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s")
    logging.getLogger("sqlglot").setLevel(logging.ERROR)

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    secret = os.environ.get("AWS_SECRET_ACCESS_KEY", "test")
    engine = Engine(endpoint, given.region, secret)
    api = Api(Executions(engine, given.events), given.output)
    server = Server(given.port, Aws(endpoint.rstrip("/"), given.region, secret), api)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    threading.Thread(target=_end_with_stdin, args=(stop,), daemon=True).start()
    print(json.dumps({"endpoint": server.endpoint}), flush=True)
    stop.wait()
    server.socket.shutdown(socket.SHUT_RDWR)
    os._exit(0)  # don't wait for queries in flight
