"""Applies examples/terraform to the emulator, and runs this and other examples on what Terraform made. The tests follow one another.

The functions are those that `cargo build` made. IAM is enforced, so Terraform's policies must allow what the functions do. After
flips, `terraform plan` must report no changes: flips change nothing that Terraform owns.

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
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

import mariadb  # noqa: E402
from emulated import KEYS, REGION, client, emulator, logged, until  # noqa: E402
from test_plan import mirror  # noqa: E402

BUCKET = "lake-of-terraform"
DEPLOYER = "arn:aws:iam::000000000000:role/deployer"
FUNCTIONS = ["export", "flip", "optout", "sweep"]
BINARIES = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
LIMIT = 600  # Seconds that a command of Terraform may take, beside other tests. Alone, an apply takes 90.

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

# What the other examples need.
module "turntable" {
  glue_databases    = ["shop", "app"]
  engine_workgroups = ["etl"]
  secret_arns       = ["arn:aws:secretsmanager:*:*:secret:shop/replica-??????"]
}
"""


def release(folder, architecture):
    """Makes the zips of a release whose executables are Cargo's."""
    folder.mkdir()
    for name in FUNCTIONS:
        entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
        entry.external_attr = 0o100755 << 16
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(entry, f"#!/bin/sh\nexec '{BINARIES / name}' \"$@\"\n")
        (folder / f"{name}-{architecture}.zip").write_bytes(file.getvalue())


class Example:
    """A copy of examples/terraform, with a release, for a fresh emulator."""

    def __init__(self, folder, endpoints, plugins):
        self.folder, module = folder / "examples/terraform", "infra/terraform/modules/stack"
        ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*")
        shutil.copytree(ROOT / "examples/terraform", self.folder, ignore=ignored)
        shutil.copytree(ROOT / module, folder / module, ignore=ignored)
        architecture = "arm64" if platform.machine() == "aarch64" else "x86_64"
        release(self.folder / "dist", architecture)
        (self.folder / "emulator_override.tf").write_text(OVERRIDE)
        self.endpoints = endpoints
        variables = {"TF_VAR_bucket": BUCKET, "TF_VAR_region": REGION, "TF_VAR_architecture": architecture, "TF_VAR_deployer": DEPLOYER}
        # A command that was ended leaves its lock, so the next one asks for none.
        arguments = {"init": f"-plugin-dir={plugins}", "plan": "-lock=false", "apply": "-auto-approve", "destroy": "-auto-approve -lock=false"}
        answers = {f"TF_CLI_ARGS_{command}": value for command, value in arguments.items()}
        self.environment = {**os.environ, **KEYS, **endpoints, **variables, **answers, "TF_CLI_CONFIG_FILE": os.devnull}

    def run(self, command, tries=2):
        """Runs a command and returns its output.

        MiniStack 1.5.33 sometimes doesn't answer one of the provider's requests, and the provider waits forever. The command is
        ended then, and run again.
        """
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        # In a session of its own, so that the provider ends with Terraform.
        running = subprocess.Popen(command, shell=True, cwd=self.folder, env=self.environment, start_new_session=True, **streams)
        try:
            output, _ = running.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()
            if tries == 1:
                raise
            return self.run(command, tries - 1)
        assert running.returncode == 0, f"{command}: exit code {running.returncode}\n{output[-5000:]}"
        return output

    def follow(self, page, tries=2):
        """Runs Terraform's commands on a page, as a reader who answers yes."""
        for command in re.findall(r"^    (terraform .*)$", (ROOT / page).read_text(), re.M):
            self.run(command, tries)

    def changes(self):
        """Returns the types of the resources that a plan would change."""
        self.run("terraform plan -out=again")
        planned = json.loads(self.run("terraform show -json again"))["resource_changes"]
        return {resource["type"] for resource in planned if resource["change"]["actions"] not in (["no-op"], ["read"])}


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Yields the example after its page's commands have been followed."""
    if not shutil.which("terraform"):
        pytest.skip("terraform is not on the PATH")
    if not (plugins := mirror()):
        pytest.skip("no mirror of hashicorp/aws 5.x found; set TF_PLUGIN_MIRROR to the folder of one")
    if missing := [name for name in FUNCTIONS if not (BINARIES / name).exists()]:
        pytest.skip(f"run cargo build: {', '.join(missing)} not in {BINARIES}")
    with contextlib.ExitStack() as stack:
        for last in (False, True):
            folder = tmp_path_factory.mktemp("chain")
            made = Example(folder, stack.enter_context(emulator(folder)), plugins)
            try:
                # What an apply made before it was ended is in no state, so the next one needs a new emulator.
                made.follow("examples/terraform/README.md", tries=1)
                break
            except subprocess.TimeoutExpired:
                if last:
                    raise
        yield made


def invoke(endpoints, function, payload):
    answer = client("lambda", endpoints).invoke(FunctionName=function, Payload=json.dumps(payload))
    body = answer["Payload"].read().decode()
    assert "FunctionError" not in answer, body
    return json.loads(body)


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


def live(endpoints, dataset, database="shop"):
    """Returns the location of a dataset's table, or None if there is no table."""
    glue = client("glue", endpoints)
    with contextlib.suppress(glue.exceptions.EntityNotFoundException):
        return glue.get_table(DatabaseName=database, Name=dataset)["Table"]["StorageDescriptor"]["Location"]


