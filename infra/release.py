"""Builds a release of the commit that is checked out, in dist/. On Linux:

    NAME-ARCH.zip                one per function and architecture (arm64, x86_64): the executable `bootstrap`, as `sam build` makes it
    template-ARCH.yaml           the template with these zips as its code, ready for `sam deploy`
    turntable-TARGET.tar.gz      the program `turntable`, without the emulator
    turntable_athena-….whl       the same program as a wheel
    NAME-ARCH.cdx.json, turntable-TARGET.cdx.json     their software bills of materials (CycloneDX)
    toolchain-Linux.txt          the commit and the versions of the tools that built it
    SHA256SUMS                   the checksums of all these files

On macOS, or on Linux if SDKROOT is the folder of Apple's SDK: the program for macOS, its wheels and its bills. zig has no stubs of the
frameworks that the program asks for the system's certificates, so nothing else can link it.

Builds are reproducible: the same commit and toolchain give the same bytes, in any folder and at any time.

    just release
"""

import gzip
import hashlib
import io
import os
import platform
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
# Lambda's name of an architecture → Rust's.
ARCHITECTURES = {"arm64": "aarch64-unknown-linux-gnu", "x86_64": "x86_64-unknown-linux-gnu"}
LINUX = list(ARCHITECTURES.values())
MACOS = ["aarch64-apple-darwin", "x86_64-apple-darwin"]
# The newest glibc that a function may need: that of Amazon Linux 2023.
GLIBC = (2, 34)
# The glibc that the program needs at most: that of every distribution since 2014. A wheel's tag says it.
MANYLINUX = "manylinux_2_17"
# How maturin links for another machine than this one.
ZIG = ["--zig"]
# Matches a line of template.yaml. The name of the folder is also the name of the crate and of its binary.
CODE = re.compile(r"^( +CodeUri: )functions/(\w+)$", re.MULTILINE)
# Matches the default and the values of the parameter Architecture.
ARCHITECTURE = re.compile(r"(?<=\n    Default: )arm64(\n    AllowedValues: )\[arm64, x86_64\]")


def main() -> None:
    if run("git", "status", "--porcelain"):
        raise SystemExit("cannot release uncommitted changes: commit or stash what `git status` lists")
    environment = reproducible(os.environ)
    targets = programs(platform.system(), environment)
    files = {f"toolchain-{platform.system()}.txt": toolchain(environment).encode()}
    if platform.system() == "Linux":
        files |= stack(environment)
    for target in targets:
        files |= program(target, environment)
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    for name, content in files.items():
        (DIST / name).write_bytes(content)
    (DIST / "SHA256SUMS").write_text(sums(DIST))
    print((DIST / "SHA256SUMS").read_text(), end="")


def programs(system: str, environment: dict[str, str]) -> list[str]:
    """Returns the targets for which this machine can build the program `turntable`."""
    if system == "Darwin":
        return MACOS
    if "SDKROOT" in environment:
        return LINUX + MACOS
    print("leaving out the program for macOS: SDKROOT isn't set to the folder of Apple's SDK", file=sys.stderr)
    return LINUX


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


def stack(environment: dict[str, str]) -> dict[str, bytes]:
    """Builds the functions for each architecture. Returns their zips, bills and templates by name."""
    template = (ROOT / "template.yaml").read_text()
    functions = [name for _, name in CODE.findall(template)]
    files = {}
    for architecture, target in ARCHITECTURES.items():
        folder = build(architecture, target, environment)
        for name in functions:
            binary = (folder / f"{name.title()}Function/bootstrap").read_bytes()
            files[f"{name}-{architecture}.zip"] = zipped(binary, target)
        for name, bill in bills({name: f"functions/{name}" for name in functions}, target, environment).items():
            files[f"{name}-{architecture}.cdx.json"] = bill
        files[f"template-{architecture}.yaml"] = packaged(template, architecture).encode()
    return files


def build(architecture: str, target: str, environment: dict[str, str]) -> Path:
    """Builds the functions as a deployment from a clone does, and returns their folder.

    SAM has no `--locked`, so cargo checks the lock file first.
    """
    folder = BUILD / architecture
    run("cargo", "fetch", "--locked", "--target", target, env=environment)
    run(
        "sam", "build", "--template", "template.yaml", "--build-dir", str(folder),
        "--parameter-overrides", f"Architecture={architecture}", env=environment,
    )  # fmt: skip
    return folder


