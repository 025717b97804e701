//! `transports`, briefly: polls and Socket.IO against a small server, event streams and WebSocket against the server itself.

use longwire_bench::{Error, Outcome, Report, Stop, TransportCost};

use super::native::NativeServer;
use super::{parse_for, stream_server};

fn measure(address: std::net::SocketAddr, line: &str) -> Report {
    let line = format!("transports --channel past:x --seconds 0.5 --warmup 0.1 --poll-every 0.1 --rate 50 {line}");
    longwire_bench::measure(&parse_for(address, &line).mode, &Stop::default()).expect("a result")
}

fn costs(report: &Report) -> Vec<&TransportCost> {
    report.transports.as_ref().expect("transports").iter().collect()
}

#[track_caller]
fn assert_received(cost: &TransportCost, listeners: u64) {
    assert_eq!((cost.failure.as_deref(), cost.faults.total()), (None, 0), "{}: {:?}", cost.transport, cost.faults);
    // At least a few of the thirty that are due: a busy machine may let some come late.
    assert!(cost.messages >= 5 * listeners && cost.messages.is_multiple_of(listeners), "{cost:?}");
    assert!(cost.latency_us.as_ref().is_some_and(|latency| latency.count > 0 && latency.p50 > 0.0), "{cost:?}");
    assert!(cost.server_cpu_us_per_message.is_some_and(|us| us > 0.0), "{cost:?}");
    // Data of 128 bytes, and what belongs to it.
    assert!(cost.bytes_per_message.is_some_and(|bytes| bytes > 150.0), "{cost:?}");
}

#[test]
fn polls_and_socket_io_are_measured_beside_each_other() {
    let pid = std::process::id();
    let report =
        measure(stream_server::start(), &format!("--transports polling,long-polling,socketio --listeners 3 --pid {pid}"));
    assert_eq!((report.outcome, report.lines.closed_by_server), (Outcome::Complete, 0));
    let [alone, polling, long, socket_io] = costs(&report)[..] else { panic!("{:?}", report.transports) };
    assert_eq!((alone.transport, alone.messages, alone.requests, alone.bytes_received), ("none", 0, 0, 0));
    assert!(alone.server_cpu_us_per_message.is_some_and(|us| us > 0.0));
    for cost in [polling, long, socket_io] {
        assert_received(cost, 3);
    }
    // Ten times a second, and 50 messages a second.
    assert!(polling.requests < polling.messages && polling.requests > 3, "{polling:?}");
    assert!(long.requests > long.messages / 2 && long.requests <= long.messages + 2 * 3, "{long:?}");
    assert_eq!(socket_io.requests, 3);
    let half = |cost: &TransportCost| cost.latency_us.as_ref().map_or(0.0, |latency| latency.p50);
    assert!(half(polling) > 10_000.0 && half(polling) > 2.0 * half(socket_io), "{} {}", half(polling), half(socket_io));
    assert!(long.bytes_per_message > socket_io.bytes_per_message, "each message has a request and a head");
    let table = report.table();
    assert!(
        ["none", "polling", "long-polling", "socketio"].iter().all(|name| table.contains(&format!("\n  {name} "))),
        "{table}"
    );
}

#[test]
fn streams_and_websockets_are_measured_against_the_server_itself() {
    let server = NativeServer::start();
    let report = measure(server.address, &format!("--transports sse,websocket --listeners 2 --pid {}", std::process::id()));
    let [_, events, websocket] = costs(&report)[..] else { panic!("{:?}", report.transports) };
    for cost in [events, websocket] {
        assert_received(cost, 2);
        assert_eq!(cost.requests, 2);
    }
}

#[test]
fn what_is_lost_and_what_is_not_offered_is_said() {
    let address = stream_server::start();
    let report = measure(address, "--transports sse,socketio --socketio-path /socket.io/?loses");
    let [_, events, socket_io] = costs(&report)[..] else { panic!("{:?}", report.transports) };
    assert!(events.failure.as_ref().is_some_and(|why| why.contains("404") && why.contains("/v1/events")), "{events:?}");
    assert_eq!((events.messages, events.bytes_per_message), (0, None));
    assert_eq!((socket_io.faults.missing, socket_io.faults.total()), (1, 1));
    assert!(socket_io.messages > 3 && report.faults.missing == 1);
    assert_eq!(report.outcome, Outcome::Complete, "what was overtaken is not waited for");
    for path in ["/socket.io/?refuses", "/socket.io/?refuses-late"] {
        let refused = measure(address, &format!("--transports socketio --socketio-path {path}"));
        assert!(costs(&refused)[1].failure.as_ref().is_some_and(|why| why.contains("forbidden")), "{:?}", refused.transports);
    }
    let polls = measure(address, "--transports polling --poll-path /nowhere");
    assert!(costs(&polls)[1].failure.as_ref().is_some_and(|why| why.contains("404")), "{:?}", polls.transports);
    // Without a publisher there is nothing to receive.
    let line = "transports --channel past:x --path /nowhere --transports polling";
    let nothing = longwire_bench::measure(&parse_for(address, line).mode, &Stop::default());
    assert!(matches!(nothing, Err(Error::Refused { .. } | Error::NotJoined(_))), "{nothing:?}");
}

#[test]
fn the_plot_has_a_row_for_each() {
    let plot = std::env::temp_dir().join(format!("longwire-bench-transports-{}.svg", std::process::id()));
    let line = format!("transports --channel past:x --seconds 0.2 --warmup 0 --transports socketio --plot {}", plot.display());
    longwire_bench::run(parse_for(stream_server::start(), &line)).expect("a result");
    let svg = std::fs::read_to_string(&plot).expect("the file");
    assert!(
        svg.starts_with("<svg") && svg.contains(">none<") && svg.contains(">socketio<") && svg.contains("Bytes per message")
    );
    std::fs::remove_file(&plot).expect("the file goes");
}
