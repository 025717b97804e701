//! The engine, by scripts.
