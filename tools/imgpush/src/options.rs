//! The options of imgpush.

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_shell::Span;

/// Pushes the image of the release document to its registry and adds the digest to the document
///
/// The image is taken by its id, so that a tag that moved meanwhile changes nothing, and the digest
/// is read back from the registry after the push. A tag that names this image there already is
/// success.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The image to push: an id or a name the engine knows [default: image.id of the document]
    #[arg(long, value_name = "IMAGE")]
    #[schemars(extend("x-trust" = "document"))]
    pub image: Option<String>,
    /// The registry's host name [default: registry.host of the document]
    #[arg(long, value_name = "HOST")]
    #[schemars(extend("x-trust" = "document"))]
    pub registry: Option<String>,
    /// The repository in the registry [default: registry.repository, else image.name]
    #[arg(long, value_name = "NAME")]
    #[schemars(extend("x-trust" = "document"))]
    pub repository: Option<String>,
    /// A tag to push; may be repeated [default: the tags of the document's image]
    #[arg(short, long)]
    #[schemars(extend("x-trust" = "document"))]
    pub tag: Vec<String>,
    /// A tag that follows, such as latest: moved last, and only if it names no newer image; may be repeated
    #[arg(long, value_name = "TAG")]
    #[schemars(extend("x-trust" = "document"))]
    pub also: Vec<String>,
    /// A software bill of materials, SPDX or CycloneDX as JSON, to attach to the image; may be repeated
    #[arg(long, value_name = "FILE")]
    #[schemars(extend("x-trust" = "path"))]
    pub sbom: Vec<String>,
    /// Another file to attach, such as provenance; told by its content unless a type is given; may be repeated
    #[arg(long, value_name = "FILE[=MEDIATYPE]")]
    #[schemars(extend("x-trust" = "path:typed"))]
    pub attach: Vec<String>,
    /// Send the image to this host's engine over SSH, with no registry at all; may be repeated
    #[arg(long, value_name = "ssh://USER@HOST")]
    #[schemars(extend("x-trust" = "document"))]
    pub to: Vec<String>,
    /// Who sends the layers: the engine, imgpush itself, or whoever is faster
    #[arg(long, value_enum, value_name = "WAY", default_value_t = Via::Auto)]
    #[schemars(extend("x-trust" = "document"))]
    pub via: Via,
    /// How layers are compressed that imgpush sends itself; zstd wants Docker 23 where it is pulled
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Compression::Gzip)]
    #[schemars(extend("x-trust" = "document"))]
    pub compression: Compression,
    /// The image of the engine's own platform, or the index of all that it has
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = Platforms::Own)]
    #[schemars(extend("x-trust" = "document"))]
    pub platform: Platforms,
    /// Speak plain HTTP to the registry; to this machine itself that is done anyway
    #[arg(long)]
    #[schemars(extend("x-trust" = "command-line"))]
    pub plain_http: bool,
    /// The deadline for all of it
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(30 * 60))]
    #[schemars(extend("x-trust" = "document"))]
    pub timeout: Span,

    /// With --to: a private key [default: the agent's, then those in ~/.ssh] (repeatable)
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
    /// The engine's socket on the host
    #[arg(long, value_name = "PATH", default_value = "/var/run/docker.sock", help_heading = "SSH")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub docker_socket: String,
}

/// Who sends the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Whoever is faster.
    Auto,
    /// The engine.
    Engine,
    /// imgpush.
    Direct,
}

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// For every engine.
    Gzip,
    /// For Docker 23 and later.
    Zstd,
}

/// Which of an image's platforms are pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Platforms {
    /// That of the engine's own image.
    Own,
    /// All that the engine has.
    All,
}

macro_rules! shown {
    ($($type:ty),+) => {$(
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let value = self.to_possible_value();
                f.write_str(value.as_ref().map_or("", |value| value.get_name()))
            }
        }
    )+};
}
shown!(Via, Compression, Platforms);
