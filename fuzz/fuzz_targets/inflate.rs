//! Compressed messages: limits hold, and what inflates is what another inflater makes of it.
//!
//! An input is the listener, then messages: a byte that says which kind and how it is cut, and a length in one byte before each
//! but the last, which is the rest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longwire_fuzz::{Heard, Listener, Reader};
use longwire_ws::frame::{self, Header, RSV1};
use longwire_ws::{Opcode, Role};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF};

/// RFC 7692, 7.2.2: what is put behind a message, and an empty last block.
const END: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];

fuzz_target!(|input: &[u8]| {
    let mut input = Reader(input);
    let mut listener = Listener::read(&mut input);
    let deflate = listener.deflate.get_or_insert(longwire_ws::handshake::deflate::DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    });
    let alone = match listener.role {
        Role::Server => deflate.client_no_context_takeover,
        Role::Client => deflate.server_no_context_takeover,
    };

    let (mut wire, mut messages) = (Vec::new(), Vec::new());
    while !input.is_empty() {
        let shape = input.byte();
        let payload = if shape & 0x80 != 0 { input.short() } else { input.take(usize::MAX) };
        append(&mut wire, listener.role, shape, payload);
        messages.push(payload);
    }
    let outcome = listener.hear_whole(&wire);
    assert_eq!(listener.hear_pieces(&wire), outcome);
    for (event, compressed) in outcome.events.iter().zip(&messages) {
        let Heard::Message(_, inflated) = event else { panic!("only messages were sent: {event:?}") };
        if alone {
            compare(compressed, inflated);
        }
    }
});

/// Appends a message as its peer sends it to `role`: 1 text, 2 in three frames.
fn append(wire: &mut Vec<u8>, role: Role, shape: u8, payload: &[u8]) {
    let mask = (role == Role::Server).then_some([0x37, 0xfa, 0x21, 0x3d]);
    let opcode = if shape & 1 != 0 { Opcode::Text } else { Opcode::Binary };
    let first = Header { rsv: RSV1, mask, ..Header::new(opcode, 0) };
    if shape & 2 == 0 {
        frame::encode_with(first, payload, wire);
        return;
    }
    let (head, tail) = payload.split_at(payload.len() / 3);
    frame::encode_with(Header { fin: false, ..first }, head, wire);
    let next = Header { mask, ..Header::new(Opcode::Continuation, 0) };
    frame::encode_with(Header { fin: false, ..next }, b"", wire);
    frame::encode_with(next, tail, wire);
}

/// What inflated as one stream has to be the same for the other inflater.
fn compare(compressed: &[u8], inflated: &[u8]) {
    let input = [compressed, &END].concat();
    let mut output = vec![0; inflated.len() + 1];
    let mut state = DecompressorOxide::new();
    let (status, used, produced) = decompress(&mut state, &input, &mut output, 0, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF);
    if status == TINFLStatus::Done && used < compressed.len() {
        // A last block within the message (RFC 7692, 7.2.3.4): the other inflater stops there.
        assert!(inflated.starts_with(&output[..produced]));
    } else if !compressed.is_empty() {
        assert_eq!(status, TINFLStatus::Done);
        assert_eq!(&output[..produced], inflated);
    }
}
