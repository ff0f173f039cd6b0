use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

fn request() -> Request {
    Request::new("app.example:5000", "/health", Duration::from_secs(2)).unwrap()
}

/// The request's head as the server sees it.
async fn asked(server: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(server.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Probes a server that sends these bytes and closes.
async fn answered(bytes: &[u8]) -> Result<Answer, ProbeError> {
    let (client, mut server) = duplex(1024);
    let request = request();
    let serve = async {
        asked(&mut server).await;
        // A probe that has enough closes, which ends the sending.
        let _ = server.write_all(bytes).await;
        drop(server);
    };
    tokio::join!(over(client, &request), serve).0
}

#[tokio::test]
async fn the_request_is_what_a_server_expects() {
    let (client, mut server) = duplex(1024);
    let request = request();
    let serve = async {
        let head = asked(&mut server).await;
        server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        head
    };
    let (answer, head) = tokio::join!(over(client, &request), serve);
    assert_eq!(answer.unwrap().status, 204);
    let head = head.to_lowercase();
    assert!(head.starts_with("get /health http/1.1\r\n"), "{head}");
    for line in ["host: app.example:5000", "connection: close", "user-agent: slipway-probe/"] {
        assert_eq!(head.matches(line).count(), 1, "{line} in {head}");
    }
}

#[tokio::test]
async fn a_body_of_any_framing_is_read() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\n\r\nhello",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let answer = answered(bytes.as_bytes()).await.unwrap();
        assert_eq!((answer.body.as_slice(), answer.cut), (b"hello".as_slice(), false), "{bytes}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let answer = answered(b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n").await;
    assert_eq!(answer.unwrap().status, 302);
}

#[tokio::test]
async fn an_endless_body_is_cut_and_not_waited_for() {
    let mut bytes = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    bytes.resize(10 * BODY_LIMIT, b'x');
    let answer = answered(&bytes).await.unwrap();
    assert!(answer.cut);
    assert_eq!(answer.body.len(), BODY_LIMIT);
    assert_eq!(answer.head().len(), HEAD_CHARS);
}

#[tokio::test]
async fn what_is_no_whole_answer_is_told_apart() {
    for (bytes, reason) in [
        ("", "connection closed before an answer came"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "connection closed before an answer came"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
            "connection closed in the middle of the body",
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n", "not an HTTP answer"),
    ] {
        let error = answered(bytes.as_bytes()).await.unwrap_err().to_string();
        assert!(error.starts_with(reason), "{bytes:?}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_left_at_the_deadline() {
    let (client, mut server) = duplex(1024);
    let error = over(client, &request()).await.unwrap_err();
    assert_eq!(error.to_string(), "timed out after 2s before an answer came");
    asked(&mut server).await;

    let (client, mut server) = duplex(1024);
    let request = request();
    let serve = async {
        asked(&mut server).await;
        server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhe").await.unwrap();
    };
    let error = tokio::join!(over(client, &request), serve).0.unwrap_err();
    assert_eq!(error.to_string(), "timed out after 2s in the middle of the body");
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let many = "X-A: b\r\n".repeat(HEADERS + 1);
    let long = format!("X-A: {}", "x".repeat(10 * HEAD_LIMIT));
    let fitting = "X-A: b\r\n".repeat(HEADERS - 1);
    for (headers, good) in [(many, false), (long, false), (fitting, true)] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
        match answered(bytes.as_bytes()).await {
            Ok(answer) => assert!(good && answer.headers.len() < HEADERS),
            Err(error) => {
                assert!(!good, "{error}");
                let told =
                    "the head of the answer is larger than 64 KiB or has more than 1000 headers";
                assert_eq!(error.to_string(), told);
            }
        }
    }
}

#[test]
fn the_head_is_whole_characters() {
    let answer = Answer {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: "é".repeat(2000).into_bytes(),
        cut: false,
        elapsed: Duration::ZERO,
        certificate_not_after: None,
    };
    assert_eq!(answer.head(), "é".repeat(HEAD_CHARS));
}
