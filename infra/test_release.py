"""Tests the release script without a build for arm64: a stand-in replaces the binaries.

    just template
"""

import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import tomllib
import urllib.request
import zipfile
from pathlib import Path

import boto3
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import release

FUNCTIONS = ["export", "flip", "optout", "sweep"]


def executable(machine: int) -> bytes:
    """Returns the header of an ELF file for a machine, followed by compressible bytes."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, machine) + b"turntable" * 1000


ARM64, X86_64 = executable(183), executable(62)


def test_zip_holds_one_executable_and_does_not_depend_on_the_time(monkeypatch):
    first = release.zipped(ARM64)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2e9))
    assert release.zipped(ARM64) == first
    (entry,) = zipfile.ZipFile(io.BytesIO(first)).infolist()
    assert (entry.filename, entry.date_time) == ("bootstrap", (1980, 1, 1, 0, 0, 0))
    assert oct(entry.external_attr >> 16) == "0o100755" and entry.file_size == len(ARM64) > entry.compress_size


def test_binary_for_another_machine_is_refused():
    with pytest.raises(SystemExit, match="arm64"):
        release.zipped(X86_64)


def test_packaging_changes_only_the_code_of_the_template():
    template = (release.ROOT / "template.yaml").read_text()
    before, after = template.splitlines(), release.packaged(template).splitlines()
    changed = [(old.strip(), new.strip()) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [(f"CodeUri: functions/{name}", f"CodeUri: {name}.zip") for name in FUNCTIONS]


def test_build_remaps_the_paths_of_this_machine():
    flags = release.reproducible({"PATH": "/bin", "CARGO_HOME": "/home/me/.cargo"})["RUSTFLAGS"]
    assert flags == f"--remap-path-prefix=/home/me/.cargo=/cargo --remap-path-prefix={release.ROOT}=/turntable"


def test_panics_unwind_in_every_profile():
    """cargo-lambda sets these four if the release profile does not. With its `panic = "abort"`, no panic would be caught.

    https://github.com/cargo-lambda/cargo-lambda/blob/main/crates/cargo-lambda-metadata/src/cargo/mod.rs
    """
    profiles = tomllib.loads((release.ROOT / "Cargo.toml").read_text())["profile"]
    assert {"strip", "lto", "codegen-units", "panic"} <= profiles["release"].keys()
    assert {profile.get("panic", "unwind") for profile in profiles.values()} == {"unwind"}


@pytest.fixture
def aws():
    """Serves an empty AWS (moto) on a free loopback port and yields its endpoint."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [release.ROOT / ".ci/tool", "lint", "moto_server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    endpoint = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, "moto did not start"
                time.sleep(0.1)
        yield endpoint
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def test_sam_packages_a_downloaded_release(tmp_path, aws):
    """`sam deploy` begins with `sam package`. sha256sum checks the files with the command of docs/deploy.md."""
    for name in FUNCTIONS:
        (tmp_path / f"{name}.zip").write_bytes(release.zipped(ARM64 + name.encode()))
    (tmp_path / "template.yaml").write_text(release.packaged((release.ROOT / "template.yaml").read_text()))
    (tmp_path / "SHA256SUMS").write_text(release.sums(tmp_path))
    subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, check=True)

    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    s3 = boto3.client("s3", endpoint_url=aws, **{name.lower(): value for name, value in keys.items()})
    s3.create_bucket(Bucket="code")
    command = [Path(sys.executable).with_name("sam"), "package", "--template-file", "template.yaml", "--s3-bucket", "code"]
    environment = {**os.environ, **keys, "AWS_ENDPOINT_URL": aws}
    done = subprocess.run([*command, "--use-json"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout
    resources = json.loads(done.stdout[done.stdout.index("{"):])["Resources"]
    for name in FUNCTIONS:
        bucket, key = resources[f"{name.title()}Function"]["Properties"]["CodeUri"].removeprefix("s3://").split("/", 1)
        uploaded = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert uploaded == (tmp_path / f"{name}.zip").read_bytes()
