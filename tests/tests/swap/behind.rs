//! Going back and looking, with a front that owns the port.

use super::options::configured;
use super::rollback::piped_by;
use super::*;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use slipway_tests::lab::http_get;
use slipway_tests::process::{until, without_input};

/// Deploys behind a front.
fn turn(app: &App, release: &Release, args: &[&str]) -> Run {
    let mut swap = app.swap_by("blue-green", &["--soak", "0s"]);
    let run = deploy(swap.args(args), release).good();
    assert_eq!(host(&run)["outcome"], "deployed", "{}", run.told);
    run
}

/// remote-swap with another command than to deploy, and without a document.
fn command(app: &App, args: &[&str]) -> Run {
    let mut command = tool("remote-swap");
    command.args(args).args(["--app", app.name, "--no-input", "--health-interval", "100ms"]);
    Run::of(&without_input(command.args(app.ssh().split(' '))))
}

/// What status tells of the first host.
fn status(app: &App) -> Value {
    command(app, &["status"]).good().document["status"]["hosts"][0].clone()
}

fn drift(app: &App) -> String {
    status(app)["drift"].to_string()
}

/// Asks the application again and again, each time over a connection of its own.
struct Prober {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<String>>,
}

impl Prober {
    /// Begins, and waits for the first answers.
    fn new(port: u16) -> Self {
        let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (stopping, count) = (Arc::clone(&stop), Arc::clone(&asked));
        let address = from_run_sh("LAB_APP_ADDR");
        let thread = std::thread::spawn(move || {
            let mut failed = Vec::new();
            while !stopping.load(Ordering::SeqCst) {
                match http_get(&address, port, "/") {
                    Ok((200, _)) => {}
                    other => failed.push(format!("{other:?}")),
                }
                count.fetch_add(1, Ordering::SeqCst);
                std::thread::park_timeout(Duration::from_millis(5));
            }
            failed
        });
        let prober = Self { stop, asked, thread };
        prober.more(20);
        prober
    }

    fn more(&self, count: usize) {
        let wanted = self.asked.load(Ordering::SeqCst) + count;
        until("answers", || (self.asked.load(Ordering::SeqCst) >= wanted).then_some(()));
    }

