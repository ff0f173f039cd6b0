//! The options, as flags, environment and settings hold them.

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_shell::Span;

/// Replaces the running container of an application on its servers over SSH.
///
/// The image that imgpush pushed is pulled by digest on each host, proved healthy in a container of
/// its own, and only then put in the place of what runs; whatever fails, the old one serves on.
/// Without a command it deploys; `plan` tells what that would do, `rollback` goes back to the release
/// before, `status` tells what is live, and `lock` who deploys at the moment (`lock break` ends that).
#[derive(Args, Serialize, Deserialize, JsonSchema, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// What to do
    #[arg(value_name = "COMMAND", value_enum, default_value_t = Command::Deploy)]
    #[schemars(extend("x-trust" = "command-line"))]
    pub command: Command,
    /// What to do with the lock
    #[arg(value_name = "ACTION", value_enum)]
    #[schemars(extend("x-trust" = "command-line"))]
    pub action: Option<LockAction>,

    /// A server, in order; the first is done alone, before the rest (repeatable)
    #[arg(long, value_name = "USER@HOST[:PORT]")]
    #[schemars(extend("x-trust" = "document"))]
    pub host: Vec<String>,
    /// The application's name on its hosts [default: the repository's last component]
    #[arg(long, value_name = "NAME")]
    #[schemars(extend("x-trust" = "document"))]
    pub app: Option<String>,
    /// What to run, by digest, where no document names it
    #[arg(long, value_name = "REPOSITORY@sha256:…")]
    #[schemars(extend("x-trust" = "document"))]
    pub image: Option<String>,
    /// How the container is replaced
    #[arg(long, value_enum, default_value_t = Strategy::BlueGreen)]
    #[schemars(extend("x-trust" = "document"))]
    pub strategy: Strategy,
    /// Take the port over from this container, which is not ours
    #[arg(long, value_name = "CONTAINER")]
    #[schemars(extend("x-trust" = "document"))]
    pub adopt: Option<String>,
    /// Replace a newer build by an older one
    #[arg(long)]
    #[schemars(extend("x-trust" = "document"))]
    pub allow_older: bool,
    /// Run this in a container of the new image, once, before anything is switched
    #[arg(long, value_name = "COMMAND")]
    #[schemars(extend("x-trust" = "document"))]
    pub release_command: Option<String>,
    /// How long that may take
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(300))]
    #[schemars(extend("x-trust" = "document"))]
    pub release_timeout: Span,
    /// How many releases to keep on a host, the live one included
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    #[schemars(extend("x-trust" = "document"))]
    pub keep: u16,
    /// How long to wait for another deploy of the application to end
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(30))]
    #[schemars(extend("x-trust" = "document"))]
    pub wait_lock: Span,
    /// The disk space that has to be free on a host beside what the image takes
    #[arg(long, value_name = "BYTES", default_value = "256m")]
    #[schemars(extend("x-trust" = "document"))]
    pub min_free: String,
    /// Tell every call to a host's engine, when it was made and how long it took
    #[arg(long)]
    #[schemars(extend("x-trust" = "document"))]
    pub progress: bool,

    /// How long to watch the new container after the switch, with the old one ready to take over
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(5), help_heading = "Blue-green")]
    #[schemars(extend("x-trust" = "document"))]
    pub soak: Span,
    /// How long requests to the old container may take to end before it is stopped
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(30), help_heading = "Blue-green")]
    #[schemars(extend("x-trust" = "document"))]
    pub drain_timeout: Span,

    /// The front's image: HAProxy 2.4 or newer [default: that of the front that runs, else haproxy:3.2]
    #[arg(long, value_name = "IMAGE", help_heading = "Front")]
    #[schemars(extend("x-trust" = "document"))]
    pub front_image: Option<String>,
    /// Replace the front if the name of its image means another one by now; connections are refused
    /// for about a second meanwhile
    #[arg(long, value_enum, default_value_t = FrontUpdate::Never, help_heading = "Front")]
    #[schemars(extend("x-trust" = "document"))]
    pub front_update: FrontUpdate,
    /// Believe what this peer tells of its clients (X-Forwarded-…, X-Real-IP, Forwarded): a load
    /// balancer or proxy before the front (repeatable)
    #[arg(long, value_name = "ADDRESS|CIDR", help_heading = "Front")]
    #[schemars(extend("x-trust" = "document"))]
    pub trusted_proxy: Vec<String>,
    /// How many connections of clients each published port takes at once
    #[arg(long, value_name = "NUMBER", default_value_t = 4096, help_heading = "Front")]
    #[schemars(extend("x-trust" = "document"))]
    pub front_connections: u32,
    /// How many of them one address may have (IPv6: one /64), trusted proxies excepted; 0 for no
    /// limit [default: a quarter]
    #[arg(long, value_name = "NUMBER", help_heading = "Front")]
    #[schemars(extend("x-trust" = "document"))]
    pub front_connections_per_source: Option<u32>,
    /// The largest head of a request or an answer, from 16k to 1m
    #[arg(long, value_name = "BYTES", default_value = "32k", help_heading = "Front")]
    #[schemars(extend("x-trust" = "document"))]
    pub front_header_size: String,
    /// How long a client may take to send the head of a request
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(10), help_heading = "Front")]
    #[schemars(extend("x-trust" = "document"))]
    pub front_request_timeout: Span,
    /// How long a connection may be idle between two requests
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(75), help_heading = "Front")]
    #[schemars(extend("x-trust" = "document"))]
    pub front_keep_alive: Span,
    /// How long a client may take to go on with sending or receiving
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(60), help_heading = "Front")]
    #[schemars(extend("x-trust" = "document"))]
    pub front_client_timeout: Span,
    /// How long the application may take to begin an answer, and to go on with it
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(300), help_heading = "Front")]
    #[schemars(extend("x-trust" = "document"))]
    pub front_response_timeout: Span,
    /// How long an upgraded connection, such as a WebSocket, may be silent
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(3600), help_heading = "Front")]
    #[schemars(extend("x-trust" = "document"))]
    pub front_tunnel_timeout: Span,
    /// Pass an upgrade to this protocol on to the application (repeatable)
    #[arg(long, value_name = "PROTOCOL", default_value = "websocket", help_heading = "Front")]
    #[schemars(extend("x-trust" = "document"))]
    pub front_upgrade: Vec<String>,

    /// Go back to this release [default: the one before the live one]
    #[arg(long, value_name = "DIGEST|DEPLOY_ID", help_heading = "Rollback")]
    #[schemars(extend("x-trust" = "document"))]
    pub to: Option<String>,
    /// Go back only if the document carries an error of a later tool
    #[arg(long, help_heading = "Rollback")]
    #[schemars(extend("x-trust" = "document"))]
    pub on_error: bool,

    /// Print the status as a document or as a table for people
    #[arg(long, value_enum, default_value_t = Format::Json, help_heading = "Status")]
    #[schemars(extend("x-trust" = "document"))]
    pub format: Format,

    /// How many hosts to do at once after the first, as a number or a share such as 25%
    #[arg(long, value_name = "NUMBER|PERCENT", default_value = "1", help_heading = "Fleet")]
    #[schemars(extend("x-trust" = "document"))]
    pub parallel: String,
    /// How long to wait between two batches of hosts
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(0), help_heading = "Fleet")]
    #[schemars(extend("x-trust" = "document"))]
    pub pause: Span,
    /// What to do when a host fails
    #[arg(long, value_enum, default_value_t = OnFailure::Rollback, help_heading = "Fleet")]
    #[schemars(extend("x-trust" = "document"))]
    pub on_failure: OnFailure,
    /// With --on-failure continue: how many hosts have to succeed [default: all]
    #[arg(long, value_name = "NUMBER|PERCENT", help_heading = "Fleet")]
    #[schemars(extend("x-trust" = "document"))]
    pub quorum: Option<String>,

    /// Publish a port of the container on the host (repeatable)
    #[arg(short, long, value_name = "[IP:]PORT:PORT[/udp]", help_heading = "Container")]
    #[schemars(extend("x-trust" = "document"))]
    pub publish: Vec<String>,
    /// Set a variable; a name alone takes its value from this environment (repeatable)
    #[arg(short, long, value_name = "NAME[=VALUE]", help_heading = "Container")]
    #[schemars(extend("x-trust" = "document"))]
    pub env: Vec<String>,
    /// Read variables from a file of docker's format (repeatable)
    #[arg(long, value_name = "FILE", help_heading = "Container")]
    #[schemars(extend("x-trust" = "path"))]
    pub env_file: Vec<String>,
    /// Mount a named volume or a directory of the host (repeatable)
    #[arg(short, long, value_name = "SOURCE:PATH[:OPTIONS]", help_heading = "Container")]
    #[schemars(extend("x-trust" = "document"))]
    pub volume: Vec<String>,
    /// Connect to this network, under the application's name
    #[arg(long, value_name = "NAME", help_heading = "Container")]
    #[schemars(extend("x-trust" = "document"))]
    pub network: Option<String>,
    /// Limit the memory, such as 512m
    #[arg(long, value_name = "BYTES", help_heading = "Container")]
    #[schemars(extend("x-trust" = "document"))]
    pub memory: Option<String>,
    /// Limit the number of processes and threads; -1 for no limit
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 4096,
        allow_negative_numbers = true,
        help_heading = "Container"
    )]
    #[schemars(extend("x-trust" = "document"))]
    pub pids_limit: i64,
    /// Limit the processor time, such as 1.5
    #[arg(long, value_name = "NUMBER", help_heading = "Container")]
    #[schemars(extend("x-trust" = "document"))]
    pub cpus: Option<String>,
    /// Log with this driver [default: the engine's]
    #[arg(long, value_name = "DRIVER", help_heading = "Container")]
    #[schemars(extend("x-trust" = "document"))]
    pub log_driver: Option<String>,
    /// Set an option of the log driver (repeatable)
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Container")]
    #[schemars(extend("x-trust" = "document"))]
    pub log_opt: Vec<String>,
    /// Restart what is live: always, unless-stopped or on-failure[:TIMES]
    #[arg(long, value_name = "POLICY", default_value = "always", help_heading = "Container")]
    #[schemars(extend("x-trust" = "document"))]
    pub restart: String,
    /// Run as this user [default: the image's]
    #[arg(short, long, value_name = "USER[:GROUP]", help_heading = "Container")]
    #[schemars(extend("x-trust" = "document"))]
    pub user: Option<String>,
    /// Mount the container's root file system read-only
    #[arg(long, help_heading = "Container")]
    #[schemars(extend("x-trust" = "document"))]
    pub read_only: bool,
    /// Mount a file system in memory (repeatable)
    #[arg(long, value_name = "PATH[:OPTIONS]", help_heading = "Container")]
    #[schemars(extend("x-trust" = "document"))]
    pub tmpfs: Vec<String>,
    /// Add a Linux capability (repeatable)
    #[arg(long, value_name = "CAPABILITY", help_heading = "Container")]
    #[schemars(extend("x-trust" = "document"))]
    pub cap_add: Vec<String>,
    /// Drop a Linux capability, or ALL (repeatable)
    #[arg(long, value_name = "CAPABILITY", help_heading = "Container")]
    #[schemars(extend("x-trust" = "document"))]
    pub cap_drop: Vec<String>,
    /// Set a security option; no-new-privileges is set unless =false says otherwise (repeatable)
    #[arg(long, value_name = "NAME[=VALUE]", help_heading = "Container")]
    #[schemars(extend("x-trust" = "document"))]
    pub security_opt: Vec<String>,
    /// How long a container may take to stop before it is killed [default: the image's, else 10s]
    #[arg(long, value_name = "DURATION", help_heading = "Container")]
    #[schemars(extend("x-trust" = "document"))]
    pub stop_timeout: Option<Span>,

    /// How the application tells that it is healthy [default: http where a port is known, else container or none]
    #[arg(long, value_name = "KIND", value_enum, help_heading = "Health")]
    #[schemars(extend("x-trust" = "document"))]
    pub health: Option<HealthKind>,
    /// The path that answers 2xx when the application is healthy [default: /health]
    #[arg(long, value_name = "PATH", help_heading = "Health")]
    #[schemars(extend("x-trust" = "document"))]
    pub health_path: Option<String>,
    /// The container's port that is asked [default: that of the first TCP --publish]
    #[arg(long, value_name = "PORT", help_heading = "Health")]
    #[schemars(extend("x-trust" = "document"))]
    pub health_port: Option<u16>,
    /// How long a container may take to become healthy
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(60), help_heading = "Health")]
    #[schemars(extend("x-trust" = "document"))]
    pub health_timeout: Span,
    /// The longest pause between two tries
    #[arg(long, value_name = "DURATION", default_value_t = Span::millis(500), help_heading = "Health")]
    #[schemars(extend("x-trust" = "document"))]
    pub health_interval: Span,
    /// How long the pull may take
    #[arg(long, value_name = "DURATION", default_value_t = Span::secs(600), help_heading = "Health")]
    #[schemars(extend("x-trust" = "document"))]
    pub pull_timeout: Span,

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
    /// The engine's socket on the host
    #[arg(long, value_name = "PATH", default_value = "/var/run/docker.sock", help_heading = "SSH")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub docker_socket: String,
}

