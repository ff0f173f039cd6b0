//! Whoever owns the port before the first front does.

use serde_json::{Value, json};
use slipway_tests::lab::app_engine;
use slipway_tests::process::until;

use super::place::{Place, place};
use super::site::{INSIDE, Site, deploy, host, inspect, one, text_of, two};

/// A container of somebody else that publishes a port; goes with the test.
struct Stranger(String);

impl Stranger {
    fn on(app: &Place) -> Self {
        let _ = app_engine(&["rm", "-f", app.name]);
        let publish = format!("{}:{INSIDE}", app.port);
        let run = ["run", "-d", "--restart", "unless-stopped", "-e", "NOTE=stranger"];
        let named = ["--name", app.name, "-p", &publish, one().reference()];
        let this = Self(app_engine(&[&run[..], &named[..]].concat()).trim().to_owned());
        until("its answer", || app.get("/").ok());
        this
    }

    fn state(&self) -> (Value, Value) {
        let seen = inspect(&self.0);
        (seen["State"]["Running"].clone(), seen["HostConfig"]["RestartPolicy"]["Name"].clone())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = app_engine(&["rm", "-f", &self.0]);
    }
}

#[test]
fn a_strangers_port_is_taken_over_only_when_told_to() {
    let app = place("green-adopt", 8221);
    // It is there before a release is: the release's image has to be, to be run by hand.
    app_engine_has_one(&app);
    let stranger = Stranger::on(&app);
    let bad = app.turn(two(), &[]).bad("remote-swap", 1, "port_in_use");
    assert_eq!(host(&bad)["outcome"], "failed");
    let served = || app.get("/").unwrap().1;
    assert_eq!((served(), app.containers().len()), ("one stranger".to_owned(), 0));

    let good = app.turn(two(), &["--adopt", app.name]).good();
    assert_eq!(host(&good)["outcome"], "deployed");
    assert!(host(&good)["unserved_ms"].as_u64() > Some(0), "{:#}", host(&good));
    assert!(good.told.contains("connections are refused"), "{}", good.told);
    app.assert_live(two());
    assert_eq!(stranger.state(), (json!(false), json!("no")), "kept, and stays down");

    // Said again, it is done already; and the next deploy costs nothing.
    let id = app.turned(one(), &["--adopt", app.name]);
    assert_eq!(app.assert_live(one()), id);
}

/// Has the server pull the release's image, as the first deploy of another application does.
fn app_engine_has_one(app: &Place) {
    let _ = deploy(&mut app.swap(&[]), one()).good();
    for one in app.containers() {
        app_engine(&["rm", "-f", text_of(&one, "Id")]);
    }
}

#[test]
fn a_bad_release_gives_the_port_back_to_whom_it_was_taken_from() {
    let app = place("green-adopt-bad", 8222);
    app_engine_has_one(&app);
    let stranger = Stranger::on(&app);
    let args = ["--adopt", app.name, "--env", "BAD_BEHIND_FRONT=1"];
    let bad = app.turn(two(), &args).bad("remote-swap", 1, "unhealthy");
    assert_eq!(host(&bad)["outcome"], "rolled_back");
    assert!(host(&bad)["unserved_ms"].as_u64() > Some(0), "{:#}", host(&bad));
    assert_eq!(app.get("/").unwrap().1, "one stranger");
    assert_eq!(stranger.state(), (json!(true), json!("unless-stopped")), "as before");
    assert_eq!(app.containers(), Vec::<Value>::new());
}

#[test]
fn what_is_to_be_adopted_has_to_hold_the_port() {
    let app = place("green-adopt-none", 8223);
    let bad = app.turn(one(), &["--adopt", "green-nobody"]).bad("remote-swap", 2, "usage");
    assert!(text_of(&bad.document["error"], "message").contains("there is none"));
    assert_eq!(app.containers(), Vec::<Value>::new());
}

#[test]
fn an_application_without_a_front_gets_one() {
    let app = place("green-recreate", 8224);
    app.deployed(one(), &[]);
    let old = app.assert_serves(one());
    let good = app.turn(two(), &[]).good();
    assert!(host(&good)["unserved_ms"].as_u64() > Some(0), "{:#}", host(&good));
    app.assert_live(two());
    assert_eq!(inspect(&old)["State"]["Running"], false, "kept");
    app.turned(one(), &["--env", "NOTE=next"]);
}
