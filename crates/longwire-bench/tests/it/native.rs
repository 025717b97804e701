//! The modes of the native protocol, briefly, against the server itself.

use std::net::SocketAddr;
use std::sync::Arc;

use longwire_bench::{Error, Outcome, Report, Stop};
use longwire_server::{ChannelOptions, Line, LineHandler, Namespaces, Received, Running, Server};

use super::{assert_clean, parse_for};

/// A server with a namespace `past`, whose channels have a history, `short`, with a history of five, and `now`, without one.
pub(crate) struct NativeServer {
    running: Option<Running>,
    pub(crate) address: SocketAddr,
}

struct Echo;

impl LineHandler for Echo {
    fn message(&mut self, line: &mut Line<'_>, message: Received<'_>) {
        line.send(message.kind(), message.as_bytes());
    }
}

impl NativeServer {
    pub(crate) fn start() -> NativeServer {
        let past = ChannelOptions { history_size: 1000, ..ChannelOptions::default() };
        let short = ChannelOptions { history_size: 5, ..ChannelOptions::default() };
        let all = [("past", past), ("short", short), ("now", ChannelOptions::default())];
        let namespaces = Namespaces::new(all.map(|(name, options)| (name.to_owned(), options))).expect("good namespaces");
        let running = Server::builder()
            .shards(1)
            .native("/v1/ws")
            .event_streams("/v1/events")
            .line_handler("/echo", |_| Echo)
            .configure(|config| {
                config.namespaces = Arc::new(namespaces);
                config.drain = std::time::Duration::ZERO;
            })
            .start("127.0.0.1:0")
            .expect("a server");
        NativeServer { address: running.addresses()[0], running: Some(running) }
    }

    fn try_measure(&self, line: &str) -> Result<Report, Error> {
        longwire_bench::measure(&parse_for(self.address, line).mode, &Stop::default())
    }

    #[track_caller]
    fn measure(&self, line: &str) -> Report {
        let report = self.try_measure(line).expect("a result");
        assert_eq!(report.refusal, None);
        report
    }
}

impl Drop for NativeServer {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown();
            running.join().expect("the server ends");
        }
    }
}

#[test]
fn channel_measures_deliveries_in_every_mode_and_form() {
    let server = NativeServer::start();
    for (line, window) in [
        ("--mode saturated --window 8", 8),
        ("--mode saturated --window 8 --form binary", 8),
        ("--mode single", 1),
        ("--mode paced --rate 200 --form binary", 20),
        ("--mode saturated --window 8 --transport sse", 8),
    ] {
        let line = format!("channel --subscribers 10 --seconds 0.3 --warmup 0.05 --channel past:{window} {line}");
        let report = server.measure(&line);
        assert_clean(&report);
        let published = report.published.expect("a channel is published to");
        assert!(report.operations.abs_diff(published * 10) <= window * 10, "{line}: {published} x 10, {}", report.operations);
        assert!(report.latencies["ack"].count >= published, "every publication is acknowledged");
        assert!(report.payload_bytes > report.operations * 128, "the data and what belongs to it");
        assert_eq!(report.lines.opened, 11);
    }
}

#[test]
fn channels_that_will_not_do_are_named() {
    let server = NativeServer::start();
    let said = |line: &str| server.try_measure(line).expect_err("an error").to_string();
    let now = said("channel --subscribers 1 --channel now:x");
    assert!(now.contains("now:x") && now.contains("history"), "{now}");
    let unknown = said("channel --subscribers 1 --channel nothing:x");
    assert!(unknown.contains("unknown_namespace") && unknown.contains("--channel"), "{unknown}");
    let echo = said("channel --subscribers 1 --channel past:x --path /echo");
    assert!(echo.contains("--path"), "{echo}");
    for line in ["--transport sse --form binary", "--transport socketio"] {
        let usage = server.try_measure(&format!("channel --subscribers 1 --channel past:x {line}"));
        assert!(matches!(usage, Err(Error::Usage(_))), "{line}");
    }
}

