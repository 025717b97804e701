//! Tests of the opening handshake, one file per module; names and comments carry the sections.

mod client;
mod connect;
mod deflate;
mod grammar;
mod head;
mod properties;
mod server;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::accept_key;

/// RFC 6455, 1.3: the key of the RFC's own example, and the answer to it.
const SAMPLE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const SAMPLE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

#[test]
fn accept_key_answers_the_samples_rfc6455_1_3_and_4_2_2() {
    assert_eq!(accept_key(SAMPLE_KEY.as_bytes()), SAMPLE_ACCEPT);
    assert_eq!(accept_key(b"x3JJHMbDL1EzLkh9GBhXDw=="), "HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
}

/// Headers from lines such as `host: example.org`; a name may stand in several lines.
fn headers(lines: &[&str]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").expect("name: value");
        map.append(HeaderName::try_from(name).expect("a header name"), HeaderValue::try_from(value).expect("a header value"));
    }
    map
}

fn values(values: &[&str]) -> Vec<HeaderValue> {
    values.iter().map(|value| HeaderValue::try_from(*value).expect("a header value")).collect()
}
