//! What can go wrong, and what it means for the exit code.

use slipway_engine::{ParseReferenceError, Reference};
use slipway_release::{Code, Failure};
use slipway_shell::Span;
use slipway_untrusted::Untrusted;

use crate::attach::FileError;
use crate::tar::TarError;

/// Why the image is not in the registry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing says which image.
    #[error("nothing says which image to push: the document has no image.id")]
    NoImage,
    /// What is to be pushed is no image.
    #[error("\"{image}\" is neither an image's name nor an id")]
    NotAnImage {
        /// What was given.
        image: Untrusted,
    },
    /// Nothing says where to.
    #[error("nothing says where to push: the document has no registry.host")]
    NoRegistry,
    /// Nothing says under which name.
    #[error("nothing says which repository to push to: the document has no image.name")]
    NoRepository,
    /// Nothing says under which tag.
    #[error("nothing says under which tag to push: the document has no image.tag")]
    NoTag,
    /// The registry is no host name.
    #[error("\"{host}\" is not the host name of a registry")]
    NotAHost {
        /// What was given.
        host: Untrusted,
    },
    /// The repository was given with a tag.
    #[error("the repository \"{repository}\" has a tag or a digest in it")]
    TagInRepository {
        /// What was given.
        repository: Untrusted,
    },
    /// A name that is none.
    #[error("{0}")]
    Reference(ParseReferenceError),
    /// A document that was saved has no password.
    #[error("the document has a user name for {host} but no password")]
    NoPassword {
        /// The registry.
        host: Untrusted,
    },
    /// The engine does not have the image.
    #[error("the engine has no image {image}")]
    NoSuchImage {
        /// What was looked for.
        image: Untrusted,
    },
    /// The engine or the registry failed, in pushing this name.
    #[error("{name} could not be pushed: {source}")]
    Push {
        /// The name with its tag.
        name: Untrusted,
        /// What happened.
        source: slipway_engine::Error,
    },
    /// The registry failed, in pushing this name.
    #[error("{name} could not be pushed: {source}")]
    PushRegistry {
        /// The name with its tag.
        name: Untrusted,
        /// What happened.
        source: slipway_registry::Error,
    },
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] slipway_registry::Error),
    /// The engine's export is no image that is known.
    #[error("the engine's export cannot be used: {0}")]
    Export(&'static str),
    /// The engine's layers cannot be read where it keeps them.
    #[error("the engine's layers cannot be read from its directory: {0}")]
    Unreadable(std::io::Error),
    /// A thread that compresses is gone.
    #[error("a layer could not be compressed")]
    Compression,
    /// The engine cannot hold several platforms of an image.
    #[error("the image {image} is of one platform: this engine's store holds no others")]
    OnePlatform {
        /// The image.
        image: Untrusted,
    },
    /// A file could not be attached.
    #[error("{file} could not be attached: {source}")]
    Attach {
        /// The file.
        file: Untrusted,
        /// What happened.
        source: slipway_registry::Error,
    },
    /// A file that is to be attached is not as it has to be.
    #[error(transparent)]
    File(#[from] FileError),
    /// Tags that follow and attached files need more of the registry than the engine can do.
    #[error("{option} needs a registry that can be asked from here")]
    Unasked {
        /// The option.
        option: &'static str,
    },
    /// Options that cannot go together.
    #[error("{0}")]
    Contradiction(&'static str),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] slipway_engine::Error),
    /// The tag is immutable and names something else.
    #[error(
        "{name} is immutable and names another image: {digest} (image {found}), not image {id}"
    )]
    TagConflict {
        /// The name with its tag.
        name: Untrusted,
        /// The image that was to be pushed.
        id: Untrusted,
        /// The manifest that the tag names.
        digest: Untrusted,
        /// The image of that manifest.
        found: Untrusted,
    },
    /// The registry tells another digest than the one that was pushed.
    #[error("{name} is {found} in the registry, but {pushed} was pushed")]
    DigestMismatch {
        /// The name with its tag.
        name: Untrusted,
        /// What was pushed.
        pushed: Untrusted,
        /// What is there.
        found: Untrusted,
    },
    /// The name was moved to another image in the middle of the push.
    #[error("{name} was moved to another image while {id} was being pushed under it")]
    OtherImage {
        /// The name with its tag.
        name: Untrusted,
        /// The image that was to be pushed.
        id: Untrusted,
    },
    /// What imgbuild found is not what the registry has.
    #[error("{}", not_there(name, found, there.as_ref()))]
    NotThere {
        /// The name with its tag.
        name: Untrusted,
        /// What imgbuild found, by digest.
        found: Untrusted,
        /// The digest that the name has in the registry, if it has any.
        there: Option<Untrusted>,
    },
    /// There is no way to a host.
    #[error("{host}: {source}")]
    Host {
        /// The host.
        host: Untrusted,
        /// What happened.
        source: slipway_ssh::Error,
    },
    /// The engine of a host failed.
    #[error("{host}: {source}")]
    HostEngine {
        /// The host.
        host: Untrusted,
        /// What happened.
        source: slipway_engine::Error,
    },
    /// A host, or its engine, does not answer.
    #[error("{host} has not answered within {seconds} s")]
    HostSilent {
        /// The host.
        host: Untrusted,
        /// How long it was waited for.
        seconds: u64,
    },
    /// An engine whose images are named by manifests, or that takes no image without all layers.
    #[error("an image cannot be sent without a registry {place}: its engine is {what}")]
    Store {
        /// From or to which engine.
        place: Untrusted,
        /// What it is.
        what: &'static str,
    },
    /// The host took it all, and has no such image.
    #[error("{host} took the image {id}, and has no image of this id")]
    NotTaken {
        /// The host.
        host: Untrusted,
        /// The image.
        id: Untrusted,
    },
    /// The deadline passed.
    #[error("the push was not done within {limit} (--timeout)")]
    Deadline {
        /// The deadline.
        limit: Span,
    },
}

