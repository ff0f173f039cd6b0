//! The forwarding of SSH agents to steps.

use std::pin::Pin;

use bollard_buildkit_proto::moby::sshforward::v1::{
    BytesMessage, CheckAgentRequest, CheckAgentResponse, ssh_server,
};
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::ssh::{self, Agents};

/// The metadata in which the engine names the agent.
const ID: &str = "buildkit.ssh.id";
/// Bytes in one message.
const CHUNK: usize = 32 * 1024;

/// Connects steps to the agents.
pub(crate) struct SshForward {
    agents: Agents,
}

impl SshForward {
    pub(crate) fn new(agents: Agents) -> Self {
        Self { agents }
    }
}

fn missing(id: &str) -> Status {
    Status::not_found(ssh::missing(id))
}

type Messages = Pin<Box<dyn Stream<Item = Result<BytesMessage, Status>> + Send>>;

#[async_trait]
impl ssh_server::Ssh for SshForward {
    type ForwardAgentStream = Messages;

    async fn check_agent(
        &self,
        request: Request<CheckAgentRequest>,
    ) -> Result<Response<CheckAgentResponse>, Status> {
        let id = request.into_inner().id;
        self.agents.get(&id).ok_or_else(|| missing(&id))?;
        Ok(Response::new(CheckAgentResponse {}))
    }

    async fn forward_agent(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Messages>, Status> {
        let id = request.metadata().get(ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
        let agent = self.agents.get(id).ok_or_else(|| missing(id))?.clone();
        let (agents_end, steps_end) = tokio::io::duplex(CHUNK);
        // A connection that breaks off is an end to the step.
        tokio::spawn(async move { agent.serve(agents_end).await });
        let (from_agent, to_agent) = tokio::io::split(steps_end);
        tokio::spawn(pass_on(request.into_inner(), to_agent));
        Ok(Response::new(Box::pin(messages(from_agent))))
    }
}

/// What the step says, until it ends or the agent does.
async fn pass_on(mut from: Streaming<BytesMessage>, mut to: tokio::io::WriteHalf<DuplexStream>) {
    while let Some(Ok(message)) = from.next().await {
        if to.write_all(&message.data).await.is_err() {
            return;
        }
    }
    let _gone = to.shutdown().await;
}

/// What the agent says.
fn messages(
    from: tokio::io::ReadHalf<DuplexStream>,
) -> impl Stream<Item = Result<BytesMessage, Status>> {
    futures_util::stream::unfold(from, |mut from| async move {
        let mut data = vec![0; CHUNK];
        let length = from.read(&mut data).await.ok().filter(|length| *length > 0)?;
        data.truncate(length);
        Some((Ok(BytesMessage { data }), from))
    })
}
