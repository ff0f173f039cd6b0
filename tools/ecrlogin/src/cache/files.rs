//! The files: read, replaced whole, locked, and kept few.

use std::cmp::Reverse;
use std::fs::{File, TryLockError};
use std::time::{Duration, Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};
use slipway_untrusted::limit::CACHED_TOKEN;
use slipway_untrusted::{PrivateDirectory, PrivateError};

use super::entry::Entry;

/// No more tokens are kept; those that end last stay.
const ENTRIES_MAX: usize = 64;

/// A file that was begun so long ago belongs to a process that was killed.
const BEGUN_MAX: Duration = Duration::from_secs(3600);

/// What a file holds, or why it is not to be used.
pub(super) fn read(directory: &PrivateDirectory, name: &str) -> Result<Option<Entry>, String> {
    let read = directory.read(name, &CACHED_TOKEN).map_err(|error| error.to_string())?;
    let Some(text) = read else { return Ok(None) };
    let entry = parse(&text)
        .ok_or_else(|| format!("{} is not what was written", directory.path(name).display()))?;
    Ok(Some(entry).filter(Entry::is_known_version))
}

/// The parser's own words could quote the token.
pub(super) fn parse(text: &[u8]) -> Option<Entry> {
    serde_json::from_slice(text).ok()
}

/// Writes a file, and removes what is of no use any more.
pub(super) fn write(
    directory: &PrivateDirectory,
    name: &str,
    entry: &Entry,
) -> Result<(), PrivateError> {
    // Texts and times: they are always JSON.
    let written = directory.replace(name, &serde_json::to_vec(entry).unwrap_or_default());
    prune(directory);
    written
}

/// All tokens there are, each with its file; a file that cannot be used has none.
pub(super) fn all(directory: &PrivateDirectory) -> Vec<(String, Option<Entry>)> {
    let files = directory.files().unwrap_or_default().into_iter().map(|(name, _)| name);
    let tokens = files.filter(|name| name.ends_with(".json"));
    let read = |name: String| {
        let entry = read(directory, &name).ok().flatten();
        (name, entry)
    };
    tokens.map(read).collect()
}

/// Removes tokens that have ended and those beyond the limit, and what was begun and never ended.
fn prune(directory: &PrivateDirectory) {
    let now = Timestamp::now();
    let (mut kept, gone): (Vec<_>, Vec<_>) = all(directory)
        .into_iter()
        .map(|(name, entry)| (entry.map(|entry| entry.expires_at), name))
        .partition(|(expires_at, _)| {
            expires_at.is_some_and(|at| now.duration_since(at) < SignedDuration::ZERO)
        });
    kept.sort_unstable_by_key(|(expires_at, _)| Reverse(*expires_at));
    for (_, name) in gone.into_iter().chain(kept.into_iter().skip(ENTRIES_MAX)) {
        let _gone = directory.remove(&name);
    }
    let old = |written| SystemTime::now().duration_since(written).is_ok_and(|age| age > BEGUN_MAX);
    for (name, written) in directory.files().unwrap_or_default() {
        if name.ends_with(".new") && old(written) {
            let _gone = directory.remove(&name);
        }
    }
}

/// The lock of a key, which goes with the answer; none when another process holds it for longer
/// than the wait: it may hang, and that must not hold up everybody. Several keys share a lock, so
/// that there are few.
pub(super) async fn lock(
    directory: &PrivateDirectory,
    key: &str,
    wait: Duration,
    pause: Duration,
) -> Result<Option<File>, PrivateError> {
    let file = directory.lock_file(&format!("{}.lock", key.get(..1).unwrap_or("0")))?;
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
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn directory(base: &tempfile::TempDir) -> PrivateDirectory {
        PrivateDirectory::open(base.path(), &["tokens"]).unwrap()
    }

    fn entry(host: &str) -> Entry {
        Entry::given(host, "AWS", &Secret::new("canary"), Timestamp::now())
    }

    #[test]
    fn what_was_written_is_read_and_is_for_the_owner_alone() {
        let base = tempfile::tempdir().unwrap();
        let directory = directory(&base);
        write(&directory, "k.json", &entry("h")).unwrap();
        assert_eq!(read(&directory, "k.json").unwrap().unwrap().password.reveal(), "canary");
        let mode = fs::metadata(directory.path("k.json")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert!(read(&directory, "none.json").unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_used_is_told_without_its_content() {
        let base = tempfile::tempdir().unwrap();
        let directory = directory(&base);
        let read = || read(&directory, "k.json");
        let text = serde_json::to_string(&entry("h")).unwrap();
        for broken in [&text[..text.len() - 1], "", "\"canary\"", "{\"version\": 1}"] {
            directory.replace("k.json", broken.as_bytes()).unwrap();
            let reason = read().unwrap_err();
            assert!(!reason.contains("canary"), "{reason}");
        }
        let newer = text.replacen("\"version\":1", "\"version\":9", 1);
        directory.replace("k.json", newer.as_bytes()).unwrap();
        assert!(read().unwrap().is_none(), "of another version");
        fs::set_permissions(directory.path("k.json"), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read().unwrap_err().contains("other users"));
    }

    #[test]
    fn they_are_bounded() {
        let base = tempfile::tempdir().unwrap();
        let directory = directory(&base);
        let (begun, lost) = (directory.path("x.123.new"), directory.path("lost.json"));
        fs::write(&begun, "").unwrap();
        fs::write(&lost, "{").unwrap();
        for n in 0..ENTRIES_MAX + 5 {
            write(&directory, &format!("{n}.json"), &entry("h")).unwrap();
        }
        assert_eq!(all(&directory).len(), ENTRIES_MAX);
        assert!(begun.exists() && !lost.exists());
    }

    #[tokio::test]
    async fn a_holder_that_hangs_holds_up_nobody_for_ever() {
        let base = tempfile::tempdir().unwrap();
        let directory = directory(&base);
        let (wait, pause) = (Duration::from_millis(30), Duration::from_millis(1));
        let lock = async |key| lock(&directory, key, wait, pause).await.unwrap();
        let held = lock("a1").await;
        assert!(held.is_some() && lock("a2").await.is_none() && lock("b1").await.is_some());
        drop(held);
        assert!(lock("a2").await.is_some());
    }
}
