use http::HeaderValue;

use super::super::grammar::{Malformed, extensions, is_token, list_contains, tokens, trim};
use super::values;

/// One line per extension: `name param=value param`.
fn parsed(lines: &[&str]) -> Result<Vec<String>, Malformed> {
    let lines = values(lines);
    let list = extensions(&lines)?;
    Ok(list
        .into_iter()
        .map(|extension| {
            let mut text = extension.name.to_owned();
            for param in extension.params {
                text.push(' ');
                text.push_str(param.name);
                if let Some(value) = param.value {
                    text.push('=');
                    text.push_str(&value);
                }
            }
            text
        })
        .collect())
}

#[test]
fn extensions_follow_the_grammar_rfc6455_9_1() {
    for (lines, expected) in [
        (&[] as &[&str], &[] as &[&str]),
        (&["foo"], &["foo"]),
        // The examples of 9.1: order and repetition are kept, several lines are one list.
        (&["foo", "bar; baz=2"], &["foo", "bar baz=2"]),
        (&["foo, bar; baz=2"], &["foo", "bar baz=2"]),
        (&["deflate-stream", "mux; max-channels=4; flow-control"], &["deflate-stream", "mux max-channels=4 flow-control"]),
        (&["x-private"], &["x-private"]),
        (&["a; b; b=1; b=2"], &["a b b=1 b=2"]),
        // RFC 2616, 2.1: blanks around separators, empty list elements.
        (&[" a\t;\tb = 1 , c "], &["a b=1", "c"]),
        (&[",, a,,b ,"], &["a", "b"]),
        (&["", "a"], &["a"]),
        // A quoted value says the same as the token in it.
        (&[r#"a; b="10"; c="\1\0""#], &["a b=10 c=10"]),
        (&[r#"a; b="1\0x""#], &["a b=10x"]),
    ] {
        let expected: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(parsed(lines), Ok(expected), "{lines:?}");
    }
}

#[test]
fn malformed_extensions_are_refused_rfc6455_9_1() {
    for line in [
        "",
        " ",
        ",",
        "a;",
        "a; ;b",
        ";a",
        "=a",
        "a=b",
        "a b",
        "a; b=",
        "a; b=, c",
        "a; =1",
        "a; b c",
        "a; b=1 2",
        "a; b=1=2",
        "a/b",
        "a; b=c/d",
        "\"a\"",
        "a; \"b\"=1",
        // A quoted value has to end, to hold something, and to hold a token.
        "a; b=\"",
        "a; b=\"\"",
        "a; b=\"1",
        "a; b=\"1 2\"",
        "a; b=\"1,2\"",
        "a; b=\"1\\",
        "a; b=\"1\\\"",
        "a; b=\"1\\\"\"",
        "a; b=\"1\"2",
        "a; b=\"\\ \"",
    ] {
        assert_eq!(parsed(&[line]), Err(Malformed), "{line:?}");
    }
    let latin1 = [HeaderValue::from_bytes(b"a\xe9").expect("obs-text is allowed in HTTP")];
    assert_eq!(extensions(&latin1), Err(Malformed));
}

#[test]
fn token_lists_follow_the_grammar_rfc6455_4_3() {
    let lines = values(&["chat,superchat", " v2.json ,", ""]);
    assert_eq!(tokens(&lines), Ok(vec!["chat", "superchat", "v2.json"]));
    assert_eq!(tokens(&[]), Ok(vec![]));
    for line in ["", ",", "a b", "a;b", "a, \"b\"", "a/b", "chat(1)"] {
        assert_eq!(tokens(&values(&[line])), Err(Malformed), "{line:?}");
    }
}

#[test]
fn tokens_are_visible_ascii_without_separators_rfc2616_2_2() {
    let allowed: Vec<u8> = (0..=255).filter(|&byte| is_token(&[byte])).collect();
    assert_eq!(
        String::from_utf8(allowed).expect("ASCII"),
        "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~"
    );
    assert!(is_token(b"chat"));
    assert!(!is_token(b""));
    assert!(!is_token(b"chat\r\nX: y"));
}

#[test]
fn upgrade_and_connection_are_lists_in_any_case_rfc6455_4_2_1() {
    let found = |lines: &[&str]| list_contains(&values(lines), "upgrade");
    assert!(found(&["upgrade"]));
    assert!(found(&["keep-alive, Upgrade"]));
    assert!(found(&["keep-alive", "\tUPGRADE ,x"]));
    assert!(!found(&[]));
    assert!(!found(&["upgrades"]));
    assert!(!found(&["up grade, keep-alive"]));
}

#[test]
fn trim_takes_blanks_only() {
    assert_eq!(trim(b" \ta b\t "), b"a b");
    assert_eq!(trim(b" \t "), b"");
    assert_eq!(trim(b"\na"), b"\na");
}
