//! Other programs that keep logins for Docker, and how they are told of one.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use slipway_untrusted::Untrusted;
use slipway_untrusted::limit::PROGRAM_OUTPUT;
use tokio::io::{AsyncRead, AsyncWriteExt as _};
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
    if helper.contains('/') {
        return Err(failed("its name is a path, and not that of a program".to_owned()));
    }
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
        // Both are there: they were asked for.
        let read = async |stream| match stream {
            Some(stream) => PROGRAM_OUTPUT.read_async(stream).await,
            None => Ok(Vec::new()),
        };
        let stdout = child.stdout.take().map(boxed);
        let stderr = child.stderr.take().map(boxed);
        // One that says too much is ended when the child is dropped.
        let (stdout, stderr) = tokio::try_join!(read(stdout), read(stderr))?;
        std::io::Result::Ok((child.wait().await?, stdout, stderr))
    };
    let (status, stdout, stderr) = match tokio::time::timeout(LIMIT, work).await {
        Ok(ended) => ended.map_err(|error| failed(error.to_string()))?,
        Err(_) => return Err(failed(format!("no answer within {} s", LIMIT.as_secs()))),
    };
    if status.success() {
        return Ok(());
    }
    // Helpers tell what failed on stdout.
    let told = [stdout, stderr].map(|bytes| Untrusted::from_bytes(bytes.trim_ascii()));
    let told = told.iter().find(|text| !text.is_empty()).map(ToString::to_string);
    Err(failed(told.unwrap_or_else(|| status.to_string())))
}

fn boxed(stream: impl AsyncRead + Unpin + Send + 'static) -> Box<dyn AsyncRead + Unpin + Send> {
    Box::new(stream)
}
