//! What stands in `docs/protocol.md` and `docs/longwire.proto`, tested.

mod any;
mod forms;
mod lines;
mod properties;
mod rejections;
mod schema;
mod transcripts;