def bills(crates: dict[str, str], target: str, environment: dict[str, str]) -> dict[str, bytes]:
    """Returns the bill of materials of each crate, given by name and folder. cargo-cyclonedx writes into every crate, so it runs in a copy."""
    with tempfile.TemporaryDirectory() as copy:
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
        tarfile.open(fileobj=io.BytesIO(archive)).extractall(copy, filter="data")
        subprocess.run(
            ["cargo", "cyclonedx", "--format", "json", "--spec-version", "1.5", "--target", target, "--no-build-deps",
             "--no-default-features", "--override-filename", "bill", "--quiet"],
            cwd=copy, env=environment, check=True,
        )  # fmt: skip
        there = {name: Path(copy) / folder / "bill.json" for name, folder in crates.items()}
        return {name: bill.read_text().replace(copy, "/turntable").encode() for name, bill in there.items()}


def program(target: str, environment: dict[str, str]) -> dict[str, bytes]:
    """Builds the program `turntable` for a target. Returns its wheel, its archive and its bill by name."""
    name = f"turntable-{target}"
    with tempfile.TemporaryDirectory() as scratch:
        bill = Path(scratch) / f"{name}.cdx.json"
        bill.write_bytes(bills({name: "infra/cli"}, target, environment)[name])
        made = wheel(target, bill, Path(scratch), environment)
        return {made.name: made.read_bytes(), f"{name}.tar.gz": archived(made, target), bill.name: bill.read_bytes()}


def wheel(target: str, bill: Path, folder: Path, environment: dict[str, str]) -> Path:
    """Builds the program's wheel in a folder. For Linux, zig links it with an old glibc."""
    linker = ZIG if platform.system() == "Linux" else []
    oldest = ["--compatibility", MANYLINUX] if target in LINUX else []
    run(
        "maturin", "build", "--release", "--manifest-path", "infra/cli/Cargo.toml", "--target", target, *linker, *oldest,
        "--sbom-include", str(bill), "--out", str(folder), env=environment,
    )  # fmt: skip
    (made,) = folder.glob("*.whl")
    return made


def archived(wheel: Path, target: str) -> bytes:
    """Returns the program of a wheel as an archive, in which cargo-binstall finds it."""
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = [name for name in archive.namelist() if name.endswith(".data/scripts/turntable")]
        binary = archive.read(entry)
    check(binary, target)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, mode, content in [("turntable", 0o755, binary), ("LICENSE", 0o644, (ROOT / "LICENSE").read_bytes())]:
            entry = tarfile.TarInfo(f"turntable-{target}/{name}")
            entry.mode, entry.size = mode, len(content)
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(file.getvalue(), 9, mtime=0)


def check(binary: bytes, target: str) -> None:
    """Refuses a binary for another target."""
    if binary[:4] == b"\x7fELF":
        found = {183: LINUX[0], 62: LINUX[1]}.get(struct.unpack_from("<H", binary, 18)[0])
    elif binary[:4] == b"\xcf\xfa\xed\xfe":
        found = {0x100000C: MACOS[0], 0x1000007: MACOS[1]}.get(struct.unpack_from("<I", binary, 4)[0])
    else:
        found = None
    if found != target:
        raise SystemExit(f"the binary is for {found or 'an unknown machine'}, not for {target}: check the tools' settings")


def zipped(binary: bytes, target: str) -> bytes:
    """Returns the zip for Lambda: the executable `bootstrap` with a fixed timestamp."""
    check(binary, target)
    needed = max((tuple(map(int, version.split(b"."))) for version in re.findall(rb"\0GLIBC_(\d+\.\d+)", binary)), default=(0, 0))
    if needed > GLIBC:
        raise SystemExit(f"bootstrap needs glibc {'.'.join(map(str, needed))}, which Lambda doesn't have: link it with zig")
    entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # Unix, so that the mode applies.
    entry.external_attr = 0o100755 << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(entry, binary, compresslevel=9)
    return file.getvalue()


def packaged(template: str, architecture: str) -> str:
    """Returns the template with the zips beside it as its code, and with their architecture. No other byte changes."""
    return ARCHITECTURE.sub(rf"{architecture}\1[{architecture}]", CODE.sub(rf"\1\2-{architecture}.zip", template))


def toolchain(environment: dict[str, str]) -> str:
    """Returns the versions that determine the bytes: compilers, packagers and zlib."""
    commit = run("git", "rev-parse", "HEAD")
    zig = run(sys.executable, "-m", "ziglang", "version")
    rust = run("rustc", "--version", env=environment)
    lambdas = run("cargo", "lambda", "--version", env=environment)
    maturin = run("maturin", "--version", env=environment)
    return f"commit {commit}\n{rust}\n{lambdas}\nzig {zig}\n{maturin}\nzlib {zlib.ZLIB_RUNTIME_VERSION}\n"


def sums(folder: Path) -> str:
    """Returns the files' checksums in the format of `sha256sum --check`."""
    names = sorted(path.name for path in folder.iterdir() if path.name != "SHA256SUMS")
    return "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)


if __name__ == "__main__":
    main()
