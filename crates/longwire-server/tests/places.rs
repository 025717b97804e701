//! Places are for what costs: connections by their descriptors, lines without a socket apart, and those that nobody comes back to few and
//! for seconds; on a full server what cannot wait is still answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use longwire_server::{ApiKeys, Config, EngineOptions, Namespaces, ServerBuilder};
use serde_json::{Value, json};

use crate::support::{
    Client, Http, HttpLine, LINES, Response, TestServer, child, echo, eventually, handshake, serve, within_bound,
};

const CONNECT: &[u8] = b"{\"type\":\"connect\"}";
const POLLING: &str = "/engine.io/?EIO=4&transport=polling";
const KEY: &str = "a-key-for-the-tests-1";

fn build(builder: ServerBuilder) -> ServerBuilder {
    let names = Namespaces::new([("chat".to_owned(), Default::default())]).expect("options");
    builder
        .http_lines(LINES)
        .native("/v1/ws")
        .engine_io("/engine.io/", EngineOptions::default(), echo)
        .health("/healthz")
        .api("/api/v1", ApiKeys::new([KEY]).expect("a key"))
        .configure(|config| {
            config.namespaces = Arc::new(names);
            config.close_timeout = Duration::from_secs(1);
        })
}

#[track_caller]
fn serve_with(shards: usize, change: impl FnOnce(&mut Config)) -> TestServer {
    serve(shards, |builder| build(builder).configure(change))
}

/// The answer to one request on a connection of its own, which stays or not.
#[track_caller]
fn get(address: SocketAddr, target: &str) -> Response {
    Http::open(address).request("GET", target, b"")
}

fn sessions(server: &TestServer) -> usize {
    within_bound(async { server.node().sessions().await }).expect("sessions").sessions.len()
}

#[test]
fn lines_that_nobody_comes_back_to_take_nobodys_place() {
    let server = serve_with(2, |config| (config.max_connections, config.max_polled_lines) = (50, 80));
    let (mut line, _) = HttpLine::connect(server.address, json!({}));
    let mut attacker = Http::open(server.address);
    for _ in 0..300 {
        let response = attacker.request("POST", LINES, CONNECT);
        assert_eq!(response.status, 201, "{}", response.body);
        assert_eq!(attacker.request("GET", POLLING, b"").status, 200);
    }
    // A quarter of the lines, and one more for each that is on its way out.
    eventually("those that are too many go", || server.node().connections() <= 3 + 1 + 80 / 4);
    eventually("the sessions of lines that nobody was told of end with them", || sessions(&server) <= 1 + 80 / 4);
    // Nobody else notices.
    assert_eq!(get(server.address, "/healthz").status, 200);
    assert_eq!(line.ask(json!({"type": "ping"}))["type"], "pong");
    Client::open(server.address, "/v1/ws").close();
    let (mut other, _) = HttpLine::connect(server.address, json!({}));
    assert_eq!(other.ask(json!({"type": "ping"}))["type"], "pong");
}

#[test]
fn a_line_that_nobody_comes_back_to_lasts_for_seconds() {
    let server = serve_with(2, |config| config.handshake_timeout = Duration::from_millis(300));
    let mut http = Http::open(server.address);
    assert_eq!(http.request("POST", LINES, CONNECT).status, 201);
    assert_eq!(http.request("GET", POLLING, b"").status, 200);
    let (mut used, _) = HttpLine::connect(server.address, json!({}));
    drop(http);
    eventually("two are gone, and the one that is used is not", || sessions(&server) == 1);
    for _ in 0..4 {
        assert_eq!(used.poll("?wait=0").status, 204);
        std::thread::sleep(Duration::from_millis(100));
    }
    (used.polls, used.posts) = (Http::open(server.address), Http::open(server.address));
    assert_eq!(used.ask(json!({"type": "ping"}))["type"], "pong");
}

#[test]
fn a_session_that_has_come_back_outlives_a_line_that_is_never_used() {
    let server = serve_with(2, |config| config.handshake_timeout = Duration::from_millis(300));
    for _ in 0..4 {
        let (line, connected) = HttpLine::connect(server.address, json!({}));
        drop(line);
        let claim = json!({"type": "connect", "session": connected["session"], "key": connected["key"]});
        let mut http = Http::open(server.address);
        let response = http.request("POST", LINES, claim.to_string().as_bytes());
        // Its answer was lost, and the line goes.
        let id = serde_json::from_str::<Value>(&response.body).expect("JSON")["line"].as_str().expect("an id").to_owned();
        std::thread::sleep(Duration::from_millis(400));
        eventually("the line is gone", || get(server.address, &format!("{LINES}/{id}?wait=0")).status == 404);
        let (_line, again) = HttpLine::connect(server.address, claim);
        assert_eq!((&again["resumed"], &again["session"]), (&json!(true), &connected["session"]));
    }
}

