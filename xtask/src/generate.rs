//! `cargo xtask generate`: the tables of `docs/protocol.md` and the constants of the TypeScript client, from the one table of codes.
//! Rust makes its own in the build script of `longwire-protocol`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use crate::paths;

const TABLE: &str = "crates/longwire-protocol/codes.toml";
const DOCUMENT: &str = "docs/protocol.md";
const CONSTANTS: &str = "clients/js/src/codes.ts";

/// Writes what is not as it should be.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    if !args.is_empty() {
        return Err("`cargo xtask generate` takes no arguments".to_owned());
    }
    for (path, text) in made()? {
        if read(path).is_ok_and(|there| there == text) {
            println!("{path} is up to date");
            continue;
        }
        fs::write(paths::root().join(path), text).map_err(|e| format!("{path}: {e}"))?;
        println!("{path} is new");
    }
    Ok(())
}

/// Finds what is not as `run` would make it.
pub(crate) fn check(findings: &mut Vec<String>) -> Result<(), String> {
    for (path, text) in made()? {
        if read(path).ok().as_ref() != Some(&text) {
            findings.push(format!("{path} is not what {TABLE} makes of it: run `cargo xtask generate`"));
        }
    }
    Ok(())
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(paths::root().join(path)).map_err(|e| format!("{path}: {e}"))
}

/// The files and what should be in them.
fn made() -> Result<[(&'static str, String); 2], String> {
    let table = read(TABLE)?;
    let codes = Codes::parse(&table).map_err(|why| format!("{TABLE}: {why}"))?;
    let document = between(&read(DOCUMENT)?, "<!-- errors -->", &errors_table(&codes))
        .and_then(|text| between(&text, "<!-- closes -->", &closes_table(&codes)))
        .map_err(|why| format!("{DOCUMENT}: {why}"))?;
    Ok([(DOCUMENT, document), (CONSTANTS, constants(&codes))])
}

/// The members of one code, their values as they stand in the table.
type Code<'a> = BTreeMap<&'a str, &'a str>;

#[derive(Default)]
struct Codes<'a> {
    errors: Vec<Code<'a>>,
    closes: Vec<Code<'a>>,
}

impl<'a> Codes<'a> {
    /// Reads the little of TOML that the table uses: lists of tables, and one value on a line.
    fn parse(text: &'a str) -> Result<Self, String> {
        let mut codes = Self::default();
        let mut is_error = true;
        for (number, line) in (1..).zip(text.lines()) {
            match line.trim() {
                "[[error]]" | "[[close]]" => {
                    is_error = line.trim() == "[[error]]";
                    if is_error { &mut codes.errors } else { &mut codes.closes }.push(Code::new());
                }
                line if line.is_empty() || line.starts_with('#') => {}
                line => {
                    let code = if is_error { codes.errors.last_mut() } else { codes.closes.last_mut() };
                    let member = line.split_once(" = ").zip(code);
                    let ((name, value), code) = member.ok_or_else(|| format!("line {number} is not understood"))?;
                    code.insert(name, value);
                }
            }
        }
        let is_whole = |code: &Code<'_>, names: &[&str]| names.iter().all(|name| code.contains_key(name));
        let errors = codes.errors.iter().all(|code| is_whole(code, &["code", "name", "retry", "status", "text"]));
        let closes = codes.closes.iter().all(|code| is_whole(code, &["code", "name", "text"]));
        if errors && closes { Ok(codes) } else { Err("a code lacks a member".to_owned()) }
    }
}

/// A text without its quotation marks.
fn plain(text: &str) -> &str {
    text.trim_matches('"')
}

fn errors_table(codes: &Codes<'_>) -> String {
    let mut table = "| code | name | try again? | HTTP status | |\n|---|---|---|---|---|\n".to_owned();
    for code in &codes.errors {
        let retry = if code["retry"] == "true" { "yes" } else { "no" };
        let (number, name, status, text) = (code["code"], plain(code["name"]), code["status"], plain(code["text"]));
        let _ = writeln!(table, "| {number} | `{name}` | {retry} | {status} | {text} |");
    }
    table
}

fn closes_table(codes: &Codes<'_>) -> String {
    let mut table = "| code | name | come back? | |\n|---|---|---|---|\n".to_owned();
    for code in &codes.closes {
        let (number, name, text) = (code["code"], plain(code["name"]), plain(code["text"]));
        let back = if number < "3500" { "yes" } else { "no" };
        let _ = writeln!(table, "| {number} | `{name}` | {back} | {text} |");
    }
    table
}

fn constants(codes: &Codes<'_>) -> String {
    let mut out = format!("// Made from {TABLE}. Do not edit it by hand.\n");
    out.push_str("\n/** Every error that a server can answer. `retry`: whether the same command may work later. */\n");
    out.push_str("export const errors = {\n");
    for code in &codes.errors {
        let (number, name, retry, text) = (code["code"], code["name"], code["retry"], code["text"]);
        let _ = writeln!(out, "  {}: {{ number: {number}, name: {name}, retry: {retry}, text: {text} }},", plain(name));
    }
    out.push_str("} as const;\n\n/** The close codes beside those of the WebSocket itself: ");
    out.push_str("come back after one below 3500, not after one from there on. */\nexport const closes = {\n");
    for code in &codes.closes {
        let (number, name, text) = (code["code"], code["name"], code["text"]);
        let _ = writeln!(out, "  {}: {{ number: {number}, name: {name}, text: {text} }},", plain(name));
    }
    out.push_str("} as const;\n");
    out
}

/// `text` with other words between a mark and the next `<!-- end -->`.
fn between(text: &str, mark: &str, words: &str) -> Result<String, String> {
    let (before, rest) = text.split_once(mark).ok_or_else(|| format!("{mark} is missing"))?;
    let (_, after) = rest.split_once("<!-- end -->").ok_or_else(|| format!("<!-- end --> is missing after {mark}"))?;
    Ok(format!("{before}{mark}\n{words}<!-- end -->{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "# a remark\n\n[[error]]\ncode = 100\nname = \"bad\"\nretry = true\nstatus = 400\ntext = \"it's bad\"\n\n\
                          [[close]]\ncode = 3500\nname = \"gone\"\ntext = \"gone\"\n";

    #[test]
    fn tables_and_constants_are_made_of_the_codes() {
        let codes = Codes::parse(SAMPLE).unwrap();
        assert!(errors_table(&codes).ends_with("|\n| 100 | `bad` | yes | 400 | it's bad |\n"));
        assert!(closes_table(&codes).ends_with("|\n| 3500 | `gone` | no | gone |\n"));
        assert!(constants(&codes).contains("\n  bad: { number: 100, name: \"bad\", retry: true, text: \"it's bad\" },\n"));
    }

    #[test]
    fn a_table_that_is_not_understood_is_an_error() {
        for text in ["code = 1", "[[error]]\ncode: 1", "[[error]]\ncode = 1"] {
            assert!(Codes::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_stands_between_the_marks_is_replaced() {
        assert_eq!(
            between("a <!-- x -->old<!-- end --> b", "<!-- x -->", "new\n").unwrap(),
            "a <!-- x -->\nnew\n<!-- end --> b"
        );
        assert!(between("a", "<!-- x -->", "").is_err() && between("<!-- x -->", "<!-- x -->", "").is_err());
    }
}
