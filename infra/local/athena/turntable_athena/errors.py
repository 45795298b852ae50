"""The two ways in which Athena says no: refuse the request, or fail the query."""

from __future__ import annotations


class InvalidRequest(Exception):
    """A request that Athena refuses at once, as `InvalidRequestException`."""

    def __init__(self, message: str, code: str = "INVALID_INPUT") -> None:
        super().__init__(message)
        self.code = code


class QueryFailed(Exception):
    """A query that was accepted and ends as FAILED; `str()` is its StateChangeReason.

    Codes are Trino's and its Hive connector's: TABLE_NOT_FOUND, HIVE_BAD_DATA, …
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code

    @property
    def category(self) -> int:
        """AthenaError.ErrorCategory: 1 system, 2 user, 3 other."""
        return (
            1
            if self.code
            in ("HIVE_CURSOR_ERROR", "HIVE_FILESYSTEM_ERROR", "HIVE_WRITER_CLOSE_ERROR", "GENERIC_INTERNAL_ERROR")
            else 2
        )
