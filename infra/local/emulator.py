"""MiniStack, with features that MiniStack 1.5.33 lacks.

- AWS services put events whose source starts with `aws.`. MiniStack allows this only for its own services; here the
  Athena endpoint may do it too.
- A Glue job run executes the job's script with Glue's arguments, using the Python that GLUE_PYTHON names, and puts an
  event when it ends. MiniStack runs the script in a container, or not at all.
- Tables in Glue change one at a time. MiniStack handles each request on a thread of its own and takes no lock, so two
  updates of one version may both succeed, and a listing fails while a table is created.
- A request that violates AWS's model of its operation is refused: see athena/turntable_athena/models.py.
- A request that isn't from a program of this stack is refused, and no answer allows a web page to read it: see
  athena/turntable_athena/access.py.
- A function that assumes a role keeps its account: see `as_role`.
- CloudFormation gives a bucket its lifecycle rules and its default encryption. MiniStack ignores these properties.
- A call of a function, or of an IAM user that a test names, is denied if the caller's policies or the bucket's policy don't allow it:
  see enforce.py.
- A function gets the environment variables for its LoggingConfig, and one that marks its AWS calls: see
  athena/turntable_athena/calls.py.

PySpark on PyPI has no connector for S3 (Maven has it). So the S3 objects that the arguments name are copied to a folder,
which Spark sees as `s3://BUCKET/`, and the script's output under `--turntable_location` is copied back. The script itself
is the same as on AWS.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import botocore.session
from ministack import app
from ministack.core import iam_actions
from ministack.core.responses import get_account_id, get_region
from ministack.core.router import detect_service
from ministack.services import eventbridge, glue, lambda_svc, s3
from ministack.services.cloudformation import provisioners
from enforce import denial
from turntable_athena.access import Access, access_key
from turntable_athena.calls import Call, Calls, app_id, function_of, user_of
from turntable_athena.models import Refusals, faults

LOCATION = "--turntable_location"
MAX_JOB_SECONDS = 900

_put_events = eventbridge._put_events


def put_events(data: dict[str, Any], allow_aws_source: bool = True) -> Any:
    return _put_events(data, allow_aws_source=allow_aws_source)


def run_script(run: dict[str, Any], job: dict[str, Any], arguments: dict[str, str], script: str) -> None:
    """Replaces MiniStack's function. Runs in the same thread, for the same account."""
    try:
        with tempfile.TemporaryDirectory(prefix="glue-") as folder:
            run["JobRunState"], run["ErrorMessage"] = _run(Path(folder), run["JobName"], arguments, script)
    except Exception as error:  # every run must reach a final state
        run["JobRunState"], run["ErrorMessage"] = "FAILED", f"{type(error).__name__}: {error}"
    state = run["JobRunState"]
    detail = {
        "jobName": run["JobName"],
        "severity": "INFO" if state == "SUCCEEDED" else "ERROR",
        "state": state,
        "jobRunId": run["Id"],
        "message": run["ErrorMessage"] or "Job run succeeded",
    }
    put_events({"Entries": [{"Source": "aws.glue", "DetailType": "Glue Job State Change", "Detail": json.dumps(detail)}]})


def _run(folder: Path, name: str, arguments: dict[str, str], script: str) -> tuple[str, str]:
    s3 = botocore.session.Session().create_client(
        "s3",
        region_name=get_region(),
        endpoint_url=os.environ["AWS_ENDPOINT_URL"],
        aws_access_key_id=get_account_id(),
        aws_secret_access_key="test",
    )
    places = {name: value for name, value in arguments.items() if value.startswith("s3://")}
    for argument, place in places.items():
        if argument != LOCATION:
            _download(s3, place, folder)
    _configure(folder, {place.removeprefix("s3://").split("/")[0] for place in places.values()})
    command = [os.environ.get("GLUE_PYTHON", sys.executable), script]
    command += [word for pair in {"--JOB_NAME": name, **arguments}.items() for word in pair]
    environment = {**os.environ, "SPARK_CONF_DIR": str(folder / "conf"), "SPARK_LOCAL_IP": "127.0.0.1"}
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=MAX_JOB_SECONDS
        )
    except subprocess.TimeoutExpired:
        return "TIMEOUT", "Job execution timed out"
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"Exit code {done.returncode}"]
        print(done.stderr, file=sys.stderr)
        return "FAILED", lines[-1]
    if LOCATION in places:
        _upload(s3, places[LOCATION], folder)
    return "SUCCEEDED", ""


