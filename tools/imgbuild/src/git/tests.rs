//! Git asked of real repositories.

use super::*;
use std::fs;
use std::process::Stdio;

fn run(directory: &Path, arguments: &[&str]) {
    let status = std::process::Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
        .env("GIT_COMMITTER_DATE", "2026-11-23T09:32:33+0200")
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "git {arguments:?}");
}

fn revision(found: Found) -> Revision {
    match found {
        Found::Revision(revision) => *revision,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_repository_and_what_is_not_one() {
    let dir = tempfile::tempdir().unwrap();
    let app = dir.path().join("app");
    fs::create_dir(&app).unwrap();
    assert_eq!(look(&app).await, Found::Nothing);

    run(dir.path(), &["init", "--quiet", "--initial-branch=main"]);
    assert_eq!(look(&app).await, Found::Nothing);

    fs::write(app.join("a"), "1").unwrap();
    fs::write(dir.path().join(".gitignore"), "out\n").unwrap();
    run(dir.path(), &["add", "."]);
    run(dir.path(), &["commit", "--quiet", "-m", "first"]);
    run(dir.path(), &["remote", "add", "origin", "https://u:p@example.com/x.git"]);
    let clean = revision(look(&app).await);
    assert_eq!((clean.commit.len(), clean.dirty), (40, false));
    assert_eq!(clean.committed_at.unwrap().to_string(), "2026-11-23T07:32:33Z");
    assert_eq!((clean.branch.as_deref(), clean.tag), (Some("main"), None));
    assert_eq!(clean.source.as_deref(), Some("https://example.com/x.git"));

    fs::write(dir.path().join("elsewhere"), "").unwrap();
    assert!(!revision(look(&app).await).dirty, "only the directory itself counts");
    fs::write(app.join("new"), "").unwrap();
    fs::write(app.join("a"), "2").unwrap();
    let dirty = revision(look(&app).await);
    assert_eq!((dirty.dirty, dirty.changes.count), (true, 2));
    assert_eq!(dirty.changes.sentence(), "app/a, app/new");
    fs::create_dir(dir.path().join("out")).unwrap();
    assert_eq!(look(&dir.path().join("out")).await, Found::Nothing);
}

#[tokio::test]
async fn every_kind_of_checkout() {
    let dir = tempfile::tempdir().unwrap();
    let (repo, path) = (dir.path().join("repo"), |name: &str| dir.path().join(name));
    fs::create_dir(&repo).unwrap();
    run(&repo, &["init", "--quiet", "--initial-branch=feature/x"]);
    for (message, tag) in [("one", "v1.9.0"), ("two", "v1.10.0")] {
        fs::write(repo.join("a"), message).unwrap();
        run(&repo, &["add", "."]);
        run(&repo, &["commit", "--quiet", "-m", message]);
        run(&repo, &["tag", tag]);
    }
    run(&repo, &["tag", "-a", "v1.9.9", "-m", "annotated"]);
    let whole = revision(look(&repo).await);
    assert_eq!(whole.branch.as_deref(), Some("feature/x"));
    assert_eq!(whole.tag.as_deref(), Some("v1.10.0"), "the highest, as versions go");

    let url = format!("file://{}", repo.display());
    run(dir.path(), &["clone", "--quiet", "--depth=1", &url, "shallow"]);
    let shallow = revision(look(&path("shallow")).await);
    assert_eq!((&shallow.commit, shallow.committed_at), (&whole.commit, whole.committed_at));
    assert_eq!(shallow.source.as_deref(), Some(url.as_str()));

    // As Jenkins checks out with a reference repository.
    run(dir.path(), &["clone", "--quiet", "--shared", "repo", "shared"]);
    let shared = revision(look(&path("shared")).await);
    assert_eq!((&shared.commit, shared.dirty), (&whole.commit, false));
    assert_eq!(shared.committed_at, whole.committed_at);

    // As Jenkins checks out, and with a remote of another name.
    run(&path("shallow"), &["checkout", "--quiet", "--detach"]);
    run(&path("shallow"), &["remote", "rename", "origin", "upstream"]);
    let detached = revision(look(&path("shallow")).await);
    assert_eq!((detached.branch, &detached.commit), (None, &whole.commit));
    assert_eq!(detached.source.as_deref(), Some(url.as_str()));

    run(&repo, &["worktree", "add", "--quiet", "../tree", "-b", "other", "v1.9.0"]);
    let tree = revision(look(&path("tree")).await);
    assert_eq!((tree.branch.as_deref(), tree.tag.as_deref()), (Some("other"), Some("v1.9.0")));
    assert!(!tree.dirty && tree.commit != whole.commit);

    run(
        &path("tree"),
        &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &url, "sub"],
    );
    let sub = revision(look(&path("tree/sub")).await);
    assert_eq!((&sub.commit, sub.dirty), (&whole.commit, false));
    let above = revision(look(&path("tree")).await);
    assert_eq!(above.changes.sentence(), ".gitmodules, sub");
}

/// A repository with a file that is committed.
fn committed(top: &Path, init: &[&str]) {
    fs::create_dir_all(top).unwrap();
    run(top, &[&["init", "--quiet", "--initial-branch=main"], init].concat());
    fs::write(top.join("a"), "1").unwrap();
    run(top, &["add", "."]);
    run(top, &["commit", "--quiet", "-m", "first"]);
}

fn size(version: &str) -> Vec<u32> {
    version.split(['.', ' ', '\n']).filter_map(|part| part.parse().ok()).take(2).collect()
}

#[tokio::test]
async fn every_format_of_a_repository() {
    let version = std::process::Command::new("git").arg("version").output().unwrap();
    let version = size(&String::from_utf8(version.stdout).unwrap());
    let mut formats: Vec<&[&str]> = vec![&[], &["--object-format=sha256"]];
    if version >= vec![2, 45] {
        formats.push(&["--ref-format=reftable"]);
    }
    for format in formats {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("repo");
        committed(&top, format);
        run(&top, &["tag", "v1"]);
        run(&top, &["pack-refs", "--all"]);
        run(&top, &["worktree", "add", "--quiet", "../tree", "-b", "other"]);
        for (name, branch) in [("repo", "main"), ("tree", "other")] {
            let found = revision(look(&dir.path().join(name)).await);
            assert_eq!(found.branch.as_deref(), Some(branch), "{format:?}");
            assert_eq!((found.tag.as_deref(), found.dirty), (Some("v1"), false), "{format:?}");
            assert!(found.committed_at.is_some(), "{format:?}");
        }
    }
}

#[tokio::test]
async fn what_is_on_the_disk_is_compared_as_the_repository_says() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path();
    committed(top, &[]);
    fs::write(top.join("b"), "x\n").unwrap();
    fs::create_dir(top.join("apart")).unwrap();
    fs::write(top.join("apart/c"), "c").unwrap();
    run(top, &["add", "."]);
    run(top, &["commit", "--quiet", "-m", "second"]);

    run(top, &["update-index", "--split-index"]);
    assert!(!revision(look(top).await).dirty, "a split index");
    run(top, &["sparse-checkout", "set", "--no-cone", "/*", "!/apart"]);
    assert!(!top.join("apart").exists());
    assert!(!revision(look(top).await).dirty, "a sparse checkout");

    run(top, &["config", "core.autocrlf", "true"]);
    fs::remove_file(top.join("b")).unwrap();
    run(top, &["checkout", "--quiet", "b"]);
    assert_eq!(fs::read(top.join("b")).unwrap(), b"x\r\n");
    // A file that is newer than the index is compared by what is in it.
    let later = std::time::SystemTime::now() + Duration::from_secs(60);
    fs::File::options().append(true).open(top.join("b")).unwrap().set_modified(later).unwrap();
    assert!(!revision(look(top).await).dirty, "line ends");
    run(top, &["config", "core.autocrlf", "false"]);
    assert!(revision(look(top).await).dirty, "line ends");
    fs::remove_file(top.join("b")).unwrap();
    run(top, &["checkout", "--quiet", "b"]);
    run(top, &["config", "core.fileMode", "false"]);
    std::process::Command::new("chmod").arg("+x").arg(top.join("b")).status().unwrap();
    assert!(!revision(look(top).await).dirty, "modes");

    let patterns = dir.path().join(".git/patterns");
    fs::write(&patterns, "new\n").unwrap();
    fs::write(top.join("new"), "").unwrap();
    assert!(revision(look(top).await).dirty, "a new file");
    run(top, &["config", "core.excludesFile", patterns.to_str().unwrap()]);
    assert!(!revision(look(top).await).dirty, "one that is excluded");
}

