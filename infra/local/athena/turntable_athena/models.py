"""Validates requests against AWS's own service models, which botocore ships.

botocore itself checks few of their rules, other SDKs check fewer, and the emulator checks almost none. Here are all: required
and unknown members, types, lengths, ranges, patterns and enums. What AWS would refuse is refused here too.
"""

from __future__ import annotations

import json
import os
import re
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import botocore.session
from botocore.model import OperationModel, Shape, StructureShape

_JSON_SERVICES = ("athena", "events", "glue", "secretsmanager", "sqs")
_SIGNED_FOR = re.compile(r"Credential=[^/,\s]+/\d{8}/[^/]+/(\w+)/")

# Headers and parameters that belong to the protocol, to signatures and to the SDKs, and so to no operation.
_COMMON_HEADERS = re.compile(
    r"x-amz-(content-sha256|date|security-token|user-agent|decoded-content-length|trailer|te|target)|x-amz-sdk-.*"
)
_COMMON_PARAMETERS = re.compile(r"x-id|X-Amz-.*")
# The headers that make a request conditional. S3 ignores them where an operation doesn't have them.
_CONDITIONS = re.compile(r"if-.*")

_FLOATS, _INTEGERS = ("float", "double"), ("integer", "long")


def faults(method: str, path: str, query: Mapping[str, Any], headers: Mapping[str, str], body: bytes) -> list[str]:
    """Returns how a request violates its operation's model. Knows S3 and the JSON services that Turntable calls; requests
    to others have no faults. `headers` have lower-case names, and `query` maps to a value or to a list of values.
    """
    target = headers.get("x-amz-target", "")
    prefix, _, name = target.partition(".")
    if prefix in _targets():
        service = _targets()[prefix]
        if name not in _model(service).operation_names:
            return [f"{service}: no operation {name!r}"]
        return _json(service, _model(service).operation_model(name), body)
    signed = _SIGNED_FOR.search(headers.get("authorization", ""))
    if signed and signed[1] == "s3":
        return _s3(method, path, {key: _first(value) for key, value in query.items()}, headers, body)
    return []


class Refusals:
    """Records violations, one per line. infra/test_permissions.py fails if there is any, even if no test noticed the refusal."""

    FILE = "violations"

    def __init__(self) -> None:
        folder = os.environ.get("CALLS")
        self._file = Path(folder).parent / Refusals.FILE if folder else None
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def add(self, found: list[str]) -> None:
        with self._lock:
            new = [line.replace("\n", "?") for line in found if line not in self._known]
            self._known |= set(found)
            if self._file and new:
                with self._file.open("a") as lines:
                    lines.writelines(f"{line}\n" for line in new)


def _json(service: str, operation: OperationModel, body: bytes) -> list[str]:
    where = f"{service}.{operation.name}"
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return [f"{where}: the body isn't JSON"]
    shape = operation.input_shape
    return [f"{where}: {fault}" for fault in _check(shape, request, "")] if shape else []


# ---- values


def _check(shape: Shape, value: Any, where: str) -> Iterator[str]:
    """Yields the faults of a value."""
    if shape.metadata.get("document") or value is None:
        return
    match shape.type_name:
        case "structure":
            yield from _check_structure(shape, value, where)
        case "list":
            if not isinstance(value, list):
                yield f"{where}: expected a list"
                return
            yield from _check_size(shape, len(value), where)
            for number, each in enumerate(value):
                yield from _check(shape.member, each, f"{where}[{number}]")
        case "map":
            if not isinstance(value, dict):
                yield f"{where}: expected a map"
                return
            yield from _check_size(shape, len(value), where)
            for key, each in value.items():
                yield from _check(shape.key, key, f"{where}.{key} (the key)")
                yield from _check(shape.value, each, f"{where}.{key}")
        case "string":
            yield from _check_string(shape, value, where)
        case "boolean":
            if not isinstance(value, bool):
                yield f"{where}: expected a boolean"
        case kind if kind in _INTEGERS or kind in _FLOATS:
            if isinstance(value, bool) or not isinstance(value, int if kind in _INTEGERS else (int, float)):
                yield f"{where}: expected a number of type {kind}"
            else:
                yield from _check_size(shape, value, where)
        case "timestamp":
            if isinstance(value, bool) or not isinstance(value, (int, float, str)):
                yield f"{where}: expected a time"


