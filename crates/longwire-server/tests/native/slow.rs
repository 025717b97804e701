//! Clients that do not read: what waits for them is bounded, and what they miss they get, or are told of.

use std::time::{Duration, Instant};

use longwire_protocol::Form;
use longwire_server::{ChannelOptions, Config, Slow};
use serde_json::{Value, json};

use super::{Native, namespaces, serve_native};
use crate::support::{BOUND, NEVER, TestServer, child, eventually, rss, within_bound};

const OUTBOX: usize = 128 << 10;

fn with(slow: Slow) -> impl FnOnce(&mut Config) {
    let none = ChannelOptions { slow: if slow == Slow::Latest { Slow::Gap } else { slow }, ..Default::default() };
    let history =
        ChannelOptions { history_size: 20_000, history_bytes: 512 << 20, state_keys: 100, slow, ..Default::default() };
    move |config| {
        config.namespaces = namespaces(vec![("h", history), ("live", none)]);
        config.outbox_bytes = OUTBOX;
        // What a closed line still has for its client waits until the test looks at it.
        config.close_timeout = NEVER;
    }
}

/// Publishes, and waits until a neighbour has it.
fn publish_in_step(neighbour: &mut Native, publisher: &mut Native, channel: &str, n: usize) {
    let key = (!channel.starts_with("live")).then(|| format!("key-{}", n % 10));
    let data = format!("{n} {}", "x".repeat(8 << 10));
    publisher.ask(json!({"type": "publish", "channel": channel, "key": key, "data": data}));
    assert_eq!(number(&neighbour.next_of("publication")), n);
}

