//! Every mode, briefly, against a small server in the same process.

mod native;
mod server;
mod stream;
mod stream_server;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Parser;
use longwire_bench::{BenchArgs, Error, Mode, Outcome, Report, Stop};
use server::TestServer;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    bench: BenchArgs,
}

fn parse(server: &TestServer, line: &str) -> BenchArgs {
    parse_for(server.address, line)
}

fn parse_for(address: SocketAddr, line: &str) -> BenchArgs {
    let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    words.insert(1, address.to_string());
    Cli::try_parse_from(std::iter::once("bench".to_owned()).chain(words)).expect("a good command line").bench
}

fn mode(server: &TestServer, line: &str) -> Mode {
    parse(server, line).mode
}

fn measure(server: &TestServer, line: &str) -> Report {
    longwire_bench::measure(&mode(server, line), &Stop::default()).expect("a result")
}

fn fails(server: &TestServer, line: &str) -> Error {
    longwire_bench::measure(&mode(server, line), &Stop::default()).expect_err("an error")
}

fn assert_clean(report: &Report) {
    assert_eq!(report.outcome, Outcome::Complete);
    assert_eq!(report.faults.total(), 0, "{:?}", report.faults);
    assert_eq!(report.lines.closed_by_server, 0);
    assert!(report.operations > 0);
}

#[test]
fn echo_measures_round_trips() {
    let server = TestServer::start();
    let pid = std::process::id();
    let report = measure(&server, &format!("echo --lines 4 --depth 3 --seconds 0.3 --warmup 0.05 --pid {pid}"));
    assert_clean(&report);
    let latency = report.latency_us.as_ref().expect("latencies");
    assert_eq!(latency.count, report.operations);
    assert!(latency.min <= latency.p50 && latency.p50 <= latency.p99 && latency.p99 <= latency.max);
    assert_eq!(report.payload_bytes, report.operations * 128);
    let in_slices: u64 = report.rates.iter().map(|rate| rate.operations).sum();
    assert!(in_slices <= report.operations && in_slices > 0);
    let cost = report.server_cost.as_ref().expect("the server is this process");
    assert!(cost.cpu_us > 0.0 && cost.private_peak_bytes >= cost.private_after_bytes);
    // A ping came with each handshake, and each line said goodbye.
    assert_eq!((report.lines.opened, report.lines.pings_answered, report.lines.lines_pinged), (4, 4, 4));
    assert_eq!((server.pongs(), server.closes()), (4, 4));
}

#[test]
fn echo_takes_every_size_type_and_fragmentation() {
    let server = TestServer::start();
    for line in
        ["--size 16", "--size 126 --binary", "--size 70000 --depth 4", "--size 700000 --binary", "--path /echo-fragments"]
    {
        assert_clean(&measure(&server, &format!("echo --lines 2 --seconds 0.1 --warmup 0 {line}")));
    }
}

#[test]
fn echo_counts_each_fault_as_what_it_is() {
    let server = TestServer::start();
    let faults = |path: &str| {
        measure(&server, &format!("echo --lines 2 --depth 4 --seconds 0.1 --warmup 0 --timeout 1 --path {path}")).faults
    };
    let lost = faults("/echo-loss");
    assert_eq!((lost.missing, lost.total()), (2, 2));
    let twice = faults("/echo-twice");
    assert_eq!((twice.repeated, twice.total()), (2, 2));
    // The damaged message is also missing.
    let damaged = faults("/echo-damage");
    assert_eq!((damaged.damaged, damaged.missing, damaged.total()), (2, 2, 4));
}

#[test]
fn closed_lines_are_counted_by_code() {
    let server = TestServer::start();
    let report = measure(&server, "echo --lines 3 --depth 2 --seconds 5 --warmup 0 --path /echo-close");
    assert_eq!(report.outcome, Outcome::Stalled, "no line is left");
    assert_eq!(report.close_codes, [(1013, 3)].into());
    assert_eq!(report.lines.closed_by_server, 3);
    assert!(report.table().contains("3 with 1013"), "{}", report.table());
}

