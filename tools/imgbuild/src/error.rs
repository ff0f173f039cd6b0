//! What can go wrong, and what it means for the exit code.

use std::path::{Path, PathBuf};

use serde_json::json;
use slipway_engine::RegistryFault;
use slipway_release::{Code, Failure};
use slipway_shell::Span;
use slipway_untrusted::clean_line;

use crate::beneath::Fault;
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
    #[error("{place}: {why}", place = place(path, *line))]
    BadIgnoreFile { path: PathBuf, line: Option<usize>, why: String },
    #[error("{path} {why}", path = path.display())]
    NotAFile { path: PathBuf, why: String },
    #[error("{path} cannot be read: {why}", path = short(path), why = reason(source))]
    Unreadable { path: PathBuf, source: std::io::Error },
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
    #[error("{role} {image} cannot be had: {why}")]
    BaseImage { role: Role, image: String, fault: Option<RegistryFault>, why: String },
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

/// What an image is to a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Role {
    /// That of a FROM, or one that is copied from.
    #[error("the base image")]
    Base,
    /// That of `# syntax=`, which reads the Dockerfile.
    #[error("the Dockerfile frontend")]
    Frontend,
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

/// The path, without its middle if it is so long that nothing behind it would be shown.
fn short(path: &Path) -> String {
    const ENDS: usize = 400;
    let text = path.display().to_string();
    if text.len() <= 2 * ENDS {
        return text;
    }
    let begin = &text[..text.floor_char_boundary(ENDS)];
    let end = &text[text.ceil_char_boundary(text.len() - ENDS)..];
    format!("{begin}…{end}")
}

fn place(path: &Path, line: Option<usize>) -> String {
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
    /// Of a file that was looked for below a directory.
    pub(crate) fn of_file(path: &Path, fault: Fault) -> Self {
        let path = path.to_owned();
        match fault {
            Fault::Unreadable(source) => Self::Unreadable { path, source },
            fault => Self::NotAFile { path, why: fault.to_string() },
        }
    }

    fn code(&self) -> Code {
        use slipway_engine::Error as E;
        match self {
            Self::ContextMissing { .. } | Self::NoArchive { .. } => Code::ContextNotFound,
            Self::DockerfileMissing { .. } => Code::DockerfileNotFound,
            Self::Dockerfile { .. } | Self::StageMissing { .. } | Self::BadIgnoreFile { .. } => {
                Code::DockerfileInvalid
            }
            Self::Unreadable { .. } | Self::NotAFile { .. } | Self::CacheNotKept { .. } => {
                Code::FileUnreadable
            }
            Self::BadOption { .. } => Code::Usage,
            Self::SecretMissing { .. } | Self::SecretNotGiven { .. } | Self::SshNotGiven { .. } => {
                Code::BuildSecretMissing
            }
            Self::BadSshKey { .. } => Code::SshKeyUnusable,
            Self::Step { .. } | Self::Build { .. } => Code::BuildFailed,
            Self::BaseImage { fault, .. } => base_code(*fault),
            Self::CredentialHelper { .. } | Self::BadDockerConfig { .. } => {
                Code::DockerConfigFailed
            }
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
            Self::Unreadable { .. } => "make it readable, or name it in .dockerignore".to_owned(),
            Self::NotAFile { .. } => {
                "a regular file in the directory is wanted: copy it there, or give another with --file".to_owned()
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
            Self::BaseImage { role: Role::Frontend, .. } => {
                "the line `# syntax=` of the Dockerfile names it: without that line the engine uses its own".to_owned()
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

/// An image that a registry does not give is told from a registry that gives nothing.
fn base_code(fault: Option<RegistryFault>) -> Code {
    use RegistryFault as F;
    match fault {
        Some(F::Unreachable | F::Tls) => Code::RegistryUnreachable,
        Some(F::Unauthorized | F::Denied) => Code::RegistryDenied,
        _ => Code::BaseImageUnavailable,
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
        // Names of files, and what the engine says, may hold anything.
        let shown = |text: &str| clean_line(text).into_owned();
        let failure = Self::new(error.code(), shown(&error.to_string()))
            .hint(shown(&error.hint()))
            .retryable(error.retryable());
        match &error {
            Error::NotClean { changes } => {
                failure.evidence(json!({ "files": changes.names(), "count": changes.count }))
            }
            Error::Step { step } => failure.evidence(json!({
                "stage": step.stage,
                "step": step.number,
                "steps": step.of,
                "instruction": step.text,
                "dockerfile": shown(&step.path.display().to_string()),
                "line": step.line,
                "exit_code": step.exit_code,
                "log": step.log,
            })),
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_release::exit;

    #[test]
    fn each_code_has_one_exit_code() {
        use RegistryFault as F;
        let base = |fault| Error::BaseImage {
            role: Role::Base,
            image: "r.example/x".into(),
            fault,
            why: "no".into(),
        };
        for (fault, code, exit) in [
            (None, "base_image_unavailable", exit::FAILED),
            (Some(F::ManifestUnknown), "base_image_unavailable", exit::FAILED),
            (Some(F::Unreachable), "registry_unreachable", exit::UNREACHABLE),
            (Some(F::Tls), "registry_unreachable", exit::UNREACHABLE),
            (Some(F::Unauthorized), "registry_denied", exit::NOT_ALLOWED),
            (Some(F::Denied), "registry_denied", exit::NOT_ALLOWED),
        ] {
            let failure = Failure::from(base(fault));
            assert_eq!((failure.code.as_str(), failure.exit), (code, exit), "{fault:?}");
        }
    }

    #[test]
    fn what_is_told_steers_no_terminal() {
        let path = PathBuf::from("a\n\u{1b}]0;x\u{7}b");
        let failure = Failure::from(Error::NotAFile { path, why: "is a directory".into() });
        assert_eq!(failure.message, "a \\u{1b}]0;x\\u{7}b is a directory");
    }
}
