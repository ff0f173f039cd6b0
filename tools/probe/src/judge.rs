//! Whether an answer is the one that was hoped for.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use http::HeaderName;
use regex::bytes::Regex;
use serde_json::Value;

use crate::json::{cut, pattern};
use crate::redirect::location;
use crate::{Answer, FormError, JsonCondition, StatusSet, VersionProof};

/// What an answer has to be. The default is any answer with a status of `2xx`.
#[derive(Clone, Debug, Default)]
pub struct Expectation {
    /// The status is one of these.
    pub statuses: StatusSet,
    /// The body (its first 64 KiB) has a match.
    pub body: Option<Regex>,
    /// Each place of the JSON body holds what it should.
    pub json: Vec<JsonCondition>,
    /// Each header is there.
    pub headers: Vec<HeaderIs>,
    /// The release that was deployed is the one that answers.
    pub version: VersionProof,
    /// The try takes no longer.
    pub latency: Option<Duration>,
    /// The certificate, where there is one, stays valid for so long.
    pub certificate: Option<Duration>,
}

/// What an answer is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Ok,
    /// It is not.
    Not(Defect),
}

/// The first thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// What it is about.
    pub part: Part,
    /// A short fragment for a line of text.
    pub reason: String,
}

/// The parts of an answer, in the order in which they are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The status.
    Status,
    /// A header.
    Header,
    /// The body, as text or as JSON.
    Body,
    /// When the certificate ends.
    Certificate,
    /// How long it took.
    Latency,
    /// The version that it tells; all else is as it should be.
    Version,
}

impl Expectation {
    /// Judges an answer. Of several defects the first is told, the status first of all and the
    /// version last.
    #[must_use]
    pub fn judge(&self, answer: &Answer) -> Verdict {
        let told = told(Part::Status, self.status_reason(answer))
            .or_else(|| {
                told(Part::Header, self.headers.iter().find_map(|header| header.judge(answer)))
            })
            .or_else(|| {
                told(Part::Body, self.body_reason(answer).or_else(|| self.json_reason(answer)))
            })
            .or_else(|| self.connection(answer.elapsed, answer.certificate_not_after))
            .or_else(|| told(Part::Version, self.version.judge(answer)));
        told.map_or(Verdict::Ok, Verdict::Not)
    }

    /// Judges what there is without an answer, too: how long a try took, and when the certificate
    /// that was shown ends.
    #[must_use]
    pub fn connection(&self, took: Duration, not_after: Option<SystemTime>) -> Option<Defect> {
        let certificate = self.certificate.zip(not_after);
        let certificate =
            certificate.and_then(|(least, end)| certificate_reason(least, end, SystemTime::now()));
        let slow = self.latency.filter(|limit| took > *limit);
        let slow = slow.map(|limit| {
            let took = Duration::from_millis(took.as_millis().try_into().unwrap_or(u64::MAX));
            let text = humantime::format_duration;
            format!("took {}, expected at most {}", text(took), text(limit))
        });
        told(Part::Certificate, certificate).or_else(|| told(Part::Latency, slow))
    }

    fn status_reason(&self, answer: &Answer) -> Option<String> {
        let status = answer.status.as_u16();
        if self.statuses.contains(status) {
            return None;
        }
        // Where a redirect leads is what people need to put the path right.
        let to = location(answer).map(|to| format!(" to {to}")).unwrap_or_default();
        Some(format!("status {status}{to}, expected {}", self.statuses))
    }

    fn body_reason(&self, answer: &Answer) -> Option<String> {
        let pattern = self.body.as_ref().filter(|regex| !regex.is_match(&answer.body))?;
        Some(format!("the body does not match {}", cut(pattern.as_str())))
    }

    fn json_reason(&self, answer: &Answer) -> Option<String> {
        if self.json.is_empty() {
            return None;
        }
        match serde_json::from_slice::<Value>(&answer.body) {
            Ok(body) => self.json.iter().find_map(|condition| condition.judge(&body)),
            Err(_) if answer.cut => Some("the body is too large to be judged as JSON".to_owned()),
            Err(_) => Some("the body is not JSON".to_owned()),
        }
    }
}

fn told(part: Part, reason: Option<String>) -> Option<Defect> {
    reason.map(|reason| Defect { part, reason })
}

/// Why a certificate that is valid until `end` is not valid for long enough, if it is not.
fn certificate_reason(least: Duration, end: SystemTime, now: SystemTime) -> Option<String> {
    let wanted = coarse(least);
    match end.duration_since(now) {
        Ok(left) if left >= least => None,
        Ok(left) => {
            Some(format!("the certificate is valid for {}, expected {wanted}", coarse(left)))
        }
        Err(_) => Some(format!("the certificate has expired, expected {wanted} of validity")),
    }
}

