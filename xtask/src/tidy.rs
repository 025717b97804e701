//! `tidy`: the project's own rules about its files. Each finding is one line in the log.

mod links;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::job::Log;
use crate::{generate, paths};

/// A file past this is split: would a newcomer find the place for a change in it?
const LINES_MAX: usize = 600;

/// What the line limit is for, by ending.
const CODE: &[&str] = &["rs", "js", "mjs", "ts", "tsx", "py"];
/// Where an unfinished place may hide.
const PROSE_AND_CODE: &[&str] = &["rs", "js", "mjs", "ts", "tsx", "py", "sh", "c", "cpp", "css", "html", "md", "toml", "yml"];

// Written in two halves, so that this file does not find itself.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("#[", "ignore"),
];

/// Where cargo's lock file may say that a crate comes from: the registry that everybody has.
const CRATES_IO: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

/// A file of the work tree.
struct File {
    /// Relative to the root.
    path: PathBuf,
    text: String,
}

impl File {
    fn has_ending(&self, endings: &[&str]) -> bool {
        self.path.extension().is_some_and(|own| endings.iter().any(|ending| own == *ending))
    }

    fn is_called(&self, name: &str) -> bool {
        self.path.file_name().is_some_and(|own| own == name)
    }
}

/// Checks every rule. The error says how many findings the log has.
pub(crate) fn check(log: &Log) -> Result<(), String> {
    let files = files()?;
    let mut findings = Vec::new();
    for file in &files {
        length(file, &mut findings);
        unfinished(file, &mut findings);
        lock_file(file, &mut findings);
        links::check(file, &files, &mut findings);
    }
    crates(&files, &mut findings);
    generate::check(&mut findings)?;
    for finding in &findings {
        log.say(finding)?;
    }
    match findings.len() {
        0 => log.say(&format!("{} files are tidy", files.len())),
        n => Err(format!("{n} findings")),
    }
}

/// The text files that git knows or would add.
fn files() -> Result<Vec<File>, String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(paths::root())
        .output()
        .map_err(|e| format!("cannot run git: {e}"))?;
    if !output.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths = listed.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
    // What is not text, or deleted but not yet committed as such, has no text to check.
    let read = |path: PathBuf| Some(File { text: fs::read_to_string(paths::root().join(&path)).ok()?, path });
    let mut files: Vec<File> = paths.filter_map(read).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn length(file: &File, findings: &mut Vec<String>) {
    let lines = file.text.lines().count();
    if file.has_ending(CODE) && lines > LINES_MAX {
        findings.push(format!("{}: {lines} lines, at most {LINES_MAX}: split it", file.path.display()));
    }
}

fn unfinished(file: &File, findings: &mut Vec<String>) {
    if !file.has_ending(PROSE_AND_CODE) {
        return;
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        for word in UNFINISHED.iter().filter(|word| has_word(line, word)) {
            findings.push(format!("{}:{number}: {word}: finish it, or file an issue", file.path.display()));
        }
    }
}

fn lock_file(file: &File, findings: &mut Vec<String>) {
    let foreign: fn(&str) -> bool = if file.is_called("package-lock.json") {
        |line| line.trim_start().starts_with("\"resolved\"")
    } else if file.is_called("Cargo.lock") {
        |line| line.starts_with("source = ") && line != CRATES_IO
    } else {
        return;
    };
    for (number, _) in (1..).zip(file.text.lines()).filter(|(_, line)| foreign(line)) {
        findings.push(format!("{}:{number}: a lock file names no address of a package", file.path.display()));
    }
}

/// Every crate of the workspace is on the map, and takes its lints from the workspace.
fn crates(files: &[File], findings: &mut Vec<String>) {
    let text = |path: &str| files.iter().find(|file| file.path == Path::new(path)).map(|file| file.text.as_str());
    let Some(map) = text("ARCHITECTURE.md") else {
        findings.push("ARCHITECTURE.md is missing".to_owned());
        return;
    };
    for member in members(text("Cargo.toml").unwrap_or_default()) {
        let manifest = format!("{member}/Cargo.toml");
        let Some(manifest_text) = text(&manifest) else {
            findings.push(format!("{manifest} is missing, and Cargo.toml has it as a member"));
            continue;
        };
        let name = member.rsplit('/').next().unwrap_or(member);
        if !has_word(map, name) && !map.contains(member) {
            findings.push(format!("ARCHITECTURE.md does not say what {member} is"));
        }
        if !manifest_text.contains("[lints]\nworkspace = true") {
            findings.push(format!("{manifest}: the lints are the workspace's: [lints] workspace = true"));
        }
    }
}

/// What stands between the brackets of `members = [...]`.
fn members(manifest: &str) -> Vec<&str> {
    let list = manifest.split_once("\nmembers = [").and_then(|(_, rest)| rest.split_once(']')).map_or("", |(list, _)| list);
    list.split('"').skip(1).step_by(2).collect()
}

/// Whether `word` stands in `text` and is not a part of a longer word.
fn has_word(text: &str, word: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        let open_end = word.ends_with(|c: char| !in_word(c));
        !before.is_some_and(in_word) && (open_end || !after.is_some_and(in_word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn a_word_is_not_found_inside_another() {
        assert!(has_word("see longwire-ws.", "longwire-ws"));
        assert!(!has_word("see longwire-ws.", "longwire"));
        assert!(!has_word("UNFIXABLE", "FIX"));
        assert!(has_word(&format!("x = {}y)", UNFINISHED[5]), UNFINISHED[5]));
    }

    #[test]
    fn members_are_read_from_the_manifest() {
        let manifest =
            "[workspace]\nresolver = \"3\"\nmembers = [\n    \"crates/a\",\n    \"xtask\",\n]\nexclude = [\"fuzz\"]\n";
        assert_eq!(members(manifest), ["crates/a", "xtask"]);
    }

    #[test]
    fn each_rule_finds_its_offender() {
        let mut findings = Vec::new();
        length(&file("a.rs", &"\n".repeat(LINES_MAX + 1)), &mut findings);
        unfinished(&file("b.rs", &format!("// {} later", UNFINISHED[0])), &mut findings);
        lock_file(&file("x/package-lock.json", "      \"resolved\": \"somewhere\","), &mut findings);
        lock_file(&file("Cargo.lock", "source = \"git+somewhere\""), &mut findings);
        assert_eq!(findings.len(), 4, "{findings:?}");
    }

    #[test]
    fn a_tidy_file_has_no_finding() {
        let mut findings = Vec::new();
        length(&file("a.rs", &"\n".repeat(LINES_MAX)), &mut findings);
        lock_file(&file("Cargo.lock", CRATES_IO), &mut findings);
        unfinished(&file("picture.svg", UNFINISHED[0]), &mut findings);
        assert!(findings.is_empty(), "{findings:?}");
    }

    #[test]
    fn a_crate_that_is_not_on_the_map_is_found() {
        let mut findings = Vec::new();
        let lints = "[lints]\nworkspace = true\n";
        let files = [
            file("ARCHITECTURE.md", "longwire-ws and xtask"),
            file("Cargo.toml", "[workspace]\nmembers = [\"crates/longwire-ws\", \"crates/longwire\", \"xtask\"]\n"),
            file("crates/longwire-ws/Cargo.toml", lints),
            file("crates/longwire/Cargo.toml", lints),
            file("xtask/Cargo.toml", ""),
        ];
        crates(&files, &mut findings);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].contains("crates/longwire is") && findings[1].contains("xtask/Cargo.toml"));
    }
}
