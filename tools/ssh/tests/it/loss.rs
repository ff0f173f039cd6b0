//! Servers that are not there, say nothing, or go away.

use std::io::Write as _;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use slipway_ssh::{ConnectOptions, Connection, Error, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::sshd::{Sshd, bounded, until};

fn target(port: u16) -> Target {
    Target { user: "nobody".into(), host: "127.0.0.1".into(), port }
}

async fn fails(port: u16, timeout: Duration) -> Error {
    let options = ConnectOptions { credentials: vec![], timeout, ..ConnectOptions::default() };
    bounded(Connection::open(&target(port), &options)).await.expect_err("there is no server")
}

#[tokio::test]
async fn a_port_without_a_server_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = fails(port, Duration::from_secs(20)).await;
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_the_timeout_and_names_the_stage() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = fails(listener.local_addr().unwrap().port(), Duration::from_millis(300)).await;
    assert!(
        matches!(&error, Error::Timeout { what, .. } if what == "the SSH handshake"),
        "{error:?}"
    );
    // The thread behind it has given up: its socket is shut.
    let (mut socket, _) = listener.accept().unwrap();
    std::io::copy(&mut socket, &mut std::io::sink()).unwrap();
}

#[tokio::test]
async fn a_server_of_another_protocol_is_no_ssh_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let error = fails(port, Duration::from_secs(20)).await;
    assert!(matches!(error, Error::Handshake { .. }), "{error:?}");
    server.join().unwrap();
}

/// Reads until the stream ends, one way or the other.
async fn read_out(stream: &mut tokio::net::UnixStream) {
    let mut buffer = vec![0; 65_536];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

async fn assert_lost(connection: &Connection) {
    let error = bounded(connection.exec("cat")).await.expect_err("the connection is gone");
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error:?}");
    assert!(matches!(connection.failure(), Some(Error::ConnectionLost { .. })));
}

#[tokio::test]
async fn a_killed_server_ends_every_stream_and_later_ones_are_refused() {
    let sshd = Sshd::start("");
    let connection = sshd.connect().await;
    let mut flood = connection.exec("cat /dev/zero").await.unwrap();
    let mut idle = connection.exec("cat").await.unwrap();
    let mut some = vec![0; 1 << 20];
    flood.read_exact(&mut some).await.unwrap();
    sshd.signal(Signal::KILL);
    bounded(read_out(&mut flood)).await;
    bounded(read_out(&mut idle)).await;
    assert_lost(&connection).await;
}

/// A frozen machine or a pulled cable: nothing is closed, nothing is answered.
#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let sshd = Sshd::start("");
    let options = ConnectOptions { keepalive: Duration::from_millis(200), ..sshd.options() };
    let connection = Connection::open(&sshd.target(), &options).await.unwrap();
    let mut stream = connection.exec("cat").await.unwrap();
    stream.write_all(b"x").await.unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).await.unwrap();
    sshd.signal(Signal::STOP);
    bounded(read_out(&mut stream)).await;
    assert_lost(&connection).await;
    assert!(connection.failure().unwrap().to_string().contains("silent"));
}

/// The sign of life is asked for and given; without answers this connection would be gone long before the log says so.
#[tokio::test]
async fn an_idle_connection_stays_and_answers_the_server() {
    let sshd = Sshd::start("ClientAliveInterval 1\nClientAliveCountMax 1\nLogLevel DEBUG3");
    let options = ConnectOptions { keepalive: Duration::from_millis(100), ..sshd.options() };
    let connection = Connection::open(&sshd.target(), &options).await.unwrap();
    until("twenty signs of life", || sshd.log().matches("ping@slipway.invalid").count() >= 20)
        .await;
    assert!(connection.failure().is_none());
    let mut stream = connection.exec("echo here").await.unwrap();
    let mut answer = String::new();
    bounded(stream.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "here\n");
}
