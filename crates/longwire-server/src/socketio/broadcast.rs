//! Emitting to many sockets, and acting on them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, OnceLock};

use longwire_core::broker::{Ask, Failure, Request, Ticket as BrokerTicket};
use longwire_protocol::{Data, ErrorCode, Publish};
use longwire_socketio::{Arguments, DataError, Json};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::rooms::id_of;
use super::socket::{Handshake, Socket, Ticket, is_reserved, read_auth, read_noted};
use super::{IntoArguments, Rooms, Space};
use crate::node::Node;
use crate::shard::{self, Act, Command, EXCEPT, Found, Letter, Noted, ONLY, PACKED, Shard, Step, TO, VOLATILE, at_work, pack};

/// The sockets of a namespace that something is for: all of them, those in some rooms, without those in others. Of a socket that is in
/// several of the rooms, each gets an event once. A room may be the id of a socket.
#[derive(Clone)]
pub struct Broadcast {
    node: Arc<OnceLock<Node>>,
    pub(super) space: Arc<Space>,
    to: Vec<String>,
    except: Vec<String>,
    volatile: bool,
    /// Who emits: what it emits is heard in its order.
    from: Option<Ticket>,
}

/// A socket somewhere on the node, as it was when it was asked for.
#[derive(Clone, Debug)]
pub struct RemoteSocket {
    /// Its id.
    pub id: String,
    /// The rooms that it is in.
    pub rooms: Vec<String>,
    /// The request that opened its connection.
    pub handshake: Handshake,
    auth: Option<Json>,
    data: Option<Box<Noted>>,
}

impl RemoteSocket {
    /// What was noted with it: see [`Socket::set_data`].
    ///
    /// # Errors
    /// It is something else.
    pub fn data<T: DeserializeOwned>(&self) -> Result<Option<T>, DataError> {
        read_noted(self.data.as_deref())
    }

    /// What the client said when it connected: see [`Socket::auth`].
    ///
    /// # Errors
    /// It is something else.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, DataError> {
        read_auth(self.auth.as_ref())
    }
}

/// Which sockets of a namespace are meant.
#[derive(Clone)]
pub(crate) struct Selection {
    pub(crate) space: Arc<Space>,
    /// Names as in the tags of publications: channels of rooms, and ids.
    pub(crate) to: Arc<[String]>,
    pub(crate) except: Arc<[String]>,
}

/// What is done with sockets.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Join(Vec<Arc<str>>),
    Leave(Vec<Arc<str>>),
    PutOut,
    Close,
}

impl Broadcast {
    pub(super) fn new(node: Arc<OnceLock<Node>>, space: Arc<Space>) -> Self {
        Self { node, space, to: Vec::new(), except: Vec::new(), volatile: false, from: None }
    }

    pub(super) fn from_socket(socket: &Socket) -> Self {
        let node = OnceLock::new();
        if let Some(here) = shard::with(|shard| shard.node().clone()) {
            let _ = node.set(here);
        }
        Self { from: socket.0.ticket.get(), ..Self::new(Arc::new(node), socket.0.space.clone()) }
    }

    /// Only those in this room, in one of these, or in others that are named so.
    #[must_use]
    pub fn to(mut self, rooms: impl Rooms) -> Self {
        rooms.each(|room| self.to.push(room.to_owned()));
        self
    }

    /// None of those in this room, or in one of these.
    #[must_use]
    pub fn except(mut self, rooms: impl Rooms) -> Self {
        rooms.each(|room| self.except.push(room.to_owned()));
        self
    }

    /// Only those who take it at once: it is not kept for those who come back.
    #[must_use]
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Emits an event. See [`IntoArguments`] for what can be sent. What cannot be emitted is logged: see
    /// [`try_emit`](Self::try_emit).
    pub fn emit(&self, event: &str, arguments: impl IntoArguments) {
        logged(event, self.try_emit(event, arguments));
    }

