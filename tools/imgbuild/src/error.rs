//! What can go wrong, and what it means for the exit code.

use std::path::PathBuf;

use serde_json::json;
use slipway_engine::RegistryFault;
use slipway_release::{Code, Failure, exit};
use slipway_shell::Span;

use crate::git::Changes;

use crate::ssh::BadKey;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the directory {path} {why}", path = path.display())]
    ContextMissing { path: PathBuf, why: String },
    #[error("{path} is neither a directory nor a tar archive", path = path.display())]
    NoArchive { path: PathBuf },
    #[error("there is no Dockerfile at {path}", path = path.display())]
    DockerfileMissing { path: PathBuf, beside: Option<PathBuf> },
    #[error("{place}: {why}", place = place(path, *line))]
    Dockerfile { path: PathBuf, line: Option<usize>, why: String },
    #[error("{path}: {why}", path = path.display())]
    BadIgnoreFile { path: PathBuf, why: String },
    #[error("{path} cannot be read: {why}", path = path.display(), why = reason(source))]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the name of {path} is not UTF-8 text, which BuildKit cannot take", path = path.display())]
    NameNotText { path: PathBuf },
    #[error("{option}: {why}")]
    BadOption { option: &'static str, why: String },
    #[error("the secret `{id}` is missing: {why}")]
    SecretMissing { id: String, why: String },
    #[error("the Dockerfile wants the secret `{id}`, which was not given")]
    SecretNotGiven { id: String },
    #[error("the SSH key {path} cannot be used: {why}", path = path.display())]
    BadSshKey { path: PathBuf, why: BadKey },
    #[error("the Dockerfile wants the SSH agent `{id}`, which was not given")]
    SshNotGiven { id: String },
    #[error("the stage `{stage}` is not in {path}", path = path.display())]
    StageMissing { stage: String, path: PathBuf },
    #[error("{}", step.sentence())]
    Step { step: Box<FailedStep> },
    #[error("the base image {image} cannot be had: {why}")]
    BaseImage { image: String, fault: Option<RegistryFault>, why: String },
    #[error("docker-credential-{name} has no login for {host}: {why}")]
    CredentialHelper { name: String, host: String, why: String },
    #[error("{path}: {why}", path = path.display())]
    BadDockerConfig { path: PathBuf, why: String },
    #[error("the build failed: {why}")]
    Build { why: String },
    #[error("the cache in {path} cannot be kept: {why}", path = path.display())]
    CacheNotKept { path: PathBuf, why: String },
    #[error("this engine cannot do {option}: {why}")]
    EngineCannot { option: &'static str, why: String, hint: &'static str },
    #[error("the source is not its commit: {}", changes.sentence())]
    NotClean { changes: Changes },
    #[error("{}", no_revision(why.as_deref()))]
    NoRevision { why: Option<String> },
    #[error("nothing says which registry to ask for --skip-if-pushed")]
    NoRegistry,
    #[error("the tag {tag} does not tell the revision, which --skip-if-pushed goes by")]
    TagWithoutRevision { tag: String },
    #[error(
        "{free} free where the engine keeps its images ({root}), less than the {wanted} of --min-free"
    )]
    DiskLow { free: String, wanted: String, root: String },
    #[error("the build was not done within {limit} (--timeout)")]
    Deadline { limit: Span },
    #[error("the engine's disk is full: {why}")]
    DiskFull { why: String },
    #[error("the engine said {told} was built, but does not have it: {why}")]
    ImageLost { told: String, why: String },
    #[error(transparent)]
    Engine(#[from] slipway_engine::Error),
}

/// A step of the Dockerfile that failed.
#[derive(Debug, Default)]
pub(crate) struct FailedStep {
    pub(crate) stage: Option<String>,
    pub(crate) number: u32,
    pub(crate) of: u32,
    /// The instruction as the engine tells it.
    pub(crate) text: String,
    pub(crate) path: PathBuf,
    pub(crate) line: Option<usize>,
    /// Of a RUN.
    pub(crate) exit_code: Option<i64>,
    /// The engine's reason where there is no exit code.
    pub(crate) why: String,
    /// The last lines of its output.
    pub(crate) log: Vec<String>,
}

impl FailedStep {
    fn sentence(&self) -> String {
        let stage =
            self.stage.as_ref().map(|stage| format!(" of stage {stage}")).unwrap_or_default();
        let place = place(&self.path, self.line);
        let what = match self.exit_code {
            Some(code) => format!("ended with exit code {code}"),
            None => format!("failed: {}", self.why),
        };
        let text: String = self.text.chars().take(120).collect();
        let more = if text.len() < self.text.len() { "…" } else { "" };
        format!("step {}/{}{stage} ({place}) {what}: {text}{more}", self.number, self.of)
    }
}

