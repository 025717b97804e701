//! The stages of `cargo xtask test`, in the order in which they run: the quick ones first.

use std::path::PathBuf;
use std::process::Command;

use crate::job::Log;
use crate::paths::{self, cargo, program};
use crate::server::{API_KEY, Server};
use crate::test::Options;
use crate::{setup, tidy};

/// One line of the summary.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// The stages that must have passed before: `--only` brings them along.
    pub(crate) needs: &'static [&'static str],
    /// Whether its log tells how many tests ran, and none is a failure.
    pub(crate) counts_tests: bool,
    /// It runs with `--full` alone; what of it an ordinary run has.
    pub(crate) else_run: Option<&'static str>,
    pub(crate) run: fn(&Log, &Options) -> Result<(), String>,
}

impl Stage {
    const fn new(name: &'static str, about: &'static str, run: fn(&Log, &Options) -> Result<(), String>) -> Self {
        Self { name, about, needs: &[], counts_tests: false, else_run: None, run }
    }

    const fn after(self, needs: &'static [&'static str]) -> Self {
        Self { needs, ..self }
    }

    const fn only_full(self, otherwise: &'static str) -> Self {
        Self { else_run: Some(otherwise), ..self }
    }

    const fn of_tests(self) -> Self {
        Self { counts_tests: true, ..self }
    }
}

const SETUP: &str = "setup";
const BUILD: &str = "build";

pub(crate) const ALL: &[Stage] = &[
    Stage::new(SETUP, "installs what is missing", |log, _| setup::install(log)),
    Stage::new("fmt", "cargo fmt --check", fmt),
    Stage::new("tidy", "the project's own rules", |log, _| tidy::check(log)),
    Stage::new("lint", "cargo clippy", lint),
    Stage::new("unit", "unit and integration tests in Rust", unit).of_tests(),
    Stage::new("doctest", "the examples in the documentation", doctest).of_tests(),
    Stage::new("docs", "cargo doc without a warning", docs),
    Stage::new(BUILD, "what the stages below start: as tests are built, or for release with --full", build),
    Stage::new("handshake", "opening handshakes by curl", handshake).after(&[SETUP, BUILD]).of_tests(),
    Stage::new("autobahn-server", "Autobahn's cases against our server", autobahn_server).after(&[SETUP, BUILD]),
    Stage::new("autobahn-client", "Autobahn's cases against our client", autobahn_client).after(&[SETUP, BUILD]),
    Stage::new("interop", "npm ws and Python websockets against our server", interop).after(&[SETUP, BUILD]).of_tests(),
    Stage::new("nginx", "behind a real nginx: the documented configuration, and the smallest one", nginx)
        .after(&[SETUP, BUILD])
        .of_tests(),
    Stage::new("socketio", "stock Socket.IO clients, and the protocol by itself", socketio).after(&[SETUP, BUILD]).of_tests(),
    Stage::new("client-js", "the TypeScript client: build, types, size, tests", client_js).after(&[SETUP, BUILD]).of_tests(),
    Stage::new("sim", "the simulation: a million steps, with --full", sim)
        .only_full("a few hundred seeds are among the unit tests"),
    Stage::new("faults", "lines cut and the server killed: nothing lost", faults).after(&[SETUP, BUILD]),
    Stage::new("browser", "the pages in Chromium", browser).after(&[SETUP, BUILD]).of_tests(),
];

fn fmt(log: &Log, _: &Options) -> Result<(), String> {
    log.run(&mut cargo(&["fmt", "--all", "--check"]))
}