#[test]
fn a_full_server_says_how_it_is_and_serves_the_lines_that_are_there() {
    let server = serve_with(2, |config| config.max_connections = 4);
    let (mut line, _) = HttpLine::connect(server.address, json!({}));
    let idle: Vec<Client> = (0..2).map(|_| Client::tcp(server.address)).collect();
    eventually("all places are taken", || server.node().connections() == 5);
    // Some who say nothing keep nobody out.
    let silent: Vec<Client> = (0..30).map(|_| Client::tcp(server.address)).collect();
    let mut kept = Vec::new();
    for _ in 0..3 {
        let health = get(server.address, "/healthz");
        assert_eq!((health.status, &*health.body, health.header("connection")), (200, "ok\n", Some("close")));
        let mut operator = Http::open(server.address);
        operator.ask("GET", "/api/v1/sessions", &format!("X-API-Key: {KEY}\r\n"), b"");
        assert_eq!(operator.0.response().status, 200);
        for refused in ["/", LINES, "/v1/http?stream=sse", POLLING] {
            get(server.address, refused).expect_error(503, "too_many_connections");
        }
        let mut refused = Client::tcp(server.address);
        refused.send_raw(handshake("/v1/ws", "").as_bytes());
        let answer = refused.response();
        answer.expect_error(503, "too_many_connections");
        assert_eq!(answer.header("retry-after"), Some("5"));
        // Who has lost the connections of a line brings others.
        kept.push(std::mem::replace(&mut line.posts, Http::open(server.address)));
        assert_eq!(line.post(b"{\"type\":\"ping\",\"id\":7}").status, 204);
        assert_eq!(line.next_of("pong")["id"], 7);
        assert_eq!(get(server.address, &format!("{}?wait=0", line.target())).status, 204);
    }
    drop(idle);
    drop(silent);
    eventually("there are places", || server.node().connections() <= 3);
    Client::open(server.address, "/v1/ws").close();
}

#[test]
fn there_are_no_more_places_than_the_process_has_descriptors_for() {
    child("places::there_are_no_more_places_than_the_process_has_descriptors_for", || {
        let few = rustix::process::Rlimit { current: Some(300), maximum: Some(300) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        let server = serve_with(4, |config| config.max_connections = 100_000);
        let places = server.node().max_connections();
        assert!(open() - before > 10, "four shards take some");
        assert!(places + open() + 16 <= 300 && places > 100, "{places} places beside {} open descriptors", open());
        let asked = serve_with(1, |config| config.max_connections = 7);
        assert_eq!(asked.node().max_connections(), 7);
    });
}

#[test]
fn of_clients_behind_a_proxy_the_one_who_has_most_is_refused_first() {
    let server = serve_with(2, |config| config.max_polled_lines = 100);
    let mut http = Http::open(server.address);
    let mut begin = |from: Option<&str>| {
        let header = from.map_or(String::new(), |from| format!("X-Forwarded-For: 192.0.2.1, {from}\r\n"));
        http.ask("POST", LINES, &header, CONNECT);
        let response = http.0.response();
        if response.status == 201 {
            let id = serde_json::from_str::<Value>(&response.body).expect("JSON")["line"].as_str().expect("an id").to_owned();
            assert_eq!(http.request("GET", &format!("{LINES}/{id}?wait=0"), b"").status, 200);
        }
        response
    };
    for _ in 0..10 {
        assert_eq!(begin(Some("203.0.113.2")).status, 201);
    }
    let taken = (0..100).take_while(|_| begin(Some("203.0.113.1")).status == 201).count();
    assert!((69..=72).contains(&taken), "{taken}");
    begin(Some("203.0.113.1")).expect_error(429, "too_many_connections_from_address");
    // Those who have less, and those of whom nothing is known, take what is left.
    for from in [Some("203.0.113.2"), Some("203.0.113.3"), None, Some("nonsense")] {
        assert_eq!(begin(from).status, 201, "{from:?}");
    }
}
