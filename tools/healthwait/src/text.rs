//! Option values with a form of their own.
//!
//! Each is read by one function for the command line and for the document's settings, so that a
//! wrong one is refused before the tool begins, as what it is: a wrong command line or a bad
//! setting.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command};
use http::{HeaderName, HeaderValue};
use regex::bytes::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value together with the text that it was read from.
#[derive(Clone)]
pub struct Text<T> {
    /// The text as it was given.
    pub text: String,
    /// What it means.
    pub value: T,
}

impl<T: FromStr<Err: fmt::Display>> FromStr for Text<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let value = text.parse().map_err(|error: T::Err| error.to_string())?;
        Ok(Self { text: text.to_owned(), value })
    }
}

impl<T: fmt::Debug> fmt::Debug for Text<T> {
    /// The value's own, since it knows what may be shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl<T> JsonSchema for Text<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// A regular expression that is searched in a body.
#[derive(Clone, Debug)]
pub struct Pattern(pub Regex);

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        slipway_probe::pattern(text).map(Self).map_err(|error| error.to_string())
    }
}

/// A header of the request: `NAME: VALUE`. `Debug` shows the name only.
#[derive(Clone)]
pub struct RequestHeader {
    /// The name.
    pub name: String,
    /// The value, which may be a secret.
    pub value: String,
}

impl fmt::Debug for RequestHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl FromStr for RequestHeader {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, value)) = text.split_once(':') else {
            return Err("write 'NAME: VALUE'".to_owned());
        };
        let name = header_name(name)?;
        let value = value.trim();
        if HeaderValue::from_str(value).is_err() {
            return Err(format!("the value of {name} has characters that cannot be sent"));
        }
        Ok(Self { name, value: value.to_owned() })
    }
}

/// Reads a value that may hold a secret, and may stand in the environment. clap's own way of telling
/// what is wrong would repeat it.
pub(crate) struct SecretParser<T>(PhantomData<fn() -> T>);

impl<T> SecretParser<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Clone for SecretParser<T> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<T> TypedValueParser for SecretParser<T>
where
    T: FromStr<Err: fmt::Display> + Clone + Send + Sync + 'static,
{
    type Value = Text<T>;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        let text = value.to_str().ok_or_else(|| "it is not UTF-8".to_owned());
        text.and_then(str::parse).map_err(|reason| {
            let option = arg.and_then(Arg::get_long).map(|long| format!("--{long}"));
            let option = option.unwrap_or_else(|| "TARGET".to_owned());
            clap::Error::raw(ErrorKind::ValueValidation, format!("{option}: {reason}\n"))
                .with_cmd(command)
        })
    }
}

/// The method of a request.
#[derive(Clone, Debug)]
pub struct Method(pub http::Method);

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not a method, such as HEAD or POST");
        // CONNECT asks for a tunnel, which is no answer that could be judged.
        match text.to_ascii_uppercase().parse() {
            Ok(http::Method::CONNECT) | Err(_) => Err(wrong()),
            Ok(method) => Ok(Self(method)),
        }
    }
}

/// A header of the request whose value is in the environment: `NAME=VARIABLE`.
#[derive(Clone, Debug)]
pub struct HeaderFromEnv {
    /// The name.
    pub name: String,
    /// The variable.
    pub variable: String,
}

impl FromStr for HeaderFromEnv {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, variable)) if !variable.is_empty() => {
                Ok(Self { name: header_name(name)?, variable: variable.to_owned() })
            }
            _ => Err("write NAME=VARIABLE, such as Authorization=PROBE_TOKEN".to_owned()),
        }
    }
}

/// A share of a whole, from `0%` to `100%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percent(pub f64);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse().ok());
        match percent {
            Some(percent @ 0.0..=100.0) => Ok(Self(percent / 100.0)),
            _ => Err(format!("\"{text}\" is not a share: write 0% to 100%, such as 10%")),
        }
    }
}

/// A factor by which something grows: 1 or more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factor(pub f64);

impl FromStr for Factor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse() {
            Ok(factor) if (1.0..=1000.0).contains(&factor) => Ok(Self(factor)),
            _ => Err(format!("\"{text}\" is not a factor from 1 to 1000, such as 1.5")),
        }
    }
}

fn header_name(text: &str) -> Result<String, String> {
    match HeaderName::try_from(text.trim()) {
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(_) => Err(format!("\"{text}\" is not a header's name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_pattern_is_told_on_one_line() {
        let error = "a\n(b".parse::<Pattern>().unwrap_err();
        assert!(error.ends_with("is not a regular expression: unclosed group"), "{error}");
    }

    #[test]
    fn shares_and_factors_have_bounds() {
        assert_eq!("12.5 %".parse(), Ok(Percent(0.125)));
        for bad in ["10", "101%", "-1%", "NaN%", "%", ""] {
            assert!(bad.parse::<Percent>().is_err(), "{bad}");
        }
        assert_eq!("1.5".parse(), Ok(Factor(1.5)));
        for bad in ["0.9", "NaN", "inf", "-2", "x", ""] {
            assert!(bad.parse::<Factor>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_header_s_value_is_not_shown() {
        let header: Text<RequestHeader> = "X-Key: hunter2:x ".parse().unwrap();
        assert_eq!(header.value.value, "hunter2:x");
        assert_eq!(format!("{header:?}"), "x-key");
        for bad in ["hunter2", "X Key: hunter2", "X-Key: hunter2\u{1}"] {
            let error = bad.parse::<RequestHeader>().unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_header_from_the_environment_names_its_variable() {
        let header: HeaderFromEnv = "Authorization=TOKEN".parse().unwrap();
        assert_eq!((header.name.as_str(), header.variable.as_str()), ("authorization", "TOKEN"));
        for bad in ["Authorization", "Authorization=", "=TOKEN", "a b=TOKEN"] {
            assert!(bad.parse::<HeaderFromEnv>().is_err(), "{bad}");
        }
    }
}
