//! What is told of a failure: bounded, and without a secret.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::container::{Container, HealthCheckStatus, Status};
use crate::host::{About, Probe};

/// Lines of a container's log that are kept.
pub(crate) const LOG_LINES: usize = 50;

/// Lines of those that are shown to people.
const SHOWN_LINES: usize = 10;

/// Characters of a line, of a body or of an output that are kept.
const LINE_CHARS: usize = 500;

/// Shorter values are words like `1` or `on`: they are no secrets, and hiding them would hide
/// everything else too.
const SECRET_CHARS: usize = 4;

/// Lines of a secret of several lines that are as long are secrets by themselves, as a log tells each
/// in a line of its own.
const SECRET_LINE_CHARS: usize = 8;

/// Takes secrets out of texts, and passwords out of the URLs in them. It has no `Debug`, since it
/// holds them.
#[derive(Clone, Default)]
pub(crate) struct Scrub(Vec<String>);

impl Scrub {
    pub(crate) fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut all: Vec<String> = Vec::new();
        for secret in secrets {
            // A log in JSON shows quotes and backslashes in another form.
            let escaped = Value::String(secret.clone()).to_string();
            all.push(escaped.trim_matches('"').to_owned());
            if secret.contains('\n') {
                let lines = secret.lines().map(str::trim);
                let long = lines.filter(|line| line.chars().count() >= SECRET_LINE_CHARS);
                all.extend(long.map(str::to_owned));
            }
            all.push(secret);
        }
        all.retain(|secret| secret.trim().chars().count() >= SECRET_CHARS);
        // The longest first, or a part of it would leave the rest readable.
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        all.dedup();
        Self(all)
    }

    /// The same, with these values shown.
    pub(crate) fn without<'a>(mut self, shown: impl IntoIterator<Item = &'a str>) -> Self {
        let shown = Self::new(shown.into_iter().map(str::to_owned)).0;
        self.0.retain(|secret| !shown.contains(secret));
        self
    }

    pub(crate) fn text(&self, text: &str) -> String {
        let text =
            self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[secret]"));
        without_passwords(&text).into_owned()
    }
}

/// The text without the passwords of URLs in it (RFC 3986, section 3.2.1): `://user:[secret]@`.
pub(crate) fn without_passwords(text: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        shown.push_str(before);
        let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '`');
        let authority = &after[..after.find(ends).unwrap_or(after.len())];
        // A password may hold an @ that should have been escaped: the last one counts.
        rest = match authority.rsplit_once('@').and_then(|(login, _)| login.split_once(':')) {
            Some((user, password)) => {
                shown.push_str(user);
                shown.push_str(":[secret]");
                &after[user.len() + 1 + password.len()..]
            }
            None => after,
        };
    }
    if shown.is_empty() {
        return Cow::Borrowed(text);
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// What was seen of a container that failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    /// In what part of the deploy: `candidate` or `release`.
    pub(crate) phase: &'static str,
    pub(crate) container: Option<Container>,
    pub(crate) probe: Option<Probe>,
    pub(crate) log: Vec<String>,
    pub(crate) host: Option<HostFacts>,
}

/// What the host looked like at the time.
#[derive(Clone, Debug)]
pub(crate) struct HostFacts {
    pub(crate) about: About,
    /// Bytes that are free where the engine keeps its images, if they could be asked for.
    pub(crate) free: Option<u64>,
}

impl HostFacts {
    fn value(&self) -> Value {
        let machine = &self.about.machine;
        json!({
            "engine": head(&self.about.version),
            "system": head(&machine.system),
            "kernel": head(&machine.kernel),
            "cpus": machine.cpus,
            "memory_bytes": machine.memory_bytes,
            "containers_running": machine.containers_running,
            "disk_free_bytes": self.free,
        })
    }
}