#[tokio::test]
async fn submodules_are_looked_into() {
    let dir = tempfile::tempdir().unwrap();
    let (inner, outer) = (dir.path().join("inner"), dir.path().join("outer"));
    committed(&inner, &[]);
    committed(&outer, &[]);
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../inner"];
    let url = format!("file://{}", inner.display());
    run(&outer, &[&add[..5], &[&url, "sub"]].concat());
    run(&outer, &["commit", "--quiet", "-m", "with a submodule"]);
    let changes = async || revision(look(&outer).await).changes.sentence();
    assert_eq!(changes().await, "");
    fs::write(outer.join("sub/new"), "").unwrap();
    assert_eq!(changes().await, "sub", "a new file in it");
    fs::remove_file(outer.join("sub/new")).unwrap();
    fs::write(outer.join("sub/a"), "2").unwrap();
    assert_eq!(changes().await, "sub", "a changed one");
    // Whatever the tree says of it.
    fs::write(
        outer.join(".gitmodules"),
        "[submodule \"sub\"]\npath = sub\nurl = x\nignore = all\n",
    )
    .unwrap();
    run(&outer, &["commit", "--quiet", "-a", "-m", "ignored"]);
    run(&outer.join("sub"), &["commit", "--quiet", "-a", "-m", "next"]);
    assert_eq!(changes().await, "sub", "another commit");
    fs::write(outer.join("sub/a"), "3").unwrap();
    assert_eq!(changes().await, "sub", "and told once");

    run(&outer, &["submodule", "--quiet", "deinit", "--force", "sub"]);
    assert_eq!(changes().await, "", "one that is not checked out");
    fs::write(outer.join("sub/planted"), "").unwrap();
    assert_eq!(changes().await, "sub", "and holds something");
}

