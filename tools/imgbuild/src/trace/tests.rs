//! What is made of reports as engines send them.

use super::*;
use crate::progress::Lines;

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

fn vertex(digest: &str, name: &str) -> Vertex {
    Vertex { digest: digest.into(), name: name.into(), started: at(10), ..Vertex::default() }
}

fn log(digest: &str, text: &str) -> VertexLog {
    VertexLog { vertex: digest.into(), timestamp: at(11), stream: 1, msg: text.into() }
}

fn lines(reports: Vec<StatusResponse>) -> (Vec<String>, Trace) {
    let (mut said, mut trace, mut lines) = (Vec::new(), Trace::default(), Lines::default());
    for report in reports {
        trace.apply(report, &mut |event| lines.show(&event, &mut |line| said.push(line)));
    }
    (said, trace)
}

#[test]
fn places() {
    let place = Place::parse("[builder 2/5] RUN make [x] y").unwrap();
    assert_eq!((place.stage.as_deref(), place.number, place.of), (Some("builder"), 2, 5));
    assert_eq!(place.text, "RUN make [x] y");
    assert_eq!(Place::parse("[1/4] FROM x").unwrap().stage, None);
    assert_eq!(Place::parse("[linux/arm64 web 1/4] FROM x").unwrap().stage.as_deref(), Some("web"));
    assert_eq!(Place::parse("[linux/arm64 1/4] FROM x").unwrap().stage, None);
    for name in ["[internal] load build context", "exporting to image", "[a] b"] {
        assert_eq!(Place::parse(name), None, "{name}");
    }
}

#[test]
fn a_step_its_output_and_its_end() {
    let done = Vertex { completed: at(12), ..vertex("a", "[1/2] RUN x") };
    let cached = Vertex { cached: true, completed: at(12), ..vertex("b", "[2/2] RUN y") };
    let (said, trace) = lines(vec![
        StatusResponse {
            vertexes: vec![vertex("i", "[internal] load"), vertex("a", "[1/2] RUN x")],
            ..Default::default()
        },
        StatusResponse {
            logs: vec![log("a", "one\ntw"), log("a", "o\n10%\r20%\rdone\n\u{1b}[31mred")],
            ..Default::default()
        },
        StatusResponse { vertexes: vec![done.clone(), done, cached], ..Default::default() },
    ]);
    assert_eq!(
        said,
        [
            "#1 [1/2] RUN x",
            "#1 1.000 one",
            "#1 1.000 two",
            "#1 1.000 done",
            "#1 red",
            "#1 DONE 2.0s",
            "#2 [2/2] RUN y",
            "#2 CACHED"
        ]
    );
    assert_eq!(trace.counts(), (2, 1));
    assert!(trace.failed().is_none());
}

#[test]
fn the_failed_step_keeps_its_last_lines() {
    let failed = Vertex {
        error: "exit code: 3".into(),
        completed: at(12),
        ..vertex("a", "[web 3/7] RUN x")
    };
    let off = Vertex { error: "context canceled".into(), ..vertex("b", "[1/7] RUN y") };
    let text: String = (0..80).map(|n| format!("line {n}\n")).collect();
    let (said, trace) = lines(vec![
        StatusResponse {
            vertexes: vec![vertex("b", "[1/7] RUN y"), vertex("a", "[web 3/7] RUN x")],
            ..Default::default()
        },
        StatusResponse { logs: vec![log("a", &text), log("gone", "x\n")], ..Default::default() },
        StatusResponse { vertexes: vec![off, failed], ..Default::default() },
    ]);
    let step = trace.failed().unwrap();
    assert_eq!(step.place.as_ref().unwrap().stage.as_deref(), Some("web"));
    let tail = step.tail();
    assert_eq!((tail.len(), tail[0].as_str(), tail[49].as_str()), (50, "line 30", "line 79"));
    assert!(said.iter().any(|line| line == "#2 ERROR: exit code: 3"), "{said:?}");
}

