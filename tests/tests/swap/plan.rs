//! What a deploy would do, told and not done; and what it does, told call by call.

use super::*;

/// What was done to the application's containers on the server since a moment of its clock. What
/// the front holds was only read.
fn happened(name: &str, since: &str) -> String {
    let (label, now) = (format!("label=dev.slipway.app={name}"), clock());
    let told = app_engine(&["events", "--since", since, "--until", &now, "--filter", &label]);
    told.lines().filter(|line| !line.contains("container archive-path")).collect()
}

/// The time there, in seconds and fractions of them.
fn clock() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}

#[test]
fn what_would_be_done_is_told_and_nothing_is_touched() {
    let first = [("recreate", "prove start"), ("blue-green", "start start watch")];
    let next = ["prove replace", "start turn watch stop"];
    for ((strategy, first), next) in first.into_iter().zip(next) {
        let name = if strategy == "recreate" { "swap-plan" } else { "green-plan" };
        let app = site(name, 8182);
        let planned = |release: &Release| {
            let (before, since) = (app.containers(), clock());
            let run = deploy(&mut app.swap_by(strategy, &["plan"]), release).good();
            assert_eq!(app.containers(), before, "{strategy}: it is only told");
            assert_eq!(happened(name, &since), "", "{strategy}");
            assert_unlocked(&app);
            assert!(run.document.get("deploy").is_none(), "{:#}", run.document);
            let host = &run.document["plan"]["hosts"][0];
            assert_eq!(host["error"], Value::Null);
            // Whether a pull is among it depends on what other applications have brought there.
            let steps = host["steps"].as_array().unwrap().iter();
            let steps = steps.map(|step| text_of(step, "action")).filter(|step| *step != "pull");
            (steps.collect::<Vec<_>>().join(" "), host["changes"] == true)
        };
        let deployed = |release: &Release| {
            let run = deploy(&mut app.swap_by(strategy, &["--soak", "0s"]), release).good();
            text_of(host(&run), "outcome").to_owned()
        };
        assert_eq!(planned(one()), (first.to_owned(), true), "{strategy}");
        assert_eq!(deployed(one()), "deployed");
        assert_eq!(planned(two()), (next.to_owned(), true), "{strategy}");
        assert_eq!(planned(one()), (String::new(), false), "{strategy}");
        assert_eq!(deployed(one()), "unchanged");
    }
}

#[test]
fn each_call_is_told_with_its_time_where_that_is_asked_for() {
    let app = site("swap-progress", 8183);
    let silent = app.deploy_release(one(), &[]).good();
    assert!(!silent.told.contains(": +"), "{}", silent.told);
    let run = app.deploy_release(two(), &["--progress"]).good();
    let told: Vec<&str> = run.told.lines().filter(|line| line.contains(": +")).collect();
    let mut last = 0.0;
    for line in &told {
        let (at, rest) = line.split_once(": +").unwrap().1.split_once(" s ").unwrap();
        let (_, took) = rest.rsplit_once(": ").unwrap();
        assert!(took.strip_suffix(" ms").is_some_and(|ms| ms.parse::<u32>().is_ok()), "{line}");
        let at: f32 = at.parse().unwrap();
        assert!(at >= last, "{line}: after {last}");
        last = at;
    }
    for call in ["creating", "starting"] {
        assert!(told.iter().any(|line| line.contains(call)), "{call}: {told:#?}");
    }
}
