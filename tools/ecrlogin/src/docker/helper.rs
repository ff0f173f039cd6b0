//! Other programs that keep logins for Docker, and how they are told of one.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::{Credentials, DockerError};

/// A helper may ask a person; one that takes longer does not answer.
const LIMIT: Duration = Duration::from_secs(60);

/// The name by which Docker's configuration knows this tool as a helper; one for a certain profile
/// has the profile's name behind a dash.
pub(crate) const HELPER: &str = "ecrlogin";

/// Whether a helper of this name is this tool.
pub(crate) fn is_ours(helper: &str) -> bool {
    helper.strip_prefix(HELPER).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Gives a login to a helper.
pub(crate) async fn store(helper: &str, login: &Credentials<'_>) -> Result<(), DockerError> {
    let login_json = json!({
        "ServerURL": login.host, "Username": login.username, "Secret": login.password.reveal(),
    });
    run(helper, "store", login.host, login_json.to_string()).await
}

/// Has a helper forget a login.
pub(crate) async fn erase(helper: &str, host: &str) -> Result<(), DockerError> {
    run(helper, "erase", host, host.to_owned()).await
}

async fn run(
    helper: &str,
    action: &'static str,
    host: &str,
    input: String,
) -> Result<(), DockerError> {
    let failed = |reason: String| DockerError::Helper {
        helper: helper.to_owned(),
        host: host.to_owned(),
        action,
        reason,
    };
    let work = async {
        let mut child = Command::new(format!("docker-credential-{helper}"))
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read its input tells why by its exit status.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(LIMIT, work).await {
        Ok(output) => output.map_err(|error| failed(error.to_string()))?,
        Err(_) => return Err(failed(format!("no answer within {} s", LIMIT.as_secs()))),
    };
    if output.status.success() {
        return Ok(());
    }
    // Helpers tell what failed on stdout.
    let told = [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned())
        .into_iter()
        .find(|text| !text.is_empty());
    Err(failed(told.unwrap_or_else(|| output.status.to_string())))
}
