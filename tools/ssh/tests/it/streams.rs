//! What a stream carries, how it ends, and how a destination refuses.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use slipway_ssh::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, split};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::sshd::{Sshd, bounded, until};

async fn echo(stream: impl AsyncRead + AsyncWrite) {
    let (mut reader, mut writer) = split(stream);
    copy(&mut reader, &mut writer).await.unwrap();
    writer.shutdown().await.unwrap();
}

fn echo_socket(path: &Path) {
    serve(path, |stream| async move { echo(stream).await });
}

/// Runs `each` for every connection to a Unix socket.
fn serve<F: Future<Output = ()> + Send + 'static>(
    path: &Path,
    each: impl Fn(UnixStream) -> F + Send + 'static,
) {
    let listener = UnixListener::bind(path).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(each(stream));
        }
    });
}

/// Bytes that differ from stream to stream and from place to place.
fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (seed.wrapping_mul(31) ^ at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

/// Sends `block` as often as said, shuts down, and compares what comes back.
async fn round_trip(stream: UnixStream, block: &[u8], times: usize) {
    let (mut reader, mut writer) = stream.into_split();
    let send = async {
        for _ in 0..times {
            writer.write_all(block).await.unwrap();
        }
        writer.shutdown().await.unwrap();
    };
    let receive = async {
        let mut got = vec![0; block.len()];
        for _ in 0..times {
            reader.read_exact(&mut got).await.unwrap();
            assert!(got == block, "bytes changed on the way");
        }
        assert_eq!(reader.read(&mut got).await.unwrap(), 0);
    };
    bounded(async { tokio::join!(send, receive) }).await;
}

#[tokio::test]
async fn bytes_go_to_a_socket_a_port_and_a_command() {
    let sshd = Sshd::start("");
    let connection = sshd.connect().await;
    let socket = sshd.path("echo.sock");
    echo_socket(&socket);
    let block = pattern(1, 100_000);
    round_trip(connection.unix(socket.to_str().unwrap()).await.unwrap(), &block, 1).await;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { echo(listener.accept().await.unwrap().0).await });
    round_trip(connection.tcp("127.0.0.1", port).await.unwrap(), &block, 1).await;

    round_trip(connection.exec("cat").await.unwrap(), &block, 1).await;
    assert!(connection.failure().is_none());
}

/// With new keys every few megabytes, since a key exchange interrupts every stream.
#[tokio::test]
async fn a_hundred_megabytes_arrive_whole_both_ways() {
    let sshd = Sshd::start("RekeyLimit 16M");
    let connection = sshd.connect().await;
    let socket = sshd.path("echo.sock");
    echo_socket(&socket);
    round_trip(connection.unix(socket.to_str().unwrap()).await.unwrap(), &pattern(7, 1 << 20), 100)
        .await;
    assert!(sshd.log().matches("rekey").count() > 2, "{}", sshd.log());
}

#[tokio::test]
async fn thirty_two_streams_at_once_do_not_mix() {
    let sshd = Sshd::start("");
    let connection = sshd.connect().await;
    let socket = sshd.path("echo.sock");
    echo_socket(&socket);
    let tasks: Vec<_> = (0..32)
        .map(|seed| {
            let (connection, path) = (connection.clone(), socket.to_str().unwrap().to_owned());
            tokio::spawn(async move {
                let stream = connection.unix(&path).await.unwrap();
                round_trip(stream, &pattern(seed, 65_537), 16).await;
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn either_side_may_stop_writing_and_go_on_reading() {
    let sshd = Sshd::start("");
    let connection = sshd.connect().await;
    let count = sshd.path("count.sock");
    serve(&count, |mut stream| async move {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        stream.write_all(format!("{} bytes", all.len()).as_bytes()).await.unwrap();
    });
    let mut stream = connection.unix(count.to_str().unwrap()).await.unwrap();
    stream.write_all(&pattern(3, 300_000)).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    bounded(stream.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "300000 bytes");

    let first = sshd.path("first.sock");
    let heard = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&heard);
    serve(&first, move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            stream.write_all(b"bye").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            counter.store(all.len(), Ordering::SeqCst);
        }
    });
    let mut stream = connection.unix(first.to_str().unwrap()).await.unwrap();
    bounded(stream.read_to_string(&mut answer)).await.unwrap();
    stream.write_all(&pattern(4, 200_000)).await.unwrap();
    drop(stream);
    until("what was written before the drop arrives", || heard.load(Ordering::SeqCst) == 200_000)
        .await;
}

#[tokio::test]
async fn a_stream_that_nobody_reads_stops_its_sender_and_no_other_stream() {
    let sshd = Sshd::start("");
    let connection = sshd.connect().await;
    let flood = sshd.path("flood.sock");
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    serve(&flood, move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            let block = vec![0; 65_536];
            while stream.write_all(&block).await.is_ok() {
                counter.fetch_add(block.len(), Ordering::SeqCst);
            }
        }
    });
    let stalled = connection.unix(flood.to_str().unwrap()).await.unwrap();
    until("the flood begins", || sent.load(Ordering::SeqCst) > 1 << 20).await;
    let socket = sshd.path("echo.sock");
    echo_socket(&socket);
    round_trip(connection.unix(socket.to_str().unwrap()).await.unwrap(), &pattern(5, 1 << 20), 20)
        .await;
    let held = sent.load(Ordering::SeqCst);
    assert!(held < 16 << 20, "{held} bytes are held somewhere");
    drop(stalled);
}

