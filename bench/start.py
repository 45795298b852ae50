"""Measures zip sizes and cold starts of the release build.

A cold start lasts from the spawn of `bootstrap` to its first request to the runtime API, which is Lambda's init phase.
Usage: just measure   (run cargo build --release first; prints one table, and one JSON object on the last line)
"""

import http.server
import io
import json
import os
import pathlib
import re
import statistics
import subprocess
import threading
import time
import zipfile

ROOT = pathlib.Path(__file__).parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
ROUNDS = 20
# The variables that Lambda sets, and those that template.yaml sets for any function.
ENVIRONMENT = {
    "AWS_LAMBDA_FUNCTION_NAME": "f",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
    "AWS_LAMBDA_FUNCTION_VERSION": "1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
} | {
    name: "s3://b/x" if "s3://" in value else "http://127.0.0.1/x"
    for name, value in re.findall(r"^ +([A-Z][A-Z_]+): (.+)", (ROOT / "template.yaml").read_text(), re.MULTILINE)
} | {"MALLOC_ARENA_MAX": "2", "DATASET_METRICS": "true"}


class Runtime(http.server.BaseHTTPRequestHandler):
    """The runtime API up to the first `next` request. Records when the request arrives, and never responds."""

    requested = threading.Event()

    def do_GET(self) -> None:
        Runtime.requested_at = time.perf_counter()
        Runtime.requested.set()
        time.sleep(1)

    def log_message(self, *_: object) -> None:
        pass


def cold_start(binary: pathlib.Path, port: int) -> float:
    """Returns the milliseconds from the spawn to the first request."""
    environment = ENVIRONMENT | {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}"}
    Runtime.requested.clear()
    started = time.perf_counter()
    process = subprocess.Popen([binary], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        if not Runtime.requested.wait(10):
            process.kill()
            raise SystemExit(f"{binary} sent no request to the runtime API in 10 s: {process.stderr.read().decode()}")
        return (Runtime.requested_at - started) * 1000
    finally:
        process.kill()
        process.wait()


def zipped(binary: pathlib.Path) -> int:
    """Returns the bytes of the zip that Lambda gets."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.write(binary, "bootstrap")
    return buffer.tell()


def main() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Runtime)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    result = {}
    print(f"{'function':10} {'zip MB':>8} {'cold start ms: min':>20} {'median':>8} {'max':>8}")
    for name in sorted(folder.name for folder in (ROOT / "functions").iterdir()):
        binary = TARGET / name
        times = [cold_start(binary, server.server_port) for _ in range(ROUNDS)]
        size, row = zipped(binary), [min(times), statistics.median(times), max(times)]
        print(f"{name:10} {size / 2**20:8.2f} {row[0]:20.1f} {row[1]:8.1f} {row[2]:8.1f}")
        result[name] = {"zip_bytes": size, "cold_start_ms": [round(value, 2) for value in row]}
    print(json.dumps(result))


main()
