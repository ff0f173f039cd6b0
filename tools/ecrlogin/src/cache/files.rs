//! The files: read, replaced whole, locked, and kept few.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};
use slipway_shell::{create_private, replace_private};

use super::entry::Entry;

/// No more tokens are kept; those that end last stay.
const ENTRIES_MAX: usize = 64;

/// A file that is longer is not ours.
const FILE_MAX: u64 = 64 * 1024;

/// A file that was begun so long ago belongs to a process that was killed.
const BEGUN_MAX: Duration = Duration::from_secs(3600);

/// What a file holds, or why it is not to be used.
pub(super) fn read(path: &Path) -> Result<Option<Entry>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("it cannot be read: {error}")),
    };
    let metadata = file.metadata().map_err(|error| format!("it cannot be read: {error}"))?;
    if metadata.mode() & 0o077 != 0 {
        return Err("others may read it".to_owned());
    }
    let mut text = Vec::new();
    let read = file.take(FILE_MAX + 1).read_to_end(&mut text);
    read.map_err(|error| format!("it cannot be read: {error}"))?;
    // The parser's own words could quote the token.
    let entry: Entry =
        serde_json::from_slice(&text).map_err(|_| "it is not what was written".to_owned())?;
    Ok(Some(entry).filter(Entry::is_known_version))
}

/// Writes a file, and removes what is of no use any more.
pub(super) fn write(path: &Path, entry: &Entry) -> io::Result<()> {
    let written = replace_private(path, &serde_json::to_vec(entry)?);
    prune(path.parent().unwrap_or(Path::new(".")));
    written
}

/// All tokens there are, each with its file; a file that cannot be used has none.
pub(super) fn all(directory: &Path) -> Vec<(PathBuf, Option<Entry>)> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten().map(|file| file.path());
    let mut tokens: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    tokens.sort_unstable();
    tokens.into_iter().map(|path| (path.clone(), read(&path).ok().flatten())).collect()
}

/// Removes tokens that have ended and those beyond the limit, and what was begun and never ended.
fn prune(directory: &Path) {
    let now = Timestamp::now();
    let (mut kept, gone): (Vec<_>, Vec<_>) = all(directory)
        .into_iter()
        .map(|(path, entry)| (entry.map(|entry| entry.expires_at), path))
        .partition(|(expires_at, _)| {
            expires_at.is_some_and(|at| now.duration_since(at) < SignedDuration::ZERO)
        });
    kept.sort_unstable_by(|one, other| other.cmp(one));
    for (_, path) in gone.into_iter().chain(kept.into_iter().skip(ENTRIES_MAX)) {
        let _ = fs::remove_file(path);
    }
    let old = |path: &Path| {
        let begun = fs::metadata(path).and_then(|file| file.modified());
        let age = begun.ok().and_then(|begun| SystemTime::now().duration_since(begun).ok());
        age.is_some_and(|age| age > BEGUN_MAX)
    };
    for file in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = file.path();
        if path.extension().is_some_and(|extension| extension == "new") && old(&path) {
            let _ = fs::remove_file(path);
        }
    }
}

/// The lock of a key, which goes with the answer; none when another process holds it for longer
/// than the wait: it may hang, and that must not hold up everybody. Several keys share a lock, so
/// that there are few.
pub(super) async fn lock(
    directory: &Path,
    key: &str,
    wait: Duration,
    pause: Duration,
) -> io::Result<Option<File>> {
    create_private(directory)?;
    let path = directory.join(format!("{}.lock", key.get(..1).unwrap_or("0")));
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if begun.elapsed() < wait => {
                tokio::time::sleep(pause).await;
            }
            // A file system without locks, or a holder that hangs: then several may ask.
            Err(_) => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_release::Secret;
    use std::os::unix::fs::PermissionsExt as _;

    fn entry(host: &str) -> Entry {
        Entry::given(host, "AWS", &Secret::new("canary"), Timestamp::now())
    }

    #[test]
    fn what_was_written_is_read_and_is_for_the_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/k.json");
        write(&path, &entry("h")).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().password.reveal(), "canary");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(read(&directory.path().join("none.json")).unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_used_is_told_without_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("k.json");
        let text = serde_json::to_string(&entry("h")).unwrap();
        for broken in [&text[..text.len() - 1], "", "\"canary\"", "{\"version\": 1}"] {
            fs::write(&path, broken).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let reason = read(&path).unwrap_err();
            assert!(!reason.contains("canary"), "{reason}");
        }
        fs::write(&path, text.replacen("\"version\":1", "\"version\":9", 1)).unwrap();
        assert!(read(&path).unwrap().is_none(), "of another version");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).unwrap_err().contains("others"));
    }

    #[test]
    fn they_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let begun = directory.path().join("x.123.new");
        fs::write(&begun, "").unwrap();
        let lost = directory.path().join("lost.json");
        fs::write(&lost, "{").unwrap();
        for n in 0..ENTRIES_MAX + 5 {
            write(&directory.path().join(format!("{n}.json")), &entry("h")).unwrap();
        }
        assert_eq!(all(directory.path()).len(), ENTRIES_MAX);
        assert!(begun.exists() && !lost.exists());
    }

    #[tokio::test]
    async fn a_holder_that_hangs_holds_up_nobody_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let (wait, pause) = (Duration::from_millis(30), Duration::from_millis(1));
        let lock = async |key| lock(directory.path(), key, wait, pause).await.unwrap();
        let held = lock("a1").await;
        assert!(held.is_some() && lock("a2").await.is_none() && lock("b1").await.is_some());
        drop(held);
        assert!(lock("a2").await.is_some());
    }
}
