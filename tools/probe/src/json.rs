//! Places in a JSON body (RFC 6901) and what should stand there.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use crate::FormError;

/// How many characters of a text from outside are shown within a reason.
const CUT: usize = 80;

/// The most memory that one regular expression may take, in bytes: a document may bring many.
const PATTERN_BYTES: usize = 4 * 1024 * 1024;

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

/// What a place of the body has to hold: `POINTER` alone for one that is there, or `POINTER OP
/// VALUE` with one of the operators `=`, `!=`, `<`, `<=`, `>`, `>=` and `=~`. A value that is not
/// JSON is taken for a string, that of `=~` for a regular expression.
#[derive(Clone, Debug)]
pub struct JsonCondition {
    pointer: Pointer,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Present,
    Is(Value),
    IsNot(Value),
    Compares(Comparison, Value),
    Matches(Regex),
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Less,
    AtMost,
    More,
    AtLeast,
}

/// The operators; where one begins like another the longer one is first.
const OPERATORS: [&str; 8] = ["=~", "==", "!=", "<=", ">=", "=", "<", ">"];

impl FromStr for JsonCondition {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        let operator = |at: usize| OPERATORS.iter().find(|op| text[at..].starts_with(**op));
        let found = text.char_indices().find_map(|(at, _)| Some((at, *operator(at)?)));
        let Some((at, operator)) = found else {
            if !text.starts_with('/') {
                return Err(FormError(format!(
                    "\"{text}\" is not a condition on JSON: write POINTER, POINTER=VALUE or \
                     another of = != < <= > >= =~, such as /status=ok or /ready=true"
                )));
            }
            return Ok(Self { pointer: text.parse()?, test: Test::Present });
        };
        let value = text[at + operator.len()..].trim_start();
        let json = || serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        let test = match operator {
            "=~" => Test::Matches(text_pattern(value)?),
            "!=" => Test::IsNot(json()),
            "<" => Test::Compares(Comparison::Less, json()),
            "<=" => Test::Compares(Comparison::AtMost, json()),
            ">" => Test::Compares(Comparison::More, json()),
            ">=" => Test::Compares(Comparison::AtLeast, json()),
            _ => Test::Is(json()),
        };
        if let Test::Compares(_, value) = &test
            && !(value.is_number() || value.is_string())
        {
            return Err(FormError(format!(
                "\"{text}\" compares with {}: only numbers and strings have an order",
                show(value)
            )));
        }
        Ok(Self { pointer: text[..at].trim_end().parse()?, test })
    }
}

/// A regular expression that is searched in text.
fn text_pattern(text: &str) -> Result<Regex, FormError> {
    let mut pattern = RegexBuilder::new(text);
    let pattern = pattern.size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build();
    pattern.map_err(|error| pattern_error(text, &error))
}

/// A regular expression that is searched in bytes from outside, such as a body.
///
/// # Errors
/// When it is not one, or takes more memory than it may.
pub fn pattern(text: &str) -> Result<regex::bytes::Regex, FormError> {
    let mut pattern = regex::bytes::RegexBuilder::new(text);
    let pattern = pattern.size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build();
    pattern.map_err(|error| pattern_error(text, &error))
}

/// What is wrong with a regular expression, on one line.
fn pattern_error(pattern: &str, error: &regex::Error) -> FormError {
    // regex draws the place on several lines and says what is wrong on the last.
    let error = error.to_string();
    let last = error.lines().last().unwrap_or_default();
    let reason = last.strip_prefix("error: ").unwrap_or(last);
    FormError(format!("\"{}\" is not a regular expression: {reason}", cut(pattern)))
}

impl JsonCondition {
    /// Why the body is not as it should be, if it is not.
    pub(crate) fn judge(&self, body: &Value) -> Option<String> {
        let Self { pointer, test } = self;
        match pointer.find(body) {
            Some(found) if test.is_met(found) => None,
            Some(found) => Some(format!("{pointer} is {}, expected {test}", show(found))),
            None => Some(format!("{pointer} is missing, expected {test}")),
        }
    }
}

