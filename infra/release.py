"""Builds a release of the commit that is checked out, in dist/:

    NAME.zip         one per function: the executable `bootstrap` for arm64, as `sam build` makes it
    NAME.cdx.json    the function's software bill of materials (CycloneDX)
    template.yaml    the template with the zips as its code, ready for `sam deploy`
    toolchain.txt    the commit and the versions of the tools that built it
    SHA256SUMS       the checksums of all these files

Builds are reproducible: the same commit and toolchain give the same bytes, in any folder and at any time.

    just release
"""

import hashlib
import io
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
BUILD = ROOT / "target/sam"
RUST = "aarch64-unknown-linux-gnu"
# Matches a line of template.yaml. The name of the folder is also the name of the crate and of its binary.
CODE = re.compile(r"^( +CodeUri: )functions/(\w+)$", re.MULTILINE)


def main() -> None:
    if run("git", "status", "--porcelain"):
        raise SystemExit("cannot release uncommitted changes: commit or stash what `git status` lists")
    template = (ROOT / "template.yaml").read_text()
    functions = [name for _, name in CODE.findall(template)]
    environment = reproducible(os.environ)
    build(environment)
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    for name in functions:
        (DIST / f"{name}.zip").write_bytes(zipped((BUILD / f"{name.title()}Function/bootstrap").read_bytes()))
    for name, bill in bills(functions, environment).items():
        (DIST / f"{name}.cdx.json").write_text(bill)
    (DIST / "template.yaml").write_text(packaged(template))
    (DIST / "toolchain.txt").write_text(toolchain(environment))
    (DIST / "SHA256SUMS").write_text(sums(DIST))
    print((DIST / "SHA256SUMS").read_text(), end="")


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """Runs a command and returns its stdout. Its stderr is shown. A failure ends the release."""
    return subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def reproducible(given: dict[str, str]) -> dict[str, str]:
    """Returns the environment in which neither the folder nor the time affects a binary or a bill of materials."""
    cargo = given.get("CARGO_HOME", Path.home() / ".cargo")
    remapped = {cargo: "/cargo", ROOT: "/turntable"}
    flags = " ".join(f"--remap-path-prefix={there}={here}" for there, here in remapped.items())
    committed = run("git", "log", "-1", "--format=%ct")
    tools = Path(sys.executable).parent
    return {**given, "RUSTFLAGS": flags, "SOURCE_DATE_EPOCH": committed, "PATH": f"{tools}{os.pathsep}{given['PATH']}"}


def build(environment: dict[str, str]) -> None:
    """Builds the functions as a deployment from a clone does. SAM has no `--locked`, so cargo checks the lock file first."""
    run("cargo", "fetch", "--locked", "--target", RUST, env=environment)
    run("sam", "build", "--template", "template.yaml", "--build-dir", str(BUILD), env=environment)


def bills(functions: list[str], environment: dict[str, str]) -> dict[str, str]:
    """Returns each function's bill of materials as JSON. cargo-cyclonedx writes into every crate, so it runs in a copy."""
    with tempfile.TemporaryDirectory() as copy:
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
        tarfile.open(fileobj=io.BytesIO(archive)).extractall(copy, filter="data")
        subprocess.run(
            ["cargo", "cyclonedx", "--format", "json", "--spec-version", "1.5", "--target", RUST, "--no-build-deps",
             "--override-filename", "bill", "--quiet"],
            cwd=copy, env=environment, check=True,
        )
        there = {name: Path(copy) / f"functions/{name}/bill.json" for name in functions}
        return {name: bill.read_text().replace(copy, "/turntable") for name, bill in there.items()}


def zipped(binary: bytes) -> bytes:
    """Returns the zip for Lambda: the executable `bootstrap` with a fixed timestamp."""
    if binary[:4] != b"\x7fELF" or struct.unpack_from("<H", binary, 18) != (183,):
        raise SystemExit("bootstrap is not an executable for arm64: check the default of Architecture in template.yaml")
    entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # Unix, so that the mode applies.
    entry.external_attr = 0o100755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(entry, binary, compresslevel=9)
    return file.getvalue()


def packaged(template: str) -> str:
    """Returns the template with the zips beside it as its code. No other byte changes."""
    return CODE.sub(r"\1\2.zip", template)


def toolchain(environment: dict[str, str]) -> str:
    """Returns the versions that determine the bytes: compilers and zlib."""
    commit = run("git", "rev-parse", "HEAD")
    zig = run(sys.executable, "-m", "ziglang", "version")
    rust = run("rustc", "--version", env=environment)
    lambdas = run("cargo", "lambda", "--version", env=environment)
    return f"commit {commit}\n{rust}\n{lambdas}\nzig {zig}\nzlib {zlib.ZLIB_RUNTIME_VERSION}\n"


def sums(folder: Path) -> str:
    """Returns the files' checksums in the format of `sha256sum --check`."""
    names = sorted(path.name for path in folder.iterdir() if path.name != "SHA256SUMS")
    return "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)


if __name__ == "__main__":
    main()
