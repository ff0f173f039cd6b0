//! The command that runs once, in a container of the new image, before anything is switched:
//! mostly the migration of a database.

use std::collections::VecDeque;
use std::time::Duration;

use slipway_shell::Ui;
use tokio::time::{Instant, timeout};

use crate::body;
use crate::container::{Container, Role, Status};
use crate::error::{HostError, SwapError};
use crate::evidence::{Evidence, LOG_LINES};
use crate::host::Host;
use crate::job::Job;

/// How it is called in messages.
const WHAT: &str = "release command";

/// How the evidence calls this part of a deploy.
pub(crate) const PHASE: &str = "release_command";

/// The longest pause between two looks whether it has ended; the first is much shorter.
const LOOK: Duration = Duration::from_millis(500);

/// How long it may take to end by itself when its time is over, in seconds.
const STOP: i32 = 10;

/// How long the rest of its output may take to come once it has ended.
const REST: Duration = Duration::from_secs(2);

/// What is to be run.
#[derive(Clone, Debug)]
pub(crate) struct ReleaseCommand {
    /// For `/bin/sh -c`.
    pub(crate) command: String,
    pub(crate) timeout: Duration,
}

/// It failed; its container is removed and nothing was switched.
pub(crate) struct TaskFailed {
    pub(crate) error: SwapError,
    pub(crate) evidence: Option<Evidence>,
}

impl<E: Into<SwapError>> From<E> for TaskFailed {
    fn from(error: E) -> Self {
        Self { error: error.into(), evidence: None }
    }
}

/// Runs the job's release command, if it has one, and waits for its end.
///
/// Dropping this leaves its container behind, with the labels of the deploy: the caller sweeps.
pub(crate) async fn run<H: Host>(
    host: &H,
    place: &str,
    job: &Job,
    ui: &Ui,
) -> Result<(), TaskFailed> {
    let Some(release) = &job.release_command else { return Ok(()) };
    let step = ui.step(format!("{place}: running the {WHAT}"));
    let name = body::name(job, Role::Task);
    let created = host.create(&name, body::task(job, &release.command)).await;
    let id = created.map_err(|source| cannot("created", source))?;
    let result = match host.start(&id).await {
        Ok(()) => ended(host, &id, job, ui, release.timeout).await,
        Err(source) => Err(cannot("started", source).into()),
    };
    let removed = host.remove(&id, true).await;
    result?;
    removed?;
    step.done("done");
    Ok(())
}

fn cannot(done: &'static str, source: HostError) -> SwapError {
    SwapError::Container { what: WHAT, done, source }
}

/// Waits for its end, and tells its output meanwhile.
async fn ended<H: Host>(
    host: &H,
    id: &str,
    job: &Job,
    ui: &Ui,
    limit: Duration,
) -> Result<(), TaskFailed> {
    let tell = |line: &str| ui.line(&format!("  | {}", job.scrub.text(line)));
    // Only what the end of the log is compared with is kept.
    let mut told = VecDeque::new();
    let last = {
        let mut each = |line: String| {
            tell(&line);
            if told.len() == LOG_LINES {
                told.pop_front();
            }
            told.push_back(line);
        };
        let mut output = std::pin::pin!(host.follow(id, &mut each));
        let mut waiting = std::pin::pin!(timeout(limit, end_of(host, id)));
        let mut all = false;
        let last = loop {
            tokio::select! {
                biased;
                last = &mut waiting => break last,
                // A stream that breaks is no reason to give up what still runs there.
                _ = &mut output, if !all => all = true,
            }
        };
        if last.is_err() {
            let _ = host.stop(id, STOP).await;
        }
        if !all {
            let _ = timeout(REST, output).await;
        }
        last
    };
    let log = host.log(id, LOG_LINES).await.unwrap_or_default();
    untold(told.make_contiguous(), &log).for_each(tell);
    let error = match last {
        Ok(Ok(Some(end))) if end.exit_code == 0 && !end.oom_killed => return Ok(()),
        Ok(Ok(Some(end))) => {
            SwapError::ReleaseCommand { exit_code: end.exit_code, oom: end.oom_killed }
        }
        Ok(Ok(None)) => SwapError::Gone { what: WHAT },
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => SwapError::ReleaseCommandLate { limit },
    };
    let container = host.inspect(id).await.ok().flatten();
    let evidence = Some(Evidence { phase: PHASE, container, probe: None, log, host: None });
    Err(TaskFailed { error, evidence })
}

/// The lines at the end of the log that did not come while it was followed: the engine (20.10 at
/// least) may end the stream before what a container writes right before its own end.
fn untold<'a>(told: &[String], log: &'a [String]) -> impl Iterator<Item = &'a str> {
    // Following leaves empty lines out.
    let log: Vec<&str> = log.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
    let ends_with = |part: &[&str]| {
        told.len() >= part.len() && told[told.len() - part.len()..].iter().eq(part.iter().copied())
    };
    let known = (0..=log.len()).rev().find(|count| ends_with(&log[..*count])).unwrap_or_default();
    log.into_iter().skip(known)
}

/// The container when it has ended; none if somebody removed it.
async fn end_of<H: Host>(host: &H, id: &str) -> Result<Option<Container>, HostError> {
    let begun = Instant::now();
    loop {
        match host.inspect(id).await? {
            Some(one) if one.status != Status::Stopped => {}
            ended => return Ok(ended),
        }
        // What takes long is asked less often.
        tokio::time::sleep((begun.elapsed() / 4).clamp(Duration::from_millis(20), LOOK)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_not_told_is_told_once(
            lines in prop::collection::vec("[ab]{0,2}", 0..12), told in 0_usize..12, tail in 0_usize..12,
        ) {
            // Lines that differ, so that there is one answer.
            let lines: Vec<String> = lines.iter().enumerate().map(|(n, line)| format!("{n}{line}")).collect();
            let (followed, _) = lines.split_at(told.min(lines.len()));
            let log = &lines[lines.len().saturating_sub(tail)..];
            let rest: Vec<&str> = untold(followed, log).collect();
            let missing = (lines.len() - followed.len()).min(log.len());
            prop_assert_eq!(rest, log[log.len() - missing..].iter().collect::<Vec<_>>());
        }
    }
}
