//! The agent as OpenSSH's own programs see it.

use super::*;

use std::process::{Command, Output};

use tokio::net::UnixListener;

/// A directory with a key pair of this kind in it, made by ssh-keygen.
fn key(kind: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-C", "", "-t"]).args(kind).arg("-f").arg(&path);
    if !kind.contains(&"-N") {
        keygen.args(["-N", ""]);
    }
    let output = keygen.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (dir, path)
}

fn load(spec: &str) -> Result<Agents, Error> {
    Agents::load(&[spec.to_owned()])
}

/// Runs a program with the agent of this name to ask.
async fn with_agent(agents: &Agents, program: &str, args: &[&str], dir: &Path) -> Output {
    let socket = dir.join("agent.sock");
    let _old = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    let agent = agents.get("").unwrap().clone();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let agent = agent.clone();
            tokio::spawn(async move { agent.serve(stream).await });
        }
    });
    let mut command = tokio::process::Command::new(program);
    command.args(args).env("SSH_AUTH_SOCK", &socket).stdin(std::process::Stdio::null());
    let output = command.output().await.unwrap();
    serving.abort();
    output
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Lets ssh-keygen sign with the agent's key, of which it has the public half only, and verify it.
async fn signs(agents: &Agents, public: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let (alone, message) = (dir.path().join("alone.pub"), dir.path().join("message"));
    std::fs::copy(public, &alone).unwrap();
    std::fs::write(&message, "something to sign").unwrap();
    let of = |path: &Path| path.display().to_string();
    let args = ["-Y", "sign", "-n", "test", "-f", &of(&alone), &of(&message)];
    let signed = with_agent(agents, "ssh-keygen", &args, dir.path()).await;
    assert!(signed.status.success(), "{}", text(&signed));

    let allowed = dir.path().join("allowed");
    std::fs::write(&allowed, format!("me {}", std::fs::read_to_string(&alone).unwrap())).unwrap();
    let verified = Command::new("ssh-keygen")
        .args(["-Y", "verify", "-n", "test", "-I", "me", "-f", &of(&allowed)])
        .args(["-s", &format!("{}.sig", of(&message))])
        .stdin(std::fs::File::open(&message).unwrap())
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", text(&verified));
}

#[tokio::test]
async fn keys_sign_as_openssh_wants_it() {
    for kind in [
        &["ed25519"][..],
        &["ecdsa", "-b", "256"],
        &["ecdsa", "-b", "384"],
        &["rsa", "-b", "2048"],
        &["rsa", "-b", "3072"],
        &["rsa", "-b", "2048", "-m", "PEM"],
        &["rsa", "-b", "2048", "-m", "PKCS8"],
    ] {
        let (_dir, path) = key(kind);
        let agents = load(&format!("default={}", path.display())).unwrap();
        signs(&agents, &path.with_extension("pub")).await;
    }
}

#[tokio::test]
async fn several_keys_are_listed_and_none_is_taken_away() {
    let ((_one, first), (two, second)) = (key(&["ed25519"]), key(&["ecdsa"]));
    let agents = load(&format!("default={},{}", first.display(), second.display())).unwrap();
    let listed = with_agent(&agents, "ssh-add", &["-L"], two.path()).await;
    for path in [&first, &second] {
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        let blob = public.split(' ').nth(1).unwrap();
        assert!(text(&listed).contains(blob.trim()), "{}", text(&listed));
    }
    let removed = with_agent(&agents, "ssh-add", &["-D"], two.path()).await;
    assert!(!removed.status.success(), "{}", text(&removed));
}

#[tokio::test]
async fn of_the_users_agent_a_step_can_only_use_the_keys() {
    let (dir, path) = key(&["ed25519"]);
    let socket = dir.path().join("users.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let users = load(&format!("default={}", path.display())).unwrap();
    let agent = users.get("default").unwrap().clone();
    // Stands for the user's own agent and counts what it is asked.
    let (asked, mut questions) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Agent::Keys(keys) = &agent else { return };
            while let Ok(Some(request)) = read_message(&mut stream).await {
                asked.send(request[0]).unwrap();
                write_message(&mut stream, &answer(keys, &request)).await.unwrap();
            }
        }
    });
    let agents = load(&format!("default={}", socket.display())).unwrap();
    signs(&agents, &path.with_extension("pub")).await;
    for args in [&["-D"][..], &["-x"], &[path.to_str().unwrap()]] {
        let refused = with_agent(&agents, "ssh-add", args, dir.path()).await;
        assert!(!refused.status.success(), "{args:?}: {}", text(&refused));
    }
    while let Ok(question) = questions.try_recv() {
        assert!([REQUEST_IDENTITIES, SIGN_REQUEST].contains(&question), "{question}");
    }
}

#[test]
fn what_cannot_be_used_is_told() {
    let why = |spec: &str| load(spec).err().unwrap().to_string();
    let (dir, locked) = key(&["ed25519", "-N", "a passphrase"]);
    assert!(why(&format!("a={}", locked.display())).contains("passphrase"));
    let (_pem, locked) = key(&["rsa", "-m", "PEM", "-N", "a passphrase"]);
    assert!(why(&format!("a={}", locked.display())).contains("passphrase"));
    let (_long, long) = key(&["ecdsa", "-b", "521"]);
    assert!(why(&format!("a={}", long.display())).contains("not supported"));
    let public = long.with_extension("pub");
    assert!(why(&format!("a={}", public.display())).contains("not a private key"));
    assert!(why("a=/no/such/key").contains("/no/such/key"));
    let socket = dir.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(why(&format!("a={}", socket.display())).contains("no agent answers"));
    let twice: Vec<String> = vec![format!("a={}", dir.path().join("x").display()); 2];
    assert!(Agents::load(&twice).is_err());
}

#[test]
fn a_missing_agent_is_read_from_the_engines_words() {
    let of = |text: &str| not_given(text);
    let told = "failed to solve: no SSH key \"default\" forwarded from the client";
    assert_eq!(of(told).as_deref(), Some("default"));
    assert_eq!(of(&format!("rpc error: {}", missing(""))).as_deref(), Some("default"));
    assert_eq!(of("something else"), None);
}