/// A duration for people, in the largest unit that it fills.
fn coarse(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let (size, name) =
        units.into_iter().find(|(size, _)| seconds >= *size).unwrap_or((1, "second"));
    let count = seconds / size;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

/// What a header has to be: `NAME` for one that is there, `NAME: VALUE` for one with exactly this
/// value, `NAME=~REGEX` for one that has a match.
#[derive(Clone, Debug)]
pub struct HeaderIs {
    name: HeaderName,
    value: HeaderTest,
}

#[derive(Clone, Debug)]
enum HeaderTest {
    Present,
    Is(String),
    Matches(Regex),
}

impl FromStr for HeaderIs {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        // Neither sign can stand in a name, so the first one is the operator.
        let (name, value) = match text.find([':', '=']).map(|at| text.split_at(at)) {
            Some((name, rest)) if rest.starts_with("=~") => {
                (name, HeaderTest::Matches(pattern(rest[2..].trim_start())?))
            }
            Some((name, rest)) if rest.starts_with(':') => {
                (name, HeaderTest::Is(rest[1..].trim().to_owned()))
            }
            _ => (text, HeaderTest::Present),
        };
        let parsed = HeaderName::try_from(name.trim()).map_err(|_| {
            FormError(format!(
                "\"{name}\" is not a header's name: write NAME, 'NAME: VALUE' or NAME=~REGEX"
            ))
        })?;
        Ok(Self { name: parsed, value })
    }
}

