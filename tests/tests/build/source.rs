//! What an image tells of its source, and that it follows from it alone.

use super::*;

use serde_json::json;
use slipway_tests::lab::{app_engine, pip_ca};

/// The base image on the application server's engine, for as long as a test builds there; and the
/// name that it gives its images.
struct Elsewhere {
    name: String,
    had_base: bool,
}

impl Elsewhere {
    fn new(name: &str) -> Self {
        let had_base = !app_engine(&["images", "-q", BASE]).trim().is_empty();
        let archive = tempfile::NamedTempFile::new().unwrap();
        let path = archive.path().to_str().unwrap();
        ci_engine(&["save", "-o", path, BASE]);
        app_engine(&["load", "-q", "-i", path]);
        Self { name: name.to_owned(), had_base }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let remove = |name: &str| {
            let mut command = Command::new("docker");
            command.env("DOCKER_HOST", from_run_sh("LAB_APP_DOCKER_HOST")).args(["rmi", name]);
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        };
        remove(&self.name);
        if !self.had_base {
            remove(BASE);
        }
    }
}

/// The example application, committed.
fn application(name: &str) -> Project {
    let copy = Project::new(name, "");
    let top = slipway_tests::project();
    let listed = run(Command::new("git").args(["ls-files", "-z", "app"]).current_dir(&top));
    for file in listed.split('\0').filter_map(|file| file.strip_prefix("app/")) {
        copy.write(file, &std::fs::read_to_string(top.join("app").join(file)).unwrap());
    }
    copy.git(&["init", "-q"]);
    commit(&copy);
    copy
}

fn commit(project: &Project) {
    project.git(&["add", "-A"]);
    project.git(&["commit", "-q", "-m", "as it is"]);
}

#[test]
fn the_same_commit_is_the_same_image_wherever_it_is_built() {
    let app = application("same");
    let pip = pip_ca();
    let build = |path: &Path, engine: &str, args: &[&str]| {
        let mut command = tool("imgbuild");
        command.env("DOCKER_HOST", from_run_sh(engine)).arg("--no-input").arg(path);
        command.args(pip.split_whitespace()).args(["-t", &app.name]).args(args);
        let image = Run::of(&without_input(&mut command)).good().document["image"].clone();
        text(&image, "id").to_owned()
    };
    let id = build(&app.path(), "DOCKER_HOST", &["--no-cache"]);
    assert_eq!(build(&app.path(), "DOCKER_HOST", &[]), id, "nothing new");
    assert_eq!(build(&app.path(), "DOCKER_HOST", &["--no-cache"]), id, "all of it again");

    // What an engine has built before makes no difference: here the next commit takes all of its
    // files from the cache, there nothing was ever built.
    app.write("NOTES", "not sent");
    commit(&app);
    let label = format!("org.opencontainers.image.source={}", app.name);
    let next = build(&app.path(), "DOCKER_HOST", &["--label", &label]);
    assert_ne!(next, id);
    let tag = app.git(&["rev-parse", "--short=12", "HEAD"]);
    let elsewhere = Elsewhere::new(&format!("{}:{tag}", app.name));
    let clone = app.beside("clone");
    app.git(&["clone", "-q", ".", clone.to_str().unwrap()]);
    let there = build(&clone, "LAB_APP_DOCKER_HOST", &["--no-cache", "--label", &label]);
    assert_eq!(there, next, "another engine, another checkout");
    drop(elsewhere);
}

#[test]
fn an_image_has_the_time_of_its_source() {
    let project = Project::new(
        "time",
        &format!(
            "FROM {BASE}\nARG SLIPWAY_SOURCE_DATE_EPOCH\nLABEL time=$SLIPWAY_SOURCE_DATE_EPOCH empty=\"\"\n\
             WORKDIR /{pid}\nRUN true {pid}\nHEALTHCHECK --interval=3s CMD true\nENTRYPOINT [\"echo\"]\nCMD [\"it\", \"\", \"runs\"]\n",
            pid = std::process::id()
        ),
    );
    project.git(&["init", "-q"]);
    commit(&project);
    let seconds = project.git(&["show", "-s", "--format=%ct"]);
    let image = project.build(&[]);
    let seen = inspect(text(&image, "id"));
    assert_eq!(image["committed_at"], seen["Created"]);
    assert_eq!(image["labels"]["org.opencontainers.image.created"], seen["Created"]);
    assert_eq!(
        (&image["labels"]["time"], &image["labels"]["empty"]),
        (&json!(seconds), &json!(""))
    );
    // It is whole: it has its layers and its configuration.
    assert_eq!(seen["RootFS"]["Layers"].as_array().unwrap().len(), 3);
    assert_eq!(seen["Config"]["Healthcheck"]["Interval"], 3_000_000_000_u64);
    assert_eq!(ci_engine(&["run", "--rm", text(&image, "id")]), "it  runs\n");
    let dangling = ci_engine(&["images", "-q", "--filter", "reference=slipway-build"]);
    assert_eq!(dangling, "", "nothing is left of the build's own name");

    let created = |args: &[&str], variable: &str| {
        let mut command = project.imgbuild();
        let output = without_input(command.args(args).env("SOURCE_DATE_EPOCH", variable));
        let image = Run::of(&output).good().document["image"].clone();
        text(&inspect(text(&image, "id")), "Created").to_owned()
    };
    assert_eq!(created(&[], "1700000000"), "2023-11-14T22:13:20Z");
    assert_eq!(created(&["--source-date-epoch", "1"], "1700000000"), "1970-01-01T00:00:01Z");
    let now = created(&["--source-date-epoch", "now", "--no-cache"], "");
    assert!(now.as_str() > text(&image, "committed_at"), "{now}");
    let error = project.fails(&["--source-date-epoch", "yesterday"], 2, "usage");
    assert!(text(&error, "message").contains("yesterday"), "{error:#}");
}

