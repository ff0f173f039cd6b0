//! A front that is changed or replaced, and options that reach the container behind it.

use serde_json::json;
use slipway_tests::lab::{App, app_engine};

use super::place::{Load, place};
use super::site::{INSIDE, Volume, host, inspect, one, text_of, two};

const OTHER_IMAGE: &str = "green-front:other";

#[test]
fn a_changed_option_of_the_front_loses_no_request() {
    let app = place("green-changed", 8225);
    app.turned(one(), &[]);
    let front = text_of(&app.front(), "Id").to_owned();
    let load = Load::on(&app);
    for (release, args) in
        [(two(), ["--drain-timeout", "9s"]), (one(), ["--health-path", "/ready"])]
    {
        let run = app.turn(release, &args).good();
        assert!(run.told.contains("changing the front's configuration"), "{}", run.told);
        assert!(host(&run).get("unserved_ms").is_none(), "{:#}", host(&run));
        app.assert_live(release);
        load.more(50);
    }
    load.finish_well();
    assert_eq!(text_of(&app.front(), "Id"), front, "it is the same one");
}

#[test]
fn a_front_of_another_image_tells_its_cost_first() {
    let app = place("green-upgrade", 8226);
    app_engine(&["tag", "haproxy:3.2", OTHER_IMAGE]);
    let old = app.turned(one(), &[]);
    let front = text_of(&app.front(), "Id").to_owned();
    let run = app.turn(two(), &["--front-image", OTHER_IMAGE]).good();
    let cost = run.told.find("connections are refused").expect("the cost is told");
    assert!(cost < run.told.find("replacing").unwrap(), "before it is paid: {}", run.told);
    assert!(host(&run)["unserved_ms"].as_u64() > Some(0), "{:#}", host(&run));
    app.assert_live(two());
    assert_ne!(text_of(&app.front(), "Id"), front);
    assert_eq!(app.front()["Config"]["Image"], OTHER_IMAGE);
    assert_eq!(inspect(&old)["State"]["Running"], false, "kept");
    // It stays: what was chosen once is not asked for again and again.
    app.turned(one(), &["--env", "NOTE=next"]);
    assert_eq!(app.front()["Config"]["Image"], OTHER_IMAGE);
}

#[test]
fn another_port_and_a_bad_release_leave_the_old_front() {
    let app = place("green-moved", 8227);
    let id = app.turned(one(), &[]);
    let front = text_of(&app.front(), "Id").to_owned();
    let more = ["--publish", "8228:8000"];
    let bad = [&more[..], &["--env", "BAD_BEHIND_FRONT=1"]].concat();
    let bad = app.turn(two(), &bad).bad("remote-swap", 1, "unhealthy");
    assert_eq!(host(&bad)["outcome"], "rolled_back");
    assert_eq!((app.assert_live(one()), text_of(&app.front(), "Id")), (id, front.as_str()));

    let good = app.turn(two(), &more).good();
    assert!(host(&good)["unserved_ms"].as_u64() > Some(0), "{:#}", host(&good));
    app.assert_live(two());
    let other = App::empty("green-moved-too", 8228);
    assert_eq!(other.get("/").unwrap(), (200, "two".to_owned()));
}

#[test]
fn the_container_gets_its_options_and_the_network_its_name() {
    let volume = Volume::new("green-data");
    let app = place("green-options", 8229);
    let _ = app_engine(&["network", "create", "green-net"]);
    let network = Network("green-net");
    let args = [
        ["--volume", "green-data:/data"],
        ["--memory", "96m"],
        ["--cpus", "0.5"],
        ["--network", "green-net"],
        ["--env", "NOTE=told"],
    ];
    for release in [one(), two()] {
        let id = app.turned(release, args.as_flattened());
        let config = &inspect(&id)["HostConfig"];
        assert_eq!(config["Memory"], 96 << 20);
        assert_eq!(config["NanoCpus"], 500_000_000);
        assert_eq!(config["Binds"], json!(["green-data:/data"]));
        assert!(config["PortBindings"].as_object().is_none_or(serde_json::Map::is_empty));
        // Its neighbours call the application by name, and the front answers.
        let ask = format!(
            "import urllib.request as r; a = r.urlopen('http://{}:{INSIDE}/'); print(a.read().decode())",
            app.name
        );
        let run = ["run", "--rm", "--network", "green-net", release.reference()];
        let told = app_engine(&[&run[..], &["python3", "-c", &ask]].concat());
        assert_eq!(told.trim(), format!("{} told", release.version));
    }
    drop(app);
    drop((network, volume));
}

/// A network of the server; goes with the test.
struct Network(&'static str);

impl Drop for Network {
    fn drop(&mut self) {
        let _ = app_engine(&["network", "rm", self.0]);
    }
}
