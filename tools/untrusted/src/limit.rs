//! How much is read of what comes from outside.

use std::fmt;
use std::io::{self, BufRead, Read};

use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The most that is read of one thing from outside.
#[derive(Debug, PartialEq, Eq)]
pub struct Limit {
    /// What it is, in the words of docs/security.md and of the error.
    pub what: &'static str,
    /// The most that is taken, in bytes.
    pub bytes: u64,
    /// What happens beyond it, in the words of docs/security.md.
    pub beyond: &'static str,
}

/// There is more than the limit lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} is larger than {}", Size(*.bytes))]
pub struct TooLarge {
    /// What is too large.
    pub what: &'static str,
    /// The limit, in bytes.
    pub bytes: u64,
}

impl From<TooLarge> for io::Error {
    /// Of the kind [`io::ErrorKind::FileTooLarge`], with the [`TooLarge`] in it.
    fn from(error: TooLarge) -> Self {
        Self::new(io::ErrorKind::FileTooLarge, error)
    }
}

/// Why a body could not be read whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is larger than the limit.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The connection failed.
    #[error("{0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident = $bytes:expr, $what:literal, $beyond:literal;)+) => {
        $(
            $(#[doc = $doc])+
            pub const $name: Limit = Limit { what: $what, bytes: $bytes, beyond: $beyond };
        )+

        /// Every limit, in the order of docs/security.md.
        pub const ALL: &[Limit] = &[$($name,)+];
    };
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

