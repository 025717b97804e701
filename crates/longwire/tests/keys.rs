//! The key that a server makes when none is configured: who gets it, and what it opens.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::command::{PATIENCE, Server, failure_of, http, longwire};

/// A home of its own, so that nothing is there of other servers.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("longwire-home-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("run")).unwrap();
        Self(path)
    }

    fn set<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("XDG_RUNTIME_DIR", self.0.join("run")).env("HOME", &self.0).env_remove("XDG_CACHE_HOME")
    }

    fn serve(&self) -> Server {
        Server::start(|command| self.set(command))
    }

    fn run(&self, arguments: &[&str], server: &Server) -> Output {
        self.set(&mut longwire()).args(arguments).args(["--url", &format!("ws://{}", server.address)]).output().unwrap()
    }

    fn key(&self, server: &Server) -> String {
        let output = self.run(&["key"], server);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn status(server: &Server, headers: &str) -> String {
    let (head, _) = http(server, &format!("GET /api/v1/sessions HTTP/1.1\r\n{headers}"), "");
    head.split(' ').nth(1).unwrap().to_owned()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn three_servers_of_one_user_have_a_key_each() {
    let home = Home::new("three");
    let mut servers = [home.serve(), home.serve(), home.serve()];
    let keys: Vec<String> = servers.iter().map(|server| home.key(server)).collect();
    for (at, server) in servers.iter().enumerate() {
        for (of, key) in keys.iter().enumerate() {
            let expected = if at == of { "200" } else { "401" };
            assert_eq!(status(server, &format!("X-API-Key: {key}\r\n")), expected, "server {at}, key {of}");
        }
        assert_eq!(status(server, ""), "401");
        let file = home.0.join("run/longwire").join(&server.address);
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    }
    // One ends well, one is killed; the third is still to be spoken to, and one that comes takes away what was left.
    assert!(servers[0].terminate().success());
    servers[1].process.kill().unwrap();
    servers[1].process.wait().unwrap();
    for gone in &servers[..2] {
        let (code, said) = failure_of(home.set(&mut longwire()).args(["key", "--url", &format!("ws://{}", gone.address)]));
        assert!(code == Some(1) && said.contains(&gone.address), "{said}");
    }
    assert_eq!(home.key(&servers[2]), keys[2]);
    let _next = home.serve();
    let files = std::fs::read_dir(home.0.join("run/longwire")).unwrap();
    assert_eq!(files.filter(|file| !file.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')).count(), 2);
}

/// Who has another home (another user, that is) has no key, and is a client as any other.
#[test]
fn publishing_finds_the_key_of_its_own_user() {
    let home = Home::new("publish");
    let config = home.0.join("closed.toml");
    std::fs::write(&config, "[namespaces.news]\npublish = \"nobody\"\nhistory_size = 10\n").unwrap();
    let server = Server::start(|command| home.set(command).arg("--config").arg(&config));
    let published = home.run(&["publish", "news:today", "hello", "--event", "say"], &server);
    assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
    let mut lines = home
        .set(&mut longwire())
        .args(["publish", "news:today", "--json", "--url", &format!("ws://{}", server.address)])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    lines.stdin.take().unwrap().write_all(b"{\"n\": 1}\n{\"n\": 12345678901234567890123}\n").unwrap();
    assert!(lines.wait().unwrap().success());
    let key = home.key(&server);
    let (_, history) = http(&server, &format!("GET /api/v1/history?channel=news:today HTTP/1.1\r\nX-API-Key: {key}\r\n"), "");
    for part in [r#""data":"hello""#, r#""event":"say""#, "12345678901234567890123"] {
        assert!(history.contains(part), "{history}");
    }
    let other = Home::new("other");
    let refused = other.run(&["publish", "news:today", "hello"], &server);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not allowed"), "{refused:?}");
    let with_key = other.run(&["publish", "news:today", "hello", "--api-key", &key], &server);
    assert!(with_key.status.success());
    for (arguments, word) in [
        (["publish", "news:today", "--json", "{"], "no JSON"),
        (["publish", "a", "b", "--api-key=a-key-that-is-not-one"], "not valid"),
    ] {
        let output = home.run(&arguments, &server);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(word) && said.trim_end().lines().count() == 1, "{said}");
    }
}

/// The next server has another key, which is found as the first was.
#[test]
fn publishing_line_by_line_outlives_a_killed_server() {
    let home = Home::new("restart");
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let data = home.0.join("data");
    let serve = || Server::start_at(&address, |command| home.set(command).arg("--data-dir").arg(&data));
    let mut server = serve();
    let mut publisher = home
        .set(&mut longwire())
        .args(["publish", "chat:numbers", "--url", &format!("ws://{address}")])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = publisher.stdin.take().unwrap();
    let count = |server: &Server| {
        let head = format!("GET /api/v1/history?channel=chat:numbers HTTP/1.1\r\nX-API-Key: {}\r\n", home.key(server));
        http(server, &head, "").1.matches("\"offset\"").count()
    };
    // Once the second is there the publisher has the answer to the first. It comes back to a server that has answered before, and to no
    // other.
    writeln!(input, "1\n2").unwrap();
    let start = Instant::now();
    while count(&server) < 2 {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    writeln!(input, "3").unwrap();
    let server = serve();
    writeln!(input, "4").unwrap();
    drop(input);
    assert!(publisher.wait().unwrap().success());
    assert_eq!(count(&server), 4, "each once");
}

#[test]
fn configured_keys_leave_no_file() {
    let home = Home::new("configured");
    let server = Server::start(|command| home.set(command).env("LONGWIRE_API_KEYS", "a-key-for-the-tests-1"));
    assert!(!home.0.join("run/longwire").exists());
    assert_eq!((&*status(&server, "X-API-Key: a-key-for-the-tests-1\r\n"), &*status(&server, "")), ("200", "401"));
    // The same variable gives a publisher its key.
    let mut publish = longwire();
    home.set(&mut publish).env("LONGWIRE_API_KEYS", "a-key-for-the-tests-1,another-key-for-the-tests");
    let published = publish.args(["publish", "lobby", "hello", "--url", &format!("ws://{}", server.address)]).output().unwrap();
    assert!(published.status.success(), "{published:?}");
}

/// Without a runtime directory there is one in the home; and if all of it is somebody else's, or leads elsewhere, the API is closed.
#[test]
fn a_key_is_kept_where_its_user_alone_can_read_or_nowhere() {
    let home = Home::new("fallback");
    let server = Server::start(|command| home.set(command).env_remove("XDG_RUNTIME_DIR"));
    assert_eq!(mode(&home.0.join(".cache/longwire/run").join(&server.address)), 0o600);
    // A reader that has a runtime directory finds it there, too.
    assert_eq!(status(&server, &format!("X-API-Key: {}\r\n", home.key(&server))), "200");

    let nowhere = Server::start(|command| {
        command.env("XDG_RUNTIME_DIR", "/proc").env("HOME", "/proc").env("TMPDIR", "/proc").env_remove("XDG_CACHE_HOME")
    });
    let (head, body) = http(&nowhere, "GET /api/v1/sessions HTTP/1.1\r\n", "");
    assert!(head.starts_with("HTTP/1.1 403") && body.contains("api_closed") && body.contains("LONGWIRE_API_KEYS"), "{body}");
}
