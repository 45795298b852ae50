"""Athena's API: handles each operation, from a JSON request to a JSON response.

https://docs.aws.amazon.com/athena/latest/APIReference/
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from . import values
from .aws import Account
from .errors import InvalidRequest
from .executions import Execution, Executions

Json = dict[str, Any]
_MAX_ROWS = 1000
_DEFAULT_LISTED = 50
_ROUND_TRIP = 0.02  # seconds


class Api:
    """The operations that this endpoint handles. Operations on workgroups are the emulator's."""

    def __init__(self, executions: Executions, default_output: str | None) -> None:
        self._executions, self._default_output = executions, default_output
        self.operations: dict[str, Callable[[Account, Json], Json]] = {
            "StartQueryExecution": self._start,
            "GetQueryExecution": self._get,
            "BatchGetQueryExecution": self._batch_get,
            "ListQueryExecutions": self._list,
            "GetQueryResults": self._results,
            "StopQueryExecution": self._stop,
        }

    def resource(self, account: Account, request: Json) -> str:
        """Returns the resource that IAM checks: for a query, its workgroup."""
        workgroup = request.get("WorkGroup") or "primary"
        for query_id in [request.get("QueryExecutionId"), *(request.get("QueryExecutionIds") or ())]:
            with contextlib.suppress(InvalidRequest):
                workgroup = self._executions.get(account, query_id).workgroup
        return f"arn:aws:athena:{account.aws.region}:{account.access_key}:workgroup/{workgroup}"

    def context(self, account: Account, answer: Json) -> dict[str, str]:
        """Returns what describes a query that was started: its kind of statement and its database."""
        if "QueryExecutionId" not in answer:
            return {}
        execution = self._executions.get(account, answer["QueryExecutionId"])
        return {"statement": execution.statement.subkind, "database": execution.database}

    def _start(self, account: Account, request: Json) -> Json:
        if not _text(request, "QueryString").strip():
            raise InvalidRequest("queryString must not be empty")
        workgroup = request.get("WorkGroup") or "primary"
        settings = _workgroup(account, workgroup)
        managed = (settings.get("ManagedQueryResultsConfiguration") or {}).get("Enabled", False)
        output = _managed(request) if managed else self._output(request, workgroup, settings)
        return {"QueryExecutionId": self._executions.start(account, request, output, workgroup)}

    def _output(self, request: Json, workgroup: str, settings: Json) -> str:
        """Returns the workgroup's location if enforced, or else the request's, the workgroup's, or that of `--output`.

        A workgroup that enforces its settings overrides those of the request without an error:
        https://docs.aws.amazon.com/athena/latest/ug/workgroups-settings-override.html
        """
        requested = (request.get("ResultConfiguration") or {}).get("OutputLocation")
        own = (settings.get("ResultConfiguration") or {}).get("OutputLocation")
        enforced = workgroup != "primary" and settings.get("EnforceWorkGroupConfiguration", True)
        output = (own if enforced and own else requested) or own or self._default_output
        if not output:
            raise InvalidRequest(
                "No output location provided. An output location is required either through the Workgroup result "
                "configuration setting or as an API input."
            )
        if not output.startswith("s3://") or not output[5:].strip("/"):
            raise InvalidRequest(f"outputLocation is not a valid S3 path. {output}")
        return output.rstrip("/") + "/"

    def _get(self, account: Account, request: Json) -> Json:
        """Waits for the time of a round trip to AWS, so that the first poll of a fast query sees its end."""
        execution = self._executions.get(account, _text(request, "QueryExecutionId"))
        execution.over.wait(_ROUND_TRIP)
        return {"QueryExecution": _shown(execution)}

    def _batch_get(self, account: Account, request: Json) -> Json:
        ids = request.get("QueryExecutionIds")
        if not isinstance(ids, list) or not 1 <= len(ids) <= 50:
            raise InvalidRequest("queryExecutionIds must have between 1 and 50 elements")
        found, absent = [], []
        for query_id in ids:
            try:
                found.append(_shown(self._executions.get(account, query_id)))
            except InvalidRequest as error:
                absent.append({"QueryExecutionId": query_id, "ErrorCode": error.code, "ErrorMessage": str(error)})
        return {"QueryExecutions": found, "UnprocessedQueryExecutionIds": absent}

    def _list(self, account: Account, request: Json) -> Json:
        ids = [execution.id for execution in self._executions.of(account, request.get("WorkGroup") or "primary")]
        start, most = _page(request, _DEFAULT_LISTED, 50)
        following = {"NextToken": str(start + most)} if start + most < len(ids) else {}
        return {"QueryExecutionIds": ids[start : start + most], **following}

    def _results(self, account: Account, request: Json) -> Json:
        execution = self._executions.get(account, _text(request, "QueryExecutionId"))
        if execution.result is None:
            raise InvalidRequest(
                f"Query did not finish successfully. Final query state: {execution.state}"
                if execution.is_over()
                else f"Query has not yet finished. Current state: {execution.state}",
                "INVALID_QUERY_EXECUTION_STATE",
            )
        offset, most = _page(request, _MAX_ROWS, _MAX_ROWS)
        try:
            body = self._executions.body(execution)
        except (ClientError, BotoCoreError) as error:
            raise InvalidRequest(f"Could not find results: {execution.result_uri}: {error}") from error
        lines, after = values.from_csv(body, offset, most)
        rows = [{"Data": [{} if value is None else {"VarCharValue": value} for value in line]} for line in lines]
        columns = [_column_info(column) for column in execution.result.columns]
        following = {"NextToken": str(after)} if after < len(body) else {}
        return {
            "UpdateCount": 0,
            "ResultSet": {"Rows": rows, "ResultSetMetadata": {"ColumnInfo": columns}},
            **following,
        }

    def _stop(self, account: Account, request: Json) -> Json:
        self._executions.stop(self._executions.get(account, _text(request, "QueryExecutionId")))
        return {}


