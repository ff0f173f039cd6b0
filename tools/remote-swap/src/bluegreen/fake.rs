//! Fronts of the engine in memory.

use std::net::IpAddr;
use std::time::Duration;

use crate::container::{Container, Role, Status, label};
use crate::front::{Asked, Config, Files, FrontHost, Network, Subnet, map_text};
use crate::host::{Probe, Result};
use crate::job::Job;
use crate::recreate::fake::{Fake, FrontDisk};
use crate::slot::Slot;

fn a_network() -> Network {
    Network { name: "slipway-web".into(), subnet: Subnet::parse("172.18.0.0/16").unwrap() }
}

impl Fake {
    /// The running front and what it does; a front that was started reads its files.
    fn running_front(&self) -> Option<(String, Config, Slot)> {
        let all = self.containers.borrow();
        let mut fronts = self.fronts.borrow_mut();
        let up = |id: &str| all.iter().any(|one| one.id == id && one.status == Status::Running);
        for (id, disk) in fronts.iter_mut() {
            if !up(id) {
                disk.memory = None;
            } else if disk.memory.is_none() {
                let config = Config::parse(&disk.files.config).unwrap();
                disk.memory = Some((config, disk.files.live().unwrap()));
            }
        }
        fronts.iter().find_map(|(id, disk)| {
            let (config, live) = disk.memory.clone()?;
            Some((id.clone(), config, live))
        })
    }

    fn in_slot(&self, slot: Slot) -> Option<Container> {
        let all = self.containers.borrow();
        all.iter()
            .find(|one| {
                one.role() == Role::Release
                    && one.slot() == Some(slot)
                    && one.status == Status::Running
            })
            .cloned()
    }

    /// The container that the front passes to: that in the live slot, else the other one.
    pub(crate) fn passes_to(&self) -> Option<String> {
        let (_, _, live) = self.running_front()?;
        let one = self.in_slot(live).or_else(|| self.in_slot(live.other()));
        Some(one.map_or("nothing".to_owned(), |one| one.id))
    }

    /// What comes back through the published port.
    fn through_port(&self) -> Asked {
        if self.full.get() {
            return Asked { probe: Probe::Silent { reason: "timed out".into() }, served_by: None };
        }
        let id = self.passes_to();
        let one = self.containers.borrow().iter().find(|one| Some(&one.id) == id.as_ref()).cloned();
        let Some(one) = one else {
            let probe = match id {
                Some(_) => Probe::Answer { status: 503, body: String::new() },
                None => Probe::Silent { reason: "refused".into() },
            };
            return Asked { probe, served_by: None };
        };
        let is = |what: &str| one.label(label::REFERENCE).is_some_and(|name| name.contains(what));
        if is("dies") {
            self.asked.set(self.asked.get() + 1);
            if self.asked.get() == 3 {
                let mut all = self.containers.borrow_mut();
                for one in all.iter_mut().filter(|other| other.id == one.id) {
                    one.status = Status::Stopped;
                    one.exit_code = 9;
                }
            }
        }
        let probe = match self.answer_of(|other| other.id == one.id) {
            Probe::Answer { body, .. } if is("trap") => Probe::Answer { status: 503, body },
            other => other,
        };
        Asked { probe, served_by: one.slot() }
    }

    fn state(&self, config: &Config, live: Slot) -> String {
        let up = |slot| u8::from(self.in_slot(slot).is_some());
        let connections = if self.full.get() { config.settings.connections } else { 0 };
        format!(
            r#"{{"generation":"{}","live":"{live}","blue":{{"up":{},"busy":[0]}},"green":{{"up":{},"busy":[0]}},"connections":[{connections}]}}"#,
            config.generation(),
            up(Slot::Blue),
            up(Slot::Green),
        )
    }
}

impl FrontHost for Fake {
    async fn network(&self, _: &str) -> Result<Option<Network>> {
        self.act("network", |_| Ok(self.network.get().then(a_network))).await
    }

    async fn create_network(&self, _: &str) -> Result<Network> {
        self.act("create network", |_| {
            self.network.set(true);
            Ok(a_network())
        })
        .await
    }

    async fn connect(&self, _: &str, id: &str, _: Option<&str>) -> Result<()> {
        self.act(&format!("connect {id}"), |_| Ok(())).await
    }

    async fn pull_image(&self, _: &str, _: &Job, _: &mut dyn FnMut(String)) -> Result<()> {
        self.act("pull image", |_| Ok(())).await
    }

    async fn fill(&self, front: &str, files: &Files) -> Result<()> {
        self.act(&format!("fill {front}"), |_| {
            let disk = FrontDisk { files: files.clone(), memory: None };
            self.fronts.borrow_mut().insert(front.to_owned(), disk);
            Ok(())
        })
        .await
    }

    async fn files(&self, front: &str) -> Result<Option<Files>> {
        self.act("files", |_| Ok(self.fronts.borrow().get(front).map(|disk| disk.files.clone())))
            .await
    }

    async fn reload(
        &self,
        front: &str,
        config: &Config,
    ) -> Result<std::result::Result<(), String>> {
        self.running_front();
        self.act(&format!("reload {front}"), |_| {
            let mut fronts = self.fronts.borrow_mut();
            let disk = fronts.get_mut(front).unwrap();
            disk.files.config = config.text();
            self.left_behind.set(false);
            disk.memory = None;
            Ok(Ok(()))
        })
        .await
    }

    async fn workers(&self, front: &str) -> Result<usize> {
        self.act(&format!("workers {front}"), |_| Ok(1)).await
    }

    async fn keep_live(&self, front: &str, live: Slot) -> Result<std::result::Result<(), String>> {
        self.running_front();
        self.act(&format!("keep {live}"), |_| {
            self.fronts.borrow_mut().get_mut(front).unwrap().files.map = map_text(live);
            Ok(Ok(()))
        })
        .await
    }

    async fn ask(&self, ip: IpAddr, _: u16, path: &str, token: &str, _: Duration) -> Result<Asked> {
        // What a front reads when it starts is read before anything else happens.
        self.running_front();
        let asked = self.act(&format!("ask {path}"), |_| Ok(())).await;
        if asked.is_ok() || self.is_unanswered() {
            // The front has done what it was told also if its answer is lost.
            let told = self.tell(ip, path, token);
            return asked.map(|()| told);
        }
        Err(asked.unwrap_err())
    }
}

impl Fake {
    fn tell(&self, ip: IpAddr, path: &str, token: &str) -> Asked {
        let known = |config: &Config| config.token == token;
        if ip.is_loopback() {
            let asked = self.through_port();
            let ours = self.running_front().is_none_or(|(_, config, _)| known(&config));
            return Asked { served_by: asked.served_by.filter(|_| ours), ..asked };
        }
        let Some((id, config, mut live)) = self.running_front() else {
            return Asked { probe: Probe::Silent { reason: "refused".into() }, served_by: None };
        };
        if self.left_behind.get() || !known(&config) {
            let probe = Probe::Answer { status: 404, body: String::new() };
            return Asked { probe, served_by: None };
        }
        if let Some(slot) = path.strip_prefix("/live/").and_then(Slot::parse) {
            live = slot;
            let mut fronts = self.fronts.borrow_mut();
            fronts.get_mut(&id).unwrap().memory = Some((config.clone(), live));
        }
        let body = self.state(&config, live);
        Asked { probe: Probe::Answer { status: 200, body }, served_by: None }
    }
}