#[test]
fn the_usual_variable_reaches_a_dockerfile_that_declares_it() {
    let told = "FROM scratch\nARG SOURCE_DATE_EPOCH=none\nLABEL told=$SOURCE_DATE_EPOCH\n";
    let project = Project::new("declared", told);
    let args = ["--source-date-epoch", "1700000000"];
    assert_eq!(project.build(&args)["labels"]["told"], "1700000000");
    let own = ["--source-date-epoch", "1700000000", "--build-arg", "SOURCE_DATE_EPOCH=5"];
    assert_eq!(project.build(&own)["labels"]["told"], "5");
    assert_eq!(project.build(&[])["labels"]["told"], "none", "no commit, no time");
}

#[test]
fn an_inline_cache_is_kept() {
    let project = Project::new("inline", &format!("FROM {BASE}\nRUN true\n"));
    project.git(&["init", "-q"]);
    commit(&project);
    let image = project.build(&["--cache-to", "type=inline"]);
    let archive = project.beside("archive");
    ci_engine(&["save", "-o", archive.to_str().unwrap(), text(&image, "id")]);
    let config = format!("{}.json", text(&image, "id").trim_start_matches("sha256:"));
    let config = run(Command::new("tar").arg("-xOf").arg(&archive).arg(config));
    assert!(config.contains("moby.buildkit.cache.v0"), "{config}");
}

#[test]
fn branch_tag_and_remote_are_told() {
    let project = Project::new("facts", COPY_ALL);
    project.git(&["init", "-q"]);
    commit(&project);
    project.git(&["remote", "add", "origin", "https://user:token@git.example.com/team/web.git"]);
    let image = project.build(&[]);
    assert_eq!((&image["branch"], &image["dirty"]), (&json!("main"), &json!(false)));
    assert_eq!(image["remote"], "https://git.example.com/team/web.git");
    let label = |image: &Value, name: &str| {
        image["labels"][&format!("org.opencontainers.image.{name}")].clone()
    };
    assert_eq!(label(&image, "source"), image["remote"]);
    assert_eq!(label(&image, "ref.name"), "main");
    assert_eq!(label(&image, "revision"), image["revision"]);

    // As Jenkins checks out.
    project.git(&["tag", "v1.2.3"]);
    project.git(&["checkout", "-q", "--detach"]);
    let mut command = project.imgbuild();
    command.env("BUILD_NUMBER", "7").env("GIT_BRANCH", "origin/feature/x");
    let image = Run::of(&without_input(&mut command)).good().document["image"].clone();
    assert_eq!((&image["branch"], &image["git_tag"]), (&json!("feature/x"), &json!("v1.2.3")));
    assert_eq!(label(&image, "ref.name"), "v1.2.3");
}

#[test]
fn a_source_that_is_not_its_commit_can_be_refused() {
    let project = Project::new("clean", COPY_ALL);
    let error = project.fails(&["--require-clean"], 1, "source_not_clean");
    assert!(text(&error, "message").contains("no commit"), "{error:#}");
    project.git(&["init", "-q"]);
    commit(&project);
    project.build(&["--require-clean"]);
    for n in 0..7 {
        project.write(&format!("new {n}"), "x");
    }
    let error = project.fails(&["--require-clean"], 1, "source_not_clean");
    assert!(text(&error, "message").ends_with("new 3, new 4 and 2 more"), "{error:#}");
    assert_eq!(error["evidence"]["count"], 7, "{error:#}");
    assert_eq!(project.build(&[])["dirty"], true);
}
