//! Any bytes as a payload of Engine.IO, and as what else a request brings. They are read or refused, and what is read comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| longwire_fuzz::socketio::check_payload(input));
