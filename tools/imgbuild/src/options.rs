//! The options of imgbuild.

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slipway_shell::Span;

/// Builds a directory with a Dockerfile into an image and adds it to the release document
///
/// The engine's BuildKit builds; DOCKER_HOST says which engine. Without --tag the image is named
/// after the directory, and its tag is the git revision. The Dockerfile may declare ARG
/// SLIPWAY_VERSION, ARG SLIPWAY_REVISION and ARG SLIPWAY_SOURCE_DATE_EPOCH to learn the tag, the
/// revision and its time.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The directory to build; or a tar archive (a file, or a descriptor as /dev/fd/3), or an
    /// address that the engine fetches: of an archive, or of git as URL.git#REF:DIRECTORY
    #[arg(value_name = "CONTEXT", default_value = ".")]
    #[schemars(extend("x-trust" = "path:context"))]
    pub context: String,
    /// The Dockerfile [default: Dockerfile in the directory]; a path inside of what is no directory
    #[arg(long, short, value_name = "PATH")]
    #[schemars(extend("x-trust" = "path"))]
    pub file: Option<String>,
    /// A name for the image; NAME alone gets the tag that is made from git [repeatable]
    #[arg(long, short, value_name = "NAME[:TAG]")]
    #[schemars(extend("x-trust" = "document"))]
    pub tag: Vec<String>,
    /// A value for an ARG; NAME alone takes the value from the environment [repeatable]
    #[arg(long, value_name = "NAME[=VALUE]")]
    #[schemars(extend("x-trust" = "variable:value"))]
    pub build_arg: Vec<String>,
    /// A further source for FROM, COPY --from and RUN --mount: a directory, docker-image://IMAGE or
    /// an address [repeatable]
    #[arg(long, value_name = "NAME=SOURCE")]
    #[schemars(extend("x-trust" = "path:named"))]
    pub build_context: Vec<String>,
    /// The stage to build [default: the last]
    #[arg(long, value_name = "STAGE")]
    #[schemars(extend("x-trust" = "document"))]
    pub target: Option<String>,
    /// The platform to build for, such as linux/amd64 [default: the engine's]; several, separated
    /// by commas, if the engine can
    #[arg(long)]
    #[schemars(extend("x-trust" = "document"))]
    pub platform: Option<String>,
    /// A label for the image [repeatable]
    #[arg(long, value_name = "KEY=VALUE")]
    #[schemars(extend("x-trust" = "document"))]
    pub label: Vec<String>,
    /// Build every step anew
    #[arg(long)]
    #[schemars(extend("x-trust" = "document"))]
    pub no_cache: bool,
    /// Build the steps of this stage anew [repeatable]
    #[arg(long, value_name = "STAGE")]
    #[schemars(extend("x-trust" = "document"))]
    pub no_cache_filter: Vec<String>,
    /// Take results from a cache elsewhere: an image, or type=registry or local [repeatable]
    #[arg(long, value_name = "NAME|type=TYPE[,KEY=VALUE…]")]
    #[schemars(extend("x-trust" = "path:keys"))]
    pub cache_from: Vec<String>,
    /// Keep results in a cache elsewhere: type=inline, registry or local [repeatable]
    #[arg(long, value_name = "type=TYPE[,KEY=VALUE…]")]
    #[schemars(extend("x-trust" = "path:keys"))]
    pub cache_to: Vec<String>,
    /// Look for a newer base image even if there is one already
    #[arg(long)]
    #[schemars(extend("x-trust" = "document"))]
    pub pull: bool,
    /// A secret for RUN --mount=type=secret, from a file or a variable [repeatable]
    #[arg(long, value_name = "id=ID,src=FILE|env=NAME")]
    #[schemars(extend("x-trust" = "path:keys"))]
    pub secret: Vec<String>,
    /// An SSH agent for RUN --mount=type=ssh: yours, or one with these keys [repeatable]
    #[arg(long, value_name = "ID[=SOCKET|KEY[,KEY…]]")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub ssh: Vec<String>,
    /// The network of RUN steps: default, none or host
    #[arg(long, value_name = "MODE")]
    #[schemars(extend("x-trust" = "command-line"))]
    pub network: Option<String>,
    /// A host that RUN steps know; the address may be host-gateway [repeatable]
    #[arg(long, value_name = "HOST:ADDRESS")]
    #[schemars(extend("x-trust" = "document"))]
    pub add_host: Vec<String>,
    /// The size of /dev/shm in RUN steps, such as 128m
    #[arg(long, value_name = "SIZE")]
    #[schemars(extend("x-trust" = "document"))]
    pub shm_size: Option<String>,
    /// A limit of RUN steps, such as nofile=1024:2048 [repeatable]
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    #[schemars(extend("x-trust" = "document"))]
    pub ulimit: Vec<String>,
    /// The time of the image, in seconds since 1970, or `now` [default: that of the variable
    /// SOURCE_DATE_EPOCH, else of the commit]
    #[arg(long, value_name = "SECONDS|now")]
    #[schemars(extend("x-trust" = "document"))]
    pub source_date_epoch: Option<String>,
    /// Fail unless the source is exactly its commit
    #[arg(long)]
    #[schemars(extend("x-trust" = "document"))]
    pub require_clean: bool,
    /// Build nothing if the document's registry has this revision already
    #[arg(long)]
    #[schemars(extend("x-trust" = "document"))]
    pub skip_if_pushed: bool,
    /// The disk space that has to be free where the engine keeps its images
    #[arg(long, value_name = "BYTES", default_value = "256m")]
    #[schemars(extend("x-trust" = "document"))]
    pub min_free: String,
    /// Keep so much of the builder's cache, and take the least recently used away after the build
    #[arg(long, value_name = "BYTES")]
    #[schemars(extend("x-trust" = "document"))]
    pub keep_cache: Option<String>,
    /// The deadline for all of it
    #[arg(long, value_name = "DURATION")]
    #[schemars(extend("x-trust" = "document"))]
    pub timeout: Option<Span>,
}

#[cfg(test)]
impl Options {
    /// Those of a build of `context` without any flag.
    pub(crate) fn of(context: &std::path::Path) -> Self {
        use clap::FromArgMatches as _;
        let command = Self::augment_args(clap::Command::new("imgbuild").no_binary_name(true));
        let matches = command.get_matches_from([context]);
        Self::from_arg_matches(&matches).unwrap()
    }
}
