"""Runs the database tests on other versions than the installed ones: `just databases`, or with a name, `just databases mysql-9`.

PostgreSQL 18 comes from the wheel that the tests install themselves. MariaDB 11.8 and MySQL 9 come from newer releases of Debian, by the
mirror that apt is configured with. They are unpacked with all their libraries under target/tools, and not installed. Where apt knows no
Debian mirror, they are skipped, with the reason.
"""

import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "tools"
KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# Of each server: Debian's release, the packages, and the programs in them.
SERVERS = {
    "mariadb-11.8": ("trixie", ["mariadb-server-core", "mariadb-client-core", "mariadb-server"], ["sbin/mariadbd", "bin/mariadb"]),
    "mysql-9": ("sid", ["mysql-server-core", "mysql-client-core"], ["sbin/mysqld", "bin/mysql"]),
}


class Missing(Exception):
    """Why a server can't be had here."""


def mirror() -> str:
    """Returns the address of the Debian mirror that apt is configured with."""
    if not KEYRING.exists() or not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Missing("this is not Debian")
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for line in targets.stdout.splitlines():
        origin, _, uri = line.rpartition(" ")
        if origin in ("", "Debian") and uri.rstrip("/").endswith("/debian"):
            return uri
    raise Missing("apt has no mirror of Debian, or no package lists: run apt-get update")


def apt(folder: pathlib.Path, *words: str) -> None:
    """Runs apt-get with its own lists and as if nothing were installed, so that it fetches every library too."""
    options = {
        "Dir::Etc::SourceList": folder / "sources.list", "Dir::Etc::SourceParts": "/dev/null", "Dir::State::Lists": folder / "lists",
        "Dir::State::status": folder / "status", "Dir::Cache": folder / "cache", "Dir::Cache::archives": folder / "archives",
        "Debug::NoLocking": 1, "APT::Sandbox::User": "root",
    }  # fmt: skip
    command = ["apt-get", "-q", "-y", *(f"-o{name}={value}" for name, value in options.items()), *words]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        raise Missing(f"apt-get {words[0]} failed: {ran.stderr.strip()[-500:]}")


def unpacked(name: str) -> pathlib.Path:
    """Returns the folder with the server: sbin/, bin/, share/mysql and lib/mysql/plugin."""
    release, packages, programs = SERVERS[name]
    folder = TOOLS / name
    if (folder / "ready").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    apt_folder = folder / "apt"
    for path in ("lists/partial", "cache", "archives/partial"):
        (apt_folder / path).mkdir(parents=True)
    (apt_folder / "status").touch()
    (apt_folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {release} main\n")
    print(f"unpacking {name} of Debian's {release} into {folder}", flush=True)
    apt(apt_folder, "update")
    apt(apt_folder, "install", "--no-install-recommends", "--download-only", *packages)
    root = folder / "root"
    for package in sorted((apt_folder / "archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    shutil.rmtree(apt_folder)
    loader = next(path for path in root.rglob("ld-linux-*.so.*"))
    libraries = sorted({str(path) for path in (loader.parent, *root.glob("usr/lib/*-linux-gnu"))})
    for program in programs:
        wrapper = folder / program
        wrapper.parent.mkdir(exist_ok=True)
        # The program gets its own loader and C library, because this system's may be older.
        wrapper.write_text(f"#!/bin/sh\nexec {loader} --library-path {':'.join(libraries)} {root}/usr/{program} \"$@\"\n")
        wrapper.chmod(0o755)
    (folder / "share").mkdir()
    shared = next(path for path in (root / "usr/share/mysql", root / "usr/share/mariadb") if (path / "charsets").is_dir())
    (folder / "share/mysql").symlink_to(shared)
    (folder / "lib/mysql").mkdir(parents=True)
    plugins = next(path for path in (root / "usr/lib/mysql/plugin", root / "usr/lib/mariadb/plugin") if path.is_dir())
    (folder / "lib/mysql/plugin").symlink_to(plugins)
    (folder / "ready").touch()
    return folder


def test(variable: str, value: str, *filters: str) -> bool:
    command = ["cargo", "test", "--workspace", "--test", "it", "--", "--skip", "chain::", *filters]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, variable: value}).returncode == 0


def main() -> None:
    wanted = sys.argv[1:] or ["postgresql-18", "mariadb-11.8"]
    failed = []
    for name in wanted:
        print(f"== {name}", flush=True)
        try:
            if name == "postgresql-18":
                passed = test("TURNTABLE_POSTGRES", "wheel", "postgres::")
            else:
                passed = test("TURNTABLE_MARIADB", str(unpacked(name)), "mysql::")
        except Missing as why:
            print(f"{name}: skipped: {why}")
            continue
        if not passed:
            failed.append(name)
    if failed:
        sys.exit(f"failed on {', '.join(failed)}")


if __name__ == "__main__":
    main()