def published(endpoints, *datasets, database="shop"):
    """Exports datasets, and waits until they are live. The events, rules and queues between are Terraform's."""
    before = {dataset: live(endpoints, dataset, database) for dataset in datasets}
    invoke(endpoints, "turntable-export", {"dataset": list(datasets)})
    for dataset in datasets:
        until(
            f"{dataset} is live",
            lambda dataset=dataset: live(endpoints, dataset, database) != before[dataset],
            lambda: "\n".join(logged(endpoints, f"turntable-{function}") for function in ("export", "flip")),
        )


def configure(endpoints, example):
    """Puts the datasets file of an example in place of the one before."""
    datasets = (ROOT / "examples" / example / "datasets.toml").read_text().replace("${BUCKET}", BUCKET)
    client("s3", endpoints).put_object(Bucket=BUCKET, Key="datasets.toml", Body=datasets.encode())


def dead_letters(endpoints):
    sqs = client("sqs", endpoints)
    queues = [queue for queue in sqs.list_queues()["QueueUrls"] if queue.endswith("-dead-letters")]
    assert len(queues) == len(FUNCTIONS)
    return [message["Body"] for queue in queues for message in sqs.receive_message(QueueUrl=queue).get("Messages", [])]


def test_datasets_go_live_on_what_terraform_made(example):
    endpoints = example.endpoints
    functions = json.loads(example.run("terraform output -json functions"))
    assert functions == {name: f"turntable-{name}" for name in ("export", "flip", "sweep")}
    upload(endpoints, "terraform")
    published(endpoints, "users", "orders")
    joined = "SELECT name, sum(total) FROM shop.users JOIN shop.orders ON user_id = users.id GROUP BY name ORDER BY name"
    assert query(endpoints, joined) == [["Aoi", "128.50"], ["Bea", "5.00"], ["Chidi", "33.33"]]

    published(endpoints, "users")
    invoke(endpoints, functions["sweep"], {})
    assert dead_letters(endpoints) == []
    assert example.changes() <= OF_THE_EMULATOR


def test_a_table_that_athena_builds_follows_files(example):
    endpoints = example.endpoints
    client("athena", endpoints).create_work_group(Name="etl")
    upload(endpoints, "files")
    configure(endpoints, "files")
    published(endpoints, "sales", "prices")
    # By the rule for the records of flips.
    until("daily_sales is live", lambda: live(endpoints, "daily_sales"), lambda: logged(endpoints, "turntable-export"))
    totals = "SELECT day, shop, amount FROM shop.daily_sales ORDER BY day, shop"
    assert query(endpoints, totals) == [
        ["2026-11-28", "kyoto", "10.90"],
        ["2026-11-28", "nara", "16.00"],
        ["2026-11-29", "kyoto", "3.20"],
        ["2026-11-29", "nara", "18.00"],
    ]
    assert dead_letters(endpoints) == []


USERS = """
INSERT INTO users VALUES (1, 'aoi@example.com', 'kyoto', NOW(), NOW()), (2, 'bea@example.com', 'nara', NOW(), NOW());
INSERT INTO orders VALUES (10, 1, 120.00, NOW()), (11, 2, 8.50, NOW()), (12, 2, 1.25, NOW());
"""


def test_people_who_opt_out_disappear_from_the_copies_of_a_mysql_database(example, tmp_path, monkeypatch):
    if not (programs := mariadb.base(BINARIES.parent)):
        pytest.skip("MariaDB is neither installed nor unpacked by the Rust tests")
    endpoints = example.endpoints
    client("glue", endpoints).create_database(DatabaseInput={"Name": "app"})
    schema = (ROOT / "examples/webapp-mysql/schema.sql").read_text().replace("…", "secret")
    with mariadb.server(tmp_path, programs, schema + USERS) as port:
        secret = {"host": "127.0.0.1", "port": port, "username": "turntable", "password": "secret", "dbname": "shop", "ssl-mode": "DISABLED"}
        client("secretsmanager", endpoints).create_secret(Name="shop/replica", SecretString=json.dumps(secret))
        configure(endpoints, "webapp-mysql")
        published(endpoints, "users", "orders", database="app")

    page = (ROOT / "examples/webapp-mysql/README.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.S)[1].replace('"BUCKET"', f'"{BUCKET}"')
    for name, value in {**KEYS, **endpoints}.items():
        monkeypatch.setenv(name, value)
    application = {}
    exec(code, application)
    application["opt_out"](2)

    def views():
        tables = client("glue", endpoints).get_tables(DatabaseName="app")["TableList"]
        return {"users_protected", "orders_protected"} <= {table["Name"] for table in tables}

    until("the views are there", views, lambda: logged(endpoints, "turntable-optout"))
    counts = "SELECT (SELECT count(*) FROM app.users_protected), (SELECT count(*) FROM app.orders_protected)"
    until("user 2 is out", lambda: query(endpoints, counts) == [["1", "1"]], lambda: logged(endpoints, "turntable-optout"))
    assert query(endpoints, "SELECT id FROM app.users_protected") == [["1"]]


def test_removing_the_stack_keeps_the_bucket_and_the_tables(example):
    endpoints = example.endpoints
    location = live(endpoints, "users")
    example.follow("docs/terraform.md")
    assert client("lambda", endpoints).list_functions()["Functions"] == []
    assert live(endpoints, "users") == location
    assert query(endpoints, "SELECT count(*) FROM shop.users") == [["3"]]
    policy = client("s3", endpoints).get_bucket_policy(Bucket=BUCKET)["Policy"]
    assert "WriteOnce" in policy