impl HeaderIs {
    fn judge(&self, answer: &Answer) -> Option<String> {
        let Self { name, value } = self;
        let mut found = answer.headers.get_all(name).iter().map(http::HeaderValue::as_bytes);
        let met = match value {
            HeaderTest::Present => found.next().is_some(),
            HeaderTest::Is(expected) => found.any(|found| found == expected.as_bytes()),
            HeaderTest::Matches(regex) => found.any(|found| regex.is_match(found)),
        };
        if met {
            return None;
        }
        let expected = match value {
            HeaderTest::Present => String::new(),
            HeaderTest::Is(expected) => format!(", expected \"{expected}\""),
            HeaderTest::Matches(regex) => format!(", expected a match of {}", cut(regex.as_str())),
        };
        Some(match answer.headers.get(name) {
            Some(other) => {
                let other = cut(&String::from_utf8_lossy(other.as_bytes()));
                format!("header {name} is \"{other}\"{expected}")
            }
            None => format!("header {name} is missing{expected}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VersionSource;
    use http::{HeaderMap, HeaderValue, StatusCode};

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map,
            body: body.as_bytes().to_vec(),
            cut: false,
            elapsed: Duration::from_millis(700),
            certificate_not_after: None,
        }
    }

    fn reason(expectation: &Expectation, answer: &Answer) -> String {
        match expectation.judge(answer) {
            Verdict::Ok => "ok".to_owned(),
            Verdict::Not(defect) => defect.reason,
        }
    }

    #[test]
    fn the_status_is_told_first() {
        let all = Expectation {
            body: Some(Regex::new("ready").unwrap()),
            json: vec!["/status=ok".parse().unwrap()],
            headers: vec!["x-a".parse().unwrap()],
            ..Expectation::default()
        };
        assert_eq!(reason(&all, &answer(503, &[], "")), "status 503, expected 2xx");
        assert_eq!(reason(&all, &answer(301, &[], "")), "status 301, expected 2xx");
        assert_eq!(reason(&all, &answer(200, &[], "")), "header x-a is missing");
        let headers = [("x-a", "1")];
        assert_eq!(reason(&all, &answer(200, &headers, "")), "the body does not match ready");
        assert_eq!(reason(&all, &answer(200, &headers, "ready")), "the body is not JSON");
        let body = r#"{"status": "starting", "ready": 1}"#;
        let starting = "/status is \"starting\", expected \"ok\"";
        assert_eq!(reason(&all, &answer(200, &headers, body)), starting);
        let body = body.replace("starting", "ok");
        assert_eq!(reason(&all, &answer(204, &headers, &body)), "ok");
    }

    #[test]
    fn a_redirect_tells_where_it_leads() {
        let judge = |status, location: &'static str| {
            reason(&Expectation::default(), &answer(status, &[("location", location)], ""))
        };
        assert_eq!(judge(301, "/health/"), "status 301 to /health/, expected 2xx");
        let hidden = "status 302 to https://…@b/x, expected 2xx";
        assert_eq!(judge(302, "https://me:hunter2@b/x"), hidden);
        assert_eq!(judge(503, "/x"), "status 503, expected 2xx");
        assert_eq!(judge(304, "/x"), "status 304, expected 2xx");
        let long = judge(
            308,
            "/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        );
        assert!(long.contains("x…, expected"), "{long}");
    }

    #[test]
    fn a_header_is_met_by_any_of_its_values() {
        let expectation =
            Expectation { headers: vec!["X-A: 2".parse().unwrap()], ..Expectation::default() };
        assert_eq!(reason(&expectation, &answer(200, &[("x-a", "1"), ("x-a", "2")], "")), "ok");
        let other = "header x-a is \"1\", expected \"2\"";
        assert_eq!(reason(&expectation, &answer(200, &[("x-a", "1")], "")), other);
        for bad in ["x y: 1", "x y", "x=1", "x=~(", ":1"] {
            assert!(bad.parse::<HeaderIs>().is_err(), "{bad}");
        }
        let expectation = Expectation {
            headers: vec!["content-type=~^application/(.+\\+)?json".parse().unwrap()],
            ..Expectation::default()
        };
        let typed = |value| reason(&expectation, &answer(200, &[("content-type", value)], ""));
        assert_eq!(typed("application/health+json; charset=utf-8"), "ok");
        let other = "header content-type is \"text/html\", expected a match of \
                     ^application/(.+\\+)?json";
        assert_eq!(typed("text/html"), other);
    }

    #[test]
    fn slow_answers_can_be_refused() {
        let limit = |millis| Expectation {
            latency: Some(Duration::from_millis(millis)),
            ..Expectation::default()
        };
        assert_eq!(reason(&limit(700), &answer(200, &[], "")), "ok");
        let late = "took 700ms, expected at most 500ms";
        assert_eq!(reason(&limit(500), &answer(200, &[], "")), late);
        assert!(limit(500).connection(Duration::from_millis(400), None).is_none());
    }

    #[test]
    fn a_certificate_has_to_last() {
        let day = Duration::from_secs(86_400);
        let now = SystemTime::UNIX_EPOCH + 1000 * day;
        let judge = |left: Duration| certificate_reason(14 * day, now + left, now);
        assert_eq!(judge(14 * day), None);
        let short = "the certificate is valid for 13 days, expected 14 days";
        assert_eq!(judge(14 * day - Duration::from_secs(1)).as_deref(), Some(short));
        let hour = "the certificate is valid for 1 hour, expected 14 days";
        assert_eq!(judge(Duration::from_secs(3_700)).as_deref(), Some(hour));
        let gone = certificate_reason(14 * day, now - day, now).unwrap();
        assert_eq!(gone, "the certificate has expired, expected 14 days of validity");

        // Where no certificate is shown there is none to be judged.
        let expectation = Expectation { certificate: Some(14 * day), ..Expectation::default() };
        assert_eq!(reason(&expectation, &answer(200, &[], "")), "ok");
        let shown = Answer {
            certificate_not_after: Some(SystemTime::now() + day + day / 2),
            ..answer(200, &[], "")
        };
        let short = "the certificate is valid for 1 day, expected 14 days";
        assert_eq!(reason(&expectation, &shown), short);
    }

    #[test]
    fn a_body_that_was_cut_is_said_to_be_too_large() {
        let expectation =
            Expectation { json: vec!["/a=1".parse().unwrap()], ..Expectation::default() };
        let answer = Answer { cut: true, ..answer(200, &[], "{\"a\": 1") };
        assert!(reason(&expectation, &answer).contains("too large"));
    }

    #[test]
    fn another_release_is_told_from_the_new_one() {
        let proof = VersionProof {
            expected: vec!["v2".into(), "sha256:2".into()],
            ..VersionProof::default()
        };
        let judge = |required: bool, answer: &Answer| {
            let version = VersionProof { required, ..proof.clone() };
            reason(&Expectation { version, ..Expectation::default() }, answer)
        };
        let old = answer(200, &[("x-app-version", "v2")], r#"{"version": "v1"}"#);
        assert_eq!(judge(false, &old), "version v1 answers, expected v2");
        assert_eq!(judge(false, &answer(200, &[], r#"{"version": "sha256:2"}"#)), "ok");
        assert_eq!(judge(false, &answer(200, &[("x-app-version", "v2")], "hello")), "ok");
        for silent in [r#"{"version": 2}"#, r#"{"version": ""}"#, "[]", "hello", ""] {
            let silent = answer(200, &[], silent);
            assert_eq!(judge(false, &silent), "ok");
            assert_eq!(judge(true, &silent), "the answer tells no version, expected v2");
            assert_eq!(reason(&Expectation::default(), &silent), "ok");
        }
    }

    #[test]
    fn the_version_can_stand_elsewhere() {
        let source = VersionSource {
            pointer: "/build/tag".parse().unwrap(),
            header: HeaderName::from_static("x-release"),
        };
        let told = source.told(&answer(200, &[], r#"{"build": {"tag": "v3"}}"#));
        assert_eq!(told.as_deref(), Some("v3"));
        let told = source.told(&answer(200, &[("x-release", "v4")], r#"{"version": "v3"}"#));
        assert_eq!(told.as_deref(), Some("v4"));
    }
}