#[tokio::test]
async fn a_closed_stream_is_closed_on_the_other_side_too() {
    let sshd = Sshd::start("");
    let connection = sshd.connect().await;
    let open = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&open);
    let socket = sshd.path("held.sock");
    serve(&socket, move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut byte = [0];
            let _ = stream.read(&mut byte).await;
            counter.fetch_sub(1, Ordering::SeqCst);
        }
    });
    let path = socket.to_str().unwrap();
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(connection.unix(path).await.unwrap());
    }
    until("all are open", || open.load(Ordering::SeqCst) == 100).await;
    drop(streams);
    until("all are closed", || open.load(Ordering::SeqCst) == 0).await;

    // And the other way round: the server's close is this side's end.
    let mut stream = connection.unix(path).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    let mut rest = Vec::new();
    bounded(stream.read_to_end(&mut rest)).await.unwrap();
    let mut command = connection.exec("echo out; echo err >&2").await.unwrap();
    bounded(command.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"out\n");
}

#[tokio::test]
async fn the_connection_ends_with_its_last_handle() {
    let sshd = Sshd::start("");
    let connection = sshd.connect().await;
    let clone = connection.clone();
    drop(connection);
    round_trip(clone.exec("cat").await.unwrap(), b"still here", 1).await;
    assert_eq!(sshd.serving(), 1);
    drop(clone);
    until("sshd sees the end", || sshd.serving() == 0).await;
}

#[tokio::test]
async fn a_destination_that_nobody_serves_is_refused_by_name() {
    let sshd = Sshd::start("");
    let connection = sshd.connect().await;
    let missing = sshd.path("missing.sock");
    let error = connection.unix(missing.to_str().unwrap()).await.unwrap_err();
    assert!(
        matches!(&error, Error::ConnectRefused { to, .. } if Path::new(to) == missing),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("docker group"));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = connection.tcp("127.0.0.1", port).await.unwrap_err();
    assert!(
        matches!(&error, Error::ConnectRefused { to, .. } if *to == format!("127.0.0.1:{port}")),
        "{error:?}"
    );
    // The connection has taken no harm.
    round_trip(connection.exec("cat").await.unwrap(), b"fine", 1).await;
}

#[tokio::test]
async fn a_server_that_does_not_forward_still_runs_commands() {
    let sshd = Sshd::start("AllowStreamLocalForwarding no\nAllowTcpForwarding no");
    let connection = sshd.connect().await;
    let socket = sshd.path("echo.sock");
    echo_socket(&socket);
    let error = connection.unix(socket.to_str().unwrap()).await.unwrap_err();
    // OpenSSH does not say that it is forbidden, so the hint has to.
    assert!(
        matches!(error, Error::ConnectRefused { .. } | Error::ForwardingRefused { .. }),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("Forwarding"), "{error:?}");
    let error = connection.tcp("127.0.0.1", sshd.port()).await.unwrap_err();
    assert!(matches!(error, Error::ForwardingRefused { .. }), "{error:?}");
    round_trip(connection.exec("cat").await.unwrap(), b"fine", 1).await;
}

#[tokio::test]
async fn max_sessions_bounds_commands_and_not_sockets() {
    let sshd = Sshd::start("MaxSessions 2");
    let connection = sshd.connect().await;
    let socket = sshd.path("echo.sock");
    echo_socket(&socket);
    let running = [connection.exec("cat").await.unwrap(), connection.exec("cat").await.unwrap()];
    let error = connection.exec("cat").await.unwrap_err();
    assert!(matches!(error, Error::SessionRefused { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("MaxSessions"));
    for _ in 0..12 {
        round_trip(connection.unix(socket.to_str().unwrap()).await.unwrap(), b"more", 1).await;
    }
    drop(running);
}

/// A login shell whose start file does this before it runs a command.
fn start_file(text: &str) -> Sshd {
    Sshd::start(&format!("ForceCommand {text}"))
}

#[tokio::test]
async fn what_a_start_file_prints_is_no_output() {
    for before in ["echo Welcome", "printf 'no end of line: '", "head -c 60000 /dev/zero", "true"] {
        let sshd = start_file(&format!("{before}; eval \"$SSH_ORIGINAL_COMMAND\""));
        let connection = sshd.connect().await;
        let mut stream = bounded(connection.exec("cat; echo end")).await.unwrap();
        stream.write_all(b"in\n").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut out = String::new();
        bounded(stream.read_to_string(&mut out)).await.unwrap();
        assert_eq!(out, "in\nend\n", "{before}");
    }
}

#[tokio::test]
async fn a_shell_that_runs_no_command_is_named() {
    for (before, told) in [
        ("echo This account is closed.; exit 1", "This account is closed."),
        ("exit 0", "ended before that"),
        ("yes", "without end"),
        ("printf '\\033]0;x\\007'", "\\u{1b}]0;x"),
    ] {
        let sshd = start_file(before);
        let error = bounded(sshd.connect().await.exec("cat")).await.unwrap_err();
        assert!(matches!(error, slipway_ssh::Error::ShellFailed { .. }), "{error:?}");
        assert!(error.to_string().contains(told), "{before}: {error}");
        assert!(error.hint().unwrap().contains("~/.bashrc"), "{error}");
    }
}
