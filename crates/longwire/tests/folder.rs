//! `--static`: what is served of a folder, and what is not; the client for pages of other origins; addresses where nothing is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::command::{Server, failure, http};

/// A folder for one test, and what must not be reached from it beside it.
struct Site(PathBuf);

impl Site {
    fn new(name: &str) -> Self {
        let outer = std::env::temp_dir().join(format!("longwire-site-{name}-{}", std::process::id()));
        let root = outer.join("site");
        fs::create_dir_all(root.join("app")).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::create_dir_all(root.join(".well-known")).unwrap();
        fs::write(outer.join("secret.txt"), "secret").unwrap();
        fs::write(root.join("index.html"), "<h1>mine</h1>").unwrap();
        fs::write(root.join("app/index.html"), "<h1>app</h1>").unwrap();
        fs::write(root.join("app/main.js"), "export {};").unwrap();
        fs::write(root.join(".env"), "secret").unwrap();
        fs::write(root.join(".git/config"), "secret").unwrap();
        fs::write(root.join(".well-known/security.txt"), "mail us").unwrap();
        fs::write(root.join("你 好.txt"), "hello").unwrap();
        symlink(outer.join("secret.txt"), root.join("out.txt")).unwrap();
        symlink(root.join("app/main.js"), root.join("in.js")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(root.join("pipe")).status().unwrap().success());
        Self(outer)
    }

    fn serve(&self) -> Server {
        Server::start(|command| command.arg("--static").arg(self.0.join("site")))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn get(server: &Server, path: &str) -> (String, String) {
    http(server, &format!("GET {path} HTTP/1.1\r\n"), "")
}

fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.split_once(": ").filter(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

#[test]
fn files_of_a_folder_are_served_with_their_types() {
    let site = Site::new("types");
    let server = site.serve();
    for (path, kind, body) in [
        ("/", "text/html; charset=utf-8", "<h1>mine</h1>"),
        ("/app/", "text/html; charset=utf-8", "<h1>app</h1>"),
        ("/app/main.js?v=1", "text/javascript; charset=utf-8", "export {};"),
        ("/in.js", "text/javascript; charset=utf-8", "export {};"),
        ("/%E4%BD%A0%20%E5%A5%BD.txt", "text/plain; charset=utf-8", "hello"),
        ("/.well-known/security.txt", "text/plain; charset=utf-8", "mail us"),
    ] {
        let (head, got) = get(&server, path);
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        assert_eq!((value(&head, "content-type"), &*got), (Some(kind), body), "{path}");
        assert_eq!(value(&head, "x-content-type-options"), Some("nosniff"));
    }
    let (head, _) = get(&server, "/app");
    assert!(head.starts_with("HTTP/1.1 308") && value(&head, "location") == Some("/app/"), "{head}");
    // What the folder does not have is there as without it, and no file takes the place of what is no page.
    assert!(get(&server, "/chat").1.contains("Longwire"));
    fs::write(site.0.join("site/healthz"), "mine").unwrap();
    assert_eq!(get(&server, "/healthz").1, "ok\n");
    let (head, body) = http(&server, "HEAD /app/main.js HTTP/1.1\r\n", "");
    assert!(value(&head, "content-length") == Some("10") && body.is_empty(), "{head}");
}

#[test]
fn nothing_outside_of_the_folder_and_nothing_hidden_is_served() {
    let site = Site::new("outside");
    let server = site.serve();
    for path in [
        "/../secret.txt",
        "/app/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/out.txt",
        "/.env",
        "/.git/config",
        "/app/%2e%2e/%2e%2e/secret.txt",
        "/pipe",
        "//secret.txt",
        "/index.html/",
        "/app/main.js%00.txt",
    ] {
        let (head, body) = get(&server, path);
        assert!(head.starts_with("HTTP/1.1 404") && !body.contains("secret\n") && body != "secret", "{path}: {head} {body}");
    }
}

#[test]
fn a_file_is_not_sent_twice_and_a_changed_one_is() {
    let site = Site::new("tags");
    let server = site.serve();
    let tag = value(&get(&server, "/app/main.js").0, "etag").unwrap().to_owned();
    let again = |tag: &str| http(&server, &format!("GET /app/main.js HTTP/1.1\r\nIf-None-Match: {tag}\r\n"), "");
    let (head, body) = again(&tag);
    assert!(head.starts_with("HTTP/1.1 304") && body.is_empty() && value(&head, "etag") == Some(&tag), "{head}");
    fs::write(site.0.join("site/app/main.js"), "export { a };").unwrap();
    assert!(again(&tag).0.starts_with("HTTP/1.1 200"));
}

#[test]
fn a_long_file_comes_whole() {
    let site = Site::new("long");
    let text: String = (0..200_000).map(|n| format!("{n}\n")).collect();
    fs::write(site.0.join("site/long.txt"), &text).unwrap();
    let server = site.serve();
    let (head, body) = get(&server, "/long.txt");
    assert_eq!(value(&head, "content-length"), Some(&*text.len().to_string()));
    assert!(body == text);
}

#[test]
fn what_is_no_folder_is_an_error() {
    let site = Site::new("error");
    let file = site.0.join("secret.txt");
    for (given, code) in [(file.to_str().unwrap(), 1), ("/no/such/folder", 1), ("", 2)] {
        let (ended, said) = failure(&["--listen", "127.0.0.1:0", "--static", given]);
        assert!(ended == Some(code) && said.contains("static"), "{given}: {said}");
    }
}

#[test]
fn the_client_may_be_loaded_by_pages_of_other_origins_and_nothing_else() {
    let server = Server::start(|command| command);
    let from_elsewhere =
        |path: &str| http(&server, &format!("GET {path} HTTP/1.1\r\nOrigin: https://elsewhere.example\r\n"), "");
    let (head, _) = from_elsewhere("/longwire.js");
    assert_eq!(value(&head, "access-control-allow-origin"), Some("*"));
    assert_eq!(value(&head, "cross-origin-resource-policy"), Some("cross-origin"));
    for path in ["/", "/chat", "/assets/i18n.js"] {
        let (head, _) = from_elsewhere(path);
        assert!(head.starts_with("HTTP/1.1 200") && value(&head, "access-control-allow-origin").is_none(), "{path}: {head}");
    }
}

#[test]
fn an_address_where_nothing_is_answers_a_person_with_a_page_and_a_program_with_json() {
    let server = Server::start(|command| command);
    let asks = |line: &str, accept: &str| http(&server, &format!("{line} HTTP/1.1\r\nAccept: {accept}\r\n"), "");
    for path in ["/nope", "/nothing", "/chat/x"] {
        let (head, body) = asks(&format!("GET {path}"), "text/html,application/xhtml+xml,*/*;q=0.8");
        assert!(head.starts_with("HTTP/1.1 404") && body.contains("<!doctype html>"), "{path}: {head}");
        assert!(value(&head, "content-security-policy").is_some() && value(&head, "vary") == Some("accept"), "{head}");
        let (head, body) = asks(&format!("GET {path}"), "*/*");
        assert!(head.starts_with("HTTP/1.1 404") && body.contains(r#""not_found""#), "{path}: {head} {body}");
    }
    let (head, body) = asks("POST /chat", "*/*");
    assert!(head.starts_with("HTTP/1.1 405") && body.contains("method_not_allowed"), "{head} {body}");
    assert_eq!(value(&head, "allow"), Some("GET, HEAD"));
}
