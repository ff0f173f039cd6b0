//! Repositories that are made to run something, or to pass for another. Nothing that a tree brings
//! along is obeyed, whatever git itself would do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use slipway_tests::lab::{Run, run};
use slipway_tests::process::{with_input, without_input};
use slipway_tests::{from_run_sh, tool};

/// When the true repository's commit was made, and its branch.
const TIME: (&str, &str) = ("2026-11-23T09:32:33Z", "true");
/// Those of every forged repository.
const FORGED: (&str, &str) = ("2001-01-01T00:00:00Z", "forged");

/// A repository whose directory `app` is built, and a directory in which every program that a trap
/// runs leaves a file with its name.
struct Work {
    name: String,
    directory: tempfile::TempDir,
}

impl Work {
    fn new(name: &str) -> Self {
        let name = format!("hostile-{name}-{}", std::process::id());
        let work = Self { name, directory: tempfile::tempdir().unwrap() };
        fs::create_dir_all(work.path("marks")).unwrap();
        fs::create_dir_all(work.path("repo/app")).unwrap();
        fs::write(work.path("repo/app/Dockerfile"), "FROM scratch\nCOPY . /context/\n").unwrap();
        fs::write(work.path("repo/app/file"), "as it is\n").unwrap();
        git(&work.path("repo"), TIME, &["init", "-q"]);
        work
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Commits all that is there.
    fn commit(&self) {
        git(&self.path("repo"), TIME, &["add", "-A", "-f"]);
        git(&self.path("repo"), TIME, &["commit", "-q", "-m", "true"]);
    }

    fn commit_of(&self, repository: &str) -> String {
        git(&self.path(repository), TIME, &["rev-parse", "HEAD"])
    }

    /// A repository with a commit, a branch and a time of its own, whose files git has to compare by
    /// their content: they are newer than the index.
    fn forge(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        git(&path, FORGED, &["init", "-q"]);
        fs::write(path.join("Dockerfile"), "FROM scratch\nCOPY . /context/\n").unwrap();
        fs::write(path.join("file"), "forged\n").unwrap();
        fs::write(path.join(".gitattributes"), "* filter=trap diff=trap merge=trap\n").unwrap();
        git(&path, FORGED, &["add", "-A"]);
        git(&path, FORGED, &["commit", "-q", "-m", "forged"]);
        touch(&path.join("file"));
        path
    }

    /// Adds every trap there is to a git directory.
    fn trap(&self, git_directory: &Path) {
        let marks = self.path("marks");
        let config = git_directory.join("config");
        let text = fs::read_to_string(&config).unwrap_or_default();
        fs::write(&config, text + &trapped(&marks)).unwrap();
        let hooks = git_directory.join("hooks");
        fs::create_dir_all(&hooks).unwrap();
        for hook in HOOKS {
            program(&hooks.join(hook), &marks, &format!("hook-{hook}"));
        }
    }

    /// Runs imgbuild on a directory, by each git of this machine and in each way to name a context.
    fn build(&self, context: &str) -> Vec<(String, Run)> {
        let mut runs = Vec::new();
        for git in gits() {
            for way in ["argument", "settings", "clean"] {
                let mut command = tool("imgbuild");
                command
                    .env("PATH", path_with(&git))
                    .env("DOCKER_HOST", from_run_sh("DOCKER_HOST"))
                    .env("XDG_CACHE_HOME", self.path("cache"))
                    .env("HOME", self.path("home"))
                    .current_dir(self.path("repo"))
                    .args(["--tag", &format!("{}:x", self.name)]);
                let output = match way {
                    "settings" => {
                        let settings = json!({"context": context});
                        let document = json!({"schema": "slipway.release/v1", "settings": {"imgbuild": settings}});
                        with_input(&mut command, &document.to_string())
                    }
                    "clean" => {
                        without_input(command.args(["--no-input", "--require-clean", context]))
                    }
                    _ => without_input(command.args(["--no-input", context])),
                };
                runs.push((format!("{context} by {way}, {}", git.display()), Run::of(&output)));
            }
        }
        runs
    }

    fn nothing_ran(&self, what: &str) {
        let marks = fs::read_dir(self.path("marks")).unwrap();
        let names: Vec<_> = marks.map(|mark| mark.unwrap().file_name()).collect();
        assert!(names.is_empty(), "{what}: these ran: {names:?}");
    }

    /// Builds, and checks that no trap ran and that what is told of the source is this commit, at
    /// the true time, or nothing.
    fn tells(&self, context: &str, commit: Option<&str>, dirty: bool) {
        for (what, run) in self.build(context) {
            self.nothing_ran(&what);
            let image = &run.document["image"];
            let refused = run.document["error"]["code"] == "source_not_clean";
            if what.contains("clean") && (dirty || commit.is_none()) {
                assert!(refused, "{what}: {:#}", run.document);
                continue;
            }
            assert_eq!(run.exit, 0, "{what}: {}", run.told);
            assert_eq!(image["revision"], commit.map_or(Value::Null, Value::from), "{what}");
            let told = |value: &str| commit.map_or(Value::Null, |_| Value::from(value));
            assert_eq!(image["branch"], told(TIME.1), "{what}: {image:#}");
            assert_eq!(image["committed_at"], told(TIME.0), "{what}");
            assert_eq!(image["dirty"], commit.map_or(Value::Null, |_| dirty.into()), "{what}");
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut remove = Command::new("docker");
        remove.env("DOCKER_HOST", from_run_sh("DOCKER_HOST"));
        let _ = remove.args(["rmi", &format!("{}:x", self.name)]).output();
    }
}

/// Every program called git on the search path; the application of each is tried.
fn gits() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap();
    let mut found: Vec<PathBuf> = Vec::new();
    for directory in std::env::split_paths(&path) {
        if let Ok(git) = directory.join("git").canonicalize()
            && !found.contains(&git)
        {
            found.push(git);
        }
    }
    assert!(!found.is_empty(), "git is not installed");
    found
}

/// The search path with this git before all others.
fn path_with(git: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap();
    let first = git.parent().unwrap().to_owned();
    std::env::join_paths(std::iter::once(first).chain(std::env::split_paths(&path))).unwrap()
}

/// Runs the ordinary git, with the author's time and the branch of the true or a forged repository.
fn git(directory: &Path, (time, branch): (&str, &str), arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=Test", "-c", "user.email=test@example.com"]);
    command.args(["-c", "commit.gpgSign=false", "-c", "protocol.file.allow=always"]);
    command.arg("-c").arg(format!("init.defaultBranch={branch}"));
    command.env("GIT_COMMITTER_DATE", time).env("GIT_CONFIG_GLOBAL", "/dev/null");
    run(command.args(arguments).current_dir(directory)).trim().to_owned()
}

/// Makes a file newer than any index, so that git compares what is in it.
fn touch(path: &Path) {
    let file = fs::File::options().append(true).open(path).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    file.set_modified(later).unwrap();
}

/// A program that leaves a mark, and answers as a filter, a helper or a hook would.
fn program(path: &Path, marks: &Path, name: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, format!("#!/bin/sh\n: >'{}/{name}'\ncat\n", marks.display())).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// githooks(5), all of them.
const HOOKS: &[&str] = &[
    "applypatch-msg",
    "pre-applypatch",
    "post-applypatch",
    "pre-commit",
    "pre-merge-commit",
    "prepare-commit-msg",
    "commit-msg",
    "post-commit",
    "pre-rebase",
    "post-checkout",
    "post-merge",
    "pre-push",
    "pre-receive",
    "update",
    "proc-receive",
    "post-receive",
    "post-update",
    "reference-transaction",
    "push-to-checkout",
    "pre-auto-gc",
    "post-rewrite",
    "sendemail-validate",
    "fsmonitor-watchman",
    "p4-changelist",
    "p4-prepare-changelist",
    "p4-post-changelist",
    "p4-pre-submit",
    "post-index-change",
];

/// Every key of git-config(1) that names a program, as `section`, `key`; `!` stands for the program
/// where git wants an exclamation mark before a command.
const PROGRAMS: &[(&str, &str)] = &[
    ("core", "fsmonitor"),
    ("core", "pager"),
    ("core", "editor"),
    ("core", "sshCommand"),
    ("core", "gitProxy"),
    ("core", "askPass"),
    ("core", "alternateRefsCommand"),
    ("core", "useBuiltinFSMonitor"),
    ("alias", "status"),
    ("alias", "!log"),
    ("alias", "!show"),
    ("alias", "!ls-files"),
    ("alias", "!for-each-ref"),
    ("alias", "!config"),
    ("browser \"x\"", "cmd"),
    ("browser \"x\"", "path"),
    ("credential", "!helper"),
    ("credential \"https://example.invalid\"", "!helper"),
    ("diff", "external"),
    ("diff \"trap\"", "command"),
    ("diff \"trap\"", "textconv"),
    ("difftool \"x\"", "cmd"),
    ("filter \"trap\"", "clean"),
    ("filter \"trap\"", "smudge"),
    ("filter \"trap\"", "process"),
    ("gc", "recentObjectsHook"),
    ("gpg", "program"),
    ("gpg \"ssh\"", "program"),
    ("gpg \"x509\"", "program"),
    ("gpg \"openpgp\"", "program"),
    ("gpg \"ssh\"", "defaultKeyCommand"),
    ("guitool \"x\"", "cmd"),
    ("imap", "tunnel"),
    ("hook \"x\"", "command"),
    ("instaweb", "httpd"),
    ("instaweb", "browser"),
    ("interactive", "diffFilter"),
    ("man \"x\"", "cmd"),
    ("merge \"trap\"", "driver"),
    ("mergetool \"x\"", "cmd"),
    ("pager", "status"),
    ("pager", "log"),
    ("pager", "show"),
    ("pager", "for-each-ref"),
    ("pager", "config"),
    ("receive", "procReceiveRefs"),
    ("remote \"origin\"", "uploadpack"),
    ("remote \"origin\"", "receivepack"),
    ("remote \"origin\"", "vcs"),
    ("sendemail", "toCmd"),
    ("sendemail", "ccCmd"),
    ("sendemail", "headerCmd"),
    ("sendemail", "sendmailCmd"),
    ("sequence", "editor"),
    ("submodule \"sub\"", "!update"),
    ("tar \"x\"", "command"),
    ("trailer \"x\"", "command"),
    ("trailer \"x\"", "cmd"),
    ("uploadpack", "packObjectsHook"),
    ("web", "browser"),
];

/// Every other key that turns one of those on, or leads elsewhere.
const OTHERS: &str = "
[core]
\tbare = false
\tignoreStat = false
\ttrustctime = true
[log]
\tshowSignature = true
[tag]
\tgpgSign = true
[color]
\tui = always
\tpager = true
[status]
\tsubmoduleSummary = true
\tshowUntrackedFiles = no
\trelativePaths = true
[diff]
\tsubmodule = log
\tignoreSubmodules = none
[fetch]
\trecurseSubmodules = true
[submodule]
\trecurse = true
[trace2]
\tnormalTarget = MARKS/trace2
\teventTarget = MARKS/trace2-event
[hook \"x\"]
\tevent = post-index-change
[remote \"origin\"]
\turl = ext::sh -c ': >MARKS/url'
\tpromisor = true
\tpartialCloneFilter = blob:none
[protocol]
\tallow = always
[protocol \"ext\"]
\tallow = always
[url \"ext::sh -c ': >MARKS/insteadOf' \"]
\tinsteadOf = https://
";

/// A configuration with every trap.
fn trapped(marks: &Path) -> String {
    use std::fmt::Write as _;
    let mut text = OTHERS.replace("MARKS", &marks.display().to_string());
    for (section, key) in PROGRAMS {
        let (exclamation, key) = key.strip_prefix('!').map_or(("", *key), |key| ("!", key));
        let name: String = format!("{section}.{key}")
            .chars()
            .filter(|c| c.is_alphanumeric() || *c == '.')
            .collect();
        let file = marks.with_file_name(format!("trap-{name}"));
        program(&file, marks, &name);
        let _ = writeln!(text, "[{section}]\n\t{key} = \"{exclamation}{}\"", file.display());
    }
    let hooks = marks.with_file_name("trap-hooks");
    fs::create_dir_all(&hooks).unwrap();
    for hook in HOOKS {
        program(&hooks.join(hook), marks, &format!("hooksPath-{hook}"));
    }
    let _ = writeln!(text, "[core]\n\thooksPath = \"{}\"", hooks.display());
    text
}

/// Copies a directory with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    run(Command::new("cp").arg("-a").arg(from.join(".")).arg(to));
}

#[test]
fn a_directory_that_looks_like_a_bare_repository_is_a_directory() {
    let work = Work::new("bare");
    let forged = work.forge("forged");
    for file in ["HEAD", "config", "objects", "refs", "index", "hooks", "info"] {
        let from = forged.join(".git").join(file);
        run(Command::new("cp").arg("-a").arg(from).arg(work.path("repo/app")));
    }
    for file in ["file", ".gitattributes"] {
        fs::copy(forged.join(file), work.path("repo/app").join(file)).unwrap();
    }
    work.trap(&work.path("repo/app"));
    let config = work.path("repo/app/config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + "[core]\n\tbare = false\n\tworktree = .\n").unwrap();
    work.commit();
    touch(&work.path("repo/app/file"));
    work.tells("app", Some(&work.commit_of("repo")), false);
}
