//! Nothing is lost and nothing comes twice, however often a line is cut.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use longwire_core::Random;
use longwire_protocol::Form;
use longwire_server::{ChannelOptions, Config};
use serde_json::{Value, json};

use super::{Native, connect, namespaces, serve_native};

const PUBLISHERS: usize = 2;
const EACH: usize = 12_000;
const CUTS: usize = 200;
/// How far the publishers may be ahead of the slowest subscriber: now one that comes back finds pages of the past, now few.
const AHEAD: usize = 2500;

fn with_long_history(config: &mut Config) {
    let options = ChannelOptions { history_size: 100_000, history_bytes: 256 << 20, presence: true, ..Default::default() };
    config.namespaces = namespaces(vec![("long", options)]);
    config.outbox_bytes = 256 << 10;
}

#[test]
fn two_hundred_cuts_while_two_publish_lose_and_repeat_nothing() {
    for shards in [1, 2] {
        let server = serve_native(shards, with_long_history);
        let address = server.address;
        let reached: [AtomicUsize; 2] = Default::default();
        let failed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for publisher in 0..PUBLISHERS {
                let (reached, failed) = (&reached, &failed);
                scope.spawn(move || publish(address, publisher, reached, failed));
            }
            for (n, reached) in reached.iter().enumerate() {
                let failed = &failed;
                scope.spawn(move || {
                    let _failing = OnPanic(failed);
                    let mut subscriber = Subscriber::new(address, Form::ALL[n], n as u64, reached);
                    (0..CUTS / 2).for_each(|_| subscriber.follow_for_a_while());
                    subscriber.follow_to(PUBLISHERS * EACH);
                });
            }
        });
    }
}

/// Says so when a test's thread fails, so that the others do not wait for it.
struct OnPanic<'a>(&'a AtomicBool);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

fn publish(address: SocketAddr, publisher: usize, reached: &[AtomicUsize; 2], failed: &AtomicBool) {
    let mut native = Native::connected(address, Form::ALL[publisher % 2]);
    for start in (0..EACH).step_by(50) {
        while reached.iter().map(|reached| reached.load(Ordering::Relaxed)).min().unwrap() + AHEAD < start * PUBLISHERS {
            assert!(!failed.load(Ordering::Relaxed), "a subscriber has failed");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let publish = |n: usize| json!({"type": "publish", "channel": "long:cuts", "data": [publisher, n]});
        native.say_all(&(start..start + 50).map(publish).collect::<Vec<_>>());
        native.expect_quiet();
    }
}

/// Follows the channel over many lines, and looks at everything that comes.
struct Subscriber<'a> {
    address: SocketAddr,
    form: Form,
    random: Random,
    /// What takes up the session again.
    session: Value,
    epoch: Value,
    offset: u64,
    /// What comes next of each publisher.
    next: [u64; PUBLISHERS],
    reached: &'a AtomicUsize,
}

impl<'a> Subscriber<'a> {
    fn new(address: SocketAddr, form: Form, seed: u64, reached: &'a AtomicUsize) -> Self {
        let mut first = Native::connected(address, form);
        let epoch = first.subscribe("long:cuts", json!({}))["epoch"].clone();
        // From the very beginning, though it is there only now.
        Self {
            address,
            form,
            random: Random::seeded(seed),
            session: json!({}),
            epoch,
            offset: 0,
            next: [0; PUBLISHERS],
            reached,
        }
    }

    fn follow_for_a_while(&mut self) {
        // Few that are only just subscribed, some in the past, some in the present.
        let most = [3, 150, 400][(self.random.number() % 3) as usize];
        let count = self.random.number() % most;
        let mut native = self.come_back();
        (0..count).for_each(|_| self.look_at(&native.next_of("publication")));
        match self.random.number() % 3 {
            0 => native.client.reset(),
            1 => native.client.close_amid(),
            _ => drop(native),
        }
    }

    fn follow_to(&mut self, last: usize) {
        let mut native = self.come_back();
        while self.offset < last as u64 {
            self.look_at(&native.next_of("publication"));
        }
        native.expect_quiet();
        assert_eq!(self.next, [EACH as u64; PUBLISHERS]);
    }

    fn come_back(&mut self) -> Native {
        let claim = if self.random.number().is_multiple_of(2) { self.session.clone() } else { json!({}) };
        let (mut native, connected) = connect(self.address, self.form, claim);
        self.session = json!({"session": connected["session"], "key": connected["key"]});
        let subscribed = native.subscribe("long:cuts", json!({"epoch": self.epoch, "offset": self.offset}));
        assert_eq!((&subscribed["recovered"], &subscribed["offset"]), (&json!(true), &json!(self.offset)), "{subscribed}");
        native
    }

    fn look_at(&mut self, publication: &Value) {
        self.offset += 1;
        assert_eq!(publication["offset"], self.offset, "{publication}");
        let (publisher, n) = (publication["data"][0].as_u64().unwrap() as usize, publication["data"][1].as_u64().unwrap());
        assert_eq!(n, self.next[publisher], "of publisher {publisher}");
        self.next[publisher] += 1;
        self.reached.store(self.offset as usize, Ordering::Relaxed);
    }
}

impl crate::support::Client {
    /// Says goodbye, whatever else is still on its way here.
    fn close_amid(mut self) {
        let _ = self.try_send_raw(&crate::support::frame_of(longwire_ws::Opcode::Close, &[0x03, 0xE8]));
        self.expect_gone();
    }
}

#[test]
fn a_subscriber_may_go_to_and_fro_in_one_line() {
    let server = serve_native(2, with_long_history);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut publisher = Native::connected(server.address, Form::Binary);
        let stop = &stop;
        scope.spawn(move || {
            let mut n = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let publish = |n: u64| json!({"type": "publish", "channel": "long:fro", "data": n});
                publisher.say_all(&(n..n + 20).map(publish).collect::<Vec<_>>());
                publisher.expect_quiet();
                n += 20;
            }
        });
        let _stopping = StopAtEnd(stop);
        let mut native = Native::connected(server.address, Form::Json);
        let mut random = Random::seeded(5);
        let subscribed = native.subscribe("long:fro", json!({}));
        let (epoch, mut offset) = (subscribed["epoch"].clone(), subscribed["offset"].as_u64().unwrap());
        for _ in 0..100 {
            for _ in 0..random.number() % 30 {
                let publication = native.next_of("publication");
                offset += 1;
                assert_eq!((&publication["offset"], &publication["data"]), (&json!(offset), &json!(offset - 1)));
            }
            // What has come meanwhile counts, too.
            let id = 3_000_000u32 + offset as u32;
            native.say(json!({"type": "unsubscribe", "channel": "long:fro", "id": id}));
            loop {
                let message = native.next();
                if message["id"] == id {
                    break;
                }
                offset += 1;
                assert_eq!((&message["type"], &message["offset"]), (&json!("publication"), &json!(offset)));
            }
            // Some way back, at times.
            offset -= offset.min(random.number() % 50);
            let subscribed = native.subscribe("long:fro", json!({"epoch": epoch, "offset": offset}));
            assert_eq!(subscribed["recovered"], true);
        }
    });
}

/// Stops a publisher whatever becomes of the test.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