fn lint(log: &Log, _: &Options) -> Result<(), String> {
    log.run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

// The tests run unoptimised: overflow checks and debug assertions are on, and the build is quicker.
fn unit(log: &Log, options: &Options) -> Result<(), String> {
    let mut tests = cargo(&["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"]);
    if options.full {
        tests.env("LONGWIRE_FOLLOWERS", FOLLOWERS_FULL);
    }
    log.run(&mut tests)
}

/// Cases for each way of following channels that the property test has in a full run.
const FOLLOWERS_FULL: &str = "300";

fn doctest(log: &Log, _: &Options) -> Result<(), String> {
    log.run(&mut cargo(&["test", "--workspace", "--no-fail-fast", "--doc"]))
}

fn docs(log: &Log, _: &Options) -> Result<(), String> {
    log.run(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// Builds what the stages below start. Building for release takes minutes and these stages look at no speed: the ordinary
/// run has what the tests before it were built of, with overflow checks and debug assertions.
fn build(log: &Log, options: &Options) -> Result<(), String> {
    // Of the whole workspace, as the tests are: a selection of packages has other features, and is compiled again.
    let mut cargo = cargo(&["build", "--workspace", "--bin", "longwire", "--bin", "longwire-faults"]);
    for example in ["echo", "autobahn_client", "socketio_contract", "socketio_room"] {
        cargo.args(["--example", example]);
    }
    log.run(cargo.args(options.full.then_some("--release")))
}

fn handshake(log: &Log, options: &Options) -> Result<(), String> {
    with_both_servers(log, options, &mut [node_tests(vec![tests_web().join("handshake.test.mjs")])])
}

fn autobahn_server(log: &Log, options: &Options) -> Result<(), String> {
    let mut server = Server::echo(log, options)?;
    let url = format!("ws://{}/echo", server.address());
    let mut words = vec!["server", &url];
    words.extend(options.full.then_some("--full"));
    log.run(&mut program(setup::autobahn(), &words))?;
    server.check_alive()
}

fn autobahn_client(log: &Log, options: &Options) -> Result<(), String> {
    let client = options.built("examples/autobahn_client")?;
    let mut words = vec!["client"];
    words.extend(options.full.then_some("--full"));
    log.run(program(setup::autobahn(), &words).arg("--").arg(client))
}

fn interop(log: &Log, options: &Options) -> Result<(), String> {
    let node =
        node_tests(["ws_client.test.mjs", "http2.test.mjs", "event_source.test.mjs"].map(|file| tests_web().join(file)).into());
    let python = program(setup::python(), &["tests-web/websockets_client.py", "--verbose"]);
    with_both_servers(log, options, &mut [node, python])
}

fn nginx(log: &Log, options: &Options) -> Result<(), String> {
    log.run(node_tests(vec![tests_web().join("nginx.test.mjs")]).env("LONGWIRE_BIN", options.built("longwire")?))
}

fn socketio(log: &Log, options: &Options) -> Result<(), String> {
    let example = options.built("examples/socketio_room")?;
    let examples = example.parent().ok_or("an example lies in a folder")?;
    let mut node = node_tests(test_files("socketio")?);
    log.run(node.env("LONGWIRE_EXAMPLES", examples).env("PYTHON", setup::python()))
}

/// Runs the commands with the default server and the echo example at their side.
fn with_both_servers(log: &Log, options: &Options, commands: &mut [Command]) -> Result<(), String> {
    let mut longwire = Server::longwire(log, options)?;
    let mut echo = Server::echo(log, options)?;
    let mut complaints = Vec::new();
    for command in commands {
        command.env("LONGWIRE_URL", longwire.http()).env("LONGWIRE_ECHO_URL", echo.http()).env("API_KEY", API_KEY);
        complaints.extend(log.run(command).err());
    }
    complaints.extend(longwire.check_alive().err());
    complaints.extend(echo.check_alive().err());
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("; ")) }
}

/// Builds, so that a page is served what the sources say; checks types and size; tests against a scripted server and ours.
fn client_js(log: &Log, options: &Options) -> Result<(), String> {
    let folder = paths::root().join("clients/js");
    let served = folder.join("dist/longwire.min.js");
    let before = std::fs::read(&served).map_err(|error| format!("{}: {error}", served.display()))?;
    log.run(program("npm", &["test"]).current_dir(&folder))?;
    if std::fs::read(&served).ok() != Some(before) {
        return Err("clients/js/dist/longwire.min.js was not what the sources give: commit it as it is now".to_owned());
    }
    let longwire = options.built("longwire")?;
    log.run(program("npm", &["run", "test:server"]).current_dir(&folder).env("LONGWIRE", longwire))
}

fn sim(log: &Log, _: &Options) -> Result<(), String> {
    let words = ["run", "--release", "-p", "longwire-sim", "--", "--seeds", "350", "--steps", "3000"];
    log.run(&mut cargo(&words))
}

/// The fault test: small in the ordinary run, a million deliveries with `--full`; over every transport, and with clients of others.
fn faults(log: &Log, options: &Options) -> Result<(), String> {
    let chromium = setup::chromium().ok_or("Chromium is missing: run `cargo xtask setup`")?;
    let mut faults = program(options.built("longwire-faults")?, &["--program"]);
    faults.arg(options.built("longwire")?);
    if !options.full {
        let small = "--rust 30 --rust-stream 5 --rust-poll 5 --node 5 --stream 5 --poll 5 --polls 5 --events 6 --socketio 6 \
                     --chromium 3 --channels 4 --renewals 1 --publications 400 --pause 100 --kills 4 --cuts 200";
        faults.args(small.split_whitespace());
    }
    log.run(faults.env("CHROMIUM", chromium))
}

fn browser(log: &Log, options: &Options) -> Result<(), String> {
    let chromium = setup::chromium().ok_or("Chromium is missing: run `cargo xtask setup`")?;
    let mut server = Server::longwire(log, options)?;
    let mut node = node_tests(test_files("browser")?);
    node.env("LONGWIRE_URL", server.http()).env("LONGWIRE_BIN", options.built("longwire")?).env("CHROMIUM", chromium);
    node.env("API_KEY", API_KEY);
    log.run(&mut node)?;
    server.check_alive()
}

/// The tests in a folder of `tests-web`.
fn test_files(folder: &str) -> Result<Vec<PathBuf>, String> {
    let folder = tests_web().join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .map_err(|e| format!("{}: {e}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(".test.mjs"))
        .collect();
    files.sort();
    if files.is_empty() { Err(format!("{} has no *.test.mjs", folder.display())) } else { Ok(files) }
}

fn tests_web() -> PathBuf {
    paths::root().join("tests-web")
}

/// Node's own test runner on these files. They are named one by one, since what it makes of a folder
/// or a pattern differs between its versions.
fn node_tests(files: Vec<PathBuf>) -> Command {
    let mut node = program("node", &["--test", "--test-reporter=spec"]);
    node.args(files);
    node
}
