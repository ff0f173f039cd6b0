//! The options of healthwait.

use std::num::NonZeroU32;

use clap::Args;
use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_probe::{HeaderIs, JsonEquals, Pointer, StatusSet, Target};
use slipway_shell::Span;

use crate::text::{HeaderFromEnv, HeaderParser, Pattern, RequestHeader, Text};

/// Waits until services answer as they should
///
/// Without targets it waits for the hosts that remote-swap deployed to, as the document names
/// them. If the document names a release, an answer that tells another version does not count.
/// All targets have to be healthy before the deadline passes (exit 124).
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// What to wait for: http://HOST[:PORT]/PATH, https://… or tcp://HOST:PORT
    #[arg(value_name = "TARGET")]
    pub target: Vec<Text<Target>>,

    /// The statuses that are good, such as 200, 2xx or 200-299,401
    #[arg(long, value_name = "SET", default_value = "2xx", help_heading = "Conditions")]
    pub expect_status: Text<StatusSet>,
    /// A regular expression that the body has to match (its first 64 KiB)
    #[arg(long, value_name = "REGEX", help_heading = "Conditions")]
    pub expect_body: Option<Text<Pattern>>,
    /// A JSON pointer into the body and its value, such as /status=ok or /ready=true (repeatable)
    #[arg(long, value_name = "POINTER=VALUE", help_heading = "Conditions")]
    pub expect_json: Vec<Text<JsonEquals>>,
    /// A header that the answer has to have, with exactly this value if one is given (repeatable)
    #[arg(long, value_name = "NAME[: VALUE]", help_heading = "Conditions")]
    pub expect_header: Vec<Text<HeaderIs>>,
    /// The version that has to answer [default: the release in the document]
    #[arg(long, value_name = "VERSION", help_heading = "Conditions")]
    pub expect_version: Option<String>,
    /// Do not check which version answers
    #[arg(long, help_heading = "Conditions")]
    pub no_version_check: bool,
    /// Where a JSON body tells its version
    #[arg(long, value_name = "POINTER", default_value = "/version", help_heading = "Conditions")]
    pub version_pointer: Text<Pointer>,
    /// The header that tells the version if the body does not
    #[arg(long, value_name = "NAME", default_value = "x-app-version", help_heading = "Conditions")]
    pub version_header: Text<HeaderName>,

    /// How many good answers in a row make a target healthy
    // One could be the last of a container that is about to stop, or the first of one that is
    // about to crash; a second one an interval later costs next to nothing.
    #[arg(long, value_name = "N", default_value = "2", help_heading = "Waiting")]
    pub consecutive: NonZeroU32,
    /// From the start of a try to the start of the next
    #[arg(
        long, value_name = "DURATION", default_value_t = Span::millis(250),
        help_heading = "Waiting"
    )]
    pub interval: Span,
    /// The deadline of one try: name look-up, connection, TLS and answer
    #[arg(
        long, value_name = "DURATION", default_value_t = Span::secs(2), help_heading = "Waiting"
    )]
    pub try_timeout: Span,
    /// The deadline for all of it
    #[arg(
        long, value_name = "DURATION", default_value_t = Span::secs(60), help_heading = "Waiting"
    )]
    pub timeout: Span,

    /// A header to send, Host included (repeatable)
    #[arg(
        long, value_name = "NAME: VALUE", value_parser = HeaderParser, help_heading = "Request"
    )]
    pub header: Vec<Text<RequestHeader>>,
    /// A header to send whose value is in an environment variable (repeatable)
    #[arg(long, value_name = "NAME=VARIABLE", help_heading = "Request")]
    pub header_env: Vec<Text<HeaderFromEnv>>,
}
