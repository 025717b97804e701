//! The golden transcripts of the protocol: what clients say, and what a server says to it. `README.md` explains their form.
//!
//! A test plays a [`Transcript`] step by step, with one [`Bindings`] from its beginning to its end.

mod bindings;
mod transcript;

pub use bindings::Bindings;
pub use transcript::{Does, Step, Transcript};

/// The transcripts of this folder by the names of their files, in alphabetical order.
///
/// # Panics
/// If one cannot be read: a test is to fail then.
pub fn all() -> Vec<(String, Transcript)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(folder).expect("the folder of the transcripts is there");
    let mut transcripts: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
        .map(|path| {
            let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}.txt: {error}"));
            let transcript = Transcript::parse(&text).unwrap_or_else(|error| panic!("{name}.txt: {error}"));
            (name, transcript)
        })
        .collect();
    transcripts.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(!transcripts.is_empty(), "there are no transcripts");
    transcripts
}
