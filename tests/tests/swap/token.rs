//! The registry's token passes through the server and leaves nothing there.

use super::*;

/// Looks at the command line and the environment of every process on the server until its stdin
/// ends, for the texts in the first line of that; tells which of them it has seen.
const WATCH: &str = r#"
import json, os, sys, threading
texts = json.loads(sys.stdin.readline())
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(1), ended.set()), daemon=True).start()
print("watching", flush=True)
seen = {}
while not ended.is_set():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for part in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{part}", "rb") as file:
                    held = file.read()
            except OSError:
                continue
            for text in texts:
                if text.encode() in held:
                    seen.setdefault(text, f"{part} of {held[:60]!r}")
print(json.dumps(seen), flush=True)
"#;

const CANARY: &str = "canary-of-the-token-test-5d21";

/// The files on the server that hold this text, but for the layers of images.
fn files_with(text: &str) -> Vec<String> {
    const SEARCH: &str = "import sys, subprocess
text = sys.stdin.readline().strip()
found = subprocess.run(['grep', '-rlaF', '--devices=skip', '--exclude-dir=overlay2', '-f', '-',
    '/var', '/etc', '/home', '/root', '/tmp', '/run'], input=text, text=True,
    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
print('found', *found.stdout.splitlines(), sep='\\t', flush=True)
";
    let (_search, found) = OnServer::python(SEARCH, &format!("{text}\n"));
    found.split('\t').skip(1).map(str::to_owned).collect()
}

#[test]
fn the_token_is_in_no_file_and_no_process_of_the_server() {
    let app = site("swap-token", UNPUBLISHED);
    // One that has to be pulled.
    let release = Release::new("secretive", "");
    let texts = json!([password(), CANARY]);
    let (mut watch, ready) = OnServer::python(WATCH, &format!("{texts}\n"));
    assert_eq!(ready, "watching");
    let run = app.deploy_release(&release, &["--env", &format!("NOTE={CANARY}")]).good();
    assert!(host(&run)["pull_ms"].as_u64().unwrap() > 0);
    watch.stdin.take();
    let seen: Value = serde_json::from_str(&watch.line()).unwrap();
    // It sees what there is to see: the variable that the container was given.
    assert!(seen[CANARY].is_string(), "{seen}");
    assert!(seen.get(password()).is_none(), "{seen}");

    assert!(!files_with(CANARY).is_empty(), "the engine's record of the container has it");
    assert_eq!(files_with(&password()), Vec::<String>::new());
    assert!(!run.told.contains(&password()));
}
