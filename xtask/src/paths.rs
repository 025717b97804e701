//! Where things are, and how cargo is called.

use std::path::PathBuf;
use std::process::Command;

/// The root of the work tree.
pub(crate) fn root() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

/// What the workshop downloads, builds beside cargo and writes: ignored by git, safe to delete.
pub(crate) fn cache() -> PathBuf {
    root().join(".cache")
}

/// A program that cargo built, `debug` or for `release`: `built("release", "examples/echo")`.
pub(crate) fn built(profile: &str, name: &str) -> Result<PathBuf, String> {
    // xtask itself lies in TARGET_DIR/debug, wherever the user has put the target directory.
    let own = std::env::current_exe().map_err(|e| format!("where is this program? {e}"))?;
    let target = own.ancestors().nth(2).ok_or("this program does not lie in a target directory")?;
    let path = target.join(profile).join(name);
    if path.is_file() { Ok(path) } else { Err(format!("{} is missing: the build did not make it", path.display())) }
}

/// `cargo WORDS...`, in the root.
pub(crate) fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).current_dir(root());
    command
}

/// `PROGRAM WORDS...`, in the root.
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>, words: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(words).current_dir(root());
    command
}
