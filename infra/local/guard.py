"""Runs a command as long as standard input stays open, then ends it and every process that it started.

    python guard.py FOLDER COMMAND…

The starter holds the other end of that pipe, so no process outlives the starter, however it ends: by a return, a panic,
a signal or kill -9. FOLDER, unless empty, is removed last. The command runs in a separate session: a Ctrl-C in the
terminal reaches only the starter, which closes the pipe.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading

folder, command = sys.argv[1], sys.argv[2:]
child = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def end_with_starter():
    while os.read(0, 4096):
        pass
    end_group()


def end_group():
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


threading.Thread(target=end_with_starter, daemon=True).start()
code = child.wait()
end_group()  # Ends processes that the command left behind when it ended by itself.
if folder:
    shutil.rmtree(folder, ignore_errors=True)
os._exit(code if code >= 0 else 128 - code)
