//! Files that are attached to the image: read back by skopeo and as the registry has them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use slipway_tests::from_run_sh;
use slipway_tests::lab::{Run, run};
use slipway_tests::process::with_input;

use crate::site::{Front, Site, document, image, layered, named, token};

const SPDX: &str = "{\"spdxVersion\": \"SPDX-2.3\", \"name\": \"web\"}\n";
const CYCLONE_DX: &str = "{\"bomFormat\": \"CycloneDX\", \"specVersion\": \"1.6\"}\n";
const PROVENANCE: &str = "{\"_type\": \"https://in-toto.io/Statement/v1\", \"subject\": []}\n";

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and answers its path.
    fn with(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }
}

/// What the registry has under a path of the repository, as it is.
fn raw(site: &Site, repository: &str, path: &str) -> String {
    run(site
        .other("curl")
        .args(["-sSfL", "--cacert", &from_run_sh("LAB_CA")])
        .args(["--user", &format!("AWS:{}", token())])
        .args(["--header", "Accept: application/vnd.oci.image.manifest.v1+json"])
        .args(["--header", "Accept: application/vnd.oci.image.index.v1+json"])
        .args(["--header", "Accept: application/vnd.docker.distribution.manifest.v2+json"])
        .arg(format!("https://{}/v2/{}/{path}", from_run_sh("LAB_REGISTRY"), named(repository))))
}

fn tags(site: &Site, repository: &str) -> Value {
    let list: Value = serde_json::from_str(&raw(site, repository, "tags/list")).unwrap();
    list["tags"].clone()
}

fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}"))
}

/// The entries of the list that clients keep where the registry does not, as skopeo reads it.
fn listed(site: &Site, repository: &str, subject: &str) -> Vec<Value> {
    let creds = format!("AWS:{}", token());
    let host = from_run_sh("LAB_REGISTRY");
    let name = format!("docker://{host}/{}:{}", named(repository), subject.replace(':', "-"));
    let index = run(site.other("skopeo").args(["inspect", "--raw", "--creds", &creds, &name]));
    let index: Value = serde_json::from_str(&index).unwrap();
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    index["manifests"].as_array().unwrap().clone()
}

/// Whether the referrer's manifest names the image, and holds this.
fn holds(site: &Site, repository: &str, pushed: &Value, referrer: &Value, content: &str) {
    let manifest = raw(site, repository, &format!("manifests/{}", text(referrer, "/digest")));
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["artifactType"], referrer["artifact_type"]);
    let subject = raw(site, repository, &format!("manifests/{}", text(pushed, "/push/digest")));
    assert_eq!(manifest["subject"]["digest"], pushed["push"]["digest"]);
    assert_eq!(manifest["subject"]["size"], subject.len());
    let subject: Value = serde_json::from_str(&subject).unwrap();
    assert_eq!(manifest["subject"]["mediaType"], subject["mediaType"]);
    assert_eq!(manifest["layers"][0]["mediaType"], referrer["media_type"]);
    let name = Path::new(text(referrer, "/file")).file_name().unwrap().to_str().unwrap();
    let title = &manifest["layers"][0]["annotations"]["org.opencontainers.image.title"];
    assert_eq!(title, name);
    let blob = format!("blobs/{}", text(&manifest, "/layers/0/digest"));
    assert_eq!(raw(site, repository, &blob), content);
    assert_eq!(
        raw(site, repository, &format!("blobs/{}", text(&manifest, "/config/digest"))),
        "{}"
    );
}

#[test]
fn each_file_is_a_referrer_of_its_own_kind_whoever_pushed_the_image() {
    let (site, files) = (Site::new(), Files::new());
    let sbom = files.with("web.spdx.json", SPDX);
    let provenance = files.with("provenance.json", PROVENANCE);
    let notes = files.with("notes", "fine\n");
    for way in ["engine", "direct"] {
        let repository = format!("attach/{way}");
        let args = ["--via", way, "--sbom", &sbom, "--attach", &provenance];
        let plain = format!("{notes}=text/plain");
        let args = [&args[..], &["--attach", &plain]].concat();
        let pushed = site.push(&image(way), &repository, &args).good();
        let referrers = pushed.document["push"]["referrers"].as_array().unwrap();
        let kinds = [
            ("application/spdx+json", &sbom, SPDX),
            ("application/vnd.in-toto+json", &provenance, PROVENANCE),
            ("text/plain", &notes, "fine\n"),
        ];
        assert_eq!(referrers.len(), kinds.len());
        for (referrer, (kind, file, content)) in referrers.iter().zip(kinds) {
            assert_eq!((&referrer["media_type"], &referrer["file"]), (&json!(kind), &json!(file)));
            holds(&site, &repository, &pushed.document, referrer, content);
        }
        let listed = listed(&site, &repository, text(&pushed.document, "/push/digest"));
        let kinds: Vec<&Value> = listed.iter().map(|entry| &entry["artifactType"]).collect();
        assert_eq!(kinds, ["application/spdx+json", "application/vnd.in-toto+json", "text/plain"]);
        let title = &listed[0]["annotations"]["org.opencontainers.image.title"];
        assert_eq!(title, "web.spdx.json");
    }
}

