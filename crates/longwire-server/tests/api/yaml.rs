//! So much of YAML as `docs/openapi.yaml` uses: mappings and lists by indentation, scalars, folded texts (`>-`), comments on lines
//! of their own, and JSON, which is YAML too, for what stands on one line.

use serde_json::{Map, Value};

/// Reads a document.
///
/// # Panics
/// With the line, if it is not of this kind.
pub(super) fn read(text: &str) -> Value {
    let lines = text.lines().enumerate().map(|(at, line)| Line { number: at + 1, indent: indent(line), text: line.trim_end() });
    let lines: Vec<_> = lines.filter(|line| !line.text.is_empty() && !line.text.trim_start().starts_with('#')).collect();
    let mut reader = Reader { lines, at: 0 };
    let value = reader.block(0);
    assert_eq!(
        reader.at,
        reader.lines.len(),
        "line {} belongs to nothing",
        reader.lines[reader.at.min(reader.lines.len() - 1)].number
    );
    value
}

#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

struct Reader<'a> {
    lines: Vec<Line<'a>>,
    at: usize,
}

impl<'a> Reader<'a> {
    /// The mapping or list whose lines have this indentation.
    fn block(&mut self, indent: usize) -> Value {
        if self.peek(indent).is_some_and(|line| line.text[indent..].starts_with("- ")) {
            self.list(indent)
        } else {
            self.mapping(indent)
        }
    }

    fn mapping(&mut self, indent: usize) -> Value {
        let mut members = Map::new();
        while let Some(line) = self.peek(indent).filter(|line| !line.text[indent..].starts_with("- ")) {
            self.at += 1;
            let (name, value) = self.member(line, &line.text[indent..], indent);
            assert!(members.insert(name, value).is_none(), "line {}: a member comes twice", line.number);
        }
        Value::Object(members)
    }

    fn list(&mut self, indent: usize) -> Value {
        let mut items = Vec::new();
        while let Some(line) = self.peek(indent).filter(|line| line.text[indent..].starts_with("- ")) {
            self.at += 1;
            let rest = line.text[indent + 2..].trim_start();
            if is_member(rest) {
                let (name, value) = self.member(line, rest, indent + 2);
                let Value::Object(mut members) = self.mapping(indent + 2) else { unreachable!("a mapping is an object") };
                members.insert(name, value);
                items.push(Value::Object(members));
            } else {
                items.push(scalar(rest, line.number));
            }
        }
        Value::Array(items)
    }

    /// `name: value`, or `name:` and a block below it.
    fn member(&mut self, line: Line<'a>, text: &str, indent: usize) -> (String, Value) {
        let (name, value) = text.split_once(':').unwrap_or_else(|| panic!("line {}: no member", line.number));
        let name = name.trim_matches('"').to_owned();
        let value = match value.trim() {
            ">-" => Value::String(self.folded(indent)),
            "" => {
                let below = self.lines.get(self.at).map_or(0, |line| line.indent);
                assert!(below > indent, "line {}: nothing below it", line.number);
                self.block(below)
            }
            value => scalar(value, line.number),
        };
        (name, value)
    }

    fn folded(&mut self, indent: usize) -> String {
        let mut words = Vec::new();
        while let Some(line) = self.lines.get(self.at).filter(|line| line.indent > indent) {
            words.push(line.text.trim());
            self.at += 1;
        }
        words.join(" ")
    }

    fn peek(&self, indent: usize) -> Option<Line<'a>> {
        self.lines.get(self.at).copied().filter(|line| line.indent == indent)
    }
}

/// What stands behind a dash begins a mapping, unless it is JSON or a text.
fn is_member(text: &str) -> bool {
    !text.starts_with(['{', '[', '"']) && (text.ends_with(':') || text.contains(": "))
}

fn scalar(text: &str, line: usize) -> Value {
    match text.as_bytes()[0] {
        b'{' | b'[' | b'"' => serde_json::from_str(text).unwrap_or_else(|error| panic!("line {line}: {error}")),
        _ => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}