fn no_revision(why: Option<&str>) -> String {
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    format!("git knows no commit of the source{why}")
}

fn place(path: &std::path::Path, line: Option<usize>) -> String {
    match line {
        Some(line) => format!("{} line {line}", path.display()),
        None => path.display().to_string(),
    }
}

/// The system's reason as a fragment, without `(os error 13)`.
pub(crate) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let plain = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = plain.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

impl Error {
    fn code(&self) -> Code {
        use slipway_engine::Error as E;
        match self {
            Self::ContextMissing { .. } | Self::NoArchive { .. } => Code::ContextNotFound,
            Self::DockerfileMissing { .. } => Code::DockerfileNotFound,
            Self::Dockerfile { .. } | Self::StageMissing { .. } | Self::BadIgnoreFile { .. } => {
                Code::DockerfileInvalid
            }
            Self::Unreadable { .. } | Self::NameNotText { .. } | Self::CacheNotKept { .. } => {
                Code::FileUnreadable
            }
            Self::BadOption { .. } => Code::Usage,
            Self::SecretMissing { .. } | Self::SecretNotGiven { .. } | Self::SshNotGiven { .. } => {
                Code::BuildSecretMissing
            }
            Self::BadSshKey { .. } => Code::SshKeyUnusable,
            Self::Step { .. } | Self::Build { .. } => Code::BuildFailed,
            Self::BaseImage { .. }
            | Self::CredentialHelper { .. }
            | Self::BadDockerConfig { .. } => Code::BaseImageUnavailable,
            Self::EngineCannot { .. } => Code::EngineUnsupported,
            Self::NotClean { .. } | Self::NoRevision { .. } => Code::SourceNotClean,
            Self::NoRegistry => Code::MissingSection,
            Self::TagWithoutRevision { .. } => Code::Usage,
            Self::Deadline { .. } => Code::DeadlineExceeded,
            Self::DiskFull { .. } | Self::DiskLow { .. } | Self::Engine(E::DiskFull { .. }) => {
                Code::DiskFull
            }
            Self::ImageLost { .. } => Code::ImageNotFound,
            Self::Engine(E::Unreachable { .. } | E::Interrupted { .. }) => Code::EngineUnreachable,
            Self::Engine(E::PermissionDenied { .. }) => Code::EngineDenied,
            Self::Engine(E::UnsupportedHost { .. }) => Code::Usage,
            Self::Engine(_) => Code::EngineError,
        }
    }

    fn hint(&self) -> String {
        use slipway_engine::Error as E;
        match self {
            Self::DockerfileMissing { beside: Some(beside), .. } => {
                format!("--file is taken from the working directory: --file {}", beside.display())
            }
            Self::DockerfileMissing { beside: None, .. } => {
                "give the directory that holds it, or --file PATH".to_owned()
            }
            Self::NoArchive { .. } => {
                "give the directory to build, or an archive of it; a Dockerfile goes with --file".to_owned()
            }
            Self::ContextMissing { .. } => "give the directory to build as the argument".to_owned(),
            Self::Unreadable { source, .. }
                if source.kind() == std::io::ErrorKind::IsADirectory =>
            {
                "a file is wanted there: give another with --file".to_owned()
            }
            Self::Unreadable { .. } => "make it readable, or name it in .dockerignore".to_owned(),
            Self::NameNotText { .. } => {
                "rename it, or keep its directory out with .dockerignore".to_owned()
            }
            Self::BadSshKey { why: BadKey::Encrypted, .. } => {
                "add it to an agent with ssh-add, and give --ssh default".to_owned()
            }
            Self::BadSshKey { .. } => {
                "an agent takes more kinds: ssh-add it, and give --ssh default; or make one with ssh-keygen -t ed25519".to_owned()
            }
            Self::SshNotGiven { id } => {
                format!("give --ssh {id} for your agent, or --ssh {id}=KEYFILE")
            }
            Self::SecretNotGiven { id } => {
                format!("give --secret id={id},src=FILE or --secret id={id},env=NAME")
            }
            Self::Dockerfile { .. } => {
                "the Dockerfile reference tells each instruction's form".to_owned()
            }
            Self::BadIgnoreFile { .. } => {
                "a pattern is a path with *, ?, [a-z] and **; \\ takes their meaning".to_owned()
            }
            Self::StageMissing { .. } => {
                "a stage gets its name from `FROM image AS name`".to_owned()
            }
            Self::Step { step } => step_hint(step).to_owned(),
            Self::CredentialHelper { .. } | Self::BadDockerConfig { .. } => {
                "config.json of docker asks for it: mend it there, or set DOCKER_CONFIG to another directory".to_owned()
            }
            Self::BaseImage { fault, .. } => base_hint(*fault).to_owned(),
            Self::CacheNotKept { .. } => "the image is built; give a directory that can be written".to_owned(),
            Self::EngineCannot { hint, .. } => (*hint).to_owned(),
            Self::NotClean { .. } => "commit it, put it away, or name it in .gitignore".to_owned(),
            Self::NoRevision { .. } => "build a checkout of a git repository".to_owned(),
            Self::NoRegistry => "run ecrlogin before imgbuild in the pipe".to_owned(),
            Self::TagWithoutRevision { .. } => {
                "give --tag the name alone, or a tag with the first 12 digits of the commit"
                    .to_owned()
            }
            Self::Deadline { .. } => {
                "what was built is in the builder's cache: the next build goes on from there"
                    .to_owned()
            }
            Self::DiskFull { .. } | Self::DiskLow { .. } | Self::Engine(E::DiskFull { .. }) => {
                "make room on the engine's disk, such as with `docker builder prune`".to_owned()
            }
            Self::Engine(error) => error.hint().to_owned(),
            Self::BadOption { option, .. } => format!("imgbuild --help tells the form of {option}"),
            Self::SecretMissing { .. } => {
                "a secret is a file that is not empty (src=), or a variable that is set (env=)"
                    .to_owned()
            }
            Self::Build { .. } => "the engine's own words; its output is above".to_owned(),
            Self::ImageLost { .. } => {
                "something removed it: is a prune running? build again".to_owned()
            }
        }
    }

