//! The parsers of what comes from outside, for the fuzzer and its corpus: any bytes in, and what must
//! hold is asserted.

use slipway_release::{Deploy, Document, HostOutcome, Outcome};

use crate::goals::{Goals, ssh_host};

/// A parser under test.
type Parser = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: &[(&str, Parser)] =
    &[("health_via", health_via), ("health_deployed", health_deployed)];

/// A host to log in to: what is told of a wrong one is short, and nothing that a terminal obeys.
fn health_via(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match ssh_host(&text) {
        Ok(host) => assert!(!host.user.contains(':'), "no password is a part of a user"),
        Err(reason) => assert!(!reason.chars().any(char::is_control), "{reason:?}"),
    }
}

/// The URL of a deployed host: it leads to an application and not to a socket.
fn health_deployed(bytes: &[u8]) {
    use slipway_probe::Target;
    let text = String::from_utf8_lossy(bytes).into_owned();
    for local in [false, true] {
        let host = HostOutcome {
            host: "user@host".to_owned(),
            url: (!local).then(|| text.clone()),
            local_url: local.then(|| text.clone()),
            outcome: Some(Outcome::Deployed),
            ..HostOutcome::default()
        };
        let mut document = Document::default();
        document.set(&Deploy { hosts: vec![host], ..Deploy::default() });
        let Ok(goals) = Goals::deployed(&document) else { continue };
        for goal in goals.goals {
            assert_eq!(goal.through.is_some(), local);
            match goal.target {
                Target::Http(url) => {
                    assert!(url.socket.is_none() && (!local || url.address.is_loopback()));
                }
                Target::Tcp(address) | Target::Tls(address) => {
                    assert!(!local || address.is_loopback());
                }
                other => assert_eq!(other.to_string(), "", "no application is there"),
            }
        }
    }
}
