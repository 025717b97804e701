//! The `longwire` command as a user meets it: first run, mistakes, options from three sources, the chat.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use longwire_client::{End, Message, WebSocket};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running server on a free port; killed when dropped.
struct Server {
    process: Child,
    greeting: String,
    address: String,
}

impl Server {
    fn start(change: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut command = longwire();
        command.args(["--listen", "127.0.0.1:0"]);
        let mut process = change(&mut command).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut greeting = String::new();
        while !greeting.contains("longwire --help") {
            greeting += &lines.next().expect("a greeting").unwrap();
            greeting.push('\n');
        }
        let address = greeting.split("listening on ").nth(1).unwrap().lines().next().unwrap().to_owned();
        Self { process, greeting, address }
    }

    async fn open(&self, path: &str) -> WebSocket {
        WebSocket::connect(&format!("ws://{}{path}", self.address)).await.unwrap()
    }

    fn terminate(&mut self) -> ExitStatus {
        assert!(Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap().success());
        let start = Instant::now();
        loop {
            match self.process.try_wait().unwrap() {
                Some(status) => return status,
                None if start.elapsed() > PATIENCE => panic!("the server does not end"),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn longwire() -> Command {
    Command::new(env!("CARGO_BIN_EXE_longwire"))
}

/// The exit code and what is said on standard error of a command that fails.
fn failure(arguments: &[&str]) -> (Option<i32>, String) {
    let output = longwire().args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

async fn next(line: &mut WebSocket) -> serde_json::Value {
    let message = tokio::time::timeout(PATIENCE, line.recv()).await.expect("in time").expect("open");
    serde_json::from_str(message.as_text().expect("text")).unwrap()
}

/// Passes over what has another type.
async fn next_of_type(line: &mut WebSocket, kind: &str) -> serde_json::Value {
    loop {
        let message = next(line).await;
        if message["type"] == kind {
            return message;
        }
    }
}

#[test]
fn the_first_run_says_where_to_look_and_how_to_stop() {
    let mut server = Server::start(|command| command);
    let port = server.address.rsplit(':').next().unwrap();
    for part in [&format!("http://127.0.0.1:{port}/chat"), &format!("ws://127.0.0.1:{port}/ws"), "Ctrl-C"] {
        assert!(server.greeting.contains(part), "{}", server.greeting);
    }
    assert!(server.terminate().success());
}

#[tokio::test]
async fn the_articles_example_greets_and_answers() {
    let server = Server::start(|command| command);
    let mut line = server.open("/ws").await;
    assert_eq!(line.recv().await, Some(Message::from("✅ WebSocket 已连接")));
    line.send("你好").await.unwrap();
    assert_eq!(line.recv().await, Some(Message::from("你发送了：你好")));
}

#[tokio::test]
async fn at_sigterm_clients_are_told_that_the_server_goes_away() {
    let mut server = Server::start(|command| command.args(["--drain", "100ms"]));
    let mut line = server.open("/ws").await;
    line.recv().await.unwrap();
    let ended = tokio::spawn(async move {
        while line.recv().await.is_some() {}
        line.end()
    });
    let status = tokio::task::spawn_blocking(move || server.terminate()).await.unwrap();
    assert!(status.success());
    let Some(End::Closed(Some(frame))) = ended.await.unwrap() else { panic!("closed without a code") };
    assert_eq!(frame.code.value(), 1001);
}

#[test]
fn a_taken_port_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, said) = failure(&["--listen", &taken.local_addr().unwrap().to_string()]);
    assert_eq!(code, Some(1));
    assert!(said.contains("taken by another program") && said.trim_end().lines().count() == 1, "{said}");
}

#[test]
fn the_network_is_not_listened_to_by_accident() {
    let (code, said) = failure(&["--listen", "0.0.0.0:0"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("--allow-anonymous"), "{said}");
}

#[test]
fn bad_options_are_named() {
    let (code, said) = failure(&["--ping-interval", "soon"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("--ping-interval") && said.contains("25s"), "{said}");
    let (code, said) = failure(&["--pong-interval", "1s"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("--pong-interval") && said.contains("--ping-interval"), "{said}");
    let (code, said) = failure(&["--config", "no-such-file.toml"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("no-such-file.toml"), "{said}");
    let (code, said) = failure(&["--listen", "nonsense"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("HOST:PORT"), "{said}");
}

#[test]
fn the_environment_counts_and_a_flag_goes_before_it() {
    let (_, said) = failure_with_env("LONGWIRE_LISTEN", "0.0.0.0:0");
    assert!(said.contains("--allow-anonymous"), "{said}");
    let mut server = Server::start(|command| command.env("LONGWIRE_LISTEN", "0.0.0.0:0"));
    assert!(server.terminate().success());
}

fn failure_with_env(name: &str, value: &str) -> (Option<i32>, String) {
    let output = longwire().env(name, value).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_help_shows_every_option_with_its_default() {
    let mut help = String::new();
    let mut process = longwire().args(["serve", "--help"]).stdout(Stdio::piped()).spawn().unwrap();
    process.stdout.take().unwrap().read_to_string(&mut help).unwrap();
    assert!(process.wait().unwrap().success());
    for part in ["--listen", "localhost:8000", "--ping-interval", "25s", "--max-message-size", "1MiB", "LONGWIRE_"] {
        assert!(help.contains(part), "{part} is not in\n{help}");
    }
}

#[tokio::test]
async fn people_in_a_room_see_each_other_come_talk_and_go() {
    let server = Server::start(|command| command.args(["--shards", "2"]));
    let mut ada = server.open("/chat/ws").await;
    ada.send(r#"{"type":"join","room":"tea","name":"Ada"}"#).await.unwrap();
    let welcome = next_of_type(&mut ada, "welcome").await;
    assert_eq!((&welcome["room"], &welcome["you"]["name"]), (&"tea".into(), &"Ada".into()));
    assert_eq!(welcome["members"].as_array().unwrap().len(), 1);

    let mut bo = server.open("/chat/ws").await;
    bo.send(r#"{"type":"join","room":"tea","name":"Bo"}"#).await.unwrap();
    let welcome = next_of_type(&mut bo, "welcome").await;
    assert_eq!(welcome["members"].as_array().unwrap().len(), 2);
    let bo_id = welcome["you"]["id"].clone();
    loop {
        let join = next_of_type(&mut ada, "join").await;
        if join["member"]["id"] == bo_id {
            break;
        }
    }
    // Someone in another room hears nothing of it.
    let mut cy = server.open("/chat/ws").await;
    cy.send(r#"{"type":"join","room":"coffee","name":"Cy"}"#).await.unwrap();

    bo.send(r#"{"type":"say","text":"hello <b>","id":"m1"}"#).await.unwrap();
    for line in [&mut ada, &mut bo] {
        let say = next_of_type(line, "say").await;
        assert_eq!((&say["text"], &say["id"], &say["from"]["id"]), (&"hello <b>".into(), &"m1".into(), &bo_id));
        assert!(say["at"].as_u64().unwrap() > 1_700_000_000_000);
    }
    drop(bo);
    assert_eq!(next_of_type(&mut ada, "leave").await["member"]["id"], bo_id);

    cy.send(r#"{"type":"say","text":"mine","id":"m2"}"#).await.unwrap();
    assert_eq!(next_of_type(&mut cy, "say").await["text"], "mine");
}

#[tokio::test]
async fn what_the_chat_does_not_understand_it_answers_with_a_code() {
    let server = Server::start(|command| command);
    let mut line = server.open("/chat/ws").await;
    let long = "x".repeat(33);
    let cases = [
        ("{", "bad_json"),
        ("[]", "bad_message"),
        (r#"{"type":"dance"}"#, "bad_message"),
        (r#"{"type":"say","text":"hi","id":"1"}"#, "not_joined"),
        (r#"{"type":"join","room":"tea","name":" "}"#, "bad_name"),
        (&format!(r#"{{"type":"join","room":"tea","name":"{long}"}}"#), "bad_name"),
        (r#"{"type":"join","room":"a\u0000b","name":"Ada"}"#, "bad_room"),
    ];
    for (sent, code) in cases {
        line.send(sent).await.unwrap();
        assert_eq!(next_of_type(&mut line, "error").await["code"], code, "{sent}");
    }
    line.send(r#"{"type":"join","room":"tea","name":"Ada"}"#).await.unwrap();
    next_of_type(&mut line, "welcome").await;
    line.send(r#"{"type":"join","room":"tea","name":"Ada"}"#).await.unwrap();
    assert_eq!(next_of_type(&mut line, "error").await["code"], "already_joined");
    let text = "字".repeat(4001);
    line.send(format!(r#"{{"type":"say","text":"{text}","id":"long"}}"#)).await.unwrap();
    let error = next_of_type(&mut line, "error").await;
    assert_eq!((&error["code"], &error["id"]), (&"text_too_long".into(), &"long".into()));
}
