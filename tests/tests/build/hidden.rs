//! What is secret is not told, whatever a step prints and however it ends.

use super::*;

const TOKEN: &str = "npm-0123456789";
const SECRET: &str = "correct horse battery staple";

#[test]
fn secrets_that_a_step_prints_or_is_named_after_are_hidden() {
    let project = Project::new("hidden", "");
    std::fs::write(project.beside("secret"), format!("{SECRET}\nsecond-line\n")).unwrap();
    let secret = format!("id=s,src={}", project.beside("secret").display());
    let argument = format!("NPM_TOKEN={TOKEN}");
    let given = ["--secret", &secret, "--build-arg", &argument];
    // The builder shares equal steps, so they are this test's own.
    let prints = format!(
        "FROM {BASE}\nARG NPM_TOKEN\nCOPY Dockerfile /{pid}-$NPM_TOKEN\n\
         RUN --mount=type=secret,id=s echo {pid} token $NPM_TOKEN; printf 'part %s' \"$NPM_TOKEN\"; \
         echo; cat /run/secrets/s; echo the end",
        pid = std::process::id()
    );
    project.write("Dockerfile", &format!("{prints}\n"));
    let good = project.run(&given).good();
    assert!(good.told.contains("the end") && good.told.contains("part ***"), "{}", good.told);
    assert!(good.told.contains("warning: the build argument NPM_TOKEN"), "{}", good.told);

    project.write("Dockerfile", &format!("{prints}; exit 7\n"));
    let bad = project.run(&given).bad("imgbuild", 1, "build_failed");
    let log = bad.document["error"]["evidence"]["log"].to_string();
    assert!(log.contains("the end") && log.contains("***"), "{log}");
    for run in [&good, &bad] {
        let all = format!("{}{}", run.told, run.document);
        for secret in [TOKEN, SECRET, "second-line"] {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
    }
}
