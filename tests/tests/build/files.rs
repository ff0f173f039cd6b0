//! The context: what the rules of `.dockerignore` let through arrives as it is, and nothing else.

use super::*;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

/// The tree that the rules are tried on.
const TREE: [&str; 9] = [
    "a.txt",
    "b.log",
    "sub/a.txt",
    "sub/keep.log",
    "sub/deep/x.log",
    "sub/deep/y.txt",
    "node_modules/m.js",
    "sub/node_modules/n.js",
    "with space.txt",
];

fn paths(image: &Value) -> BTreeSet<String> {
    let files = files_of(text(image, "id"));
    files.into_iter().filter(|(_, what)| !what.starts_with("dir ")).map(|(path, _)| path).collect()
}

/// What of [`TREE`] and of these further files is expected, less these.
fn all_but(less: &[&str], more: &[&str]) -> BTreeSet<String> {
    let all = TREE.iter().chain(more).filter(|path| !less.contains(path));
    all.map(|&path| path.to_owned()).collect()
}

fn only(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|&path| path.to_owned()).collect()
}

fn planted(name: &str) -> Project {
    let project = Project::new(name, COPY_ALL);
    for path in TREE {
        project.write(path, path);
    }
    project
}

#[test]
fn dockerignore_is_followed_as_docker_does() {
    let project = planted("ignore");
    let both = ["Dockerfile", ".dockerignore"];
    for (rules, wanted) in [
        ("# nothing\n\n", all_but(&[], &both)),
        // Without `**` a pattern is of the top directory; the last rule that matches decides.
        ("*.txt\n", all_but(&["a.txt", "with space.txt"], &both)),
        ("*.txt\n!a.txt\n", all_but(&["with space.txt"], &both)),
        ("!a.txt\n*.txt\n", all_but(&["a.txt", "with space.txt"], &both)),
        ("**/*.log\n!sub/keep.log\n", all_but(&["b.log", "sub/deep/x.log"], &both)),
        ("**/node_modules\n", all_but(&["node_modules/m.js", "sub/node_modules/n.js"], &both)),
        ("/node_modules/\n  b.log  \nwith space.txt\n", {
            all_but(&["node_modules/m.js", "b.log", "with space.txt"], &both)
        }),
        ("sub\n!sub/deep/y.txt\n", {
            all_but(
                &["sub/a.txt", "sub/keep.log", "sub/deep/x.log", "sub/node_modules/n.js"],
                &both,
            )
        }),
        ("sub/*/?.*\n", {
            all_but(&["sub/deep/x.log", "sub/deep/y.txt", "sub/node_modules/n.js"], &both)
        }),
        // The Dockerfile does not arrive, and is built all the same.
        ("Dockerfile\n.dockerignore\n", all_but(&[], &[])),
        ("*\n!a.txt\n!sub/deep\nsub/deep/x.*\n", only(&["a.txt", "sub/deep/y.txt"])),
    ] {
        project.write(".dockerignore", rules);
        assert_eq!(paths(&project.build(&[])), wanted, "{rules:?}");
    }
}

#[test]
fn the_rules_beside_the_dockerfile_go_before_those_of_the_context() {
    let project = planted("ignore-own");
    project.write(".dockerignore", "*\n");
    project.write("Dockerfile.dockerignore", "*\n!b.log\n");
    assert_eq!(paths(&project.build(&[])), only(&["b.log"]));
    // An empty one counts, too: nothing is kept out.
    project.write("Dockerfile.dockerignore", "");
    let three = ["Dockerfile", ".dockerignore", "Dockerfile.dockerignore"];
    assert_eq!(paths(&project.build(&[])), all_but(&[], &three));
    // Of another Dockerfile, outside of the context, it is the file beside that one.
    let other = project.beside("other.Dockerfile");
    std::fs::write(&other, COPY_ALL).unwrap();
    std::fs::write(project.beside("other.Dockerfile.dockerignore"), "*\n!a.txt\n").unwrap();
    assert_eq!(paths(&project.build(&["-f", other.to_str().unwrap()])), only(&["a.txt"]));
}

