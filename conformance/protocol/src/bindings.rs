//! What the placeholders of a transcript stand for.

use std::collections::BTreeMap;

use serde_json::Value;

/// The values of placeholders, each bound where it is met first.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    values: BTreeMap<String, Value>,
}

impl Bindings {
    /// Binds a placeholder, named without its angle brackets, beforehand.
    pub fn bind(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    /// A line to send: its placeholders, with the quotation marks around them, replaced by their values.
    ///
    /// # Errors
    /// If one has no value yet.
    pub fn fill(&self, line: &str) -> Result<String, String> {
        self.filled(line, |name| self.values.get(name).cloned())
    }

    /// A line with a value of the right kind, always the same, for every placeholder that has none: for tests without a server.
    pub fn fill_with_samples(&self, line: &str) -> String {
        let value = |name: &str| Some(self.values.get(name).cloned().unwrap_or_else(|| sample(name)));
        self.filled(line, value).expect("every placeholder has a value")
    }

    fn filled(&self, line: &str, value: impl Fn(&str) -> Option<Value>) -> Result<String, String> {
        let (mut out, mut rest) = (String::new(), line);
        while let Some(at) = rest.find("\"<") {
            let inside = &rest[at + 1..];
            let Some((name, len)) = inside.find('"').and_then(|end| Some((placeholder(&inside[..end])?, end + 1))) else {
                out.push_str(&rest[..at + 2]);
                rest = &rest[at + 2..];
                continue;
            };
            out.push_str(&rest[..at]);
            out.push_str(&value(name).ok_or_else(|| format!("<{name}> is bound to nothing yet"))?.to_string());
            rest = &inside[len..];
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Whether `received` is what was expected. Placeholders that are met first are bound.
    ///
    /// # Errors
    /// With the place of the first difference.
    pub fn check(&mut self, expected: &Value, received: &Value) -> Result<(), String> {
        let mut path = String::new();
        self.check_at(&mut path, expected, received)
            .map_err(|why| format!("{why}\n  expected {expected}\n  received {received}"))
    }

    fn check_at(&mut self, path: &mut String, expected: &Value, received: &Value) -> Result<(), String> {
        match (expected, received) {
            (Value::String(text), _) if placeholder(text).is_some() => {
                let name = placeholder(text).unwrap_or_default();
                self.check_placeholder(name, received).map_err(|why| format!("{path}: {why}"))
            }
            (Value::Object(expected), Value::Object(received)) => {
                if let Some(name) = received.keys().find(|name| !expected.contains_key(*name)) {
                    return Err(format!("{path}.{name}: not expected"));
                }
                for (name, value) in expected {
                    let other = received.get(name).ok_or_else(|| format!("{path}.{name}: missing"))?;
                    let sorted = (name == "members").then(|| self.in_order_of(value, other)).flatten();
                    self.check_inside(path, &format!(".{name}"), value, sorted.as_ref().unwrap_or(other))?;
                }
                Ok(())
            }
            (Value::Array(expected), Value::Array(received)) if expected.len() == received.len() => {
                for (at, (value, other)) in expected.iter().zip(received).enumerate() {
                    self.check_inside(path, &format!("[{at}]"), value, other)?;
                }
                Ok(())
            }
            _ if expected == received => Ok(()),
            _ => Err(format!("{path}: {expected} expected, {received} received")),
        }
    }

    /// Members come in the order of their sessions' ids, which are random: here in the order in which they are expected, each
    /// the first that fits.
    fn in_order_of(&self, expected: &Value, received: &Value) -> Option<Value> {
        let mut left = received.as_array()?.clone();
        let mut bound = self.clone();
        let mut sorted = Vec::new();
        for value in expected.as_array()? {
            let at = left.iter().position(|other| bound.clone().check_at(&mut String::new(), value, other).is_ok())?;
            bound.check_at(&mut String::new(), value, &left[at]).ok()?;
            sorted.push(left.remove(at));
        }
        sorted.append(&mut left);
        Some(sorted.into())
    }

    fn check_inside(&mut self, path: &mut String, part: &str, expected: &Value, received: &Value) -> Result<(), String> {
        let len = path.len();
        path.push_str(part);
        self.check_at(path, expected, received)?;
        path.truncate(len);
        Ok(())
    }

    fn check_placeholder(&mut self, name: &str, received: &Value) -> Result<(), String> {
        if !is_of_kind(kind(name), received) {
            return Err(format!("<{name}> cannot be {received}"));
        }
        // Without a suffix these two stand for any, each time anew.
        if matches!(name, "text" | "number") {
            return Ok(());
        }
        let bound = self.values.entry(name.to_owned()).or_insert_with(|| received.clone());
        if bound == received { Ok(()) } else { Err(format!("<{name}> is {bound}, not {received}")) }
    }
}

/// The name of a placeholder, if the text is one.
fn placeholder(text: &str) -> Option<&str> {
    let name = text.strip_prefix('<')?.strip_suffix('>')?;
    let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    named.then_some(name)
}

/// What stands before the first hyphen.
fn kind(name: &str) -> &str {
    name.split('-').next().unwrap_or(name)
}

fn is_of_kind(kind: &str, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    match kind {
        "session" => text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')),
        "epoch" => text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        "time" | "number" => value.is_u64(),
        _ => !text.is_empty(),
    }
}

fn sample(name: &str) -> Value {
    // Names differ in their ends, so that is where the samples differ too.
    let end: String = name.bytes().rev().take(2).map(char::from).filter(char::is_ascii_alphanumeric).collect();
    match kind(name) {
        "session" => format!("{end:A<16}").into(),
        "epoch" => format!("{:08x}", name.bytes().fold(1, |sum: u32, byte| sum * 31 % 65_521 + u32::from(byte))).into(),
        "time" => (1_700_000_000_000 + name.bytes().map(u64::from).sum::<u64>()).into(),
        "number" => 25.into(),
        _ => format!("some {name}").into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_placeholder_is_bound_where_it_is_met_first() {
        let mut bindings = Bindings::default();
        let expected = json!({"type": "x", "epoch": "<epoch>", "list": [{"time": "<time-1>"}], "n": "<number>"});
        let received = json!({"type": "x", "epoch": "00c0ffee", "list": [{"time": 17}], "n": 5});
        bindings.check(&expected, &received).unwrap();
        let other = json!({"type": "x", "epoch": "00c0ffee", "list": [{"time": 17}], "n": 6});
        bindings.check(&expected, &other).unwrap();
        let other = json!({"type": "x", "epoch": "00c0ffee", "list": [{"time": 18}], "n": 5});
        let why = bindings.check(&expected, &other).unwrap_err();
        assert!(why.starts_with(".list[0].time: <time-1> is 17, not 18"), "{why}");
        assert_eq!(bindings.fill(r#"{"e":"<epoch>","t":"<time-1>","x":"<"}"#).unwrap(), r#"{"e":"00c0ffee","t":17,"x":"<"}"#);
        assert!(bindings.fill(r#""<session>""#).is_err());
    }

    #[test]
    fn what_differs_is_named() {
        for (expected, received, place) in [
            (json!({"a": 1}), json!({"a": 2}), ".a: 1"),
            (json!({"a": 1}), json!({}), ".a: missing"),
            (json!({}), json!({"a": null}), ".a: not expected"),
            (json!({"a": [1]}), json!({"a": [1, 2]}), ".a: [1]"),
            (json!({"a": "<session>"}), json!({"a": "short"}), ".a: <session> cannot be"),
            (json!({"a": "<epoch>"}), json!({"a": "0000000G"}), ".a: <epoch> cannot be"),
            (json!({"a": "<time>"}), json!({"a": "1"}), ".a: <time> cannot be"),
            (json!({"a": "<text>"}), json!({"a": 1}), ".a: <text> cannot be"),
        ] {
            let why = Bindings::default().check(&expected, &received).unwrap_err();
            assert!(why.starts_with(place), "{why}");
        }
    }

    #[test]
    fn members_come_in_any_order() {
        let mut bindings = Bindings::default();
        bindings.bind("session-b", "bbbbbbbbbbbbbbbb".into());
        let expected = json!({"members": [{"session": "<session-a>"}, {"session": "<session-b>", "user": "bob"}]});
        let [anna, bob] = [json!({"session": "cccccccccccccccc"}), json!({"session": "bbbbbbbbbbbbbbbb", "user": "bob"})];
        assert!(bindings.clone().check(&expected, &json!({"members": [bob, anna]})).is_ok());
        assert!(bindings.clone().check(&expected, &json!({"members": [anna, bob]})).is_ok());
        assert!(bindings.clone().check(&expected, &json!({"members": [anna, anna]})).is_err());
        assert!(bindings.clone().check(&expected, &json!({"members": [anna, bob, anna]})).is_err());
    }

    #[test]
    fn samples_are_of_their_kinds() {
        let bindings = Bindings::default();
        for name in ["session", "session-b", "epoch", "epoch-2", "time", "time-3", "number", "text", "key", "token-anna"] {
            let value: Value = serde_json::from_str(&bindings.fill_with_samples(&format!("\"<{name}>\""))).unwrap();
            assert!(is_of_kind(kind(name), &value), "{name}: {value}");
        }
        assert_ne!(bindings.fill_with_samples("\"<session-a>\""), bindings.fill_with_samples("\"<session-b>\""));
    }
}