impl Evidence {
    /// As a value of the document. Scrubbed before it is cut, so that no half of a secret stays.
    pub(crate) fn value(&self, host: &str, scrub: &Scrub) -> Value {
        let short = |text: &str| head(&scrub.text(text));
        let probe = self.probe.as_ref().map(|probe| match probe {
            Probe::Answer { status, body } => json!({"status": status, "body": short(body)}),
            Probe::Silent { reason } => json!({"error": short(reason)}),
        });
        let container = self.container.as_ref().map(|container| {
            let mut value = json!({
                "name": head(&container.name),
                "id": head(&container.id),
                "state": state(container.status),
                "exit_code": container.exit_code,
                "oom_killed": container.oom_killed,
                "restarts": container.restarts,
            });
            if let Some(error) = &container.error {
                value["error"] = short(error).into();
            }
            if let Some(check) = &container.healthcheck {
                value["healthcheck"] = json!({
                    "status": check_state(check.status),
                    "output": check.output.as_deref().map(short),
                });
            }
            value
        });
        let log = self.tail(LOG_LINES, scrub);
        json!({
            "host": host,
            "phase": self.phase,
            "probe": probe,
            "container": container,
            "log_tail": log,
            "host_facts": self.host.as_ref().map(HostFacts::value),
        })
    }

    /// The end of the log for people, who see the document only when they look for it.
    pub(crate) fn last_lines(&self, scrub: &Scrub) -> Vec<String> {
        self.tail(SHOWN_LINES, scrub)
    }

    fn tail(&self, lines: usize, scrub: &Scrub) -> Vec<String> {
        let skipped = self.log.len().saturating_sub(lines);
        self.log.iter().skip(skipped).map(|line| head(&scrub.text(line))).collect()
    }
}

fn head(text: &str) -> String {
    let mut chars = text.chars();
    let mut head: String = chars.by_ref().take(LINE_CHARS).collect();
    if chars.next().is_some() {
        head.push('…');
    }
    head
}

/// The engine's word.
pub(crate) fn state(status: Status) -> &'static str {
    match status {
        Status::Created => "created",
        Status::Running => "running",
        Status::Restarting => "restarting",
        Status::Stopped => "exited",
    }
}

/// The engine's word.
pub(crate) fn check_state(status: HealthCheckStatus) -> &'static str {
    match status {
        HealthCheckStatus::Starting => "starting",
        HealthCheckStatus::Healthy => "healthy",
        HealthCheckStatus::Unhealthy => "unhealthy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn evidence_is_bounded_and_holds_no_secret() {
        let scrub = Scrub::new(["canary\"1".to_owned(), "on".to_owned()]);
        let evidence = Evidence {
            phase: "candidate",
            container: None,
            probe: Some(Probe::Answer { status: 503, body: "on: canary\"1".into() }),
            log: (0..200)
                .map(|n| format!("{n} {{\"x\": \"canary\\\"1\"}} {}", "y".repeat(600)))
                .collect(),
            host: None,
        };
        let value = evidence.value("h", &scrub);
        assert_eq!(value["probe"]["body"], "on: [secret]");
        assert_eq!(value["log_tail"].as_array().unwrap().len(), LOG_LINES);
        let text = value.to_string();
        assert!(!text.contains("canary") && text.contains("199 ") && !text.contains("149 "));
    }

    #[test]
    fn a_secret_of_several_lines_is_hidden_line_by_line() {
        let key = "-----BEGIN KEY-----\nc2VjcmV0c2VjcmV0\nab\n-----END KEY-----\n";
        let scrub = Scrub::new([key.to_owned()]);
        assert_eq!(scrub.text("it is c2VjcmV0c2VjcmV0"), "it is [secret]");
        assert_eq!(scrub.text("a cab"), "a cab");
    }

    #[test]
    fn passwords_in_urls_are_hidden() {
        for (text, shown) in [
            ("get https://u:hunter2@h:1/x?a@b:c", "get https://u:[secret]@h:1/x?a@b:c"),
            (
                "postgres://u:p@ss@db and http://v:w@x",
                "postgres://u:[secret]@db and http://v:[secret]@x",
            ),
            ("http://h/a:b@c ssh://u@h", "http://h/a:b@c ssh://u@h"),
            ("://:x@", "://:[secret]@"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
    }

    proptest! {
        #[test]
        fn hiding_a_password_leaves_the_rest(text in "(://|[a@:/ ü]){0,20}") {
            let shown = without_passwords(&text);
            prop_assert_eq!(without_passwords(&shown), shown.clone());
        }

        #[test]
        fn a_secret_does_not_survive(secret in "[a-z\"\\\\]{4,12}", other in "[a-z]{4,6}", before in ".{0,10}", after in ".{0,10}") {
            let scrub = Scrub::new([other, secret.clone()]);
            let text = scrub.text(&format!("{before}{secret}{after}"));
            prop_assert!(!text.contains(&secret) || "[secret]".contains(&secret) || text.replace("[secret]", "").is_empty());
        }
    }
}
