"""A hostile run against a live stack: principals outside it, and a web page, try everything beyond their rights for some seconds.

The stack is template.yaml on ../../emulator.py, which enforces the policies of infra/policies and the bucket's. Its functions do
nothing here: tests/tests/it/chain checks what they make of what gets through. TURNTABLE_HOSTILE_SECONDS sets the time, and SEED
repeats a run. docs/threat-model.md has the attacks.
"""

from __future__ import annotations

import http.client
import io
import itertools
import json
import os
import random
import re
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from conftest import PROJECT, _ports

ROOT = PROJECT.parents[2]
ACCOUNT, REGION, BUCKET, STACK = "271828182845", "eu-west-1", "lake-271828182845", "hostile"
SECONDS = float(os.environ.get("TURNTABLE_HOSTILE_SECONDS", "5"))
USERS = ["editor", "invoker", "operator", "partner", "reader"]
ULID = "01JD675EJRSSKNZWWST95906C6"
NAMES = {
    "ACCOUNT": ACCOUNT, "REGION": REGION, "STACK": STACK, "BUCKET": BUCKET, "DATABASE": "dmp", "DATASETS_KEY": "datasets.toml",
    "INBOX": "inbox/partner", "TABLES": "schemas", "READERS": "readers", "RESULTS": "readers-results",
}  # fmt: skip
RECORDS = [
    f"schemas/users/_manifests/blue-{ULID}.json", f"schemas/users/_flips/{ULID}.json", "schemas/users/_hold.json",
    "schemas/users/_table.json", f"schemas/users/_pending/blue-{ULID}.json", f"schemas/users/_returns/{ULID}.json",
    "schemas/_groups/core.json", "_retired/schemas/users.json", "_stacks/hostile/buckets.json", "inbox/partner/_published.json",
    f"inbox/partner/x/_manifests/blue-{ULID}.json", "_archive/inbox/partner/1/1.csv",
]  # fmt: skip
# Headers under which OptoutFunction can't read a drop.
UNREADABLE = [
    {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32},
    {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:aws:kms:eu-west-1:666666666666:key/1"},
    {"StorageClass": "GLACIER"},
    {"StorageClass": "DEEP_ARCHIVE"},
]

Attack = Callable[[], Any]


class Stack:
    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._session = botocore.session.Session()

    def client(self, service: str, user: str | None = None) -> Any:
        """Returns a client for a user outside the stack, or for the account's owner, whose calls aren't evaluated."""
        config = Config(retries={"total_max_attempts": 1}, user_agent_appid=f"as-{user}" if user else None, s3={"addressing_style": "path"})
        keys = {"aws_access_key_id": ACCOUNT, "aws_secret_access_key": "test"}
        return self._session.create_client(service, region_name=REGION, endpoint_url=self.endpoint, config=config, **keys)

    def state(self) -> dict[str, Any]:
        """Returns everything that an attack could change."""
        s3, glue, iam, functions = (self.client(name) for name in ("s3", "glue", "iam", "lambda"))
        objects = {
            f"{bucket}/{item['Key']}": item["ETag"]
            for bucket in (BUCKET, "readers-results")
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            for item in page.get("Contents", ())
        }
        users = {user: iam.get_user_policy(UserName=user, PolicyName="own")["PolicyDocument"] for user in [*USERS, "careless"]}
        return {
            "objects": objects,
            "tables": [(table["Name"], table["StorageDescriptor"]) for table in glue.get_tables(DatabaseName="dmp")["TableList"]],
            "users": users,
            "bucket policy": s3.get_bucket_policy(Bucket=BUCKET)["Policy"],
            "functions": {each["FunctionName"]: each["CodeSha256"] for each in functions.list_functions()["Functions"]},
        }


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    port, folder = next(_ports()), tmp_path_factory.mktemp("hostile")
    endpoint = f"http://127.0.0.1:{port}"
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": ACCOUNT, "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": endpoint,
        "BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "IOT_MTLS_ENABLED": "0", "SFTP_ENABLED": "0",
        "S3_DATA_DIR": str(folder / "s3"), "STATE_DIR": str(folder / "state"), "PYTHONPATH": str(PROJECT), "CALLS": "",
        "ACCESS_KEY": ACCOUNT,
    }  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, str(PROJECT.parent / "emulator.py")], env=environment, stdout=log, stderr=log)
    try:
        for _ in range(300):
            if f"Running on {endpoint}" in (folder / "log").read_text():
                break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        made = Stack(endpoint)
        deploy(made)
        yield made
    finally:
        process.terminate()
        process.wait()


