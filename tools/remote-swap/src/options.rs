//! The options, as flags, environment and settings hold them.

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_shell::Span;

/// Replaces the running container of an application on its servers over SSH.
///
/// The image that imgpush pushed is pulled by digest on each host, proved healthy in a container of
/// its own, and only then put in the place of what runs; whatever fails, the old one serves on.
#[derive(Args, Serialize, Deserialize, JsonSchema, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// A server, in order; the first that fails keeps the rest from being touched (repeatable)
    #[arg(long, value_name = "USER@HOST[:PORT]")]
    pub host: Vec<String>,
    /// The application's name on its hosts [default: the repository's last component]
    #[arg(long, value_name = "NAME")]
    pub app: Option<String>,
    /// What to run, by digest, where no document names it
    #[arg(long, value_name = "REPOSITORY@sha256:…")]
    pub image: Option<String>,
    /// How the container is replaced
    #[arg(long, value_enum, default_value_t = Strategy::Recreate)]
    pub strategy: Strategy,

    /// Publish a port of the container on the host (repeatable)
    #[arg(short, long, value_name = "[IP:]PORT:PORT[/udp]", help_heading = "Container")]
    pub publish: Vec<String>,
    /// Set a variable; a name alone takes its value from this environment (repeatable)
    #[arg(short, long, value_name = "NAME[=VALUE]", help_heading = "Container")]
    pub env: Vec<String>,
    /// Read variables from a file of docker's format (repeatable)
    #[arg(long, value_name = "FILE", help_heading = "Container")]
    pub env_file: Vec<String>,
    /// Mount a named volume or a directory of the host (repeatable)
    #[arg(short, long, value_name = "SOURCE:PATH[:OPTIONS]", help_heading = "Container")]
    pub volume: Vec<String>,
    /// Connect to this network, under the application's name
    #[arg(long, value_name = "NAME", help_heading = "Container")]
    pub network: Option<String>,
    /// Limit the memory, such as 512m
    #[arg(long, value_name = "BYTES", help_heading = "Container")]
    pub memory: Option<String>,
    /// Limit the processor time, such as 1.5
    #[arg(long, value_name = "NUMBER", help_heading = "Container")]
    pub cpus: Option<String>,
    /// Log with this driver [default: the engine's]
    #[arg(long, value_name = "DRIVER", help_heading = "Container")]
    pub log_driver: Option<String>,
    /// Set an option of the log driver (repeatable)
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Container")]
    pub log_opt: Vec<String>,
    /// Restart what is live: always, unless-stopped or on-failure[:TIMES]
    #[arg(long, value_name = "POLICY", default_value = "always", help_heading = "Container")]
    pub restart: String,
    /// How long a container may take to stop before it is killed [default: the image's, else 10s]
    #[arg(long, value_name = "DURATION", help_heading = "Container")]
    pub stop_timeout: Option<Span>,

    /// The path that answers 2xx when the application is healthy
    #[arg(long, value_name = "PATH", default_value = "/health", help_heading = "Health")]
    pub health_path: String,
    /// The container's port that is asked [default: that of the first TCP --publish]
    #[arg(long, value_name = "PORT", help_heading = "Health")]
    pub health_port: Option<u16>,
    /// How long a container may take to become healthy
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(60), help_heading = "Health")]
    pub health_timeout: Span,
    /// The longest pause between two tries
    #[arg(long, value_name = "DURATION", default_value_t = Span::millis(500), help_heading = "Health")]
    pub health_interval: Span,
    /// How long the pull may take
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(600), help_heading = "Health")]
    pub pull_timeout: Span,

    /// A private key [default: the agent's, then those in ~/.ssh] (repeatable)
    #[arg(long, value_name = "FILE", help_heading = "SSH")]
    pub identity: Vec<String>,
    /// The environment variable that holds a private key
    #[arg(long, value_name = "NAME", help_heading = "SSH")]
    pub identity_env: Option<String>,
    /// The file of known host keys [default: ~/.ssh/known_hosts and the system's]
    #[arg(long, value_name = "FILE", help_heading = "SSH")]
    pub known_hosts: Option<String>,
    /// The fingerprint of a host key to accept, instead of known_hosts (repeatable)
    #[arg(long, value_name = "SHA256:…", help_heading = "SSH")]
    pub host_key: Vec<String>,
    /// How long connecting and logging in may take
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(20), help_heading = "SSH")]
    pub connect_timeout: Span,
    /// The engine's socket on the host
    #[arg(long, value_name = "PATH", default_value = "/var/run/docker.sock", help_heading = "SSH")]
    pub docker_socket: String,
}

/// How the container is replaced.
#[derive(ValueEnum, Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Prove the new one beside the old one, stop the old one, start the new one on its port
    Recreate,
}

impl Strategy {
    /// Its name in options and in the document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recreate => "recreate",
        }
    }
}
