//! The parsers of what comes from outside, for the fuzzer and its corpus: any bytes in, and what must
//! hold is asserted.

use std::time::Duration;

use http::header::LOCATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::redirect::shown;
use crate::{
    Answer, Expectation, HeaderIs, JsonCondition, Proxies, Request, Resolve, Scheme, StatusSet,
    Target, Url, Verdict, VersionProof, pattern,
};

/// A parser under test.
type Parser = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: &[(&str, Parser)] = &[
    ("health_target", health_target),
    ("health_redirect", health_redirect),
    ("health_answer", health_answer),
    ("health_conditions", health_conditions),
    ("health_proxy", health_proxy),
];

/// The longest reason that a try may have, in characters.
const REASON: usize = 1000;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_short(reason: &str) {
    assert!(reason.chars().count() <= REASON, "{reason}");
    assert!(!reason.chars().any(slipway_untrusted::obeyed), "{reason:?}");
}

/// A target is shown without its login, and what is shown reads back.
fn health_target(bytes: &[u8]) {
    let given = text(bytes);
    let Ok(mut target) = given.parse::<Target>() else { return };
    let told = target.to_string();
    if let Target::Http(url) = &mut target {
        let request = Request::of_url(url, Duration::from_secs(1));
        assert!(request.is_ok(), "a URL can be asked: {told}");
        url.login = None;
    }
    assert_eq!(told.parse().as_ref(), Ok(&target), "{told}");
}

/// No answer leads to a socket, to another scheme, or from https to http.
fn health_redirect(bytes: &[u8]) {
    let Ok(location) = HeaderValue::from_bytes(bytes) else { return };
    let headers = HeaderMap::from_iter([(LOCATION, location)]);
    is_short(&shown(&text(bytes)));
    for from in ["http://a:81/x?y", "https://a/x", "h2c://a/x", "http+unix:///run/a.sock:/x"] {
        let Ok(Target::Http(begun)) = from.parse::<Target>() else { continue };
        let Ok(request) = Request::of_url(&begun, Duration::from_secs(1))
            .and_then(|request| request.header("authorization", "secret"))
        else {
            continue;
        };
        match request.redirected(&begun, StatusCode::FOUND, &headers) {
            Ok(Some((to, next))) => check_redirect(&begun, &to, &next),
            Ok(None) => {}
            Err(error) => is_short(&error.to_string()),
        }
    }
}

fn check_redirect(begun: &Url, to: &Url, next: &Request) {
    assert!(to.login.is_none());
    assert!(to.socket.is_none() || to.socket == begun.socket);
    assert!(begun.scheme != Scheme::Https || to.scheme == Scheme::Https);
    assert!(begun.shares_origin(to) || !next.headers.contains_key("authorization"));
}

/// The judgement of any answer: its first two bytes are the status, its first line is headers.
fn health_answer(bytes: &[u8]) {
    let [high, low, rest @ ..] = bytes else { return };
    let status = 100 + u16::from_be_bytes([*high, *low]) % 500;
    let (line, body) = rest.split_at(rest.iter().position(|b| *b == b'\n').unwrap_or(0));
    let mut headers = HeaderMap::new();
    for name in ["location", "x-app-version", "retry-after"] {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    let answer = Answer {
        status: StatusCode::from_u16(status).unwrap_or_default(),
        headers,
        body: body.to_vec(),
        cut: false,
        elapsed: Duration::ZERO,
        certificate_not_after: None,
    };
    assert!(answer.head().chars().count() <= 1024);
    let conditions = ["/status=ok", "/a/0<5", "/b=~^x", "/c!=null"];
    let json = conditions.iter().filter_map(|text| text.parse().ok());
    for json in std::iter::once(None).chain(json.map(Some)) {
        let version = VersionProof {
            expected: vec!["v1".to_owned()],
            required: true,
            ..VersionProof::default()
        };
        let headers = ["x-app-version: v1", "location"].iter().filter_map(|text| text.parse().ok());
        let expectation = Expectation {
            json: json.into_iter().collect(),
            version,
            headers: headers.collect(),
            ..Expectation::default()
        };
        if let Verdict::Not(defect) = expectation.judge(&answer) {
            is_short(&defect.reason);
        }
    }
}

/// Conditions, as people write them.
fn health_conditions(bytes: &[u8]) {
    let given = text(bytes);
    if let Ok(set) = given.parse::<StatusSet>() {
        assert_eq!(set.to_string().parse(), Ok(set));
    }
    let _ = (given.parse::<JsonCondition>(), given.parse::<HeaderIs>(), given.parse::<Resolve>());
    let _ = pattern(&given);
}

/// A proxy's URL; what is wrong with it is told without it.
fn health_proxy(bytes: &[u8]) {
    let given = text(bytes);
    if let Err(error) = given.parse::<Proxies>() {
        is_short(&error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_break_a_parser(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..80),
                "(https?|h2c|tcp|http\\+unix|unix)?:?/{0,3}[a-z@:%/\\[\\]=~<\" 0-9.\u{1b}\u{202e}-]{0,60}"
                    .prop_map(String::into_bytes),
            ],
        ) {
            for (_, parser) in super::TARGETS {
                parser(&bytes);
            }
        }
    }
}
