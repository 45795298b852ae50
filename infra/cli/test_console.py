"""The console in headless Chromium, against a stack that runs: each view, each action, each attack; and the screenshots of the docs.

    just console                                         # after cargo build, or cargo test --workspace --no-run
    TURNTABLE_SCREENSHOTS=docs just console              # also writes docs/console-*.png

Chromium is Debian's package. Where it is missing and may not be installed, the test fails and says so.
"""

import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import boto3
import pytest
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
TURNTABLE = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/turntable"
STACK = "console-test"
# Without them, Chromium asks hosts on the internet. The name resolves to this machine, as a rebound one does.
FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--host-resolver-rules=MAP rebound.example 127.0.0.1"]  # fmt: skip
DATASETS = """
[defaults]
database = "dmp"
location = "s3://${BUCKET}/schemas"
workgroups = ["primary"]

[datasets.users]
source.files = { location = "s3://${BUCKET}/source/users/", columns = { id = "bigint", name = "string", points = "int" } }
checks = { max_shrink = 0.2 }
refresh = "rate(1 day)"

[datasets.daily_users]
source.files = { location = "s3://${BUCKET}/source/daily/", columns = { day = "date", users = "bigint" } }
refresh = { after = ["users"] }

[datasets.prices]
group = "shop"
source.postgres = { secret = "dmp/shop", query = "SELECT id, price FROM prices" }

[datasets.stock]
group = "shop"
source.postgres = { secret = "dmp/shop", query = "SELECT id, pieces FROM stock" }

[datasets.optouts]
source.inbox = { location = "s3://${BUCKET}/inbox/optouts", key = "user_id", columns = { user_id = "bigint" } }
protects = { users = "id" }
"""
# A value of a row, which must never be in an answer of the console.
VALUE = "hunter-row"


def chromium() -> str:
    """Returns the path of Debian's Chromium, and installs it first if it is missing."""
    if not shutil.which("chromium") and shutil.which("apt-get"):
        sudo = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
        for words in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
            subprocess.run([*sudo, "apt-get", *words], check=False, capture_output=True)
    found = shutil.which("chromium")
    assert found, "the test needs Chromium: install Debian's package chromium, or run it where apt-get may"
    return found


