"""Applies examples/terraform to the emulator, and runs export, flip and a query on what Terraform made.

The functions are those that `cargo build` made; IAM is enforced, so Terraform's policies must allow what the functions do. At the
end, `terraform plan` must report no changes: flips change nothing that Terraform owns.

    cargo build -p export -p flip -p optout -p sweep
    .ci/tool athena python -m pytest -q infra/terraform/test_chain.py

Without Terraform, a mirror of hashicorp/aws or the functions, the test is skipped.
"""

import contextlib
import io
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import boto3
import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LOCAL = ROOT / "infra/local"
sys.path.insert(0, str(HERE))

from test_plan import mirror  # noqa: E402

REGION, BUCKET = "eu-west-1", "lake-of-terraform"
FUNCTIONS = ["export", "flip", "optout", "sweep"]
BINARIES = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
SECONDS = 60  # How long a step may take.

# MiniStack 1.5.33 doesn't return an alarm's statistic and period, and returns a default that AWS doesn't.
OF_THE_EMULATOR = {"aws_cloudwatch_metric_alarm", "aws_lambda_function_event_invoke_config"}

# `enforce` makes the emulator deny what a role's policies don't allow: infra/local/enforce.py.
OVERRIDE = """
provider "aws" {
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true

  default_tags {
    tags = { enforce = "true" }
  }
}

module "turntable" {
  engine_workgroups = ["etl"] # For examples/files.
}
"""


def until(what, found):
    """Returns the first true value of `found()`."""
    deadline = time.monotonic() + SECONDS
    while not (value := found()):
        assert time.monotonic() < deadline, f"{what}: not within {SECONDS} s"
        time.sleep(0.05)
    return value


@contextlib.contextmanager
def process(folder, name, arguments, **environment):
    """Runs a part of the emulator, and yields a function that returns its log."""
    log = folder / f"{name}.log"
    inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    paths = {"PYTHONPATH": str(LOCAL / "athena"), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder)}
    with log.open("w") as file:
        running = subprocess.Popen(
            [sys.executable, *arguments], env={**inherited, **KEYS, **paths, **environment}, stdin=subprocess.PIPE, stdout=file, stderr=file
        )

    def text():
        assert running.poll() is None, f"{name} ended:\n{log.read_text()[-3000:]}"
        return log.read_text()

    try:
        yield text
    finally:
        running.terminate()
        running.wait()
        print(f"{name}:\n{log.read_text()[-5000:]}")  # Shown if a test fails.


@contextlib.contextmanager
def emulator(folder):
    """Runs the emulator, and yields the variables by which AWS's SDKs and Terraform find it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with process(folder, "athena", ["-m", "turntable_athena", "--events"], AWS_ENDPOINT_URL=endpoint) as log:
        athena = until("the Athena endpoint", lambda: re.search(r'\{"endpoint": "(.+?)"\}', log()))[1]
        endpoints = {"AWS_ENDPOINT_URL": endpoint, "AWS_ENDPOINT_URL_ATHENA": athena}
        places = {"S3_DATA_DIR": str(folder / "s3"), "STATE_DIR": str(folder / "state")}
        bind = {"BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1", "GATEWAY_PORT": endpoint.rpartition(":")[2]}
        off = {"IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0"}
        with process(folder, "ministack", [str(LOCAL / "emulator.py")], **endpoints, **places, **bind, **off) as log:
            until("the emulator", lambda: f"Running on {endpoint} " in log())
            yield endpoints


def release(folder):
    """Makes the zips of a release whose executables are Cargo's."""
    folder.mkdir()
    for name in FUNCTIONS:
        entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
        entry.external_attr = 0o100755 << 16
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(entry, f"#!/bin/sh\nexec '{BINARIES / name}' \"$@\"\n")
        (folder / f"{name}.zip").write_bytes(file.getvalue())


@pytest.fixture(scope="module")
def terraform(tmp_path_factory):
    """Applies a copy of the example. Yields functions that run Terraform and a page's commands in it, and the emulator's endpoints."""
    if not shutil.which("terraform"):
        pytest.skip("terraform is not on the PATH")
    if not (plugins := mirror()):
        pytest.skip("no mirror of hashicorp/aws 5.x found; set TF_PLUGIN_MIRROR to the folder of one")
    if missing := [name for name in FUNCTIONS if not (BINARIES / name).exists()]:
        pytest.skip(f"run cargo build: {', '.join(missing)} not in {BINARIES}")
    folder = tmp_path_factory.mktemp("chain")
    example, module = folder / "examples/terraform", "infra/terraform/modules/stack"
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*")
    shutil.copytree(ROOT / "examples/terraform", example, ignore=ignored)
    shutil.copytree(ROOT / module, folder / module, ignore=ignored)
    release(example / "dist")
    (example / "emulator_override.tf").write_text(OVERRIDE)
    architecture = "arm64" if platform.machine() == "aarch64" else "x86_64"
    variables = {"TF_VAR_bucket": BUCKET, "TF_VAR_region": REGION, "TF_VAR_architecture": architecture}
    with emulator(folder) as endpoints:
        answers = {"TF_CLI_ARGS_apply": "-auto-approve", "TF_CLI_ARGS_destroy": "-auto-approve", "TF_CLI_ARGS_init": f"-plugin-dir={plugins}"}
        environment = {**os.environ, **KEYS, **endpoints, **variables, **answers, "TF_CLI_CONFIG_FILE": os.devnull}

        def run(*arguments, expected=0):
            command = ["terraform", f"-chdir={example}", *arguments, "-no-color"]
            ran = subprocess.run(command, env=environment, capture_output=True, text=True)
            assert ran.returncode == expected, f"{' '.join(arguments)}: {ran.returncode}\n{ran.stdout[-4000:]}{ran.stderr[-4000:]}"
            return ran.stdout

        def follow(page):
            """Runs the page's commands, as a reader who answers yes."""
            for command in re.findall(r"^    (terraform .*)$", (ROOT / page).read_text(), re.M):
                ran = subprocess.run(command, shell=True, cwd=example, env=environment, capture_output=True, text=True)
                assert ran.returncode == 0, f"{command}: {ran.stdout[-4000:]}{ran.stderr[-4000:]}"

        follow("examples/terraform/README.md")
        yield run, follow, endpoints


