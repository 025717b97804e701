//! Any bytes to either end: what is heard does not depend on the pieces in which they come.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longwire_fuzz::{Listener, Reader};

fuzz_target!(|input: &[u8]| {
    let mut input = Reader(input);
    let listener = Listener::read(&mut input);
    assert_eq!(listener.hear_pieces(input.0), listener.hear_whole(input.0));
});
