//! Programs that keep logins for docker (the protocol of docker-credential-helpers).

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;
use slipway_release::Secret;
use slipway_untrusted::{clean_line, limit};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::error::{Error, reason};

/// The name that a helper gives with a token instead of a password.
const TOKEN: &str = "<token>";
/// A helper may ask a person or a server; one that takes longer does not answer.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: Secret,
}

/// Asks `docker-credential-NAME`; `None` when it has nothing for this host.
pub(super) async fn ask(name: &str, host: &str) -> Result<Option<(String, Secret)>, Error> {
    let failed =
        |why: String| Error::CredentialHelper { name: name.to_owned(), host: host.to_owned(), why };
    if name.contains('/') {
        return Err(failed("its name is no helper's".to_owned()));
    }
    let asking = run(Command::new(format!("docker-credential-{name}")), host);
    // Past its deadline, or its limit, it is killed with the future.
    let (status, told) = tokio::time::timeout(DEADLINE, asking)
        .await
        .map_err(|_| failed(format!("it did not answer within {} s", DEADLINE.as_secs())))?
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => failed("it is not installed".to_owned()),
            _ => failed(reason(&error)),
        })?;
    if !status.success() {
        let told = String::from_utf8_lossy(&told);
        return match told.trim().lines().next().unwrap_or_default() {
            told if told.contains("credentials not found") => Ok(None),
            "" => Err(failed("it failed and told no reason".to_owned())),
            told => Err(failed(clean_line(told).into_owned())),
        };
    }
    parse(&told).map(Some).ok_or_else(|| failed("its answer is not that of a helper".to_owned()))
}

/// Runs a helper, and answers how it ended and what it told.
async fn run(mut command: Command, host: &str) -> io::Result<(ExitStatus, Vec<u8>)> {
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.kill_on_drop(true).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that answers without reading is not wrong.
        let _unread = stdin.write_all(host.as_bytes()).await;
    }
    let told = match child.stdout.take() {
        Some(stdout) => limit::PROGRAM_OUTPUT.read_async(stdout).await?,
        None => Vec::new(),
    };
    Ok((child.wait().await?, told))
}

/// Reads a helper's answer.
pub(crate) fn parse(told: &[u8]) -> Option<(String, Secret)> {
    let answer: Answer = serde_json::from_slice(told).ok()?;
    // A token stands in the place of the password, and then there is no name.
    let username = if answer.username == TOKEN { String::new() } else { answer.username };
    Some((username, answer.secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_helper_without_an_end_is_stopped() {
        let mut endless = Command::new("sh");
        endless.args(["-c", "exec yes"]);
        let error = run(endless, "r.example").await.unwrap_err();
        assert_eq!(error.to_string(), "the program's output is larger than 1 MiB");
    }
}
