//! Loads a web server and tells every request that failed: `load --help`.

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use slipway_tests::load::drive::Driver;
use slipway_tests::load::tally::Tally;
use slipway_tests::load::{Plan, Stream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Sends a mixed load by schedule, repeats nothing, and prints a report as JSON.
///
/// It runs for --seconds, else until its stdin is closed, and in any case until SIGTERM or SIGINT. Then it waits for what
/// is in flight.
#[derive(Parser)]
struct Options {
    /// Where to, as ADDRESS:PORT.
    address: SocketAddr,
    /// How long.
    #[arg(long)]
    seconds: Option<f64>,
    /// GET requests a second that each get a connection of their own.
    #[arg(long, default_value_t = 100)]
    new: u32,
    /// GET requests a second over persistent connections.
    #[arg(long, default_value_t = 250)]
    get: u32,
    /// The persistent connections of those.
    #[arg(long, default_value_t = 20)]
    get_connections: u32,
    /// POST requests a second over persistent connections.
    #[arg(long, default_value_t = 100)]
    post: u32,
    /// The persistent connections of those.
    #[arg(long, default_value_t = 10)]
    post_connections: u32,
    /// Long answers that are always in flight.
    #[arg(long, default_value_t = 4)]
    slow: u32,
    /// The path of the short requests.
    #[arg(long, default_value = "/")]
    path: String,
    /// The path of the long ones.
    #[arg(long, default_value = "/slow?seconds=3")]
    slow_path: String,
    /// The answer to a POST has to be its body.
    #[arg(long)]
    echo: bool,
    /// Seconds after which a request without a complete answer has failed.
    #[arg(long, default_value_t = 10.0)]
    timeout: f64,
    /// Print a line a second on stderr.
    #[arg(long)]
    progress: bool,
}

impl Options {
    fn plan(&self) -> Plan {
        Plan {
            address: self.address,
            new_rate: self.new,
            get: Stream { rate: self.get, connections: self.get_connections },
            post: Stream { rate: self.post, connections: self.post_connections },
            slow: self.slow,
            path: self.path.clone(),
            slow_path: self.slow_path.clone(),
            echo: self.echo,
            timeout: Duration::from_secs_f64(self.timeout),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let (stop, stopping) = watch::channel(false);
    let (sender, mut notes) = mpsc::unbounded_channel();
    let (mut tally, begun) = (Tally::default(), Instant::now());
    Driver::new(options.plan(), stopping, sender).start();

    let end = ended(options.seconds);
    tokio::pin!(end);
    let (mut stopped, mut before) = (false, (0, 0));
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            note = notes.recv() => match note {
                Some(note) => tally.note(note),
                None => break,
            },
            result = &mut end, if !stopped => {
                result?;
                stopped = true;
                tally.stop(begun.elapsed());
                stop.send_replace(true);
            }
            _ = second.tick(), if options.progress => {
                let now = tally.totals();
                let (ok, failed) = (now.0 - before.0, now.1 - before.1);
                eprintln!("load: {:3} s: {ok} answered, {failed} failed", begun.elapsed().as_secs());
                before = now;
            }
        }
    }
    println!("{:#}", tally.report());
    Ok(())
}

/// Waits for the time, or for the end of stdin, or for a signal.
async fn ended(seconds: Option<f64>) -> std::io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let enough = async {
        match seconds {
            Some(seconds) => sleep(Duration::from_secs_f64(seconds)).await,
            None => closed().await,
        }
    };
    tokio::select! {
        () = enough => {}
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    Ok(())
}

/// Waits for the end of stdin, on a thread of its own, which ends with the program.
async fn closed() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = sender.send(());
    });
    let _ = receiver.await;
}
