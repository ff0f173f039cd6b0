//! The tool as a library: arguments and streams in, an exit code out.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on panics")]
#![expect(dead_code, reason = "the helpers serve other tests, too")]

mod common;

use std::io::{Cursor, Write};
use std::sync::{Arc, Mutex};

use common::{Server, answer, document};
use healthwait::HealthWait;
use serde_json::{Value, json};
use slipway_shell::{Input, Output, OutputKind, Streams, Ui};

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_deployed_release_is_waited_for() {
    let server = Server::new(|_| answer(200, &json!({"version": "v2"})));
    let input = document(json!({
        "image": {"tag": "v2"},
        "deploy": {"hosts": [{"host": "a", "url": server.url("/"), "outcome": "unchanged"}]},
    }));
    let (out, err) = (Buffer::default(), Buffer::default());
    let streams = Streams {
        input: Input::Document(Box::new(Cursor::new(input.to_string()))),
        output: Output::new(Box::new(out.clone()), OutputKind::Pipe),
        ui: Ui::new("healthwait", Box::new(err.clone()), false),
    };
    let args = ["healthwait", "--interval=1ms"].map(Into::into);
    let code = slipway_shell::run::<HealthWait>(args, streams);
    let stderr = String::from_utf8(err.0.lock().unwrap().clone()).unwrap();
    assert_eq!(code, 0, "{stderr}");
    let written: Value = serde_json::from_slice(&out.0.lock().unwrap()).unwrap();
    assert_eq!(written["health"]["targets"][0]["version"], "v2");
    assert_eq!(written["image"], input["image"]);
    assert!(stderr.lines().all(|line| line.starts_with("healthwait: ")), "{stderr}");
}