#[test]
fn a_file_is_attached_once_and_others_stay() {
    let (site, files) = (Site::new(), Files::new());
    let id = image("attach: once");
    let sbom = files.with("bom.json", SPDX);
    let first = site.push(&id, "attach/once", &["--sbom", &sbom]).good().document;
    let subject = text(&first, "/push/digest").to_owned();
    // The same again, written later: nothing is added.
    let file = std::fs::File::options().append(true).open(&sbom).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1)).unwrap();
    let again = site.push(&id, "attach/once", &["--sbom", &sbom]).good();
    assert_eq!(again.document["push"]["referrers"], first["push"]["referrers"]);
    assert_eq!(again.document["push"]["already_present"], true);
    assert!(again.told.contains("the registry has it already"), "{}", again.told);
    assert_eq!(listed(&site, "attach/once", &subject).len(), 1);
    // Another one, where imgbuild found the image in the registry and built nothing.
    let reference = text(&first, "/push/reference");
    let sbom = files.with("bom.cdx.json", CYCLONE_DX);
    let found = site.push_found(reference, "attach/once", &["--sbom", &sbom]).good().document;
    let referrer = &found["push"]["referrers"][0];
    assert_eq!(referrer["media_type"], "application/vnd.cyclonedx+json");
    holds(&site, "attach/once", &found, referrer, CYCLONE_DX);
    let listed = listed(&site, "attach/once", &subject);
    let digests: Vec<&Value> = listed.iter().map(|entry| &entry["digest"]).collect();
    assert_eq!(digests, [&first["push"]["referrers"][0]["digest"], &referrer["digest"]]);
}

#[test]
fn a_large_file_goes_in_parts() {
    let (site, files) = (Site::new(), Files::new());
    let mut large = "line\n".repeat(3_000_000);
    large.push_str("end\n");
    let file = files.with("large.txt", &large);
    let args = ["--attach", &format!("{file}=text/plain")];
    let pushed = site.push(&image("attach: large"), "attach/large", &args).good().document;
    holds(&site, "attach/large", &pushed, &pushed["push"]["referrers"][0], &large);
}

#[test]
fn a_file_that_cannot_be_attached_is_told_before_anything_is_pushed() {
    let (site, files) = (Site::new(), Files::new());
    let id = image("attach: bad");
    let missing = files.path("none.json").to_str().unwrap().to_owned();
    let cut_off = files.with("cut.json", &SPDX[..20]);
    for path in [&missing, &cut_off] {
        let bad = site.push(&id, "attach/bad", &["--sbom", path]);
        let bad = bad.bad("imgpush", 1, "file_unreadable");
        assert!(text(&bad.document, "/error/message").contains(path.as_str()));
        assert!(!bad.told.contains("pushing"), "{}", bad.told);
    }
    let large = files.path("large");
    std::fs::File::create(&large).unwrap().set_len((1 << 30) + 1).unwrap();
    let bad = site.push(&id, "attach/bad", &["--attach", large.to_str().unwrap()]);
    let bad = bad.bad("imgpush", 1, "file_too_large");
    assert!(!bad.told.contains("pushing"), "{}", bad.told);
}

/// A direct push through a front, which speaks plain HTTP.
fn through(front: &Front, id: &str, repository: &str, args: &[&str]) -> Run {
    let document = document(id, repository, &front.host, &token());
    let site = Site::new();
    let mut command = site.tool();
    command.env_remove("HTTPS_PROXY").args(["--plain-http", "--via", "direct"]).args(args);
    Run::of(&with_input(&mut command, &document.to_string()))
}

#[test]
fn a_registry_that_lists_referrers_itself_is_left_to_it() {
    let (site, files) = (Site::new(), Files::new());
    let front = Front::with("referrers");
    let id = layered("scratch", &[("r", 1000)]);
    let sbom = files.with("bom.json", SPDX);
    let first = through(&front, &id, "attach/listed", &["--sbom", &sbom]).good().document;
    holds(&site, "attach/listed", &first, &first["push"]["referrers"][0], SPDX);
    assert_eq!(tags(&site, "attach/listed"), json!(["1"]), "no list of the client's own");
    let file = std::fs::File::options().append(true).open(&sbom).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let again = through(&front, &id, "attach/listed", &["--sbom", &sbom]).good().document;
    assert_eq!(again["push"]["referrers"], first["push"]["referrers"]);
}

#[test]
fn a_list_that_crossed_with_another_clients_is_put_again() {
    let (site, files) = (Site::new(), Files::new());
    let front = Front::with("list-crossed");
    let id = layered("scratch", &[("c", 1000)]);
    let (one, two) = (files.with("a.json", SPDX), files.with("b.json", CYCLONE_DX));
    let pushed = through(&front, &id, "attach/crossed", &["--sbom", &one, "--sbom", &two]).good();
    let digest = text(&pushed.document, "/push/digest");
    assert_eq!(listed(&site, "attach/crossed", digest).len(), 2);
}