class Stack:
    """A local stack that `turntable up` runs."""

    def __init__(self, folder: Path):
        (folder / "datasets.toml").write_text(DATASETS)
        self.errors = (folder / "up.log").open("w+")
        self.process = subprocess.Popen([TURNTABLE, "up", folder / "datasets.toml", "--stack", STACK, "-o", "json"],
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)  # fmt: skip
        line = self.process.stdout.readline()
        assert line, (folder / "up.log").read_text()
        up = json.loads(line)
        self.bucket, self.access_key = up["bucket"], up["access_key_id"]
        self.s3 = boto3.client("s3", endpoint_url=up["endpoint"], region_name=up["region"], aws_access_key_id=up["access_key_id"],
                               aws_secret_access_key=up["secret_access_key"])  # fmt: skip

    def put(self, key: str, text: str) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=text.replace("${BUCKET}", self.bucket).encode())

    def users(self, rows: int, more: str = "") -> None:
        lines = [f"{number},{VALUE} {number},{number * 3}{',2026-11-01' if more else ''}\n" for number in range(1, rows + 1)]
        self.put("source/users/a.csv", f"id,name,points{more}\n" + "".join(lines))

    def ask(self, function: str, request: dict) -> dict:
        ran = subprocess.run([TURNTABLE, "ask", function, json.dumps(request), "--stack", STACK], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    def status(self, dataset: str = "users") -> dict:
        return self.ask("flip", {"dataset": dataset, "action": "status"})

    def until(self, what, seconds: float = 30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := what():
                return found
            time.sleep(0.1)
        raise AssertionError(f"waited in vain for {what}")

    def export(self, dataset: str = "users") -> str:
        """Exports, waits until the generation is live, and returns it."""
        generation = self.ask("export", {"dataset": dataset})["generation"]
        self.until(lambda: self.status(dataset)["live"] == generation)
        return generation

    def fill(self) -> None:
        """Three generations, a rejected candidate, a rollback with its reason, an inbox with a drop, and a dependant."""
        self.put("source/daily/a.csv", "day,users\n2026-11-01,5\n")
        self.users(1_000)
        self.export()
        self.users(1_040)
        self.second = self.export()
        self.users(1_100)
        self.third = self.export()
        self.users(300)
        self.rejected = self.ask("export", {"dataset": "users"})["generation"]
        self.until(lambda: any(one["id"] == "rejected:users" for one in self.overview()["conditions"]))
        self.ask("flip", {"dataset": "users", "action": "rollback", "reason": "wrong prices"})
        self.until(lambda: self.status("daily_users")["live"])
        self.export("daily_users")
        self.put("inbox/optouts/a.ndjson", '{"user_id": 7, "state": "opted_out", "occurred_at": "2026-11-01T00:00:00Z"}\n')
        self.ask("optout", {"dataset": "optouts"})

    def overview(self) -> dict:
        return self.ask("flip", {"action": "status"})

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0


class Console:
    """A `turntable console`."""

    def __init__(self, *options: str):
        self.process = subprocess.Popen([TURNTABLE, "console", "--stack", STACK, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        text = ""
        while "Ctrl-C" not in text:
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            text += line
        self.url = re.search(r"http://\S+", text).group()
        self.origin, self.token = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/#token=([0-9a-f]{64})", self.url).groups()
        self.port = int(self.origin.rsplit(":", 1)[1])

    def stop(self) -> str:
        """Ends it as Ctrl-C does, and returns what it has printed on standard error."""
        self.process.send_signal(signal.SIGINT)
        _, errors = self.process.communicate(timeout=10)
        assert self.process.returncode == 0, errors
        return errors


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    assert TURNTABLE.exists(), "build the program first: cargo build --workspace"
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        stack.fill()
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def acting(stack):
    console = Console("--allow-actions")
    yield console
    errors = console.stop()
    assert "roll back users" in errors and "Reason: prices in the wrong currency" in errors, errors


@pytest.fixture(scope="session")
def reading(stack):
    console = Console()
    yield console
    assert console.stop().strip() == ""


@pytest.fixture
def visit(browser):
    """Opens a console's page, and checks at the end that it asked nobody else and broke no policy."""
    contexts, faults = [], []

    def visit(console, view="", expected_faults=(), **settings):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **settings})
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: request.url.startswith(console.origin) or faults.append(f"it asked {request.url}"))
        page.on("console", lambda message: message.type == "error" and not any(text in message.text for text in expected_faults) and faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(console.url)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        if view:
            page.goto(f"{console.origin}/#{view}")
            expect(page.get_by_role("heading", level=1)).not_to_have_text("Overview")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not faults, faults


def screenshot(page, name: str, height: int = 0) -> None:
    """Writes a picture for the docs if that is asked for."""
    if folder := os.environ.get("TURNTABLE_SCREENSHOTS"):
        if height:
            page.set_viewport_size({"width": 1100, "height": height})
            page.wait_for_timeout(300)
        path = ROOT / folder / f"console-{name}.png"
        page.screenshot(path=path)
        assert path.stat().st_size <= 150_000, f"{path} is too large for the repository"


def fits(page) -> None:
    """Nothing is wider than the window."""
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), "the page scrolls sideways"


def named(page) -> None:
    """All that a person can use has a name, each table a caption, and the headings skip no level."""
    unnamed = page.evaluate("""() => [...document.querySelectorAll("a, button, textarea, svg[role=img], table")].filter((one) => !(
        one.textContent.trim() || one.getAttribute("aria-label") || one.getAttribute("aria-labelledby") || one.labels?.length)).map((one) => one.outerHTML)""")
    assert not unnamed
    assert page.evaluate("[...document.querySelectorAll('table')].every((one) => one.caption?.textContent)")
    levels = page.evaluate("[...document.querySelectorAll('main h1, main h2, main h3')].map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1 and all(next - level <= 1 for level, next in zip(levels, levels[1:])), levels
    for landmark in ("banner", "navigation", "main"):
        expect(page.get_by_role(landmark).first).to_be_visible()


# ---- Views ----


def test_the_overview_shows_what_needs_a_person_first_and_every_dataset(stack, reading, visit):
    page = visit(reading)
    assert "token" not in page.url, "the secret stays in the address"
    needs = page.get_by_role("region", name="Needs attention")
    expect(needs).to_contain_text("rejected:users")
    expect(needs).to_contain_text("max_shrink")
    expect(page.locator("h2").first).to_have_text("Needs attention")
    users = page.get_by_role("row").filter(has=page.get_by_role("link", name="users", exact=True)).first
    for text in ("rejected", "1,040", "refreshed every 1d", stack.second):
        expect(users).to_contain_text(text)
    expect(page.get_by_role("region", name="Groups")).to_contain_text("shop")
    expect(page.locator("#checked")).to_contain_text("Checked")
    named(page)
    screenshot(page, "overview", 1000)


def test_a_dataset_shows_its_history_audits_columns_and_relatives(stack, reading, visit):
    page = visit(reading, "/datasets/users")
    main = page.get_by_role("main")
    for text in ("wrong prices", "max_shrink", "rejected", "bigint", "daily_users", "optouts", "1,100", "The listed generations have the same columns"):
        expect(main).to_contain_text(text)
    expect(page.get_by_role("img", name=re.compile("The last .* events"))).to_be_visible()
    page.get_by_text(re.compile("All .* events in words")).click()
    events = page.locator("#events li")
    expect(events.filter(has_text="rejected")).to_have_count(1)
    expect(events.filter(has_text="wrong prices")).to_have_count(1)
    page.get_by_text(re.compile("All .* events in words")).click()
    named(page)
    screenshot(page, "dataset", 1000)


def test_optouts_show_people_lag_rejects_and_views(stack, reading, visit):
    page = visit(reading, "/optouts")
    card = page.get_by_role("region", name=re.compile("optouts"))
    for text in ("people out", "people known", "none: every drop is read", "drops with rejected records", "users_protected", "kept"):
        expect(card).to_contain_text(text)
    named(page)


def test_the_configuration_has_its_faults_at_their_lines(stack, reading, visit):
    broken = DATASETS.replace('refresh = "rate(1 day)"', 'refresh = "rate(1 day)"\nreload = 3').replace(
        "[datasets.daily_users]", '[datasets.laptop]\nsource.postgres = { url = "postgres://me:hunter2@127.0.0.1/app", query = "SELECT 1" }\n\n[datasets.daily_users]')
    stack.put("datasets.toml", broken)
    try:
        page = visit(reading, "/configuration")
        fault = page.locator("pre .fault").filter(has_text="reload")
        expect(fault).to_have_count(1)
        expect(fault).to_contain_text("⚠")
        line = 1 + broken.split("\n").index("reload = 3")
        assert fault.get_attribute("data-line") == str(line)
        expect(page.get_by_text(f"line {line}", exact=False).first).to_be_visible()
        expect(page.get_by_role("main")).not_to_contain_text("hunter2")
        expect(page.get_by_role("main")).to_contain_text("postgres://me:•••@")
        named(page)
    finally:
        stack.put("datasets.toml", DATASETS)


def test_no_answer_has_a_rows_value_or_credentials(stack, reading):
    for path in ("about", "overview", "configuration", "datasets/users", "datasets/optouts", "datasets/daily_users"):
        request = urllib.request.Request(f"{reading.origin}/api/{path}", headers={"authorization": f"Bearer {reading.token}"})
        text = urllib.request.urlopen(request, timeout=60).read().decode()
        assert VALUE not in text and stack.access_key not in text, path


def test_what_changes_appears_by_itself_and_what_is_old_says_so(stack, reading, visit):
    page = visit(reading, expected_faults=("ERR_FAILED", "Failed to load"))
    stack.ask("flip", {"dataset": "daily_users", "action": "hold", "reason": "a count"})
    try:
        expect(page.get_by_role("region", name="Needs attention")).to_contain_text("a count", timeout=15_000)
        expect(page.locator("#said")).to_have_text("The page was updated.")
    finally:
        stack.ask("flip", {"dataset": "daily_users", "action": "release"})
    page.route("**/api/**", lambda route: route.abort())
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("#freshness.stale #checked")).to_contain_text("Not up to date")


@pytest.mark.parametrize("view", ["", "/datasets/users", "/optouts", "/configuration"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_view_fits_a_phone_in_light_and_dark(stack, reading, visit, view, scheme):
    page = visit(reading, view, viewport={"width": 360, "height": 780}, color_scheme=scheme)
    fits(page)
    background, text = page.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    light = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (background, text)]
    assert (light[0] > light[1]) == (scheme == "light"), (background, text)
    assert abs(light[0] - light[1]) > 400, "too little contrast"
    if scheme == "dark" and view == "/datasets/users":
        screenshot(page, "phone")


def test_the_keyboard_reaches_everything_and_the_focus_is_seen(stack, reading, visit):
    page = visit(reading)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.get_by_role("link", name="users", exact=True).first.focus()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("users")
    expect(page.get_by_role("main")).to_be_focused()
    assert outline != "none"


# ---- Actions ----


def is_free(stack) -> bool:
    """Returns whether users is not held."""
    hold = stack.status()["hold"]
    return hold is None or hold["released"]


def carry_out(page, button, reason: str) -> str:
    """Presses an action's button, confirms with a reason, and returns the effect that was shown."""
    button.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Reason")).to_be_focused()
    effect = dialog.locator("dl").inner_text()
    confirm = dialog.locator("button.main")
    expect(confirm).to_be_disabled()
    dialog.get_by_label("Reason").fill(reason)
    confirm.click()
    expect(dialog.locator(".calm")).to_be_visible(timeout=20_000)
    dialog.get_by_role("button", name="Close").click()
    return effect


def test_each_action_shows_its_effect_and_is_carried_out(stack, acting, visit):
    page = visit(acting, "/datasets/users")
    live = stack.status()["live"]
    effect = carry_out(page, page.get_by_role("button", name="Hold…"), "a restore")
    for text in ("who", f"you, on the local stack {STACK}", "hold users", live, f"turntable release users --stack {STACK}"):
        assert text in effect
    assert stack.status()["hold"]["reason"] == "a restore"
    expect(page.get_by_role("main")).to_contain_text("a restore")
    effect = carry_out(page, page.get_by_role("button", name="Release…"), "done")
    assert "held since" in effect and is_free(stack)

    flip = page.get_by_role("button", name=f"Make {stack.third} live")
    flip.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"turntable flip users {live}")
    dialog.get_by_label("Reason").fill("prices in the wrong currency")
    screenshot(page, "rollback", 640)
    dialog.locator("button.main").click()
    expect(dialog.locator(".calm")).to_contain_text(f"{live} → {stack.third}")
    dialog.get_by_role("button", name="Close").click()
    assert stack.status()["live"] == stack.third
    effect = carry_out(page, page.get_by_role("button", name="Roll back…"), "back again")
    assert "roll back users" in effect and stack.status()["live"] == live

    stack.users(1_200)
    effect = carry_out(page, page.get_by_role("button", name="Export…"), "a correction")
    assert "export users" in effect
    stack.until(lambda: stack.status()["generations"][0]["rows"] == 1_200 and stack.status()["generations"][0]["live"])
    expect(page.get_by_role("main")).to_contain_text("1,200", timeout=15_000)


def test_an_action_that_was_overtaken_changes_nothing(stack, acting, visit):
    page = visit(acting, "/datasets/users", expected_faults=("409", "502"))
    one, other = [known["generation"] for known in stack.status()["generations"] if known["state"] == "replaced"][:2]
    page.get_by_role("button", name=f"Make {one} live").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("too late")
    stack.ask("flip", {"dataset": "users", "action": "rollback", "generation": other})
    dialog.locator("button.main").click()
    expect(dialog.get_by_role("alert")).to_contain_text("nothing was changed, start the action again")
    assert stack.status()["live"] == other


def test_a_refusal_of_the_function_is_shown(stack, acting, visit):
    page = visit(acting, expected_faults=("409",))
    found = page.evaluate("""async (token) => (await (await fetch("/api/actions", { method: "POST", headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify({ action: "hold", dataset: "nobody", reason: "x" }) })).json()).error""", acting.token)
    assert "no dataset \"nobody\" is configured" in found


def test_people_who_would_come_back_wait_for_an_operator(stack, acting, visit):
    bounded = DATASETS.replace('columns = { user_id = "bigint" } }', 'columns = { user_id = "bigint" }, max_returning = 0 }')
    stack.put("datasets.toml", bounded)
    try:
        stack.put("inbox/optouts/b.ndjson", '{"user_id": 7, "state": "opted_in", "occurred_at": "2026-11-02T00:00:00Z"}\n')
        stack.ask("optout", {"dataset": "optouts"})
        stack.until(lambda: any(one["id"] == "returning:optouts" for one in stack.overview()["conditions"]))
        page = visit(acting, "/optouts")
        effect = carry_out(page, page.get_by_role("button", name="Let them return…"), "they asked for it")
        assert "let up to 1 people" in effect and "they must opt out again" in effect
        stack.until(lambda: not any(one["id"] == "returning:optouts" for one in stack.overview()["conditions"]))
    finally:
        stack.put("datasets.toml", DATASETS)


def test_a_read_only_console_has_no_buttons_and_refuses_requests(stack, reading, visit):
    page = visit(reading, "/datasets/users", expected_faults=("403",))
    expect(page.get_by_role("group", name="Actions")).to_have_count(0)
    expect(page.get_by_role("main").get_by_role("button")).to_have_count(0)
    expect(page.locator("#who")).to_contain_text("read-only")
    status = page.evaluate("""async (token) => (await fetch("/api/actions", { method: "POST", headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify({ action: "hold", dataset: "users", reason: "x" }) })).status""", reading.token)
    assert status == 403 and is_free(stack)


# ---- Attacks ----


@pytest.fixture
def evil():
    """A web page of somebody else, on another port."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>evil</title><p>evil</p>")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


HOLD = {"action": "hold", "dataset": "users", "reason": "evil"}


def test_a_foreign_page_reads_and_changes_nothing_even_with_the_token(stack, acting, browser, evil):
    page = browser.new_page()
    page.goto(evil)
    before = stack.status()
    attempts = page.evaluate("""async ([origin, token, hold]) => {
        const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
        const tried = async (path, options) => fetch(origin + path, options).then(async (answer) => `${answer.type} ${answer.status} ${await answer.text()}`, () => "refused");
        const script = await new Promise((done) => {
            const element = document.createElement("script");
            element.src = `${origin}/console.js`; element.onload = () => done("loaded"); element.onerror = () => done("refused");
            document.head.append(element);
        });
        return [
            await tried("/api/overview", { headers }),
            await tried("/api/actions", { method: "POST", headers, body: hold }),
            await tried("/api/overview", { mode: "no-cors" }),
            await tried("/api/actions", { method: "POST", mode: "no-cors", body: hold }),
            await tried("/", {}),
            script,
        ];
    }""", [acting.origin, acting.token, json.dumps(HOLD)])  # fmt: skip
    assert attempts == ["refused"] * 6
    # A form needs no script of its own.
    page.set_content(f"""<form method="post" enctype="text/plain" action="{acting.origin}/api/actions"><input name='{json.dumps(HOLD)[:-1]}, "x":"' value='"}}'></form>""")
    with page.expect_navigation() as navigation:
        page.evaluate("document.forms[0].submit()")
    assert navigation.value.status == 403
    page.goto(evil)
    page.set_content(f'<iframe src="{acting.url}"></iframe><a href="{acting.url}">look</a>')
    page.wait_for_timeout(300)
    assert all("Turntable" not in frame.content() for frame in page.frames if frame != page.main_frame)
    with page.expect_navigation() as navigation:
        page.get_by_role("link").click()
    assert navigation.value.status == 403, "a link from another site leads nowhere"
    page.close()
    assert stack.status()["hold"] == before["hold"]


def test_a_rebound_name_gets_nothing(stack, acting, browser):
    page = browser.new_page()
    answer = page.goto(f"http://rebound.example:{acting.port}/#token={acting.token}")
    assert answer.status == 403 and "another host" in page.content()
    found = page.evaluate("""async (token) => Promise.all(["/api/overview", "/console.js"].map(async (path) =>
        (await fetch(path, { headers: { authorization: `Bearer ${token}` } })).status))""", acting.token)
    assert found == [403, 403]
    page.close()


def test_without_the_token_the_page_shows_nothing(stack, acting, visit, browser):
    page = browser.new_page()
    page.goto(acting.origin)
    expect(page.get_by_role("alert").first).to_contain_text("the token is missing")
    assert VALUE not in page.content() and "users" not in page.get_by_role("main").inner_text()
    page.close()
    page = browser.new_page()
    page.goto(f"{acting.origin}/#token={'0' * 64}")
    expect(page.get_by_role("alert").first).to_contain_text("the token is wrong")
    page.close()
    # A reload keeps the token in the tab, and no other tab has it.
    page = visit(acting)
    page.reload()
    expect(page.get_by_role("link", name="users", exact=True).first).to_be_visible()


def test_names_from_the_stack_are_text_and_never_code(stack, reading, visit):
    page = visit(reading)
    page.route("**/api/overview", lambda route: route.fulfill(json={"at": "2026-11-01T00:00:00Z", "conditions": [
        {"id": "held:<img src=x onerror=alert(1)>", "message": "<script>alert(1)</script>", "runbook": "docs/operate.md"}],
        "datasets": [{"dataset": "<img src=x onerror=alert(1)>", "live": None}]}))  # fmt: skip
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_role("main")).to_contain_text("<script>alert(1)</script>")
    assert page.locator("main img, main script").count() == 0
