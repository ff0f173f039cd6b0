//! A deploy that is ended in the middle, by a signal or without a word.

use super::*;

use slipway_tests::process::until;

#[test]
fn a_signal_while_the_candidate_is_proved() {
    let app = site("swap-term", 8129);
    let good = app.deploy_release(one(), &[]).good();
    for (signal, exit) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut swap = app.swap(&["--env", "WARM_UP=3600"]);
        let deploying = Deploying::new(&mut swap, two()).until_told("proving a candidate");
        until("the candidate", || running(&app, "candidate", ""));
        let ended = deploying.signal(signal).bad("remote-swap", exit, "interrupted");
        assert_eq!(host(&ended)["outcome"], "failed");
        assert_eq!(app.assert_serves(one()), host(&good)["container_id"]);
        assert_eq!(app.containers().len(), 1, "the candidate is gone already");
    }
    app.deployed(two(), &[]);
    app.assert_serves(two());
}

#[test]
fn a_signal_while_the_old_one_stops() {
    let app = site("swap-stop", 8130);
    let stubborn = ["--env", "STUBBORN=1", "--stop-timeout", "2m"];
    app.deployed(one(), &stubborn);
    let old = app.assert_serves(one());
    let deploying = Deploying::new(&mut app.swap(&stubborn), two()).until_told("replacing");
    told_to_stop(&old);
    let ended = deploying.signal(Signal::TERM);
    // Brought to whichever end was nearer, and said so.
    match host(&ended)["outcome"].as_str() {
        Some("deployed") => {
            assert_eq!(ended.good().exit, 0);
            app.assert_serves(two());
        }
        Some(outcome) => {
            assert_eq!(outcome, "rolled_back");
            assert_eq!(ended.bad("remote-swap", 143, "interrupted").exit, 143);
            app.assert_serves(one());
        }
        // On a machine that is too slow for either, the document does not claim to know.
        None => {
            let reason = text_of(host(&ended), "error").to_owned();
            assert!(reason.contains("before it was known"), "{reason}");
            assert_eq!(ended.bad("remote-swap", 143, "interrupted").exit, 143);
        }
    }
    app.deployed(two(), &["--env", "NOTE=again", "--stop-timeout", "1s"]);
    app.assert_serves(two());
}

#[test]
fn a_signal_while_the_new_one_starts() {
    let app = site("swap-start", 8131);
    let good = app.deploy_release(one(), &[]).good();
    let old = text_of(host(&good), "container_id");
    // For as long as this it is not healthy in its place, either.
    let warm = ["--env", "WARM_UP=6"];
    let deploying = Deploying::new(&mut app.swap(&warm), two()).until_told("replacing");
    until("the new one", || running(&app, "release", old));
    let ended = deploying.signal(Signal::TERM).bad("remote-swap", 143, "interrupted");
    assert_eq!(host(&ended)["outcome"], "rolled_back");
    assert_eq!(app.assert_serves(one()), old);
    app.deployed(two(), &[]);
    app.assert_serves(two());
}

/// When a deploy is killed.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// As soon as it tells this.
    Told(&'static str),
    /// While its candidate runs.
    Candidate,
    /// While the new one runs in its place, not yet proved.
    Halfway,
}

const CUTS: [Cut; 9] = [
    Cut::Told("connecting"),
    Cut::Told("connected"),
    Cut::Told("pulling"),
    Cut::Told("pulled"),
    Cut::Told("proving a candidate"),
    Cut::Candidate,
    Cut::Told("it is healthy"),
    Cut::Told("replacing"),
    Cut::Halfway,
];

#[test]
fn killed_anywhere_one_serves_and_a_plain_rerun_converges() {
    let app = site("swap-kill", 8136);
    let first = Release::new("killed", "");
    app.deployed(&first, &[]);
    let mut serving = first;
    for cut in CUTS {
        let old = app.assert_serves(&serving);
        // One that the server has not pulled yet.
        let next = Release::new("next", "");
        let args = ["--env", "WARM_UP=1"];
        let mut swap = app.swap(&args);
        let deploying = Deploying::new(&mut swap, &next);
        match cut {
            Cut::Told(text) => deploying.until_told(text).kill(),
            Cut::Candidate => {
                let deploying = deploying.until_told("proving a candidate");
                until("the candidate", || running(&app, "candidate", ""));
                deploying.kill();
            }
            Cut::Halfway => {
                let deploying = deploying.until_told("replacing");
                until("the new one", || running(&app, "release", &old));
                deploying.kill();
            }
        }
        if !matches!(cut, Cut::Told("replacing") | Cut::Halfway) {
            assert_eq!(app.get("/").unwrap().1, serving.version, "{cut:?}: before the stop");
        }
        let again = app.deploy_release(&next, &args).good();
        let id = app.assert_serves(&next);
        assert_eq!(host(&again)["container_id"], id, "{cut:?}");
        serving = next;
    }
    assert_eq!(app.containers().len(), 3);
}

#[test]
fn killed_with_a_bad_one_in_the_place_the_rerun_goes_back() {
    let _volume = Volume::new("swap-bad-half");
    let app = site("swap-bad-half", 8133);
    let good = app.deploy_release(one(), &[]).good();
    let old = text_of(host(&good), "container_id");
    let sick = ["--volume", "swap-bad-half:/data", "--env", "SICK_AT=2"];
    let deploying = Deploying::new(&mut app.swap(&sick), two()).until_told("replacing");
    until("the new one", || running(&app, "release", old));
    deploying.kill();
    // What is asked for now is what served before.
    let again = app.deploy_release(one(), &["--health-timeout", "6s"]).good();
    assert_eq!(app.assert_serves(one()), text_of(host(&again), "container_id"));
}
