"""Runs the emulator of infra/local for test_chain.py, as `cargo run -p local -- up` does."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import boto3

LOCAL = Path(__file__).resolve().parents[1] / "local"
REGION = "eu-west-1"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
SECONDS = 180  # How long a step may take, beside other tests.


def until(what, found, explain=lambda: ""):
    """Returns the first true value of `found()`."""
    deadline = time.monotonic() + SECONDS
    while not (value := found()):
        assert time.monotonic() < deadline, f"{what}: not within {SECONDS} s\n{explain()}"
        time.sleep(0.05)
    return value


def guarded(command, environment, log):
    """Starts a command that ends with this process, however this one ends."""
    guard = [sys.executable, LOCAL / "guard.py", "", *command]
    return subprocess.Popen(guard, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log)


def ended(running):
    running.stdin.close()
    running.wait()


@contextlib.contextmanager
def process(folder, name, arguments, **environment):
    """Runs a part of the emulator, and yields a function that returns its log."""
    log = folder / f"{name}.log"
    inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    paths = {"PYTHONPATH": str(LOCAL / "athena"), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder)}
    with log.open("w") as file:
        running = guarded([sys.executable, *arguments], {**inherited, **KEYS, **paths, **environment}, file)

    def text():
        assert running.poll() is None, f"{name} ended:\n{log.read_text()[-3000:]}"
        return log.read_text()

    try:
        yield text
    finally:
        ended(running)
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


def client(service, endpoints):
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    endpoint = endpoints["AWS_ENDPOINT_URL_ATHENA" if service == "athena" else "AWS_ENDPOINT_URL"]
    return boto3.client(service, region_name=REGION, endpoint_url=endpoint, **keys)


def logged(endpoints, function):
    """Returns the end of a function's log."""
    events = client("logs", endpoints).filter_log_events(logGroupName=f"/aws/lambda/{function}")["events"]
    return "\n".join(event["message"] for event in sorted(events, key=lambda event: event["timestamp"])[-20:])