    fn retryable(&self) -> bool {
        match self {
            Self::Engine(error) => error.transient(),
            Self::Deadline { .. } => true,
            Self::BaseImage { fault, .. } => fault.is_some_and(RegistryFault::transient),
            _ => false,
        }
    }
}

fn step_hint(step: &FailedStep) -> &'static str {
    match step.exit_code {
        Some(137) => "137 means that it was killed, most often for want of memory",
        Some(127) => "127 means that a command was not found in the image",
        Some(_) if step.log.is_empty() => "it said nothing; add `set -x` to see how far it gets",
        Some(_) => "its output is above",
        None if step.text.starts_with("ADD") && step.text.contains("://") => {
            "can the engine reach that address? it is the engine that fetches it"
        }
        None if step.text.starts_with("COPY") || step.text.starts_with("ADD") => {
            "is the path in the directory that is built, and not kept out by .dockerignore?"
        }
        None => "look at this line of the Dockerfile",
    }
}

fn base_hint(fault: Option<RegistryFault>) -> &'static str {
    use RegistryFault as F;
    match fault {
        Some(F::Unauthorized | F::Denied) => {
            "does it exist? for a private one run ecrlogin before imgbuild, so that the document has credentials for its registry"
        }
        Some(F::Unreachable | F::Tls) => {
            "can the engine reach that registry, and does it trust its certificate?"
        }
        Some(F::RateLimited) => "wait, or use a mirror or a copy of the image in your own registry",
        Some(F::PlatformMissing) => "choose a --platform that the image has",
        Some(F::ServerError) => "the registry has a problem; try again later",
        _ => "look at the FROM line: name, tag and registry",
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut failure = Failure::new(error.code(), error.to_string())
            .hint(error.hint())
            .retryable(error.retryable());
        // The registry of a base image tells more than the code does.
        match &error {
            Error::BaseImage { fault: Some(RegistryFault::Unreachable), .. } => {
                failure.exit = exit::UNREACHABLE;
            }
            Error::CredentialHelper { .. }
            | Error::BaseImage { fault: Some(RegistryFault::Unauthorized), .. } => {
                failure.exit = exit::NOT_ALLOWED;
            }
            _ => {}
        }
        if let Error::NotClean { changes } = &error {
            failure = failure.evidence(json!({ "files": changes.names(), "count": changes.count }));
        }
        if let Error::Step { step } = &error {
            failure = failure.evidence(json!({
                "stage": step.stage,
                "step": step.number,
                "steps": step.of,
                "instruction": step.text,
                "dockerfile": step.path.display().to_string(),
                "line": step.line,
                "exit_code": step.exit_code,
                "log": step.log,
            }));
        }
        failure
    }
}
