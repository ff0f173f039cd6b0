use slipway_release::Code;

use super::*;

fn host(url: Option<&str>, local_url: Option<&str>) -> HostOutcome {
    HostOutcome {
        host: "deployer@app.example".to_owned(),
        url: url.map(str::to_owned),
        local_url: local_url.map(str::to_owned),
        outcome: Some(Outcome::Deployed),
        ..HostOutcome::default()
    }
}

fn found(hosts: Vec<HostOutcome>) -> Result<Goals, Failure> {
    let path = Some("/health".to_owned());
    Ok(deployed(Some(Deploy { hosts, health_path: path, ..Deploy::default() }))?)
}

#[test]
fn a_port_that_others_do_not_reach_is_asked_through_its_own_host() {
    let found = found(vec![
        host(Some("http://app.example:8000"), None),
        host(None, Some("http://127.0.0.1:8306")),
        host(None, Some("http://[::1]:8306")),
    ]);
    let goals = found.unwrap().goals;
    let told: Vec<_> = goals
        .iter()
        .map(|goal| (goal.name.as_str(), goal.through.as_ref().map(ToString::to_string)))
        .collect();
    let through = || Some("deployer@app.example".to_owned());
    assert_eq!(
        told,
        [
            ("http://app.example:8000/health", None),
            ("http://127.0.0.1:8306/health", through()),
            ("http://[::1]:8306/health", through()),
        ]
    );
}

#[test]
fn a_host_without_a_port_has_nothing_to_ask() {
    let found = found(vec![host(None, None)]).unwrap();
    assert_eq!((found.goals.len(), found.silent), (0, vec!["deployer@app.example".to_owned()]));
}

#[test]
fn a_document_leads_to_applications_only() {
    for url in [
        "http+unix:///var/run/docker.sock:/info",
        "unix:///var/run/docker.sock",
        "container://web",
        "file:///etc/passwd",
        "app:8000",
        "http://me:hunter2@app:x",
    ] {
        for (url, local) in [(Some(url), None), (None, Some(url))] {
            let failure = found(vec![host(url, local)]).unwrap_err();
            assert_eq!(failure.code, Code::BadSection, "{url:?}");
            assert!(!failure.message.contains("hunter2"), "{}", failure.message);
        }
    }
    // The host is not sent to others either.
    for local in ["http://169.254.169.254/", "http://app.example/", "tcp://10.0.0.1:22"] {
        let failure = found(vec![host(None, Some(local))]).unwrap_err();
        assert!(failure.message.contains("hosts[0].local_url"), "{}", failure.message);
    }
}

#[test]
fn a_login_of_a_document_s_url_is_used_and_not_told() {
    let goals = found(vec![host(Some("http://me:hunter2@app:8000"), None)]).unwrap().goals;
    assert_eq!(goals[0].name, "http://app:8000/health");
    assert!(matches!(&goals[0].target, Target::Http(url) if url.login.is_some()));
    let bad =
        HostOutcome { host: "u:hunter2@h".to_owned(), ..host(None, Some("http://127.0.0.1:1")) };
    let failure = found(vec![bad]).unwrap_err();
    assert!(!failure.message.contains("hunter2"), "{}", failure.message);
}