limits! {
    /// A release document on stdin.
    DOCUMENT = 16 * MIB, "the release document", "`bad_input`";
    /// A Dockerfile.
    DOCKERFILE = MIB, "the Dockerfile", "`dockerfile_invalid`";
    /// A `.dockerignore`.
    IGNORE_FILE = MIB, "the ignore file", "`dockerfile_invalid`";
    /// A private key for SSH.
    PRIVATE_KEY = 64 * KIB, "the private key", "`ssh_key_unusable`";
    /// A file of known host keys.
    KNOWN_HOSTS = 8 * MIB, "the file of known host keys", "`file_too_large`";
    /// A file of environment variables.
    ENV_FILE = MIB, "the env file", "`file_too_large`";
    /// A secret of a build; the limit is BuildKit's own (`MaxSecretSize`, which it calls 500 KB).
    BUILD_SECRET = 500 * KIB, "the build secret", "`build_secret_missing`";
    /// One message between a build step and an SSH agent; the limit is OpenSSH's own.
    AGENT_MESSAGE = 256 * KIB, "a message of the SSH agent", "the step's connection to the agent ends";
    /// Docker's `config.json`.
    DOCKER_CONFIG = MIB, "Docker's configuration", "`docker_config_failed`";
    /// The answer of a credential helper, or of another small program.
    PROGRAM_OUTPUT = MIB, "the program's output", "the program is stopped; the error of what it was for";
    /// A variable in which a CI server tells of its build.
    CI_VARIABLE = 4 * KIB, "a variable of the CI server", "it counts as not set";
    /// What git prints; of lists, one entry.
    GIT_OUTPUT = 8 * MIB, "git's output", "git is stopped; the revision counts as unknown, with a warning";
    /// A small file of a repository's, such as its configuration.
    GIT_FILE = MIB, "the file of git's", "the revision counts as unknown, with a warning";
    /// A file of certificates.
    CERTIFICATES = 4 * MIB, "the file of certificates", "`file_too_large`";
    /// A whole answer of an engine, such as a list of containers.
    ENGINE_ANSWER = 16 * MIB, "the engine's answer", "`engine_error`";
    /// One message of BuildKit's account of a build: a megabyte of a step's output, and what goes
    /// with it. Docker's own client takes as much.
    BUILD_STATUS = 16 * MIB, "a message of the builder", "the rest of the account is not shown";
    /// The metadata of one request of the builder: the rules of the largest ignore file, encoded.
    BUILD_METADATA = 64 * MIB, "the rules that the builder passes on", "`build_failed`";
    /// An answer of an engine about one thing, such as a container; or one line or message in a
    /// stream of it.
    ENGINE_MESSAGE = MIB, "a message of the engine", "`engine_error`";
    /// What an engine says of a request that it refuses.
    ENGINE_REFUSAL = 64 * KIB, "the engine's error message", "`engine_error`";
    /// What a login shell prints on a host before it runs a command.
    SHELL_GREETING = 64 * KIB, "what the login shell prints before a command", "the command counts as not run";
    /// A line that a command on a host prints, where it is read as an answer.
    HOST_LINE = 4 * KIB, "the line that the host prints", "the command counts as failed";
    /// What a command in a container prints, where it is read whole.
    EXEC_OUTPUT = MIB, "the command's output", "the rest is passed over; for control commands `front_failed`";
    /// A whole answer of a registry or its token service, manifests included (the distribution
    /// specification asks clients to take 4 MiB).
    REGISTRY_ANSWER = 4 * MIB, "the registry's answer", "`registry_error`";
    /// A token of a registry's token service: more would not fit into a header.
    REGISTRY_TOKEN = 16 * KIB, "the registry's token", "`registry_error`";
    /// The body by which a registry refuses something.
    REGISTRY_REFUSAL = 64 * KIB, "the registry's refusal", "the rest is not read";
    /// The head of an HTTP answer.
    HTTP_HEAD = 64 * KIB, "the head of the answer", "the try failed, with this as its reason";
    /// The body of an answer that is judged.
    HTTP_BODY = 64 * KIB, "the body of the answer", "the rest is not read";
    /// A body that is sent with a health check.
    REQUEST_BODY = 16 * MIB, "the body to send", "`file_too_large`";
    /// A header of a tar archive that describes the next entry (long names, PAX records).
    TAR_HEADER = MIB, "a header in the archive", "the archive is refused";
    /// A JSON file in an image's archive: manifest, index, configuration. A registry takes no more.
    TAR_JSON = 4 * MIB, "a JSON file in the archive", "the archive is refused";
    /// All JSON files in an image's archive together.
    TAR_JSONS = 16 * MIB, "the JSON files in the archive", "the archive is refused";
    /// What the engine's store keeps of a layer beside a file: headers, padding.
    LAYER_PIECE = 4 * MIB, "a piece of the layer's archive", "the layer is exported instead";
    /// The body of an answer of AWS, or of a metadata service.
    AWS_ANSWER = MIB, "the answer of AWS", "`aws_error`; `credentials_invalid` for a source of credentials";
    /// A registry's token, in base64 as AWS hands it out.
    ECR_TOKEN = 32 * KIB, "the token of ECR", "`aws_error`";
    /// A file that the AWS SDK reads: shared configuration and credentials, tokens of an identity.
    AWS_FILE = MIB, "a file that the AWS SDK reads", "`credentials_invalid`";
    /// A lifecycle policy; the limit is that of PutLifecyclePolicy.
    LIFECYCLE_POLICY = 30_720, "the lifecycle policy", "`file_too_large`";
    /// What Docker asks of the credential helper on stdin.
    HELPER_REQUEST = MIB, "the request to the credential helper", "the helper fails";
    /// A token of a registry that is kept in the user's cache.
    CACHED_TOKEN = 64 * KIB, "the kept token", "the file counts as missing, with a warning";
    /// A small file that a tool keeps for itself in the user's cache.
    CACHE_FILE = 16 * MIB, "the cache file", "the file counts as missing";
}

impl Limit {
    /// The limit as an error.
    #[must_use]
    pub fn exceeded(&self) -> TooLarge {
        TooLarge { what: self.what, bytes: self.bytes }
    }

    /// Whether so many bytes are within the limit.
    ///
    /// # Errors
    /// When they are not.
    pub fn admit(&self, bytes: u64) -> Result<(), TooLarge> {
        if bytes > self.bytes { Err(self.exceeded()) } else { Ok(()) }
    }

    /// Reads to the end.
    ///
    /// # Errors
    /// [`TooLarge`] of the kind [`io::ErrorKind::FileTooLarge`], or what the reader says.
    pub fn read(&self, reader: impl Read) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        reader.take(self.bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        self.admit(bytes.len() as u64)?;
        Ok(bytes)
    }

    /// Reads to the end.
    ///
    /// # Errors
    /// As those of [`Limit::read`].
    pub async fn read_async(&self, reader: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        reader.take(self.bytes.saturating_add(1)).read_to_end(&mut bytes).await?;
        self.admit(bytes.len() as u64)?;
        Ok(bytes)
    }

