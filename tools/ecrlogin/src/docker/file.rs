//! The file of Docker's configuration: read as it is, replaced whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Config, DockerError};

/// How often a lock is tried; whoever has it needs milliseconds.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// The directory of Docker's configuration: the given one, else `DOCKER_CONFIG`, else `~/.docker`.
pub(crate) fn directory(given: Option<&str>) -> Result<PathBuf, DockerError> {
    if let Some(given) = given {
        return Ok(PathBuf::from(given));
    }
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("DOCKER_CONFIG").or_else(|| Some(set("HOME")?.join(".docker"))).ok_or(DockerError::Nowhere)
}

/// What the directory's configuration holds; nothing if there is none.
pub(crate) fn read(directory: &Path) -> Result<Config, DockerError> {
    let path = directory.join("config.json");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Config::default()),
        Err(source) => return Err(DockerError::File { path, done: "read", source }),
    };
    Config::parse(&text).map_err(|line| DockerError::Broken { path, line })
}

/// Changes the configuration. Nobody else that goes this way changes it meanwhile, and whoever
/// reads it sees the old or the new one. A file that needs no change is not written.
pub(crate) async fn edit<T>(
    directory: &Path,
    change: impl FnOnce(&mut Config) -> T,
) -> Result<T, DockerError> {
    let path = directory.join("config.json");
    let failed = |source| DockerError::File { path: path.clone(), done: "written", source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    // The file may be a link to one elsewhere, which is the one to be replaced.
    let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
    let _lock = lock(&real)
        .await
        .map_err(failed)?
        .ok_or_else(|| DockerError::Locked { path: path.clone() })?;
    let mut config = read(directory)?;
    let before = config.text();
    let result = change(&mut config);
    let after = config.text();
    if after != before {
        replace(&real, &after).map_err(failed)?;
    }
    Ok(result)
}

/// Locks the file's directory: the file itself is replaced, and a file of its own would be litter.
async fn lock(path: &Path) -> io::Result<Option<File>> {
    let directory = File::open(path.parent().unwrap_or(Path::new(".")))?;
    for _ in 0..LOCK_TRIES {
        match directory.try_lock() {
            Ok(()) => return Ok(Some(directory)),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
            // A file system without locks: then as docker itself, which has none.
            Err(TryLockError::Error(_)) => return Ok(Some(directory)),
        }
    }
    Ok(None)
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension(format!("json.{}.new", std::process::id()));
    let written = write(&new, path, text).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

fn write(new: &Path, old: &Path, text: &str) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(new)?;
    if let Ok(old) = fs::metadata(old) {
        // As docker does: whose it was and who may read it stays. Only root can give a file away.
        file.set_permissions(old.permissions())?;
        let _ = std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()));
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_release::Secret;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_new_file_is_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("a/.docker");
        let login = |config: &mut Config| config.set_login("h", Some(("u", &Secret::new("p"))));
        edit(&directory, login).await.unwrap();
        let path = directory.join("config.json");
        assert_eq!(mode(&path), 0o600);
        assert!(read(&directory).unwrap().has_password("h"));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing else is left");
    }

    #[tokio::test]
    async fn a_link_stays_one_and_a_mode_what_it_was() {
        let home = tempfile::tempdir().unwrap();
        let real = home.path().join("real.json");
        fs::write(&real, "{}").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        let directory = home.path().join("docker");
        fs::create_dir(&directory).unwrap();
        std::os::unix::fs::symlink("../real.json", directory.join("config.json")).unwrap();
        edit(&directory, |config| config.set_login("h", None)).await.unwrap();
        assert!(directory.join("config.json").is_symlink());
        assert!(fs::read_to_string(&real).unwrap().contains("\"h\""));
        assert_eq!(mode(&real), 0o640);
    }

    #[tokio::test]
    async fn what_is_not_changed_is_not_written() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config.json");
        fs::write(&path, "{ \"auths\":{} }").unwrap();
        edit(home.path(), |config| config.remove_login("h")).await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{ \"auths\":{} }");
    }

    #[tokio::test]
    async fn a_broken_file_is_told_and_left_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config.json");
        fs::write(&path, "{\n\"auths\": {\"h\": {\"auth\": \"canary\"}").unwrap();
        let error = edit(home.path(), |config| config.remove_login("h")).await.unwrap_err();
        let told = error.to_string();
        assert!(told.contains("line 2") && !told.contains("canary"), "{told}");
        assert!(fs::read_to_string(&path).unwrap().contains("canary"));
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let home = tempfile::tempdir().unwrap();
        let one = |n: usize| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let change = |config: &mut Config| config.set_login(&format!("h{n}"), None);
            runtime.unwrap().block_on(edit(home.path(), change)).unwrap();
        };
        std::thread::scope(|scope| {
            for n in 0..16 {
                scope.spawn(move || one(n));
            }
        });
        let config = read(home.path()).unwrap();
        assert!((0..16).all(|n| config.has_login(&format!("h{n}"))));
    }
}
