//! Fresh credentials when a token ran out in the middle of a push.
//!
//! Only for Amazon ECR, whose tokens live for twelve hours, and by the tool that does it anyway:
//! ecrlogin, from beside this binary or the search path, with the document's pipe between. So the
//! AWS SDK stays out of imgpush, and nothing is said twice of how AWS credentials are found.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use slipway_engine::Auth;
use slipway_registry::{Credentials, Fresh};
use slipway_release::{Document, Registry, SCHEMA};
use slipway_shell::Ui;

/// The way to fresh credentials for this registry, if there is one.
pub(crate) fn fresh(host: &str, auth: Option<&Auth>, ui: &Ui) -> Option<Fresh> {
    if auth.is_none() || !is_ecr(host) {
        return None;
    }
    let (host, ui) = (host.to_owned(), ui.clone());
    Some(Arc::new(move || {
        let (host, ui) = (host.clone(), ui.clone());
        Box::pin(async move {
            ui.say("the token is not valid any more: ecrlogin is asked for a fresh one");
            let credentials =
                tokio::task::spawn_blocking(move || login(&host)).await.ok().flatten();
            if credentials.is_none() {
                ui.warn("there are no fresh credentials");
            }
            credentials
        })
    }))
}

/// `ACCOUNT.dkr.ecr[-fips].REGION.…`, the form of a private registry's host name.
fn is_ecr(host: &str) -> bool {
    let mut labels = host.split('.');
    let account = labels.next().unwrap_or_default();
    account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && labels.next() == Some("dkr")
        && labels.next().is_some_and(|label| matches!(label, "ecr" | "ecr-fips"))
}

fn login(host: &str) -> Option<Credentials> {
    let mut child = Command::new(program())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let document = serde_json::json!({"schema": SCHEMA, "registry": {"host": host}});
    // The pipe is closed by this, so that it sees the end.
    writeln!(child.stdin.take()?, "{document}").ok()?;
    let output = child.wait_with_output().ok()?;
    if !output.status.success() {
        return None;
    }
    let document = Document::parse(&output.stdout).ok()?;
    let registry: Registry = document.get().ok()??;
    let username = registry.username?;
    Some(Credentials { username, password: registry.password?.reveal().to_owned() })
}

fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name("ecrlogin"));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from("ecrlogin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_ecr_hosts_have_a_way() {
        assert!(is_ecr("123456789012.dkr.ecr.eu-central-1.amazonaws.com"));
        assert!(is_ecr("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com"));
        for host in ["r.example", "12.dkr.ecr.x.y", "public.ecr.aws", "123456789012.dkr.evil.x"] {
            assert!(!is_ecr(host), "{host}");
        }
    }
}