#[test]
fn nothing_secret_is_shown_or_kept() {
    let args = [("A_TOKEN".to_owned(), "s3cr3t".to_owned())].into();
    let secret = &b"first line\nsecond line\n"[..];
    let mut trace = Trace::new(Mask::new([secret].into_iter(), &args, None));
    let (mut said, mut lines) = (Vec::new(), Lines::default());
    let step =
        Vertex { error: "s3cr3t: exit code: 1".into(), ..vertex("a", "[1/2] COPY x /s3cr3t") };
    for report in [
        StatusResponse {
            vertexes: vec![vertex("a", "[1/2] COPY x /s3cr3t")],
            ..Default::default()
        },
        // A secret comes in two pieces.
        StatusResponse { logs: vec![log("a", "it is s3c")], ..Default::default() },
        StatusResponse { logs: vec![log("a", "r3t\nsecond line\nfirst l")], ..Default::default() },
        StatusResponse { logs: vec![log("a", "ine")], ..Default::default() },
        StatusResponse {
            vertexes: vec![Vertex { completed: at(12), ..step }],
            ..Default::default()
        },
    ] {
        trace.apply(report, &mut |event| lines.show(&event, &mut |line| said.push(line)));
    }
    let step = trace.failed().unwrap();
    assert_eq!(step.tail(), ["it is ***", "***", "***"]);
    let all = format!("{said:?} {} {} {:?}", step.name(), step.error, step.place);
    assert!(!all.contains("s3cr3t") && !all.contains(" line"), "{all}");
    assert!(said.contains(&"#1 ERROR: ***: exit code: 1".to_owned()), "{said:?}");
}

#[test]
fn chores_are_told_if_they_take_a_while_and_parts_when_they_are_done() {
    let done = |vertex: Vertex, seconds| Vertex { completed: at(seconds), ..vertex };
    let part = |completed| VertexStatus {
        id: "sha256:abc".into(),
        vertex: "p".into(),
        current: 29_100_000,
        completed,
        ..VertexStatus::default()
    };
    let (said, _) = lines(vec![
        StatusResponse {
            vertexes: vec![
                vertex("quick", "[internal] load .dockerignore"),
                vertex("slow", "[internal] load build context"),
                vertex("p", "[1/1] FROM x"),
            ],
            statuses: vec![part(None), part(at(11)), part(at(11))],
            ..Default::default()
        },
        StatusResponse {
            vertexes: vec![
                done(vertex("quick", "[internal] load .dockerignore"), 10),
                done(vertex("slow", "[internal] load build context"), 13),
            ],
            ..Default::default()
        },
    ]);
    assert_eq!(
        said,
        [
            "#1 [1/1] FROM x",
            "#1 sha256:abc 29.1 MB",
            "#2 [internal] load build context",
            "#2 DONE 3.0s"
        ]
    );
}

#[test]
fn bases_are_known_if_nothing_else_is_taken_from() {
    let bases = |names: &[&str]| {
        let vertexes = names.iter().enumerate().map(|(n, name)| vertex(&n.to_string(), name));
        let (_, trace) =
            lines(vec![StatusResponse { vertexes: vertexes.collect(), ..Default::default() }]);
        trace.bases().map(|bases| bases.into_iter().collect::<Vec<_>>().join(" "))
    };
    let usual = [
        "[internal] load build definition from Dockerfile",
        "[internal] load .dockerignore",
        "[internal] load metadata for docker.io/library/debian:12",
        "[internal] load build context",
        "[a 1/2] FROM docker.io/library/debian:12",
        "FROM docker.io/library/tools:1",
        "[a 2/2] ADD x /x",
        "exporting to image",
    ];
    assert_eq!(bases(&usual).unwrap(), "docker.io/library/debian:12 docker.io/library/tools:1");
    assert_eq!(bases(&[]).unwrap(), "");
    for other in [
        "[a 2/3] ADD https://example.com/x /x",
        "[a 2/3] ADD --chmod=644 git@example.com:x/y.git /x",
        "https://example.com/x",
        "[auth] library/debian:pull token for registry-1.docker.io",
        "resolve image config for docker.io/docker/dockerfile:1",
        "docker-image://docker.io/docker/dockerfile:1",
        "[context other] load from client",
    ] {
        assert_eq!(bases(&[&usual[..], &[other]].concat()), None, "{other}");
    }
}
