//! Sends the requests of a plan, each when it is due.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::http::{Answer, Connection, Idle};
use super::tally::{Note, Outcome, Turn};
use super::{Class, Failure, Kind, Plan, Stream};

/// A long answer that failed at once is not asked for again before.
const PAUSE: Duration = Duration::from_millis(100);

/// What every part of the load has.
#[derive(Clone)]
pub struct Driver {
    plan: Arc<Plan>,
    begun: Instant,
    stop: watch::Receiver<bool>,
    notes: UnboundedSender<Note>,
}

impl Driver {
    /// For a load that begins now, and stops when `stop` says true.
    #[must_use]
    pub fn new(plan: Plan, stop: watch::Receiver<bool>, notes: UnboundedSender<Note>) -> Self {
        Self { plan: Arc::new(plan), begun: Instant::now(), stop, notes }
    }

    /// Starts the load. It is over when every sender of notes is gone: after the stop, and what was
    /// in flight then.
    pub fn start(self) {
        tokio::spawn(self.clone().fresh());
        for (class, stream) in [(Class::Get, self.plan.get), (Class::Post, self.plan.post)] {
            for turn in 0..stream.connections {
                tokio::spawn(self.clone().persistent(class, stream, turn));
            }
        }
        for turn in 0..self.plan.slow {
            tokio::spawn(self.clone().slow(turn));
        }
    }

    /// Waits until then; false when the load has stopped.
    async fn due(&mut self, at: Instant) -> bool {
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => false,
            () = sleep_until(at) => true,
        }
    }

    /// A connection for each request.
    async fn fresh(mut self) {
        if self.plan.new_rate == 0 {
            return;
        }
        let mut number = 0;
        loop {
            let at = self.begun + nth(number, self.plan.new_rate);
            if !self.due(at).await {
                return;
            }
            let one = self.clone();
            tokio::spawn(async move {
                one.once(Class::New, at, &one.plan.path, one.plan.timeout).await
            });
            number += 1;
        }
    }

    /// One request after another over one connection, as long as the server keeps it.
    async fn persistent(mut self, class: Class, stream: Stream, turn: u32) {
        if stream.rate == 0 {
            return;
        }
        let mut kept = None;
        let mut number = u64::from(turn);
        loop {
            let at = self.begun + nth(number, stream.rate);
            if !self.due(at).await {
                return;
            }
            let (request, echo) = self.request(class, number);
            let asked = self.over(class, &mut kept, &request);
            let mut result = within(self.plan.timeout, asked).await;
            if let (Ok(answer), Some(body)) = (&result, echo)
                && answer.body != body.as_bytes()
            {
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                result = Err(Failure::new(Kind::Body, format!("the answer to another: {body}")));
            }
            match &result {
                Ok(answer) if !answer.last => {}
                Ok(_) => {
                    kept = None;
                    self.turned(class, Turn::ClosedAsTold);
                }
                Err(_) => kept = None,
            }
            self.ended(class, at, result);
            number += u64::from(stream.connections);
        }
    }

    /// The request, and what its answer has to be.
    fn request(&self, class: Class, number: u64) -> (String, Option<String>) {
        let Plan { path, address, echo, .. } = &*self.plan;
        if class == Class::Get {
            return (format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"), None);
        }
        let body = format!("request {number}");
        let length = body.len();
        let text = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        (text, echo.then_some(body))
    }

    /// Asks over the kept connection, or over a new one where the server has closed that.
    async fn over(
        &self,
        class: Class,
        kept: &mut Option<Connection>,
        request: &str,
    ) -> Result<Answer, Failure> {
        match kept.as_ref().map(Connection::idle) {
            None | Some(Idle::Open) => {}
            Some(Idle::Closed) => {
                *kept = None;
                self.turned(class, Turn::ClosedIdle);
            }
            Some(Idle::Reset) => {
                *kept = None;
                self.turned(class, Turn::ResetIdle);
            }
            Some(Idle::Unasked) => {
                return Err(Failure::new(Kind::Malformed, "an answer that nobody asked for"));
            }
        }
        let connection = match kept {
            Some(connection) => connection,
            None => kept.insert(self.open(class).await?),
        };
        connection.ask(request.as_bytes()).await
    }

    async fn open(&self, class: Class) -> Result<Connection, Failure> {
        let connection = Connection::open(self.plan.address).await?;
        self.turned(class, Turn::Opened);
        Ok(connection)
    }

    /// One long answer after another. Those who wait for them are spread over a time that is like a
    /// long answer's, so that one ends now and then.
    async fn slow(mut self, turn: u32) {
        let mut at = self.begun + nth(u64::from(turn), self.plan.slow) * 3;
        while self.due(at).await {
            // It is allowed to be slow; it only has to get on.
            let limit = self.plan.timeout + Duration::from_secs(10);
            let good = self.once(Class::Slow, at, &self.plan.slow_path, limit).await;
            at = Instant::now() + if good { Duration::ZERO } else { PAUSE };
        }
    }

    /// One request over a connection of its own; answers whether it succeeded.
    async fn once(&self, class: Class, at: Instant, path: &str, limit: Duration) -> bool {
        let asked = async {
            let address = self.plan.address;
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            self.open(class).await?.ask(request.as_bytes()).await
        };
        let result = within(limit, asked).await;
        let good = result.is_ok();
        self.ended(class, at, result);
        good
    }

    fn ended(&self, class: Class, at: Instant, result: Result<Answer, Failure>) {
        let due = at - self.begun;
        let result = result.map(|answer| answer.version);
        // Nobody listens any more when the program is about to end.
        let _ = self.notes.send(Note::Ended(Outcome {
            class,
            due,
            ended: self.begun.elapsed(),
            result,
        }));
    }

    fn turned(&self, class: Class, turn: Turn) {
        let _ = self.notes.send(Note::Connection(class, turn));
    }
}

/// When the n-th of so many a second is due.
fn nth(number: u64, rate: u32) -> Duration {
    Duration::from_nanos(number * 1_000_000_000 / u64::from(rate.max(1)))
}

async fn within(
    limit: Duration,
    asked: impl Future<Output = Result<Answer, Failure>>,
) -> Result<Answer, Failure> {
    timeout(limit, asked).await.unwrap_or_else(|_| {
        Err(Failure::new(Kind::Timeout, format!("no complete answer in {limit:?}")))
    })
}
