//! What channels take.

use longwire_protocol::{Data, ErrorCode, Publish};

use crate::broker::Failure;
use crate::broker::memory::need;
use crate::options::{ChannelOptions, Slow};

/// Whether a channel takes a publication.
pub(super) fn check(options: &ChannelOptions, publish: &Publish, by_server: bool) -> Result<(), Failure> {
    let bad = |rule: &str| Err(Failure::new(ErrorCode::BadValue, rule));
    let bytes = publish.data.as_ref().map_or(0, |data| data.as_bytes().len());
    // Who embeds the server has bounds of their own.
    if !by_server && bytes > options.message_bytes {
        let most = options.message_bytes;
        return Err(Failure::new(ErrorCode::TooLarge, format!("a publication of this channel has at most {most} bytes")));
    }
    need(
        publish.key.is_none() || options.has_state() || options.slow == Slow::Latest,
        "state, so that keys mean nothing in it",
    )?;
    need(!publish.remove || options.has_state(), "state")?;
    need(!publish.stream || options.streams, "streams")?;
    if publish.remove && (publish.key.is_none() || publish.data.is_some()) {
        return bad("remove goes with a key and without data");
    }
    if publish.stream && !matches!(publish.data, None | Some(Data::Text(_))) {
        return bad("a stream begins with a text or with nothing");
    }
    if publish.ephemeral && (publish.stream || publish.key.is_some()) {
        return bad("what is ephemeral has neither a key nor a stream");
    }
    if publish.stream && publish.key.is_some() {
        return bad("a stream has no key");
    }
    Ok(())
}
