//! What the users of an application see of its deploys, and what is left after several.

use super::*;

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use slipway_tests::process::until;

/// How often the application is asked.
const EVERY: Duration = Duration::from_millis(20);

/// How much later than a user the deploy may find that the new release answers.
const SLACK: Duration = Duration::from_millis(500);

/// A question of a user.
struct Question {
    asked: Instant,
    ended: Instant,
    /// What was answered with 200.
    answer: Option<String>,
}

/// One request, as a browser would give it up.
fn ask(address: SocketAddr) -> std::io::Result<Option<String>> {
    let limit = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok(head.contains(" 200 ").then(|| body.to_owned()))
}

/// Asks until told to stop, each time on a thread of its own: one answer that is late keeps no
/// other question from being asked.
fn keep_asking(address: SocketAddr, stop: &AtomicBool, told: &Sender<Question>) {
    std::thread::scope(|scope| {
        while !stop.load(Ordering::Relaxed) {
            let told = told.clone();
            scope.spawn(move || {
                let asked = Instant::now();
                let answer = ask(address).unwrap_or(None);
                let _ = told.send(Question { asked, ended: Instant::now(), answer });
            });
            std::thread::park_timeout(EVERY);
        }
    });
}

#[test]
fn outside_of_the_stated_gap_every_question_is_answered() {
    let app = site("swap-gap", 8123);
    app.deployed(one(), &[]);
    let address = format!("{}:{}", from_run_sh("LAB_APP_ADDR"), app.port).parse().unwrap();
    let stop = AtomicBool::new(false);
    let (sender, receiver) = channel();
    let replaced = std::thread::scope(|scope| {
        scope.spawn(|| keep_asking(address, &stop, &sender));
        let deploying = Deploying::new(&mut app.swap(&[]), two()).until_told("replacing");
        let replaced = deploying.finish();
        stop.store(true, Ordering::Relaxed);
        replaced.good()
    });
    drop(sender);
    let unserved = Duration::from_millis(host(&replaced)["unserved_ms"].as_u64().unwrap());
    let all: Vec<Question> = receiver.into_iter().collect();
    let from = |release: &'static str| {
        let is = move |answer: &String| answer.trim_end() == release;
        all.iter().filter(move |question| question.answer.as_ref().is_some_and(is))
    };
    let failed = || all.iter().filter(|question| question.answer.is_none());

    // A question that failed was open at some moment at which nobody served. With this strategy
    // there are some, and they have to be seen for this test to mean anything.
    let first = failed().map(|question| question.ended).min().expect("a gap");
    let last = failed().map(|question| question.asked).max().unwrap();
    let seen = last.saturating_duration_since(first);
    assert!(seen <= unserved, "{seen:?} were seen and {unserved:?} stated");
    // And one that was answered was open at some moment at which that release served.
    let old = from("one").map(|question| question.asked).max().unwrap();
    let new = from("two").map(|question| question.ended).min().unwrap();
    let possible = new - old;
    assert!(unserved <= possible + SLACK, "{unserved:?} were stated, {possible:?} are possible");
    app.assert_serves(two());
}

#[test]
fn two_previous_containers_are_kept() {
    let app = site("swap-kept", 8137);
    let (mut ids, mut previous) = (Vec::new(), Value::Null);
    for (note, release) in [("1", one()), ("2", two()), ("3", one()), ("4", two())] {
        let run = app.deploy_release(release, &["--env", &format!("NOTE={note}")]).good();
        assert_eq!(host(&run)["previous"], previous);
        previous = json!(release.reference());
        ids.push(app.assert_serves(release));
        let mut expected: Vec<&String> = ids.iter().rev().take(3).collect();
        expected.sort();
        let mut there: Vec<String> =
            app.containers().iter().map(|one| text_of(one, "Id").to_owned()).collect();
        there.sort();
        assert_eq!(there.iter().collect::<Vec<_>>(), expected, "after deploy {note}");
    }
    // What is kept would serve again as it is.
    app_engine(&["stop", "-t", "1", &ids[3]]);
    app_engine(&["start", &ids[2]]);
    let answer = until("the kept one", || app.get("/").ok());
    assert_eq!(answer, (200, "one 3".to_owned()));
}

#[test]
fn what_somebody_stopped_is_started_again_by_the_next_deploy_or_replaced() {
    let app = site("swap-fallen", UNPUBLISHED);
    let first = app.deploy_release(one(), &[]).good();
    let id = text_of(host(&first), "container_id");
    app_engine(&["stop", "-t", "1", id]);
    let again = app.deploy_release(one(), &[]).good();
    assert_eq!(host(&again)["outcome"], "unchanged");
    assert_eq!(app.assert_serves(one()), id);
    app_engine(&["rm", "-f", id]);
    app.deployed(two(), &[]);
    app.assert_serves(two());
}
