//! Subscribers that are JavaScript clients: a process that has them, and says in lines of JSON what they get.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;

use crate::deal::Deal;
use crate::ledger::{Kind, Ledger, Script};

/// How long a process may take to close its clients.
const FAREWELL: Duration = Duration::from_secs(10);

/// A running process with all subscribers of one kind.
pub(crate) struct JavaScript {
    kind: Kind,
    process: Child,
    /// It ends when this does, so that nothing stays behind, however we end.
    input: ChildStdin,
    reading: JoinHandle<()>,
}

impl JavaScript {
    /// Starts the subscribers that this script has, which write to `ledger`.
    pub(crate) fn start(
        (file, kind): Script,
        ledger: &Ledger,
        address: &str,
        clients: usize,
        deal: &Deal,
    ) -> Result<Self, String> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("js").join(file);
        let mut node = Command::new("node");
        let deal = serde_json::to_string(deal).map_err(|error| error.to_string())?;
        node.arg(file).args(kind).args([address, &clients.to_string(), &deal]);
        Self::launch(node, ledger)
    }

    fn launch(mut command: Command, ledger: &Ledger) -> Result<Self, String> {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("the {} clients need the program {program}: {error}", ledger.kind))?;
        let input = process.stdin.take().ok_or("no input")?;
        let output = process.stdout.take().ok_or("no output")?;
        let ledger = ledger.clone();
        let kind = ledger.kind;
        let reading = tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            loop {
                match lines.next_line().await {
                    Ok(Some(line)) => ledger.note_line(&line),
                    Ok(None) => return ledger.broken(format!("the process of the {} clients has ended", ledger.kind)),
                    Err(error) => return ledger.broken(format!("the {} clients: {error}", ledger.kind)),
                }
            }
        });
        Ok(Self { kind, process, input, reading })
    }

    /// Ends it. What it has still to say is in the ledger then.
    ///
    /// # Errors
    /// It fails, or does not end; in words for people.
    pub(crate) async fn end(self) -> Result<(), String> {
        let Self { kind, mut process, input, reading } = self;
        drop(input);
        let ended = tokio::time::timeout(FAREWELL, async { (process.wait().await, reading.await) }).await;
        match ended {
            Ok((Ok(status), _)) if status.success() => Ok(()),
            Ok((Ok(status), _)) => Err(format!("the process of the {kind} clients has failed: {status}")),
            Ok((Err(error), _)) => Err(format!("the process of the {kind} clients: {error}")),
            Err(_) => Err(format!("the process of the {kind} clients does not end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Deal = Deal { channels: 1, follows: 1, renewals: 0, within: 0 };

    fn shell(script: &str, ledger: &Ledger) -> JavaScript {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        JavaScript::launch(command, ledger).unwrap()
    }

    #[tokio::test]
    async fn what_a_process_says_to_its_end_is_noted() {
        let ledger = Ledger::new(Kind::Node, 1, ONE);
        // Says the first at once, the second when it is to end.
        let say = |n| format!(r#"echo '{{"client":0,"channel":0,"type":"publication","number":{n}}}'"#);
        let process = shell(&format!("{}; cat; {}", say(0), say(1)), &ledger);
        while ledger.deliveries() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(ledger.check(), Ok(()));
        assert_eq!(process.end().await, Ok(()));
        assert_eq!(ledger.records()[0][0].numbers, [Some(0), Some(1)]);
    }

    #[tokio::test]
    async fn a_process_that_ends_too_soon_is_an_error() {
        let ledger = Ledger::new(Kind::Chromium, 1, ONE);
        let process = shell("exit 3", &ledger);
        while ledger.check().is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(ledger.check().unwrap_err().contains("Chromium"));
        assert!(process.end().await.unwrap_err().contains('3'));
    }

    #[tokio::test]
    async fn a_missing_program_is_an_error() {
        let ledger = Ledger::new(Kind::Node, 1, ONE);
        let started = JavaScript::launch(Command::new("longwire-no-such-program"), &ledger);
        assert!(started.is_err_and(|error| error.contains("longwire-no-such-program")));
    }
}
