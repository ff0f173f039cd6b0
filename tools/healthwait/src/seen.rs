//! What one try saw, and what it is worth.

use std::time::{Duration, SystemTime};

use slipway_probe::{Answer, Expectation, Part, ProbeError, Verdict};
use slipway_untrusted::clean_line;

use crate::container::Checked;

/// What one try saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Why the conditions are not met, if they are not.
    pub(crate) defect: Option<Defect>,
    /// How it is known that the target is gone, where that is waited for.
    pub(crate) gone: Option<String>,
    pub(crate) latency: Option<Duration>,
    /// When the certificate ends that was shown, if one was.
    pub(crate) not_after: Option<SystemTime>,
    pub(crate) answer: Option<LastAnswer>,
    /// How long the service asks to be left alone.
    pub(crate) retry_after: Duration,
}

/// Why the conditions are not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Defect {
    /// A short fragment.
    pub(crate) reason: String,
    pub(crate) why: Why,
}

/// What follows from a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It may be better the next time.
    Plain,
    /// All is well but for the version.
    Version,
    /// It took longer than this; by how much differs from try to try.
    Slow { limit: Duration },
    /// It will hardly become better by waiting.
    Hopeless,
    /// It is on this side, and tells nothing of the target.
    Local,
}

impl Why {
    fn of(part: Part, expectation: &Expectation) -> Self {
        match (part, expectation.latency) {
            (Part::Version, _) => Self::Version,
            (Part::Latency, Some(limit)) => Self::Slow { limit },
            _ => Self::Plain,
        }
    }
}

impl Defect {
    /// What is the same in all tries with this defect.
    fn state(&self) -> String {
        match self.why {
            Why::Slow { limit } => format!("slower than {}", humantime::format_duration(limit)),
            _ => self.reason.clone(),
        }
    }
}

/// What is kept of an HTTP answer.
#[derive(Clone, Debug)]
pub(crate) struct LastAnswer {
    pub(crate) status: u16,
    pub(crate) version: Option<String>,
    pub(crate) body: String,
}

impl Seen {
    /// An HTTP answer.
    pub(crate) fn answered(answer: &Answer, expectation: &Expectation) -> Self {
        let status = answer.status.as_u16();
        let defect = match expectation.judge(answer) {
            Verdict::Ok => None,
            Verdict::Not(defect) => {
                let why = match defect.part {
                    Part::Status if is_hopeless(status) => Why::Hopeless,
                    part => Why::of(part, expectation),
                };
                Some(Defect { reason: defect.reason, why })
            }
        };
        Self {
            defect,
            gone: None,
            latency: Some(answer.elapsed),
            not_after: answer.certificate_not_after,
            answer: Some(LastAnswer {
                status,
                version: expectation.version.source.told(answer).map(bounded),
                body: answer.head(),
            }),
            retry_after: retry_after(answer),
        }
    }

    /// A connection that was accepted, and the end of the certificate that was shown, if one was.
    pub(crate) fn accepted(
        latency: Duration,
        not_after: Option<SystemTime>,
        expectation: &Expectation,
    ) -> Self {
        let defect = expectation.connection(latency, not_after);
        let defect = defect
            .map(|defect| Defect { why: Why::of(defect.part, expectation), reason: defect.reason });
        Self { defect, latency: Some(latency), not_after, ..Self::default() }
    }

    /// What an engine told of a container.
    pub(crate) fn checked(checked: Result<Checked, ProbeError>, expectation: &Expectation) -> Self {
        let checked = match checked {
            Ok(checked) => checked,
            Err(error) => return Self::failed(&error),
        };
        let why = if checked.ended { Why::Hopeless } else { Why::Plain };
        let reason = checked.reason.map(|reason| clean_line(&reason).into_owned());
        let defect = reason.map(|reason| Defect { reason, why });
        let accepted = Self::accepted(checked.latency, None, expectation);
        Self { defect: defect.or(accepted.defect.clone()), ..accepted }
    }

    /// No answer.
    pub(crate) fn failed(error: &ProbeError) -> Self {
        let why = if error.is_local() {
            Why::Local
        } else if error.is_hopeless() {
            Why::Hopeless
        } else {
            Why::Plain
        };
        // A server, a proxy or a host may have put words into it.
        let reason = clean_line(&error.to_string()).into_owned();
        Self { defect: Some(Defect { reason, why }), ..Self::default() }
    }

    /// The same for somebody who waits until the target is gone.
    pub(crate) fn inverted(self) -> Self {
        match self.defect {
            Some(Defect { why: Why::Local, .. }) => self,
            Some(defect) => Self { defect: None, gone: Some(defect.state()), ..self },
            None => {
                let status = self.answer.as_ref().map(|answer| answer.status);
                let status = status.map(|status| format!(", status {status}")).unwrap_or_default();
                let reason = format!("still there{status}");
                Self { defect: Some(Defect { reason, why: Why::Plain }), ..self }
            }
        }
    }

    /// The state for a line of text and for the timeline.
    pub(crate) fn state(&self) -> String {
        match (&self.defect, &self.gone) {
            (Some(defect), _) => defect.state(),
            (None, Some(how)) => format!("gone: {how}"),
            (None, None) => "ok".to_owned(),
        }
    }
}

/// A version has no reason to be longer than this.
const VERSION_CHARS: usize = 256;

/// A version as it is kept.
fn bounded(version: String) -> String {
    match version.char_indices().nth(VERSION_CHARS) {
        Some((end, _)) => format!("{}…", &version[..end]),
        None => version,
    }
}

/// A 4xx says that the request is wrong, not that the service is not ready; but for those that
/// are about the moment (RFC 9110, RFC 8470, RFC 6585).
fn is_hopeless(status: u16) -> bool {
    (400..500).contains(&status) && ![408, 425, 429].contains(&status)
}

/// What a service that was asked too often (429) says of when it may be asked again.
fn retry_after(answer: &Answer) -> Duration {
    let told = || answer.headers.get("retry-after")?.to_str().ok()?.trim().parse().ok();
    let seconds = if answer.status.as_u16() == 429 { told() } else { None };
    Duration::from_secs(seconds.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_wrong_stays_so() {
        let hopeless: Vec<u16> = [200, 301, 400, 401, 404, 408, 425, 429, 499, 500, 503]
            .into_iter()
            .filter(|s| is_hopeless(*s))
            .collect();
        assert_eq!(hopeless, [400, 401, 404, 499]);
    }
}
