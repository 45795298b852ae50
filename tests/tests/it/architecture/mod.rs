//! The architecture: which crates may use which, and no circular imports between files.

mod imports;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use cli::workspace;
use imports::{Import, circles, python_imports, rust_imports};
use toml::Table;

/// The workspace's crates, each with the workspace crates that it depends on, including those that only its tests use.
const CRATES: &[(&str, &[&str])] = &[
    ("bench", &["turntable"]),
    ("cli", &["client", "local", "turntable"]),
    ("client", &["turntable"]),
    ("export", &["turntable"]),
    ("flip", &["turntable"]),
    ("local", &["client", "turntable"]),
    ("model", &["turntable-core"]),
    ("optout", &["turntable"]),
    ("sweep", &["turntable"]),
    ("tests", &["cli", "export", "flip", "local", "optout", "sweep", "turntable", "turntable-core"]),
    ("turntable", &["turntable-aws", "turntable-core", "turntable-events", "turntable-parquet", "turntable-sources"]),
    ("turntable-aws", &["turntable-core"]),
    ("turntable-core", &[]),
    ("turntable-events", &["turntable-core"]),
    ("turntable-parquet", &["turntable-core"]),
    ("turntable-sources", &["turntable-core", "turntable-parquet"]),
];

/// Crates, each with the prefixes of the names that none of its dependencies may have.
const WALLS: &[(&str, &[&str])] = &[
    ("turntable-core", &["arrow", "aws", "getrandom", "parquet", "rand", "tokio"]),
    ("turntable-events", &["arrow", "aws-", "parquet", "tokio"]),
    ("turntable-parquet", &["aws", "lambda"]),
    ("turntable-sources", &["aws-config", "aws-sdk", "aws-smithy", "lambda"]),
];

/// The folders whose Rust files must not import each other in a circle.
const RUST: &[&str] = &[
    "bench/src",
    "functions/export/src",
    "functions/flip/src",
    "functions/optout/src",
    "functions/sweep/src",
    "infra/cli/src",
    "infra/client/src",
    "infra/local/src",
    "shared/aws/src",
    "shared/core/src",
    "shared/events/src",
    "shared/parquet/src",
    "shared/sources/src",
    "shared/src",
];

/// The folders whose Python modules must not import each other in a circle.
const PYTHON: &[&str] = &["infra/local/athena/turntable_athena"];

/// Reads the files with this extension in a folder and its sub-folders. Their paths are relative to the folder.
fn read(folder: &str, extension: &str) -> BTreeMap<String, String> {
    fn visit(root: &Path, folder: &Path, extension: &str, into: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a folder that can be read").path();
            if path.is_dir() {
                visit(root, &path, extension, into);
            } else if path.extension().is_some_and(|found| found == extension) {
                let name = path.strip_prefix(root).expect("a path below the folder").to_string_lossy().into_owned();
                into.insert(name, fs::read_to_string(&path).expect("UTF-8"));
            }
        }
    }
    let (root, mut files) = (workspace::root().join(folder), BTreeMap::new());
    visit(&root, &root, extension, &mut files);
    assert!(!files.is_empty(), "{folder} has no .{extension} file");
    files
}

