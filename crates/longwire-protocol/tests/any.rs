//! Random values of all types, of those that can come over a line.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use longwire_protocol::*;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

fn channel() -> impl Strategy<Value = Arc<str>> {
    prop_oneof!["[a-z]{1,8}:[a-z0-9/]{0,20}", "[^\\p{Cc}]{1,60}"].prop_map(Into::into)
}

/// A text as it comes, with quotation marks, line breaks and the like among it.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,20}", ".{0,40}", "[\\x00-\\x1f\"\\\\/é\u{2028}🦀]{0,40}"]
}

fn boxed(min: usize, max: usize) -> impl Strategy<Value = Box<str>> {
    text().prop_filter_map("of that length", move |text| (min..=max).contains(&text.len()).then(|| text.into()))
}

fn json() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        Just("null"),
        Just("true"),
        Just("-0.5e-7"),
        Just("[]"),
        Just(r#"{"a":[1,{"b":"c"}]}"#),
        Just(r#""\ud83d\ude00 \" \\ \n""#),
        Just("[ 1,\t2 ]"),
        Just(r#""你好""#),
        Just("123456789012345678901234567890")
    ]
    .prop_map(|text| Bytes::from_static(text.as_bytes()))
}

fn info() -> impl Strategy<Value = Bytes> {
    json().prop_filter("null is none", |json| json != "null")
}

fn bytes() -> impl Strategy<Value = Data> {
    vec(any::<u8>(), 0..200).prop_map(Data::from)
}

/// Without `Data::Text`, which JSON has no sign for.
fn data() -> impl Strategy<Value = Data> {
    prop_oneof![json().prop_map(Data::Json), bytes()]
}

fn tags(min: usize) -> impl Strategy<Value = BTreeMap<Box<str>, Box<str>>> {
    btree_map(boxed(1, NAME_MAX), boxed(0, NAME_MAX), min..=4)
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<[u8; 12]>().prop_map(SessionId)
}

fn epoch() -> impl Strategy<Value = Epoch> {
    any::<u32>().prop_map(Epoch)
}

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![0..300u64, any::<u64>()]
}

fn position() -> impl Strategy<Value = Position> {
    (epoch(), offset()).prop_map(|(epoch, offset)| Position { epoch, offset })
}

fn end(of: &'static [StreamEnd]) -> impl Strategy<Value = Option<StreamEnd>> {
    option::of(proptest::sample::select(of))
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    let action = prop_oneof![
        connect(),
        subscribe(),
        channel().prop_map(|channel| Action::Unsubscribe { channel }),
        publish(),
        append(),
        (channel(), 1..u64::MAX).prop_map(|(channel, stream)| Action::Cancel { channel, stream }),
        history(),
        (channel(), option::of(0..=LIST_MAX), option::of(session()))
            .prop_map(|(channel, limit, after)| { Action::Presence { channel, limit, after } }),
        (channel(), option::of(0..=LIST_MAX), option::of(boxed(1, NAME_MAX)))
            .prop_map(|(channel, limit, after)| { Action::State { channel, limit, after } }),
        text().prop_map(|token| Action::Refresh { token }),
        Just(Action::Ping),
    ];
    (option::of(1..=u32::MAX), action).prop_map(|(id, action)| Command { id, action })
}

fn subscribe() -> impl Strategy<Value = Action> {
    let wants = (any::<(bool, bool)>(), option::of(boxed(0, NAME_MAX)));
    (channel(), option::of(position()), option::of(any::<u32>()), wants).prop_map(
        |(channel, since, last, ((state, members), after))| {
            Action::Subscribe(Subscribe { channel, since, last, state, after, members })
        },
    )
}

fn connect() -> BoxedStrategy<Action> {
    (option::of(text()), option::of(info()), option::of((session(), "[a-z0-9]{0,32}")))
        .prop_map(|(token, info, resume)| {
            let (session, key) = resume.unzip();
            Action::Connect(Connect { token, info, session, key })
        })
        .boxed()
}