def deploy(stack: Stack) -> None:
    """Deploys template.yaml, with functions that return at once, and creates the principals, a table and its records."""
    s3, cloudformation, iam, glue = (stack.client(name) for name in ("s3", "cloudformation", "iam", "glue"))
    for bucket in ("code", "readers-results"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("index.py", "def handler(event, context):\n    return {'asked': event}\n")
    s3.put_object(Bucket="code", Key="index.zip", Body=code.getvalue())
    text = re.sub(r"CodeUri: functions/\w+", "CodeUri: s3://code/index.zip", (ROOT / "template.yaml").read_text())
    text = text.replace("Runtime: provided.al2023", "Runtime: python3.12").replace("Handler: bootstrap", "Handler: index.handler")
    s3.put_object(Bucket="code", Key="template.yaml", Body=text.encode())
    given = {
        "BucketName": BUCKET, "GlueDatabases": "dmp", "DeployerArns": f"arn:aws:iam::{ACCOUNT}:user/editor", "ScheduleState": "DISABLED",
        "Architecture": "x86_64",
    }  # fmt: skip
    parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()]
    url = f"{stack.endpoint}/code/template.yaml"
    cloudformation.create_stack(StackName=STACK, TemplateURL=url, Parameters=parameters, Capabilities=["CAPABILITY_IAM"])
    while (found := cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"]).endswith("IN_PROGRESS"):
        time.sleep(0.1)
    assert found == "CREATE_COMPLETE", cloudformation.describe_stack_events(StackName=STACK)

    policies = {name: (ROOT / f"infra/policies/{name}.json").read_text() for name in USERS}
    policies["careless"] = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})
    for name, policy in policies.items():
        iam.create_user(UserName=name)
        document = re.sub(rf"\b({'|'.join(NAMES)})\b", lambda match: NAMES[match[0]], policy)
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document)

    location = f"s3://{BUCKET}/schemas/users/blue-{ULID}"
    glue.create_database(DatabaseInput={"Name": "dmp"})
    columns = [{"Name": "id", "Type": "bigint"}]
    glue.create_table(DatabaseName="dmp", TableInput={"Name": "users", "StorageDescriptor": {"Location": location, "Columns": columns}})
    for key in [*RECORDS, f"schemas/users/blue-{ULID}/part-00000.parquet", "datasets.toml", "tls/ca.pem", "_athena/1.csv", "source/1.csv"]:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"{}")


def attacks(stack: Stack) -> dict[str, list[Attack]]:
    """Returns what each principal tries, all of which must be denied."""

    def each(user: str, service: str, operation: str, *requests: dict[str, Any]) -> list[Attack]:
        client = stack.client(service, user)
        return [lambda request=request: getattr(client, operation)(**request) for request in requests]

    def puts(user: str, *keys: str) -> list[Attack]:
        return each(user, "s3", "put_object", *({"Bucket": BUCKET, "Key": key, "Body": b"forged"} for key in keys))

    def unreadable(user: str) -> list[Attack]:
        return each(user, "s3", "put_object", *({"Bucket": BUCKET, "Key": "inbox/partner/bad.csv", "Body": b"x", **how} for how in UNREADABLE))

    def removes(user: str, *keys: str) -> list[Attack]:
        return each(user, "s3", "delete_object", *({"Bucket": BUCKET, "Key": key} for key in keys))

    def invokes(user: str, *functions: str) -> list[Attack]:
        payload = json.dumps({"dataset": "users", "action": "rollback"})
        return each(user, "lambda", "invoke", *({"FunctionName": f"{STACK}-{name}", "Payload": payload} for name in functions))

    def escalates(user: str) -> list[Attack]:
        allow = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
        return [
            *each(user, "iam", "put_user_policy", {"UserName": user, "PolicyName": "own", "PolicyDocument": allow}),
            *each(user, "lambda", "update_function_code", {"FunctionName": f"{STACK}-flip", "S3Bucket": "code", "S3Key": "index.zip"}),
            *each(user, "glue", "delete_table", {"DatabaseName": "dmp", "Name": "users"}),
            *each(user, "glue", "update_table", {"DatabaseName": "dmp", "TableInput": {"Name": "users"}}),
        ]

    live, configuration = f"schemas/users/blue-{ULID}/part-00000.parquet", ("datasets.toml", "tls/ca.pem")
    read = {"Bucket": BUCKET, "Key": "source/1.csv"}
    return {
        "partner": [
            *unreadable("partner"), *puts("partner", *RECORDS, *configuration, live, "inbox/other/1.csv", "inbox/partner/_rejected/1.json"),
            *removes("partner", "inbox/partner/1.csv", live, "datasets.toml"), *each("partner", "s3", "get_object", read),
            *each("partner", "s3", "list_objects_v2", {"Bucket": BUCKET}), *invokes("partner", "export", "flip", "flip:operator"),
            *each("partner", "glue", "get_table", {"DatabaseName": "dmp", "Name": "users"}), *escalates("partner"),
        ],
        "reader": [
            *puts("reader", *RECORDS, *configuration, live, "_athena/1.csv", "source/1.csv", "inbox/partner/1.csv"),
            *removes("reader", live, "schemas/users/_table.json"), *invokes("reader", "export", "flip:operator"),
            *each("reader", "s3", "get_object", read, {"Bucket": BUCKET, "Key": "_archive/inbox/partner/1/1.csv"}), *escalates("reader"),
        ],
        "invoker": [
            *invokes("invoker", "flip", "flip:operator", "optout", "optout:operator", "sweep"), *puts("invoker", *RECORDS, "datasets.toml"), *escalates("invoker"),
            *each("invoker", "lambda", "invoke", {"FunctionName": f"{STACK}-flip", "Qualifier": "operator", "Payload": "{}"}),
        ],
        "operator": [*invokes("operator", "flip", "optout"), *puts("operator", *RECORDS, *configuration), *escalates("operator")],
        "editor": [*puts("editor", *RECORDS, live), *removes("editor", "datasets.toml", live), *invokes("editor", "export"), *escalates("editor")],
        "careless": [
            *unreadable("careless"), *puts("careless", *RECORDS, *configuration, "_athena/1.csv", live),
            *removes("careless", *RECORDS, *configuration), *invokes("careless", "export", "flip:operator"), *escalates("careless"),
        ],
    }  # fmt: skip