def _configure(folder: Path, buckets: set[str]) -> None:
    """Configures Spark so that Hadoop's view file system shows a folder under the scheme `s3`."""
    prefix = "spark.hadoop.fs"
    lines = [
        "spark.master local[2]",
        "spark.ui.enabled false",
        "spark.driver.host 127.0.0.1",
        "spark.sql.session.timeZone UTC",
        f"{prefix}.s3.impl org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme",
        f"{prefix}.viewfs.overload.scheme.target.file.impl org.apache.hadoop.fs.RawLocalFileSystem",
    ]
    for bucket in buckets:
        (folder / "s3" / bucket).mkdir(parents=True, exist_ok=True)
        lines.append(f"{prefix}.viewfs.mounttable.{bucket}.linkFallback file://{folder}/s3/{bucket}")
    (folder / "conf").mkdir()
    (folder / "conf" / "spark-defaults.conf").write_text("\n".join(lines) + "\n")


def _download(s3: Any, place: str, folder: Path) -> None:
    bucket, prefix = place.removeprefix("s3://").split("/", 1)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", ()):
            path = folder / "s3" / bucket / item["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())


def _upload(s3: Any, place: str, folder: Path) -> None:
    bucket, prefix = place.removeprefix("s3://").split("/", 1)
    root = folder / "s3" / bucket
    for path in sorted(path for path in (root / prefix).rglob("*") if path.is_file()):
        s3.put_object(Bucket=bucket, Key=str(path.relative_to(root)), Body=path.read_bytes(), ChecksumAlgorithm="CRC32")


_variables = lambda_svc._runtime_env_vars


def variables(config: dict[str, Any]) -> dict[str, str]:
    own = {"AWS_SDK_UA_APP_ID": app_id(config["FunctionName"], config["CodeSha256"])}
    logging = config.get("LoggingConfig") or {}
    if logging.get("LogFormat") == "JSON":
        own |= {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": logging.get("ApplicationLogLevel", "INFO")}
    return {**_variables(config), **own}


def lifecycle(configuration: dict[str, Any]) -> bytes:
    """Returns the request body for an AWS::S3::Bucket's lifecycle rules, as far as template.yaml uses them."""
    rules = []
    for rule in configuration["Rules"]:
        known = {"Id", "Status", "Prefix", "ExpirationInDays", "AbortIncompleteMultipartUpload"}
        assert rule.keys() <= known, f"not implemented: {rule.keys() - known}"
        parts = [f"<ID>{rule['Id']}</ID><Status>{rule['Status']}</Status>"]
        parts.append(f"<Filter><Prefix>{escape(rule.get('Prefix', ''))}</Prefix></Filter>")
        if days := rule.get("ExpirationInDays"):
            parts.append(f"<Expiration><Days>{days}</Days></Expiration>")
        if abort := rule.get("AbortIncompleteMultipartUpload"):
            days = f"<DaysAfterInitiation>{abort['DaysAfterInitiation']}</DaysAfterInitiation>"
            parts.append(f"<AbortIncompleteMultipartUpload>{days}</AbortIncompleteMultipartUpload>")
        rules.append(f"<Rule>{''.join(parts)}</Rule>")
    return f"<LifecycleConfiguration>{''.join(rules)}</LifecycleConfiguration>".encode()


def encryption(configuration: dict[str, Any]) -> bytes:
    """Returns the request body for an AWS::S3::Bucket's default encryption."""
    by_default = configuration["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"]
    parts = "".join(f"<{name}>{value}</{name}>" for name, value in by_default.items())
    rule = f"<Rule><ApplyServerSideEncryptionByDefault>{parts}</ApplyServerSideEncryptionByDefault></Rule>"
    return f"<ServerSideEncryptionConfiguration xmlns=\"{s3.S3_NS}\">{rule}</ServerSideEncryptionConfiguration>".encode()


_dispatch = app._dispatch_service_request
_calls = Calls()
_refusals = Refusals()


async def dispatch(method: str, path: str, headers: Any, body: bytes, query: Any, request_id: str) -> Any:
    if found := faults(method, path, query, headers, body):
        _refusals.add(found)
        return refusal(headers, found)
    calls = list(actions(method, path, headers, body, query)) if function_of(headers) or user_of(headers) else []
    _calls.add(headers, calls)
    if denied := denial(headers, calls):
        return denied
    answer = await _dispatch(method, path, headers, body, query, request_id)
    asked = parse_qs(body.decode("latin-1")) if body.startswith(b"Action=AssumeRole&") else {}
    return as_role(asked["RoleArn"][0], headers, answer) if asked and answer[0] == 200 else answer


def as_role(role: str, headers: Any, answer: Any) -> Any:
    """Returns the answer to AssumeRole with credentials of the same account, by whose session token athena/turntable_athena/calls.py
    recognises the role. MiniStack's own access key would be another account for the Athena endpoint."""
    status, fields, body = answer
    text = body.decode()
    for name, value in (("AccessKeyId", access_key(headers)), ("SessionToken", role)):
        text = re.sub(f"<{name}>.*?</{name}>", f"<{name}>{escape(value)}</{name}>", text, flags=re.DOTALL)
    return status, {name: value for name, value in fields.items() if name.lower() != "content-length"}, text.encode()


def refusal(headers: Any, found: list[str]) -> tuple[int, dict[str, str], bytes]:
    """Returns the answer to a request that violates its operation's model."""
    text = "; ".join(found)
    if "x-amz-target" in headers:
        body = json.dumps({"__type": "ValidationException", "message": text}).encode()
        return 400, {"Content-Type": "application/x-amz-json-1.1"}, body
    return 400, {"Content-Type": "application/xml"}, f"<Error><Code>InvalidRequest</Code><Message>{escape(text)}</Message></Error>".encode()


def actions(method: str, path: str, headers: Any, body: bytes, query: Any) -> Iterator[Call]:
    """Yields a request's actions and resources, named as in the Service Authorization Reference, and its condition keys."""
    parameters = app._routing_params(method, path, headers, body, query)
    service = detect_service(method, path, headers, parameters)
    request = (service, method, path, headers, body, parameters)
    action = iam_actions.extract_iam_action(*request)
    if action is None:
        return
    if service == "sqs":
        action = action.removesuffix("Batch")
    if service == "glue":
        for resource in glue_resources(json.loads(body or b"{}")):
            yield action, f"arn:aws:glue:{get_region()}:{get_account_id()}:{resource}", {}
        return
    resource = iam_actions.extract_resource_arn(*request, get_region(), get_account_id())
    if service == "lambda" and "Qualifier" in query:
        resource += f":{query['Qualifier'][0] if isinstance(query['Qualifier'], list) else query['Qualifier']}"
    yield action, resource, conditions(method, headers, query) if action == "s3:PutObject" else {}
    if service == "s3":
        for action, resource in iam_actions.s3_additional_checks(*request[1:]):
            yield action, resource, {}
        if action == "s3:DeleteObject" and "if-match" in headers:
            yield "s3:GetObject", resource, {}


def conditions(method: str, headers: Any, query: Any) -> dict[str, str]:
    """Returns the condition keys of a request that writes an object or a part of one.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html
    """
    creates = (method == "POST") == ("uploadId" in query)  # Not the beginning of an upload in parts, nor a part.
    named = ("x-amz-storage-class", "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id")
    named = ("if-none-match", *named, "x-amz-server-side-encryption-customer-algorithm")
    given = {f"s3:{name}": headers[name] for name in named if name in headers}
    return given | {"s3:ObjectCreationOperation": str(creates).lower()}


def glue_resources(request: dict[str, Any]) -> list[str]:
    """Returns the job, or the table with its database and the catalog. MiniStack's own function gets both wrong."""
    if job := request.get("JobName"):
        return [f"job/{job}"]
    database = request.get("DatabaseName")
    named = request.get("TableInput", request).get("Name")
    if database is None:
        return ["catalog", f"database/{named}"]
    return ["catalog", f"database/{database}", f"table/{database}/{request.get('TableName') or named or '*'}"]


_app = app.app
_access = Access([os.environ.get("AWS_ENDPOINT_URL", ""), f"http://127.0.0.1:{os.environ.get('GATEWAY_PORT', '4566')}"])


async def guarded(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application behind the access rules. Removes the headers that would let web pages read responses."""

    async def closed(message: Any) -> None:
        headers = message.get("headers")
        if headers is not None:
            message = {**message, "headers": [it for it in headers if not it[0].lower().startswith(b"access-control-")]}
        await send(message)

    if scope["type"] == "http":
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query, health = scope.get("query_string", b"").decode("latin-1"), scope["path"] == "/_ministack/health"
        if refusal := _access.refusal(headers, query, open_to_all=health):
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": refusal.encode()})
            return
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await _app(scope, receive, closed)


app.app = guarded
_tables = threading.RLock()


def one_at_a_time(handler: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    def locked(data: dict[str, Any]) -> Any:
        with _tables:
            return handler(data)

    return locked


for name in ("_create_table", "_update_table", "_delete_table", "_get_table", "_get_tables"):
    setattr(glue, name, one_at_a_time(getattr(glue, name)))
provisioners._S3_BUCKET_CONFIGURATIONS = (
    *provisioners._S3_BUCKET_CONFIGURATIONS,
    ("LifecycleConfiguration", lifecycle, s3._put_bucket_lifecycle, s3._delete_bucket_lifecycle),
    ("BucketEncryption", encryption, s3._put_bucket_encryption, s3._delete_bucket_encryption),
)
lambda_svc._runtime_env_vars = variables
app._dispatch_service_request = dispatch
eventbridge._put_events = put_events
glue._execute_subprocess = run_script
glue._is_spark_job = lambda job: False  # No container: `run_script` runs every script.

if __name__ == "__main__":
    app.main()
