"""Runs a throw-away MariaDB for test_chain.py: the distribution's, or the one that the Rust tests have unpacked (tests/src/mariadb.rs)."""

import contextlib
import os
import socket
import subprocess
from pathlib import Path

from emulated import ended, guarded, until

LOCAL = "127.0.0.1"


def base(target):
    """Returns the folder of MariaDB's programs, or None if there is none, or it is being unpacked."""
    installed, unpacked = Path("/usr"), target / "tools/mariadb"
    if (installed / "sbin/mariadbd").exists() and any(installed.glob("share/mysql/m*_system_tables.sql")):
        return installed
    return unpacked / "usr" if (unpacked / "ready").exists() else None


def lines(sql):
    """Returns statements one per line, as an init file needs them."""
    code = "\n".join(line for line in sql.splitlines() if not line.startswith("--"))
    return "".join(f"{' '.join(statement.split())};\n" for statement in code.split(";") if statement.strip())


@contextlib.contextmanager
def server(folder, programs, sql):
    """Runs a server, which first executes these statements in the database `shop`, and yields its port."""
    (folder / "data/mysql").mkdir(parents=True)
    (folder / "tmp").mkdir()
    share = programs / "share/mysql"
    tables, data = (next(share.glob(f"m*_system_tables{name}.sql")).read_text() for name in ("", "_data"))
    data = "\n".join(line for line in data.splitlines() if "@current_hostname" not in line)
    (folder / "init.sql").write_text(f"CREATE DATABASE shop CHARACTER SET utf8mb4;\nUSE shop;\n{lines(sql)}")
    libraries = [str(path) for below in ("lib", "usr/lib") for path in (programs.parent / below).glob("*-linux-gnu")]
    environment = os.environ | {"LD_LIBRARY_PATH": ":".join(libraries)} if programs != Path("/usr") else None
    command = [programs / "sbin/mariadbd", "--no-defaults", f"--datadir={folder}/data", f"--basedir={programs}", f"--tmpdir={folder}/tmp"]
    command += [f"--lc-messages-dir={share}", f"--character-sets-dir={share}/charsets", "--skip-innodb-use-native-aio", "--user=root"]
    bootstrap = f"use mysql;\n{tables}\n{data}\n"
    subprocess.run([*command, "--bootstrap"], env=environment, input=bootstrap, text=True, check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        port = probe.getsockname()[1]
    command += [f"--bind-address={LOCAL}", f"--port={port}", f"--socket={folder}/socket", f"--pid-file={folder}/pid"]
    command += [f"--init-file={folder}/init.sql", "--skip-name-resolve", "--skip-log-bin", "--skip-ssl"]
    with (folder / "log").open("w") as log:
        running = guarded(command, environment, log)
    try:
        until("MariaDB", lambda: "ready for connections" in (folder / "log").read_text())
        yield port
    finally:
        ended(running)
