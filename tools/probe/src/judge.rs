//! Whether an answer is the one that was hoped for.

use std::str::FromStr;

use http::HeaderName;
use regex::bytes::Regex;
use serde_json::Value;

use crate::json::cut;
use crate::{Answer, FormError, JsonEquals, StatusSet, VersionProof};

/// What an answer has to be. The default is any answer with a status of `2xx`.
#[derive(Clone, Debug, Default)]
pub struct Expectation {
    /// The status is one of these.
    pub statuses: StatusSet,
    /// The body (its first 64 KiB) has a match.
    pub body: Option<Regex>,
    /// Each place of the JSON body holds its value.
    pub json: Vec<JsonEquals>,
    /// Each header is there.
    pub headers: Vec<HeaderIs>,
    /// The release that was deployed is the one that answers.
    pub version: VersionProof,
}

/// What an answer is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Ok,
    /// It is not, and this is the first reason: a short fragment for a line of text.
    Not(String),
}

impl Expectation {
    /// Judges an answer. Of several defects the first is told, the status first of all.
    #[must_use]
    pub fn judge(&self, answer: &Answer) -> Verdict {
        match self.reason(answer) {
            Some(reason) => Verdict::Not(reason),
            None => Verdict::Ok,
        }
    }

    fn reason(&self, answer: &Answer) -> Option<String> {
        let status = answer.status.as_u16();
        if !self.statuses.contains(status) {
            return Some(format!("status {status}, expected {}", self.statuses));
        }
        if let Some(reason) = self.headers.iter().find_map(|header| header.judge(answer)) {
            return Some(reason);
        }
        if let Some(pattern) = self.body.as_ref().filter(|regex| !regex.is_match(&answer.body)) {
            return Some(format!("the body does not match {}", cut(pattern.as_str())));
        }
        self.json_reason(answer).or_else(|| self.version.judge(answer))
    }

    fn json_reason(&self, answer: &Answer) -> Option<String> {
        if self.json.is_empty() {
            return None;
        }
        match serde_json::from_slice::<Value>(&answer.body) {
            Ok(body) => self.json.iter().find_map(|equals| equals.judge(&body)),
            Err(_) if answer.cut => Some("the body is too large to be judged as JSON".to_owned()),
            Err(_) => Some("the body is not JSON".to_owned()),
        }
    }
}

/// That a header is there: `NAME`, or `NAME: VALUE` for one with exactly this value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderIs {
    name: HeaderName,
    value: Option<String>,
}

impl FromStr for HeaderIs {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        let (name, value) = match text.split_once(':') {
            Some((name, value)) => (name, Some(value.trim().to_owned())),
            None => (text, None),
        };
        let parsed = HeaderName::try_from(name.trim()).map_err(|_| {
            FormError(format!("\"{name}\" is not a header's name: write NAME or 'NAME: VALUE'"))
        })?;
        Ok(Self { name: parsed, value })
    }
}

impl HeaderIs {
    fn judge(&self, answer: &Answer) -> Option<String> {
        let Self { name, value } = self;
        let mut found = answer.headers.get_all(name).iter();
        let Some(expected) = value else {
            return found.next().is_none().then(|| format!("header {name} is missing"));
        };
        if found.any(|found| found.as_bytes() == expected.as_bytes()) {
            return None;
        }
        Some(match answer.headers.get(name) {
            Some(other) => {
                let other = cut(&String::from_utf8_lossy(other.as_bytes()));
                format!("header {name} is \"{other}\", expected \"{expected}\"")
            }
            None => format!("header {name} is missing, expected \"{expected}\""),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VersionSource;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use std::time::Duration;

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
            elapsed: Duration::ZERO,
            certificate_not_after: None,
        }
    }

    fn reason(expectation: &Expectation, answer: &Answer) -> String {
        match expectation.judge(answer) {
            Verdict::Ok => "ok".to_owned(),
            Verdict::Not(reason) => reason,
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
    fn a_header_is_met_by_any_of_its_values() {
        let expectation =
            Expectation { headers: vec!["X-A: 2".parse().unwrap()], ..Expectation::default() };
        assert_eq!(reason(&expectation, &answer(200, &[("x-a", "1"), ("x-a", "2")], "")), "ok");
        let other = "header x-a is \"1\", expected \"2\"";
        assert_eq!(reason(&expectation, &answer(200, &[("x-a", "1")], "")), other);
        assert!("x y: 1".parse::<HeaderIs>().is_err());
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
