//! Tests of the `longwire` command, and of what the documents say.

mod api_docs;
mod command;
mod folder;
mod keys;
mod options;
mod readme;
mod signals;
mod terminal;