impl Test {
    fn is_met(&self, found: &Value) -> bool {
        match self {
            Self::Present => true,
            Self::Is(value) => same(found, value),
            Self::IsNot(value) => !same(found, value),
            Self::Compares(comparison, value) => {
                order(found, value).is_some_and(|order| match comparison {
                    Comparison::Less => order.is_lt(),
                    Comparison::AtMost => order.is_le(),
                    Comparison::More => order.is_gt(),
                    Comparison::AtLeast => order.is_ge(),
                })
            }
            // What is not a string is searched as it is written in JSON.
            Self::Matches(regex) => match found.as_str() {
                Some(text) => regex.is_match(text),
                None => regex.is_match(&found.to_string()),
            },
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("it to be there"),
            Self::Is(value) => f.write_str(&show(value)),
            Self::IsNot(value) => write!(f, "anything but {}", show(value)),
            Self::Compares(comparison, value) => {
                let sign = match comparison {
                    Comparison::Less => "<",
                    Comparison::AtMost => "<=",
                    Comparison::More => ">",
                    Comparison::AtLeast => ">=",
                };
                write!(f, "{sign} {}", show(value))
            }
            Self::Matches(regex) => write!(f, "a match of {}", cut(regex.as_str())),
        }
    }
}

/// The order of two numbers or of two strings; other values have none.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => match (x.as_i128(), y.as_i128()) {
            (Some(x), Some(y)) => Some(x.cmp(&y)),
            _ => x.as_f64()?.partial_cmp(&y.as_f64()?),
        },
        (Value::String(x), Value::String(y)) => Some(x.cmp(y)),
        _ => None,
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

/// At most 80 characters of a text from outside, cleaned.
#[must_use]
pub fn cut(text: &str) -> String {
    let clean = slipway_untrusted::clean_line(text);
    match clean.char_indices().nth(CUT) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn judge(expected: &str, body: &Value) -> Option<String> {
        expected.parse::<JsonCondition>().unwrap().judge(body)
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
        for bad in ["status=ok", "/a~=1", "/a~2=1", "status", "", "/a=~(b", "/a<true", "/a>=[1]"] {
            assert!(bad.parse::<JsonCondition>().is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_compared() {
        let body = json!({
            "n": 7, "x": 0.5, "big": 9_007_199_254_740_993_u64, "name": "web-17", "list": [1, 2],
            "at": "2026-01-02T03:04:05Z", "null": null,
        });
        for met in [
            "/n",
            "/null",
            "/n==7",
            "/n!=8",
            "/n<8",
            "/n<=7",
            "/n > 6",
            "/n >= 7.0",
            "/x<1",
            "/big>9007199254740992",
            "/name=~^web-[0-9]+$",
            "/list=~^\\[1,",
            "/at>2026-01-01",
            "/name!=web",
            "/null!=0",
        ] {
            assert_eq!(judge(met, &body), None, "{met}");
        }
        for (not, reason) in [
            ("/gone", "/gone is missing, expected it to be there"),
            ("/n>7", "/n is 7, expected > 7"),
            ("/n!=7", "/n is 7, expected anything but 7"),
            ("/name<1", "/name is \"web-17\", expected < 1"),
            ("/name=~^db", "/name is \"web-17\", expected a match of ^db"),
            ("/big<=9007199254740992", "/big is 9007199254740993, expected <= 9007199254740992"),
            ("/gone!=1", "/gone is missing, expected anything but 1"),
        ] {
            assert_eq!(judge(not, &body).as_deref(), Some(reason));
        }
    }

    #[test]
    fn a_line_stays_a_short_line() {
        let shown = cut(&"a\u{1b}[2J\u{202e}\n".repeat(100));
        assert_eq!(shown.chars().count(), 81);
        assert!(!shown.contains(char::is_control) && !shown.contains('\u{202e}'));
    }

    #[test]
    fn a_pattern_takes_no_more_memory_than_it_may() {
        let error = pattern("(a{1000}){1000}").unwrap_err().to_string();
        assert!(error.contains("size limit"), "{error}");
        assert!("/a=~(a{1000}){1000}".parse::<JsonCondition>().is_err());
        assert!(pattern(r"^\w{3,40}$").is_ok());
    }

    proptest! {
        #[test]
        fn names_without_operators_can_be_pointed_at(name in "([^=<>!]{0,7}[^=<>!\\s])?", value: i64) {
            let escaped = name.replace('~', "~0").replace('/', "~1");
            let body = Value::Object([(name, json!(value))].into_iter().collect());
            prop_assert_eq!(judge(&format!("/{escaped}={value}"), &body), None);
            let other = format!("/{escaped}={}", value.wrapping_add(1));
            prop_assert!(judge(&other, &body).is_some());
        }
    }
}
