//! The session as the engine sees it: a gRPC client on the other end.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use bollard_buildkit_proto::fsutil::types::Packet;
use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::GetSecretRequest;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_client::SecretsClient;
use bollard_buildkit_proto::moby::filesync::packet::file_sync_client::FileSyncClient;
use bollard_buildkit_proto::moby::filesync::v1::CredentialsRequest;
use bollard_buildkit_proto::moby::filesync::v1::auth_client::AuthClient;
use slipway_release::Secret;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};

use super::*;
use crate::docker_config::DockerConfig;
use crate::secrets::Login;

/// Serves `offer` and returns a client's channel to it, and the failure slot.
async fn connect(context: &Path, offer: impl FnOnce(&mut Offer)) -> (Channel, Slot) {
    let dockerfile = Source::Virtual(Arc::new(vec![VirtualFile {
        name: "Dockerfile".into(),
        content: b"FROM scratch\n".to_vec(),
    }]));
    let mut offered = Offer {
        shared_key: String::new(),
        directories: BTreeMap::from([
            ("context".to_owned(), Source::Directory(context.to_owned())),
            ("dockerfile".to_owned(), dockerfile),
        ]),
        archive: None,
        content: Content::default(),
        secrets: Secrets::default(),
        agents: Agents::default(),
        logins: Arc::default(),
    };
    offer(&mut offered);
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let session = Session::over(String::new(), Box::new(ours), offered);
    let failure = session.failure();
    tokio::spawn(session.serve());
    let mut theirs = Some(theirs);
    let connector = tower::service_fn(move |_: http::Uri| {
        let stream: Option<DuplexStream> = theirs.take();
        async move { stream.map(TokioIo::new).ok_or_else(|| std::io::Error::other("only once")) }
    });
    let channel =
        Endpoint::from_static("http://session").connect_with_connector(connector).await.unwrap();
    (channel, failure)
}

fn logins(login: Login) -> Arc<Logins> {
    Arc::new(Logins::new(vec![login], DockerConfig::default()))
}

/// What a transfer brought: the paths in order, and the contents asked for.
type Transfer = Result<(Vec<String>, HashMap<String, Vec<u8>>), String>;

/// Asks for every file as the engine does, all requests at once.
async fn transfer(channel: Channel, directory: &'static str, exclude: &[&'static str]) -> Transfer {
    transfer_after(channel, directory, exclude, || {}).await
}

