//! Where subscribers and publishers of plain messages go.

use crate::args::{Paths, Transport};
use crate::way::Way;

/// The paths of a load, and over what its subscribers listen.
#[derive(Debug, Clone)]
pub(crate) struct Routes {
    transport: Transport,
    sub_path: String,
    pub_path: String,
    room: String,
}

impl Routes {
    pub(crate) fn new(paths: &Paths) -> Routes {
        let (subscribers, publishers) = match paths.transport {
            Transport::WebSocket | Transport::Sse => ("/sub/bench-{}", "/pub/bench-{}"),
            Transport::SocketIo => ("/socket.io/", "/socket.io/"),
        };
        Routes {
            transport: paths.transport,
            sub_path: paths.sub_path.clone().unwrap_or_else(|| subscribers.to_owned()),
            pub_path: paths.pub_path.clone().unwrap_or_else(|| publishers.to_owned()),
            room: paths.room.clone(),
        }
    }

    /// For a channel that is not told apart by its path.
    pub(crate) fn of_channel(name: &str) -> Routes {
        let path = name.to_owned();
        Routes { transport: Transport::WebSocket, sub_path: path.clone(), pub_path: path, room: String::new() }
    }

    /// What has no place for the channel's number, although there is more than one; none if all have.
    pub(crate) fn without_number(&self) -> Option<&str> {
        let names = match self.transport {
            Transport::SocketIo => vec![&self.room],
            _ => vec![&self.sub_path, &self.pub_path],
        };
        names.into_iter().find(|name| !name.contains("{}")).map(String::as_str)
    }

    /// The way of a subscriber of this channel.
    pub(crate) fn subscriber(&self, channel: u32) -> Way {
        let path = of_channel(&self.sub_path, channel);
        match self.transport {
            Transport::WebSocket => Way::WebSocket(path),
            Transport::Sse => Way::Events(path),
            Transport::SocketIo => Way::SocketIo { path, first: join(&self.room(channel)) },
        }
    }

    /// The way of the line that publishes to it.
    pub(crate) fn publisher(&self, channel: u32) -> Way {
        let path = of_channel(&self.pub_path, channel);
        match self.transport {
            Transport::WebSocket | Transport::Sse => Way::WebSocket(path),
            Transport::SocketIo => Way::SocketIo { path, first: String::new() },
        }
    }

    /// The room of this channel, where channels are rooms of Socket.IO.
    pub(crate) fn room(&self, channel: u32) -> String {
        of_channel(&self.room, channel)
    }

    /// Where subscribers are and where is published, for people.
    pub(crate) fn names(&self, channel: u32) -> (String, String) {
        let (from, to) = (of_channel(&self.sub_path, channel), of_channel(&self.pub_path, channel));
        match self.transport {
            Transport::SocketIo => {
                let room = self.room(channel);
                (format!("room {room} of {from}"), format!("room {room} of {to}"))
            }
            _ => (from, to),
        }
    }
}

/// The packet that joins a room; none for no room.
pub(crate) fn join(room: &str) -> String {
    if room.is_empty() { String::new() } else { format!("42[\"join\",{}]", serde_json::json!(room)) }
}

pub(crate) fn of_channel(path: &str, number: u32) -> String {
    path.replace("{}", &number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(transport: Transport, room: &str) -> Routes {
        Routes::new(&Paths { transport, sub_path: None, pub_path: None, room: room.to_owned() })
    }

    #[test]
    fn each_transport_has_its_ways() {
        let plain = routes(Transport::WebSocket, "bench-{}");
        assert_eq!(plain.subscriber(3), Way::WebSocket("/sub/bench-3".into()));
        assert_eq!(plain.publisher(3), Way::WebSocket("/pub/bench-3".into()));
        let events = routes(Transport::Sse, "bench-{}");
        assert_eq!(events.subscriber(3), Way::Events("/sub/bench-3".into()));
        assert_eq!(events.publisher(3), Way::WebSocket("/pub/bench-3".into()));
        let rooms = routes(Transport::SocketIo, "bench-{}");
        let first = "42[\"join\",\"bench-3\"]".to_owned();
        assert_eq!(rooms.subscriber(3), Way::SocketIo { path: "/socket.io/".into(), first });
        assert_eq!(rooms.publisher(3), Way::SocketIo { path: "/socket.io/".into(), first: String::new() });
        assert_eq!((plain.without_number(), rooms.without_number()), (None, None));
        assert_eq!(routes(Transport::SocketIo, "same").without_number(), Some("same"));
    }
}
