//! Repositories that are made to run something, or to pass for another. Nothing that a tree brings
//! along is obeyed, whatever git itself would do.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use slipway_tests::lab::{Run, run};
use slipway_tests::process::{with_input, without_input};
use slipway_tests::{from_run_sh, tool};

use crate::traps::{self, program, trapped};

/// How a context is named; the last asks for a clean one.
const WAYS: &[&str] = &["argument", "settings", "clean"];
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
        fs::write(work.path("repo/Dockerfile"), "FROM scratch\nCOPY . /context/\n").unwrap();
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

    /// The commit, where the configuration is not to be asked.
    fn commit_of_without_config(&self) -> String {
        let branch = self.path("repo/.git/refs/heads").join(TIME.1);
        fs::read_to_string(branch).unwrap().trim().to_owned()
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
        traps::hooks(&git_directory.join("hooks"), &marks, "hook");
    }

    /// Runs imgbuild on a directory, by each git of this machine and in each way to name a context,
    /// with this in its environment as well.
    fn build(&self, context: &str, environment: &[(&str, OsString)]) -> Vec<(String, Run)> {
        let mut runs = Vec::new();
        for git in gits() {
            // How the context is named makes no difference to the environment.
            let ways = if environment.is_empty() { WAYS } else { &WAYS[..1] };
            for way in ways.iter().copied() {
                let mut command = tool("imgbuild");
                command
                    .env("PATH", path_with(&git))
                    .env("DOCKER_HOST", from_run_sh("DOCKER_HOST"))
                    .env("XDG_CACHE_HOME", self.path("cache"))
                    .env("HOME", self.path("home"))
                    .envs(environment.iter().cloned())
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
        self.tells_with(context, &[], commit, dirty);
    }

    fn tells_with(
        &self,
        context: &str,
        environment: &[(&str, OsString)],
        commit: Option<&str>,
        dirty: bool,
    ) {
        for (what, run) in self.build(context, environment) {
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
        // The engine is that of the environment, as in all tests over the lab.
        let _ = Command::new("docker").args(["rmi", &format!("{}:x", self.name)]).output();
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

#[test]
fn the_configuration_of_the_repository_itself_runs_nothing() {
    let work = Work::new("config");
    fs::write(work.path("repo/.gitattributes"), "* filter=trap diff=trap merge=trap\n").unwrap();
    work.commit();
    let repository = work.path("repo/.git");
    work.trap(&repository);
    // What it includes, and what belongs to the work tree, is as good as itself.
    fs::copy(repository.join("config"), work.path("repo/.git/more")).unwrap();
    let own = "[extensions]\n\tworktreeConfig = true\n[include]\n\tpath = more\n[includeIf \"gitdir:**\"]\n\tpath = more\n";
    fs::write(repository.join("config"), format!("[core]\n\trepositoryformatversion = 1\n{own}"))
        .unwrap();
    fs::copy(repository.join("more"), repository.join("config.worktree")).unwrap();
    fs::write(repository.join("info/attributes"), "* filter=trap\n").unwrap();
    touch(&work.path("repo/app/file"));
    let commit = work.commit_of_without_config();
    work.tells("app", Some(&commit), false);
    work.tells(".", Some(&commit), false);
    fs::write(work.path("repo/app/file"), "changed").unwrap();
    work.tells("app", Some(&commit), true);
}

#[test]
fn a_repository_that_an_archive_brings_is_not_the_source() {
    let work = Work::new("planted");
    work.commit();
    let commit = work.commit_of("repo");
    let forged = work.forge("forged");
    work.trap(&forged.join(".git"));
    let planted = work.path("repo/app/.git");
    run(Command::new("cp").arg("-a").arg(forged.join(".git")).arg(&planted));
    work.tells("app", Some(&commit), false);

    fs::remove_dir_all(&planted).unwrap();
    run(Command::new("cp").arg("-a").arg(forged.join(".git")).arg(work.path("repo/kept")));
    fs::write(&planted, "gitdir: ../kept\n").unwrap();
    work.tells("app", Some(&commit), false);

    // Where there is no other, all that is known is what it says of itself.
    for (what, _) in {
        fs::create_dir_all(work.path("home")).unwrap();
        work.build(forged.to_str().unwrap(), &[])
    } {
        work.nothing_ran(&what);
    }
}

#[test]
fn a_submodule_runs_nothing_and_its_changes_are_seen() {
    let work = Work::new("submodule");
    work.commit();
    let library = work.forge("library");
    let url = format!("file://{}", library.display());
    git(&work.path("repo"), TIME, &["submodule", "--quiet", "add", &url, "app/sub"]);
    work.commit();
    let commit = work.commit_of("repo");
    work.trap(&work.path("repo/.git/modules/app/sub"));
    touch(&work.path("repo/app/sub/file"));
    work.tells("app", Some(&commit), false);
    fs::write(work.path("repo/app/sub/new"), "").unwrap();
    work.tells("app", Some(&commit), true);
    fs::remove_file(work.path("repo/app/sub/new")).unwrap();
    // One that was replaced by a repository of its own.
    fs::remove_file(work.path("repo/app/sub/.git")).unwrap();
    work.trap(&library.join(".git"));
    run(Command::new("cp").arg("-a").arg(library.join(".git")).arg(work.path("repo/app/sub")));
    work.tells("app", Some(&commit), false);
}

#[test]
fn nothing_is_fetched_and_nothing_is_replaced() {
    let work = Work::new("objects");
    work.commit();
    let commit = work.commit_of("repo");
    let tree = git(&work.path("repo"), TIME, &["rev-parse", "HEAD^{tree}"]);
    let author = "Test <test@example.com> 978307200 +0000";
    let object = work.path("object");
    fs::write(&object, format!("tree {tree}\nauthor {author}\ncommitter {author}\n\nforged\n"))
        .unwrap();
    let forged = ["hash-object", "-t", "commit", "-w", object.to_str().unwrap()];
    let forged = git(&work.path("repo"), FORGED, &forged);
    git(&work.path("repo"), FORGED, &["update-ref", &format!("refs/replace/{commit}"), &forged]);
    fs::write(work.path("repo/.git/info/grafts"), format!("{commit} {forged}\n")).unwrap();
    work.tells("app", Some(&commit), false);

    work.trap(&work.path("repo/.git"));
    let (start, rest) = tree.split_at(2);
    fs::remove_file(work.path("repo/.git/objects").join(start).join(rest)).unwrap();
    work.tells("app", None, false);
}

#[test]
fn the_tree_does_not_pass_for_the_caller() {
    let work = Work::new("caller");
    fs::write(work.path("repo/.gitattributes"), "* filter=trap\n").unwrap();
    let marks = work.path("marks");
    fs::create_dir_all(work.path("repo/.config/git")).unwrap();
    for config in [".gitconfig", ".config/git/config"] {
        fs::write(work.path("repo").join(config), trapped(&marks)).unwrap();
    }
    program(&work.path("repo/git"), &marks, "git");
    work.commit();
    let commit = work.commit_of("repo");
    touch(&work.path("repo/app/file"));
    let (top, path) = (work.path("repo"), std::env::var_os("PATH").unwrap());
    let config = work.path("repo/.gitconfig").into_os_string();
    let program = work.path("trap-core.editor").into_os_string();
    let path_of = |first: &Path| {
        let first = first.as_os_str().to_owned();
        [first, path.clone()].join(std::ffi::OsStr::new(":"))
    };
    for variable in [
        ("HOME", OsString::from(".")),
        ("HOME", top.clone().into_os_string()),
        ("HOME", OsString::new()),
        ("XDG_CONFIG_HOME", top.join(".config").into_os_string()),
        ("GIT_CONFIG_GLOBAL", config.clone()),
        ("GIT_CONFIG_GLOBAL", OsString::from(".gitconfig")),
        ("GIT_CONFIG_SYSTEM", config),
        ("GIT_CONFIG_PARAMETERS", format!("'core.fsmonitor={}'", program.display()).into()),
        ("GIT_EXTERNAL_DIFF", program.clone()),
        ("GIT_PAGER", program.clone()),
        ("GIT_EDITOR", program.clone()),
        ("GIT_ASKPASS", program.clone()),
        ("GIT_SSH_COMMAND", program.clone()),
        ("GIT_PROXY_COMMAND", program),
        ("GIT_TRACE", marks.join("trace").into_os_string()),
        ("GIT_TRACE2_EVENT", marks.join("trace2").into_os_string()),
        ("GIT_DIR", work.forge("elsewhere").join(".git").into_os_string()),
        ("GIT_INDEX_FILE", work.path("elsewhere/.git/index").into_os_string()),
        ("GIT_EXEC_PATH", OsString::from(".")),
        ("TMPDIR", top.join("app").into_os_string()),
        ("PATH", path_of(Path::new("."))),
        ("PATH", path_of(Path::new(""))),
        ("PATH", path_of(&top)),
    ] {
        work.tells_with("app", std::slice::from_ref(&variable), Some(&commit), false);
    }
}

#[test]
fn the_filter_of_the_caller_runs() {
    let work = Work::new("filter");
    let marks = work.path("marks");
    fs::write(work.path("repo/.gitattributes"), "file filter=trap\n").unwrap();
    fs::create_dir(work.path("home")).unwrap();
    work.commit();
    // As with git-lfs: what is committed is not what is on the disk.
    let filter = work.path("clean");
    program(&filter, &marks, "clean");
    let text = fs::read_to_string(&filter).unwrap().replace("\ncat\n", "\ntr a-z A-Z\n");
    fs::write(&filter, text).unwrap();
    let config = format!("[filter \"trap\"]\n\tclean = {}\n\trequired = true\n", filter.display());
    let clean = ["-c", &format!("filter.trap.clean={}", filter.display())];
    touch(&work.path("repo/app/file"));
    git(
        &work.path("repo"),
        TIME,
        &[&clean[..], &["commit", "-q", "-a", "-m", "filtered"]].concat(),
    );
    assert_eq!(git(&work.path("repo"), TIME, &["show", "HEAD:app/file"]), "AS IT IS");
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(120);
    let file = fs::File::options().append(true).open(work.path("repo/app/file")).unwrap();
    file.set_modified(later).unwrap();
    for (in_home, dirty) in [(true, false), (false, true)] {
        fs::remove_file(marks.join("clean")).unwrap();
        let (home, own) = (work.path("home/.gitconfig"), work.path("repo/.git/config"));
        if in_home {
            fs::write(&home, &config).unwrap();
        } else {
            fs::remove_file(home).unwrap();
            fs::write(&own, fs::read_to_string(&own).unwrap() + &config).unwrap();
        }
        for (what, run) in
            work.build("app", &[]).into_iter().filter(|(what, _)| !what.contains("clean,"))
        {
            assert_eq!(marks.join("clean").exists(), in_home, "{what}");
            assert_eq!(run.document["image"]["dirty"], dirty, "{what}: {}", run.told);
            assert_eq!(
                run.told.contains("the filter `trap` was not run"),
                !in_home,
                "{}",
                run.told
            );
        }
        fs::write(marks.join("clean"), "").unwrap();
    }
}

#[test]
fn an_address_is_asked_for_outside_of_the_working_directory() {
    let work = Work::new("address");
    work.commit();
    let repository = work.path("repo/.git");
    work.trap(&repository);
    // It looks like a bare repository, too.
    for file in ["HEAD", "config", "objects", "refs"] {
        run(Command::new("cp").arg("-a").arg(repository.join(file)).arg(work.path("repo")));
    }
    // Nobody listens there: the engine cannot fetch it either.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for scheme in ["git://", "ssh://git@", "http://", "https://"] {
        let address = format!("{scheme}127.0.0.1:{port}/web.git#main");
        for (what, run) in work.build(&address, &[]) {
            work.nothing_ran(&what);
            assert_ne!(run.exit, 0, "{what}");
            assert!(run.document.get("image").is_none(), "{what}: {:#}", run.document);
        }
    }
    for bad in ["ssh://-oProxyCommand=x/web.git", "git://127.0.0.1/web.git#--upload-pack=x"] {
        for (what, run) in work.build(bad, &[]) {
            assert_eq!(run.document["error"]["exit"], 2, "{what}: {:#}", run.document);
        }
    }
}
