//! Fresh credentials when a token ran out in the middle of a push.
//!
//! Only for Amazon ECR, whose tokens live for twelve hours, and by the tool that does it anyway:
//! ecrlogin, from beside this binary or the search path, with the document's pipe between. So the
//! AWS SDK stays out of imgpush, and nothing is said twice of how AWS credentials are found. What it
//! gets goes into the document as well, since the tools after this one need it, too.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use slipway_engine::Auth;
use slipway_registry::{Credentials, Fresh};
use slipway_release::{Document, ErrorSection, Failure, OtherRegistry, Registry, SCHEMA};
use slipway_shell::Ui;
use slipway_untrusted::clean_line;
use slipway_untrusted::limit::PROGRAM_OUTPUT;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// The way to ecrlogin, and what it told if it was asked.
#[derive(Clone, Default)]
pub(crate) struct Relogin {
    /// Settings that say as whom AWS is asked.
    identity: Value,
    /// Whether ecrlogin may go by all of them.
    trusted: bool,
    told: Arc<Mutex<Option<Registry>>>,
}

impl Relogin {
    /// Has ecrlogin ask as whom the document says. What it was told by flags is not known here.
    pub(crate) fn of(document: &Document, trusted: bool) -> Result<Self, Failure> {
        let settings = document.settings("ecrlogin")?.into_iter();
        let meant = |key: &str| {
            IDENTITY.iter().any(|name| *name == format!("ECRLOGIN_{}", key.to_uppercase()))
        };
        let identity = Value::Object(settings.filter(|(key, _)| meant(key)).collect());
        Ok(Self { identity, trusted, told: Arc::default() })
    }

    /// The way to fresh credentials for this registry, if there is one.
    pub(crate) fn fresh(&self, host: &str, auth: Option<&Auth>, ui: &Ui) -> Option<Fresh> {
        if auth.is_none() || !is_ecr(host) {
            return None;
        }
        let (host, ui, this) = (host.to_owned(), ui.clone(), self.clone());
        Some(Arc::new(move || {
            let (host, ui, this) = (host.clone(), ui.clone(), this.clone());
            let identity = this.identity.clone();
            Box::pin(async move {
                ui.say("the token is not valid any more: ecrlogin is asked for a fresh one");
                let registry = match login(&host, &identity, this.trusted).await {
                    Ok(registry) => registry,
                    Err(why) => {
                        ui.warn(&format!("there are no fresh credentials: {}", clean_line(&why)));
                        return None;
                    }
                };
                let password = registry.password.as_ref()?.reveal().to_owned();
                let username = registry.username.clone()?;
                *this.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(registry);
                Some(Credentials { username, password })
            })
        }))
    }

    /// The document's section with what was told, if anything was.
    pub(crate) fn renewed(&self, registry: Option<Registry>) -> Option<Registry> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).take()?;
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

/// Variables of ecrlogin that say as whom AWS is asked. The others are about what else it does, and
/// about which registry.
const IDENTITY: [&str; 6] = [
    "ECRLOGIN_PROFILE",
    "ECRLOGIN_ASSUME_ROLE",
    "ECRLOGIN_SESSION_NAME",
    "ECRLOGIN_EXTERNAL_ID",
    "ECRLOGIN_ENDPOINT_URL",
    "ECRLOGIN_TIMEOUT",
];

/// How long ecrlogin may take. It has deadlines of its own; this one is for what is called so.
const LOGIN: Duration = Duration::from_secs(120);

/// Asks ecrlogin. The error is why there is no login, for people.
async fn login(host: &str, identity: &Value, trusted: bool) -> Result<Registry, String> {
    match timeout(LOGIN, asked(program(), host, identity, trusted)).await {
        Ok(asked) => asked,
        Err(_) => Err(format!("ecrlogin did not end within {} s", LOGIN.as_secs())),
    }
}