fn publish() -> BoxedStrategy<Action> {
    let kind = prop_oneof![
        (option::of(data()), option::of(boxed(1, NAME_MAX))).prop_map(|(data, key)| Publish {
            data,
            key,
            ..Publish::new("x", "")
        }),
        boxed(1, NAME_MAX).prop_map(|key| Publish { data: None, key: Some(key), remove: true, ..Publish::new("x", "") }),
        option::of(data()).prop_map(|data| Publish { data, ephemeral: true, ..Publish::new("x", "") }),
        option::of(text()).prop_map(|text| Publish { data: text.map(Data::from), stream: true, ..Publish::new("x", "") }),
    ];
    let event = option::of(boxed(1, NAME_MAX));
    let tags = option::of(tags(1).prop_map(Box::new));
    let once = option::of((boxed(1, ONCE_MAX), prop_oneof![Just(0), any::<u64>()]));
    (kind, channel(), event, tags, once, any::<bool>())
        .prop_map(|(kind, channel, event, tags, once, echo)| {
            let (once, age) = once.map_or((None, 0), |(once, age)| (Some(once), age));
            Action::Publish(Publish { channel, event, tags, once, age, echo, ..kind })
        })
        .boxed()
}

fn append() -> BoxedStrategy<Action> {
    let end = option::of((proptest::sample::select(&StreamEnd::ALL[..3]), option::of(boxed(0, 60))));
    (channel(), 1..u64::MAX, option::of(boxed(0, 200)), option::of(offset()), end)
        .prop_map(|(channel, stream, data, at, end)| {
            let (end, reason) = end.unzip();
            Action::Append(Append { channel, stream, data, at, end, reason: reason.flatten() })
        })
        .boxed()
}

fn history() -> BoxedStrategy<Action> {
    let bounds = prop_oneof![
        Just((None, None)),
        offset().prop_map(|after| (Some(after), None)),
        offset().prop_map(|before| (None, Some(before)))
    ];
    (channel(), bounds, option::of(epoch()), option::of(0..=HISTORY_MAX))
        .prop_map(|(channel, (after, before), epoch, limit)| Action::History(History { channel, after, epoch, before, limit }))
        .boxed()
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        (option::of(1..=u32::MAX), reply()).prop_map(|(id, reply)| Message::Reply(id, reply)),
        push().prop_map(Message::Push)
    ]
}

fn reply() -> BoxedStrategy<Reply> {
    let limits = (0..100u32, 0..100u32, any::<u32>());
    prop_oneof![
        (code(), boxed(0, 60), option::of(channel())).prop_map(|(code, message, channel)| Reply::Error(ErrorReply {
            code,
            message,
            channel
        })),
        (session(), text(), any::<bool>(), option::of(text()), limits, option::of(any::<u32>())).prop_map(
            |(session, key, resumed, user, (ping, keep, max), expires)| {
                let user = user.map(Into::into);
                Reply::Connected(Box::new(Connected { session, key, resumed, user, ping, keep, max, expires }))
            }
        ),
        subscribed(),
        channel().prop_map(|channel| Reply::Unsubscribed { channel }),
        (channel(), option::of(position()), any::<bool>(), option::of(any::<u32>()))
            .prop_map(|(channel, position, repeated, lease)| Reply::Published { channel, position, repeated, lease }),
        (channel(), offset(), offset(), any::<bool>()).prop_map(|(channel, stream, length, cancel)| Reply::Appended {
            channel,
            stream,
            length,
            cancel
        }),
        (channel(), offset()).prop_map(|(channel, stream)| Reply::Cancelled { channel, stream }),
        (publications(), position(), any::<bool>())
            .prop_map(|((channel, publications), head, more)| { Reply::History { channel, head, publications, more } }),
        (channel(), vec(member(), 0..4), offset(), offset(), any::<bool>())
            .prop_map(|(channel, members, sessions, users, more)| Reply::Presence { channel, members, sessions, users, more }),
        (publications(), position(), any::<bool>()).prop_map(|((channel, entries), head, more)| Reply::State {
            channel,
            head,
            entries,
            more
        }),
        option::of(any::<u32>()).prop_map(|expires| Reply::Refreshed { expires }),
        Just(Reply::Pong),
    ]
    .boxed()
}

