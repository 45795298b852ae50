//! The repository's Markdown pages: their headings, prose, and the commands that they tell a reader to run.

use std::{fs, process::Command};

use cli::workspace;

use crate::instruction::{Block, Instruction};

pub struct Page {
    /// The path relative to the repository's root, such as `docs/deploy.md`.
    pub path: String,
    pub text: String,
}

impl Page {
    pub fn read(path: &str) -> Page {
        let file = workspace::root().join(path);
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Page { path: path.into(), text }
    }

    /// Reads all pages that git tracks.
    pub fn all() -> Vec<Page> {
        tracked().iter().filter(|path| path.ends_with(".md")).map(|path| Page::read(path)).collect()
    }

    /// Splits the page into its lines of prose and its code blocks, both in order.
    fn parts(&self) -> (Vec<&str>, Vec<Block>) {
        let (mut prose, mut blocks) = (Vec::new(), Vec::<Block>::new());
        let (mut heading, mut fence, mut inside, mut after_blank) = (String::new(), None, false, true);
        for line in self.text.lines() {
            let trimmed = line.trim_start();
            let indented = line.len() - trimmed.len() >= 4;
            if let Some(language) = trimmed.strip_prefix("```") {
                fence = match fence {
                    None => Some(language.to_owned()),
                    Some(_) => None,
                };
                if let Some(language) = &fence {
                    blocks.push(Block { heading: heading.clone(), language: language.clone(), lines: Vec::new() });
                }
                inside = false;
            } else if fence.is_some() || inside && (indented || trimmed.is_empty()) {
                blocks.last_mut().expect("it was begun").lines.push(line.to_owned());
            } else if indented && after_blank {
                blocks.push(Block { heading: heading.clone(), language: String::new(), lines: vec![line.to_owned()] });
                inside = true;
            } else {
                if let Some(title) = title(line) {
                    heading = title.to_owned();
                }
                prose.push(line);
                inside = false;
            }
            after_blank = trimmed.is_empty();
        }
        for block in &mut blocks {
            let indent = |line: &String| line.len() - line.trim_start().len();
            let least = block.lines.iter().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
            block.lines = block.lines.iter().map(|line| line.get(least..).unwrap_or("").to_owned()).collect();
            block.lines.truncate(block.lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1));
        }
        (prose, blocks)
    }

    pub fn prose(&self) -> Vec<&str> {
        self.parts().0
    }

    pub fn blocks(&self) -> Vec<Block> {
        self.parts().1
    }

    /// Returns the anchors that GitHub generates from the headings.
    pub fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        for title in self.prose().into_iter().filter_map(title) {
            let kept = title.to_lowercase();
            let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || "-_ ".contains(*letter));
            let base = kept.collect::<String>().replace(' ', "-");
            let again = anchors.iter().filter(|anchor| **anchor == base).count();
            anchors.push(if again == 0 { base } else { format!("{base}-{again}") });
        }
        anchors
    }

    /// Returns every command, in the page's order.
    pub fn instructions(&self) -> Vec<Instruction> {
        self.blocks().iter().flat_map(Block::instructions).collect()
    }

    /// Returns the commands under a heading. Panics when there are none.
    pub fn under(&self, heading: &str) -> Vec<Instruction> {
        let mut found = self.instructions();
        found.retain(|instruction| instruction.heading == heading);
        assert!(!found.is_empty(), "{} has no command under the heading {heading:?}", self.path);
        found
    }
}

/// Returns a heading's text, or `None` if the line isn't a heading.
fn title(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    (1..=6).contains(&level).then(|| text.strip_prefix(' ')).flatten().map(str::trim)
}

/// Returns the paths that git tracks, relative to the repository's root.
pub fn tracked() -> Vec<String> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(workspace::root()).output().expect("git");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("names in UTF-8");
    names.split_terminator('\0').map(str::to_owned).collect()
}