fn number(publication: &Value) -> usize {
    publication["data"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_slow_reader_is_closed_and_resumes_without_loss() {
    for shards in [1, 2] {
        let server = serve_native(shards, with(Slow::Close));
        for form in Form::ALL {
            let channel = format!("h:{form:?}");
            let mut slow = Native::open_narrow(server.address, form);
            slow.ask(json!({"type": "connect"}));
            let epoch = slow.subscribe(&channel, json!({}))["epoch"].clone();
            let mut neighbour = Native::connected(server.address, form);
            neighbour.subscribe(&channel, json!({}));
            let mut publisher = Native::connected(server.address, form);
            // As much as the kernel and the outbox can hold, and more.
            let count = 700;
            (1..=count).for_each(|n| publish_in_step(&mut neighbour, &mut publisher, &channel, n));
            slow.client.widen();
            let mut offset = 0;
            let code = loop {
                match slow.next_or_close() {
                    Ok(publication) => {
                        offset += 1;
                        assert_eq!((&publication["offset"], number(&publication)), (&json!(offset), offset));
                    }
                    Err(code) => break code,
                }
            };
            assert_eq!(code, 3002);
            assert!(offset < count, "{offset}");
            let mut back = Native::connected(server.address, form);
            let subscribed = back.subscribe(&channel, json!({"epoch": epoch, "offset": offset}));
            assert_eq!((&subscribed["recovered"], &subscribed["head"]), (&json!(true), &json!(count)));
            for n in offset + 1..=count {
                let publication = back.next_of("publication");
                assert_eq!((&publication["offset"], number(&publication)), (&json!(n), n));
            }
            back.expect_quiet();
        }
    }
}

/// More in one tick than an outbox and the kernel hold: who reads gets it, however it is closed otherwise.
#[test]
fn a_burst_is_no_reason_to_close_who_reads() {
    for shards in [1, 2] {
        let server = serve_native(shards, with(Slow::Close));
        for (form, channel) in Form::ALL.into_iter().zip(["live:a", "h:a"]) {
            let mut reader = Native::open_narrow(server.address, form);
            reader.ask(json!({"type": "connect"}));
            reader.subscribe(channel, json!({}));
            for _ in 0..3 {
                // 1.5 MB, of which the kernel takes only some, with an outbox of 128 KiB.
                let data = "x".repeat(8 << 10);
                for n in 0..190 {
                    let publication = format!("{n} {data}");
                    server.node().publish(channel, publication.as_str()).expect("it is not too much");
                }
                for n in 0..190 {
                    assert_eq!(number(&reader.next_of("publication")), n);
                }
            }
        }
    }
}

/// What a slow reader gets in the end: everything up to `count` that comes to it, in order; the numbers, and the last gap.
fn read_on(slow: &mut Native, count: usize) -> (Vec<usize>, Option<u64>) {
    let (mut numbers, mut gap, mut offset) = (Vec::new(), None, 0);
    while numbers.last() != Some(&count) {
        let message = slow.next();
        match message["type"].as_str() {
            Some("publication") => {
                let this = message["offset"].as_u64().unwrap_or(offset + 1);
                assert!(this > offset, "{this} after {offset}");
                offset = this;
                numbers.push(number(&message));
            }
            Some("gap") => {
                let this = message["offset"].as_u64().unwrap();
                assert!(this >= offset, "a gap up to {this} after {offset}");
                (gap, offset) = (Some(this), this);
            }
            _ => panic!("{message}"),
        }
    }
    assert!(numbers.is_sorted_by(|one, other| one < other), "{numbers:?}");
    (numbers, gap)
}

/// A slow reader and a fast one in a channel, after `count` publications that the slow one has not read.
fn fall_behind(server: &TestServer, channel: &str, form: Form, count: usize) -> (Native, Native, Native) {
    let mut slow = Native::open_narrow(server.address, form);
    slow.ask(json!({"type": "connect"}));
    slow.subscribe(channel, json!({}));
    let mut neighbour = Native::connected(server.address, form);
    neighbour.subscribe(channel, json!({}));
    let mut publisher = Native::connected(server.address, form);
    (1..=count).for_each(|n| publish_in_step(&mut neighbour, &mut publisher, channel, n));
    (slow, neighbour, publisher)
}

#[test]
fn a_slow_reader_gets_the_latest_of_each_key_and_goes_on() {
    for shards in [1, 2] {
        let server = serve_native(shards, with(Slow::Latest));
        for form in Form::ALL {
            let channel = format!("h:{form:?}");
            let count = 700;
            let (mut slow, mut neighbour, mut publisher) = fall_behind(&server, &channel, form, count);
            slow.client.widen();
            let (numbers, _) = read_on(&mut slow, count);
            assert!(numbers.len() < count, "it was not behind");
            assert_eq!(numbers[..10], (1..=10).collect::<Vec<_>>()[..], "what came before it was slow");
            // The newest of each of the ten keys is the last that it got of it.
            let newest = |key: usize| numbers.iter().rev().find(|number| *number % 10 == key).copied();
            (count - 9..=count).for_each(|n| assert_eq!(newest(n % 10), Some(n)));
            publish_in_step(&mut neighbour, &mut publisher, &channel, count + 1);
            assert_eq!(read_on(&mut slow, count + 1).0, [count + 1]);
            slow.expect_quiet();
        }
    }
}

#[test]
fn a_slow_reader_is_told_of_the_gap_and_goes_on() {
    for shards in [1, 2] {
        let server = serve_native(shards, with(Slow::Gap));
        for (form, channel) in
            [(Form::Json, "h:gap"), (Form::Binary, "h:gap-2"), (Form::Json, "live:gap"), (Form::Binary, "live:gap-2")]
        {
            let count = 700;
            let (mut slow, mut neighbour, mut publisher) = fall_behind(&server, channel, form, count);
            slow.client.widen();
            // The kernel may have taken more of it meanwhile, so that it was let in again before all was published: then there are more
            // gaps than one. So more is published until some of it comes.
            let (mut numbers, mut gaps, mut last) = (Vec::new(), Vec::new(), count);
            while numbers.last() != Some(&last) {
                assert!(last < 2 * count, "it does not go on: {gaps:?}");
                last += 1;
                publish_in_step(&mut neighbour, &mut publisher, channel, last);
                read_to_pong(&mut slow, &mut numbers, &mut gaps);
            }
            let before = gaps[0].0;
            assert_eq!(numbers[..before], (1..=before).collect::<Vec<_>>(), "before the gap nothing is missing");
            assert!(before < count && gaps.iter().all(|(_, gap)| (*gap == 0) == channel.starts_with("live")), "{gaps:?}");
            for (at, two) in numbers.windows(2).enumerate() {
                let gap = gaps.iter().rev().find(|(seen, _)| *seen == at + 1).map(|(_, gap)| *gap);
                match gap {
                    None => assert_eq!(two[1], two[0] + 1, "a hole that nobody tells of"),
                    Some(0) => assert!(two[1] > two[0]),
                    Some(gap) => assert_eq!(two[1] as u64, gap + 1, "it goes on behind the gap"),
                }
            }
            publish_in_step(&mut neighbour, &mut publisher, channel, last + 1);
            assert_eq!(read_on(&mut slow, last + 1), (vec![last + 1], None));
            slow.expect_quiet();
        }
    }
}

/// Reads up to the answer to a ping: the numbers of publications, and gaps, each with how many publications came before it.
fn read_to_pong(slow: &mut Native, numbers: &mut Vec<usize>, gaps: &mut Vec<(usize, u64)>) {
    slow.say(json!({"type": "ping"}));
    loop {
        let message = slow.next();
        match message["type"].as_str() {
            Some("publication") => numbers.push(number(&message)),
            Some("gap") => gaps.push((numbers.len(), message["offset"].as_u64().unwrap())),
            Some("pong") => return,
            _ => panic!("{message}"),
        }
    }
}

#[test]
fn catching_up_with_fifty_thousand_takes_no_more_than_the_outbox() {
    child("native::slow::catching_up_with_fifty_thousand_takes_no_more_than_the_outbox", || {
        const COUNT: usize = 50_000;
        const READERS: usize = 10;
        let options = ChannelOptions { history_size: COUNT, history_bytes: 512 << 20, ..Default::default() };
        let server = serve_native(2, |config| {
            config.namespaces = namespaces(vec![("h", options)]);
            config.outbox_bytes = OUTBOX;
            config.memory = 2 << 30;
        });
        let padding = "x".repeat(300);
        within_bound(async {
            for n in 1..=COUNT {
                server.node().publish_when_possible("h:past", format!("{n} {padding}")).await.unwrap();
            }
        });
        let mut readers: Vec<Native> = (0..READERS).map(|n| Native::open_narrow(server.address, Form::ALL[n % 2])).collect();
        let mut probe = Native::connected(server.address, Form::Json);
        while probe.ask(json!({"type": "history", "channel": "h:past", "limit": 0}))["head"] != COUNT {}
        let before = rss();
        let epoch = probe.ask(json!({"type": "history", "channel": "h:past", "limit": 0}))["epoch"].clone();
        for reader in &mut readers {
            reader.say(json!({"type": "connect"}));
            reader.say(json!({"type": "subscribe", "channel": "h:past", "epoch": epoch, "offset": 0}));
        }
        settle(&mut probe);
        let grown = rss().saturating_sub(before);
        // 20 MB each, if the outboxes had all of it. One page may go beyond the bound of the credit, one reply beyond the outbox's.
        assert!(grown < READERS * (2 << 20), "{grown} bytes for {READERS} readers");
        for reader in &mut readers[..2] {
            reader.client.widen();
            assert_eq!(reader.next()["type"], "connected");
            assert_eq!(reader.next()["recovered"], true);
            for n in 1..=COUNT {
                let publication = reader.next();
                assert_eq!((&publication["offset"], number(&publication)), (&json!(n), n));
            }
            reader.expect_quiet();
        }
    });
}

/// Waits until the server does nothing more of its own: its memory has not changed for a while.
fn settle(probe: &mut Native) {
    let start = Instant::now();
    let (mut last, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_millis(300) {
        assert!(start.elapsed() < BOUND, "the server's memory keeps changing");
        probe.expect_quiet();
        std::thread::sleep(Duration::from_millis(20));
        let now = rss();
        if now.abs_diff(last) > 64 << 10 {
            (last, since) = (now, Instant::now());
        }
    }
}

#[test]
fn a_flood_of_questions_without_reading_takes_no_more_than_the_outbox() {
    child("native::slow::a_flood_of_questions_without_reading_takes_no_more_than_the_outbox", || {
        const COUNT: u32 = 200;
        let options = || ChannelOptions { history_size: 100, history_bytes: 64 << 20, state_keys: 100, ..Default::default() };
        let server = serve_native(2, |config| {
            config.namespaces = namespaces(vec![("h", options())]);
            config.outbox_bytes = OUTBOX;
        });
        let mut probe = Native::connected(server.address, Form::Json);
        // Homes here and there; each answer is 100 KB.
        let channels = ["h:a", "h:b", "h:c", "h:d"];
        for channel in channels {
            for n in 0..100 {
                let key = format!("key-{n}");
                probe.ask(json!({"type": "publish", "channel": channel, "key": key, "data": "x".repeat(1000)}));
            }
        }
        let before = rss();
        for form in Form::ALL {
            let mut flood = Native::open_narrow(server.address, form);
            flood.ask(json!({"type": "connect"}));
            let command = |id: u32| {
                let name = if id.is_multiple_of(2) { "history" } else { "state" };
                json!({"type": name, "channel": channels[id as usize / 2 % 4], "id": id})
            };
            // In one message, and in as many as there are.
            let all: Vec<Value> = (1..=COUNT).map(command).collect();
            let (first, second) = all.split_at(COUNT as usize / 2);
            flood.say_all(first);
            let mut bytes = Vec::new();
            for command in second {
                bytes.extend(crate::support::frame_of(flood.opcode(), &flood.encode(std::slice::from_ref(command))));
            }
            let sending = flood.client.send_in_background(bytes);
            settle(&mut probe);
            let grown = rss().saturating_sub(before);
            assert!(grown < 8 << 20, "{grown} bytes for one client that does not read");
            // Once it reads, it is answered to the end, in order.
            flood.client.widen();
            for id in 1..=COUNT {
                let reply = flood.next();
                assert_eq!(reply["id"], id);
                let list = if id.is_multiple_of(2) { "publications" } else { "entries" };
                assert_eq!(reply[list].as_array().map(Vec::len), Some(100));
            }
            sending.join().unwrap();
            flood.expect_quiet();
        }
    });
}

#[test]
fn a_client_that_publishes_and_does_not_read_its_answers_is_read_no_more() {
    child("native::slow::a_client_that_publishes_and_does_not_read_its_answers_is_read_no_more", || {
        let server = serve_native(2, with(Slow::Close));
        let mut flood = Native::open_narrow(server.address, Form::Json);
        flood.ask(json!({"type": "connect"}));
        let command = json!({"type": "publish", "channel": "live:nobody", "data": 1, "id": 1}).to_string();
        let frame = crate::support::frame_of(longwire_ws::Opcode::Text, vec![command; 1000].join("\n").as_bytes());
        let before = rss();
        let mut sent = 0;
        loop {
            let taken = flood.client.send_until_stuck(&frame, Duration::from_millis(500));
            sent += taken;
            if taken < frame.len() {
                break;
            }
            assert!(sent < 200 << 20, "{sent} bytes of commands were read of a client that reads nothing");
        }
        let grown = rss().saturating_sub(before);
        assert!(grown < 16 << 20, "{grown} bytes");
        drop(flood);
        eventually("it is forgotten", || server.node().connections() == 0);
    });
}
