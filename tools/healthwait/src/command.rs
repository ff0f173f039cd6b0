//! The command that is run once all is healthy.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use slipway_release::HealthCommand;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::Error;
use crate::timeline::millis;

/// How long the command may go on after SIGTERM or SIGINT; a little less than the tool itself has.
const GRACE: Duration = Duration::from_secs(8);

/// What is passed on to the command: all that people and supervisors send to a program to have it
/// do something.
const PASSED_ON: [(SignalKind, Signal); 6] = [
    (SignalKind::interrupt(), Signal::INT),
    (SignalKind::terminate(), Signal::TERM),
    (SignalKind::hangup(), Signal::HUP),
    (SignalKind::quit(), Signal::QUIT),
    (SignalKind::user_defined1(), Signal::USR1),
    (SignalKind::user_defined2(), Signal::USR2),
];

/// A command that can be run.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    program: String,
    path: PathBuf,
    args: Vec<String>,
}

impl Command {
    /// Looks the program up, so that a wrong name is told before the waiting and not after it.
    /// None if there is no command.
    pub(crate) fn find(words: &[String]) -> Result<Option<Self>, Error> {
        let Some((program, args)) = words.split_first() else { return Ok(None) };
        let search = std::env::var_os("PATH").unwrap_or_default();
        let path = find(program, std::env::split_paths(&search)).map_err(|(reason, exit)| {
            Error::Command { program: program.clone(), reason: reason.to_owned(), exit }
        })?;
        Ok(Some(Self { program: program.clone(), path, args: args.to_vec() }))
    }

    /// Turns this process into the command. It comes back only if that is not possible.
    pub(crate) fn become_it(&self) -> Error {
        self.not_run(&self.command().exec())
    }

    /// Runs it to its end. Its stdout is our stderr, since ours is for the document.
    pub(crate) async fn run(&self) -> Result<HealthCommand, Error> {
        let begun = Instant::now();
        let status = self.supervised().await.map_err(|error| self.not_run(&error))?;
        let exit = exit_of(status);
        Ok(HealthCommand { program: self.program.clone(), exit, ran_ms: millis(begun.elapsed()) })
    }

    async fn supervised(&self) -> io::Result<ExitStatus> {
        let mut command = tokio::process::Command::from(self.command());
        command.stdin(Stdio::null()).stdout(io::stderr().as_fd().try_clone_to_owned()?);
        command.kill_on_drop(true);
        // Before it is started, so that no signal is missed.
        let mut signals = PASSED_ON
            .iter()
            .map(|(kind, number)| Ok((signal(*kind)?, *number)))
            .collect::<io::Result<Vec<_>>>()?;
        let mut child = command.spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let mut deadline = None;
        loop {
            let received = std::future::poll_fn(|context| {
                signals
                    .iter_mut()
                    .find_map(|(signal, number)| {
                        signal.poll_recv(context).is_ready().then_some(*number)
                    })
                    .map_or(std::task::Poll::Pending, std::task::Poll::Ready)
            });
            let patience = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                status = child.wait() => return status,
                () = patience => {
                    child.start_kill()?;
                    deadline = None;
                }
                number = received => {
                    if let Some(pid) = pid.filter(|_| !sent_by_terminal(number)) {
                        kill_process(pid, number)?;
                    }
                    if number == Signal::INT || number == Signal::TERM {
                        deadline.get_or_insert(tokio::time::Instant::now() + GRACE);
                    }
                }
            }
        }
    }

    fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.path);
        // It sees itself under the name that it was called by.
        command.arg0(&self.program).args(&self.args);
        command
    }

    fn not_run(&self, error: &io::Error) -> Error {
        let exit = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
        let reason = format!("cannot be run: {error}");
        Error::Command { program: self.program.clone(), reason, exit }
    }
}

/// Why the command's end is a failure, if it is one.
pub(crate) fn failure(ran: &HealthCommand) -> Option<Error> {
    let how = match ran.exit {
        0 => return None,
        code @ 1..=128 => format!("exited with {code}"),
        code => format!("was ended by signal {}", code - 128),
    };
    Some(Error::CommandFailed { program: ran.program.clone(), how, exit: ran.exit })
}

/// What shells make of the end of a process.
fn exit_of(status: ExitStatus) -> u8 {
    let signal = || status.signal().map_or(1, |number| 128 + number);
    u8::try_from(status.code().unwrap_or_else(signal)).unwrap_or(1)
}

/// Whether a terminal has sent the signal to the command, too: it sends its own to all that is in
/// the foreground, and the command shall not get them twice.
fn sent_by_terminal(number: Signal) -> bool {
    let foreground = || {
        rustix::termios::tcgetpgrp(io::stderr())
            .is_ok_and(|group| group == rustix::process::getpgrp())
    };
    (number == Signal::INT || number == Signal::QUIT) && foreground()
}

/// The path of a program, as shells look for it; else why it cannot be run, with the exit code
/// that they have for that.
fn find(
    program: &str,
    search: impl Iterator<Item = PathBuf>,
) -> Result<PathBuf, (&'static str, u8)> {
    let (mut found, mut directories);
    let candidates: &mut dyn Iterator<Item = PathBuf> = if program.contains('/') {
        found = std::iter::once(PathBuf::from(program));
        &mut found
    } else {
        directories = search.map(|directory| directory.join(program));
        &mut directories
    };
    let mut seen = false;
    for path in candidates.filter(|path| path.is_file()) {
        if is_executable(&path) {
            return Ok(path);
        }
        seen = true;
    }
    if seen { Err(("is not executable", 126)) } else { Err(("is not found", 127)) }
}

fn is_executable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_program_is_looked_for_as_shells_do() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let put = |dir: &Path, name: &str, mode| {
            let path = dir.join(name);
            std::fs::write(&path, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        put(first.path(), "tool", 0o644);
        let tool = put(second.path(), "tool", 0o755);
        let plain = put(second.path(), "plain", 0o644);
        std::fs::create_dir(second.path().join("directory")).unwrap();
        let search = |program: &str| {
            find(program, [first.path().to_owned(), second.path().to_owned()].into_iter())
        };
        assert_eq!(search("tool"), Ok(tool.clone()));
        assert_eq!(search(tool.to_str().unwrap()), Ok(tool));
        for none in ["directory", "other", "/nonexistent/tool", ""] {
            assert_eq!(search(none), Err(("is not found", 127)), "{none}");
        }
        assert_eq!(search(plain.to_str().unwrap()), Err(("is not executable", 126)));
    }

    #[test]
    fn the_end_of_a_process_is_told_as_by_a_shell() {
        let exit = |raw| exit_of(ExitStatus::from_raw(raw));
        assert_eq!(
            [exit(0), exit(3 << 8), exit(255 << 8), exit(15), exit(9)],
            [0, 3, 255, 143, 137]
        );
        let told = |exit| {
            failure(&HealthCommand { program: "a".into(), exit, ran_ms: 0 }).map(|e| e.to_string())
        };
        assert_eq!(told(0), None);
        assert_eq!(told(3).as_deref(), Some("the command a exited with 3"));
        assert_eq!(told(143).as_deref(), Some("the command a was ended by signal 15"));
    }
}
