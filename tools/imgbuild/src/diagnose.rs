//! What a failed build's last message means.
//!
//! The engine tells it as one text that grew from layer to layer. The phrases
//! here are those of BuildKit as in Docker 20.10 and in current releases.

use std::path::Path;

use slipway_engine::{Meaning, RegistryFault, classify};

use crate::dockerfile;
use crate::error::{Error, FailedStep, Role};
use crate::trace::{Step, Trace};

/// The error for a build that ended with `message`.
pub(crate) fn diagnose(
    message: &str,
    trace: &Trace,
    path: &Path,
    text: &str,
    target: Option<&str>,
) -> Error {
    let cause = cause(message);
    let failed = trace.failed().or_else(|| trace.running(command(message)?));
    let exit_code = number_behind(message, "exit code: ");
    // What a command prints may read like anything: its step goes first.
    if let Some(step) = failed
        && exit_code.is_some()
        && let Some(error) = failed_step(step, exit_code, cause, path, text)
    {
        return error;
    }
    if matches!(classify(message), Some(Meaning::DiskFull)) {
        return Error::DiskFull { why: cause.to_owned() };
    }
    if let Some(id) = secret(message) {
        return Error::SecretNotGiven { id };
    }
    if message.contains("unknown operating system or architecture") {
        return Error::BadOption { option: "--platform", why: cause.to_owned() };
    }
    if let Some(error) = in_the_file(message, cause, path, target) {
        return error;
    }
    if let Some(error) = base_image(message, cause, failed) {
        return error;
    }
    match failed.and_then(|step| failed_step(step, None, cause, path, text)) {
        Some(error) => error,
        None => Error::Build { why: cause.to_owned() },
    }
}

/// The message without the layers that say only that something failed.
fn cause(message: &str) -> &str {
    let mut rest = message.trim();
    for layer in [
        "failed to solve with frontend dockerfile.v0: ",
        "failed to solve with frontend gateway.v0: ",
        "failed to solve: ",
        "rpc error: code = Unknown desc = ",
        "failed to create LLB definition: ",
        "failed to build LLB: ",
        "executor failed running ",
    ] {
        rest = rest.strip_prefix(layer).unwrap_or(rest);
    }
    rest
}

fn failed_step(
    step: &Step,
    exit_code: Option<i64>,
    cause: &str,
    path: &Path,
    text: &str,
) -> Option<Error> {
    let Some(place) = &step.place else { return failed_source(step, cause, path, text) };
    let line = dockerfile::line_of(text, place.stage.as_deref(), place.number, &place.text);
    Some(Error::Step {
        step: Box::new(FailedStep {
            stage: place.stage.clone(),
            number: place.number,
            of: place.of,
            text: place.text.clone(),
            path: path.to_owned(),
            line,
            exit_code,
            why: cause.to_owned(),
            log: step.tail(),
        }),
    })
}

/// What an ADD fetches, which the engine does apart from the ADD.
fn failed_source(step: &Step, cause: &str, path: &Path, text: &str) -> Option<Error> {
    let found = dockerfile::step_that_adds(text, step.name())?;
    let why = cause.strip_prefix("failed to load cache key: ").unwrap_or(cause);
    Some(Error::Step {
        step: Box::new(FailedStep {
            stage: found.stage,
            number: found.number,
            of: found.of,
            text: found.text,
            path: path.to_owned(),
            line: Some(found.line),
            exit_code: None,
            why: why.to_owned(),
            log: step.tail(),
        }),
    })
}

/// A mistake in the Dockerfile or in `--target`.
pub(crate) fn in_the_file(
    message: &str,
    cause: &str,
    path: &Path,
    target: Option<&str>,
) -> Option<Error> {
    let lower = message.to_lowercase();
    let stage_words = ["failed to reach build target", "target stage"];
    if let Some(stage) = target
        && stage_words.iter().any(|words| lower.contains(words))
    {
        return Some(Error::StageMissing { stage: stage.to_owned(), path: path.to_owned() });
    }
    let words = [
        "dockerfile parse error",
        "unknown instruction",
        "no build stage in current context",
        "the dockerfile cannot be empty",
        "file with no instructions",
        "requires at least one argument",
        "requires exactly",
        "circular dependency detected",
        "invalid from flag value",
        "unsupported operator",
        "base name (",
        "unknown flag",
        "unexpected end of statement",
        "must have two arguments",
        "failed to process",
    ];
    let line = number_behind(&lower, "parse error line ")
        .or_else(|| number_behind(&lower, "parse error on line "));
    if line.is_none() && !words.iter().any(|words| lower.contains(words)) {
        return None;
    }
    let line = line.and_then(|line| usize::try_from(line).ok());
    // The line is told apart from the reason, so it need not stand twice.
    let why = match (line, cause.split_once("line ")) {
        (Some(_), Some((_, rest))) => rest.split_once(": ").map_or(cause, |(_, why)| why),
        _ => cause,
    };
    Some(Error::Dockerfile { path: path.to_owned(), line, why: unquoted(why) })
}