    /// Reads one line, its end included; empty at the end of the input.
    ///
    /// # Errors
    /// As those of [`Limit::read`].
    pub fn line(&self, mut reader: impl BufRead) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        reader.by_ref().take(self.bytes.saturating_add(1)).read_until(b'\n', &mut line)?;
        self.admit(line.len() as u64)?;
        Ok(line)
    }

    /// Reads an HTTP body to its end.
    ///
    /// # Errors
    /// When it is larger, or breaks off.
    pub async fn body<B>(&self, body: B) -> Result<Vec<u8>, BodyError>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let most = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        let collected = Limited::new(body, most).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                BodyError::TooLarge(self.exceeded())
            } else {
                BodyError::Broken(error)
            }
        })?;
        Ok(collected.to_bytes().into())
    }

    /// Begins to gather what comes in pieces.
    #[must_use]
    pub const fn gather(&'static self) -> Gather {
        Gather { limit: self, bytes: Vec::new() }
    }
}

/// Pieces that are put together up to a limit.
#[derive(Debug)]
pub struct Gather {
    limit: &'static Limit,
    bytes: Vec<u8>,
}

impl Gather {
    /// Adds a piece.
    ///
    /// # Errors
    /// When all of them together are larger than the limit; the piece is not added.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), TooLarge> {
        self.limit.admit(self.bytes.len() as u64 + piece.len() as u64)?;
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// What has been gathered so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes what has been gathered, and begins anew.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

/// Bytes for people, in the largest unit that divides them.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= MIB && bytes % MIB == 0 => write!(f, "{} MiB", bytes / MIB),
            bytes if bytes >= KIB && bytes % KIB == 0 => write!(f, "{} KiB", bytes / KIB),
            bytes if bytes >= 1000 && bytes % 1000 == 0 => write!(f, "{} KB", bytes / 1000),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Full;

    const SMALL: Limit = Limit { what: "the test", bytes: 4, beyond: "nothing" };

    #[test]
    fn every_limit_lets_itself_through_and_no_more() {
        for limit in ALL {
            let whole = io::repeat(b'x').take(limit.bytes);
            assert_eq!(limit.read(whole).unwrap().len() as u64, limit.bytes, "{}", limit.what);
            let error = limit.read(io::repeat(b'x')).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{}", limit.what);
            assert!(error.to_string().starts_with(limit.what), "{error}");
        }
    }

    #[test]
    fn the_page_lists_every_limit_and_what_happens_beyond_it() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/security.md");
        let page = std::fs::read_to_string(page).unwrap();
        for limit in ALL {
            let row = format!("| {} | {} | {} |", limit.what, Size(limit.bytes), limit.beyond);
            assert!(page.contains(&row), "docs/security.md lacks the row {row}");
        }
    }

    #[test]
    fn sizes_are_told_in_their_unit() {
        for (bytes, text) in
            [(MIB, "1 MiB"), (64 * KIB, "64 KiB"), (500_000, "500 KB"), (7, "7 bytes")]
        {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }

    #[test]
    fn lines_and_pieces() {
        let mut text = io::Cursor::new("abc\nde");
        assert_eq!(SMALL.line(&mut text).unwrap(), b"abc\n");
        assert_eq!(SMALL.line(&mut text).unwrap(), b"de");
        assert!(SMALL.line(io::Cursor::new("abcde")).is_err());
        static LIMIT: Limit = SMALL;
        let mut gather = LIMIT.gather();
        gather.push(b"abc").unwrap();
        assert_eq!(gather.push(b"de").unwrap_err().to_string(), "the test is larger than 4 bytes");
        assert_eq!(gather.take(), b"abc");
        gather.push(b"defg").unwrap();
    }

    #[tokio::test]
    async fn bodies_and_async_readers() {
        assert_eq!(SMALL.body(Full::new(Bytes::from_static(b"abcd"))).await.unwrap(), b"abcd");
        let error = SMALL.body(Full::new(Bytes::from_static(b"abcde"))).await.unwrap_err();
        assert!(matches!(error, BodyError::TooLarge(_)), "{error}");
        assert_eq!(SMALL.read_async(&b"abcd"[..]).await.unwrap(), b"abcd");
        assert!(SMALL.read_async(&b"abcde"[..]).await.is_err());
    }
}
