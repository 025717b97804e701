//! So much of JSON Schema as `docs/openapi.yaml` uses.

use serde_json::Value;

/// Every keyword that is looked at, or says nothing about validity.
const KEYWORDS: &[&str] = &[
    "$ref",
    "type",
    "const",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "required",
    "properties",
    "additionalProperties",
    "maxProperties",
    "items",
    "minItems",
    "maxItems",
    "oneOf",
    "description",
    "default",
    "contentEncoding",
    "example",
];

/// What of a value its schema does not allow.
pub(super) fn check(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(path) = schema["$ref"].as_str() {
        let schema = document.pointer(path.trim_start_matches('#')).ok_or(format!("there is no {path}"))?;
        return check(document, schema, value).map_err(|why| format!("{why} ({path})"));
    }
    let members = schema.as_object().ok_or("a schema is an object")?;
    if let Some(unknown) = members.keys().find(|name| !KEYWORDS.contains(&name.as_str())) {
        return Err(format!("this test does not know {unknown}"));
    }
    let need = |is: bool, why: String| if is { Ok(()) } else { Err(format!("{why}: {value}")) };
    let number = |name: &str| schema[name].as_u64();
    if let Some(kind) = schema["type"].as_str() {
        let is = match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_u64() || value.is_i64(),
            "boolean" => value.is_boolean(),
            other => return Err(format!("this test does not know the type {other}")),
        };
        need(is, format!("no {kind}"))?;
    }
    need(schema.get("const").is_none_or(|constant| constant == value), format!("not {}", schema["const"]))?;
    need(schema["enum"].as_array().is_none_or(|all| all.contains(value)), format!("none of {}", schema["enum"]))?;
    if let Some(is) = value.as_u64() {
        need(
            number("minimum").is_none_or(|least| is >= least) && number("maximum").is_none_or(|most| is <= most),
            "out of bounds".into(),
        )?;
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count() as u64;
        need(
            number("minLength").is_none_or(|least| length >= least) && number("maxLength").is_none_or(|most| length <= most),
            "length".into(),
        )?;
        if let Some(pattern) = schema["pattern"].as_str() {
            need(matches(pattern, text)?, format!("not like {pattern}"))?;
        }
    }
    if let Some(items) = value.as_array() {
        let length = items.len() as u64;
        need(
            number("minItems").is_none_or(|least| length >= least) && number("maxItems").is_none_or(|most| length <= most),
            "length".into(),
        )?;
        if let Some(schema) = members.get("items") {
            items.iter().try_for_each(|item| check(document, schema, item))?;
        }
    }
    if let Some(object) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            need(object.contains_key(name), format!("no {name}"))?;
        }
        need(number("maxProperties").is_none_or(|most| object.len() as u64 <= most), "too many".into())?;
        for (name, value) in object {
            match (schema["properties"].get(name), members.get("additionalProperties")) {
                (Some(schema), _) => check(document, schema, value).map_err(|why| format!("{name}: {why}"))?,
                (None, Some(Value::Bool(false))) => return Err(format!("{name} is not documented: {value}")),
                (None, Some(schema)) if schema.is_object() => check(document, schema, value)?,
                _ => {}
            }
        }
    }
    if let Some(all) = schema["oneOf"].as_array() {
        let fits: Vec<_> = all.iter().map(|schema| check(document, schema, value)).collect();
        let count = fits.iter().filter(|fit| fit.is_ok()).count();
        need(count == 1, format!("{count} of oneOf, {fits:?}"))?;
    }
    Ok(())
}

/// `^[class]{n}$`, the only kind of pattern there is.
fn matches(pattern: &str, text: &str) -> Result<bool, String> {
    let unknown = || format!("this test does not know the pattern {pattern}");
    let (class, count) =
        pattern.strip_prefix("^[").and_then(|rest| rest.strip_suffix("}$")?.split_once("]{")).ok_or_else(unknown)?;
    let count: usize = count.parse().map_err(|_| unknown())?;
    let class: Vec<char> = class.chars().collect();
    let is_in = |char: char| {
        let mut at = 0;
        while at < class.len() {
            if at + 2 < class.len() && class[at + 1] == '-' {
                if (class[at]..=class[at + 2]).contains(&char) {
                    return true;
                }
                at += 3;
            } else if class[at] == char {
                return true;
            } else {
                at += 1;
            }
        }
        false
    };
    Ok(text.chars().count() == count && text.chars().all(is_in))
}
