//! The smallest chat service: rooms of people who talk, at `/chat/ws`.
//!
//! A client first sends `{"type":"join","room":…,"name":…}` and is answered `welcome` with who is there; from then on it gets
//! `join`, `leave` and `say`, and sends `say`. What it sends wrong is answered `error` with a stable code.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use longwire::{CloseCode, Closed, PublishError, Socket};
use serde::{Deserialize, Serialize};

const MAX_NAME_CHARS: usize = 32;
const MAX_ROOM_CHARS: usize = 64;
const MAX_TEXT_CHARS: usize = 4000;
const MAX_ID_CHARS: usize = 64;
const MAX_MEMBERS: usize = 500;
/// How long a client may take to say who it is.
const JOIN_TIME: Duration = Duration::from_secs(10);

/// Who is in which room. A room exists while someone is in it.
#[derive(Clone, Default)]
pub(crate) struct Chat {
    rooms: Arc<Mutex<HashMap<String, Vec<Member>>>>,
}

#[derive(Clone, Debug, Serialize)]
struct Member {
    id: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum FromClient {
    Join { room: String, name: String },
    Say { text: String, id: String },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToClient<'a> {
    Welcome {
        room: &'a str,
        you: &'a Member,
        members: Vec<Member>,
    },
    Join {
        member: &'a Member,
    },
    Leave {
        member: &'a Member,
    },
    Say {
        from: &'a Member,
        text: &'a str,
        /// Milliseconds since 1970.
        at: u128,
        id: &'a str,
    },
    Error {
        code: &'static str,
        message: &'static str,
        /// The `say` that was refused.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
    },
}

/// What is wrong with what a client sent: a stable code and words for it.
type Refusal = (&'static str, &'static str);

const BAD_JSON: Refusal = ("bad_json", "a message is a JSON object in a text frame");
const BAD_MESSAGE: Refusal = ("bad_message", "send {type: join, room, name} first, then {type: say, text, id}");
const NOT_JOINED: Refusal = ("not_joined", "join a room first");
const ALREADY_JOINED: Refusal = ("already_joined", "this connection is in a room; open another for another room");
const BAD_NAME: Refusal = ("bad_name", "a name has 1 to 32 characters, none of them control characters");
const BAD_ROOM: Refusal = ("bad_room", "a room's name has 1 to 64 characters, none of them control characters");
const TEXT_TOO_LONG: Refusal = ("text_too_long", "a text has 1 to 4000 characters");
const ROOM_FULL: Refusal = ("room_full", "there are 500 people in this room, which is as many as it takes");
const OVERLOADED: Refusal = ("overloaded", "too much is being said at the moment; try again");

impl Chat {
    /// Serves one client.
    pub(crate) async fn serve(self, mut socket: Socket) -> Result<(), Closed> {
        let Ok(place) = tokio::time::timeout(JOIN_TIME, self.admit(&mut socket)).await else {
            socket.close(CloseCode::POLICY_VIOLATION, "no room was joined in time");
            return Ok(());
        };
        let Some(place) = place? else { return Ok(()) };
        while let Some(message) = socket.recv().await {
            match parse(&message) {
                Err(refusal) => refuse(&socket, refusal, None).await?,
                Ok(FromClient::Join { .. }) => refuse(&socket, ALREADY_JOINED, None).await?,
                Ok(FromClient::Say { text, id }) => {
                    if let Err(refusal) = place.say(&text, &id) {
                        refuse(&socket, refusal, Some(&id)).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits until the client has joined a room. `None` if it has left.
    async fn admit(&self, socket: &mut Socket) -> Result<Option<Place>, Closed> {
        while let Some(message) = socket.recv().await {
            let refusal = match parse(&message) {
                Ok(FromClient::Join { room, name }) => match self.join(socket, room, name).await? {
                    Ok(place) => return Ok(Some(place)),
                    Err(refusal) => refusal,
                },
                Ok(FromClient::Say { .. }) => NOT_JOINED,
                Err(refusal) => refusal,
            };
            refuse(socket, refusal, None).await?;
        }
        Ok(None)
    }

    async fn join(&self, socket: &Socket, room: String, name: String) -> Result<Result<Place, Refusal>, Closed> {
        let (room, name) = (room.trim().to_owned(), name.trim().to_owned());
        if !is_label(&name, MAX_NAME_CHARS) {
            return Ok(Err(BAD_NAME));
        }
        if !is_label(&room, MAX_ROOM_CHARS) {
            return Ok(Err(BAD_ROOM));
        }
        let member = Member { id: format!("{:016x}", RandomState::new().hash_one(&name)), name };
        let members = {
            let mut rooms = self.rooms();
            let members = rooms.entry(room.clone()).or_default();
            if members.len() >= MAX_MEMBERS {
                return Ok(Err(ROOM_FULL));
            }
            members.push(member.clone());
            members.clone()
        };
        let place = Place { chat: self.clone(), channel: format!("chat:{room}").into(), room, member, node: socket.node() };
        socket.send(json(&ToClient::Welcome { room: &place.room, you: &place.member, members })).await?;
        socket.subscribe(&place.channel)?;
        let _ = place.tell(&ToClient::Join { member: &place.member });
        Ok(Ok(place))
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<String, Vec<Member>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One person in one room; leaves it when dropped, however the line ends.
struct Place {
    chat: Chat,
    channel: Arc<str>,
    room: String,
    member: Member,
    node: Option<longwire::Node>,
}

impl Place {
    fn say(&self, text: &str, id: &str) -> Result<(), Refusal> {
        if text.is_empty() || text.chars().count() > MAX_TEXT_CHARS {
            return Err(TEXT_TOO_LONG);
        }
        if id.chars().count() > MAX_ID_CHARS {
            return Err(BAD_MESSAGE);
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.tell(&ToClient::Say { from: &self.member, text, at, id }).map_err(|_| OVERLOADED)
    }

    /// Tells all in the room. That someone came or went may get lost when too much is on its way: whoever joins later is told
    /// who is there.
    fn tell(&self, event: &ToClient<'_>) -> Result<(), PublishError> {
        match &self.node {
            Some(node) => node.publish(self.channel.clone(), json(event)).inspect_err(|error| tracing::warn!(%error, "chat")),
            None => Ok(()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut rooms = self.chat.rooms();
        if let Some(members) = rooms.get_mut(&self.room) {
            members.retain(|member| member.id != self.member.id);
            if members.is_empty() {
                rooms.remove(&self.room);
            }
        }
        drop(rooms);
        let _ = self.tell(&ToClient::Leave { member: &self.member });
    }
}

fn parse(message: &longwire::Message) -> Result<FromClient, Refusal> {
    let text = message.as_text().ok_or(BAD_JSON)?;
    serde_json::from_str(text).map_err(|error| if error.is_data() { BAD_MESSAGE } else { BAD_JSON })
}

async fn refuse(socket: &Socket, (code, message): Refusal, id: Option<&str>) -> Result<(), Closed> {
    socket.send(json(&ToClient::Error { code, message, id })).await
}

fn json(event: &ToClient<'_>) -> String {
    serde_json::to_string(event).expect("only strings and numbers")
}

fn is_label(text: &str, max_chars: usize) -> bool {
    let count = text.chars().count();
    (1..=max_chars).contains(&count) && !text.chars().any(char::is_control)
}
