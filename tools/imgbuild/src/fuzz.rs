//! The parsers of outside data, for the fuzzer: each takes any bytes, and asserts what must hold.

use std::collections::BTreeMap;
use std::path::Path;

use bollard_buildkit_proto::moby::buildkit::v1::StatusResponse;
use prost::Message as _;
use slipway_release::{Failure, Secret};
use slipway_untrusted::{LINE, obeyed};

use crate::classic::fuzz as classic;
use crate::context::name;
use crate::diagnose::diagnose;
use crate::docker_config::DockerConfig;
use crate::git::fuzz as git;
use crate::mask::Mask;
use crate::progress::Lines;
use crate::session::Packet;
use crate::trace::Trace;
use crate::{archive, cache, dockerfile, flags, ignore, secrets, ssh};

/// A target's name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("dockerfile", a_dockerfile),
    ("ignore_rules", ignore_rules),
    ("build_status", build_status),
    ("build_report", build_report),
    ("build_failure", build_failure),
    ("file_transfer", file_transfer),
    ("file_names", file_names),
    ("archive_head", archive_head),
    ("build_docker_config", docker_config),
    ("ssh_keys", ssh_keys),
    ("build_flags", build_flags),
    ("git_status", git::status),
    ("git_lists", git::lists),
    ("git_config", git::config),
    ("git_remote", git::remote),
];

fn a_dockerfile(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let lines = text.lines().count();
    let found = [
        dockerfile::line_of(&text, None, 2, "RUN x"),
        dockerfile::line_of(&text, Some("stage-1"), 1, "COPY a b"),
        dockerfile::step_that_adds(&text, "http://x.example/f").map(|found| found.line),
    ];
    for line in found.into_iter().flatten() {
        assert!((1..=lines).contains(&line), "line {line} of {lines}");
    }
    let _declared = dockerfile::declares(&text, "A");
}

/// The first line is a path, the rest an ignore file.
fn ignore_rules(input: &[u8]) {
    let (path, rules) = split(input);
    let path = ignore::clean(&name::text_of(path));
    match ignore::rules(rules, Path::new("i")) {
        Ok(rules) => {
            let _kept_out = ignore::excludes(&rules, &path);
            let (hit, _) = rules.matches(&path, None);
            assert!(!hit || !rules.matches_none_below(&path) || rules.matches(&path, None).0);
        }
        Err(error) => shown(&Failure::from(error).message),
    }
}

fn build_status(input: &[u8]) {
    let secret = BTreeMap::from([("TOKEN".to_owned(), "s3cr3t-of-the-test".to_owned())]);
    let mask = Mask::new(std::iter::empty(), &secret, None::<&Secret>);
    let (mut trace, mut lines) = (Trace::new(mask), Lines::default());
    // Twice, as reports go on about the steps of earlier ones.
    for _ in 0..2 {
        let Ok(report) = StatusResponse::decode(input) else { return };
        trace.apply(report, &mut |event| lines.show(&event, &mut |line| shown(&line)));
    }
    let (steps, cached) = trace.counts();
    assert!(cached <= steps && steps <= 16 * 1024);
    let _bases = trace.bases();
}

fn build_report(input: &[u8]) {
    classic::report(&String::from_utf8_lossy(input), &mut |line| shown(line));
}

/// The first line is the engine's message, the rest the Dockerfile.
fn build_failure(input: &[u8]) {
    let (message, text) = split(input);
    let (message, text) = (String::from_utf8_lossy(message), String::from_utf8_lossy(text));
    let error = diagnose(&message, &Trace::default(), Path::new("D"), &text, Some("web"));
    shown(&Failure::from(error).message);
    let _agent = ssh::not_given(&message);
}

fn file_transfer(input: &[u8]) {
    if let Ok(packet) = Packet::decode(input) {
        assert_eq!(Packet::decode(packet.encode_to_vec().as_slice()), Ok(packet));
    }
}

fn file_names(input: &[u8]) {
    use std::os::unix::ffi::OsStrExt as _;
    assert_eq!(name::name(&name::text_of(input)).as_bytes(), input);
}

fn archive_head(input: &[u8]) {
    let whole = archive::begins(input);
    let head = archive::begins(input.get(..archive::HEAD).unwrap_or(input));
    assert_eq!(whole, head, "no more than the head decides");
}

fn docker_config(input: &[u8]) {
    match DockerConfig::parse(input, Path::new("config.json")) {
        Ok(config) => {
            for proxies in [config.proxies("unix:///x"), config.proxies("default")] {
                assert!(proxies.len() <= 10);
            }
        }
        Err(error) => shown(&Failure::from(error).message),
    }
    let _answer = crate::docker_config::helper::parse(input);
}

fn ssh_keys(input: &[u8]) {
    if let Ok(key) = ssh::Key::parse(&String::from_utf8_lossy(input)) {
        let _signature = key.sign(b"data", 2);
    }
    let answer = ssh::answer(&[], input);
    assert!(answer.len() <= 5, "an agent without keys says little");
}

fn build_flags(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(size) = flags::size("--shm-size", &text) {
        assert!(i64::try_from(size).is_ok());
    }
    if let Ok(limit) = flags::limit(&text) {
        assert!(limit.soft >= -1 && (limit.hard == -1 || limit.soft <= limit.hard));
    }
    let _host = flags::host(&text);
    let _platforms = flags::platforms(Some(&text));
    let _caches = (cache::from(&text), cache::to(&text));
    secrets::check(&text);
}

/// What people see is one line, of a bounded length, and steers no terminal.
fn shown(text: &str) {
    assert!(!text.chars().any(obeyed), "{text:?}");
    assert!(text.chars().count() <= 3 * LINE, "{} characters", text.len());
}

fn split(input: &[u8]) -> (&[u8], &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    (&input[..end], input.get(end + 1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_seed_holds() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
        for (name, target) in TARGETS {
            let seeds: Vec<_> = std::fs::read_dir(corpus.join(name))
                .unwrap_or_else(|error| panic!("{name}: {error}"))
                .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
                .collect();
            assert!(seeds.len() >= 3, "{name} has {} seeds", seeds.len());
            seeds.iter().for_each(|seed| target(seed));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_hold(input in proptest::collection::vec(any::<u8>(), 0..200)) {
            for (_, target) in TARGETS {
                target(&input);
            }
        }
    }
}
