//! What a configuration of git can run or read, as a configuration that does all of it.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use slipway_tests::lab::run;

/// A program that leaves a mark, and answers as a filter, a helper or a hook would.
pub(crate) fn program(path: &Path, marks: &Path, name: &str) {
    fs::write(path, format!("#!/bin/sh\n: >'{}/{name}'\ncat\n", marks.display())).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A directory of hooks that leave marks.
pub(crate) fn hooks(directory: &Path, marks: &Path, kind: &str) {
    fs::create_dir_all(directory).unwrap();
    for hook in HOOKS {
        program(&directory.join(hook), marks, &format!("{kind}-{hook}"));
    }
}

/// githooks(5), all of them.
#[rustfmt::skip]
const HOOKS: &[&str] = &[
    "applypatch-msg", "pre-applypatch", "post-applypatch", "pre-commit", "pre-merge-commit",
    "prepare-commit-msg", "commit-msg", "post-commit", "pre-rebase", "post-checkout",
    "post-merge", "pre-push", "pre-receive", "update", "proc-receive", "post-receive",
    "post-update", "reference-transaction", "push-to-checkout", "pre-auto-gc", "post-rewrite",
    "sendemail-validate", "fsmonitor-watchman", "p4-changelist", "p4-prepare-changelist",
    "p4-post-changelist", "p4-pre-submit", "post-index-change",
];

/// Every key of git-config(1) that names a program, as `section`, `key`; `!` stands for the program
/// where git wants an exclamation mark before a command.
#[rustfmt::skip]
const PROGRAMS: &[(&str, &str)] = &[
    ("core", "fsmonitor"), ("core", "pager"), ("core", "editor"), ("core", "sshCommand"),
    ("core", "gitProxy"), ("core", "askPass"), ("core", "alternateRefsCommand"),
    ("core", "useBuiltinFSMonitor"), ("alias", "status"), ("alias", "!log"), ("alias", "!show"),
    ("alias", "!ls-files"), ("alias", "!for-each-ref"), ("alias", "!config"),
    ("browser \"x\"", "cmd"), ("browser \"x\"", "path"), ("credential", "!helper"),
    ("credential \"https://example.invalid\"", "!helper"), ("diff", "external"),
    ("diff \"trap\"", "command"), ("diff \"trap\"", "textconv"), ("difftool \"x\"", "cmd"), ("difftool \"x\"", "path"),
    ("filter \"trap\"", "clean"), ("filter \"trap\"", "smudge"), ("filter \"trap\"", "process"),
    ("gc", "recentObjectsHook"), ("gpg", "program"), ("gpg \"ssh\"", "program"),
    ("gpg \"x509\"", "program"), ("gpg \"openpgp\"", "program"),
    ("gpg \"ssh\"", "defaultKeyCommand"), ("guitool \"x\"", "cmd"), ("imap", "tunnel"),
    ("hook \"x\"", "command"), ("instaweb", "httpd"), ("instaweb", "browser"),
    ("interactive", "diffFilter"), ("man \"x\"", "cmd"), ("man \"x\"", "path"), ("merge \"trap\"", "driver"),
    ("mergetool \"x\"", "cmd"), ("mergetool \"x\"", "path"), ("pager", "status"), ("pager", "log"), ("pager", "show"),
    ("pager", "for-each-ref"), ("pager", "config"), ("receive", "procReceiveRefs"),
    ("remote \"origin\"", "uploadpack"), ("remote \"origin\"", "receivepack"),
    ("remote \"origin\"", "vcs"), ("sendemail", "toCmd"), ("sendemail", "ccCmd"),
    ("sendemail", "headerCmd"), ("sendemail", "sendmailCmd"), ("sequence", "editor"),
    ("submodule \"sub\"", "!update"), ("tar \"x\"", "command"), ("trailer \"x\"", "command"),
    ("trailer \"x\"", "cmd"), ("uploadpack", "packObjectsHook"), ("web", "browser"),
];

/// Every key that names a file which git might read while it answers: one that never ends.
#[rustfmt::skip]
const FILES: &[(&str, &str)] = &[
    ("blame", "ignoreRevsFile"), ("commit", "template"), ("core", "attributesFile"),
    ("diff", "orderFile"), ("format", "signatureFile"), ("gpg \"ssh\"", "allowedSignersFile"),
    ("gpg \"ssh\"", "revocationFile"), ("http", "cookieFile"), ("include", "path"),
    ("mailmap", "file"), ("init", "templateDir"),
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
pub(crate) fn trapped(marks: &Path) -> String {
    let fifo = marks.with_file_name("fifo");
    if !fifo.exists() {
        run(Command::new("mkfifo").arg(&fifo));
    }
    let mut text = OTHERS.replace("MARKS", &marks.display().to_string());
    for (section, key) in FILES {
        let _ = writeln!(text, "[{section}]\n\t{key} = \"{}\"", fifo.display());
    }
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
    let directory = marks.with_file_name("trap-hooks");
    hooks(&directory, marks, "hooksPath");
    let _ = writeln!(text, "[core]\n\thooksPath = \"{}\"", directory.display());
    text
}
