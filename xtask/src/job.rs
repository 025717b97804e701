//! Running a command: its output goes to a log, its progress to the terminal, its time is bounded.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::paths;

/// No command of ours may take longer: the longest is the build of everything on two cores.
const LIMIT: Duration = Duration::from_secs(40 * 60);
const POLL: Duration = Duration::from_millis(50);
const TERMINAL_EVERY: Duration = Duration::from_millis(500);
const HEARTBEAT_EVERY: Duration = Duration::from_secs(60);
const COLUMNS: usize = 100;

/// The log of one stage, which all of its commands append to.
pub(crate) struct Log {
    name: String,
    path: PathBuf,
    verbose: bool,
}

impl Log {
    /// An empty log `.cache/logs/NAME.log`. A verbose one is shown as it grows.
    pub(crate) fn create(name: &str, verbose: bool) -> Result<Self, String> {
        let folder = paths::cache().join("logs");
        let path = folder.join(format!("{name}.log"));
        fs::create_dir_all(&folder)
            .and_then(|()| File::create(&path))
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        Ok(Self { name: name.to_owned(), path, verbose })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the log holds so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.path).unwrap_or_default()).into_owned()
    }

    /// Appends a line of our own.
    pub(crate) fn say(&self, line: &str) -> Result<(), String> {
        let mut file = self.open()?;
        writeln!(file, "{line}").map_err(|e| self.complaint(&e))?;
        if self.verbose {
            println!("{line}");
        }
        Ok(())
    }

    /// Runs `command` to its end. The error says which command failed, and how.
    pub(crate) fn run(&self, command: &mut Command) -> Result<(), String> {
        let words = describe(command);
        self.say(&format!("$ {words}"))?;
        let start = Instant::now();
        let mut child = self.spawn(command)?;
        let mut progress = Progress::new(self);
        loop {
            if let Some(status) = child.try_wait().map_err(|e| format!("{words}: {e}"))? {
                progress.finish();
                return if status.success() { Ok(()) } else { Err(format!("{words}: {status}")) };
            }
            if start.elapsed() > LIMIT {
                progress.finish();
                kill_tree(&mut child);
                return Err(format!("{words}: killed after {} minutes", LIMIT.as_secs() / 60));
            }
            progress.show();
            std::thread::sleep(POLL);
        }
    }

    /// Starts `command` with its output going to the log.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<Child, String> {
        let out = self.open()?;
        let err = out.try_clone().map_err(|e| self.complaint(&e))?;
        command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(|e| format!("cannot start {}: {e}", describe(command)))
    }

    fn open(&self) -> Result<File, String> {
        OpenOptions::new().append(true).open(&self.path).map_err(|e| self.complaint(&e))
    }

    fn complaint(&self, error: &std::io::Error) -> String {
        format!("cannot write {}: {error}", self.path.display())
    }
}

/// The command as one would type it: paths inside the project from its root, programs by their names.
fn describe(command: &Command) -> String {
    let root = paths::root();
    let word = |word: &OsStr, outside: fn(&Path) -> Option<&OsStr>| {
        let path = Path::new(word);
        let short = path.strip_prefix(&root).map_or_else(|_| outside(path).unwrap_or(word), Path::as_os_str);
        short.to_string_lossy().into_owned()
    };
    let program = word(command.get_program(), Path::file_name);
    let args = command.get_args().map(|arg| word(arg, |path| Some(path.as_os_str())));
    std::iter::once(program).chain(args).collect::<Vec<_>>().join(" ")
}

/// Shows that a command is alive: the last line of its log on a terminal, elsewhere a line a minute.
struct Progress<'a> {
    log: &'a Log,
    start: Instant,
    shown: Instant,
    seen: u64,
    terminal: bool,
}

impl<'a> Progress<'a> {
    fn new(log: &'a Log) -> Self {
        let seen = fs::metadata(&log.path).map_or(0, |m| m.len());
        let terminal = std::io::stdout().is_terminal();
        Self { log, start: Instant::now(), shown: Instant::now(), seen, terminal }
    }

    fn show(&mut self) {
        if self.log.verbose {
            self.copy();
        } else if self.terminal && self.shown.elapsed() >= TERMINAL_EVERY {
            self.shown = Instant::now();
            let text = self.log.text();
            let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            let line = format!("  {} s  {}", self.start.elapsed().as_secs(), last.trim());
            print!("\r\x1b[K{}", line.chars().filter(|c| !c.is_control()).take(COLUMNS).collect::<String>());
            flush();
        } else if !self.terminal && self.shown.elapsed() >= HEARTBEAT_EVERY {
            self.shown = Instant::now();
            println!("  {}: {} s so far", self.log.name, self.start.elapsed().as_secs());
        }
    }

    fn finish(&mut self) {
        if self.log.verbose {
            self.copy();
        } else if self.terminal {
            print!("\r\x1b[K");
            flush();
        }
    }

    /// Prints what the log got since the last time.
    fn copy(&mut self) {
        let mut text = Vec::new();
        let read = File::open(&self.log.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.seen))?;
            file.read_to_end(&mut text)
        });
        if let Ok(bytes) = read {
            self.seen += bytes as u64;
            print!("{}", String::from_utf8_lossy(&text));
            flush();
        }
    }
}

fn flush() {
    // A terminal that is gone is no reason to stop the tests.
    let _ = std::io::stdout().flush();
}

/// Kills a child and what it started: a test program that hangs is cargo's child, not ours.
fn kill_tree(child: &mut Child) {
    let mut ids = vec![child.id()];
    let mut next = 0;
    while next < ids.len() {
        let id = ids[next];
        next += 1;
        // Only Linux tells; elsewhere the child alone is killed.
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        ids.extend(children.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
    }
    let words: Vec<String> = ids.iter().map(u32::to_string).collect();
    let _ = Command::new("kill").arg("-KILL").args(words).status();
    let _ = child.kill();
    let _ = child.wait();
}