/// The reason without what it quotes of the file: the line says where that stands, and a file that
/// is no Dockerfile may hold anything.
fn unquoted(why: &str) -> String {
    for words in ["nknown instruction: ", "nknown flag: "] {
        if let Some((before, _)) = why.split_once(words) {
            return format!("{before}{}", words.trim_end_matches(": "));
        }
    }
    let (mut told, mut rest) = (String::new(), why.chars());
    while let Some(c) = rest.next() {
        if c != '"' {
            told.push(c);
            continue;
        }
        told.push('…');
        // To the quotation's end, which an escaped quote is not; or to the end of all.
        while let Some(c) = rest.next().filter(|c| *c != '"') {
            if c == '\\' {
                rest.next();
            }
        }
    }
    told
}

/// A FROM whose image cannot be had: the engine fails it while it loads the
/// image's metadata, or in the FROM step itself.
fn base_image(message: &str, cause: &str, failed: Option<&Step>) -> Option<Error> {
    let name = failed.map(|step| step.place.as_ref().map_or(step.name(), |place| &place.text))?;
    let names = [
        ("FROM ", Role::Base),
        ("[internal] load metadata for ", Role::Base),
        ("resolve image config for ", Role::Frontend),
    ];
    let (role, image) =
        names.into_iter().find_map(|(prefix, role)| Some((role, name.strip_prefix(prefix)?)))?;
    let image = image.strip_prefix("docker-image://").unwrap_or(image);
    let fault = match classify(message) {
        Some(Meaning::Registry(fault)) => Some(fault),
        // BuildKit says no more than this of a name that a registry lacks.
        _ if cause.ends_with(": not found") => Some(RegistryFault::ManifestUnknown),
        _ => None,
    };
    let image = image.split('@').next().unwrap_or(image);
    let why = cause.rsplit_once(&format!("{image}: ")).map_or(cause, |(_, why)| why);
    // `Head "https://…": dial tcp …`: the URL says nothing that the name does not.
    let request = why.strip_prefix("failed to load cache key: ").unwrap_or(why);
    let why = match request
        .strip_prefix("failed to do request: ")
        .and_then(|rest| rest.split_once("\": "))
    {
        Some((_, why)) => why,
        None => request,
    };
    Some(Error::BaseImage { role, image: image.to_owned(), fault, why: why.to_owned() })
}

/// The command of a RUN, as its failure tells it.
fn command(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("/bin/sh -c ")?;
    let ends = ["\" did not complete", "]: exit code: "];
    ends.iter().find_map(|end| Some(rest.rsplit_once(end)?.0)).filter(|command| !command.is_empty())
}

/// The id of a secret that a step requires.
fn secret(message: &str) -> Option<String> {
    let (_, rest) = message.rsplit_once("secret ")?;
    let (id, rest) = rest.split_once([' ', ':'])?;
    rest.trim_start_matches([' ', ':']).starts_with("not found").then(|| id.to_owned())
}