/// Runs ecrlogin. It is killed once nobody waits for it any more, at a deadline or a signal, and when
/// it prints more than a document.
async fn asked(
    program: PathBuf,
    host: &str,
    identity: &Value,
    trusted: bool,
) -> Result<Registry, String> {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let known = name.to_str().is_some_and(|name| IDENTITY.contains(&name));
        if name.as_encoded_bytes().starts_with(b"ECRLOGIN_") && !known {
            command.env_remove(name);
        }
    }
    // A token that is kept may be the very one that was refused: there is none without --cache.
    let command = command.args(["--registry", host]);
    if trusted {
        command.arg("--trust-settings");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("ecrlogin cannot be run: {error}"))?;
    let document = json!({"schema": SCHEMA, "settings": {"ecrlogin": identity}});
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let told = async {
        if let Some(mut stdin) = stdin {
            // The pipe is closed at the end of this, so that it sees the end. One that does not read
            // tells why.
            let _ = stdin.write_all(format!("{document}\n").as_bytes()).await;
        }
    };
    let output = async {
        match stdout {
            Some(stdout) => PROGRAM_OUTPUT.read_async(stdout).await,
            None => Ok(Vec::new()),
        }
    };
    let ((), output) = tokio::join!(told, output);
    let output = output.map_err(|error| format!("ecrlogin: {error}"))?;
    let status = child.wait().await.map_err(|error| format!("ecrlogin: {error}"))?;
    let Ok(document) = Document::parse(&output) else {
        return Err(format!("ecrlogin gave no document ({status})"));
    };
    let error: Option<ErrorSection> = document.get().ok().flatten();
    if let Some(error) = error {
        return Err(error.message);
    }
    let registry: Option<Registry> = document.get().ok().flatten();
    registry.ok_or_else(|| "the document of ecrlogin has no login".to_owned())
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
            Relogin { told: Arc::new(Mutex::new(Some(fresh))), ..Relogin::default() }
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

    /// A program in the place of ecrlogin.
    async fn run(script: &str) -> Result<Registry, String> {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("ecrlogin");
        // Written by another process: one that was forked meanwhile would hold the file open for writing.
        let written = std::process::Command::new("sh")
            .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod 700 \"$0\""])
            .arg(&program)
            .arg(script)
            .status();
        assert!(written.unwrap().success());
        asked(program, "r.example", &Value::Null, false).await
    }

    #[tokio::test]
    async fn what_is_called_ecrlogin_is_read_to_a_limit_and_ended() {
        let why = run("cat /dev/zero").await.unwrap_err();
        assert!(why.contains("output is larger than 1 MiB"), "{why}");
        let why = run("echo nonsense; exit 3").await.unwrap_err();
        assert!(why.contains("no document (exit status: 3)"), "{why}");
        let known = run(
            "cat > /dev/null; echo '{\"schema\":\"slipway.release/v1\",\"registry\":{\"host\":\"r.example\"}}'",
        );
        assert_eq!(known.await.unwrap().host.as_deref(), Some("r.example"));
        let pid = tempfile::NamedTempFile::new().unwrap();
        let hangs = format!(
            "echo $$ > {}; cat > /dev/null; echo; exec tail -f /dev/null",
            pid.path().display()
        );
        // It has written its number before it reads to the end, and so before anybody gives up.
        let waits = run(&hangs);
        let mut waits = Box::pin(waits);
        while std::fs::read_to_string(pid.path()).unwrap().is_empty() {
            assert!(futures_util::poll!(&mut waits).is_pending());
            tokio::task::yield_now().await;
        }
        let pid = std::fs::read_to_string(pid.path()).unwrap();
        drop(waits);
        // Gone, or dead and not buried yet.
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).ok();
        while state().is_some_and(|state| !state.contains(") Z ")) {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn as_whom_aws_is_asked_is_said_again_and_nothing_else() {
        let text = r#"{"schema":"slipway.release/v1","settings":{"ecrlogin":{
            "assume_role":"r","external_id":"x","registry":"other","format":"env","tag":["a=b"]}}}"#;
        let document = Document::parse(text.as_bytes()).unwrap();
        let relogin = Relogin::of(&document, true).unwrap();
        assert_eq!(relogin.identity, json!({"assume_role": "r", "external_id": "x"}));
    }
}