#[test]
fn a_server_that_falls_silent_ends_the_run_within_the_time_out() {
    let server = TestServer::start();
    let began = Instant::now();
    let report = measure(&server, "echo --lines 2 --depth 2 --seconds 60 --warmup 0 --timeout 0.3 --path /echo-mute");
    assert_eq!(report.outcome, Outcome::Stalled);
    assert_eq!((report.operations, report.faults.missing), (12, 4));
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn fanout_measures_deliveries_in_every_mode() {
    let server = TestServer::start();
    // The second number bounds the messages that are on their way when the interval begins or ends.
    for (line, window) in [("--mode saturated --window 8", 8), ("--mode single", 1), ("--mode paced --rate 200", 20)] {
        let report = measure(&server, &format!("fanout --subscribers 10 --seconds 0.3 --warmup 0.05 {line}"));
        assert_clean(&report);
        let published = report.published.expect("fan-out publishes");
        assert!(report.operations.abs_diff(published * 10) <= window * 10, "{line}: {published} x 10, {}", report.operations);
        assert_eq!(report.lines.opened, 11);
    }
}

#[test]
fn fanout_is_measured_over_every_transport() {
    let server = TestServer::start();
    for line in [
        "--transport socketio",
        "--transport socketio --sub-path /socket.io/?offsets --mode single",
        "--transport sse --sub-path /events/bench-{}",
        "--transport sse --sub-path /events/bench-{}?plain --mode paced --rate 200",
    ] {
        let pongs = server.pongs();
        let report = measure(&server, &format!("fanout --subscribers 10 --seconds 0.3 --warmup 0.05 {line}"));
        assert_clean(&report);
        let published = report.published.expect("fan-out publishes");
        assert!(report.operations.abs_diff(published * 10) <= 20 * 10, "{line}: {published} x 10, {}", report.operations);
        assert!(report.payload_bytes / report.operations > 128, "what stands around a message counts");
        // Socket.IO's heartbeat is answered beside WebSocket's; on an event stream there is neither.
        let answered = if line.contains("socketio") { 11 * 2 } else { 1 };
        assert_eq!(
            (report.lines.opened, report.lines.pings_answered, server.pongs() - pongs),
            (11, answered, answered),
            "{line}"
        );
    }
}

#[test]
fn rooms_of_socket_io_and_event_streams_are_told_apart() {
    let server = TestServer::start();
    for line in ["--transport socketio", "--transport sse --sub-path /events/bench-{}"] {
        let report = measure(&server, &format!("rooms --lines 12 --rooms 5 --outstanding 2 --seconds 0.2 --warmup 0 {line}"));
        assert_clean(&report);
    }
    assert!(fails(&server, "rooms --transport socketio --room same").to_string().contains("{}"));
}

#[test]
fn socket_io_that_is_refused_says_why() {
    let server = TestServer::start();
    let said = fails(&server, "fanout --transport socketio --sub-path /socket.io/?refuse").to_string();
    assert!(said.contains("not you") && said.contains("/socket.io/?refuse"), "{said}");
    // A WebSocket server that says nothing of Engine.IO.
    let silent = fails(&server, "fanout --transport socketio --sub-path /echo --timeout 0.2").to_string();
    assert!(silent.contains("no answer"), "{silent}");
}

#[test]
fn event_streams_that_are_none_are_refused() {
    let server = TestServer::start();
    let said = fails(&server, "fanout --transport sse --sub-path /nowhere").to_string();
    assert!(said.contains("/nowhere") && said.contains("404"), "{said}");
    let said = fails(&server, "fanout --transport sse --sub-path /hello").to_string();
    assert!(said.contains("no HTTP/1.1"), "{said}");
}

#[test]
fn paced_fanout_keeps_its_rate() {
    let server = TestServer::start();
    let report = measure(&server, "fanout --subscribers 2 --mode paced --rate 100 --seconds 1 --warmup 0");
    let published = report.published.expect("fan-out publishes");
    // A busy machine may let the last ones come late; never may there be more.
    assert!((1..=101).contains(&published), "{published}");
}

#[test]
fn rooms_publishes_to_every_channel() {
    let server = TestServer::start();
    let report = measure(&server, "rooms --lines 12 --rooms 5 --outstanding 2 --seconds 0.3 --warmup 0");
    assert_clean(&report);
    assert_eq!(report.lines.opened, 12 + 5);
}

#[test]
fn idle_measures_growth_per_line() {
    let server = TestServer::start();
    let pid = std::process::id();
    let report = measure(&server, &format!("idle --from 4 --to 40 --settle 0.1 --path /sub/idle --pid {pid}"));
    let idle = report.idle.as_ref().expect("a reading");
    assert_eq!((idle.from, idle.to, report.lines.opened), (4, 40, 40));
    assert!(idle.private_from_bytes > 0 && idle.private_to_bytes > 0);
    for (line, pings) in [("--transport socketio", 40 * 2), ("--transport sse --path /events/idle", 0)] {
        let report = measure(&server, &format!("idle --from 4 --to 40 --settle 0.1 --pid {pid} {line}"));
        assert_eq!((report.lines.opened, report.lines.pings_answered), (40, pings), "{line}");
    }
    assert!(matches!(fails(&server, "idle --from 4 --to 40"), Error::Usage(text) if text.contains("--pid")));
}

#[test]
fn alive_holds_lines_and_answers_pings() {
    let server = TestServer::start();
    let report = measure(&server, "alive --lines 30 --subscribers 10 --rate 50 --seconds 0.4 --warmup 0");
    assert_clean(&report);
    assert_eq!((report.lines.opened, report.lines.lines_pinged), (31, 31));
    let line = "alive --lines 30 --subscribers 10 --rate 50 --seconds 0.2 --warmup 0 --transport socketio";
    assert_clean(&measure(&server, line));
}

#[test]
fn errors_say_what_to_do() {
    let server = TestServer::start();
    let said = |line: &str| fails(&server, line).to_string();
    let refused = said("echo --path /nowhere --lines 1");
    assert!(refused.contains("/nowhere") && refused.contains("404") && refused.contains("nothing here"), "{refused}");
    let strange = said("echo --path /hello --lines 1");
    assert!(strange.contains("/hello") && strange.contains("HTTP"), "{strange}");
    let stuck = said("echo --path /hang --lines 1 --timeout 0.2");
    assert!(stuck.contains("no answer") && stuck.contains("--timeout"), "{stuck}");
    let apart = said("fanout --subscribers 3 --sub-path /sub/here --pub-path /pub/there --timeout 0.6");
    assert!(apart.starts_with("3 subscribers") && apart.contains("/pub/there") && apart.contains("/sub/here"), "{apart}");
    let many = said("echo --lines 1000000");
    assert!(many.contains("1000032") && many.contains("ulimit"), "{many}");
    assert!(said("rooms --sub-path /sub/same").contains("{}"));
    assert!(said("alive --lines 3 --subscribers 4").contains("--subscribers"));
    assert!(said("echo --pid 4294967295").contains("--pid"));
}

#[test]
fn a_server_that_is_not_there_is_said_so() {
    let mut server = TestServer::start();
    server.address.set_port(1);
    let said = fails(&server, "echo --lines 1").to_string();
    assert!(said.contains("nothing listens at 127.0.0.1:1"), "{said}");
}

#[test]
fn a_stop_ends_the_run_with_the_figures_so_far() {
    let server = TestServer::start();
    let stop = Stop::default();
    let asked = stop.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(400));
        asked.request();
    });
    let mode = mode(&server, "echo --lines 2 --seconds 600 --warmup 0");
    let report = longwire_bench::measure(&mode, &stop).expect("the figures so far");
    assert_eq!((report.outcome, report.faults.total()), (Outcome::Interrupted, 0));
    assert!(report.operations > 0 && report.seconds < 60.0);
    stop.request();
    assert!(matches!(longwire_bench::measure(&mode, &stop), Err(Error::Interrupted)));
}

#[test]
fn json_and_plot_are_written() {
    let server = TestServer::start();
    let folder = std::env::temp_dir().join(format!("longwire-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (json, plot) = (folder.join("result.json"), folder.join("plot.svg"));
    let line = format!("echo --lines 2 --seconds 0.2 --warmup 0 --json {} --plot {}", json.display(), plot.display());
    longwire_bench::run(parse(&server, &line)).expect("a result");
    let result: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).expect("the file")).expect("JSON");
    assert_eq!(result["mode"], "echo");
    assert_eq!(result["operation"], "round_trip");
    assert_eq!(result["outcome"], "complete");
    assert_eq!(result["options"]["depth"], 1);
    assert_eq!(result["faults"]["missing"], 0);
    assert!(result["server_cost"].is_null() && result["latency_us"]["p99_9"].as_f64().is_some());
    let plot = std::fs::read_to_string(&plot).expect("the file");
    assert!(plot.starts_with("<svg") && plot.ends_with("</svg>\n") && plot.contains("p99"));
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}
