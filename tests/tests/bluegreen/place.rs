//! What the tests of the strategy `blue-green` share.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use slipway_tests::lab::{App, Run, app_engine, run};
use slipway_tests::load::drive::Driver;
use slipway_tests::load::tally::Tally;
use slipway_tests::load::{Plan, Stream};
use slipway_tests::process::until;
use slipway_tests::{from_run_sh, project};
use tokio::sync::{mpsc, watch};

use super::site::{Release, Site, deploy, host, site, text_of};

/// An application behind a front. Its network goes with it: the lab has few ranges of addresses.
pub(crate) struct Place {
    app: App,
}

impl std::ops::Deref for Place {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
    }
}

/// An application of its own, which nothing is left of on the server.
pub(crate) fn place(name: &'static str, port: u16) -> Place {
    let place = Place { app: site(name, port) };
    place.clear();
    place
}

impl Place {
    fn clear(&self) {
        let label = format!("label=dev.slipway.app={}", self.name);
        let listed = app_engine(&["ps", "-aq", "--filter", &label]);
        for id in listed.split_whitespace() {
            let _ = app_engine(&["rm", "-f", "-v", id]);
        }
        let listed = app_engine(&["network", "ls", "-q", "--filter", &label]);
        for id in listed.split_whitespace() {
            let _ = app_engine(&["network", "rm", id]);
        }
    }

    /// remote-swap with this strategy; what is watched for its own sake is watched at its test.
    pub(crate) fn swap_with(&self, args: &[&str]) -> Command {
        let soak: &[&str] = if args.contains(&"--soak") { &[] } else { &["--soak", "0s"] };
        let mut command = self.swap_by("blue-green", &[]);
        command.args(soak).args(args);
        command
    }

    /// Deploys a release, however that ends.
    pub(crate) fn turn(&self, release: &Release, args: &[&str]) -> Run {
        deploy(&mut self.swap_with(args), release)
    }

    /// Deploys a release well, with nothing unserved, and checks that it serves; answers its id.
    pub(crate) fn turned(&self, release: &Release, args: &[&str]) -> String {
        let run = self.turn(release, args).good();
        assert_eq!(host(&run)["outcome"], "deployed", "{}", run.told);
        assert!(host(&run).get("unserved_ms").is_none(), "{:#}", host(&run));
        let id = self.assert_live(release);
        assert_eq!(host(&run)["container_id"], id);
        id
    }

    /// The containers of this role.
    pub(crate) fn of_role(&self, role: &str) -> Vec<Value> {
        let all = self.containers().into_iter();
        all.filter(|one| one["Config"]["Labels"]["dev.slipway.role"] == role).collect()
    }

    /// The front, of which there is one, meant to come back with the engine.
    pub(crate) fn front(&self) -> Value {
        let mut fronts = self.of_role("front");
        let states: Vec<&Value> = fronts.iter().map(|one| &one["State"]["Status"]).collect();
        assert_eq!(states, ["running"], "one front");
        assert_eq!(fronts[0]["HostConfig"]["RestartPolicy"]["Name"], "always");
        fronts.remove(0)
    }

    /// Checks that this release serves through the one front, that nothing else runs or is left
    /// behind, and that what is kept stays down; answers its id.
    pub(crate) fn assert_live(&self, release: &Release) -> String {
        self.front();
        let all = self.of_role("release");
        assert_eq!(all.len() + 1, self.containers().len(), "something was left behind");
        let (up, down): (Vec<&Value>, Vec<&Value>) =
            all.iter().partition(|one| one["State"]["Running"] == true);
        let states: Vec<&Value> = all.iter().map(|one| &one["State"]["Status"]).collect();
        assert_eq!(up.len(), 1, "{states:?}");
        assert!(down.iter().all(|one| one["State"]["Status"] == "exited"), "{states:?}");
        assert!(down.iter().all(|one| one["HostConfig"]["RestartPolicy"]["Name"] == "no"));
        assert_eq!(up[0]["HostConfig"]["RestartPolicy"]["Name"], "always");
        assert_eq!(up[0]["Config"]["Image"], release.reference());
        let (status, text) = self.get("/").expect("it answers");
        assert!(status == 200 && text.starts_with(release.version), "{status} {text}");
        text_of(up[0], "Id").to_owned()
    }

    /// Where it answers.
    pub(crate) fn address(&self) -> SocketAddr {
        format!("{}:{}", from_run_sh("LAB_APP_ADDR"), self.port).parse().unwrap()
    }

