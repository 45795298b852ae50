//! Reads the imports in Rust and Python files, and finds circles among them.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::Peekable,
    slice::Iter,
};

/// The files in one crate or folder: path → text.
type Files = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub from: String,
    pub to: String,
    /// The imported path, as it is written in the file.
    pub path: String,
}

/// Returns each group of files that reach each other through imports, as a list of the imports between them.
pub fn circles(imports: &[Import]) -> Vec<String> {
    let files: BTreeSet<&str> = imports.iter().map(|import| import.from.as_str()).collect();
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        files.into_iter().map(|file| (file, reachable(file, imports))).collect();
    let group = |file: &str| -> Vec<&str> {
        let back = |other: &&str| reached.get(other).is_some_and(|reached| reached.contains(file));
        reached[file].iter().copied().filter(back).collect()
    };
    let groups: BTreeSet<Vec<&str>> = reached.keys().map(|file| group(file)).collect();
    let inside = |group: &Vec<&str>| {
        let both = |import: &&Import| [&import.from, &import.to].iter().all(|file| group.contains(&file.as_str()));
        let line = |import: &Import| format!("  {} uses {} of {}\n", import.from, import.path, import.to);
        imports.iter().filter(both).map(line).collect()
    };
    groups.iter().filter(|group| !group.is_empty()).map(inside).collect()
}

/// Returns the files that a file imports, directly or indirectly.
fn reachable<'a>(file: &'a str, imports: &'a [Import]) -> BTreeSet<&'a str> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![file]);
    while let Some(file) = next.pop() {
        let further = imports.iter().filter(|import| import.from == file).map(|import| import.to.as_str());
        next.extend(further.filter(|to| reached.insert(*to)));
    }
    reached
}

/// Returns the imports between the files in one crate. A path imports the file of the innermost module that it names.
/// `mod child;` alone isn't an import. Code under `#[cfg(test)]` is ignored.
pub fn rust_imports(files: &Files) -> Vec<Import> {
    let mut modules = BTreeMap::new();
    // A main.rs beside lib.rs is a separate crate with one file.
    for path in files.keys().filter(|path| *path != "main.rs" || !files.contains_key("lib.rs")) {
        let names = path.trim_end_matches(".rs").split('/').filter(|name| !["lib", "main", "mod"].contains(name));
        modules.insert(names.map(str::to_owned).collect::<Vec<_>>(), (path, tokens(&files[path])));
    }
    let mut tests = Vec::new();
    for (module, (_, tokens)) in &mut modules {
        let removed = remove_tests(tokens);
        tests.extend(removed.into_iter().map(|name| [module.as_slice(), &[name]].concat()));
    }
    modules.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));

    let mut imports = BTreeSet::new();
    for (module, (from, tokens)) in &modules {
        for path in paths(tokens) {
            let mut at = if path[0] == "crate" { Vec::new() } else { module.clone() };
            let is_child = modules.contains_key(&[module.as_slice(), &path[..1]].concat());
            if !is_child && !["crate", "self", "super"].contains(&path[0].as_str()) {
                continue;
            }
            for name in &path {
                match name.as_str() {
                    "crate" | "self" => {}
                    "super" => drop(at.pop()),
                    _ => at.push(name.clone()),
                }
            }
            let mut below = None;
            while !modules.contains_key(&at) {
                below = at.pop();
            }
            let (to, declared) = &modules[&at];
            // A declared module that isn't among the files has a `#[path]` to another folder.
            let is_elsewhere =
                |three: &[String]| three[0] == "mod" && below.as_ref() == Some(&three[1]) && three[2] == ";";
            if to != from && !declared.windows(3).any(is_elsewhere) {
                imports.insert(Import { from: (*from).clone(), to: (*to).clone(), path: path.join("::") });
            }
        }
    }
    imports.into_iter().collect()
}

