//! A publication that grows.

use std::cell::OnceCell;
use std::sync::Arc;

use longwire_protocol::{Append, Data, ErrorCode, Piece, Publication, Rare, SessionId, Stream as Progress, StreamEnd};

use crate::broker::Failure;

/// A stream, with all its text so far.
pub(super) struct Stream {
    /// The publication that began it, without its text.
    beginning: Arc<Publication>,
    text: String,
    /// The offset of its newest piece.
    pub(super) last: u64,
    producer: Option<SessionId>,
    /// When the producer is taken for lost.
    pub(super) lease: u64,
    /// Someone wants it to stop.
    cancel: bool,
    end: Option<StreamEnd>,
    reason: Option<Box<str>>,
    /// As it was given last: all who ask before it grows share one copy of the text.
    rolled_up: OnceCell<Arc<Publication>>,
}

/// What an append comes to.
pub(super) enum Appended {
    /// The stream goes on with this; the channel numbers it.
    Piece(Piece),
    /// The stream has it already, or it is only a sign of life.
    Nothing,
}

impl Stream {
    /// That begins with this publication, whose data, if any, is its first text.
    pub(super) fn new(publication: &Publication, producer: Option<SessionId>, lease: u64) -> Self {
        let text = match &publication.data {
            Some(Data::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        };
        let beginning = Publication { data: None, ..publication.clone() };
        let last = publication.offset;
        Self {
            beginning: Arc::new(beginning),
            text,
            last,
            producer,
            lease,
            cancel: false,
            end: None,
            reason: None,
            rolled_up: OnceCell::new(),
        }
    }

    /// As one publication, as it would be if it had been published just now.
    pub(super) fn rolled_up(&self) -> Arc<Publication> {
        self.rolled_up.get_or_init(|| self.roll_up()).clone()
    }

    fn roll_up(&self) -> Arc<Publication> {
        let mut publication = Publication::clone(&self.beginning);
        publication.offset = self.last;
        publication.data = Some(Data::Text(self.text.clone().into()));
        let rare = publication.rare.get_or_insert_with(Box::<Rare>::default);
        rare.stream =
            Some(Progress { began: self.beginning.offset, length: self.length(), end: self.end, reason: self.reason.clone() });
        Arc::new(publication)
    }

    /// What an append adds to it, if its producer may say so.
    pub(super) fn accept(&self, append: &Append, producer: Option<SessionId>, most: usize) -> Result<Appended, Failure> {
        if producer.is_some() && producer != self.producer {
            return Err(ErrorCode::NotTheProducer.into());
        }
        let data = append.data.as_deref().unwrap_or("");
        let at = append.at.unwrap_or(self.length());
        if at > self.length() {
            return Err(ErrorCode::StreamGap.into());
        }
        let known = (self.length() - at).min(data.len() as u64) as usize;
        let Some(new) = data.get(known..) else {
            return Err(Failure::new(ErrorCode::BadValue, "member at of append is inside a character"));
        };
        if self.end.is_some() {
            // The same said again, because its answer was lost.
            let again = append.at.is_some() && new.is_empty() && append.end.is_none_or(|end| Some(end) == self.end);
            return if again { Ok(Appended::Nothing) } else { Err(ErrorCode::StreamEnded.into()) };
        }
        if self.text.len() + new.len() > most {
            return Err(Failure::new(ErrorCode::TooLarge, format!("a stream of this channel has at most {most} bytes")));
        }
        if new.is_empty() && append.end.is_none() {
            return Ok(Appended::Nothing);
        }
        Ok(Appended::Piece(Piece {
            channel: append.channel.clone(),
            offset: 0,
            stream: append.stream,
            at: self.length(),
            data: (!new.is_empty()).then(|| new.into()),
            end: append.end,
            reason: append.reason.clone(),
        }))
    }

    /// Takes a numbered piece in.
    pub(super) fn add(&mut self, piece: &Piece) {
        self.rolled_up.take();
        self.text.push_str(piece.data.as_deref().unwrap_or(""));
        self.last = piece.offset;
        self.end = piece.end;
        self.reason.clone_from(&piece.reason);
    }

    /// Notes that someone wants it to stop; whom to tell, or why not.
    pub(super) fn cancel(&mut self) -> Result<Option<SessionId>, Failure> {
        if self.end.is_some() {
            return Err(ErrorCode::StreamEnded.into());
        }
        // Once: a producer that was away learns of it from the answers to its pieces.
        let is_known = std::mem::replace(&mut self.cancel, true);
        Ok(self.producer.filter(|_| !is_known))
    }

    /// The piece that says that the producer is lost.
    pub(super) fn lost(&self) -> Piece {
        Piece {
            channel: self.beginning.channel.clone(),
            offset: 0,
            stream: self.began(),
            at: self.length(),
            data: None,
            end: Some(StreamEnd::Lost),
            reason: None,
        }
    }

    /// Because of whom it is kept.
    pub(super) fn by(&self) -> Option<SessionId> {
        self.beginning.from.as_ref().map(|from| from.session)
    }

    pub(super) fn began(&self) -> u64 {
        self.beginning.offset
    }

    pub(super) fn length(&self) -> u64 {
        self.text.len() as u64
    }

    pub(super) fn is_open(&self) -> bool {
        self.end.is_none()
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancel
    }
}
