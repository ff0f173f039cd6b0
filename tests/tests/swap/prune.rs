//! How many releases stay on a server, and what of them goes.

use super::*;

use slipway_tests::process::without_input;

/// The references of these releases that the server still has.
fn pulled(releases: &[Release]) -> Vec<&'static str> {
    let there = releases.iter().filter(|release| is_pulled(release.reference()));
    there.map(|release| release.version).collect()
}

/// The references of the containers of the application's releases, live or kept.
fn kept(app: &App, releases: &[Release]) -> Vec<&'static str> {
    let images: Vec<Value> =
        app.containers().iter().map(|one| one["Config"]["Image"].clone()).collect();
    let there = releases.iter().filter(|one| images.contains(&json!(one.reference())));
    there.map(|release| release.version).collect()
}

const VERSIONS: [&str; 6] = ["first", "second", "third", "fourth", "fifth", "sixth"];

/// What a test takes from the server again: a container and a name of an image.
struct Strange {
    container: String,
    tag: &'static str,
}

impl Drop for Strange {
    fn drop(&mut self) {
        let _ = app_engine(&["rm", "-f", &self.container]);
        let _ = app_engine(&["rmi", self.tag]);
    }
}

#[test]
fn as_many_releases_stay_as_are_to_be_kept_and_nothing_of_others_goes() {
    for (strategy, name, port) in
        [("recreate", "swap-keep", 8178), ("blue-green", "green-keep", 8179)]
    {
        let app = site(name, port);
        let releases = VERSIONS.map(|version| Release::new(version, ""));
        let turn = |index: usize, args: &[&str]| {
            let mut swap = app.swap_by(strategy, &["--soak", "0s"]);
            let run = deploy(swap.args(args), &releases[index]).good();
            assert_eq!(host(&run)["outcome"], "deployed", "{}", run.told);
            assert_eq!(app.get("/").unwrap().1, VERSIONS[index]);
        };
        turn(0, &[]);
        turn(1, &[]);
        // Somebody else uses the first one, and has a name of their own for the second.
        let tag = "example.com/strange:mine";
        let container = app_engine(&["create", releases[0].reference()]).trim().to_owned();
        app_engine(&["tag", releases[1].reference(), tag]);
        let strange = Strange { container, tag };
        let named = app_engine(&["image", "ls", "-q", "--no-trunc", tag]);
        turn(2, &[]);
        assert_eq!(kept(&app, &releases), VERSIONS[..3]);
        turn(3, &[]);
        assert_eq!(kept(&app, &releases), VERSIONS[1..4], "three by default");
        assert_eq!(pulled(&releases), VERSIONS[..4], "one of them is somebody else's, too");
        turn(4, &[]);
        assert_eq!(kept(&app, &releases), VERSIONS[2..5]);
        let left = pulled(&releases);
        assert_eq!(left, ["first", "third", "fourth", "fifth"], "{strategy}");
        assert_eq!(app_engine(&["image", "ls", "-q", "--no-trunc", tag]), named, "it is another's");
        assert_eq!(inspect(&strange.container)["State"]["Status"], "created");

        turn(5, &["--keep", "2"]);
        assert_eq!(kept(&app, &releases), VERSIONS[4..], "what is live, and what was before it");
        assert_eq!(pulled(&releases), ["first", "fifth", "sixth"]);
        // What serves already is not pruned away by a run that changes nothing, either.
        let again = deploy(&mut app.swap_by(strategy, &["--keep", "2"]), &releases[5]).good();
        assert_eq!(host(&again)["outcome"], "unchanged");
        assert_eq!(kept(&app, &releases), VERSIONS[4..]);
        // And the one before it can be gone back to, although nothing can be pulled.
        let mut back = app.swap_by(strategy, &["--soak", "0s"]);
        let back = Run::of(&without_input(back.args(["rollback", "--no-input"])));
        assert_eq!(host(&back.good())["reference"], releases[4].reference());
        assert_eq!(app.get("/").unwrap().1, "fifth");
    }
}

#[test]
fn less_than_the_live_one_and_the_one_before_it_cannot_be_kept() {
    let app = site("swap-keep-none", UNPUBLISHED);
    app.deployed(one(), &[]);
    let before = app.containers();
    for keep in ["0", "1"] {
        let bad = app.deploy_release(two(), &["--keep", keep]).bad("remote-swap", 2, "usage");
        let message = text_of(&bad.document["error"], "message");
        assert!(message.contains(&format!("--keep {keep}")), "{message}");
        assert_eq!(app.containers(), before);
    }
}
