//! HTTP/2 on the server's own port: by the `h2` crate as a client, and by hand where no client would do that.

mod abuse;
mod client;
mod events;
mod raw;
mod requests;
mod websocket;

use client::{Http2, code_of, eventually};
use raw::Raw;
