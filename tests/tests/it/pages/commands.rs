//! Every command that a page tells a reader to run is listed in tests/src/commands.rs, and the list is correct.

use std::fs;

use cli::workspace;
use tests::{
    commands::{RunBy, by, entries, matches},
    instruction::is_command,
    page::Page,
};

fn read(file: &str) -> String {
    fs::read_to_string(workspace::root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn every_command_has_a_test_or_a_reason() {
    let pages = Page::all();
    let told = pages.iter().flat_map(|page| page.instructions().into_iter().map(|told| (&page.path, told.command)));
    let told: Vec<_> = told.collect();
    assert!(told.len() > 40, "{}", told.len());
    let unknown = told.iter().filter(|(page, command)| by(page, command).is_none());
    let unknown: Vec<String> = unknown.map(|(page, command)| format!("(\"{page}\", {command:?}, …),")).collect();
    assert!(
        unknown.is_empty(),
        "these commands are new: run them in a test (as tests/tests/it/readme.rs and tests/tests/it/chain/pages.rs do) and add \
         them to tests/src/commands.rs, or give the reason there why none can:\n{}",
        unknown.join("\n")
    );
    let gone =
        entries().filter(|(page, entry, _)| !told.iter().any(|(path, told)| path == page && matches(entry, told)));
    let gone: Vec<_> = gone.collect();
    assert!(gone.is_empty(), "no page has these commands any more: remove them from tests/src/commands.rs: {gone:#?}");
}

#[test]
fn no_command_hides_behind_a_program_that_is_not_known() {
    let pages = Page::all();
    let blocks = pages.iter().flat_map(|page| page.blocks().into_iter().map(move |block| (&page.path, block)));
    let suspects: Vec<_> = blocks
        .flat_map(|(page, block)| block.suspects().into_iter().map(move |line| format!("{page}: {line}")))
        .collect();
    assert!(suspects.is_empty(), "add the program to PROGRAMS in tests/src/instruction.rs: {suspects:#?}");
}

#[test]
fn the_listed_runner_of_a_command_runs_it() {
    assert!(read(".ci/run").contains(" cargo test --workspace --no-fail-fast "), "CI runs all tests");
    for (page, command, by) in entries() {
        match by {
            // The test ends with `finish`, which checks that all commands were followed.
            RunBy::Test(file) => {
                let text = read(file);
                let own = text.contains(&format!("\"{page}\"")) && text.contains(&format!(".finish(\"{file}\")"));
                assert!(own, "{file} does not follow {page} to its end");
            }
            RunBy::Check { file, text } => {
                assert!(read(file).contains(text), "{file} has no {text:?}: {page}: {command}")
            }
            RunBy::Nobody(reason) => assert!(reason.len() > 20, "{page}: {command}: {reason}"),
        }
    }
}

/// Checks code and prose: the `just` recipes and the cargo tests and examples that they name exist.
#[test]
fn recipes_tests_and_examples_are_there() {
    let justfile = read("justfile");
    let recipe = |name: &str| {
        let head = |line: &str| line.split_once(':').and_then(|(head, _)| head.split(' ').next()) == Some(name);
        justfile.lines().any(|line| !line.starts_with([' ', '#']) && head(line))
    };
    let there = |folder: &str, name: &str| {
        let files = [format!("tests/{folder}/{name}.rs"), format!("tests/{folder}/{name}/main.rs")];
        files.iter().any(|file| workspace::root().join(file).is_file())
    };
    // The filter after the program's name starts with one of the program's modules.
    let modules = read("tests/tests/it/main.rs");
    let family = |words: &[&str]| {
        let filter = words.iter().find_map(|word| word.split_once("::"));
        filter.is_none_or(|(family, _)| modules.contains(&format!("\nmod {family};\n")))
    };
    let (mut seen, mut faults) = (0, Vec::new());
    for page in Page::all() {
        let inline = page.prose().join("\n");
        let inline = inline.split('`').skip(1).step_by(2).filter(|code| is_command(code)).map(str::to_owned);
        let told = page.instructions().into_iter().map(|told| told.command);
        for command in inline.chain(told) {
            let words: Vec<&str> = command.split_whitespace().collect();
            for (word, name) in words.iter().zip(words.iter().skip(1)) {
                let known = match *word {
                    "just" => recipe(name),
                    "--test" => there("tests", name) && family(&words),
                    "--example" => there("examples", name),
                    _ => continue,
                };
                seen += 1;
                faults.extend((!known).then(|| format!("{}: `{command}`: there is no {name}", page.path)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 8, "{seen}");
}
