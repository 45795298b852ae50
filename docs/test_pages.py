"""The site of the pages builds, lists each page once, and its links lead somewhere. README is short enough to be read.

    just pages
"""

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import outside
import prose
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def pages():
    """Returns all pages in docs/, relative to it."""
    return sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md") if page.name != "SUMMARY.md")


def test_the_summary_lists_each_page_once():
    listed = re.findall(r"\]\(([^)]+)\)", (DOCS / "SUMMARY.md").read_text())
    assert sorted(listed) == pages(), "docs/SUMMARY.md: one line for each page in docs/"


def test_readme_has_at_most_900_words():
    words = len((ROOT / "README.md").read_text().split())
    assert words <= 900, f"{words} words: move what goes further to a page in docs/"


class Site(HTMLParser):
    """The ids in a page of the site, and what it links to."""

    def __init__(self, html):
        super().__init__()
        self.ids, self.targets = set(), []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                self.ids.add(value)
            if name in ("href", "src") and value:
                self.targets.append(value)


def broken(folder):
    """Returns the links of the site in `folder` that lead nowhere, and how many links it has."""
    site = {page.relative_to(folder): Site(page.read_text()) for page in folder.rglob("*.html") if page.name not in ("print.html", "404.html", "toc.html")}
    faults, count = [], 0
    for page, parsed in site.items():
        for target in parsed.targets:
            path, anchor = urldefrag(target)
            if re.match(r"[a-z]+:", target) or path.endswith("print.html"):
                continue
            count += 1
            file = (folder / page.parent / unquote(path)).resolve() if path else folder / page
            known = site.get(file.relative_to(folder)) if file.is_relative_to(folder) else None
            if not file.is_relative_to(folder) or not file.is_file():
                faults.append(f"{page}: {target}: no such file")
            elif anchor and known and unquote(anchor) not in known.ids:
                faults.append(f"{page}: {target}: no such heading")
    return faults, count