#[test]
fn files_arrive_as_they_are() {
    let project = Project::new("kinds", COPY_ALL);
    let root = project.path();
    for (file, mode) in [("plain", 0o644), ("run.sh", 0o755), ("private", 0o600), ("suid", 0o4711)]
    {
        project.write(file, file);
        std::fs::set_permissions(root.join(file), PermissionsExt::from_mode(mode)).unwrap();
    }
    project.write("empty", "");
    project.write("twin", "one inode");
    std::fs::hard_link(root.join("twin"), root.join("twin too")).unwrap();
    project.write(&"n".repeat(255), "a long name");
    project.write(&format!("{0}/{0}/{0}/{0}/file", "d".repeat(200)), "a long path");
    for odd in ["-rf", "ümläut 日本", "quote\"'`$x", "line\nbreak", "*", "[a", "back\\slash"] {
        project.write(odd, odd);
    }
    std::fs::create_dir(root.join("nothing in it")).unwrap();
    std::fs::set_permissions(root.join("nothing in it"), PermissionsExt::from_mode(0o1770))
        .unwrap();
    for (target, link) in [
        ("plain", "link"),
        ("nothing in it", "link to directory"),
        ("/etc/passwd", "link away"),
        ("../../outside", "link out"),
        ("nowhere", "link to nothing"),
        ("link loop", "link loop"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    let image = project.build(&[]);
    assert_eq!(files_of(text(&image, "id")), tree(&root));
}

#[test]
fn files_belong_to_root_whoever_owned_them() {
    // What is copied is root's in any case; a step that looks at the context itself sees more.
    let look =
        "RUN --mount=type=bind,target=/seen stat -c %u:%g /seen/sub /seen/sub/theirs >/owners";
    let project = Project::new("owner", &format!("FROM {BASE}\n{look}\n"));
    project.write("sub/theirs", &project.path().display().to_string());
    // For an ordinary user it is theirs as it is.
    if rustix::process::getuid().is_root() {
        for path in ["sub", "sub/theirs"] {
            std::os::unix::fs::chown(project.path().join(path), Some(4321), Some(8765)).unwrap();
        }
    }
    let image = project.build(&[]);
    assert_eq!(file_of(text(&image, "id"), "owners"), "0:0\n0:0\n");
}

#[test]
fn a_link_that_is_copied_by_name_is_followed() {
    let project = Project::new("follow", "FROM scratch\nCOPY current/file /context/\n");
    project.write("releases/7/file", "seven");
    symlink("releases/7", project.path().join("current")).unwrap();
    let image = project.build(&[]);
    assert_eq!(file_of(text(&image, "id"), "context/file"), "seven");
}

#[test]
fn what_cannot_be_in_an_image_does_not_hold_it_up() {
    let project = Project::new("socket", COPY_ALL);
    project.write("a", "a");
    let _listener = std::os::unix::net::UnixListener::bind(project.path().join("socket")).unwrap();
    assert_eq!(paths(&project.build(&[])), only(&["Dockerfile", "a"]));
}

#[test]
fn five_thousand_files_arrive() {
    let project = Project::new("many", COPY_ALL);
    for n in 0..5000 {
        project.write(&format!("{}/{n}", n % 50), &format!("content of {n}"));
    }
    let image = project.build(&[]);
    assert_eq!(files_of(text(&image, "id")), tree(&project.path()));

    // The engine keeps what it was sent, and a second build brings it up to date.
    project.write("7/7", "CONTENT of 7");
    project.write("7/new", "new");
    project.remove("8/8");
    std::fs::remove_dir_all(project.path().join("9")).unwrap();
    let changed = project.build(&[]);
    let arrived = files_of(text(&changed, "id"));
    assert_eq!(arrived["7/7"], "file 644 CONTENT of 7");
    assert_eq!(arrived, tree(&project.path()));
}

#[test]
fn rules_leave_what_dockers_own_client_leaves() {
    let project = planted("ignore-docker");
    for path in [".hidden/x", "a b/[c]/d.txt", "sub/deep/er/z.go", "ü/ö.txt", "plus+1/p.txt"] {
        project.write(path, path);
    }
    symlink("sub", project.path().join("alias")).unwrap();
    let name = format!("{}:docker", project.name);
    for rules in [
        "",
        "\u{feff}# a mark before, a comment, blanks\n\n  \n\t*.log\t\n",
        "**\n!sub/deep\n!a.txt\n",
        "**/*.txt\n!ü\n!sub/deep/y.txt\n",
        "sub/**/*.log\n!**/keep.log\n",
        "*/deep\n",
        "alias\n.hidden/\n/b.log\n./a.txt\nsub/../ü\n",
        "a b\n[m-o]ode_modules\nsub/?.txt\n",
        "sub/*\n!sub/deep/er\n",
        "*.js\n**/m.*\n\\*.txt\na b/\\[c\\]\n",
    ] {
        project.write(".dockerignore", rules);
        // Its classic builder needs no plugin of the client's; its cache stumbles over images that
        // another test removes.
        run(Command::new("docker")
            .args(["build", "-q", "--no-cache", "-t", &name])
            .arg(project.path())
            .env("DOCKER_BUILDKIT", "0")
            .env("DOCKER_HOST", from_run_sh("DOCKER_HOST")));
        let image = project.build(&[]);
        assert_eq!(files_of(text(&image, "id")), files_of(&name), "{rules:?}");
    }
}

#[test]
fn times_are_kept() {
    let project = Project::new("times", COPY_ALL);
    project.write("sub/old", "old");
    let of = |path: &Path| path.symlink_metadata().unwrap().mtime();
    std::fs::create_dir(project.path().join("empty")).unwrap();
    // BuildKit of Docker 20.10 itself loses the time of a directory that has something in it.
    let paths = ["sub/old", "empty"];
    for path in paths {
        let path = project.path().join(path);
        run(Command::new("touch").args(["-d", "2001-02-03T04:05:06Z"]).arg(&path));
        assert_eq!(of(&path), 981_173_106);
    }
    let image = project.build(&[]);
    let directory = unpacked(text(&image, "id"));
    for path in paths {
        let arrived = of(&directory.path().join("tree/context").join(path));
        assert_eq!(arrived, 981_173_106, "{path}");
    }
}

/// A directory of which ten thousand rules leave one file.
pub(crate) fn ruled(name: &str) -> Project {
    let project = Project::new(name, COPY_ALL);
    let rules: Vec<String> = (0..10_000).map(|n| format!("rule-{n:04}/**/file")).collect();
    project.write(".dockerignore", &format!("Dockerfile\n.dockerignore\n{}\n", rules.join("\n")));
    for file in ["rule-0000/a/file", "rule-9999/file", "kept"] {
        project.write(file, file);
    }
    project
}

/// The files below `/context`, without the directories that lead to them.
pub(crate) fn kept(image: &str) -> Vec<String> {
    let files = files_of(image);
    files.into_iter().filter(|(_, what)| !what.starts_with("dir ")).map(|(path, _)| path).collect()
}

/// The sources of the COPY in [`many_sources`]. Their paths are long, so that they are more than a
/// header list of 16 KiB holds. With many short ones BuildKit of Docker 20.10 gives up on a busy
/// machine ("flightcontrol: exceeded retry timeout"), whoever's client asks.
pub(crate) const SOURCES: usize = 20;

/// A Dockerfile whose COPY names as many sources.
pub(crate) fn many_sources(name: &str) -> Project {
    let names: Vec<String> =
        (0..SOURCES).map(|n| format!("{0}/{0}/{0}/{0}/source-{n:04}", "d".repeat(200))).collect();
    let project =
        Project::new(name, &format!("FROM scratch\nCOPY {} /context/\n", names.join(" ")));
    for name in names {
        project.write(&name, &name);
    }
    project
}

#[test]
fn ten_thousand_rules_and_long_sources_are_no_more_than_docker_takes() {
    let project = ruled("rules");
    assert_eq!(kept(text(&project.build(&[]), "id")), ["kept"]);
    let project = many_sources("sources");
    assert_eq!(files_of(text(&project.build(&[]), "id")).len(), SOURCES);
}

/// Names in Latin-1, as they stand in an image: sorted, a link's target behind its name.
pub(crate) const LATIN: [&[u8]; 2] = [b"caf\xe9", b"link\xff -> caf\xe9"];

/// A directory with files of those names.
pub(crate) fn latin(name: &str) -> Project {
    let project = Project::new(name, COPY_ALL);
    let path = |name: &[u8]| project.path().join(OsStr::from_bytes(name));
    std::fs::write(path(b"caf\xe9"), "x").unwrap();
    symlink(OsStr::from_bytes(b"caf\xe9"), path(b"link\xff")).unwrap();
    project.write(".dockerignore", "Dockerfile\n.dockerignore\n");
    project
}

/// The names below `/context` of an image as bytes.
pub(crate) fn raw_names(image: &str) -> Vec<Vec<u8>> {
    let directory = unpacked(image);
    let entries = std::fs::read_dir(directory.path().join("tree/context")).unwrap();
    let mut names: Vec<Vec<u8>> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().as_bytes().to_vec();
            match entry.path().read_link() {
                Ok(target) => [&name, &b" -> "[..], target.as_os_str().as_bytes()].concat(),
                Err(_) => name,
            }
        })
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn names_that_are_no_text_arrive() {
    let project = latin("latin");
    let image = project.build(&[]);
    assert_eq!(raw_names(text(&image, "id")), LATIN);
    // Nothing has changed, and a byte more is a change.
    let again = project.build(&[]);
    assert_eq!(again["id"], image["id"]);
    std::fs::write(project.path().join(OsStr::from_bytes(b"caf\xe9")), "xy").unwrap();
    assert_ne!(project.build(&[])["id"], image["id"]);
    // A source of COPY by a pattern that names it.
    project.write("Dockerfile", "FROM scratch\nCOPY link* /context/\n");
    let image = project.build(&[]);
    assert_eq!(raw_names(text(&image, "id")).len(), 1);
}

#[test]
fn patterns_are_refused_where_dockers_own_client_refuses_them() {
    let project = Project::new("patterns", COPY_ALL);
    for name in ["a", "d", "5", "]", "x*"] {
        project.write(name, name);
    }
    for pattern in [
        "[z-a]",
        "[~-!]",
        "[\\~-\\!]",
        "**/[z-a]",
        "no/[z-a]x",
        "[",
        "[]",
        "[^]",
        "[a",
        "a[",
        "[]a]",
        "[^]a]",
        "[-]",
        "[a-]",
        "[-a]",
        "[+--]",
        "[a-b-c]",
        "\\",
        "a\\",
        "\\q",
        "[\\q]",
        "\\é",
        "!",
        "[[:foo:]]",
        "]",
        "a]",
        "[!a]",
        "[^a]",
        "[a-a]",
        "[\\]]",
        "x\\*",
        "[[:alpha:]]",
        "[[:^digit:]]",
    ] {
        project.write(".dockerignore", &format!("{pattern}\n"));
        let mut docker = Command::new("docker");
        docker.args(["build", "-q", "--no-cache"]).arg(project.path());
        docker.env("DOCKER_BUILDKIT", "0").env("DOCKER_HOST", from_run_sh("DOCKER_HOST"));
        let docker = docker.output().unwrap();
        let ours = project.run(&[]);
        assert_eq!(ours.exit == 0, docker.status.success(), "{pattern}: {}", ours.told);
        if ours.exit == 0 {
            let theirs = String::from_utf8(docker.stdout).unwrap();
            let image = &ours.document["image"];
            assert_eq!(files_of(text(image, "id")), files_of(theirs.trim()), "{pattern}");
            ci_engine(&["rmi", "-f", theirs.trim()]);
        } else {
            let error = &ours.document["error"];
            assert_eq!(error["code"], "dockerfile_invalid", "{pattern}: {error:#}");
            assert!(text(error, "message").contains(".dockerignore line 1: "), "{error:#}");
        }
    }
}
