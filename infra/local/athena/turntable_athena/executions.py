"""Accepts queries, runs them on threads, remembers and stops them."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import duckdb

from .aws import Account
from .engine import Engine
from .errors import InvalidRequest, QueryFailed, TooManyRequests
from .run import Result, Run
from .statements import Statement, understand

MAX_CONCURRENT_QUERIES = 32
_MAX_EXECUTIONS = 20_000
_MAX_BODY_CHARACTERS = 256 * 1024 * 1024
# The quotas for an account's running and queued queries, the smallest of any region. Sources:
# https://docs.aws.amazon.com/general/latest/gr/athena.html and https://docs.aws.amazon.com/athena/latest/ug/service-limits.html
_ACTIVE = {"DML": 20, "DDL": 20}
log = logging.getLogger("athena")


@dataclass
class Execution:
    """One query from start to end. Times are seconds since the epoch."""

    id: str
    account: Account
    text: str
    statement: Statement
    database: str
    output: str | None
    """The folder for the result: `s3://bucket/prefix/`, or None for managed results, which Athena keeps itself."""
    workgroup: str
    token: tuple[str, str] | None = None
    submitted: float = field(default_factory=time.time)
    started: float | None = None
    completed: float | None = None
    state: str = "QUEUED"
    error: QueryFailed | None = None
    result: Result | None = None
    connection: duckdb.DuckDBPyConnection | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def result_uri(self) -> str:
        return f"{self.output}{self.id}{self.statement.extension}"

    def is_over(self) -> bool:
        return self.completed is not None


class Executions:
    """The remembered executions. The oldest finished ones are forgotten first."""

    def __init__(self, engine: Engine, event_source: str | None) -> None:
        self._engine, self._event_source = engine, event_source
        self._pool = ThreadPoolExecutor(MAX_CONCURRENT_QUERIES, thread_name_prefix="query")
        self._all: OrderedDict[str, Execution] = OrderedDict()
        self._tokens: dict[tuple[str, str], Execution] = {}
        self._bodies: OrderedDict[str, str] = OrderedDict()
        self._kept = 0
        self._lock = threading.Lock()

    def start(self, account: Account, request: dict[str, Any], output: str | None, workgroup: str) -> str:
        """Accepts a query. A repeated request with the same ClientRequestToken returns the first one's id."""
        text = request["QueryString"]
        token = (account.access_key, request["ClientRequestToken"]) if request.get("ClientRequestToken") else None
        statement = understand(text)
        database = (request.get("QueryExecutionContext") or {}).get("Database") or "default"
        request_key = (text, database, output, workgroup)
        with self._lock:
            known = self._tokens.get(token) if token else None
            if known:
                if (known.text, known.database, known.output, known.workgroup) != request_key:
                    raise InvalidRequest("Idempotent parameters do not match")
                return known.id
            self._check_quota(account, statement.kind)
            execution = Execution(str(uuid.uuid4()), account, text, statement, database, output, workgroup, token)
            self._all[execution.id] = execution
            if token:
                self._tokens[token] = execution
            self._forget_oldest()
        self._pool.submit(self._run, execution)
        return execution.id

    def _check_quota(self, account: Account, kind: str) -> None:
        """Refuses a query that exceeds the account's quota, with Athena's message."""
        kind = "DML" if kind == "DML" else "DDL"
        active = [e for e in self._all.values() if e.account is account and not e.is_over()]
        if sum((e.statement.kind == "DML") == (kind == "DML") for e in active) >= _ACTIVE[kind]:
            raise TooManyRequests(
                "You have exceeded the limit for the number of queries you can run concurrently. Please reduce the number of "
                "concurrent queries submitted by this account. Contact customer support to request a concurrent query limit "
                "increase."
            )

    def get(self, account: Account, query_id: str) -> Execution:
        execution = self._all.get(query_id)
        if execution is None or execution.account is not account:
            raise InvalidRequest(f"QueryExecution {query_id} was not found", "INVALID_INPUT")
        return execution

    def of(self, account: Account, workgroup: str) -> list[Execution]:
        """Returns a workgroup's executions, newest first."""
        with self._lock:
            found = [e for e in self._all.values() if e.account is account and e.workgroup == workgroup]
        return found[::-1]

    def stop(self, execution: Execution) -> None:
        """Cancels a query. A finished query stays as it is."""
        with execution.lock:
            if execution.is_over():
                return
            self._end(execution, "CANCELLED")
            if execution.connection is not None:
                execution.connection.interrupt()

    def body(self, execution: Execution) -> str:
        """Returns the result file, from memory if it is recent, or else from S3. Managed results are only in memory."""
        if execution.result and execution.result.manifest:
            return ""
        text = self._bodies.get(execution.id)
        if execution.output is None:
            return text or ""
        return text if text is not None else execution.account.get(execution.result_uri).decode()

    def _run(self, execution: Execution) -> None:
        before = execution.state
        try:
            with self._engine.session(execution.account.access_key) as connection:
                with execution.lock:
                    if execution.is_over():
                        return
                    execution.state, execution.started, execution.connection = "RUNNING", time.time(), connection
                before = execution.state
                run = Run(
                    execution.account,
                    connection,
                    execution.database,
                    execution.id,
                    execution.output,
                    self._engine.unloaded,
                )
                result = execution.statement.run(run)
                if result.manifest is None and execution.output is not None:
                    execution.account.put(execution.result_uri, result.body.encode())
            self._keep_body(execution.id, result.body)
            result.body = ""
            with execution.lock:
                if not execution.is_over():
                    execution.result = result
                    self._end(execution, "SUCCEEDED")
        except QueryFailed as error:
            self._fail(execution, error)
        except InvalidRequest as error:
            self._fail(execution, QueryFailed("SYNTAX_ERROR", str(error)))
        except Exception as error:  # every query must reach a final state
            log.exception("query %s", execution.id)
            self._fail(execution, QueryFailed("GENERIC_INTERNAL_ERROR", f"{type(error).__name__}: {error}"))
        finally:
            execution.connection = None
            if self._event_source:
                _send_event(execution, before, self._event_source)

    def _fail(self, execution: Execution, error: QueryFailed) -> None:
        with execution.lock:
            if not execution.is_over():
                execution.error = error
                self._end(execution, "FAILED")

    @staticmethod
    def _end(execution: Execution, state: str) -> None:
        """Sets `completed` first, so that a thread that sees the final state also sees its time."""
        execution.completed = time.time()
        execution.state = state
        execution.over.set()

    def _keep_body(self, query_id: str, body: str) -> None:
        with self._lock:
            self._bodies[query_id] = body
            self._kept += len(body)
            while self._kept > _MAX_BODY_CHARACTERS:
                _, gone = self._bodies.popitem(last=False)
                self._kept -= len(gone)

    def _forget_oldest(self) -> None:
        while len(self._all) > _MAX_EXECUTIONS:
            oldest = next(iter(self._all.values()))
            if not oldest.is_over():
                return
            del self._all[oldest.id]
            self._kept -= len(self._bodies.pop(oldest.id, ""))
            if oldest.token:
                del self._tokens[oldest.token]


def _send_event(execution: Execution, before: str, source: str) -> None:
    """Sends the event for a finished query: https://docs.aws.amazon.com/athena/latest/ug/athena-events.html"""
    detail: dict[str, Any] = {
        "versionId": "0",
        "currentState": execution.state,
        "previousState": before,
        "statementType": execution.statement.kind,
        "queryExecutionId": execution.id,
        "workgroupName": execution.workgroup,
        "sequenceNumber": "3",
    }
    if execution.error:
        detail["athenaError"] = {"errorCategory": execution.error.category, "errorMessage": str(execution.error)}
    event = {"Source": source, "DetailType": "Athena Query State Change", "Detail": json.dumps(detail)}
    try:
        answer = execution.account.events.put_events(Entries=[event])
        if answer["FailedEntryCount"]:
            log.error("event of query %s was refused: %s", execution.id, answer["Entries"])
    except Exception:  # a failed event must not change the query's result
        log.exception("event of query %s", execution.id)
