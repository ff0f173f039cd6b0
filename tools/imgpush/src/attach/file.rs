//! A file that is attached: opened once, so that what was looked at is what is sent.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use slipway_registry::Digester;
use slipway_release::{Code, Failure};

use super::given::Given;
use super::kind;

/// No attached file is larger: it tells of a release, and is none.
const LIMIT: u64 = 1024 * 1024 * 1024;

const BLOCK: usize = 256 * 1024;

/// A file that is to be attached, as it was before the push.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    /// As it was given.
    pub(crate) path: String,
    /// The file's own name.
    pub(crate) title: String,
    media_type: String,
    /// When the file was written.
    pub(crate) created: Timestamp,
    pub(crate) content: Arc<Content>,
}

/// The content of a file.
#[derive(Debug)]
pub(crate) struct Content {
    file: File,
    pub(crate) size: u64,
    pub(crate) digest: String,
}

/// Why a file cannot be attached.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{path} cannot be read: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// The system's reason.
        why: String,
    },
    /// It is a directory, a pipe or a device.
    #[error("{path} is not a regular file")]
    NotRegular {
        /// The file.
        path: String,
    },
    /// There is nothing in it.
    #[error("{path} is empty")]
    Empty {
        /// The file.
        path: String,
    },
    /// It is too large.
    #[error("{path} has {size} bytes; no more than {limit} are attached")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size.
        size: u64,
        /// What is taken.
        limit: u64,
    },
    /// It is no bill of materials that is known.
    #[error("{path} is no software bill of materials in SPDX or CycloneDX JSON")]
    NotAnSbom {
        /// The file.
        path: String,
    },
    /// Somebody wrote it meanwhile.
    #[error("{path} was changed while it was being read")]
    Changed {
        /// The file.
        path: String,
    },
}

impl FileError {
    /// What it means for the exit code, and what to do next.
    pub(crate) fn failure(&self) -> Failure {
        let (code, hint) = match self {
            Self::Unreadable { .. } => (Code::FileUnreadable, "look at its path and its mode"),
            Self::NotRegular { .. } => {
                (Code::FileUnreadable, "a pipe's content has to be written to a file first")
            }
            Self::Empty { .. } => {
                (Code::FileUnreadable, "did the program that was to write it fail?")
            }
            Self::TooLarge { .. } => {
                (Code::FileTooLarge, "what is that large belongs into a layer or a storage")
            }
            Self::NotAnSbom { .. } => (
                Code::FileUnreadable,
                "is it whole? anything else is attached by --attach FILE=MEDIATYPE",
            ),
            Self::Changed { .. } => {
                (Code::FileUnreadable, "let the program that writes it end before the push")
            }
        };
        let retryable = matches!(self, Self::Changed { .. });
        Failure::new(code, self.to_string()).hint(hint).retryable(retryable)
    }
}

/// Opens the files, tells what they are, and hashes them.
pub(crate) async fn prepare(given: &[Given]) -> Result<Vec<Attachment>, FileError> {
    let mut files = Vec::new();
    for one in given {
        let (path, one) = (one.path.clone(), one.clone());
        let opened = tokio::task::spawn_blocking(move || open(one, LIMIT)).await;
        let unreadable = |why| FileError::Unreadable { path, why };
        files.push(opened.map_err(|error| unreadable(error.to_string()))??);
    }
    Ok(files)
}

fn open(given: Given, limit: u64) -> Result<Attachment, FileError> {
    let Given { path, media_type, sbom } = given;
    let unreadable = |error: std::io::Error| FileError::Unreadable {
        path: path.clone(),
        why: error.to_string(),
    };
    // Before it is opened: to open a pipe is to wait for its other end.
    let metadata = std::fs::metadata(&path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular { path });
    }
    if metadata.len() > limit {
        return Err(FileError::TooLarge { path, size: metadata.len(), limit });
    }
    let mut file = File::open(&path).map_err(unreadable)?;
    let found = kind::of(BufReader::with_capacity(BLOCK, &file));
    if sbom && !matches!(found, Some(kind::SPDX | kind::CYCLONE_DX)) {
        return Err(FileError::NotAnSbom { path });
    }
    file.rewind().map_err(unreadable)?;
    let (size, digest) = hash(&file, limit).map_err(unreadable)?;
    if size == 0 {
        return Err(FileError::Empty { path });
    }
    if size != metadata.len() {
        return Err(FileError::Changed { path });
    }
    let written = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
    let written = written.unwrap_or_else(Timestamp::now);
    let title = Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(Attachment {
        title: title.unwrap_or_else(|| path.clone()),
        media_type: media_type.unwrap_or_else(|| found.unwrap_or(kind::ANYTHING).to_owned()),
        created: Timestamp::from_second(written.as_second()).unwrap_or(written),
        content: Arc::new(Content { file, size, digest }),
        path,
    })
}