def legitimate(stack: Stack) -> dict[str, Attack]:
    """Returns what each principal is for. It must work all the time."""
    number = itertools.count()
    s3, functions = {name: stack.client("s3", name) for name in USERS}, {name: stack.client("lambda", name) for name in USERS}

    def ask(user: str, function: str) -> None:
        functions[user].invoke(FunctionName=f"{STACK}-{function}", Payload="{}")

    return {
        "partner": lambda: s3["partner"].put_object(Bucket=BUCKET, Key=f"inbox/partner/{next(number)}.csv", Body=b"a"),
        "reader": lambda: s3["reader"].get_object(Bucket=BUCKET, Key=f"schemas/users/blue-{ULID}/part-00000.parquet"),
        "editor": lambda: s3["editor"].put_object(Bucket=BUCKET, Key="datasets.toml", Body=b"{}"),
        "invoker": lambda: ask("invoker", "export"),
        "operator": lambda: ask("operator", "flip:operator"),
    }


def web_page(stack: Stack, rng: random.Random) -> int:
    """Sends what a page in a browser on this machine could send, and returns the answer's status."""
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/{REGION}/s3/aws4_request, SignedHeaders=host, Signature=0",
        **rng.choice([{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"},
                      {"Authorization": "AWS4-HMAC-SHA256 Credential=000000000000/20260101/eu-west-1/s3/aws4_request, Signature=0"}]),
    }  # fmt: skip
    connection = http.client.HTTPConnection(urlsplit(stack.endpoint).netloc)
    method, path = rng.choice([("PUT", f"/{BUCKET}/datasets.toml"), ("GET", f"/{BUCKET}/source/1.csv"), ("OPTIONS", "/"), ("DELETE", f"/{BUCKET}/source/1.csv")])
    connection.request(method, path, body=b"forged" if method == "PUT" else None, headers=headers)
    answer = connection.getresponse()
    assert not any(name.lower().startswith("access-control-") for name, _ in answer.getheaders())
    return answer.status


def test_nothing_changes_but_what_each_principal_may_change(stack: Stack) -> None:
    seed = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
    rng, before, tried = random.Random(seed), stack.state(), Counter[str]()
    hostile, allowed = attacks(stack), legitimate(stack)
    # Each attack once in a random order, then random ones until the time is up.
    order = [(user, attack) for user, found in hostile.items() for attack in found]
    rng.shuffle(order)
    end = time.monotonic() + SECONDS
    for at in itertools.count():
        if at >= len(order) and time.monotonic() > end:
            break
        user, attack = order[at] if at < len(order) else rng.choice(order)
        with pytest.raises(ClientError) as refused:
            attack()
        answer = refused.value.response
        assert answer["Error"]["Code"] in ("AccessDenied", "AccessDeniedException"), (seed, user, answer)
        assert f"user/{user} is not authorized to perform: " in answer["Error"]["Message"], (seed, answer)
        tried[user] += 1
        if at % 5 == 0:
            assert web_page(stack, rng) == 403, seed
            tried["web page"] += 1
            name = rng.choice(list(allowed))
            allowed[name]()
            tried[f"{name}, allowed"] += 1
    after = stack.state()
    added = {key: after["objects"].pop(key) for key in after["objects"].keys() - before["objects"].keys()}
    assert all(key.startswith(f"{BUCKET}/inbox/partner/") and key.endswith(".csv") for key in added), (seed, added)
    assert len(added) == tried["partner, allowed"]
    assert after == before, seed
    print(f"seed {seed}: {dict(tried)}")


@pytest.mark.parametrize("statement", ["Records", "KeepRecords", "Configuration", "Answers", "InboxCustomerKeys", "InboxEncryption", "InboxStorageClass"])
def test_without_a_statement_of_the_buckets_policy_an_attack_gets_through(stack: Stack, statement: str) -> None:
    owner = stack.client("s3")
    policy = owner.get_bucket_policy(Bucket=BUCKET)["Policy"]
    kept = [each for each in json.loads(policy)["Statement"] if each["Sid"] != statement]
    owner.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": kept}))
    succeeded = 0
    try:
        for attack in attacks(stack)["careless"]:
            try:
                attack()
                succeeded += 1
            except ClientError as refused:
                assert refused.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403), refused
    finally:
        owner.put_bucket_policy(Bucket=BUCKET, Policy=policy)
        for key in [*RECORDS, "datasets.toml", "tls/ca.pem", "_athena/1.csv"]:
            owner.put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    assert succeeded > 0
