//! Options as people give them, and get them wrong: every value means what it says, or is an error with what to do.

use crate::command::{Server, failure, failure_of, longwire};

/// The exit code and what is said on standard error of a server that does not start.
fn failure_with_env(name: &str, value: &str) -> (Option<i32>, String) {
    failure_of(longwire().args(["--listen", "127.0.0.1:0"]).env(name, value))
}

fn help_of(arguments: &[&str]) -> String {
    let output = longwire().args(arguments).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bad_options_are_named() {
    for (arguments, code, words) in [
        (&["--ping-interval", "soon"][..], 2, &["--ping-interval", "25s"][..]),
        (&["--config", "no-such-file.toml"], 1, &["no-such-file.toml"]),
        (&["--shards", "0"], 2, &["--shards", "1 to 64"]),
        (&["--shards", "off"], 2, &["--shards", "auto"]),
        (&["--max-connections", "0"], 2, &["--max-connections", "from 1"]),
        (&["--max-connections-per-address", "0"], 2, &["--max-connections-per-address", "off"]),
        (&["--max-fragments", "0"], 2, &["--max-fragments"]),
        (&["--idle-timeout", "auto"], 2, &["--idle-timeout", "off"]),
        (&["--data-dir", ""], 2, &["--data-dir", "empty"]),
        (&["--data-dir", "auto"], 2, &["--data-dir", "./auto"]),
        (&["--fsync", "always"], 1, &["fsync", "--data-dir"]),
        (&["--log", "nonsense"], 1, &["log", "nonsense", "debug"]),
        (&["--allowed-origins", "app.example.com"], 1, &["allowed_origins", "https://app.example.com"]),
        (&["--allowed-origins", "https://*.example.com"], 1, &["allowed_origins", "patterns"]),
        (&["--allowed-origins", ""], 1, &["allowed_origins", "none"]),
        (&["--api-keys", ""], 1, &["api_keys", "empty"]),
        (&["--api-keys", "a-good-and-long-key,"], 1, &["api_keys", "empty"]),
        (&["--api-keys", "short"], 1, &["api_keys", "16"]),
    ] {
        let (given, said) = failure(&[&["--listen", "127.0.0.1:0"], arguments].concat());
        assert_eq!(given, Some(code), "{arguments:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{arguments:?}: {said}");
        assert!(!said.contains("a-good-and-long-key"), "a secret is told: {said}");
    }
    for nowhere in ["nonsense", "", ":8000", "8000", "localhost"] {
        let (code, said) = failure(&["--listen", nowhere]);
        assert!(code == Some(1) && said.contains("HOST:PORT"), "{nowhere}: {said}");
    }
}

#[test]
fn an_empty_secret_is_no_secret() {
    for empty in ["", ",", " ", "a-good-and-long-key,"] {
        let (code, said) = failure_with_env("LONGWIRE_API_KEYS", empty);
        assert_eq!(code, Some(1), "{empty:?}: {said}");
        assert!(said.contains("api_keys") && !said.contains("a-good"), "{said}");
    }
}

#[test]
fn the_environment_is_read_as_carefully_as_flags() {
    for (name, value, word) in [
        ("LONGWIRE_SHARDS", "0", "LONGWIRE_SHARDS"),
        ("LONGWIRE_DATA_DIR", "", "LONGWIRE_DATA_DIR"),
        ("LONGWIRE_COMPRESSION", "maybe", "LONGWIRE_COMPRESSION"),
        ("LONGWIRE_CONFIG", "", "cannot read"),
        ("LONGWIRE_LOG", "nonsense", "log"),
        ("LONGWIRE_ALLOWED_ORIGINS", "*.example.com", "allowed_origins"),
        ("LONGWIRE_API_KEY", "a-good-and-long-key", "did you mean LONGWIRE_API_KEYS?"),
        ("LONGWIRE_PORT", "9000", "LONGWIRE_PORT"),
    ] {
        let (code, said) = failure_with_env(name, value);
        assert_eq!(code, Some(1), "{name}: {said}");
        assert!(said.trim_end().lines().count() == 1 && said.contains(word), "{name}: {said}");
    }
}

#[test]
fn the_environment_counts_and_a_flag_goes_before_it() {
    for (value, word) in [("0.0.0.0:0", "--allow-anonymous"), ("", "HOST:PORT")] {
        let (_, said) = failure_of(longwire().env("LONGWIRE_LISTEN", value));
        assert!(said.contains(word), "{value}: {said}");
    }
    let mut server = Server::start(|command| command.env("LONGWIRE_LISTEN", "0.0.0.0:0"));
    assert!(server.terminate().success());
}

/// Clients are told in whole seconds; one that is told 0 would never ping.
#[tokio::test]
async fn a_short_ping_interval_is_told_as_a_second() {
    let server = Server::start(|command| command.args(["--ping-interval", "400ms"]));
    let mut line = server.open("/v1/ws").await;
    line.send(r#"{"type":"connect"}"#).await.unwrap();
    let told = line.recv().await.unwrap();
    assert!(told.as_text().is_some_and(|text| text.contains(r#""ping":1,"#)), "{told:?}");
}

/// What an orchestrator tells of a service of this name does not keep it from starting.
#[test]
fn a_service_named_longwire_starts() {
    let mut server =
        Server::start(|command| command.env("LONGWIRE_SERVICE_HOST", "10.0.0.7").env("LONGWIRE_PORT", "tcp://10.0.0.7:8000"));
    assert!(server.terminate().success());
}

#[test]
fn a_typo_is_answered_with_what_was_probably_meant() {
    let file = std::env::temp_dir().join(format!("longwire-typo-{}.toml", std::process::id()));
    std::fs::write(&file, "[namespaces.news]\nhistry_size = 5\n").unwrap();
    for (arguments, meant) in [
        (&["--pong-interval", "1s"][..], "--ping-interval"),
        (&["--port", "9000"], "--listen"),
        (&["sevre"], "serve"),
        (&["serve", "--lisen", "x"], "--listen"),
        (&["publsh", "a", "b"], "publish"),
        (&["bench", "ehco"], "echo"),
        (&["--config", file.to_str().unwrap()], "did you mean \"history_size\"?"),
    ] {
        let (code, said) = failure(arguments);
        assert!(code.is_some_and(|code| code > 0) && said.contains(meant), "{arguments:?}: {said}");
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn the_help_shows_every_option_with_its_default_and_every_command() {
    for help in [help_of(&["--help"]), help_of(&["serve", "--help"])] {
        for part in ["--listen", "localhost:8000", "--ping-interval", "25s", "--max-message-size", "1MiB", "LONGWIRE_"] {
            assert!(help.contains(part), "{part} is not in\n{help}");
        }
    }
    let help = help_of(&["--help"]);
    for command in ["serve", "publish", "subscribe", "bench"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command} is not in\n{help}");
    }
}