def built(docs, folder):
    """Builds the site, and returns what mdBook printed."""
    ended = subprocess.run([ROOT / ".ci/tool", "book", "mdbook", "build", "--dest-dir", folder, docs], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


def test_the_site_builds_without_a_warning_and_its_links_lead_somewhere(tmp_path):
    told = built(DOCS, tmp_path)
    assert not re.search(r"\b(WARN|ERROR)\b", told), told
    faults, count = broken(tmp_path)
    assert count > 500, count
    assert not faults, "\n".join(faults)
    assert list(tmp_path.glob("searchindex*.js")), "the site can be searched"
    assert 'id="glossary"' in (tmp_path / "architecture.html").read_text(), "the site has the glossary"


def test_the_title_of_the_site_has_the_version():
    version = re.search(r'^version = "(.+?)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    assert f'title = "Turntable {version}"' in (DOCS / "book.toml").read_text()


def test_a_page_that_is_missing_or_a_link_that_leads_nowhere_is_found(tmp_path):
    (tmp_path / "book.toml").write_text('[book]\nsrc = "."\n')
    (tmp_path / "SUMMARY.md").write_text("# Summary\n\n- [A](a.md)\n")
    (tmp_path / "a.md").write_text("# A\n\n[one](b.md) [two](#c) [three](#a)\n")
    site = tmp_path / "site"
    built(tmp_path, site)
    assert {fault.split(": ")[1] for fault in broken(site)[0]} == {"b.html", "#c"}


@pytest.mark.parametrize(
    "page, text, expected",
    [
        ("a.md", "[x](../README.md#y)", "[x](BASE/README.md#y)"),
        ("ja/a.md", "[x](../b.md) ![y](../../c.svg)", "[x](../b.md) ![y](BASE/c.svg)"),
        ("a.md", "[`x`\ny](../infra/)", "[`x`\ny](BASE/infra)"),
        ("a.md", "[x](b.md) [y](https://example.com/../z)", "[x](b.md) [y](https://example.com/../z)"),
        ("a.md", "[x](../ARCHITECTURE.md#glossary)", "[x](architecture.md#glossary)"),
        ("ja/a.md", "[x](../../tests/README.md)", "[x](../running-tests.md)"),
        ("architecture.md", "[x](docs/a.md#b) [y](#z) [z](tests/src/)", "[x](a.md#b) [y](#z) [z](BASE/tests/src)"),
        ("running-tests.md", "[x](../docs/ja/a.md) [y](../ARCHITECTURE.md)", "[x](ja/a.md) [y](architecture.md)"),
    ],
)
def test_links_out_of_the_site_lead_to_the_repository(page, text, expected):
    assert outside.replaced(text, page, "BASE") == expected
    assert "../../c.svg" not in outside.replaced(text, page, None) and "README" not in outside.replaced(text, page, None)


@pytest.mark.parametrize("page, file", outside.COPIES.items())
def test_a_page_that_shows_another_file_links_to_it(page, file):
    text = (DOCS / page).read_text()
    assert f"](../{file})" in text and "The site shows it on this page." in " ".join(text.split())


def test_the_linter_of_prose_sees_no_code_and_each_line_on_its_line():
    page = "# The the\n\nA `b b`, [c](c/c.md) and\n`d\nd` e_e.\n\n    f f\n\n1. g\n    h\n\n```sh\ni i\n```\n| j | j |\n"
    seen = prose.prose(page).splitlines()
    assert len(seen) == len(page.splitlines())
    assert not re.search(r"The the|b b|c/c|d\nd|e_e|f f|i i|\|", "\n".join(seen))
    assert seen[2].startswith("A code") and "[c]" in seen[2] and seen[8:10] == ["1. g", "    h"]


def source(*patterns):
    """Returns the text of Rust files, with strings that are continued on the next line joined."""
    text = "\n".join(file.read_text() for pattern in patterns for file in sorted(ROOT.glob(pattern)))
    return re.sub(r"\\\n\s*", "", text).replace('\\"', '"')


def test_each_text_of_the_troubleshooting_page_is_in_the_code():
    page = (DOCS / "troubleshooting.md").read_text().split("\n## Messages from AWS\n")[0]
    code = source("shared/**/src/**/*.rs", "infra/c*/src/**/*.rs", "functions/**/*.rs")
    texts = [row.removesuffix("`") for row in re.findall(r"^\| `(.+?)` \|", page, re.MULTILINE)]
    assert len(texts) > 40, len(texts)
    pieces = [(text, piece.strip()) for text in texts for piece in text.split("…")]
    missing = [f"{text}: {piece!r}" for text, piece in pieces if piece and piece not in code]
    assert not missing, "\n".join(missing)


def test_each_limit_is_the_codes():
    page = (DOCS / "limits.md").read_text()
    named = re.findall(r"`([\w/.-]+\.(?:rs|yaml))` `([^`]+)`", page)
    assert len(named) > 40, len(named)
    missing = [f"{file}: {text}" for file, text in named if text not in (ROOT / file).read_text()]
    assert not missing, "\n".join(missing)


def test_the_workflow_installs_the_program_before_it_runs_it():
    block = re.search(r"```yaml\n(.*?)```", (DOCS / "deploy-ci.md").read_text(), re.DOTALL)[1]
    for name, job in yaml.safe_load(block)["jobs"].items():
        runs = [step["run"] for step in job["steps"] if "run" in step]
        uses = [run for run in runs if run.startswith("turntable ")]
        installs = [run for run in runs if run.startswith("cargo install --path turntable/infra/cli ")]
        assert not uses or runs.index(installs[0]) < runs.index(uses[0]), name
        assert all("uses" in step or "run" in step for step in job["steps"]), name


def test_each_metric_is_on_its_page_with_its_unit():
    code = (ROOT / "shared/src/metric.rs").read_text()
    emitted = re.findall(r'Metric::\w+ => \("(\w+)", "(\w+)"\)', code)
    assert len(emitted) > 15, emitted
    page = (DOCS / "metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE)
    assert sorted(rows) == sorted(emitted)
    assert re.search(r'NAMESPACE: &str = "(\w+)"', code)[1] == re.search(r"namespace `(\w+)`", page)[1]
    names = dict(re.findall(r'Metric::(\w+) => \("(\w+)"', code))
    of_the_stack = re.findall(r"emit_for_stack\([^;]*Metric::(\w+)", source("shared/src/**/*.rs"))
    assert [names[metric] for metric in of_the_stack] == re.findall(r"`(\w+)` has only the dimension `Stack`", page)


def test_each_command_and_option_is_on_the_page_of_the_command_line():
    files = [file.read_text() for file in sorted((ROOT / "infra/cli/src").rglob("*.rs"))]
    commands = re.search(r"pub enum Command \{\n(.*?)\n\}", (ROOT / "infra/cli/src/command.rs").read_text(), re.DOTALL)[1]
    names = [name.lower() for name in re.findall(r"^    (\w+)(?: \{|\(|,)", commands, re.MULTILINE)]
    options = {"--" + name.replace("_", "-") for text in files
               for name in re.findall(r"#\[arg\((?:short, )?long\b[^\]]*\)\]\n\s*(?:pub )?(\w+):", text)}
    assert len(names) > 20 and len(options) > 20, (names, options)
    page = (DOCS / "cli.md").read_text()
    missing = [name for name in names if f"`{name} " not in page and f"`{name}`" not in page]
    missing += [option for option in sorted(options) if not re.search(rf"`[^`]*{option}\b[^`]*`", page)]
    assert not missing, missing


def test_each_policy_is_on_the_page_of_permissions():
    policies = [ROOT / "infra/deployer.json", *(ROOT / "infra/policies").glob("*.json")]
    assert len(policies) > 5, policies
    page = (DOCS / "permissions.md").read_text()
    assert {str(file.relative_to(ROOT)) for file in policies} == set(re.findall(r"`(infra/[\w/-]+\.json)`", page))


ANSWERS = {
    "export": ("shared/src/export/answer.rs", "Exported"),
    "A run of Athena or Glue": ("shared/src/export/answer.rs", "EngineResponse"),
    "flip": ("shared/src/flip/answer.rs", "Flipped"),
    "The status of one dataset": ("shared/src/status/dataset.rs", "Status"),
    "A generation in the status of one dataset": ("shared/src/status/dataset.rs", "Known"),
    "The inbox in the status of one dataset": ("shared/src/status/inbox.rs", "InboxStatus"),
    "The status of all datasets": ("shared/src/status/overview.rs", "Overview"),
    "The summary of a dataset": ("shared/src/status/summary.rs", "DatasetSummary"),
    "The inbox in a summary": ("shared/src/status/summary.rs", "InboxSummary"),
    "optout": ("shared/src/optout/answer.rs", "OptedOut"),
    "sweep": ("shared/src/sweep/answer.rs", "Swept"),
}


def fields_of(file, name):
    """Returns the names that a struct's fields have in JSON."""
    body = re.search(rf"pub struct {name} {{\n(.*?)\n}}", (ROOT / file).read_text(), re.DOTALL)[1]
    # A flattened field has no name of its own in the answer.
    body = re.sub(r"#\[serde\(flatten[^\n]*\n\s*pub \w+:[^\n]*", "", body)
    fields = re.findall(r'#\[serde\(rename = "(\w+)"[^\n]*\)\]\n\s*pub \w+:|pub (\w+):', body)
    return {renamed or field for renamed, field in fields}


@pytest.mark.parametrize("heading", ANSWERS)
def test_each_field_of_an_answer_is_on_the_page_of_requests(heading):
    file, name = ANSWERS[heading]
    section = (DOCS / "requests.md").read_text().split(f"\n### {heading}\n")[1].split("\n##")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    assert {field for row in rows for field in re.findall(r"`(\w+)`", row)} == fields_of(file, name)


@pytest.mark.parametrize(
    "heading, field, file, name",
    [
        ("A generation in the status of one dataset", "flipped", "shared/src/status/dataset.rs", "Flipped"),
        ("The inbox in the status of one dataset", "views", "shared/src/status/inbox.rs", "ViewStatus"),
        ("The inbox in the status of one dataset", "matches", "shared/src/status/matches.rs", "TableMatches"),
        ("The status of all datasets", "conditions", "shared/src/status/condition.rs", "Condition"),
        ("The status of all datasets", "dead_letters", "shared/src/dead_letters.rs", "DeadLetters"),
        ("The summary of a dataset", "rejected", "shared/core/src/record.rs", "Verdict"),
        ("The summary of a dataset", "failed_export", "shared/core/src/record.rs", "ExportFailure"),
    ],
)
def test_the_row_of_a_field_names_the_fields_in_it(heading, field, file, name):
    section = (DOCS / "requests.md").read_text().split(f"\n### {heading}\n")[1].split("\n##")[0]
    row = re.search(rf"^\| [^|]*`{field}`[^|]* \| (.*) \|$", section, re.MULTILINE)[1]
    assert fields_of(file, name) <= set(re.findall(r"`(\w+)`", row))


TRANSLATIONS = sorted(page.relative_to(ROOT) for page in [ROOT / "README.ja.md", *DOCS.glob("ja/*.md")])


def original(page):
    """Returns the English page of a Japanese one."""
    return ROOT / str(page).replace("docs/ja/", "docs/").replace(".ja.md", ".md")


def outline(text):
    """Returns the levels of a page's headings, its blocks of code, and the number of rows of each table."""
    code, prose, fenced = [[]], [], False
    for line in text.splitlines():
        fence = line.startswith("```")
        if fence or fenced or line.startswith("    ") or not line:
            code[-1].append(line)
        else:
            prose.append(line)
            code.append([])
        fenced ^= fence
    blocks = ["\n".join(block).strip("\n") for block in code]
    tables = re.findall(r"(?:^\|.*\n)+", "\n".join(prose) + "\n", re.MULTILINE)
    levels = [len(line.split(" ")[0]) for line in prose if re.match("#+ ", line)]
    return levels, [block for block in blocks if block], [table.count("\n") for table in tables]


@pytest.mark.parametrize("page", TRANSLATIONS, ids=str)
def test_a_translation_has_the_code_of_the_page(page):
    ours, theirs = outline((ROOT / page).read_text()), outline(original(page).read_text())
    for what, here, there in zip(["headings", "code", "tables"], ours, theirs):
        assert here == there, f"{page}: its {what} differ from {original(page)}"


def test_a_translation_that_is_behind_is_found():
    page = "# A\n\n    cargo run\n\n## B\n\n| a |\n|---|\n| b |\n"
    behind = [page.replace("## B", "# B"), page.replace("run", "test"), page + "| c |\n"]
    assert [[a == b for a, b in zip(outline(page), outline(text))] for text in behind] == [
        [False, True, True], [True, False, True], [True, True, False]
    ]  # fmt: skip
