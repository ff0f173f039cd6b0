//! Directories in which another user, or another program of this one, planted something for the tools'
//! caches. The tools do their work all the same, without what is planted.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};
use slipway_tests::lab::{Run, run};
use slipway_tests::process::{as_root, with_input, without_input};
use slipway_tests::{binary, from_run_sh, tool};

/// Another user, who is not root.
const THEIRS: &str = "65534:65534";

/// A home, and the credential helper on a machine that is set up for AWS.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        // Other users' homes can be looked into, as they often can.
        set_mode(home.path(), 0o755);
        symlink(binary("ecrlogin"), home.path().join("docker-credential-ecrlogin")).unwrap();
        home
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn cache(&self) -> PathBuf {
        self.path().join(".cache/slipway/ecrlogin")
    }

    fn helper(&self, action: &str, input: &str) -> Output {
        let mut command = Command::new(self.path().join("docker-credential-ecrlogin"));
        command.env_clear().env("HOME", self.path()).env("AWS_EC2_METADATA_DISABLED", "true");
        for name in ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"]
        {
            command.env(name, from_run_sh(name));
        }
        with_input(command.arg(action), input)
    }

    /// Keeps this login, and answers where it is.
    fn store(&self, secret: &str) -> PathBuf {
        let login = json!({"ServerURL": host(), "Username": "AWS", "Secret": secret});
        let output = self.helper("store", &login.to_string());
        assert!(output.status.success(), "{output:?}");
        let mut files = fs::read_dir(self.cache()).unwrap().flatten().map(|file| file.path());
        files.find(|path| path.extension().is_some_and(|it| it == "json")).unwrap()
    }

    /// The password that the helper gives, and what it says to people.
    fn get(&self) -> (String, String) {
        let output = self.helper("get", &host());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{output:?}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        (answer["Secret"].as_str().unwrap().to_owned(), told)
    }

    /// The registry is asked in the place of the cache, and people hear why.
    #[track_caller]
    fn asks_and_tells(&self, why: &str) {
        let (password, told) = self.get();
        assert_eq!(password, format!("{}-auth-token", &host()[..12]), "{told}");
        assert!(told.contains("warning: ") && told.contains(why), "{told}");
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let own = fs::metadata("/proc/self").unwrap();
        give(self.path(), &format!("{}:{}", own.uid(), own.gid()));
    }
}

fn host() -> String {
    from_run_sh("LAB_REGISTRY")
}

fn give(path: &Path, to: &str) {
    let _ = run(&mut as_root(&["chown", "-R", "-h", to, path.to_str().unwrap()], &[]));
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn in_the_home_of_another_user_nothing_is_kept_and_nothing_fails() {
    let home = Home::new();
    let kept = home.store("planted");
    give(home.path(), THEIRS);
    home.asks_and_tells("belongs to another user (uid 65534)");
    let login = json!({"ServerURL": host(), "Username": "AWS", "Secret": "s"}).to_string();
    assert_eq!(home.helper("store", &login).status.code(), Some(1), "only to keep it was asked");
    assert!(fs::read_to_string(kept).unwrap().contains("planted"));

    let project = tempfile::tempdir().unwrap();
    fs::write(project.path().join("Dockerfile"), "FROM scratch\nCOPY Dockerfile /\n").unwrap();
    let mut build = tool("imgbuild");
    build.env("HOME", home.path()).env("DOCKER_HOST", from_run_sh("DOCKER_HOST"));
    let built = Run::of(&without_input(build.arg(project.path()))).good();
    let told = "warning: the result is not remembered: ";
    assert!(built.told.contains(told) && built.told.contains("uid 65534"), "{}", built.told);
    assert!(!home.path().join(".cache/slipway/build").exists());
}

#[test]
fn a_home_without_a_cache_gets_none_from_another_user() {
    let home = Home::new();
    give(home.path(), THEIRS);
    home.asks_and_tells("belongs to another user (uid 65534)");
    assert!(!home.path().join(".cache").exists());
}

#[test]
fn a_kept_token_that_is_not_ours_is_not_used() {
    let home = Home::new();
    let file = home.store("given");
    assert_eq!(home.get().0, "given");
    let text = fs::read_to_string(&file).unwrap();
    let planted = text.replace("given", "planted");
    let other = home.path().join("other.json");
    let put = |path: &Path, text: &str| {
        fs::write(path, text).unwrap();
        set_mode(path, 0o600);
    };
    let plants: [(&str, &dyn Fn()); 7] = [
        ("another user", &|| {
            put(&file, &planted);
            give(&file, THEIRS);
        }),
        ("symbolic link", &|| symlink(&other, &file).unwrap()),
        ("another user", &|| {
            // A hard link to a file of theirs.
            let theirs = home.path().join("theirs.json");
            put(&theirs, &planted);
            fs::hard_link(&theirs, &file).unwrap();
            give(&theirs, THEIRS);
        }),
        ("regular file", &|| {
            let _ = run(Command::new("mkfifo").arg("-m600").arg(&file));
        }),
        ("larger than", &|| {
            put(&file, "");
            File::options().write(true).open(&file).unwrap().set_len(1 << 40).unwrap();
        }),
        ("another registry", &|| put(&file, &planted.replace(&host(), "evil.example"))),
        ("other users", &|| {
            put(&file, &planted);
            set_mode(&file, 0o666);
        }),
    ];
    for (why, plant) in plants {
        put(&other, &planted);
        fs::remove_file(&file).unwrap();
        plant();
        home.asks_and_tells(why);
        // A new one takes its place, and what it may have been a link to stays.
        assert_eq!(home.store("given"), file, "{why}");
        assert_eq!(home.get().0, "given", "{why}");
        assert_eq!(fs::read_to_string(&other).unwrap(), planted, "{why}");
    }
}

#[test]
fn directories_that_others_could_change_are_not_used() {
    let home = Home::new();
    home.store("planted");
    let slipway = home.path().join(".cache/slipway");
    for part in [home.cache(), slipway.clone(), home.path().join(".cache")] {
        let before = fs::metadata(&part).unwrap().mode();
        set_mode(&part, 0o777);
        home.asks_and_tells("can be changed by other users");
        set_mode(&part, before);
    }
    let moved = home.path().join("moved");
    fs::rename(&slipway, &moved).unwrap();
    symlink(&moved, &slipway).unwrap();
    home.asks_and_tells("is a symbolic link");
    fs::remove_file(&slipway).unwrap();
    fs::write(&slipway, "").unwrap();
    home.asks_and_tells("is not a directory");
    fs::remove_file(&slipway).unwrap();
    // Where everybody may create something, another user was there first.
    set_mode(&home.path().join(".cache"), 0o1777);
    fs::create_dir(&slipway).unwrap();
    give(&slipway, THEIRS);
    home.asks_and_tells("another user");
}

#[test]
fn nothing_is_written_through_a_link_that_is_swapped_in() {
    let home = Home::new();
    home.store("s");
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir(elsewhere.path().join("ecrlogin")).unwrap();
    let slipway = home.path().join(".cache/slipway");
    let link = home.path().join("link");
    symlink(elsewhere.path(), &link).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, &slipway, CWD, &link, RenameFlags::EXCHANGE).unwrap();
            }
        });
        for _ in 0..30 {
            let login = json!({"ServerURL": host(), "Username": "AWS", "Secret": "s"});
            let _may_fail = home.helper("store", &login.to_string());
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(elsewhere.path().join("ecrlogin")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
}
