//! Programs that imgbuild runs. What one prints is read up to a limit, and nothing that it has
//! started outlives it when it is given up.

use std::io;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use slipway_untrusted::Limit;
use slipway_untrusted::limit::GIT_OUTPUT;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// What came of a program that ended by itself.
#[derive(Debug)]
pub(crate) struct Ended<T> {
    /// Whether its exit status is 0.
    pub(crate) success: bool,
    /// What was made of its output.
    pub(crate) output: T,
    /// What it printed on stderr.
    pub(crate) told: Vec<u8>,
}

/// Runs a program to its end: `input` is its stdin, `read` reads its stdout. If this future is
/// dropped, as at a deadline, or anything fails, the program and its children are killed.
///
/// # Errors
/// When it cannot be started, or what it prints cannot be read or is larger than a limit.
pub(crate) async fn run<T>(
    command: &mut Command,
    input: &[u8],
    limit: &Limit,
    read: impl AsyncFnOnce(ChildStdout) -> io::Result<T>,
) -> io::Result<Ended<T>> {
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that its children can be killed with it.
    let mut child = Running(command.process_group(0).kill_on_drop(true).spawn()?);
    let (stdin, stdout, stderr) =
        (child.0.stdin.take(), child.0.stdout.take(), child.0.stderr.take());
    let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
        return Err(io::Error::other("its output is not a pipe"));
    };
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program may end without having read its input.
            let _ = stdin.write_all(input).await;
        }
        Ok(())
    };
    let ((), output, told) = tokio::try_join!(write, read(stdout), limit.read_async(stderr))?;
    let success = child.0.wait().await?.success();
    Ok(Ended { success, output, told })
}

/// All that a program prints, up to the limit.
///
/// # Errors
/// As those of [`run`].
pub(crate) async fn output(
    command: &mut Command,
    input: &[u8],
    limit: &'static Limit,
) -> io::Result<Ended<Vec<u8>>> {
    run(command, input, limit, async |stdout| limit.read_async(stdout).await).await
}

/// Hands every record that git ends with a NUL to `take`. None is larger than what git may print;
/// how many there are is bounded by the deadline only, as none is kept.
///
/// # Errors
/// When a record is larger, or cannot be read.
pub(crate) async fn records(stdout: ChildStdout, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(64 * 1024, stdout);
    let mut record = Vec::new();
    loop {
        record.clear();
        let mut bounded = (&mut reader).take(GIT_OUTPUT.bytes.saturating_add(1));
        if bounded.read_until(0, &mut record).await? == 0 {
            return Ok(());
        }
        GIT_OUTPUT.admit(record.len() as u64)?;
        take(record.strip_suffix(b"\0").unwrap_or(&record));
    }
}

/// A program that is killed, with its children, unless it has ended.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // There is no id once it was waited for; until then no other process can have it.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_untrusted::limit::PRIVATE_KEY;
    use std::time::Duration;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn both_streams_are_read_and_input_is_given() {
        let mut command = shell("cat; echo told >&2; exit 3");
        let ended = output(&mut command, b"given", &GIT_OUTPUT).await.unwrap();
        assert_eq!(
            (ended.success, &ended.output[..], &ended.told[..]),
            (false, &b"given"[..], &b"told\n"[..])
        );
        assert!(output(&mut Command::new("/no/such/program"), b"", &GIT_OUTPUT).await.is_err());
    }

    #[tokio::test]
    async fn either_stream_has_a_limit_and_ends_all_beyond_it() {
        for script in ["yes", "yes >&2", "(yes & wait)"] {
            let error = output(&mut shell(script), b"", &PRIVATE_KEY).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{script}");
        }
    }

    #[tokio::test]
    async fn children_are_killed_with_what_is_given_up() {
        let place = tempfile::tempdir().unwrap();
        let fifo = place.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        // The grandchild has the FIFO open for writing as long as it lives.
        let script =
            format!("sh -c 'exec 3>{0}; echo up >&3; exec sleep 1000' & wait", fifo.display());
        let mut command = shell(&script);
        let running = output(&mut command, b"", &GIT_OUTPUT);
        let up = tokio::task::spawn_blocking(move || {
            let mut reader = std::io::BufReader::new(std::fs::File::open(fifo).unwrap());
            let mut line = String::new();
            std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
            reader
        });
        let reader = tokio::select! {
            _ = running => panic!("it ended"),
            reader = up => reader.unwrap(),
        };
        // It has been dropped: the FIFO is at its end once nobody has it open.
        let end = tokio::task::spawn_blocking(move || std::io::read_to_string(reader));
        assert_eq!(
            tokio::time::timeout(Duration::from_secs(60), end).await.unwrap().unwrap().unwrap(),
            ""
        );
    }

    #[tokio::test]
    async fn records_end_with_nul() {
        let mut seen = Vec::new();
        let read = async |stdout| records(stdout, |record| seen.push(record.to_vec())).await;
        run(&mut shell(r"printf 'a\0bc\0d'"), b"", &GIT_OUTPUT, read).await.unwrap();
        assert_eq!(seen, [&b"a"[..], b"bc", b"d"]);
    }
}
