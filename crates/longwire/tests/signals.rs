//! What signals do to a server, and what becomes of it when nobody reads what it says.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use longwire_client::End;

use crate::command::{Server, longwire};

fn signal(server: &Server, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &server.process.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[tokio::test]
async fn a_hangup_is_told_in_the_log_and_changes_nothing() {
    let mut server = Server::start(|command| command.stderr(Stdio::piped()));
    let mut log = BufReader::new(server.process.stderr.take().unwrap()).lines();
    signal(&server, "HUP");
    let told = log.find(|line| line.as_ref().unwrap().contains("SIGHUP"));
    assert!(told.is_some());
    let mut line = server.open("/ws").await;
    line.recv().await.expect("it still greets");
    assert!(server.terminate().success());
}

/// A log shipper that has died must not take the server's goodbye with it.
#[tokio::test]
async fn a_server_whose_output_nobody_reads_drains_at_sigterm() {
    let mut server = Server::start(|command| command.args(["--drain", "100ms", "--log", "debug"]).stderr(Stdio::piped()));
    drop(server.process.stderr.take());
    drop(server.process.stdout.take());
    let mut line = server.open("/ws").await;
    line.recv().await.unwrap();
    signal(&server, "HUP");
    let ended = tokio::spawn(async move {
        while line.recv().await.is_some() {}
        line.end()
    });
    let status = tokio::task::spawn_blocking(move || server.terminate()).await.unwrap();
    assert!(status.success(), "{status}");
    let Some(End::Closed(Some(frame))) = ended.await.unwrap() else { panic!("closed without a code") };
    assert_eq!(frame.code.value(), 1001);
}

#[test]
fn commands_whose_output_nobody_reads_do_not_panic() {
    for arguments in
        [&["publish", "a", "b", "--url", "ws://127.0.0.1:1"][..], &["--shards", "0"], &["--log", "nonsense"], &["--help"]]
    {
        let mut process = longwire().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop((process.stdout.take(), process.stderr.take()));
        assert_ne!(process.wait().unwrap().code(), Some(101), "{arguments:?}");
    }
}

#[test]
fn a_log_that_goes_to_a_file_has_no_colours() {
    let mut server = Server::start(|command| command.stderr(Stdio::piped()));
    let mut log = server.process.stderr.take().unwrap();
    assert!(server.terminate().success());
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    assert!(text.contains("shutting down") && !text.contains('\x1b'), "{text:?}");
}
