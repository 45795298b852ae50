//! The code and the schema accept every example datasets.toml in the repository.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use turntable::config::Config;

use super::schema;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Files with errors that a schema can find.
const BAD: [&str; 19] = [
    "",
    "[datasets]\n",
    "[defaults]\nretian = 1\n",
    "[datasets.Users]\n",
    "[datasets.users]\nsource = { mongo = {} }\n",
    "[datasets.users]\nsource = {}\n",
    "[datasets.users]\nsource = { postgres = { query = \"SELECT 1\" } }\n",
    "[datasets.users]\nsource = { postgres = { url = \"u\", secret = \"s\", query = \"SELECT 1\" } }\n",
    "[datasets.users]\nsource = { postgres = { url = \"u\", query = \"SELECT 1\", parallel = 33 } }\n",
    "[datasets.users]\nsource = { mysql = { url = \"u\", query = \"SELECT 1\", parallel = 33 } }\n",
    "[datasets.users]\nsource = { files = { location = \"lake\" } }\n",
    "[datasets.users]\nsource = { files = { location = \"s3://b/in/\", csv = { delimiter = \"||\" } } }\n",
    "[datasets.users]\nsource = { files = { location = \"s3://b/in/\" } }\nchecks = { max_shrink = 20 }\n",
    "[datasets.users]\nsource = { files = { location = \"s3://b/in/\" } }\nchecks = { sql = [\"SELECT 1\"] }\n",
    "[datasets.users]\nsource = { files = { location = \"s3://b/in/\" } }\nschema = \"loose\"\n",
    "[datasets.users]\nsource = { inbox = { location = \"s3://b/in/\", key = [] } }\n",
    "[datasets.users]\nsource = { athena = { query = \"SELECT 1\", workgroup = \"a b\" } }\n",
    "[datasets.users]\nsource = { glue_job = { name = \"j\", timeout = 60 } }\n",
    "[datasets.users]\nsource = { glue_job = { name = \"j\", timeout = \"1h\", arguments = { day = \"1\" } } }\n",
];

/// The defaults for an example that is only a fragment.
const DEFAULTS: &str = "[defaults]\ndatabase = \"dmp\"\nlocation = \"s3://lake/schemas\"\n";

/// Words that start a fragment of a dataset's entry.
const PIECES: [&str; 6] = ["source ", "source.", "checks ", "retain ", "protects ", "partition_by "];

/// Returns the paths of README.md, infra/terraform/README.md and the pages in docs/.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![Path::new(ROOT).join("README.md"), Path::new(ROOT).join("infra/terraform/README.md")];
    let docs = fs::read_dir(Path::new(ROOT).join("docs")).unwrap().map(|entry| entry.unwrap().path());
    pages.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    pages.sort();
    pages
}

/// Returns the blocks that are indented by four spaces or fenced, without the indentation or fence.
fn blocks(page: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    let mut fenced = false;
    for line in page.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
            blocks.push(String::new());
        } else if let Some(code) = if fenced { Some(line) } else { line.strip_prefix("    ") } {
            let block = blocks.last_mut().unwrap();
            *block += code;
            *block += "\n";
        } else if line.trim().is_empty() {
            *blocks.last_mut().unwrap() += "\n";
        } else {
            blocks.push(String::new());
        }
    }
    blocks.into_iter().map(|block| block.trim().to_owned()).filter(|block| !block.is_empty()).collect()
}

/// Returns the datasets.toml files that a block stands for: a whole file, or one for each source that it shows.
fn files(block: &str) -> Vec<String> {
    let is_file = |line: &str| line.starts_with("[defaults]") || line.starts_with("[datasets.");
    if block.lines().any(is_file) {
        let defaults = if block.contains("[defaults]") { "" } else { DEFAULTS };
        return vec![format!("{block}\n{defaults}{}", others(block))];
    }
    let mut pieces: Vec<String> = Vec::new();
    for line in block.lines() {
        let begins = PIECES.iter().any(|word| line.starts_with(word));
        match pieces.last_mut() {
            Some(piece) if !(begins && line.starts_with("source")) => *piece = format!("{piece}{line}\n"),
            _ if begins => pieces.push(format!("{line}\n")),
            _ => {}
        }
    }
    let whole = |piece: String| {
        let source = if piece.starts_with("source") { "" } else { "source.files.location = \"s3://lake/in/\"\n" };
        format!("{DEFAULTS}[datasets.example]\n{source}{piece}{}", others(&piece))
    };
    pieces.into_iter().map(whole).collect()
}

/// Returns an entry for the dataset that examples of opt-outs refer to, or an empty string if `text` needs none.
fn others(text: &str) -> &'static str {
    let missing = text.contains("protects = { users") && !text.contains("[datasets.users]");
    if missing { "[datasets.users]\nsource.files.location = \"s3://lake/in/\"\n" } else { "" }
}

#[test]
fn the_code_and_the_schema_take_every_example() {
    let mut examples: Vec<(String, String)> = Vec::new();
    for page in pages() {
        let blocks = blocks(&fs::read_to_string(&page).unwrap());
        examples.extend(blocks.iter().flat_map(|block| files(block)).map(|text| (page.display().to_string(), text)));
    }
    assert!(examples.len() >= 12, "{}", examples.len());
    for file in ["infra/local/sample/datasets.toml", "infra/local/sample/engines/datasets.toml"] {
        examples.push((file.into(), fs::read_to_string(Path::new(ROOT).join(file)).unwrap()));
    }
    for folder in fs::read_dir(Path::new(ROOT).join("examples")).unwrap() {
        let file = folder.unwrap().path().join("datasets.toml");
        if file.is_file() {
            examples.push((file.display().to_string(), fs::read_to_string(&file).unwrap()));
        }
    }
    let mut cases = Vec::new();
    for (page, text) in &examples {
        let mut text = text.replace("${BUCKET}", "bucket");
        for name in ["DATABASE_URL", "POSTGRES_URL", "MYSQL_URL"] {
            text = text.replace(&format!("${{{name}}}"), "scheme://u:p@h/d");
        }
        if let Err(error) = Config::parse("f", &text) {
            panic!("{page}:\n{text}\n{error}");
        }
        cases.push(json!([page, instance(&text), true]));
    }
    for text in BAD {
        let defaults = if text.contains("[defaults]") { "" } else { DEFAULTS };
        assert!(Config::parse("f", &format!("{text}{defaults}")).is_err(), "{text}");
        cases.push(json!([text, instance(text), false]));
    }
    validate(&json!({ "schema": schema(), "cases": cases }));
}

/// Returns the file as an editor's validator sees it.
fn instance(text: &str) -> Value {
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{text}\n{error}"));
    serde_json::to_value(table).unwrap()
}

/// Validates the cases with Python's jsonschema, one of the tools for `just check`.
fn validate(cases: &Value) {
    const SCRIPT: &str = "\
import json, sys, jsonschema
asked = json.load(sys.stdin)
jsonschema.Draft7Validator.check_schema(asked['schema'])
validator = jsonschema.Draft7Validator(asked['schema'])
for name, instance, good in asked['cases']:
    faults = [f'{fault.json_path}: {fault.message}' for fault in validator.iter_errors(instance)]
    if bool(faults) == good:
        sys.exit(f'{name}: {faults or \"no fault is seen\"}')
";
    let mut tool = Command::new(Path::new(ROOT).join(".ci/tool"));
    let tool =
        tool.args(["lint", "python", "-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tool.spawn().expect(".ci/tool");
    child.stdin.take().unwrap().write_all(cases.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