/// Splits Rust code into names, `::` and single punctuation characters, without comments, strings and character
/// literals.
fn tokens(text: &str) -> Vec<String> {
    let (mut tokens, mut rest) = (Vec::<String>::new(), text);
    while let Some(first) = rest.chars().next() {
        let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
        let after = |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
        let hashes = rest.trim_start_matches(['b', 'r']).chars().take_while(|sign| *sign == '#').count();
        let raw = rest.trim_start_matches('b').strip_prefix('r').map(|rest| rest.trim_start_matches('#'));
        let length = if rest.starts_with("//") {
            after("\n", 0)
        } else if rest.starts_with("/*") {
            after("*/", 0)
        } else if raw.is_some_and(|raw| raw.starts_with('"')) {
            after(&format!("\"{}", "#".repeat(hashes)), rest.find('"').unwrap_or(0) + 1)
        } else if first == '"' || first == '\'' && (rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\'')) {
            quoted(rest)
        } else {
            let name = rest.find(|letter| !is_name(letter)).unwrap_or(rest.len());
            let length = if rest.starts_with("::") { 2 } else { name.max(first.len_utf8()) };
            if !first.is_whitespace() {
                tokens.push(rest[..length].to_owned());
            }
            length
        };
        rest = &rest[length..];
    }
    tokens
}

/// Returns the length of the string or character literal at the start of `text`.
fn quoted(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let mut escaped = true;
    let end = text.bytes().position(|byte| {
        let is_end = byte == quote && !escaped;
        escaped = byte == b'\\' && !escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 1)
}

/// Removes each item under `#[cfg(test)]`. Returns the names of the test modules that have their own file.
fn remove_tests(tokens: &mut Vec<String>) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(start) = tokens.windows(5).position(|five| five == ["#", "[", "cfg", "(", "test"]) {
        let mut depth = 0;
        let end = tokens[start..].iter().position(|token| {
            depth += i32::from(token == "{") - i32::from(token == "}");
            depth == 0 && (token == ";" || token == "}")
        });
        let end = end.map_or(tokens.len(), |end| start + end + 1);
        let item: Vec<String> = tokens.drain(start..end).collect();
        names
            .extend(item.windows(3).filter(|three| three[0] == "mod" && three[2] == ";").map(|three| three[1].clone()));
    }
    names
}

/// Returns each path with at least two names, and each path that a `use` names.
fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let (mut paths, mut rest, mut before) = (Vec::new(), tokens.iter().peekable(), "");
    while let Some(token) = rest.next() {
        let is_name = token.starts_with(|first: char| first.is_alphabetic() || first == '_');
        if token == "use" {
            use_tree(&mut rest, &[], &mut paths);
        } else if is_name && before != "::" && rest.peek().is_some_and(|next| *next == "::") {
            let mut path = vec![token.clone()];
            while rest.next_if(|next| *next == "::").is_some() {
                path.extend(rest.next_if(|next| next.starts_with(char::is_alphabetic)).cloned());
            }
            paths.push(path);
        }
        before = token;
    }
    paths
}

/// Reads one `use` tree to its end, such as `a::{b, c::*}`.
fn use_tree(rest: &mut Peekable<Iter<String>>, above: &[String], paths: &mut Vec<Vec<String>>) {
    let mut path = above.to_vec();
    while let Some(token) = rest.next_if(|next| ![",", "}", ";"].contains(&next.as_str())) {
        match token.as_str() {
            "::" | "*" => {}
            "{" => {
                while rest.next_if(|next| *next == "}").is_none() && rest.peek().is_some() {
                    use_tree(rest, &path, paths);
                    rest.next_if(|next| *next == ",");
                }
                return;
            }
            "as" => drop(rest.next()),
            _ => path.push(token.clone()),
        }
    }
    paths.push(path);
}

/// Returns the imports between the Python files in one folder, without its sub-folders.
pub fn python_imports(files: &Files) -> Vec<Import> {
    let mut imports = BTreeSet::new();
    for (from, text) in files.iter().filter(|(path, _)| !path.contains('/')) {
        let mut statements = text.lines();
        while let Some(line) = statements.next() {
            let mut line = line.trim().to_owned();
            while line.starts_with("from ") && line.contains('(') && !line.contains(')') {
                line.push_str(statements.next().unwrap_or(")"));
            }
            let words =
                line.split(|sign: char| sign.is_whitespace() || ",()".contains(sign)).filter(|word| !word.is_empty());
            let words: Vec<&str> = words.collect();
            let names = match words[..] {
                ["import", ref names @ ..] | ["from", ".", "import", ref names @ ..] => names,
                ["from", module, "import", ..] => &[module],
                _ => continue,
            };
            for name in names {
                let to = format!("{}.py", name.trim_start_matches('.'));
                if to != *from && files.contains_key(&to) {
                    imports.insert(Import { from: from.clone(), to, path: (*name).to_owned() });
                }
            }
        }
    }
    imports.into_iter().collect()
}