#[tokio::test]
async fn a_repository_belongs_to_its_own_work_tree() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().canonicalize().unwrap();
    let (real, other) = (top.join("real"), top.join("other"));
    committed(&real, &[]);
    fs::create_dir(&other).unwrap();
    run(&real, &["worktree", "add", "--quiet", "../tree"]);
    let of = |path: &str| format!("gitdir: {}\n", top.join(path).display());
    for path in ["real/.git", "real/.git/worktrees/tree"] {
        fs::write(other.join(".git"), of(path)).unwrap();
        let Found::Refused(why) = look(&other).await else { panic!("{path}") };
        assert!(why.contains("belongs to another work tree"), "{why}");
    }
    fs::remove_file(other.join(".git")).unwrap();
    run(&real, &["config", "core.worktree", "../../other"]);
    let Found::Refused(why) = look(&real).await else { panic!() };
    assert!(why.contains("another work tree"), "{why}");
    run(&real, &["config", "--unset", "core.worktree"]);
    run(&real, &["config", "core.bare", "true"]);
    assert!(matches!(look(&real).await, Found::Refused(_)));
    assert!(matches!(look(&top.join("tree")).await, Found::Revision(_)));
    // Git finds a work tree that was moved, and one whose repository is kept apart.
    fs::rename(top.join("tree"), top.join("moved")).unwrap();
    assert!(matches!(look(&top.join("moved")).await, Found::Revision(_)));
    let apart = top.join("apart.git");
    committed(&top.join("near"), &["--separate-git-dir", apart.to_str().unwrap()]);
    assert!(matches!(look(&top.join("near")).await, Found::Revision(_)));
    assert_eq!(look(&real.join(".git/objects")).await, Found::Nothing);
}

#[tokio::test]
async fn a_repository_within_another_counts_unless_the_other_has_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let (outer, inner) = (dir.path().join("outer"), dir.path().join("outer/in"));
    committed(&outer, &[]);
    let true_one = revision(look(&outer).await).commit;
    committed(&inner, &[]);
    run(&inner, &["commit", "--quiet", "--allow-empty", "-m", "another"]);
    let own = revision(look(&inner).await);
    assert_ne!(own.commit, true_one, "a checkout in a checkout");
    fs::rename(inner.join(".git"), dir.path().join("kept")).unwrap();
    run(&outer, &["add", "in"]);
    fs::rename(dir.path().join("kept"), inner.join(".git")).unwrap();
    let planted = revision(look(&inner).await);
    assert_eq!(planted.commit, true_one, "a repository among files of another");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    for (file, bytes, words) in [
        ("HEAD", &b"x: \x1b[31mred"[..], "HEAD: names neither"),
        ("config", b"[broken", "bad config line"),
        ("config", b"[core]\nrepositoryformatversion = 1\n[extensions]\nother = 1", "extension"),
        ("config", &[b' '; (1 << 20) + 1], "larger than 1 MiB"),
        ("index", b"DIRC", "index"),
        ("HEAD", b"FIFO", "not a regular file"),
        ("config", b"FIFO", "not a regular file"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        committed(dir.path(), &[]);
        let path = dir.path().join(".git").join(file);
        fs::write(&path, bytes).unwrap();
        if bytes == b"FIFO" {
            fs::remove_file(&path).unwrap();
            assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        }
        let Found::Refused(why) = look(dir.path()).await else { panic!("{file}") };
        assert!(why.contains(words) && !why.contains('\u{1b}'), "{file}: {why}");
    }
}

#[tokio::test]
async fn a_repository_of_another_user_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let git = Git::find(None).unwrap();
    let why = trust(&git, dir.path()).await.unwrap_err();
    assert!(why.contains(&format!("safe.directory {}`", dir.path().display())), "{why}");
}
