//! Links in Markdown that lead into the project must lead to something.

use std::path::{Component, Path, PathBuf};

use super::File;
use crate::paths;

/// Checks the links of one Markdown file: the file or folder is there, and so is the heading.
pub(super) fn check(file: &File, files: &[File], findings: &mut Vec<String>) {
    if !file.has_ending(&["md"]) {
        return;
    }
    for (number, target) in targets(&file.text) {
        if let Some(why) = fault(file, target, files) {
            findings.push(format!("{}:{number}: the link to {target} is broken: {why}", file.path.display()));
        }
    }
}

/// The targets of inline links, with their line numbers; what stands in code blocks is no link.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for (at, open) in line.match_indices("](") {
            let rest = &line[at + open.len()..];
            let target = rest.split_once(')').map_or("", |(target, _)| target);
            // A title may follow: (target "title").
            found.extend(target.split_whitespace().next().map(|target| (number, target)));
        }
    }
    found
}

fn fault(file: &File, target: &str, files: &[File]) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { file.path.clone() } else { resolve(&file.path, path)? };
    if !paths::root().join(&path).exists() && !files.iter().any(|other| other.path == path) {
        return Some("there is no such file".to_owned());
    }
    let other = files.iter().find(|other| other.path == path && other.has_ending(&["md"]))?;
    if anchor.is_empty() || headings(&other.text).iter().any(|slug| slug == anchor) {
        return None;
    }
    Some("there is no such heading".to_owned())
}

/// The path that a link of the file at `from` means, relative to the root.
fn resolve(from: &Path, link: &str) -> Option<PathBuf> {
    let mut path = from.parent()?.to_path_buf();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            Component::RootDir => path.clear(),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(path)
}

/// The anchors of a file's headings, as code hosts make them: lower case, blanks as hyphens, no punctuation.
fn headings(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')))
        .map(|heading| {
            let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn links_to_what_is_there_are_fine() {
        let text = "# The map\n[a](other.md#two-words) [b](../made-up/) [c](#the-map) [d](https://example.org/x)\n\
            ```\n[not](a-link.md)\n```\n";
        let files = [file("docs/a.md", text), file("docs/other.md", "## Two words!"), file("made-up", "")];
        let mut findings = Vec::new();
        check(&files[0], &files, &mut findings);
        assert!(findings.is_empty(), "{findings:?}");
    }

    #[test]
    fn a_missing_file_and_a_missing_heading_are_found() {
        let files = [file("docs/a.md", "[a](gone.md)\n[b](other.md#gone \"title\")"), file("docs/other.md", "# Here")];
        let mut findings = Vec::new();
        check(&files[0], &files, &mut findings);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].starts_with("docs/a.md:1") && findings[1].starts_with("docs/a.md:2"));
    }
}
