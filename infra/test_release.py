"""Tests the release script without a compiler: stand-ins replace the binaries, and Cargo where maturin asks it to build.

    just template
"""

import base64
import csv
import hashlib
import io
import json
import os
import platform
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import time
import tomllib
import urllib.request
import zipfile
from pathlib import Path

import boto3
import pytest
from samcli.yamlhelper import yaml_parse

sys.path.insert(0, str(Path(__file__).parent))
import release

FUNCTIONS = ["export", "flip", "optout", "sweep"]


def elf(machine: int) -> bytes:
    """Returns an ELF file for a machine: a header that linkers and maturin accept, followed by compressible bytes."""
    header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 0, 0, 0, 64, 56, 0, 64, 0, 0)
    return b"\x7fELF\x02\x01\x01" + bytes(9) + header + b"turntable" * 1000


def mach_o(machine: int) -> bytes:
    """Returns a Mach-O file for a machine."""
    return struct.pack("<8I", 0xFEEDFACF, machine, 0, 2, 0, 0, 0, 0) + b"turntable" * 1000


ARM64, X86_64 = release.LINUX
BINARIES = {ARM64: elf(183), X86_64: elf(62), **dict(zip(release.MACOS, [mach_o(0x100000C), mach_o(0x1000007)]))}


def test_zip_holds_one_executable_and_does_not_depend_on_the_time(monkeypatch):
    first = release.zipped(BINARIES[ARM64], ARM64)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2e9))
    assert release.zipped(BINARIES[ARM64], ARM64) == first
    (entry,) = zipfile.ZipFile(io.BytesIO(first)).infolist()
    assert (entry.filename, entry.date_time) == ("bootstrap", (1980, 1, 1, 0, 0, 0))
    assert oct(entry.external_attr >> 16) == "0o100755" and entry.file_size == len(BINARIES[ARM64]) > entry.compress_size


@pytest.mark.parametrize("binary", [*BINARIES.values(), b"#!/bin/sh\n"], ids=[*BINARIES, "script"])
@pytest.mark.parametrize("target", BINARIES)
def test_binary_for_another_machine_is_refused(target, binary):
    if binary == BINARIES[target]:
        release.check(binary, target)
    else:
        with pytest.raises(SystemExit, match=f"not for {target}"):
            release.check(binary, target)


def test_function_that_needs_a_newer_glibc_than_lambda_has_is_refused():
    symbols = b"\0GLIBC_2.2.5\0GLIBC_2.%d\0GLIBC_2.4\0"
    release.zipped(BINARIES[X86_64] + symbols % 34, X86_64)
    with pytest.raises(SystemExit, match=r"needs glibc 2\.38"):
        release.zipped(BINARIES[X86_64] + symbols % 38, X86_64)


@pytest.mark.parametrize("architecture", release.ARCHITECTURES)
def test_packaging_changes_only_the_code_of_the_template_and_its_architecture(architecture):
    template = (release.ROOT / "template.yaml").read_text()
    before, after = template.splitlines(), release.packaged(template, architecture).splitlines()
    changed = [(old.strip(), new.strip()) for old, new in zip(before, after, strict=True) if old != new]
    only = [("AllowedValues: [arm64, x86_64]", f"AllowedValues: [{architecture}]")]
    if architecture != "arm64":
        only.insert(0, ("Default: arm64", f"Default: {architecture}"))
    assert changed == only + [(f"CodeUri: functions/{name}", f"CodeUri: {name}-{architecture}.zip") for name in FUNCTIONS]
    parameter = yaml_parse("\n".join(after))["Parameters"]["Architecture"]
    assert (parameter["Default"], parameter["AllowedValues"]) == (architecture, [architecture])


def test_macos_needs_a_mac_or_its_sdk(capsys):
    assert release.programs("Darwin", {}) == release.MACOS
    assert release.programs("Linux", {"SDKROOT": "/sdk"}) == release.LINUX + release.MACOS and not capsys.readouterr().err
    assert release.programs("Linux", {}) == release.LINUX and "leaving out the program for macOS" in capsys.readouterr().err


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


