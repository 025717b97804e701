//! Any bytes as a binary message: commands and messages in Protocol Buffers. They are read or refused, and what is read comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longwire_protocol::Form;

fuzz_target!(|input: &[u8]| longwire_fuzz::protocol::check(Form::Binary, input));