fn number_behind(text: &str, words: &str) -> Option<i64> {
    let (_, rest) = text.rsplit_once(words)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex};

    const FILE: &str = "FROM python:3-slim\nCOPY a.txt /\nRUN echo one; \\\n  exit 3\n";

    fn trace(steps: &[(&str, &str)]) -> Trace {
        let mut trace = Trace::default();
        let vertexes = steps
            .iter()
            .map(|(name, error)| Vertex {
                digest: (*name).to_owned(),
                name: (*name).to_owned(),
                error: (*error).to_owned(),
                ..Vertex::default()
            })
            .collect();
        trace.apply(StatusResponse { vertexes, ..Default::default() }, &mut |_| ());
        trace
    }

    fn told(message: &str, steps: &[(&str, &str)]) -> Error {
        diagnose(message, &trace(steps), Path::new("app/Dockerfile"), FILE, Some("web"))
    }

    #[test]
    fn a_step_that_ended() {
        // As Docker 20.10 and as current releases say it; the third is a step
        // that another build shares.
        let run = "[3/3] RUN echo one;   exit 3";
        for (message, error) in [
            (
                "executor failed running [/bin/sh -c echo one;   exit 3]: exit code: 3",
                "exit code: 3",
            ),
            (
                "failed to solve: process \"/bin/sh -c echo one;   exit 3\" did not complete successfully: exit code: 3",
                "process did not complete",
            ),
            ("executor failed running [/bin/sh -c echo one;   exit 3]: exit code: 3", ""),
            // What a command says does not matter.
            (
                "executor failed running [/bin/sh -c echo one;   exit 3]: exit code: 3",
                "denied: x509: exit code: 3",
            ),
        ] {
            let Error::Step { step } = told(message, &[("[1/3] FROM x", ""), (run, error)]) else {
                panic!("{message} was not told as a step");
            };
            assert_eq!((step.number, step.of, step.line, step.exit_code), (3, 3, Some(3), Some(3)));
        }
        let message = "failed to compute cache key: \"/nope\" not found: not found";
        let error = told(message, &[("[2/3] COPY a.txt /", "not found")]);
        assert!(
            error.to_string().starts_with("step 2/3 (app/Dockerfile line 2) failed: "),
            "{error}"
        );
    }

    #[test]
    fn mistakes_in_the_file() {
        let begin =
            "failed to solve with frontend dockerfile.v0: failed to create LLB definition: ";
        for (message, wanted) in [
            (
                "dockerfile parse error line 2: unknown instruction: FOO",
                "app/Dockerfile line 2: unknown instruction",
            ),
            (
                "dockerfile parse error on line 7: ENV must have two arguments",
                "app/Dockerfile line 7: ENV must have two arguments",
            ),
            (
                "dockerfile parse error line 4: Syntax error - can't find = in \"AKIA\". Must be of the form: name=value",
                "app/Dockerfile line 4: Syntax error - can't find = in …. Must be of the form: name=value",
            ),
            (
                r#"dockerfile parse error line 4: failed to process "\"AKIA": unexpected end of statement"#,
                "app/Dockerfile line 4: failed to process …: unexpected end of statement",
            ),
            (
                "no build stage in current context",
                "app/Dockerfile: no build stage in current context",
            ),
            (
                "base name (${X}) should not be blank",
                "app/Dockerfile: base name (${X}) should not be blank",
            ),
            ("target stage web could not be found", "the stage `web` is not in app/Dockerfile"),
            (
                "failed to reach build target web in Dockerfile",
                "the stage `web` is not in app/Dockerfile",
            ),
        ] {
            assert_eq!(told(&format!("{begin}{message}"), &[]).to_string(), wanted);
        }
    }

    #[test]
    fn base_images() {
        let begin =
            "failed to solve with frontend dockerfile.v0: failed to create LLB definition: ";
        let load = |image: &str| format!("[internal] load metadata for {image}");
        let cases = [
            (
                "failed to do request: Head \"https://r.example/v2/x/manifests/1\": dial tcp: lookup r.example: no such host",
                Some(RegistryFault::Unreachable),
                "dial tcp: lookup r.example: no such host",
            ),
            (
                "pulling from host r.example failed with status code [manifests t1]: 401 Unauthorized",
                Some(RegistryFault::Unauthorized),
                "pulling from host r.example failed with status code [manifests t1]: 401 Unauthorized",
            ),
            ("r.example/x:1: not found", Some(RegistryFault::ManifestUnknown), "not found"),
        ];
        for (message, wanted, reason) in cases {
            match told(&format!("{begin}{message}"), &[(&load("r.example/x:1"), "no")]) {
                Error::BaseImage { role: Role::Base, image, fault, why } => {
                    assert_eq!(
                        (image.as_str(), fault, why.as_str()),
                        ("r.example/x:1", wanted, reason)
                    );
                }
                other => panic!("{message}: {other}"),
            }
        }
        let message = "failed to load cache key: failed to do request: Head \"https://h/v2\": EOF";
        let error = told(message, &[("FROM docker.io/library/nope:latest", "EOF")]);
        assert_eq!(
            error.to_string(),
            "the base image docker.io/library/nope:latest cannot be had: EOF"
        );
    }

    #[test]
    fn a_frontend_is_no_base_image() {
        // As Docker 20.10 and as current releases say it.
        for name in
            ["docker.io/docker/dockerfile:1", "docker-image://docker.io/docker/dockerfile:1"]
        {
            let message = "failed to solve with frontend dockerfile.v0: failed to solve with frontend gateway.v0: failed to do request: Head \"https://registry-1.docker.io/v2/docker/dockerfile/manifests/1\": dial tcp: lookup registry-1.docker.io: no such host";
            let error = told(message, &[(&format!("resolve image config for {name}"), "no")]);
            assert_eq!(
                error.to_string(),
                "the Dockerfile frontend docker.io/docker/dockerfile:1 cannot be had: dial tcp: lookup registry-1.docker.io: no such host"
            );
        }
    }

    #[test]
    fn secrets_disks_and_the_rest() {
        for message in ["secret tok not found: not found", "failed to solve: secret tok: not found"]
        {
            let error = told(message, &[("[2/2] RUN --mount=type=secret,id=tok x", "no")]);
            assert!(matches!(&error, Error::SecretNotGiven { id } if id == "tok"), "{error}");
        }
        let full = "failed to copy files: copy file range failed: no space left on device";
        assert!(matches!(told(full, &[("[2/3] COPY a.txt /", "no")]), Error::DiskFull { .. }));
        assert!(matches!(
            told("\"x\": unknown operating system or architecture: invalid argument", &[]),
            Error::BadOption { .. }
        ));
        assert!(matches!(told("something new", &[]), Error::Build { .. }));
    }
}