fn not_there(name: &Untrusted, found: &Untrusted, there: Option<&Untrusted>) -> String {
    let there = there.map_or("not there".to_owned(), Untrusted::to_string);
    format!("imgbuild found {found} and built nothing, but {name} is {there}")
}

impl Error {
    /// Whether the same may succeed a moment later without a change.
    pub(crate) fn transient(&self) -> bool {
        match self {
            Self::Engine(source) | Self::Push { source, .. } => source.transient(),
            Self::Registry(source)
            | Self::PushRegistry { source, .. }
            | Self::Attach { source, .. } => source.transient(),
            _ => false,
        }
    }

    /// Says which name an engine's error is about.
    pub(crate) fn about(self, name: &Reference) -> Self {
        match self {
            Self::Engine(source) => Self::Push { name: name.to_string().into(), source },
            Self::Registry(source) => Self::PushRegistry { name: name.to_string().into(), source },
            other => other,
        }
    }
}

impl From<TarError> for Error {
    fn from(error: TarError) -> Self {
        Self::Export(error.0)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, hint) = match &error {
            Error::NoImage => {
                (Code::MissingSection, "run imgbuild earlier in the pipe, or give --image")
            }
            Error::NoRegistry => {
                (Code::MissingSection, "run ecrlogin earlier in the pipe, or give --registry")
            }
            Error::NoRepository => (Code::MissingSection, "give --repository"),
            Error::NoTag => (Code::MissingSection, "give --tag"),
            Error::NotAnImage { .. } => {
                (Code::Usage, "give --image a name such as web:1, or an id")
            }
            Error::NotAHost { .. } => (
                Code::Usage,
                "a host name has a dot or a port, such as registry.example or localhost:5000",
            ),
            Error::TagInRepository { .. } => (Code::Usage, "tags are given with --tag"),
            Error::Reference(_) => {
                (Code::Usage, "look at --repository, --tag and the image's name")
            }
            Error::NoPassword { .. } => (
                Code::RegistryDenied,
                "a saved document holds no secret: `ecrlogin < saved.json | imgpush` gets a fresh one",
            ),
            Error::NoSuchImage { .. } => (
                Code::ImageNotFound,
                "was it built on this engine? look at DOCKER_HOST and `docker image ls`",
            ),
            Error::Push { source, .. } | Error::Engine(source) => {
                return Failure::new(source.code(), error.to_string())
                    .hint(source.hint())
                    .retryable(source.transient());
            }
            Error::File(error) => return error.failure(),
            Error::PushRegistry { source, .. }
            | Error::Attach { source, .. }
            | Error::Registry(source) => {
                return Failure::new(source.code(), error.to_string())
                    .hint(source.hint())
                    .retryable(source.transient());
            }
            Error::Host { source, .. } => return source.failure(error.to_string()),
            Error::HostEngine { source, .. } => {
                return Failure::new(source.code(), error.to_string())
                    .hint(source.hint())
                    .retryable(source.transient());
            }
            Error::HostSilent { .. } => {
                (Code::ConnectionLost, "look at the host: is its engine at work, its disk full?")
            }
            Error::Store { .. } => {
                (Code::EngineUnsupported, "push to a registry: ecrlogin | imgpush, without --to")
            }
            Error::NotTaken { .. } => {
                (Code::DigestMismatch, "look at the engine's log on the host")
            }
            Error::Export(crate::assemble::PLATFORMS) => (
                Code::EngineUnsupported,
                "build or pull it for all of them, or push the engine's own platform: --platform own",
            ),
            Error::Export(_) | Error::Unreadable(_) => {
                (Code::EngineError, "let the engine push it: --via engine")
            }
            Error::Compression => (Code::Internal, "please report it"),
            Error::OnePlatform { .. } => (
                Code::EngineUnsupported,
                "an engine with the containerd image store holds several (Docker 25 and later, \"features\": {\"containerd-snapshotter\": true})",
            ),
            Error::Unasked { .. } => (
                Code::RegistryUnreachable,
                "the line above tells why it cannot: look at the name, the proxy, the CA (SSL_CERT_FILE), or leave the option out",
            ),
            Error::Contradiction(_) => (Code::Usage, "imgpush --help lists the options"),
            Error::TagConflict { .. } => (
                Code::TagConflict,
                "push under another tag, or let the repository's tags be mutable",
            ),
            Error::DigestMismatch { .. } | Error::OtherImage { .. } => (
                Code::DigestMismatch,
                "another push moved the tag at the same moment; give each build a tag of its own",
            ),
            Error::NotThere { .. } => (
                Code::ManifestNotFound,
                "run imgbuild again, without --skip-if-pushed if it is to go to another place",
            ),
            Error::Deadline { .. } => {
                (Code::DeadlineExceeded, "what was sent stays: the next push sends the rest")
            }
        };
        let retryable = matches!(
            error,
            Error::Deadline { .. }
                | Error::HostSilent { .. }
                | Error::DigestMismatch { .. }
                | Error::OtherImage { .. }
        );
        Failure::new(code, error.to_string()).hint(hint).retryable(retryable)
    }
}