#[test]
fn latency_is_measured_beside_an_echo() {
    let server = NativeServer::start();
    for form in ["json", "binary"] {
        let report = server.measure(&format!("latency --rate 100 --seconds 0.5 --warmup 0.05 --channel past:x --form {form}"));
        assert_clean(&report);
        let (delivery, echo) = (report.latency_us.as_ref().expect("deliveries"), &report.latencies["echo"]);
        assert!(delivery.count > 0 && echo.count > 0, "{} {}", delivery.count, echo.count);
        assert!(delivery.count.abs_diff(echo.count) <= 2, "they take turns");
        assert!(delivery.p50 > 0.0 && echo.p50 > 0.0);
    }
}

#[test]
fn idle_sessions_are_subscribed() {
    let server = NativeServer::start();
    let pid = std::process::id();
    let report = server.measure(&format!("idle --native --from 4 --to 40 --settle 0.1 --channel past:idle --pid {pid}"));
    assert_eq!(report.lines.opened, 40);
    assert!(report.idle.is_some());
    assert_eq!(report.options["path"], "/v1/ws");
    let events = "idle --transport sse --path /v1/events?channel=past:idle --from 4 --to 40 --settle 0.1";
    assert_eq!(server.measure(&format!("{events} --pid {pid}")).lines.opened, 40);
    // The lines are closed by then, but each of them was there: without a subscription the wrong channel would not matter.
    let unknown = server.try_measure(&format!("idle --native --from 1 --to 2 --settle 0 --channel nothing:x --pid {pid}"));
    assert!(unknown.is_err());
}

#[test]
fn a_storm_ends_with_everybody_caught_up() {
    let server = NativeServer::start();
    let pid = std::process::id();
    for form in ["json", "binary"] {
        let report = server.measure(&format!(
            "storm --clients 50 --messages 30 --rate 100 --before 0.3 --channel past:{form} --form {form} --pid {pid}"
        ));
        assert_clean(&report);
        let storm = report.storm.as_ref().expect("a storm");
        let counts = [storm.clients, storm.resumed, storm.recovered, storm.caught_up];
        assert_eq!((counts, report.operations), ([50; 4], 50 * 30));
        assert!(storm.away_seconds > 0.0 && storm.away_seconds < storm.caught_up_seconds);
        assert!(storm.memory_before_bytes > 0 && storm.memory_before_bytes <= storm.memory_peak_bytes);
        assert!(report.latencies["ack_before"].count > 0 && report.latencies["delivery_before"].count > 0);
        assert!(report.latencies.contains_key("ack_during") && report.latencies.contains_key("delivery_during"));
        assert!(report.table().contains("50 caught up"), "{}", report.table());
    }
}

#[test]
fn a_storm_that_the_history_does_not_outlast_counts_what_is_missing() {
    let server = NativeServer::start();
    let report = server.measure("storm --clients 3 --messages 20 --before 0.1 --timeout 1 --channel short:x");
    assert_eq!(report.outcome, Outcome::Stalled);
    let storm = report.storm.as_ref().expect("a storm");
    assert_eq!((storm.resumed, storm.recovered, storm.caught_up), (3, 0, 0));
    assert_eq!((report.operations, report.faults.missing), (0, 60));
}

#[test]
fn publish_measures_acknowledgements() {
    let server = NativeServer::start();
    for line in ["--channel past:one", "--channel past:{} --form binary"] {
        let report = server.measure(&format!("publish --publishers 3 --window 8 --seconds 0.3 --warmup 0.05 {line}"));
        assert_clean(&report);
        assert_eq!(report.latency_us.as_ref().expect("latencies").count, report.operations);
        assert_eq!(report.payload_bytes, report.operations * 128);
        assert!(report.disk.is_none());
    }
    let folder = std::env::temp_dir();
    let line = format!(
        "publish --publishers 2 --seconds 0.1 --warmup 0 --channel past:x --disk-seconds 0.05 --disk {}",
        folder.display()
    );
    let disk = server.measure(&line).disk.expect("the disk's figures");
    assert!(disk.batch == 128 && disk.records_per_second > 0.0);
}

#[test]
fn refused_publications_are_counted_with_the_servers_words() {
    let server = NativeServer::start();
    let line = "publish --publishers 1 --window 2 --size 70000 --seconds 0.1 --warmup 0 --channel past:x";
    let report = server.try_measure(line).expect("a result");
    assert!(report.faults.refused > 0 && report.faults.total() == report.faults.refused, "{:?}", report.faults);
    assert!(report.refusal.as_ref().is_some_and(|said| said.starts_with("too_large")), "{:?}", report.refusal);
}