#[test]
fn crates_use_only_the_crates_below_them() {
    let manifest = |path: &str| -> Table {
        let text = fs::read_to_string(workspace::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        text.parse().unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let mut manifests = Vec::new();
    for member in manifest("Cargo.toml")["workspace"]["members"].as_array().expect("a list of members") {
        let member = member.as_str().expect("a path");
        let Some(parent) = member.strip_suffix("/*") else {
            manifests.push(manifest(&format!("{member}/Cargo.toml")));
            continue;
        };
        for child in fs::read_dir(workspace::root().join(parent)).expect("a folder of crates") {
            let child = child.expect("a crate").file_name();
            manifests.push(manifest(&format!("{parent}/{}/Cargo.toml", child.to_string_lossy())));
        }
    }
    let name = |manifest: &Table| manifest["package"]["name"].as_str().expect("a name").to_owned();
    let names: BTreeSet<String> = manifests.iter().map(name).collect();
    let used = |manifest: &Table| -> Vec<String> {
        let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
        let all = tables.iter().filter_map(|table| manifest.get(*table)?.as_table()).flat_map(Table::keys);
        all.filter(|name| names.contains(*name)).cloned().collect::<BTreeSet<_>>().into_iter().collect()
    };
    let found: BTreeMap<String, Vec<String>> = manifests.iter().map(|one| (name(one), used(one))).collect();
    let text = |names: &&[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let expected = CRATES.iter().map(|(name, uses)| ((*name).to_owned(), text(uses))).collect();
    assert_eq!(found, expected, "CRATES in {} differs from the Cargo.toml files", file!());
}

#[test]
fn walls_hold_through_every_dependency() {
    for (name, forbidden) in WALLS {
        let arguments = ["tree", "--package", name, "--edges", "normal", "--all-features", "--prefix", "none"];
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        let tree = cargo.args(arguments).arg("--offline").current_dir(workspace::root()).output().expect("cargo");
        assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        let tree = String::from_utf8(tree.stdout).expect("UTF-8");
        let below = tree.lines().skip(1).filter_map(|line| line.split_whitespace().next());
        let crossing: BTreeSet<&str> =
            below.filter(|found| forbidden.iter().any(|start| found.starts_with(start))).collect();
        assert!(crossing.is_empty(), "{name} depends on {crossing:?}: see `cargo tree -p {name} -e normal`");
    }
}

#[test]
fn the_operators_program_has_no_part_of_the_emulator() {
    let arguments =
        ["tree", "--package", "cli", "--edges", "normal", "--no-default-features", "--prefix", "none", "--offline"];
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let tree = cargo.args(arguments).current_dir(workspace::root()).output().expect("cargo");
    let tree = String::from_utf8(tree.stdout).expect("UTF-8");
    let below: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(below.contains("client") && !below.contains("local") && !below.contains("zip"), "{below:?}");
}

#[test]
fn files_import_each_other_without_circles() {
    let rust = RUST
        .iter()
        .map(|folder| (folder, read(folder, "rs"), rust_imports as fn(&BTreeMap<String, String>) -> Vec<Import>));
    let python = PYTHON
        .iter()
        .map(|folder| (folder, read(folder, "py"), python_imports as fn(&BTreeMap<String, String>) -> Vec<Import>));
    let all = rust.chain(python).flat_map(|(folder, files, imports)| {
        let imports = imports(&files);
        // A function's crate may have two files, main.rs and lib.rs, that import only other crates.
        assert!(files.len() <= 2 || !imports.is_empty(), "the checker finds no import in {folder}");
        circles(&imports).into_iter().map(move |circle| format!("{folder}:\n{circle}"))
    });
    let all: Vec<String> = all.collect();
    assert!(all.is_empty(), "{} circles of imports\n{}", all.len(), all.join("\n"));
}

fn made_up(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

fn edges(imports: &[Import]) -> Vec<String> {
    let edges: BTreeSet<String> = imports.iter().map(|import| format!("{} {}", import.from, import.to)).collect();
    edges.into_iter().collect()
}

#[test]
fn checker_finds_circles_in_rust() {
    let mut files = made_up(&[
        ("lib.rs", "pub mod a;\nmod b;\npub use b::deep::Thing;"),
        ("a.rs", "use crate::{b::{self, Other}, error::Result}; // use super::c;\nconst TEXT: &str = \"crate::b\";"),
        ("b/mod.rs", "pub mod deep;\n#[cfg(test)] mod tests;\npub struct Other;"),
        (
            "b/deep.rs",
            "fn f() -> char { '\"' }\n#[cfg(test)] mod tests { use crate::a; }\npub struct Thing(super::Other);",
        ),
        ("b/tests.rs", "use crate::a::*; use super::super::*;"),
    ]);
    let expected = ["a.rs b/mod.rs", "a.rs lib.rs", "b/deep.rs b/mod.rs", "lib.rs b/deep.rs"];
    assert_eq!(edges(&rust_imports(&files)), expected);
    assert_eq!(circles(&rust_imports(&files)), [""; 0]);

    files.insert("b/mod.rs".into(), "pub mod deep;\nfn g() { deep::f() }".into());
    assert_eq!(
        circles(&rust_imports(&files)),
        ["  b/deep.rs uses super::Other of b/mod.rs\n  b/mod.rs uses deep::f of b/deep.rs\n"]
    );
}

#[test]
fn checker_finds_circles_in_python() {
    let mut files = made_up(&[
        ("__init__.py", "\"\"\"A package.\"\"\"\n"),
        ("a.py", "import os\nfrom . import (\n    b,\n    c,\n)\n"),
        ("b.py", "from .c import thing\n"),
        ("c.py", "import json\n"),
    ]);
    assert_eq!(edges(&python_imports(&files)), ["a.py b.py", "a.py c.py", "b.py c.py"]);
    assert_eq!(circles(&python_imports(&files)), [""; 0]);

    files.insert("c.py".into(), "def f():\n    import a\n".into());
    assert_eq!(circles(&python_imports(&files)).len(), 1);
}
