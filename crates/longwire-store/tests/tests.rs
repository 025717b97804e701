//! The store with real files, real children that are killed, and real limits.

mod common;
mod damage;
mod files;
mod killed;
mod options;
mod rounds;
mod trouble;