fn code() -> impl Strategy<Value = ErrorCode> {
    proptest::sample::select(ErrorCode::ALL)
}

fn subscribed() -> BoxedStrategy<Reply> {
    let recovered = prop_oneof![
        Just(None),
        Just(Some(Ok(()))),
        proptest::sample::select(&Unrecovered::ALL[..]).prop_map(|reason| Some(Err(reason)))
    ];
    let options = any::<[bool; 6]>().prop_map(|[history, presence, joins, state, streams, publish]| Abilities {
        history,
        presence,
        joins,
        state,
        streams,
        publish,
    });
    (channel(), position(), offset(), recovered, option::of(vec(member(), 0..4)), options)
        .prop_map(|(channel, position, head, recovered, members, options)| {
            Reply::Subscribed(Box::new(Subscribed { channel, position, head, recovered, members, options }))
        })
        .boxed()
}

fn push() -> BoxedStrategy<Push> {
    prop_oneof![
        4 => publication(channel()).prop_map(Push::Publication),
        2 => piece().prop_map(Push::Append),
        1 => (channel(), member()).prop_map(|(channel, member)| Push::Join { channel, member }),
        1 => (channel(), member()).prop_map(|(channel, member)| Push::Leave { channel, member }),
        1 => (publications(), any::<bool>()).prop_map(|((channel, entries), done)| Push::State { channel, entries, done }),
        1 => (channel(), offset()).prop_map(|(channel, offset)| Push::Gap { channel, offset }),
        1 => (channel(), code()).prop_map(|(channel, code)| Push::Unsubscribed { channel, code }),
        1 => (channel(), offset()).prop_map(|(channel, stream)| Push::Cancel { channel, stream }),
    ]
    .boxed()
}

fn publications() -> BoxedStrategy<(Arc<str>, Vec<Arc<Publication>>)> {
    channel().prop_flat_map(|channel| (Just(channel.clone()), vec(publication(Just(channel)), 0..4))).boxed()
}

fn publication(channel: impl Strategy<Value = Arc<str>> + 'static) -> BoxedStrategy<Arc<Publication>> {
    let stream = (offset(), offset(), end(&StreamEnd::ALL), option::of(boxed(0, 60)))
        .prop_map(|(began, length, end, reason)| Stream { began, length, end, reason });
    let rare = (option::of(boxed(1, 60)), option::of(boxed(1, 60)), any::<bool>(), tags(0), option::of(stream)).prop_map(
        |(event, key, removed, tags, stream)| {
            let rare = Rare { event, key, removed, tags, stream };
            (rare != Rare::default()).then(|| Box::new(rare))
        },
    );
    let data = (option::of(data()), option::of(text()));
    (channel, offset(), offset(), data, option::of(member()), option::of(rare))
        .prop_map(|(channel, offset, time, (data, text), from, rare)| {
            let rare = rare.flatten();
            let is_stream = rare.as_ref().is_some_and(|rare| rare.stream.is_some());
            let data = if is_stream { text.map(Data::from) } else { data };
            Arc::new(Publication { channel, offset, time, data, from, rare })
        })
        .boxed()
}

fn piece() -> BoxedStrategy<Arc<Piece>> {
    let offsets = (offset(), offset(), offset());
    (channel(), offsets, option::of(boxed(0, 200)), end(&StreamEnd::ALL), option::of(boxed(0, 60)))
        .prop_map(|(channel, (offset, stream, at), data, end, reason)| {
            Arc::new(Piece { channel, offset, stream, at, data, end, reason })
        })
        .boxed()
}

fn member() -> BoxedStrategy<Arc<Member>> {
    (session(), option::of(text()), option::of(info()))
        .prop_map(|(session, user, info)| Arc::new(Member { session, user: user.map(Into::into), info }))
        .boxed()
}
