//! What the tests need besides Rust: `cargo xtask setup`, and the first stage of `cargo xtask test`.
//!
//! Debian packages are installed only where their program is missing. npm and Python packages are
//! pinned, and go into `.cache/`, never into the system.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::job::Log;
use crate::paths::{self, program};

/// The oldest Node whose test runner has all that the tests use.
const NODE_MAJOR: u32 = 20;

/// A program from outside, and the Debian packages that bring it.
struct Tool {
    what: &'static str,
    packages: &'static [&'static str],
    present: fn() -> bool,
    otherwise: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool { what: "curl", packages: &["curl"], present: || find(&["curl"]).is_some(), otherwise: "install curl" },
    Tool {
        what: "Python 3.10 with venv",
        packages: &["python3", "python3-venv"],
        present: || {
            let check = "import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 10))";
            succeeds(Command::new("python3").args(["-c", check]))
        },
        otherwise: "install Python 3.10 or later with its venv module, as `python3`",
    },
    Tool {
        what: "Node.js and npm",
        packages: &["nodejs", "npm"],
        present: || find(&["node"]).is_some() && find(&["npm"]).is_some(),
        otherwise: "install Node.js 20 or later with npm",
    },
    Tool {
        what: "nginx",
        packages: &["nginx-light"],
        // It is not on the path of those who are not root.
        present: || find(&["nginx"]).is_some() || Path::new("/usr/sbin/nginx").is_file(),
        otherwise: "install nginx; it need not run",
    },
    Tool {
        what: "Chromium",
        packages: &["chromium"],
        present: || chromium().is_some(),
        otherwise: "install Chromium or Chrome, or set CHROMIUM to its program",
    },
];

pub(crate) fn run(args: &[String]) -> Result<(), String> {
    if !args.is_empty() {
        return Err("`cargo xtask setup` takes no arguments".to_owned());
    }
    install(&Log::create("setup", true)?)?;
    println!("everything that the tests need is there");
    Ok(())
}

/// Installs what is missing. The error says what can't be had and what to do about it.
pub(crate) fn install(log: &Log) -> Result<(), String> {
    debian_packages(log)?;
    node_version()?;
    npm_packages(log)?;
    python_packages(log)?;
    log.run(&mut program(autobahn(), &["setup"]))
}

/// The Python that has the pinned packages.
pub(crate) fn python() -> PathBuf {
    paths::cache().join("python/bin/python")
}

/// The script that runs the Autobahn test suite.
pub(crate) fn autobahn() -> PathBuf {
    paths::root().join("conformance/autobahn/run.sh")
}

/// The browser: `$CHROMIUM`, or the first in `$PATH` of the names it goes by.
pub(crate) fn chromium() -> Option<PathBuf> {
    match std::env::var_os("CHROMIUM") {
        Some(path) => Some(PathBuf::from(path)).filter(|path| path.is_file()),
        None => find(&["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"]),
    }
}

fn debian_packages(log: &Log) -> Result<(), String> {
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| !(tool.present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|tool| tool.what).collect::<Vec<_>>().join(", ");
    log.say(&format!("missing: {names}"))?;
    let installed = apt_get(log, &missing);
    let still: Vec<&str> = missing.iter().filter(|tool| !(tool.present)()).map(|tool| tool.otherwise).collect();
    if still.is_empty() {
        return Ok(());
    }
    let reason = installed.err().unwrap_or_else(|| "the packages did not bring it".to_owned());
    Err(format!("missing: {names} ({reason}). To go on: {}", still.join("; ")))
}

fn apt_get(log: &Log, tools: &[&Tool]) -> Result<(), String> {
    if find(&["apt-get"]).is_none() {
        return Err("there is no apt-get".to_owned());
    }
    let run = |words: &[&str]| {
        let mut command = as_root("apt-get")?;
        log.run(command.args(words).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    run(&["update"])?;
    let mut words = vec!["install", "--yes", "--no-install-recommends"];
    words.extend(tools.iter().flat_map(|tool| tool.packages));
    run(&words)
}

/// A command that runs as root; it never asks for a password, since nobody may be there to type it.
fn as_root(name: &str) -> Result<Command, String> {
    let id = Command::new("id").arg("-u").output().map_err(|e| format!("cannot run id: {e}"))?;
    if id.stdout.trim_ascii() == b"0" {
        return Ok(Command::new(name));
    }
    if find(&["sudo"]).is_none() {
        return Err("installing Debian packages needs root".to_owned());
    }
    let mut command = Command::new("sudo");
    command.args(["-n", name]);
    Ok(command)
}

fn node_version() -> Result<(), String> {
    let output = Command::new("node").arg("--version").output().map_err(|e| format!("cannot run node: {e}"))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next().and_then(|n| n.parse::<u32>().ok());
    match major {
        Some(major) if major >= NODE_MAJOR => Ok(()),
        _ => Err(format!("Node.js {NODE_MAJOR} or later is needed and `node` is {version:?}: install a newer one")),
    }
}

/// `npm ci` in the cache of every `package-lock.json`; who needs the packages finds them through a link.
fn npm_packages(log: &Log) -> Result<(), String> {
    npm_ci(log, "tests-web", "tests-web", "../.cache/tests-web/node_modules")?;
    npm_ci(log, "clients/js", "clients-js", "../../.cache/clients-js/node_modules")
}

fn npm_ci(log: &Log, source: &str, cached: &str, linked: &str) -> Result<(), String> {
    let (source, target) = (paths::root().join(source), paths::cache().join(cached));
    let lock = read(&source.join("package-lock.json"))?;
    once(&target, &lock, || {
        for name in ["package.json", "package-lock.json"] {
            fs::copy(source.join(name), target.join(name)).map_err(|e| format!("cannot copy {name}: {e}"))?;
        }
        let mut npm = program("npm", &["ci", "--ignore-scripts", "--engine-strict", "--no-audit", "--no-fund"]);
        log.run(npm.current_dir(&target))
    })?;
    link(&source.join("node_modules"), Path::new(linked))
}

/// A virtual environment in the cache with the packages of tests-web/requirements.txt.
fn python_packages(log: &Log) -> Result<(), String> {
    let requirements = paths::root().join("tests-web/requirements.txt");
    let target = paths::cache().join("python");
    let wanted = read(&requirements)?;
    once(&target, &wanted, || {
        log.run(program("python3", &["-m", "venv", "--clear"]).arg(&target))?;
        let words = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "-r"];
        log.run(program(python(), &words).arg(requirements))
    })
}

/// Runs `make` unless `folder` was made from the same `recipe` before.
fn once(folder: &Path, recipe: &str, make: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let stamp = folder.join("made-from");
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == recipe) {
        return Ok(());
    }
    let complaint = |e: std::io::Error| format!("cannot write {}: {e}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(complaint)?;
    }
    fs::create_dir_all(folder).map_err(complaint)?;
    make()?;
    fs::write(&stamp, recipe).map_err(complaint)
}

fn link(from: &Path, to: &Path) -> Result<(), String> {
    if fs::read_link(from).is_ok_and(|old| old == to) {
        return Ok(());
    }
    // A link that points elsewhere is an old one of ours; a real folder is somebody's and stays.
    let _ = fs::remove_file(from);
    std::os::unix::fs::symlink(to, from).map_err(|e| format!("cannot link {} to {}: {e}", from.display(), to.display()))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

/// The first of these programs that `$PATH` has.
pub(crate) fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| path.is_file())
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// The number of a program's version in its `--version` line, if the program can be run.
pub(crate) fn version_of(name: impl AsRef<OsStr>) -> Option<String> {
    let output = Command::new(name).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
}
