//! Every link on every page leads somewhere. The test doesn't use the network: it checks only the form of links to
//! other sites.

use std::collections::BTreeSet;

use tests::page::{Page, tracked};

/// Returns the pieces of a line that are between backticks, and the line without these pieces.
fn in_backticks(line: &str) -> (Vec<&str>, String) {
    let parts: Vec<&str> = line.split('`').collect();
    let code = parts.iter().skip(1).step_by(2).copied().collect();
    (code, parts.iter().step_by(2).copied().collect::<Vec<_>>().join("`"))
}

/// Returns the targets of the links in `text`: whatever is between `](` and `)`.
fn targets(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// Returns the path that a target names, relative to the repository's root, or `None` if it leaves the repository.
fn resolved(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Returns what is wrong with a link, or `None` if nothing is.
fn fault(page: &Page, target: &str, there: &BTreeSet<String>) -> Option<String> {
    if let Some(rest) = target.strip_prefix("https://") {
        let host = rest.split('/').next().unwrap_or_default();
        let form = host.contains('.') && !rest.contains(char::is_whitespace);
        return (!form).then(|| "no address".into());
    }
    if target.contains("://") {
        return Some("only https://".into());
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() { page.path.clone() } else { resolved(&page.path, file)? };
    if !there.contains(&path) {
        return Some(format!("there is no {path}"));
    }
    let anchor = anchor?;
    let anchors = Page::read(&path).anchors();
    (!anchors.iter().any(|known| known == anchor)).then(|| format!("{path} has no heading #{anchor}, but {anchors:?}"))
}

/// Returns the files that git tracks, and their folders.
fn files_and_folders() -> BTreeSet<String> {
    let files = tracked();
    let folders = files.iter().flat_map(|file| file.match_indices('/').map(|(at, _)| file[..at].to_owned()));
    folders.chain(files.clone()).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let there = files_and_folders();
    let (mut faults, mut links) = (Vec::new(), 0);
    for page in Page::all() {
        // A link may continue on the next line.
        let prose: Vec<String> = page.prose().into_iter().map(|line| in_backticks(line).1).collect();
        for target in targets(&prose.join("\n")) {
            links += 1;
            let fault = fault(&page, target, &there);
            faults.extend(fault.map(|fault| format!("{}: ]({target}): {fault}", page.path)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(links > 50, "{links}");
}

/// Returns whether code between backticks looks like a file or folder in this repository.
fn is_path(code: &str, tops: &BTreeSet<&str>) -> bool {
    let plain = code.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-/".contains(letter));
    let ends = [".rs", ".py", ".md", ".yaml", ".tf"].iter().any(|end| code.ends_with(end));
    let first = code.split('/').next().unwrap_or_default();
    plain && code.contains('/') && (ends || tops.contains(first) && !code.starts_with('/'))
}

#[test]
fn every_path_in_backticks_is_there() {
    let there = files_and_folders();
    let tops: BTreeSet<&str> = there.iter().filter_map(|path| path.split_once('/')).map(|(top, _)| top).collect();
    let (mut faults, mut paths) = (Vec::new(), 0);
    for page in Page::all() {
        for line in page.prose() {
            for code in in_backticks(line).0.into_iter().filter(|code| is_path(code, &tops)) {
                paths += 1;
                let name = code.trim_end_matches('/');
                // The path is relative to the root, to the page, or to a folder that the page is about, such as
                // `shared/src`.
                let below = format!("/{name}");
                let known = there.contains(name)
                    || resolved(&page.path, name).is_some_and(|path| there.contains(&path))
                    || there.iter().any(|path| path.ends_with(&below));
                faults.extend((!known).then(|| format!("{}: `{code}`: no such file or folder", page.path)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(paths > 10, "{paths}");
}
