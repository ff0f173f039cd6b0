//! In what the running container differs from what was deployed. Pure.
//!
//! What can be changed on a container that runs is looked at: its state, its limits and restart
//! policy (`docker update`), its networks, and what stands beside it. Files inside it are not.

use std::collections::BTreeSet;

use slipway_engine::bollard::models::{ContainerInspectResponse, HostConfig};

use crate::bluegreen;
use crate::body;
use crate::confinement::{plain_capability, plain_security_opt};
use crate::container::{Container, Role, Status, label};
use crate::spec::Spec;

/// What is compared.
pub(super) struct Drift<'a> {
    pub(super) live: &'a Container,
    pub(super) described: &'a ContainerInspectResponse,
    /// What was deployed, if it is known.
    pub(super) spec: Option<&'a Spec>,
    /// The id of the image that the reference names on the host.
    pub(super) image: Option<&'a str>,
    /// All containers of the application.
    pub(super) all: &'a [Container],
}

impl Drift<'_> {
    /// One sentence each. None holds a variable's value.
    pub(super) fn sentences(&self) -> Vec<String> {
        let mut told = Vec::new();
        self.state(&mut told);
        if let Some(image) = self.image
            && image != self.live.image_id
        {
            told.push(format!("it runs image {} and not {image}", self.live.image_id));
        }
        match self.spec {
            Some(spec) => {
                let host = self.described.host_config.clone().unwrap_or_default();
                limits(spec, &host, &mut told);
                self.restart_policy(spec, &host, &mut told);
                self.environment(spec, &mut told);
                self.networks(spec, &mut told);
                mounts(spec, &host, &mut told);
                self.confinement(spec, &host, &mut told);
            }
            None => told.push("its run specification is not known".to_owned()),
        }
        self.beside(&mut told);
        told
    }

    fn state(&self, told: &mut Vec<String>) {
        let paused = self.described.state.as_ref().and_then(|state| state.paused);
        match self.live.status {
            _ if paused == Some(true) => told.push("it is paused".to_owned()),
            Status::Running => {}
            Status::Restarting => told.push("it ends and is restarted, again and again".to_owned()),
            Status::Created | Status::Stopped => {
                told.push(format!("it does not run: exit code {}", self.live.exit_code));
            }
        }
    }

    fn restart_policy(&self, spec: &Spec, host: &HostConfig, told: &mut Vec<String>) {
        let wanted = body::policy(Some(spec.restart));
        let found = host.restart_policy.clone().unwrap_or_default();
        let times = |count: Option<i64>| count.unwrap_or_default();
        if found.name != wanted.name
            || times(found.maximum_retry_count) != times(wanted.maximum_retry_count)
        {
            let found = found.name.map(|name| name.to_string()).unwrap_or_default();
            told.push(format!("its restart policy is {found} and not {}", spec.restart));
        }
    }

    fn environment(&self, spec: &Spec, told: &mut Vec<String>) {
        let config = self.described.config.as_ref();
        let found = config.and_then(|config| config.env.clone()).unwrap_or_default();
        for (name, value) in spec.environment.variables() {
            if !found.contains(&format!("{name}={value}")) {
                told.push(format!("its variable {name} has another value"));
            }
        }
    }

    /// What no running container can be given: it was made anew by somebody.
    fn confinement(&self, spec: &Spec, host: &HostConfig, told: &mut Vec<String>) {
        let wanted = &spec.confinement;
        if host.readonly_rootfs.unwrap_or_default() != wanted.read_only {
            let found = if wanted.read_only { "can be written to" } else { "is read-only" };
            told.push(format!("its root file system {found}"));
        }
        let user = self.described.config.as_ref().and_then(|config| config.user.as_ref());
        if let Some(wanted) = &wanted.user
            && user != Some(wanted)
        {
            told.push(format!("it does not run as the user {wanted}"));
        }
        let plain = |found: &Option<Vec<String>>, plain: fn(&str) -> String| -> BTreeSet<String> {
            found.iter().flatten().map(|one| plain(one)).collect()
        };
        for (what, found, wanted) in [
            ("has the capability", plain(&host.cap_add, plain_capability), &wanted.cap_add),
            ("lacks the capability", plain(&host.cap_drop, plain_capability), &wanted.cap_drop),
            ("has", plain(&host.security_opt, plain_security_opt), &wanted.security_opt),
        ] {
            told.extend(found.difference(wanted).map(|one| format!("it {what} {one}, too")));
            let missing = wanted.difference(&found);
            told.extend(missing.map(|one| format!("it no longer {what} {one}")));
        }
        let tmpfs = host.tmpfs.clone().unwrap_or_default();
        for path in wanted.tmpfs.keys().filter(|path| !tmpfs.contains_key(*path)) {
            told.push(format!("{path} is not in memory"));
        }
    }

    fn networks(&self, spec: &Spec, told: &mut Vec<String>) {
        let slotted = self.live.label(label::SLOT).is_some();
        let wanted = match spec.network.as_deref() {
            // Behind a front there is a network for the two.
            None if slotted => return,
            None | Some("default") => "bridge",
            Some(name) => name,
        };
        let settings = self.described.network_settings.clone().unwrap_or_default();
        let found: BTreeSet<String> = settings.networks.unwrap_or_default().into_keys().collect();
        if !found.contains(wanted) {
            told.push(format!("it is not connected to the network {wanted}"));
        }
        if !slotted {
            for name in found.iter().filter(|name| *name != wanted) {
                told.push(format!("it is connected to the network {name}, too"));
            }
        }
    }

    fn beside(&self, told: &mut Vec<String>) {
        let others = self.all.iter().filter(|one| one.id != self.live.id);
        for one in others.filter(|one| one.is_up() && one.role() == Role::Release) {
            told.push(format!("{} runs beside it", one.name));
        }
        if self.live.label(label::SLOT).is_some() {
            match bluegreen::front_of(self.all) {
                None => told.push("the front is gone: nothing leads to it".to_owned()),
                Some(front) if front.status != Status::Running => {
                    told.push(format!("the front {} does not run", front.name));
                }
                Some(_) => {}
            }
        }
    }
}

