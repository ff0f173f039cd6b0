//! Fresh credentials when a token ran out in the middle of a push.
//!
//! Only for Amazon ECR, whose tokens live for twelve hours, and by the tool that does it anyway:
//! ecrlogin, from beside this binary or the search path, with the document's pipe between. So the
//! AWS SDK stays out of imgpush, and nothing is said twice of how AWS credentials are found. What it
//! gets goes into the document as well, since the tools after this one need it, too.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use slipway_engine::Auth;
use slipway_registry::{Credentials, Fresh};
use slipway_release::{Document, OtherRegistry, Registry, SCHEMA};
use slipway_shell::Ui;

/// What ecrlogin told, if it was asked.
#[derive(Clone, Default)]
pub(crate) struct Relogin(Arc<Mutex<Option<Registry>>>);

impl Relogin {
    /// The way to fresh credentials for this registry, if there is one.
    pub(crate) fn fresh(&self, host: &str, auth: Option<&Auth>, ui: &Ui) -> Option<Fresh> {
        if auth.is_none() || !is_ecr(host) {
            return None;
        }
        let (host, ui, told) = (host.to_owned(), ui.clone(), self.clone());
        Some(Arc::new(move || {
            let (host, ui, told) = (host.clone(), ui.clone(), told.clone());
            Box::pin(async move {
                ui.say("the token is not valid any more: ecrlogin is asked for a fresh one");
                let registry = tokio::task::spawn_blocking(move || login(&host)).await;
                let Some(registry) = registry.ok().flatten() else {
                    ui.warn("there are no fresh credentials");
                    return None;
                };
                let password = registry.password.as_ref()?.reveal().to_owned();
                let username = registry.username.clone()?;
                *told.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(registry);
                Some(Credentials { username, password })
            })
        }))
    }

    /// The document's section with what was told, if anything was.
    pub(crate) fn renewed(&self, registry: Option<Registry>) -> Option<Registry> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let Registry { host, username, password, expires_at, .. } = told;
        let mut registry = registry.unwrap_or_default();
        match registry.others.iter_mut().find(|other| Some(&other.host) == host.as_ref()) {
            Some(other) => {
                *other = OtherRegistry { username, password, expires_at, ..other.clone() };
                Some(registry)
            }
            None => Some(Registry { username, password, expires_at, ..registry }),
        }
    }
}

/// `ACCOUNT.dkr.ecr[-fips].REGION.…` and `ACCOUNT.dkr-ecr[-fips].REGION.…`, the forms of a private
/// registry's host name.
fn is_ecr(host: &str) -> bool {
    let mut labels = host.split('.');
    let account = labels.next().unwrap_or_default();
    account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && match labels.next() {
            Some("dkr") => matches!(labels.next(), Some("ecr" | "ecr-fips")),
            Some(label) => matches!(label, "dkr-ecr" | "dkr-ecr-fips"),
            None => false,
        }
}

fn login(host: &str) -> Option<Registry> {
    let mut child = Command::new(program())
        // A token that is kept may be the very one that was refused.
        .arg("--cache=false")
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
    document.get().ok()?
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
        assert!(is_ecr("123456789012.dkr-ecr.eu-central-1.on.aws"));
        for host in ["r.example", "12.dkr.ecr.x.y", "public.ecr.aws", "123456789012.dkr.evil.x"] {
            assert!(!is_ecr(host), "{host}");
        }
    }

    #[test]
    fn a_fresh_token_goes_to_its_own_registry() {
        let told = |host: &str| {
            let fresh = Registry {
                host: Some(host.into()),
                username: Some("AWS".into()),
                password: Some("fresh".to_owned().into()),
                ..Registry::default()
            };
            Relogin(Arc::new(Mutex::new(Some(fresh))))
        };
        let other = OtherRegistry { host: "b.example".into(), ..OtherRegistry::default() };
        let before =
            Registry { host: Some("a.example".into()), others: vec![other], ..Registry::default() };
        let password = |renewed: &str, of: &str| {
            let registry = told(renewed).renewed(Some(before.clone())).unwrap();
            registry.of_host(of).unwrap().password.map(|it| it.reveal().to_owned())
        };
        assert_eq!(password("a.example", "a.example").as_deref(), Some("fresh"));
        assert_eq!(password("a.example", "b.example"), None);
        assert_eq!(password("b.example", "b.example").as_deref(), Some("fresh"));
        assert_eq!(password("b.example", "a.example"), None);
    }
}
