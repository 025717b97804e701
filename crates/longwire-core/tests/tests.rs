//! The engine by scripts: what clients say, in JSON, and what they are told, in virtual time.

mod commands;
mod entering;
mod memory;
mod order;
mod sessions;
mod slow;
mod support;