def invoke(endpoints, function, payload):
    answer = client("lambda", endpoints).invoke(FunctionName=function, Payload=json.dumps(payload))
    body = answer["Payload"].read().decode()
    assert "FunctionError" not in answer, body
    return json.loads(body)


def client(service, endpoints):
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    endpoint = endpoints["AWS_ENDPOINT_URL_ATHENA" if service == "athena" else "AWS_ENDPOINT_URL"]
    return boto3.client(service, region_name=REGION, endpoint_url=endpoint, **keys)


def changes(run):
    """Returns the types of the resources that a plan would change."""
    run("plan", "-out=again")
    planned = json.loads(run("show", "-json", "again"))["resource_changes"]
    return {resource["type"] for resource in planned if resource["change"]["actions"] not in (["no-op"], ["read"])}


def query(endpoints, sql):
    athena = client("athena", endpoints)
    started = athena.start_query_execution(
        QueryString=sql, QueryExecutionContext={"Database": "shop"}, ResultConfiguration={"OutputLocation": f"s3://{BUCKET}/_athena/"}
    )
    of = {"QueryExecutionId": started["QueryExecutionId"]}
    until(sql, lambda: athena.get_query_execution(**of)["QueryExecution"]["Status"]["State"] in ("SUCCEEDED", "FAILED"))
    rows = athena.get_query_results(**of)["ResultSet"]["Rows"][1:]
    return [[cell.get("VarCharValue") for cell in row["Data"]] for row in rows]


def upload(endpoints, example):
    """Puts the files of an example into the bucket."""
    folder = ROOT / "examples" / example / "bucket"
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        client("s3", endpoints).put_object(Bucket=BUCKET, Key=str(file.relative_to(folder)), Body=file.read_bytes())


def live(endpoints, dataset):
    """Returns the location of a dataset's table, or None if there is no table."""
    glue = client("glue", endpoints)
    with contextlib.suppress(glue.exceptions.EntityNotFoundException):
        return glue.get_table(DatabaseName="shop", Name=dataset)["Table"]["StorageDescriptor"]["Location"]


def published(endpoints, *datasets):
    """Exports datasets, and waits until they are live. The events, rules and queues between are Terraform's."""
    before = {dataset: live(endpoints, dataset) for dataset in datasets}
    invoke(endpoints, "turntable-export", {"dataset": list(datasets)})
    for dataset in datasets:
        until(f"{dataset} is live", lambda dataset=dataset: live(endpoints, dataset) != before[dataset])
        assert live(endpoints, dataset).startswith(f"s3://{BUCKET}/schemas/{dataset}/")


def dead_letters(endpoints):
    sqs = client("sqs", endpoints)
    queues = [queue for queue in sqs.list_queues()["QueueUrls"] if queue.endswith("-dead-letters")]
    assert len(queues) == len(FUNCTIONS)
    return [message["Body"] for queue in queues for message in sqs.receive_message(QueueUrl=queue).get("Messages", [])]


def test_datasets_go_live_on_what_terraform_made(terraform):
    run, _, endpoints = terraform
    functions = json.loads(run("output", "-json", "functions"))
    assert functions == {name: f"turntable-{name}" for name in ("export", "flip", "sweep")}
    upload(endpoints, "terraform")
    published(endpoints, "users", "orders")
    joined = "SELECT name, sum(total) FROM shop.users JOIN shop.orders ON user_id = users.id GROUP BY name ORDER BY name"
    assert query(endpoints, joined) == [["Aoi", "128.50"], ["Bea", "5.00"], ["Chidi", "33.33"]]

    published(endpoints, "users")
    invoke(endpoints, functions["sweep"], {})
    assert dead_letters(endpoints) == []
    assert changes(run) <= OF_THE_EMULATOR


def test_a_table_that_athena_builds_follows_files(terraform):
    *_, endpoints = terraform
    upload(endpoints, "files")
    datasets = (ROOT / "examples/files/datasets.toml").read_text().replace("${BUCKET}", BUCKET)
    client("s3", endpoints).put_object(Bucket=BUCKET, Key="datasets.toml", Body=datasets.encode())
    published(endpoints, "sales", "prices")
    published(endpoints, "daily_sales")
    totals = "SELECT day, shop, amount FROM shop.daily_sales ORDER BY day, shop"
    assert query(endpoints, totals) == [
        ["2026-11-28", "kyoto", "10.90"],
        ["2026-11-28", "nara", "16.00"],
        ["2026-11-29", "kyoto", "3.20"],
        ["2026-11-29", "nara", "18.00"],
    ]
    assert dead_letters(endpoints) == []


def test_removing_the_stack_keeps_the_bucket_and_the_tables(terraform):
    _, follow, endpoints = terraform
    location = live(endpoints, "users")
    follow("docs/terraform.md")
    assert client("lambda", endpoints).list_functions()["Functions"] == []
    assert live(endpoints, "users") == location
    assert query(endpoints, "SELECT count(*) FROM shop.users") == [["3"]]
    policy = client("s3", endpoints).get_bucket_policy(Bucket=BUCKET)["Policy"]
    assert "WriteOnce" in policy
