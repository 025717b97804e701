//! What is too much for one answer comes in pages.

use std::collections::BTreeSet;

use longwire_protocol::Form;
use longwire_server::ChannelOptions;
use serde_json::{Value, json};

use super::{Native, connect, namespaces, serve_native};

#[test]
fn history_comes_in_pages_in_both_directions() {
    let options = ChannelOptions { history_size: 1000, message_bytes: 64 << 10, history_bytes: 64 << 20, ..Default::default() };
    for shards in [1, 2] {
        let server = serve_native(shards, |config| config.namespaces = namespaces(vec![("h", options.clone())]));
        let mut native = Native::connected(server.address, Form::Json);
        // The last of them are large, so that it is the bytes that end their pages.
        let data = |n: usize| if n < 300 { n.to_string() } else { format!("{n} {}", "x".repeat(40_000)) };
        for n in 1..=350 {
            native.publish("h:pages", data(n));
        }
        let offsets = |page: &Value| -> Vec<u64> {
            page["publications"].as_array().unwrap().iter().map(|one| one["offset"].as_u64().unwrap()).collect()
        };
        let (mut seen, mut after, mut pages) = (Vec::new(), 0, 0);
        loop {
            let page = native.ask(json!({"type": "history", "channel": "h:pages", "after": after}));
            assert!(offsets(&page).len() <= 100 && page.to_string().len() < 400_000, "{}", page.to_string().len());
            seen.extend(offsets(&page));
            pages += 1;
            after = *seen.last().unwrap();
            if page["more"] == false {
                break;
            }
        }
        assert_eq!(seen, (1..=350).collect::<Vec<_>>());
        assert!(pages > 6, "{pages}");
        let (mut seen, mut before) = (Vec::<u64>::new(), json!(null));
        loop {
            let page = native.ask(json!({"type": "history", "channel": "h:pages", "before": before, "limit": 60}));
            let offsets = offsets(&page);
            assert!(offsets.is_sorted() && offsets.len() <= 60);
            seen.extend(offsets.iter().rev());
            before = json!(seen.last().unwrap());
            if page["more"] == false {
                break;
            }
        }
        assert_eq!(seen, (1..=350).rev().collect::<Vec<_>>());
        for (members, some, more) in [
            (json!({"after": 350}), vec![], false),
            (json!({"after": 4_000_000}), vec![], false),
            (json!({"after": u64::MAX}), vec![], false),
            (json!({"before": 1}), vec![], false),
            (json!({"before": 0}), vec![], false),
            (json!({"before": 3}), vec![1, 2], false),
            (json!({"limit": 0, "after": 349}), vec![], true),
            (json!({"limit": 2, "after": 347}), vec![348, 349], true),
        ] {
            let mut command = members.clone();
            (command["type"], command["channel"]) = ("history".into(), "h:pages".into());
            let page = native.ask(command);
            assert_eq!((offsets(&page), &page["more"]), (some, &json!(more)), "{members}");
            assert_eq!(page["head"], 350);
        }
    }
}

#[test]
fn presence_comes_in_pages_and_is_left_out_of_subscribed_when_there_are_too_many() {
    const SESSIONS: usize = 1003;
    let options = ChannelOptions { presence: true, ..Default::default() };
    let server = serve_native(2, |config| config.namespaces = namespaces(vec![("crowd", options)]));
    let mut lines = Vec::new();
    for n in 0..SESSIONS {
        let (mut native, _) = connect(server.address, Form::Binary, json!({"info": n}));
        let subscribed = native.ask_amid(json!({"type": "subscribe", "channel": "crowd:many", "members": true}));
        let members = subscribed["members"].as_array().map(Vec::len);
        assert_eq!(members, (n < 1000).then_some(n + 1));
        lines.push(native);
    }
    let mut native = Native::connected(server.address, Form::Json);
    for limit in [None, Some(1000), Some(400), Some(1)] {
        let (mut seen, mut after) = (BTreeSet::new(), json!(null));
        loop {
            let page = native.ask(json!({"type": "presence", "channel": "crowd:many", "limit": limit, "after": after}));
            assert_eq!((&page["sessions"], &page["users"]), (&json!(SESSIONS), &json!(0)));
            let members = page["members"].as_array().unwrap();
            assert!(members.len() <= limit.unwrap_or(1000));
            for member in members {
                assert!(seen.insert(member["info"].as_u64().unwrap()), "twice: {member}");
            }
            after = members.last().map_or(json!(null), |last| last["session"].clone());
            if page["more"] == false || limit == Some(1) && seen.len() == 10 {
                break;
            }
        }
        assert_eq!(seen.len(), if limit == Some(1) { 10 } else { SESSIONS });
    }
}

#[test]
fn state_comes_in_pages_and_in_several_pushes() {
    const KEYS: usize = 2500;
    let options = ChannelOptions { state_keys: 5000, history_size: 10, ..Default::default() };
    for shards in [1, 2] {
        let server = serve_native(shards, |config| config.namespaces = namespaces(vec![("s", options.clone())]));
        let mut native = Native::connected(server.address, Form::Json);
        let key = |n: usize| format!("key-{n:05}");
        let commands: Vec<Value> = (0..KEYS)
            .map(|n| json!({"type": "publish", "channel": "s:keys", "key": key(n), "data": "x".repeat(300)}))
            .collect();
        commands.chunks(500).for_each(|some| native.say_all(some));
        let names = |page: &Value| -> Vec<String> {
            page["entries"].as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap().to_owned()).collect()
        };
        let all: Vec<String> = (0..KEYS).map(key).collect();
        let (mut seen, mut after) = (Vec::new(), json!(null));
        loop {
            let page = native.ask(json!({"type": "state", "channel": "s:keys", "after": after}));
            assert!(page.to_string().len() < 400_000 && page["head"] == KEYS);
            seen.extend(names(&page));
            after = json!(seen.last().unwrap());
            if page["more"] == false {
                break;
            }
        }
        assert_eq!(seen, all);
        // While the keys come, one of them changes: the new value comes after them.
        native.say(json!({"type": "subscribe", "channel": "s:keys", "state": true, "id": 900_000}));
        native.say(json!({"type": "publish", "channel": "s:keys", "key": key(7), "data": "changed"}));
        let subscribed = native.next_of("subscribed");
        assert_eq!((&subscribed["offset"], &subscribed["head"]), (&json!(KEYS), &json!(KEYS)));
        let (mut seen, mut pushes) = (Vec::new(), 0);
        loop {
            let push = native.next_of("state");
            seen.extend(names(&push));
            pushes += 1;
            if push["done"] == true {
                break;
            }
        }
        assert_eq!(seen, all);
        assert!(pushes > 20, "{pushes}");
        let publication = native.next_of("publication");
        assert_eq!((&publication["offset"], &publication["data"]), (&json!(KEYS + 1), &json!("changed")));
    }
}