/// What to do.
#[derive(ValueEnum, Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Put the release in the place of what runs
    Deploy,
    /// Tell what a deploy would do, and do nothing
    Plan,
    /// Go back to an earlier release
    Rollback,
    /// Tell what is live
    Status,
    /// Tell who deploys at the moment
    Lock,
}

/// What to do with the lock.
#[derive(ValueEnum, Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum LockAction {
    /// Take it from whoever holds it
    Break,
}

/// How the status is printed.
#[derive(ValueEnum, Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// As a document
    Json,
    /// For people
    Table,
}

/// When a front is replaced whose image is out of date.
#[derive(ValueEnum, Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum FrontUpdate {
    /// Tell that there is a newer image on the host, and leave the front as it is
    Never,
    /// Take the image that its name means on the host
    Local,
    /// Pull the image first
    Pull,
}

/// What to do with a fleet when one of its hosts fails.
#[derive(ValueEnum, Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Touch no further host, and take those back that have the new release
    Rollback,
    /// Touch no further host
    Halt,
    /// Go on with the rest
    Continue,
}

/// How an application tells that it is healthy.
#[derive(ValueEnum, Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum HealthKind {
    /// It answers 2xx at --health-path
    Http,
    /// The same by TLS, with any certificate
    Https,
    /// Its port accepts connections
    Tcp,
    /// The image's HEALTHCHECK passes
    Container,
    /// It stays up for some seconds
    None,
}

impl HealthKind {
    /// Its name in options, labels and the document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Container => "container",
            Self::None => "none",
        }
    }
}

/// How the container is replaced.
#[derive(ValueEnum, Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Start the new one beside the old one, and let a front that owns the port pass to it
    BlueGreen,
    /// Prove the new one beside the old one, stop the old one, start the new one on its port
    Recreate,
}

impl Strategy {
    /// Its name in options and in the document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BlueGreen => "blue-green",
            Self::Recreate => "recreate",
        }
    }
}
