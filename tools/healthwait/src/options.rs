//! The options of healthwait.

use std::num::NonZeroU32;

use clap::Args;
use clap::builder::UnknownArgumentValueParser;
use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_probe::{
    HeaderIs, JsonCondition, Pointer, Proxies, Resolve, StatusSet, Target, Version,
};
use slipway_shell::Span;

use crate::text::{
    Factor, HeaderFromEnv, Method, Pattern, Percent, RequestHeader, SecretParser, Text,
};

/// What to do instead of not checking a certificate.
const INSECURE: &str = "certificates are always checked: trust the one of the server, or its authority, \
                        with --ca-file FILE";

/// Waits until services answer as they should
///
/// Without targets it waits for the hosts that remote-swap deployed to, as the document names
/// them: through SSH where an application is published on the host's loopback address only. If the document names a release, an answer that tells another version does not count.
/// All targets have to be healthy before the deadline passes (exit 124).
///
/// Targets: http://HOST[:PORT]/PATH and https://…, h2c://… (HTTP/2 without TLS),
/// http+unix:///SOCKET:/PATH, tcp://HOST:PORT, tls://HOST:PORT (a certificate that is trusted),
/// unix:///SOCKET, and container://NAME (its own HEALTHCHECK, as the engine tells it).
///
/// A command after -- runs once they are, and its exit status is that of healthwait. With a document
/// on stdin the command's stdout goes to stderr, and the document is written when it ends; without
/// one healthwait turns into the command, and writes no document.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// What to wait for, such as http://HOST:PORT/PATH or tcp://HOST:PORT; http and https take
    /// USER:PASSWORD@ before the host
    #[arg(value_name = "TARGET", value_parser = SecretParser::<Target>::new())]
    #[schemars(extend("x-trust" = "target"))]
    pub target: Vec<Text<Target>>,
    /// A command to run once all is healthy, after --
    #[arg(last = true, value_name = "COMMAND")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub command: Vec<String>,

    /// The statuses that are good, such as 200, 2xx or 200-299,401 [default: 2xx; with --not any]
    #[arg(long, value_name = "SET", help_heading = "Conditions")]
    #[schemars(extend("x-trust" = "document"))]
    pub expect_status: Option<Text<StatusSet>>,
    /// A regular expression that the body has to match (its first 64 KiB)
    #[arg(long, value_name = "REGEX", help_heading = "Conditions")]
    #[schemars(extend("x-trust" = "document"))]
    pub expect_body: Option<Text<Pattern>>,
    /// What a JSON pointer into the body has to find: /ready, /status=ok, /lag<=5, or with another
    /// of = != < <= > >= =~REGEX (repeatable)
    #[arg(long, value_name = "POINTER[OP VALUE]", help_heading = "Conditions")]
    #[schemars(extend("x-trust" = "document"))]
    pub expect_json: Vec<Text<JsonCondition>>,
    /// A header that the answer has to have: NAME, 'NAME: VALUE' or NAME=~REGEX (repeatable)
    #[arg(long, value_name = "HEADER", help_heading = "Conditions")]
    #[schemars(extend("x-trust" = "document"))]
    pub expect_header: Vec<Text<HeaderIs>>,
    /// How long a try may take: name look-up, connection, TLS and answer
    #[arg(long, value_name = "DURATION", help_heading = "Conditions")]
    #[schemars(extend("x-trust" = "document"))]
    pub expect_latency: Option<Span>,
    /// How long the certificate has to stay valid, such as 14d
    #[arg(long, value_name = "DURATION", help_heading = "Conditions")]
    #[schemars(extend("x-trust" = "document"))]
    pub expect_certificate: Option<Span>,
    /// The version that has to answer [default: the release in the document]
    #[arg(long, value_name = "VERSION", help_heading = "Conditions")]
    #[schemars(extend("x-trust" = "document"))]
    pub expect_version: Option<String>,
    /// Do not check which version answers
    #[arg(long, help_heading = "Conditions")]
    #[schemars(extend("x-trust" = "document"))]
    pub no_version_check: bool,
    /// Where a JSON body tells its version
    #[arg(long, value_name = "POINTER", default_value = "/version", help_heading = "Conditions")]
    #[schemars(extend("x-trust" = "document"))]
    pub version_pointer: Text<Pointer>,
    /// The header that tells the version if the body does not
    #[arg(long, value_name = "NAME", default_value = "x-app-version", help_heading = "Conditions")]
    #[schemars(extend("x-trust" = "document"))]
    pub version_header: Text<HeaderName>,

    /// Wait until the targets are gone: until they do not answer any more, or not in a way that meets
    /// the conditions. The release in the document is no condition then
    #[arg(long, help_heading = "Conditions")]
    #[schemars(extend("x-trust" = "document"))]
    pub not: bool,

    /// How many good answers in a row make a target healthy
    // One could be the last of a container that is about to stop, or the first of one that is
    // about to crash; a second one some milliseconds later costs next to nothing.
    #[arg(long, value_name = "N", default_value = "2", help_heading = "Waiting")]
    #[schemars(extend("x-trust" = "document"))]
    pub consecutive: NonZeroU32,
    /// How long a target has to give good answers, and no other ones, to be healthy
    #[arg(long, value_name = "DURATION", default_value_t = Span::millis(0), help_heading = "Waiting")]
    #[schemars(extend("x-trust" = "document"))]
    pub stable: Span,
    /// From the start of a try to the start of the next [default: 10ms, growing to 50ms]
    #[arg(long, value_name = "DURATION", help_heading = "Waiting")]
    #[schemars(extend("x-trust" = "document"))]
    pub interval: Option<Span>,
    /// Let the interval grow to this while a target is not well
    #[arg(long, value_name = "DURATION", help_heading = "Waiting")]
    #[schemars(extend("x-trust" = "document"))]
    pub max_interval: Option<Span>,
    /// What a growing interval is multiplied by from try to try
    #[arg(long, value_name = "FACTOR", default_value = "2", help_heading = "Waiting")]
    #[schemars(extend("x-trust" = "document"))]
    pub backoff: Text<Factor>,
    /// By how much an interval may be shorter, at random
    #[arg(long, value_name = "PERCENT", default_value = "10%", help_heading = "Waiting")]
    #[schemars(extend("x-trust" = "document"))]
    pub jitter: Text<Percent>,
    /// Give up at what waiting hardly mends: an unexpected 4xx (but 408, 425 and 429), a certificate
    /// for another name, a container that has ended
    #[arg(long, help_heading = "Waiting")]
    #[schemars(extend("x-trust" = "document"))]
    pub fail_fast: bool,
    /// The deadline of one try: name look-up, connection, TLS and answer
    #[arg(
        long, value_name = "DURATION", default_value_t = Span::secs(2), help_heading = "Waiting"
    )]
    #[schemars(extend("x-trust" = "document"))]
    pub try_timeout: Span,
    /// The deadline for all of it
    #[arg(
        long, value_name = "DURATION", default_value_t = Span::secs(60), help_heading = "Waiting"
    )]
    #[schemars(extend("x-trust" = "document"))]
    pub timeout: Span,

    /// A header to send, Host included (repeatable)
    #[arg(
        long, value_name = "NAME: VALUE", value_parser = SecretParser::<RequestHeader>::new(),
        help_heading = "Request"
    )]
    #[schemars(extend("x-trust" = "document"))]
    pub header: Vec<Text<RequestHeader>>,
    /// A header to send whose value is in an environment variable (repeatable)
    #[arg(long, value_name = "NAME=VARIABLE", help_heading = "Request")]
    #[schemars(extend("x-trust" = "variable:destination"))]
    pub header_env: Vec<Text<HeaderFromEnv>>,
    /// The method [default: GET, or POST where there is a body]
    #[arg(long, value_name = "METHOD", help_heading = "Request")]
    #[schemars(extend("x-trust" = "document"))]
    pub method: Option<Text<Method>>,
    /// The body to send, or the file that holds it
    #[arg(long, value_name = "TEXT|@FILE", help_heading = "Request")]
    #[schemars(extend("x-trust" = "path:at"))]
    pub body: Option<String>,
    /// How many redirects to follow, to http and https only; an answer that is one counts as it is
    /// otherwise
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Request")]
    #[schemars(extend("x-trust" = "document"))]
    pub follow: u8,
    /// The only version of HTTP to speak, 1.1 or 2 [default: what TLS settles, without TLS 1.1]
    #[arg(long, value_name = "VERSION", help_heading = "Request")]
    #[schemars(extend("x-trust" = "document"))]
    pub http_version: Option<Text<Version>>,

    /// End when one target is healthy, instead of all
    #[arg(long, help_heading = "Waiting")]
    #[schemars(extend("x-trust" = "document"))]
    pub any: bool,

    /// Connect to these addresses, whatever the resolver says (repeatable)
    #[arg(long, value_name = "HOST:PORT:ADDRESS[,…]", help_heading = "Connection")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub resolve: Vec<Text<Resolve>>,
    /// Go through an HTTP proxy: its URL, or env for what http_proxy and its like say
    #[arg(
        long, value_name = "URL|env", value_parser = SecretParser::<Proxies>::new(),
        help_heading = "Connection"
    )]
    #[schemars(extend("x-trust" = "command-line"))]
    pub proxy: Option<Text<Proxies>>,
    /// Trust these certificate authorities, and not the system's
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub ca_file: Option<String>,
    // Asked for by the habit of other clients, and not to be had.
    #[arg(
        long, hide = true, num_args = 0, default_missing_value = "",
        value_parser = UnknownArgumentValueParser::suggest(INSECURE)
    )]
    #[serde(skip)]
    #[schemars(skip)]
    insecure: Option<String>,
    /// The certificate to show to servers that want one, with its chain
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub client_cert: Option<String>,
    /// Its private key [default: in the same file]
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub client_key: Option<String>,

    /// Reach all targets from this host, through one SSH connection to it
    #[arg(long, value_name = "ssh://USER@HOST[:PORT]", help_heading = "SSH")]
    #[schemars(extend("x-trust" = "document"))]
    pub via: Option<String>,
    /// A private key [default: the agent's, then those in ~/.ssh] (repeatable)
    #[arg(long, value_name = "FILE", help_heading = "SSH")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub identity: Vec<String>,
    /// The environment variable that holds a private key
    #[arg(long, value_name = "NAME", help_heading = "SSH")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub identity_env: Option<String>,
    /// The environment variable that holds the passphrase of the private keys, if they have one
    #[arg(long, value_name = "NAME", help_heading = "SSH")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub identity_passphrase_env: Option<String>,
    /// The file of known host keys [default: ~/.ssh/known_hosts and the system's]
    #[arg(long, value_name = "FILE", help_heading = "SSH")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub known_hosts: Option<String>,
    /// The fingerprint of a host key to accept, instead of known_hosts (repeatable)
    #[arg(long, value_name = "SHA256:…", help_heading = "SSH")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub host_key: Vec<String>,
    /// How long connecting and logging in may take
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(20), help_heading = "SSH")]
    #[schemars(extend("x-trust" = "document"))]
    pub connect_timeout: Span,
    /// With --via: the engine's socket on the host, for container targets
    #[arg(long, value_name = "PATH", default_value = "/var/run/docker.sock", help_heading = "SSH")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub docker_socket: String,
}
