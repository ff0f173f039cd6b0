//! What the users of an application see of its deploys, and what is left after several.

use super::*;

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use slipway_tests::process::until;

/// How often the application is asked.
const EVERY: Duration = Duration::from_millis(20);

/// What the client's own pauses, and the way of its requests, may add to a gap.
const SLACK: Duration = Duration::from_millis(500);

/// One request, as a browser would give it up.
fn ask(address: SocketAddr) -> std::io::Result<bool> {
    let limit = Duration::from_secs(3);
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.contains(" 200 "))
}

/// Asks until told to stop, each time on a thread of its own: one answer that is late keeps no
/// other question from being asked. Tells when each question was asked and whether it was answered.
fn keep_asking(address: SocketAddr, stop: &AtomicBool, told: &Sender<(Instant, bool)>) {
    std::thread::scope(|scope| {
        while !stop.load(Ordering::Relaxed) {
            let told = told.clone();
            scope.spawn(move || {
                let asked = Instant::now();
                let _ = told.send((asked, ask(address).unwrap_or(false)));
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
    let (replaced, replacing) = std::thread::scope(|scope| {
        scope.spawn(|| keep_asking(address, &stop, &sender));
        let deploying = Deploying::new(&mut app.swap(&[]), two()).until_told("replacing");
        let replacing = Instant::now();
        let replaced = deploying.finish();
        stop.store(true, Ordering::Relaxed);
        (replaced.good(), replacing)
    });
    drop(sender);
    let unserved = Duration::from_millis(host(&replaced)["unserved_ms"].as_u64().unwrap());
    let all: Vec<(Instant, bool)> = receiver.into_iter().collect();
    let failed: Vec<Instant> = all.iter().filter(|(_, ok)| !ok).map(|(at, _)| *at).collect();
    assert!(all.len() > failed.len() + 10, "{} of {} failed", failed.len(), all.len());
    // With this strategy there is a gap, and it has to be seen for this test to mean anything.
    let (first, last) = (*failed.iter().min().unwrap(), *failed.iter().max().unwrap());
    assert!(first + SLACK >= replacing, "it failed {:?} before the stop", replacing - first);
    let seen = last - first;
    assert!(seen <= unserved + SLACK, "{seen:?} were seen and {unserved:?} stated");
    assert!(unserved <= seen + SLACK, "{unserved:?} were stated and {seen:?} seen");
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