def _check_structure(shape: StructureShape, value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: expected a structure"
        return
    names = {member.serialization.get("name", name): (name, member) for name, member in shape.members.items()}
    for key, each in value.items():
        if key not in names:
            yield f"{_below(where, key)}: unknown member"
        else:
            yield from _check(names[key][1], each, _below(where, key))
    given = {names[key][0] for key, each in value.items() if key in names and each is not None}
    for name in shape.required_members:
        if name not in given:
            yield f"{_below(where, name)}: required member is missing"


def _check_string(shape: Shape, value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{where}: expected a string"
        return
    if shape.enum and value not in shape.enum:
        yield f"{where}: {value!r} is none of {', '.join(shape.enum)}"
    yield from _check_size(shape, len(value), where)
    # AWS matches a pattern against the whole value.
    pattern = shape.metadata.get("pattern")
    compiled = compiled_pattern(pattern) if pattern else None
    if compiled and not compiled.fullmatch(value):
        yield f"{where}: doesn't match the pattern {pattern}"


def _check_size(shape: Shape, size: float, where: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield f"{where}: {size} is less than {least}, the minimum"
    if most is not None and size > most:
        yield f"{where}: {size} is more than {most}, the maximum"


@cache
def compiled_pattern(pattern: str) -> re.Pattern[str] | None:
    """Compiles a pattern, which is Java's: characters outside the BMP are surrogate pairs. Returns None if Python can't."""
    try:
        return re.compile(pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF"), re.DOTALL)
    except re.error:
        return None


def _below(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


# ---- S3


def _s3(method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> list[str]:
    bucket, _, key = path.lstrip("/").partition("/")
    given: dict[str, Any] = {name: unquote(value) for name, value in (("Bucket", bucket), ("Key", key)) if value}
    operation = _s3_operation(method, given, query, headers)
    if operation is None:
        return [f"s3: no operation for {method} with {', '.join(sorted(query)) or 'no parameters'}"]
    shape, found = operation.input_shape, []
    parameters, named, prefixes = {*_fixed(operation)}, set(), []
    if (operation.http_checksum or {}).get("requestAlgorithmMember"):
        prefixes.append("x-amz-checksum-")  # Not every checksum is a member.
    for name, member in shape.members.items():
        location, wire = member.serialization.get("location"), member.serialization.get("name", name)
        if location == "querystring":
            parameters.add(wire)
            if wire in query:
                given[name] = query[wire]
        elif location == "header":
            named.add(wire.lower())
            if wire.lower() in headers:
                given[name] = headers[wire.lower()]
        elif location == "headers":
            prefixes.append(wire.lower())
        elif name == shape.serialization.get("payload") and member.type_name == "structure" and body:
            given[name] = body
        elif name == shape.serialization.get("payload") and member.type_name == "string" and body:
            given[name] = body.decode()  # The body is a bucket policy.
    for wire in query:
        if wire not in parameters and not _COMMON_PARAMETERS.fullmatch(wire):
            found.append(f"parameter {wire}: unknown member")
    for wire in headers:
        ours = wire.startswith("x-amz-") and not _COMMON_HEADERS.fullmatch(wire) or _CONDITIONS.fullmatch(wire)
        if ours and wire not in named and not wire.startswith(tuple(prefixes)):
            found.append(f"header {wire}: unknown member")
    for name in shape.required_members:
        if name not in given:
            found.append(f"{name}: required member is missing")
    for name, value in given.items():
        member = shape.members[name]
        if isinstance(value, bytes):
            found += _check(member, _from_xml(member, ElementTree.fromstring(value)), name)
        else:
            found += _check(member, _from_text(member, value), name)
    return [f"s3.{operation.name}: {fault}" for fault in found]


def _s3_operation(
    method: str, given: Mapping[str, str], query: Mapping[str, str], headers: Mapping[str, str]
) -> OperationModel | None:
    """Returns the operation with the most fixed parameters and required members that the request has."""
    model = _model("s3")
    best: tuple[int, OperationModel | None] = (-1, None)
    for name in model.operation_names:
        operation = model.operation_model(name)
        if operation.deprecated:  # Another operation has the same address.
            continue
        uri, fixed = operation.http["requestUri"].partition("?")[0], _fixed(operation)
        places = {place for place in ("Bucket", "Key") if f"{{{place}" in uri}
        if operation.http["method"] != method or places != given.keys() or not fixed.items() <= _flags(query, fixed).items():
            continue
        shape = operation.input_shape
        required = [shape.members[member].serialization for member in shape.required_members] if shape else []
        wires = [(one["location"], one["name"]) for one in required if one.get("location") in ("header", "querystring")]
        if all(wire.lower() in headers if place == "header" else wire in query for place, wire in wires):
            best = max(best, (len(wires) + 2 * len(fixed), operation), key=lambda pair: pair[0])
    return best[1]


@cache
def _fixed_of(uri: str) -> Mapping[str, str]:
    return dict(part.partition("=")[::2] for part in uri.partition("?")[2].split("&") if part)


def _fixed(operation: OperationModel) -> Mapping[str, str]:
    """Returns the parameters that the operation's address always has, such as `uploads`."""
    return {name: value for name, value in _fixed_of(operation.http["requestUri"]).items() if name != "x-id"}


def _flags(query: Mapping[str, str], fixed: Mapping[str, str]) -> Mapping[str, str]:
    return {name: query[name] for name in fixed if name in query}


def _from_text(shape: Shape, text: str) -> Any:
    """Returns the value of a header, a parameter or an element. What can't be converted stays a string, which is a fault."""
    kind = shape.type_name
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    if kind in _INTEGERS and re.fullmatch(r"-?\d+", text):
        return int(text)
    if kind == "list":
        return [_from_text(shape.member, part.strip()) for part in text.split(",")]
    return text


def _from_xml(shape: Shape, element: ElementTree.Element) -> Any:
    if shape.type_name == "structure":
        value: dict[str, Any] = {}
        names = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        for child in element:
            name = child.tag.partition("}")[2] or child.tag
            member = names.get(name)
            if member is not None and member.type_name == "list" and member.serialization.get("flattened"):
                value.setdefault(name, []).append(_from_xml(member.member, child))
            else:
                value[name] = child.text if member is None else _from_xml(member, child)
        return value
    if shape.type_name == "list":
        return [_from_xml(shape.member, child) for child in element]
    return _from_text(shape, element.text or "")


def _first(value: Any) -> str:
    return value[0] if isinstance(value, list) else value


@cache
def _model(service: str) -> Any:
    return botocore.session.Session().get_service_model(service)


@cache
def _targets() -> Mapping[str, str]:
    """Maps the first part of X-Amz-Target to the service."""
    return {_model(service).metadata["targetPrefix"]: service for service in _JSON_SERVICES}