fn limits(spec: &Spec, host: &HostConfig, told: &mut Vec<String>) {
    let mut compare = |what: &str, found: Option<i64>, wanted: Option<i64>| {
        let (found, wanted) = (found.unwrap_or_default(), wanted.unwrap_or_default());
        if found != wanted {
            told.push(format!("its {what} is {} and not {}", amount(found), amount(wanted)));
        }
    };
    compare("limit of memory in bytes", host.memory, spec.memory);
    compare("limit of processor time in billionths", host.nano_cpus, spec.nano_cpus);
    // What no option of ours sets.
    compare("processor quota", host.cpu_quota, None);
    compare("weight of processor time", host.cpu_shares, None);
    compare("reservation of memory in bytes", host.memory_reservation, None);
    // A kernel that cannot limit them has the engine forget it.
    if let Some(found) = host.pids_limit {
        compare("limit of processes", Some(found.max(0)), spec.confinement.pids_limit);
    }
    if let Some(cpus) = host.cpuset_cpus.as_ref().filter(|cpus| !cpus.is_empty()) {
        told.push(format!("it is bound to the processors {cpus}"));
    }
}

fn amount(number: i64) -> String {
    if number == 0 { "none".to_owned() } else { number.to_string() }
}

fn mounts(spec: &Spec, host: &HostConfig, told: &mut Vec<String>) {
    let wanted: BTreeSet<&String> = spec.volumes.iter().collect();
    let found = host.binds.clone().unwrap_or_default();
    let found: BTreeSet<&String> = found.iter().collect();
    for one in wanted.difference(&found) {
        told.push(format!("{one} is not mounted"));
    }
    for one in found.difference(&wanted) {
        told.push(format!("{one} is mounted, too"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::container;
    use crate::spec::tests::spec;

    /// An excerpt of what Docker 20.10 answers.
    const SEEN: &str = r#"{
        "State": {"Status": "running", "Running": true, "Paused": false},
        "Config": {"Env": ["A=canary", "PATH=/bin"]},
        "HostConfig": {"Memory": 9437184, "NanoCpus": 0, "PidsLimit": 4096, "CpusetCpus": "",
                       "ReadonlyRootfs": true, "CapDrop": ["CAP_NET_RAW"], "CapAdd": null,
                       "SecurityOpt": ["no-new-privileges:true"], "Binds": ["data:/data"],
                       "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}},
        "NetworkSettings": {"Networks": {"backend": {}}}
    }"#;

    const DEPLOYED: [&str; 6] = [
        "-e=A=canary",
        "-v=data:/data",
        "--network=backend",
        "--memory=9m",
        "--read-only",
        "--cap-drop=net_raw",
    ];

    fn told(seen: &str, live: &Container, all: &[Container]) -> Vec<String> {
        let spec = spec(&DEPLOYED).unwrap_or_else(|error| panic!("{error}"));
        let described = serde_json::from_str(seen).unwrap();
        let image = Some("sha256:1");
        Drift { live, described: &described, spec: Some(&spec), image, all }.sentences()
    }

    fn live() -> Container {
        container(1, Role::Release, Status::Running, true)
    }

    #[test]
    fn what_runs_as_it_was_deployed_has_none() {
        assert_eq!(told(SEEN, &live(), &[live()]), Vec::<String>::new());
    }

    #[test]
    fn a_kernel_without_limits_of_processes_is_no_drift() {
        let seen = SEEN.replace("\"PidsLimit\": 4096", "\"PidsLimit\": null");
        assert_eq!(told(&seen, &live(), &[live()]), Vec::<String>::new());
    }

    #[test]
    fn each_change_is_told_and_no_value_with_it() {
        for (from, to, sentence) in [
            ("\"Paused\": false", "\"Paused\": true", "paused"),
            ("A=canary", "A=other", "variable A"),
            ("9437184", "5", "not 9437184"),
            ("\"NanoCpus\": 0", "\"NanoCpus\": 7", "7 and not none"),
            ("\"PidsLimit\": 4096", "\"PidsLimit\": 9", "limit of processes is 9 and not 4096"),
            ("\"PidsLimit\": 4096", "\"PidsLimit\": -1", "limit of processes is none"),
            ("\"ReadonlyRootfs\": true", "\"ReadonlyRootfs\": false", "can be written to"),
            ("\"CAP_NET_RAW\"", "", "no longer lacks the capability NET_RAW"),
            ("\"CapAdd\": null", "\"CapAdd\": [\"sys_time\"]", "has the capability SYS_TIME, too"),
            ("no-new-privileges:true", "seccomp=unconfined", "no longer has no-new-privileges"),
            ("\"CpusetCpus\": \"\"", "\"CpusetCpus\": \"0\"", "processors 0"),
            ("data:/data", "data:/other", "data:/data is not mounted"),
            ("always", "no", "restart policy is no and not always"),
            ("\"backend\": {}", "\"backend\": {}, \"x\": {}", "network x, too"),
            ("backend", "x", "not connected to the network backend"),
        ] {
            let told = told(&SEEN.replace(from, to), &live(), &[live()]).join("; ");
            assert!(told.contains(sentence) && !told.contains("canary"), "{sentence}: {told}");
        }
    }

    #[test]
    fn what_stands_beside_it_is_told() {
        let other = container(0, Role::Release, Status::Running, false);
        assert_eq!(told(SEEN, &live(), &[live(), other]), ["web-0 runs beside it"]);
        let mut slotted = live();
        slotted.labels.insert(label::SLOT.to_owned(), "blue".to_owned());
        assert!(told(SEEN, &slotted, &[slotted.clone()])[0].contains("front is gone"));
        let stopped = Container { status: Status::Stopped, exit_code: 3, ..live() };
        assert_eq!(told(SEEN, &stopped, &[]), ["it does not run: exit code 3"]);
        let other = Container { image_id: "sha256:2".to_owned(), ..live() };
        assert!(told(SEEN, &other, &[])[0].contains("runs image sha256:2"));
    }
}
