//! What a deploy wants to know of a host and of an image before it changes anything.
//!
//! None of it may fail a deploy by not being there: what cannot be learned is not known.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use slipway_engine::Auth;
use slipway_probe::{Request, Target, Url};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::host::{About, Clock, Machine, Platform, Remotely, Result};
use crate::job::Job;
use crate::link::QUICK;
use crate::manifest::{self, Manifest};
use crate::remote::Remote;

/// How long a host may take to measure its disk, and a registry to answer: the deploy goes on
/// without.
const LIMIT: Duration = Duration::from_secs(5);

/// Bytes that `df` prints at most of one file system.
const DF_BYTES: u64 = 4096;

impl Remote {
    pub(crate) async fn ask_about(&self) -> Result<About> {
        self.call("asking the engine about itself", QUICK, async |engine| {
            let asked = Timestamp::now();
            let info = engine.info().await?;
            let answered = Timestamp::now();
            let told = info.system_time.parse().ok();
            Ok(About {
                api: engine.api_version(),
                version: info.server_version,
                root: info.docker_root_dir,
                clock: told.map(|told| Clock { asked, told, answered }),
                proxied: !info.https_proxy.is_empty(),
                machine: Machine {
                    system: info.operating_system,
                    kernel: info.kernel_version,
                    cpus: info.cpus,
                    memory_bytes: info.memory_bytes,
                    containers_running: info.containers_running,
                },
            })
        })
        .await
    }

    /// The bytes that a user may still write where this directory is; none if the host does not
    /// let its user ask.
    pub(crate) async fn measure(&self, path: &str) -> Option<u64> {
        // Only what means itself to every shell is put into a command.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
        if !path.starts_with('/') || !path.chars().all(plain) {
            return None;
        }
        let asked = async {
            let link = self.link();
            let stream = link.connection.exec(&format!("df -Pk {path}")).await.ok()?;
            let mut text = String::new();
            stream.take(DF_BYTES).read_to_string(&mut text).await.ok()?;
            available(&text)
        };
        timeout(LIMIT, asked).await.ok().flatten()
    }

    /// What the registry tells of the image.
    ///
    /// The engine is asked first: it knows its proxies and its own certificates. The layers' sizes
    /// it does not tell, so the registry itself is asked for those, from the host's network. That
    /// is done only where the engine has reached it without a proxy: an address that swallows
    /// packets would hold up every other stream of the connection.
    pub(crate) async fn ask_registry(&self, job: &Job, host: &Platform, proxied: bool) -> Remotely {
        let asked = self.once("asking the registry", LIMIT, async |engine| {
            engine.distribution_platforms(&job.reference, job.auth.as_ref()).await
        });
        let Ok(platforms) = asked.await else { return Remotely::default() };
        let fits = platforms.iter().any(|one| crate::preflight::platform(host, one).is_ok());
        let bytes = match (fits, proxied) {
            (true, false) => timeout(LIMIT, self.compressed(job, host)).await.ok().flatten(),
            _ => None,
        };
        Remotely { platforms, bytes }
    }

    async fn compressed(&self, job: &Job, host: &Platform) -> Option<u64> {
        let digest = job.reference.digest()?;
        match self.manifest(job, digest, host).await? {
            Manifest::Image { bytes } => Some(bytes),
            Manifest::Index { digest } => match self.manifest(job, &digest, host).await? {
                Manifest::Image { bytes } => Some(bytes),
                Manifest::Index { .. } => None,
            },
        }
    }

    async fn manifest(&self, job: &Job, digest: &str, host: &Platform) -> Option<Manifest> {
        let (registry, path) = (job.reference.registry(), job.reference.path());
        let url = format!("https://{registry}/v2/{path}/manifests/{digest}");
        let Ok(Target::Http(url)) = url.parse() else { return None };
        let request = request(&url, job.auth.as_ref())?;
        let link = self.link();
        let stream = link.connection.tcp(&url.address.host, url.address.port).await.ok()?;
        let answer = slipway_probe::secured(&url.address.host, stream, &request).await.ok()?;
        let good = answer.status.is_success() && !answer.cut;
        if good { manifest::read(&answer.body, host) } else { None }
    }
}

fn request(url: &Url, auth: Option<&Auth>) -> Option<Request> {
    let request = Request::of_url(url, LIMIT).ok()?.header("accept", manifest::ACCEPT).ok()?;
    let Some(auth) = auth else { return Some(request) };
    let pair = BASE64_STANDARD.encode(format!("{}:{}", auth.username, auth.password));
    request.header("authorization", &format!("Basic {pair}")).ok()
}

/// Reads what `df -Pk` printed of one file system (POSIX, df, "-P"): the number before the one
/// with the percent sign, in blocks of 1024 bytes.
pub(crate) fn available(text: &str) -> Option<u64> {
    let words: Vec<&str> = text.lines().nth(1)?.split_whitespace().collect();
    let percent = words.iter().position(|word| word.ends_with('%'))?;
    let blocks: u64 = words.get(percent.checked_sub(1)?)?.parse().ok()?;
    blocks.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_df_prints() {
        let head = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n";
        let of = |line: &str| available(&format!("{head}{line}"));
        assert_eq!(
            of("/dev/nvme0n1p1    20145724 8012300  12117040      40% /\n"),
            Some(12_117_040 << 10)
        );
        assert_eq!(of("//nas/my disk 100 90 10 90% /var/lib/docker\n"), Some(10 << 10));
        assert_eq!(of("/dev/x 100 100 0 100% /mnt/50% off\n"), Some(0));
        // A user who may run no commands gets something else, or nothing.
        for text in ["", "This account is currently not available.\n", head, "a\nb c\n", "a\n%\n"] {
            assert_eq!(available(text), None, "{text}");
        }
    }
}
