//! Places in a JSON body (RFC 6901) and what should stand there.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::FormError;

/// A JSON pointer, such as `/checks/0/status`; the empty one points at the whole body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(String);

impl Pointer {
    /// Where a body tells its version unless something else is said.
    pub(crate) fn version() -> Self {
        Self("/version".to_owned())
    }

    /// What it points at, if there is something.
    #[must_use]
    pub fn find<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        value.pointer(&self.0)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "the body" } else { &self.0 })
    }
}

impl FromStr for Pointer {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(FormError(format!(
                "\"{text}\" is not a JSON pointer: it begins with a slash, such as /status"
            )));
        }
        let escaped = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if !escaped {
            return Err(FormError(format!(
                "\"{text}\" is not a JSON pointer: a ~ in a name is written ~0, a / is written ~1"
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

/// That a place of the body holds a value: `POINTER=VALUE`, where a value that is not JSON is
/// taken for a string.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonEquals {
    /// The place.
    pub pointer: Pointer,
    /// What should be there.
    pub value: Value,
}

impl FromStr for JsonEquals {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        let Some((pointer, value)) = text.split_once('=') else {
            return Err(FormError(format!(
                "\"{text}\" is not POINTER=VALUE, such as /status=ok or /ready=true"
            )));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        Ok(Self { pointer: pointer.parse()?, value })
    }
}

impl JsonEquals {
    /// Why the body is not as it should be, if it is not.
    pub(crate) fn judge(&self, body: &Value) -> Option<String> {
        let Self { pointer, value } = self;
        match pointer.find(body) {
            Some(found) if same(found, value) => None,
            Some(found) => Some(format!("{pointer} is {}, expected {}", show(found), show(value))),
            None => Some(format!("{pointer} is missing, expected {}", show(value))),
        }
    }
}

/// Equality where 1 and 1.0 are the same number, as they are in JSON.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            x == y || x.as_f64() == y.as_f64() && (x.is_f64() || y.is_f64())
        }
        _ => a == b,
    }
}

/// JSON for a line of text: cut where it grows long, and without control characters.
pub(crate) fn show(value: &Value) -> String {
    cut(&value.to_string())
}

/// At most 80 characters of a text from outside, none of them a control character.
#[must_use]
pub fn cut(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut chars = text.chars().map(clean);
    let mut head: String = chars.by_ref().take(80).collect();
    if chars.next().is_some() {
        head.push('…');
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn judge(expected: &str, body: &Value) -> Option<String> {
        expected.parse::<JsonEquals>().unwrap().judge(body)
    }

    #[test]
    fn values_are_json_or_else_text() {
        let body =
            json!({"status": "ok", "ready": true, "load": 1.0, "n": [1], "v": "1", "a=b": 0});
        for met in [
            "/status=ok",
            "/status=\"ok\"",
            "/ready=true",
            "/load=1",
            "/n=[1]",
            "/n/0=1",
            "/v=\"1\"",
        ] {
            assert_eq!(judge(met, &body), None, "{met}");
        }
        assert_eq!(judge("=7", &json!(7)), None);
        assert_eq!(judge("/v=1", &body).unwrap(), "/v is \"1\", expected 1");
        assert_eq!(judge("/x=up", &body).unwrap(), "/x is missing, expected \"up\"");
        assert_eq!(judge("/status=", &body).unwrap(), "/status is \"ok\", expected \"\"");
    }

    #[test]
    fn large_numbers_are_told_apart() {
        let body = json!({"n": 9_007_199_254_740_993_u64});
        assert!(judge("/n=9007199254740992", &body).is_some());
        assert_eq!(judge("/n=9007199254740993", &body), None);
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        for bad in ["status=ok", "/a~=1", "/a~2=1", "/status"] {
            assert!(bad.parse::<JsonEquals>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_line_stays_a_short_line() {
        let shown = cut(&"a\u{1b}[2J\n".repeat(100));
        assert_eq!(shown.chars().count(), 81);
        assert!(!shown.contains(char::is_control));
    }

    proptest! {
        #[test]
        fn every_name_can_be_pointed_at(name in "[^=]{0,8}", value: i64) {
            let escaped = name.replace('~', "~0").replace('/', "~1");
            let body = Value::Object([(name, json!(value))].into_iter().collect());
            prop_assert_eq!(judge(&format!("/{escaped}={value}"), &body), None);
            let other = format!("/{escaped}={}", value.wrapping_add(1));
            prop_assert!(judge(&other, &body).is_some());
        }
    }
}