/// The same; `before` is called before each request.
async fn transfer_after(
    channel: Channel,
    directory: &'static str,
    exclude: &[&'static str],
    before: impl Fn(),
) -> Transfer {
    let (send, mut sending) = mpsc::unbounded_channel();
    let outgoing = futures_util::stream::poll_fn(move |context| sending.poll_recv(context));
    let mut request = tonic::Request::new(outgoing);
    request.metadata_mut().insert("dir-name", directory.parse().unwrap());
    for pattern in exclude {
        request.metadata_mut().append("exclude-patterns", pattern.parse().unwrap());
    }
    let say = |kind: PacketType, id| {
        send.send(Packet { r#type: kind.into(), id, ..Packet::default() }).unwrap()
    };
    let mut incoming = FileSyncClient::new(channel)
        .diff_copy(request)
        .await
        .map_err(|e| e.to_string())?
        .into_inner();
    let (mut paths, mut contents, mut open) = (Vec::new(), HashMap::<String, Vec<u8>>::new(), 0);
    let mut told_all = false;
    while let Some(packet) = incoming.message().await.map_err(|e| e.to_string())? {
        match (packet.r#type(), packet.stat) {
            (PacketType::PacketStat, Some(stat)) => {
                // No bit of a kind: a regular file.
                if stat.mode & 0o777 == stat.mode && stat.linkname.is_empty() {
                    before();
                    say(PacketType::PacketReq, u32::try_from(paths.len()).unwrap());
                    open += 1;
                }
                paths.push(stat.path);
            }
            (PacketType::PacketStat, None) => told_all = true,
            (PacketType::PacketData, _) if packet.data.is_empty() => {
                contents.entry(paths[packet.id as usize].clone()).or_default();
                open -= 1;
            }
            (PacketType::PacketData, _) => {
                contents.entry(paths[packet.id as usize].clone()).or_default().extend(packet.data);
            }
            (PacketType::PacketErr, _) => return Err(String::from_utf8(packet.data).unwrap()),
            (PacketType::PacketFin, _) => return Ok((paths, contents)),
            (PacketType::PacketReq, _) => return Err("asked back".into()),
        }
        if told_all && open == 0 {
            say(PacketType::PacketFin, 0);
        }
    }
    Err("ended without FIN".into())
}

#[tokio::test]
async fn a_directory_arrives_whole() {
    let dir = tempfile::tempdir().unwrap();
    let big: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/big"), &big).unwrap();
    fs::write(dir.path().join("empty"), "").unwrap();
    fs::write(dir.path().join("x.log"), "noise").unwrap();
    let (channel, _) = connect(dir.path(), |_| {}).await;
    let (paths, contents) = transfer(channel.clone(), "context", &["*.log"]).await.unwrap();
    assert_eq!(paths, ["empty", "sub", "sub/big"]);
    assert_eq!(contents["sub/big"], big);
    assert!(contents["empty"].is_empty());
    let (paths, contents) = transfer(channel.clone(), "dockerfile", &[]).await.unwrap();
    assert_eq!((paths.len(), contents["Dockerfile"].as_slice()), (1, &b"FROM scratch\n"[..]));
    assert!(
        transfer(channel, "elsewhere", &[]).await.unwrap_err().contains("no directory elsewhere")
    );
}

#[tokio::test]
async fn many_files_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..6000 {
        fs::write(dir.path().join(format!("f{n:04}")), n.to_string()).unwrap();
    }
    let (channel, _) = connect(dir.path(), |_| {}).await;
    let (paths, contents) = transfer(channel, "context", &[]).await.unwrap();
    assert_eq!((paths.len(), contents.len()), (6000, 6000));
    assert_eq!(contents["f5999"], b"5999");
}

#[tokio::test]
async fn what_cannot_be_read_is_the_failure() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a");
    fs::write(&file, "x").unwrap();
    let (channel, failure) = connect(dir.path(), |_| {}).await;
    // Told, and gone when it is asked for.
    let removed = || fs::remove_file(&file).unwrap();
    let told = transfer_after(channel, "context", &[], removed).await.unwrap_err();
    assert!(told.contains("cannot be read"), "{told}");
    assert!(matches!(failure.take(), Some(Error::Unreadable { path, .. }) if path == file));
}

#[tokio::test]
async fn a_file_is_sent_as_it_was_told_of() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = dir.path().join("a");
    fs::write(&file, "told").unwrap();
    let (channel, _) = connect(dir.path(), |_| {}).await;
    // It grows, as one without an end would.
    let grown = || fs::write(&file, "told, and much more").unwrap();
    let (_, contents) = transfer_after(channel, "context", &[], grown).await.unwrap();
    assert_eq!(contents["a"], b"told");

    // It becomes a link, which must not bring in a file of this machine.
    let secret = other.path().join("secret");
    fs::write(&secret, "canary of another directory").unwrap();
    let (channel, failure) = connect(dir.path(), |_| {}).await;
    let swapped = || {
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(&secret, &file).unwrap();
    };
    let told = transfer_after(channel, "context", &[], swapped).await.unwrap_err();
    assert!(told.contains("cannot be read"), "{told}");
    assert!(matches!(failure.take(), Some(Error::Unreadable { path, .. }) if path == file));

    // It becomes a pipe, which must not be waited for.
    fs::remove_file(&file).unwrap();
    fs::write(&file, "told").unwrap();
    let (channel, failure) = connect(dir.path(), |_| {}).await;
    let swapped = || {
        fs::remove_file(&file).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    };
    assert!(transfer_after(channel, "context", &[], swapped).await.is_err());
    assert!(matches!(failure.take(), Some(Error::Unreadable { .. })));
}

#[tokio::test]
async fn ten_thousand_rules_arrive() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("kept"), "").unwrap();
    fs::write(dir.path().join("rule-9999"), "").unwrap();
    let rules: Vec<&'static str> =
        (0..10_000).map(|n| &*Box::leak(format!("rule-{n:04}").into_boxed_str())).collect();
    let (channel, _) = connect(dir.path(), |_| {}).await;
    let (paths, _) = transfer(channel, "context", &rules).await.unwrap();
    assert_eq!(paths, ["kept"]);
}

#[tokio::test]
async fn secrets_and_credentials() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    fs::write(&path, "value").unwrap();
    let (channel, _) = connect(dir.path(), |offer| {
        offer.secrets = Secrets::load(&[format!("id=tok,src={}", path.display())]).unwrap();
        offer.logins = logins(Login {
            host: "r.example".into(),
            username: "AWS".into(),
            password: Secret::new("hunter2"),
        });
    })
    .await;
    let mut secrets = SecretsClient::new(channel.clone());
    let mut ask = async |id: &str| {
        secrets
            .get_secret(GetSecretRequest { id: id.into(), ..Default::default() })
            .await
            .map(|a| a.into_inner().data)
    };
    assert_eq!(ask("tok").await.unwrap(), b"value");
    assert_eq!(ask("other").await.unwrap_err().code(), tonic::Code::NotFound);
    let mut auth = AuthClient::new(channel);
    let mut ask = async |host: &str| {
        auth.credentials(CredentialsRequest { host: host.into() })
            .await
            .unwrap()
            .into_inner()
            .secret
    };
    assert_eq!(ask("r.example").await, "hunter2");
    assert_eq!(ask("evil.example").await, "");
}
