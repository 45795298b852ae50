"""Tests what ../../emulator.py changes in MiniStack, in a separate process, because it patches the modules."""

from __future__ import annotations

import subprocess
import sys

from conftest import PROJECT

RACE = """
import json, sys, threading
import emulator
from ministack.services import glue

sys.setswitchinterval(1e-6)  # Makes threads take turns within a handler.

def call(action, **request):
    headers = {"x-amz-target": f"AWSGlue.{action}"}
    return glue._handle_request_sync("POST", "/", headers, json.dumps(request).encode(), {})[0]

call("CreateDatabase", DatabaseInput={"Name": "dmp"})
for n in range(400):
    call("CreateTable", DatabaseName="dmp", TableInput={"Name": f"t{n}"})
    start, statuses = threading.Barrier(8), []
    def update():
        start.wait()
        statuses.append(call("UpdateTable", DatabaseName="dmp", VersionId="1", TableInput={"Name": f"t{n}"}))
    threads = [threading.Thread(target=update) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert statuses.count(200) == 1, statuses
"""


def test_one_of_several_updates_of_a_version_succeeds() -> None:
    path = f"import sys; sys.path[:0] = [{str(PROJECT.parent)!r}, {str(PROJECT)!r}]\n"
    run = subprocess.run([sys.executable, "-c", path + RACE], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
