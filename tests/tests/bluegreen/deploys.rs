//! Good deploys, as the users of the application see them, and what is left after several.

use serde_json::json;

use super::place::{Load, place};
use super::site::{Release, Site, host, one, text_of, two};

#[test]
fn deploys_under_load_lose_no_request() {
    let app = place("green-load", 8200);
    app.turned(one(), &[]);
    let front = text_of(&app.front(), "Id").to_owned();
    let three = Release::new("three", "");
    let load = Load::on(&app);
    for release in [two(), &three] {
        app.turned(release, &["--soak", "1s"]);
        load.more(100);
    }
    let report = load.finish_well();
    for version in ["one", "two", "three"] {
        assert!(report["versions"][version].as_u64() > Some(50), "{report:#}");
    }
    assert_eq!(text_of(&app.front(), "Id"), front, "the front is no part of a deploy");
}

#[test]
fn as_many_releases_are_kept_as_asked_for() {
    let app = place("green-kept", 8201);
    let mut ids = Vec::new();
    let mut previous = None;
    for (note, release) in [("1", one()), ("2", two()), ("3", one()), ("4", two())] {
        let note = format!("NOTE={note}");
        let run = app.turn(release, &["--keep", "3", "--env", &note]).good();
        assert_eq!(host(&run).get("previous").cloned(), previous);
        previous = Some(json!(release.reference()));
        ids.push(app.assert_live(release));
        let mut there: Vec<String> =
            app.of_role("release").iter().map(|one| text_of(one, "Id").to_owned()).collect();
        let mut expected: Vec<String> = ids.iter().rev().take(3).cloned().collect();
        there.sort();
        expected.sort();
        assert_eq!(there, expected, "after {note}");
    }
}

#[test]
fn what_serves_already_is_left_alone() {
    let app = place("green-same", 8202);
    let id = app.turned(one(), &[]);
    let before = app.containers();
    let again = app.turn(one(), &[]).good();
    assert_eq!(host(&again)["outcome"], "unchanged");
    assert_eq!(host(&again)["container_id"], id);
    assert_eq!(app.containers(), before);
    app.turned(one(), &["--env", "NOTE=changed"]);
}
