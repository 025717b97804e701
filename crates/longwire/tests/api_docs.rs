//! The commands of `docs/api.md` and `docs/event-streams.md`, run against the server; what they answer is what stands below them.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Map, Value};

/// A running server; killed when dropped.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(change: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longwire"));
        command.args(["--listen", "127.0.0.1:0"]);
        let mut process = change(&mut command).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut greeting = String::new();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        while !greeting.contains("listening on ") {
            greeting = lines.next().expect("a greeting").unwrap();
        }
        let address = greeting.split("listening on ").nth(1).unwrap().to_owned();
        // Nobody reads the rest.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address }
    }

    /// What a script prints.
    fn run(&self, script: &str) -> String {
        let mut shell = self.begin(script);
        let mut out = String::new();
        shell.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        assert!(shell.wait().unwrap().success(), "{script}\n{out}");
        out
    }

    fn begin(&self, script: &str) -> Child {
        // What stands at the beginning of docs/api.md, and is left out where it is not needed.
        let key = if script.contains("$KEY") { "KEY=\"X-API-Key: $(longwire key)\"\n" } else { "" };
        let script = format!("{key}{}", script.replace("localhost:8000", &self.address));
        let programs = Path::new(env!("CARGO_BIN_EXE_longwire")).parent().expect("a folder");
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-ec", &script]).env("PATH", path).env("LONGWIRE_URL", format!("ws://{}", self.address));
        shell.stdout(Stdio::piped()).spawn().expect("sh and curl")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Blocks of code, with their language.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let inside = text.split("\n```").skip(1).step_by(2);
    inside.map(|block| block.split_once('\n').expect("a block with lines")).collect()
}

/// What differs from run to run is put alike.
fn alike(value: Value) -> Value {
    let member = |(name, value): (String, Value)| {
        let value = match &*name {
            "epoch" | "session" | "key" => Value::from("differs"),
            "time" => Value::from(0),
            _ => alike(value),
        };
        (name, value)
    };
    match value {
        Value::Object(members) => Value::Object(members.into_iter().map(member).collect::<Map<_, _>>()),
        Value::Array(items) => Value::Array(items.into_iter().map(alike).collect()),
        other => other,
    }
}

fn values(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| alike(serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))).collect()
}

#[test]
fn the_commands_of_the_documentation_answer_what_it_says() {
    let server = Server::start(|command| command);
    let text = include_str!("../../../docs/api.md");
    let blocks = blocks(text);
    let mut run = 0;
    for (at, (language, script)) in blocks.iter().enumerate() {
        if *language != "sh" {
            continue;
        }
        let said = server.run(script);
        assert!(!said.is_empty(), "{script}");
        let said = values(&said);
        if let Some(("json", expected)) = blocks.get(at + 1) {
            assert_eq!(said, values(expected), "{script}");
            run += 1;
        }
    }
    assert!(run >= 10, "only {run} examples were found");
}

/// The names and data of a stream's events.
fn events(text: &str) -> Vec<(Option<&str>, Value)> {
    fn field<'a>(block: &'a str, name: &str) -> Option<&'a str> {
        block.lines().find_map(|line| line.strip_prefix(name))
    }
    text.split("\n\n")
        .filter_map(|block| {
            let data = field(block, "data: ")?;
            Some((field(block, "event: "), alike(serde_json::from_str(data).expect("JSON"))))
        })
        .collect()
}

#[test]
fn a_stream_of_events_is_as_the_documentation_shows_it() {
    let server = Server::start(|command| command);
    let text = include_str!("../../../docs/event-streams.md");
    let blocks = blocks(text);
    let script = blocks.iter().position(|(language, _)| *language == "sh").expect("a script");
    let shown = blocks[script + 1].1;
    assert_eq!(events(shown).len(), 3);
    // A second is not enough for it everywhere, so it is listened to until all is there, or the server is not there any more.
    let told = blocks[script].1.replace("--max-time 1 ", "--max-time 60 ");
    assert_ne!(told, blocks[script].1, "how long it may take is not said any more");
    let mut shell = server.begin(&told);
    let mut said = String::new();
    let mut out = BufReader::new(shell.stdout.take().unwrap());
    while events(&said).len() < 3 && out.read_line(&mut said).unwrap() > 0 {}
    drop(server);
    out.read_to_string(&mut said).unwrap();
    assert!(shell.wait().unwrap().success(), "{said}");
    assert!(said.starts_with("retry: ") && shown.starts_with("retry: "));
    assert_eq!(events(&said), events(shown));
}

#[test]
fn a_line_over_http_is_as_the_documentation_shows_it() {
    let server = Server::start(|command| command);
    let blocks = blocks(include_str!("../../../docs/http-lines.md"));
    let script = blocks.iter().position(|(language, _)| *language == "sh").expect("a script");
    let shown = values(blocks[script + 1].1);
    // On a busy machine one poll may come before all is there: then there is another.
    let poll = r#"curl -s "$url/$line?wait=5""#;
    let is_short = format!(r#"[ "$(printf %s "$said" | grep -c .)" -lt {} ]"#, shown.len());
    let polls = format!("said=\nwhile {is_short}; do said=\"$said$({poll})\n\"; done\nprintf %s \"$said\"");
    let told = blocks[script].1.replace(poll, &polls);
    assert_ne!(told, blocks[script].1, "there is no poll");
    let said = values(&server.run(&told));
    assert_eq!(said, shown);
    assert!(said.len() >= 3, "{said:?}");
}

#[test]
fn the_short_commands_of_the_documentation_answer() {
    for text in [include_str!("../../../docs/transports.md"), include_str!("../../../docs/transports.zh-CN.md")] {
        let server = Server::start(|command| command);
        let blocks = blocks(text);
        // A stream has no end, and a loop neither.
        let ends = |line: &&str| line.starts_with("curl -s ") || line.starts_with("  -d ");
        let mut answers = 0;
        for (_, script) in blocks.iter().filter(|(language, _)| *language == "sh") {
            let script: Vec<_> = script.lines().filter(ends).collect();
            let said = server.run(&script.join("\n"));
            answers += said.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count();
        }
        assert_eq!(answers, 3, "published, what there is, and what cannot be continued");
    }
}

#[test]
fn keys_come_from_the_environment_and_short_ones_are_refused() {
    let server = Server::start(|command| command.env("LONGWIRE_API_KEYS", "a-key-for-the-tests-1, a-key-for-the-tests-2"));
    let script = "curl -s localhost:8000/api/v1/channels";
    assert!(server.run(script).contains("unauthorized"));
    assert!(server.run(&format!("{script} -H 'Authorization: Bearer a-key-for-the-tests-2'")).contains("\"channels\""));
    let output = Command::new(env!("CARGO_BIN_EXE_longwire")).args(["--api-keys", "short"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("16") && !said.contains("short"), "{said}");
}
