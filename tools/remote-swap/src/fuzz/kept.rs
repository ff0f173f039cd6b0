//! Options in docker's notation, and what a host keeps of a deploy.

use slipway_engine::bollard::models::ContainerInspectResponse;

use crate::confinement;
use crate::env::Environment;
use crate::evidence::{Scrub, without_passwords};
use crate::publish::Publish;
use crate::record::{Entry, read_entry};
use crate::spec::Spec;
use crate::values;

/// A file of variables. An error tells no value.
pub(super) fn env_file(bytes: &[u8]) {
    let lookup = |name: &str| (name.len() < 3).then(|| "here".to_owned());
    let mut read = Environment::default();
    match read.file("x.env", bytes, &lookup) {
        Ok(()) => {
            for (name, value) in read.variables() {
                assert!(!name.is_empty() && !name.contains(['=', '\0', '\n']));
                assert!(!value.contains(['\0', '\n']));
            }
        }
        Err(error) => {
            let told = error.to_string();
            assert!(told.contains("x.env line "), "{told}");
            assert!(told.len() < 120, "{told}");
        }
    }
}

/// A run specification as a host keeps it: text, and what the engine tells of the container.
pub(super) fn stored_spec(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (text, container) = text.split_once('\n').unwrap_or((&text, ""));
    let container: Option<ContainerInspectResponse> = serde_json::from_str(container).ok();
    if let Ok(spec) = Spec::restored(text, container.as_ref()) {
        let again = Spec::restored(&spec.whole(), None).map(|again| again.canonical());
        assert_eq!(again, Ok(spec.canonical()));
    }
}

/// A record of a deploy.
pub(super) fn record(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(entry) = read_entry(&text) {
        let written = entry.text();
        assert_eq!(read_entry(&written).as_ref().map(Entry::text), Some(written));
    }
}

/// Values of options in docker's notation: what was read reads the same again.
pub(super) fn swap_values(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(publish) = text.parse::<Publish>() {
        assert_eq!(publish.to_string().parse(), Ok(publish));
    }
    if let Ok(restart) = text.parse::<values::Restart>() {
        assert_eq!(restart.to_string().parse(), Ok(restart));
    }
    if let Ok(bytes) = values::memory(&text) {
        assert!(bytes > 0 && values::memory(&bytes.to_string()) == Ok(bytes));
    }
    assert!(values::nano_cpus(&text).map_or(true, |nano| nano > 0));
    if let Ok(volume) = values::volume(&text) {
        assert_eq!(volume, text);
    }
    if let Ok(name) = confinement::capability(&text) {
        assert_eq!(confinement::capability(&name), Ok(name));
    }
    if let Ok((path, _)) = confinement::tmpfs(&text) {
        assert!(path.starts_with('/'));
    }
    let given = [text.clone().into_owned()];
    if let Ok(all) = confinement::security_opts(&given) {
        assert!(all.len() <= 2 && all.iter().all(|one| !one.contains("seccomp=/")));
    }
    let _ = (confinement::user(&text), values::log_opt(&text), values::network(&text));
    let mut environment = Environment::default();
    let _ = environment.option(&text, &|_| None);
}

/// Secrets in a text: first line the secret, the rest the text.
pub(super) fn scrub(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (secret, text) = text.split_once('\n').unwrap_or(("", &text));
    let shown = Scrub::new([secret.to_owned()]).text(text);
    // What replaces a secret may hold one that is a part of it, or make one with what is beside it.
    if secret.trim().chars().count() >= 4 && secret.chars().all(|c| c.is_ascii_digit()) {
        assert!(!shown.contains(secret), "{shown}");
    }
    let once = without_passwords(text).into_owned();
    assert_eq!(without_passwords(&once), once);
}
