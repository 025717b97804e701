//! The protocol from outside, scenario by scenario. Each test names the section of the RFC that it is about, as the code does.
//!
//! [`support::hear`] plays every scenario whole, byte by byte and in every division into two inputs, and wants the same outcome
//! each time; tests say nothing about it.

mod support;

mod closing;
mod compression;
mod control_frames;
mod fragmentation;
mod framing;
mod limits;
mod memory;
mod properties;
mod sending;
mod texts;
mod windows;