    /// As [`emit`](Self::emit), and says what came of it.
    ///
    /// # Errors
    /// [`EmitError`]; nobody gets it.
    pub fn try_emit(&self, event: &str, arguments: impl IntoArguments) -> Result<(), EmitError> {
        let arguments = arguments_of(event, arguments)?;
        self.space.tell_outgoing(None, event, &arguments);
        let node = self.node.get().ok_or(EmitError::Gone)?;
        if node.is_overloaded() {
            return Err(EmitError::Full);
        }
        let mut tags = BTreeMap::new();
        let list = |names: &[String]| serde_json::to_string(&names).unwrap_or_default().into_boxed_str();
        let shards = node.shards();
        let channel = match &self.to[..] {
            [] => self.space.all.clone(),
            // Where sockets have channels of their own, those are the rooms of their names, and otherwise there hardly is one.
            [one] if !self.space.recovers && !self.space.ids_are_joined() && id_of(one, shards).is_some() => {
                tags.insert(ONLY.into(), one.as_str().into());
                self.space.all.clone()
            }
            [one] if self.space.recovers || id_of(one, shards).is_none() => match self.space.possible_room(one, shards) {
                Ok(channel) => channel,
                // Nobody is in there.
                Err(_) => return Ok(()),
            },
            _ => {
                tags.insert(TO.into(), list(&self.named(&self.to, shards)));
                self.space.all.clone()
            }
        };
        if !self.except.is_empty() {
            tags.insert(EXCEPT.into(), list(&self.named(&self.except, shards)));
        }
        if self.volatile {
            tags.insert(VOLATILE.into(), "1".into());
        }
        let ask = publication(&channel, event, &arguments, tags, self.volatile);
        let request = Request { channel, ticket: BrokerTicket::default(), ask };
        let flight = node.flight(&request);
        self.post(node, Step::Publish(request, flight))
    }

    /// As names stand in the tags of publications: channels, and ids. Channels have a `:`, and ids have none.
    fn named(&self, rooms: &[String], shards: usize) -> Vec<String> {
        let mut names = Vec::with_capacity(rooms.len());
        for room in rooms {
            names.push(self.space.room(room, shards).to_string());
            if id_of(room, shards).is_some() {
                names.push(room.clone());
            }
        }
        names
    }

    /// The sockets, on all shards.
    ///
    /// # Errors
    /// The node stops.
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, Failure> {
        let selection = self.selection()?;
        let space = self.space.clone();
        let found = self.each(move |shard| shard.select_sockets(&selection)).await?;
        let remote = |found: Found| {
            let Found { id, channels, data, handshake, auth } = found;
            let id = id.to_string();
            let rooms: BTreeSet<_> = channels
                .iter()
                .filter_map(|channel| space.room_of(channel))
                .filter(|room| *room != id)
                .map(Cow::into_owned)
                .collect();
            RemoteSocket { id, rooms: rooms.into_iter().collect(), handshake, auth, data }
        };
        Ok(found.into_iter().flatten().map(remote).collect())
    }

    /// Has them join a room, or several. Tells how many there were; those who are in too many already are told in the log.
    ///
    /// # Errors
    /// The node stops, or no room can be called so (`bad_value`).
    pub async fn sockets_join(&self, rooms: impl Rooms) -> Result<usize, Failure> {
        self.act(Action::Join(self.channels(rooms)?)).await
    }

    /// Has them leave a room, or several.
    ///
    /// # Errors
    /// As [`sockets_join`](Self::sockets_join).
    pub async fn sockets_leave(&self, rooms: impl Rooms) -> Result<usize, Failure> {
        self.act(Action::Leave(self.channels(rooms)?)).await
    }

    fn channels(&self, rooms: impl Rooms) -> Result<Vec<Arc<str>>, Failure> {
        let shards = self.node.get().ok_or(ErrorCode::Overloaded)?.shards();
        let mut channels = Ok(Vec::new());
        rooms.each(|room| {
            self.space.is_joined(room, shards);
            match (self.space.possible_room(room, shards), &mut channels) {
                (Ok(channel), Ok(channels)) => channels.push(channel),
                (Err(error), Ok(_)) => channels = Err(Failure::new(ErrorCode::BadValue, error.to_string())),
                (_, Err(_)) => {}
            }
        });
        channels
    }

    /// Puts them out of the namespace, or closes their connections. Tells how many there were.
    ///
    /// # Errors
    /// The node stops.
    pub async fn disconnect_sockets(&self, close: bool) -> Result<usize, Failure> {
        self.act(if close { Action::Close } else { Action::PutOut }).await
    }

    async fn act(&self, action: Action) -> Result<usize, Failure> {
        let selection = self.selection()?;
        Ok(self.each(move |shard| shard.act_on_sockets(&selection, &action)).await?.into_iter().sum())
    }

    pub(super) fn selection(&self) -> Result<Selection, Failure> {
        let shards = self.node.get().ok_or(ErrorCode::Overloaded)?.shards();
        let (to, except) = (self.named(&self.to, shards).into(), self.named(&self.except, shards).into());
        Ok(Selection { space: self.space.clone(), to, except })
    }

