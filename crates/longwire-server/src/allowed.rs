//! `allowed_origins`, checked: an entry that no page can ever have lets nobody in, and nobody would know why.

use std::fmt;

use http::Uri;

/// An entry of [`Config::allowed_origins`](crate::Config::allowed_origins) that is the origin of no page, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadOrigin {
    given: String,
    advice: String,
}

impl fmt::Display for BadOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "allowed_origins: {:?} is the origin of no page: {}", self.given, self.advice)
    }
}

impl std::error::Error for BadOrigin {}

/// The entries as browsers write them.
///
/// # Errors
/// The first one that is none.
pub(crate) fn origins(given: &[String]) -> Result<Vec<String>, BadOrigin> {
    given.iter().map(|origin| checked(origin).map_err(|advice| BadOrigin { given: origin.clone(), advice })).collect()
}

/// RFC 6454, 6.1: scheme, host, and a port that is not the scheme's own.
fn checked(given: &str) -> Result<String, String> {
    // Of all pages; of a page in a sandbox; of a page from a file.
    if matches!(given, "*" | "null" | "file://") {
        return Ok(given.to_owned());
    }
    let lower = given.to_ascii_lowercase();
    let origin = lower.strip_suffix('/').filter(|origin| !origin.ends_with('/')).unwrap_or(&lower);
    let Some((scheme, authority)) = origin.split_once("://") else {
        return Err(format!(
            "write its scheme, too, as https://{}",
            if origin.is_empty() { "app.example.com" } else { origin }
        ));
    };
    if scheme == "ws" || scheme == "wss" {
        let scheme = if scheme == "ws" { "http" } else { "https" };
        return Err(format!("it is where the page comes from that counts, as {scheme}://{authority}"));
    }
    if !authority.is_ascii() {
        return Err("write the host as browsers send it, in ASCII (xn--…)".to_owned());
    }
    if authority.contains('*') {
        return Err("there are no patterns; name each origin, or write * alone for all of them".to_owned());
    }
    if authority.contains(['/', '?', '#', '@']) {
        return Err("an origin is scheme, host and port, and nothing else, as https://app.example.com:8443".to_owned());
    }
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "\0",
    };
    let origin = format!("{scheme}://{}", authority.strip_suffix(port).unwrap_or(authority));
    // Schemes of applications (`tauri://localhost`) are fine.
    let parsed = origin.parse::<Uri>().ok().and_then(|uri| uri.authority().map(|authority| !authority.host().is_empty()));
    if parsed == Some(true) { Ok(origin) } else { Err("write it as https://app.example.com".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_kept_as_browsers_write_them() {
        for (given, kept) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.com/", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://app.example.com:80", "http://app.example.com"),
            ("http://app.example.com:443", "http://app.example.com:443"),
            ("http://[::1]:5173", "http://[::1]:5173"),
            ("tauri://localhost", "tauri://localhost"),
            ("*", "*"),
            ("null", "null"),
            ("file://", "file://"),
        ] {
            assert_eq!(checked(given).as_deref(), Ok(kept), "{given}");
        }
    }

    #[test]
    fn what_no_page_can_have_is_refused_with_what_to_write() {
        for (given, word) in [
            ("app.example.com", "https://app.example.com"),
            ("app.example.com:8443", "https://app.example.com:8443"),
            ("", "scheme"),
            ("*.example.com", "scheme"),
            ("https://*.example.com", "patterns"),
            ("https://app.example.com/chat", "nothing else"),
            ("https://ada@app.example.com", "nothing else"),
            ("wss://app.example.com", "https://app.example.com"),
            ("https://büro.example", "xn--"),
            ("https://", "https://app.example.com"),
            ("https://a b", "https://app.example.com"),
        ] {
            let error = origins(&["*".into(), given.into()]).unwrap_err().to_string();
            assert!(error.contains(&format!("{given:?}")) && error.contains(word), "{error}");
        }
    }
}