    /// Ends, after some more answers; what failed.
    fn finish(self) -> Vec<String> {
        self.more(20);
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

#[test]
fn a_release_comes_back_whole_and_nobody_notices() {
    let _volume = Volume::new("green-return");
    let app = site("green-return", 8187);
    std::fs::write(app.beside("env"), "FROM_FILE=canary of a file\n").unwrap();
    let file = app.beside("env");
    let first = turn(
        &app,
        one(),
        &[
            "--env-file",
            file.to_str().unwrap(),
            "--env=NOTE=the first",
            "--volume=green-return:/data",
            "--memory=64m",
            "--cpus=0.75",
            "--log-driver=json-file",
            "--log-opt=max-size=1m",
            "--restart=on-failure:4",
            "--stop-timeout=7s",
        ],
    );
    let whole = configured(text_of(host(&first), "container_id"));
    turn(&app, two(), &["--env", "NOTE=the second"]);
    let prober = Prober::new(app.port);
    let back = command(&app, &["rollback"]).good();
    assert_eq!(prober.finish(), Vec::<String>::new());
    assert_eq!(host(&back)["outcome"], "deployed");
    assert_eq!(back.document["deploy"]["strategy"], "blue-green");
    assert_eq!(back.document["deploy"]["kind"], "rollback");
    assert_eq!(host(&back)["reference"], one().reference());
    assert_eq!(host(&back)["previous"], two().reference());
    assert_eq!(app.get("/").unwrap().1, "one the first");
    let id = text_of(host(&back), "container_id");
    assert_eq!(configured(id), whole);
    assert_ne!(id, host(&first)["container_id"], "a container of its own");
    assert!(!format!("{}{}", back.told, back.document).contains("canary"), "{}", back.told);
    assert_unlocked(&app);
    let nowhere = command(&app, &["rollback"]).bad("remote-swap", 6, "rollback_impossible");
    assert_eq!(host(&nowhere)["outcome"], "failed");
    assert_eq!(app.get("/").unwrap().1, "one the first");
}

#[test]
fn the_slots_the_front_and_what_is_live_are_told() {
    let app = site("green-seen", 8188);
    let first = turn(&app, one(), &[]);
    let only = status(&app);
    assert_eq!(only["front"]["live_slot"], only["live"]["slot"]);
    assert_eq!(only["slots"].as_object().unwrap().len(), 1, "{only:#}");
    let second = turn(&app, two(), &[]);
    let seen = status(&app);
    let live = &seen["live"];
    assert_eq!(live["container_id"], host(&second)["container_id"]);
    assert_eq!(live["deploy_id"], second.document["deploy"]["deploy_id"]);
    assert_eq!(
        (&live["state"], &live["reference"]),
        (&json!("running"), &json!(two().reference()))
    );
    assert_ne!(live["slot"], only["live"]["slot"], "they take turns");
    let slots = seen["slots"].as_object().unwrap();
    assert_eq!(slots.keys().collect::<Vec<_>>(), ["blue", "green"]);
    let of = |slot: &Value| &slots[slot.as_str().unwrap()];
    assert_eq!(of(&live["slot"])["state"], "running");
    assert_eq!(of(&live["slot"])["deploy_id"], live["deploy_id"]);
    assert_eq!(of(&only["live"]["slot"])["state"], "exited");
    assert_eq!(of(&only["live"]["slot"])["deploy_id"], first.document["deploy"]["deploy_id"]);
    assert_eq!(seen["front"]["state"], "running");
    assert_eq!(seen["front"]["live_slot"], live["slot"]);
    assert!(text_of(&seen["front"], "image").contains("haproxy"), "{seen:#}");
    let named =
        app_engine(&["ps", "--filter", &format!("publish={}", app.port), "--format", "{{.Names}}"]);
    assert_eq!(named.trim(), text_of(&seen["front"], "container"));
    assert_eq!(seen["rollback_to"], first.document["deploy"]["deploy_id"]);
    assert_eq!((&seen["drift"], seen["history"].as_array().unwrap().len()), (&json!([]), 2));

    let mut table = tool("remote-swap");
    table.args(["status", "--format", "table", "--no-input", "--app", app.name]);
    let table = without_input(table.args(app.ssh().split(' ')));
    let table = String::from_utf8(table.stdout).unwrap();
    for text in [text_of(live, "slot"), text_of(live, "deploy_id"), "front", "(next)"] {
        assert!(table.contains(text), "{text}: {table}");
    }
}

#[test]
fn what_was_changed_behind_the_front_is_drift() {
    let app = site("green-drift", 8189);
    let run = turn(&app, one(), &["--memory", "64m"]);
    let id = text_of(host(&run), "container_id");
    assert_eq!(status(&app)["drift"], json!([]));
    app_engine(&["update", "--memory", "48m", "--memory-swap", "96m", id]);
    let told = drift(&app);
    assert!(told.contains("50331648 and not 67108864"), "{told}");
    app_engine(&["stop", "-t", "1", id]);
    let seen = status(&app);
    assert!(seen["drift"].to_string().contains("does not run"), "{seen:#}");
    assert_eq!(
        (&seen["live"]["container_id"], &seen["live"]["state"]),
        (&json!(id), &json!("exited"))
    );
    app_engine(&["start", id]);
    app_engine(&["update", "--memory", "64m", "--memory-swap", "128m", id]);
    assert_eq!(status(&app)["drift"], json!([]));

    let front = text_of(&status(&app)["front"], "container").to_owned();
    app_engine(&["stop", "-t", "1", &front]);
    let told = drift(&app);
    assert!(told.contains(&front) && told.contains("does not run"), "{told}");
    app_engine(&["rm", &front]);
    let seen = status(&app);
    assert!(seen["drift"].to_string().contains("the front is gone"), "{seen:#}");
    assert!(seen.get("front").is_none(), "{seen:#}");
    assert_eq!(seen["live"]["container_id"], id, "{seen:#}");
    // Another run puts that right.
    let again = deploy(&mut app.swap_by("blue-green", &["--soak", "0s", "--memory", "64m"]), one());
    let _ = again.good();
    assert_eq!(status(&app)["drift"], json!([]));
    assert_eq!(app.get("/").unwrap().1, "one");
}

#[test]
fn a_deploy_that_healthwait_finds_bad_is_undone_behind_the_front() {
    let app = site("green-undo", 8190);
    let piped = |release, target: &str| piped_by("blue-green", &app, release, target);
    let first = piped(one(), "").good();
    assert_eq!(host(&first)["outcome"], "deployed", "what is well is left alone");
    assert_eq!(first.document["deploy"]["strategy"], "blue-green");
    let prober = Prober::new(app.port);
    let nobody = format!("http://{}:8191/", from_run_sh("LAB_APP_ADDR"));
    let undone = piped(two(), &nobody);
    assert_eq!(prober.finish(), Vec::<String>::new());
    assert_eq!(undone.document["error"]["tool"], "healthwait", "{}", undone.told);
    assert_eq!(undone.exit, 124, "the first error's");
    assert_eq!(host(&undone)["outcome"], "rolled_back", "{}", undone.told);
    assert_eq!(undone.told.matches(": error: ").count(), 1, "{}", undone.told);
    assert_eq!(app.get("/").unwrap().1, "one");
    let seen = status(&app);
    assert_eq!(seen["live"]["reference"], one().reference());
    assert_eq!(seen["live"]["origin"], first.document["deploy"]["deploy_id"]);
    assert_eq!(seen["live"]["container_id"], host(&undone)["container_id"]);
    assert_eq!(seen["history"][0]["kind"], "rollback");
    // One that found everything as it was has nothing to undo.
    let unchanged = piped(one(), &nobody);
    assert_eq!(host(&unchanged)["outcome"], "unchanged", "{}", unchanged.told);
    assert_eq!(status(&app)["live"]["container_id"], seen["live"]["container_id"]);
    assert_unlocked(&app);
}

#[test]
fn a_release_that_is_down_by_now_is_undone_behind_the_front() {
    let app = site("green-down", 8192);
    turn(&app, one(), &[]);
    let second = turn(&app, two(), &[]);
    // As one is that ended as often as its restart policy lets it.
    app_engine(&["stop", "-t", "1", text_of(host(&second), "container_id")]);
    let nobody = format!("http://{}:8191/", from_run_sh("LAB_APP_ADDR"));
    let waited = without_input(tool("healthwait").args([&nobody, "--timeout", "100ms"]));
    let mut document = second.document.clone();
    document["error"] = Run::of(&waited).document["error"].clone();
    let mut back = tool("remote-swap");
    back.args(["rollback", "--on-error", "--health-interval", "100ms"]).args(app.ssh().split(' '));
    let undone = Run::of(&with_input(&mut back, &document.to_string()));
    assert_eq!((undone.exit, &undone.document["error"]["tool"]), (124, &json!("healthwait")));
    assert_eq!(host(&undone)["outcome"], "rolled_back", "{}", undone.told);
    assert_eq!(app.get("/").unwrap().1, "one");
    assert_eq!(status(&app)["drift"], json!([]));
}