/// Size and digest of what is in the file, as far as a byte beyond the limit.
fn hash(file: &File, limit: u64) -> std::io::Result<(u64, String)> {
    let (mut digester, mut size) = (Digester::default(), 0);
    let mut block = vec![0; BLOCK];
    let mut file = file.take(limit + 1);
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok((size, digester.finish()));
        }
        digester.update(block.get(..read).unwrap_or_default());
        size += read as u64;
    }
}

impl Attachment {
    /// The media type of the file, and the type of the artifact that it becomes.
    pub(crate) fn media_type(&self) -> &str {
        &self.media_type
    }
}

impl Content {
    /// The bytes that begin there, of this length at most.
    pub(crate) fn part(&self, begin: u64, length: usize) -> std::io::Result<Bytes> {
        let rest = usize::try_from(self.size.saturating_sub(begin)).unwrap_or(usize::MAX);
        let mut part = vec![0; length.min(rest)];
        self.file.read_exact_at(&mut part, begin)?;
        Ok(part.into())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use slipway_registry::digest;

    const SPDX: &str = r#"{"spdxVersion": "SPDX-2.3"}"#;

    fn opened(name: &str, text: &str, sbom: bool, limit: u64) -> Result<Attachment, FileError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap().to_owned();
        open(Given { path, media_type: None, sbom }, limit)
    }

    /// A file that was written one second after the epoch.
    pub(crate) fn attachment(name: &str, text: &str) -> Attachment {
        let created = Timestamp::from_second(1).unwrap();
        Attachment { created, ..opened(name, text, false, LIMIT).unwrap() }
    }

    #[test]
    fn a_file_is_what_its_content_is() {
        let sbom = opened("x.spdx.json", SPDX, true, LIMIT).unwrap();
        assert_eq!((sbom.title.as_str(), sbom.media_type()), ("x.spdx.json", kind::SPDX));
        assert_eq!(sbom.content.digest, digest(SPDX.as_bytes()));
        let other = opened("x", "text", false, LIMIT).unwrap();
        assert_eq!(other.media_type(), kind::ANYTHING);
        assert_eq!(other.content.part(1, 2).unwrap(), "ex");
        assert_eq!(other.content.part(3, 9).unwrap(), "t");
    }

    #[test]
    fn what_cannot_be_attached_is_told_by_its_own_error() {
        let bad = |text, sbom, limit| opened("x", text, sbom, limit).unwrap_err();
        assert!(matches!(bad("text", true, LIMIT), FileError::NotAnSbom { .. }));
        assert!(matches!(bad("", false, LIMIT), FileError::Empty { .. }));
        assert!(matches!(bad("text", false, 3), FileError::TooLarge { size: 4, limit: 3, .. }));
        let path = |path: &str| Given { path: path.into(), media_type: None, sbom: false };
        assert!(matches!(open(path("/"), 1), Err(FileError::NotRegular { .. })));
        assert!(matches!(open(path("/dev/null"), 1), Err(FileError::NotRegular { .. })));
        assert!(matches!(open(path("/none/such"), 1), Err(FileError::Unreadable { .. })));
    }

    #[test]
    fn a_file_that_was_cut_meanwhile_is_not_read_beyond_its_end() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, b"text").unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let opened = open(Given { path, media_type: None, sbom: false }, LIMIT).unwrap();
        file.as_file().set_len(2).unwrap();
        let error = opened.content.part(0, 9).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    }
}