    /// What the front's control port answers to this token, as seen from the application server:
    /// the status, and what it tells.
    pub(crate) fn control(&self, token: &str) -> (String, Value) {
        const ASK: &str = "
import sys, urllib.request, urllib.error
ask = urllib.request.Request(sys.argv[1], headers={'x-slipway-token': sys.argv[2]})
try:
    answer = urllib.request.urlopen(ask)
    print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code, 'null')
";
        let front = self.front();
        let network = &front["NetworkSettings"]["Networks"][format!("slipway-{}", self.name)];
        let url = format!("http://{}:8404/", text_of(network, "IPAddress"));
        let told = self.on_server(&["python3", "-c", ASK, &url, token]);
        let (status, state) = told.trim().split_once(' ').unwrap();
        (status.to_owned(), serde_json::from_str(state).unwrap())
    }

    /// Runs a command on the application server, and answers what it prints.
    pub(crate) fn on_server(&self, command: &[&str]) -> String {
        let mut enter = Command::new(project().join("tests/lab/lab.sh"));
        enter.args(["enter", "app", "--dir", &from_run_sh("LAB_DIR"), "--"]);
        run(enter.args(command))
    }

    /// The token of the front, by which the tool proves what answers.
    pub(crate) fn token(&self) -> String {
        let front = self.front();
        let text = app_engine(&["exec", text_of(&front, "Id"), "cat", "/slipway/haproxy.cfg"]);
        let line = text.lines().next().unwrap().strip_prefix("# slipway: ").unwrap();
        let config: Value = serde_json::from_str(line).unwrap();
        text_of(&config, "token").to_owned()
    }
}

/// A connection over which a test speaks HTTP as it likes.
pub(crate) struct Talk {
    pub(crate) stream: TcpStream,
}

impl Talk {
    pub(crate) fn to(place: &Place) -> Self {
        let stream = TcpStream::connect(place.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { stream }
    }

    pub(crate) fn send(&mut self, text: &str) -> &mut Self {
        self.stream.write_all(text.as_bytes()).unwrap();
        self
    }

    /// Asks over the connection and keeps it.
    pub(crate) fn ask(&mut self, path: &str, headers: &str) -> (String, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n{headers}\r\n")).answer()
    }

    /// The head of an answer.
    pub(crate) fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend_from_slice(&self.bytes(1));
        }
        String::from_utf8(head).unwrap()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("more of the answer");
        bytes
    }

    /// An answer with a length: its head and its body.
    pub(crate) fn answer(&mut self) -> (String, String) {
        let head = self.head();
        let lower = head.to_ascii_lowercase();
        let length = lower.split_once("content-length: ").expect("a length").1;
        let length = length.split_once("\r\n").unwrap().0.parse().unwrap();
        let body = String::from_utf8(self.bytes(length)).unwrap();
        (head, body)
    }

    /// Whether the other side has ended the connection.
    pub(crate) fn is_over(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0) | Err(_))
    }
}

/// The headers that the application got with these.
pub(crate) fn headers(app: &Place, more: &str) -> Vec<(String, String)> {
    let (_, body) = Talk::to(app).ask("/headers", more);
    serde_json::from_str(&body).unwrap()
}

/// The values of the headers of this name.
pub(crate) fn all_of<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    headers.iter().filter(|one| one.0 == name).map(|one| one.1.as_str()).collect()
}

/// A mixed load that runs until it is finished.
pub(crate) struct Load {
    stop: watch::Sender<bool>,
    done: Arc<AtomicU64>,
    thread: JoinHandle<Value>,
}

impl Load {
    /// Begins, and waits until some requests were answered.
    pub(crate) fn on(place: &Place) -> Self {
        let plan = Plan {
            address: place.address(),
            new_rate: 40,
            get: Stream { rate: 80, connections: 8 },
            post: Stream { rate: 40, connections: 4 },
            slow: 2,
            path: "/".to_owned(),
            slow_path: "/slow?seconds=1".to_owned(),
            echo: true,
            timeout: Duration::from_secs(20),
        };
        let (stop, stopping) = watch::channel(false);
        let done = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&done);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let (sender, mut notes) = mpsc::unbounded_channel();
                Driver::new(plan, stopping, sender).start();
                let mut tally = Tally::default();
                while let Some(note) = notes.recv().await {
                    tally.note(note);
                    counted.store(tally.totals().0, Ordering::Relaxed);
                }
                tally.report()
            })
        });
        let load = Self { stop, done, thread };
        load.more(100);
        load
    }

    /// Waits until so many more were answered.
    pub(crate) fn more(&self, count: u64) {
        let wanted = self.done.load(Ordering::Relaxed) + count;
        until("answers", || (self.done.load(Ordering::Relaxed) >= wanted).then_some(()));
    }

    /// Ends, after what is in flight; its report.
    pub(crate) fn finish(self) -> Value {
        self.stop.send_replace(true);
        self.thread.join().unwrap()
    }

    /// Ends, and nothing has failed.
    pub(crate) fn finish_well(self) -> Value {
        let report = self.finish();
        assert_eq!(report["failed"], 0, "{report:#}");
        report
    }
}
