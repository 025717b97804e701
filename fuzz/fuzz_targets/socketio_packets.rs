//! Any messages of a Socket.IO session. They are packets or refused, and what is read comes back in every form.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| longwire_fuzz::socketio::check_packets(input));
