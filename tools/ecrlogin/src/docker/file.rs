//! The file of Docker's configuration: read as it is, replaced whole.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use slipway_untrusted::file;
use slipway_untrusted::limit::DOCKER_CONFIG;

use super::{Config, DockerError};

/// How often a lock is tried; whoever has it needs milliseconds.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// As many links are followed as Linux follows.
const LINKS_MAX: usize = 40;

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
    let opened = file::open_regular(&path).and_then(|file| DOCKER_CONFIG.read(file));
    let text = match opened.and_then(|bytes| String::from_utf8(bytes).map_err(not_text)) {
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
    let real = resolved(&path).map_err(failed)?;
    let place = File::open(real.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    lock(&place).await.ok_or_else(|| DockerError::Locked { path: path.clone() })?;
    let mut config = read(directory)?;
    let before = config.text();
    let result = change(&mut config);
    let after = config.text();
    if after != before {
        replace(&place, &real, &after).map_err(failed)?;
    }
    Ok(result)
}

fn not_text(_: std::string::FromUtf8Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not text")
}

/// The file that is to be replaced. The one in the directory may be a link to it, which stays one, be
/// the file there yet or not, as with docker itself (`ConfigFile.Save` of docker/cli).
fn resolved(path: &Path) -> io::Result<PathBuf> {
    let mut real = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&real) {
            // An absolute target takes the place of all.
            Ok(target) => real = real.parent().unwrap_or(Path::new(".")).join(target),
            // It is none, or is not there.
            Err(_) => return Ok(real),
        }
    }
    Err(io::Error::other("it is a link that leads to itself"))
}

/// Locks the file's directory, for as long as it is open: the file itself is replaced, and a file of its
/// own would be litter.
async fn lock(directory: &File) -> Option<()> {
    for _ in 0..LOCK_TRIES {
        match directory.try_lock() {
            Ok(()) => return Some(()),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
            // A file system without locks: then as docker itself, which has none.
            Err(TryLockError::Error(_)) => return Some(()),
        }
    }
    None
}

fn replace(directory: &File, path: &Path, text: &str) -> io::Result<()> {
    let old = fs::symlink_metadata(path).ok();
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        // A device, such as /dev/null.
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    file::replace(directory, name, text.as_bytes(), |new| {
        if let Some(old) = old {
            // As docker does: whose it was and who may read it stays. Only root can give a file away.
            new.set_permissions(old.permissions())?;
            let _not_root = fchown(new, Some(old.uid()), Some(old.gid()));
        }
        new.sync_all()
    })
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
    async fn a_link_to_a_file_that_is_not_there_yet_stays_one() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("docker");
        fs::create_dir(&directory).unwrap();
        let link = directory.join("config.json");
        std::os::unix::fs::symlink("../second", &link).unwrap();
        std::os::unix::fs::symlink("real.json", home.path().join("second")).unwrap();
        edit(&directory, |config| config.set_login("h", None)).await.unwrap();
        assert!(link.is_symlink() && home.path().join("second").is_symlink());
        let real = home.path().join("real.json");
        assert!(fs::read_to_string(&real).unwrap().contains("\"h\""));
        assert_eq!(mode(&real), 0o600);

        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("/nonexistent/dir/config.json", &link).unwrap();
        let error = edit(&directory, |config| config.set_login("h", None)).await.unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
        assert!(link.is_symlink());
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("config.json", &link).unwrap();
        assert!(edit(&directory, |config| config.set_login("h", None)).await.is_err());
        assert!(link.is_symlink());
    }

    #[tokio::test]
    async fn what_is_no_file_or_too_large_is_neither_read_nor_replaced() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config.json");
        let change = async || edit(home.path(), |config| config.set_login("h", None)).await;
        for device in ["/dev/null", "/dev/zero"] {
            std::os::unix::fs::symlink(device, &path).unwrap();
            let error = change().await.unwrap_err().to_string();
            assert!(error.contains("not a regular file"), "{error}");
            assert!(path.is_symlink() && !fs::metadata(device).unwrap().is_file());
            fs::remove_file(&path).unwrap();
        }
        fs::write(&path, " ".repeat(1024 * 1024 + 1)).unwrap();
        let error = change().await.unwrap_err().to_string();
        assert!(error.contains("larger than 1 MiB"), "{error}");
        fs::write(&path, b"{\"auths\": {\"\xff\": {}}}").unwrap();
        let error = change().await.unwrap_err().to_string();
        assert!(error.contains("not text"), "{error}");
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