    /// Has each shard do something, in its place among what was emitted to the same sockets before and is emitted after.
    pub(super) async fn each<T: Send + 'static>(
        &self,
        act: impl Fn(&mut Shard) -> T + Send + Sync + 'static,
    ) -> Result<Vec<T>, Failure> {
        let node = self.node.get().ok_or(ErrorCode::Overloaded)?;
        let (told, mut answers) = mpsc::unbounded_channel();
        // Whoever is told on a shard's thread goes on there: behind what the others have just sent to that shard.
        let here = shard::try_with(|shard| shard.node().is(node).then(|| shard.index())).flatten();
        let act: Act = Arc::new(move |shard| {
            let (told, done) = (told.clone(), act(shard));
            match here {
                Some(asker) if asker != shard.index() => shard.have(asker, move |_| drop(told.send(done))),
                _ => drop(told.send(done)),
            }
        });
        let channel = match &self.to[..] {
            [one] => self.space.room(one, node.shards()),
            _ => self.space.all.clone(),
        };
        self.post(node, Step::Act(channel, act)).map_err(|_| ErrorCode::Overloaded)?;
        let mut all = Vec::with_capacity(node.shards());
        while all.len() < node.shards() {
            // The node has stopped.
            all.push(answers.recv().await.ok_or(ErrorCode::Overloaded)?);
        }
        Ok(all)
    }

    /// Puts something on its way to the home of a channel; if a handler is at work, or a socket does it, behind what that one has done
    /// before.
    fn post(&self, node: &Node, step: Step) -> Result<(), EmitError> {
        let mut step = Some(step);
        let by = at_work().or(self.from);
        let posted = shard::try_with(|shard| {
            if !shard.node().is(node) {
                return None;
            }
            step.take().map(|step| shard.step(by, step))
        });
        if let Some(posted) = posted.flatten() {
            return posted;
        }
        let (channel, letter) = match step {
            Some(Step::Publish(request, flight)) => (request.channel.clone(), Letter::Ask(request, Some(flight))),
            Some(Step::Act(channel, act)) => (channel.clone(), Letter::Relay(channel, act)),
            _ => return Ok(()),
        };
        node.mailbox(node.home(&channel)).push(Command::Letters(vec![letter]));
        Ok(())
    }
}

impl fmt::Debug for Broadcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { space, to, except, .. } = self;
        f.debug_struct("Broadcast")
            .field("namespace", &space.name)
            .field("to", to)
            .field("except", except)
            .finish_non_exhaustive()
    }
}

/// The arguments of an event, with its name first.
pub(super) fn event_of(event: &str, arguments: impl IntoArguments) -> Result<Arguments, EmitError> {
    let mut all = Arguments::event(event);
    append(event, arguments, &mut all).map(|()| all)
}

pub(super) fn arguments_of(event: &str, arguments: impl IntoArguments) -> Result<Arguments, EmitError> {
    let mut all = Arguments::new();
    append(event, arguments, &mut all).map(|()| all)
}

fn append(event: &str, arguments: impl IntoArguments, to: &mut Arguments) -> Result<(), EmitError> {
    if is_reserved(event) {
        return Err(EmitError::Reserved);
    }
    arguments.append_to(to).map_err(EmitError::Data)
}

/// Why an event was not emitted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmitError {
    /// The socket is not there any more, or the server does not run.
    Gone,
    /// More waits already than may wait: for this client, or on the whole node. Later there may be room.
    Full,
    /// The protocol has the name for itself.
    Reserved,
    /// The arguments cannot be written.
    Data(DataError),
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the socket has gone"),
            Self::Full => f.write_str("more waits already than may wait: emit less at a time, or wait until it is taken"),
            Self::Reserved => f.write_str("no event can have this name: the protocol has it for itself"),
            Self::Data(error) => write!(f, "the arguments cannot be written: {error}"),
        }
    }
}

impl std::error::Error for EmitError {}

/// For those who do not look at what came of it.
pub(super) fn logged(event: &str, emitted: Result<(), EmitError>) {
    match emitted {
        // As if it had been emitted a moment before.
        Ok(()) | Err(EmitError::Gone) => {}
        Err(EmitError::Full) => sparsely!(WARN, event, "an event was not emitted: {}", EmitError::Full),
        Err(error) => sparsely!(ERROR, event, %error, "an event was not emitted"),
    }
}

/// An event as a publication.
pub(crate) fn publication(
    channel: &Arc<str>,
    event: &str,
    arguments: &Arguments,
    mut tags: BTreeMap<Box<str>, Box<str>>,
    volatile: bool,
) -> Ask {
    let json = arguments.json();
    let data = match arguments.attachments() {
        [] => Data::Json(json.as_bytes().to_vec().into()),
        // A lone one is what others publish as bytes.
        [bytes] if json == r#"[{"_placeholder":true,"num":0}]"# => Data::Bytes(bytes.clone()),
        parts => {
            tags.insert(PACKED.into(), "1".into());
            Data::Bytes(pack(json.as_bytes(), parts))
        }
    };
    let mut publish = Publish::new(channel.clone(), data);
    publish.event = Some(event.into());
    publish.tags = (!tags.is_empty()).then(|| Box::new(tags));
    publish.ephemeral = volatile;
    Ask::Publish { publish: Box::new(publish), from: None }
}
