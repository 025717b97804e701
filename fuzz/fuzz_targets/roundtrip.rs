//! Whatever one end sends, the other hears, in whatever pieces it comes.
//!
//! An input is the listener, then what its peer does: a byte that says what, a masking key, and bytes with their length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longwire_fuzz::{Heard, Listener, Outcome, Reader};
use longwire_ws::deflate::SharedDeflater;
use longwire_ws::frame::{self, Header};
use longwire_ws::{CloseCode, CloseFrame, Limits, MessageKind, Opcode, Role, Sender};

/// More on the wire shows nothing new, but takes its time.
const ENOUGH_BYTES: usize = 20_000;

fuzz_target!(|input: &[u8]| {
    let mut input = Reader(input);
    let listener = Listener { limits: Limits::default(), ..Listener::read(&mut input) };
    let mut peer = Peer::new(&listener);
    while !input.is_empty() && peer.wire.len() < ENOUGH_BYTES {
        peer.act(&mut input);
    }
    let expected = Outcome { events: peer.events, error: None };
    assert_eq!(listener.hear_whole(&peer.wire), expected);
    assert_eq!(listener.hear_pieces(&peer.wire), expected);
});

struct Peer {
    role: Role,
    sender: Sender,
    /// To some listeners, frames can go that are made for many.
    shared: Option<SharedDeflater>,
    wire: Vec<u8>,
    events: Vec<Heard>,
}

impl Peer {
    fn new(listener: &Listener) -> Self {
        let role = if listener.role == Role::Client { Role::Server } else { Role::Client };
        let sender = Sender::new(role, listener.deflate);
        let shared = sender.shared_window_bits().filter(|_| role == Role::Server).map(SharedDeflater::new);
        Self { role, sender, shared, wire: Vec::new(), events: Vec::new() }
    }

    fn act(&mut self, input: &mut Reader<'_>) {
        let (act, key) = (input.byte(), input.key());
        // Long payloads are short ones many times over.
        let payload = input.short().repeat(1 + usize::from(act >> 4) * 10);
        if self.sender.close_sent() {
            assert!(self.sender.send(MessageKind::Binary, &payload, key, &mut self.wire).is_err());
            return;
        }
        let text = String::from_utf8_lossy(&payload).into_owned();
        let short = &payload[..payload.len().min(125)];
        match act & 15 {
            0 => {
                self.sender.ping(&payload, key, &mut self.wire).expect("not closing");
                self.events.push(Heard::Ping(short.to_vec()));
            }
            1 => {
                self.sender.pong(&payload, key, &mut self.wire).expect("not closing");
                self.events.push(Heard::Pong(short.to_vec()));
            }
            2 => {
                let code = CloseCode::new(1000 + u16::from(key[0] % 4)).expect("a code that may be sent");
                self.sender.close(Some((code, &text)), key, &mut self.wire).expect("not closing");
                let reason = text[..text.floor_char_boundary(CloseFrame::MAX_REASON_BYTES)].to_owned();
                self.events.push(Heard::Close(Some(CloseFrame { code, reason })));
            }
            3 => {
                self.sender.close(None, key, &mut self.wire).expect("not closing");
                self.events.push(Heard::Close(None));
            }
            4..=6 => self.fragments(&payload, key),
            7 if self.shared.is_some() => {
                let shared = self.shared.as_mut().expect("it is there");
                shared.encode(MessageKind::Binary, &payload, &mut self.wire);
                self.events.push(Heard::Message(MessageKind::Binary, payload));
            }
            8..=11 => {
                self.sender.send(MessageKind::Text, text.as_bytes(), key, &mut self.wire).expect("not closing");
                self.events.push(Heard::Message(MessageKind::Text, text.into_bytes()));
            }
            _ => {
                self.sender.send(MessageKind::Binary, &payload, key, &mut self.wire).expect("not closing");
                self.events.push(Heard::Message(MessageKind::Binary, payload));
            }
        }
    }

    /// A message in pieces of `key[0]` bytes, 900 pieces at most, with pings in between.
    fn fragments(&mut self, payload: &[u8], key: [u8; 4]) {
        let mask = (self.role == Role::Client).then_some(key);
        let size = usize::from(key[0]).max(payload.len() / 900 + 1);
        let mut opcode = Opcode::Binary;
        for (at, piece) in payload.chunks(size).enumerate() {
            frame::encode_with(Header { fin: false, mask, ..Header::new(opcode, 0) }, piece, &mut self.wire);
            opcode = Opcode::Continuation;
            if at % 4 == usize::from(key[1] % 8) {
                self.sender.ping(&key, key, &mut self.wire).expect("not closing");
                self.events.push(Heard::Ping(key.to_vec()));
            }
        }
        frame::encode_with(Header { mask, ..Header::new(opcode, 0) }, b"", &mut self.wire);
        self.events.push(Heard::Message(MessageKind::Binary, payload.to_vec()));
    }
}