@pytest.mark.parametrize("architecture", release.ARCHITECTURES)
def test_sam_packages_a_downloaded_release(tmp_path, aws, architecture):
    """`sam deploy` begins with `sam package`. sha256sum checks the files with the command of docs/deploy.md."""
    target = release.ARCHITECTURES[architecture]
    template, zips = f"template-{architecture}.yaml", {name: f"{name}-{architecture}.zip" for name in FUNCTIONS}
    for name, file in zips.items():
        (tmp_path / file).write_bytes(release.zipped(BINARIES[target] + name.encode(), target))
    (tmp_path / template).write_text(release.packaged((release.ROOT / "template.yaml").read_text(), architecture))
    (tmp_path / "SHA256SUMS").write_text(release.sums(tmp_path))
    subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, check=True)

    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    s3 = boto3.client("s3", endpoint_url=aws, **{name.lower(): value for name, value in keys.items()})
    s3.create_bucket(Bucket="code")
    command = [Path(sys.executable).with_name("sam"), "package", "--template-file", template, "--s3-bucket", "code"]
    environment = {**os.environ, **keys, "AWS_ENDPOINT_URL": aws}
    done = subprocess.run([*command, "--use-json"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout
    resources = json.loads(done.stdout[done.stdout.index("{"):])["Resources"]
    for name, file in zips.items():
        bucket, key = resources[f"{name.title()}Function"]["Properties"]["CodeUri"].removeprefix("s3://").split("/", 1)
        uploaded = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert uploaded == (tmp_path / file).read_bytes()


# Runs `cargo`, except that it builds nothing: it answers maturin that the program is the file $BINARY.
CARGO = """#!%s
import json, os, subprocess, sys
cargo, arguments = %r, sys.argv[1:]
if arguments[0] != "rustc":
    os.execv(cargo, [cargo, *arguments])
open(os.environ["ARGUMENTS"], "w").write(json.dumps(arguments))
listed = subprocess.run([cargo, "metadata", "--format-version", "1", "--no-deps"], stdout=subprocess.PIPE, check=True).stdout
(package,) = [package for package in json.loads(listed)["packages"] if package["name"] == "cli"]
(target,) = [target for target in package["targets"] if target["kind"] == ["bin"]]
profile = dict(opt_level="z", debuginfo=0, debug_assertions=False, overflow_checks=False, test=False)
binary = os.environ["BINARY"]
print(json.dumps(dict(reason="compiler-artifact", package_id=package["id"], manifest_path=package["manifest_path"], target=target,
                      profile=profile, features=[], filenames=[binary], executable=binary, fresh=True)))
print(json.dumps(dict(reason="build-finished", success=True)))
"""


def make_wheel(target: str, folder: Path, out: Path) -> tuple[Path, list[str]]:
    """Makes the wheel for a target as a release does, except for zig and the compiler. Returns it and what Cargo was asked."""
    (folder / "turntable").write_bytes(BINARIES[target])
    (folder / "turntable").chmod(0o755)
    (folder / "cargo").write_text(CARGO % (sys.executable, shutil.which("cargo")))
    (folder / "cargo").chmod(0o755)
    bill = folder / f"turntable-{target}.cdx.json"
    bill.write_text('{"bomFormat": "CycloneDX"}')
    environment = release.reproducible(os.environ)
    stand_in = {"BINARY": str(folder / "turntable"), "ARGUMENTS": str(folder / "arguments")}
    environment |= {**stand_in, "PATH": f"{folder}{os.pathsep}{environment['PATH']}", "SOURCE_DATE_EPOCH": "1767225600"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(release, "ZIG", [])
        return release.wheel(target, bill, out, environment), json.loads((folder / "arguments").read_text())


@pytest.fixture(scope="session", params=BINARIES)
def made(request, tmp_path_factory):
    """Returns the wheel for a target, the target, and what Cargo was asked."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel, arguments = make_wheel(request.param, folder, folder)
    return wheel, request.param, arguments


def follow(page: str, folder: Path, environment: dict[str, str], until: str) -> list[str]:
    """Runs the commands of a page in a folder, up to a heading, except those that ask GitHub. Returns what they print."""
    text = (release.ROOT / page).read_text()
    commands = re.findall("^    (.+)$", text[: text.index(f"\n## {until}\n")], re.MULTILINE)
    script = "\n".join(command for command in commands if not command.startswith("gh "))
    ran = subprocess.run(["bash", "-e", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout.splitlines()


def version() -> str:
    return tomllib.loads((release.ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def test_wheel_is_tagged_with_the_oldest_system_that_it_runs_on(made):
    wheel, target, _ = made
    tags = {
        ARM64: "manylinux2014_aarch64.manylinux_2_17_aarch64",
        X86_64: "manylinux2014_x86_64.manylinux_2_17_x86_64",
        release.MACOS[0]: "macosx_11_0_arm64",
        release.MACOS[1]: "macosx_10_12_x86_64",
    }
    assert wheel.name == f"turntable_athena-{version()}-py3-none-{tags[target]}.whl"
    with zipfile.ZipFile(wheel) as archive:
        written = archive.read(f"turntable_athena-{version()}.dist-info/WHEEL").decode()
    assert re.findall("^Tag: (.+)$", written, re.MULTILINE) == [f"py3-none-{tag}" for tag in tags[target].split(".")]


def test_wheel_carries_the_program_its_licence_and_its_bill_and_nothing_else(made):
    wheel, target, arguments = made
    assert "--no-default-features" in arguments and "--locked" in arguments and arguments[arguments.index("--target") + 1] == target
    about, program = f"turntable_athena-{version()}.dist-info", f"turntable_athena-{version()}.data/scripts/turntable"
    with zipfile.ZipFile(wheel) as archive:
        files = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        assert archive.getinfo(program).external_attr >> 16 & 0o777 == 0o755
        assert {entry.date_time for entry in archive.infolist()} == {(2026, 1, 1, 0, 0, 0)}
    there = ["METADATA", "RECORD", "WHEEL", "licenses/LICENSE", f"sboms/turntable-{target}.cdx.json"]
    assert sorted(files) == [program, *(f"{about}/{name}" for name in there)]
    assert files[program] == BINARIES[target] and files[f"{about}/licenses/LICENSE"] == (release.ROOT / "LICENSE").read_bytes()
    assert str(release.ROOT).encode() not in b"".join(files.values())

    metadata = dict(line.split(": ", 1) for line in files[f"{about}/METADATA"].decode().split("\n\n")[0].splitlines())
    assert (metadata["Name"], metadata["Version"]) == ("turntable-athena", version())
    assert (metadata["License-Expression"], metadata["Requires-Python"]) == ("Apache-2.0", ">=3.8") and "Requires-Dist" not in metadata

    record = {row[0]: row[1:] for row in csv.reader(files[f"{about}/RECORD"].decode().splitlines())}
    assert record.keys() == files.keys() and record.pop(f"{about}/RECORD") == ["", ""]
    for name, (digest, size) in record.items():
        hashed = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).decode().rstrip("=")
        assert (digest, size) == (f"sha256={hashed}", str(len(files[name])))
    # A wheel costs little more than its program, compressed.
    assert wheel.stat().st_size < 20_000


def test_archive_holds_the_program_of_the_wheel_where_cargo_binstall_looks(made):
    wheel, target, _ = made
    first = release.archived(wheel, target)
    assert release.archived(wheel, target) == first and first[4:8] == bytes(4)  # gzip's time
    manifest = tomllib.loads((release.ROOT / "infra/cli/Cargo.toml").read_text())
    given = {"target": target, "version": version(), "bin": "turntable", "binary-ext": "", "repo": "REPOSITORY"}

    def filled(template):
        return re.sub(r"\{ ([\w-]+) \}", lambda found: given[found[1]], template)

    found = manifest["package"]["metadata"]["binstall"]
    assert filled(found["pkg-url"]) == f"REPOSITORY/releases/download/v{version()}/turntable-{target}.tar.gz" and found["pkg-fmt"] == "tgz"
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        assert archive.getnames() == [filled(found["bin-dir"]), f"turntable-{target}/LICENSE"]
        entry = archive.getmember(filled(found["bin-dir"]))
        assert (entry.mode, entry.mtime, entry.uid, entry.uname) == (0o755, 0, 0, "")
        assert archive.extractfile(entry).read() == BINARIES[target]


def test_commands_of_the_page_install_the_program(tmp_path, monkeypatch):
    """The program is a stand-in for x86-64: a shell script with the header of an executable would not run, so a compiler makes it."""
    (tmp_path / "main.c").write_text('#include <stdio.h>\nint main(void) { return puts("turntable 1.2.3") < 0; }\n')
    compiler = ["cc", "-static", "-o", tmp_path / "turntable", tmp_path / "main.c"]
    if platform.machine() != "x86_64" or subprocess.run(compiler).returncode:
        pytest.skip("the page's commands are for x86-64, and the stand-in needs a C library to link statically")
    monkeypatch.setitem(BINARIES, X86_64, (tmp_path / "turntable").read_bytes())
    folder = tmp_path / "release"
    folder.mkdir()
    wheel, _ = make_wheel(X86_64, tmp_path, folder)
    (folder / f"turntable-{X86_64}.tar.gz").write_bytes(release.archived(wheel, X86_64))
    (folder / "export-arm64.zip").write_bytes(b"not downloaded")
    (folder / "SHA256SUMS").write_text(release.sums(folder))
    (folder / "export-arm64.zip").unlink()
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    printed = follow("docs/install.md", folder, environment, until="cargo-binstall")
    assert printed[:3] == [f"turntable-{X86_64}.tar.gz: OK", f"{wheel.name}: OK", "turntable 1.2.3"] and printed[-1] == "turntable 1.2.3"
    assert f"Successfully installed turntable-athena-{version()}" in printed


def test_files_of_a_release_are_those_that_its_workflow_signs(made, monkeypatch):
    """Each bill is attested for the file of the same name."""
    wheel, target, _ = made
    monkeypatch.setattr(release, "wheel", lambda *_: wheel)
    monkeypatch.setattr(release, "bills", lambda crates, *_: dict.fromkeys(crates, b"{}"))
    files = release.program(target, {})
    assert sorted(files) == sorted([wheel.name, f"turntable-{target}.tar.gz", f"turntable-{target}.cdx.json"])
    jobs = yaml_parse((release.ROOT / ".github/workflows/release.yaml").read_text())["jobs"]
    attested = set(jobs["sbom"]["strategy"]["matrix"]["name"])
    assert f"turntable-{target}" in attested
    assert attested == {f"turntable-{target}" for target in BINARIES} | {
        f"{name}-{architecture}" for name in FUNCTIONS for architecture in release.ARCHITECTURES
    }


def test_stack_has_a_zip_a_bill_and_a_template_for_each_architecture(tmp_path, monkeypatch):
    def built(architecture, target, _):
        for name in FUNCTIONS:
            folder = tmp_path / architecture / f"{name.title()}Function"
            folder.mkdir(parents=True)
            (folder / "bootstrap").write_bytes(BINARIES[target])
        return tmp_path / architecture

    monkeypatch.setattr(release, "build", built)
    monkeypatch.setattr(release, "bills", lambda crates, *_: dict.fromkeys(crates, b"{}"))
    names = [f"{name}-{architecture}.{end}" for architecture in release.ARCHITECTURES for name in FUNCTIONS for end in ["zip", "cdx.json"]]
    assert sorted(release.stack({})) == sorted(names + [f"template-{architecture}.yaml" for architecture in release.ARCHITECTURES])