def _shown(execution: Execution) -> Json:
    status: Json = {"State": execution.state, "SubmissionDateTime": execution.submitted}
    end = execution.completed
    statistics: Json = {"ResultReuseInformation": {"ReusedPreviousResult": False}}
    if end is not None:
        began = execution.started or end
        status["CompletionDateTime"] = end
        statistics |= {
            "DataScannedInBytes": execution.result.bytes_scanned if execution.result else 0,
            "EngineExecutionTimeInMillis": round((end - began) * 1000),
            "QueryQueueTimeInMillis": round((began - execution.submitted) * 1000),
            "TotalExecutionTimeInMillis": round((end - execution.submitted) * 1000),
        }
    if execution.result and execution.result.manifest:
        statistics["DataManifestLocation"] = execution.result.manifest
    if execution.error:
        status["StateChangeReason"] = str(execution.error)
        category = execution.error.category
        status["AthenaError"] = {
            "ErrorCategory": category,
            "Retryable": category == 1,
            "ErrorMessage": str(execution.error),
        }
    return {
        "QueryExecutionId": execution.id,
        "Query": execution.text,
        "StatementType": execution.statement.kind,
        "SubstatementType": execution.statement.subkind,
        **_destination(execution),
        "ResultReuseConfiguration": {"ResultReuseByAgeConfiguration": {"Enabled": False}},
        "QueryExecutionContext": {"Database": execution.database, "Catalog": "awsdatacatalog"},
        "Status": status,
        "Statistics": statistics,
        "WorkGroup": execution.workgroup,
        "EngineVersion": {"SelectedEngineVersion": "AUTO", "EffectiveEngineVersion": "Athena engine version 3"},
    }


def _managed(request: Json) -> None:
    """Checks a request to a workgroup with managed query results, which have no location. The first text is AWS's
    (https://github.com/opencost/opencost/issues/3257). Managed results don't support result reuse; what AWS says then isn't
    documented (https://docs.aws.amazon.com/athena/latest/ug/managed-results.html).
    """
    if "ResultConfiguration" in request:
        raise InvalidRequest("ManagedQueryResultsConfiguration and ResultConfiguration cannot be set together.")
    if "ResultReuseConfiguration" in request:
        raise InvalidRequest("ManagedQueryResultsConfiguration and ResultReuseConfiguration cannot be set together.")


def _destination(execution: Execution) -> Json:
    if execution.output is None:
        return {"ManagedQueryResultsConfiguration": {"Enabled": True}}
    return {"ResultConfiguration": {"OutputLocation": execution.result_uri}}


def _column_info(column: values.Column) -> Json:
    return {
        "CatalogName": "hive",
        "SchemaName": "",
        "TableName": "",
        "Name": column.name,
        "Label": column.name,
        "Type": column.type,
        "Precision": column.precision,
        "Scale": column.scale,
        "Nullable": "UNKNOWN",
        "CaseSensitive": column.type in ("varchar", "string"),
    }


def _workgroup(account: Account, name: str) -> Json:
    try:
        return account.athena.get_work_group(WorkGroup=name)["WorkGroup"].get("Configuration") or {}
    except ClientError as error:
        raise InvalidRequest(f"WorkGroup {name} is not found.") from error


def _text(request: Json, name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str):
        raise InvalidRequest(f"1 validation error detected: Value at '{name[0].lower() + name[1:]}' must be a string")
    return value


def _page(request: Json, default: int, most: int) -> tuple[int, int]:
    token, size = request.get("NextToken") or "0", request.get("MaxResults") or default
    if not isinstance(size, int) or not 1 <= size <= most:
        raise InvalidRequest(f"MaxResults is more than maximum allowed length {most}.")
    if not isinstance(token, str) or not token.isdigit():
        raise InvalidRequest("Invalid NextToken")
    return int(token), size
