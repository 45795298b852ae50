"""Athena's two kinds of errors: a refused request and a failed query."""

from __future__ import annotations


class InvalidRequest(Exception):
    """A request that Athena refuses immediately, with `InvalidRequestException`."""

    def __init__(self, message: str, code: str = "INVALID_INPUT") -> None:
        super().__init__(message)
        self.code = code


class TooManyRequests(Exception):
    """A request that exceeds a quota. Athena refuses it with `TooManyRequestsException` and this reason."""

    reason = "CONCURRENT_QUERY_LIMIT_EXCEEDED"


class QueryFailed(Exception):
    """An accepted query that ends as FAILED; `str()` is its StateChangeReason.

    The codes are those of Trino and its Hive connector: TABLE_NOT_FOUND, HIVE_BAD_DATA, …
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message

    @property
    def category(self) -> int:
        """AthenaError.ErrorCategory: 1 system, 2 user, 3 other."""
        return (
            1
            if self.code
            in ("HIVE_CURSOR_ERROR", "HIVE_FILESYSTEM_ERROR", "HIVE_WRITER_CLOSE_ERROR", "GENERIC_INTERNAL_ERROR")
            else 2
        )
