//! Files that are attached to the pushed image: its software bill of materials, its provenance, or
//! whatever else belongs to it. Each becomes an artifact's manifest with the image as its subject
//! (OCI image specification 1.1, "Guidelines for Artifact Usage").
//!
//! The files are opened, told and hashed before anything is pushed; they are sent once the image's
//! digest is proved, and before any tag follows to it.

mod file;
mod given;
mod kind;
mod manifest;

use std::sync::Arc;

use bytes::Bytes;
use slipway_engine::Reference;
use slipway_registry::{Descriptor, Digester, MediaType, Repository, digest};
use slipway_release::Referrer;
use slipway_shell::Ui;

use crate::Error;

pub use file::FileError;
pub(crate) use file::{Attachment, prepare};
pub(crate) use given::{Given, given};
pub(crate) use kind::of as kind_of;

/// An upload that was lost is begun again so often.
const UPLOADS: u32 = 3;

/// Attaches the files to the manifest of this name and digest, which the registry has. A file that is
/// attached already is left as it is.
pub(crate) async fn attach(
    repository: &Repository,
    name: &Reference,
    files: &[Attachment],
    ui: &Ui,
) -> Result<Vec<Referrer>, Error> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let subject = subject(repository, name).await?;
    let (mut referrers, mut unlisted) = (Vec::new(), Vec::new());
    for file in files {
        let step = ui.step(format!("attaching {}", file.path));
        let (digest, said) = match known(repository, &subject, file).await? {
            Some(digest) => (digest, "the registry has it already"),
            None => (put(repository, &subject, file, &mut unlisted).await?, file.media_type()),
        };
        step.done(said);
        referrers.push(Referrer {
            digest,
            media_type: file.media_type().to_owned(),
            artifact_type: file.media_type().to_owned(),
            file: file.path.clone(),
        });
    }
    if !unlisted.is_empty() {
        // All at once: each put of the list could cross with another client's.
        let listed = repository.list_referrers(&subject.digest, &unlisted).await;
        listed.map_err(|error| Error::from(error).about(name))?;
    }
    Ok(referrers)
}

/// What the files are attached to.
async fn subject(repository: &Repository, name: &Reference) -> Result<Descriptor, Error> {
    let digest = name.digest().unwrap_or_default();
    let found = repository.manifest(digest).await;
    let found = found.map_err(|error| Error::from(error).about(name))?;
    let found = found.ok_or_else(|| Error::DigestMismatch {
        name: name.to_string().into(),
        pushed: digest.into(),
        found: "nothing".into(),
    })?;
    Ok(Descriptor::new(found.media_type, found.digest, found.body.len() as u64))
}

/// The manifest by which the file is attached already, whenever and by whomever that was done: its
/// time may be another, so that it is told by what it holds.
async fn known(
    repository: &Repository,
    subject: &Descriptor,
    file: &Attachment,
) -> Result<Option<String>, Error> {
    let listed = repository.referrers(&subject.digest, file.media_type()).await;
    for entry in listed.map_err(|error| file.failed(error))? {
        if !manifest::may_hold(&entry, file) {
            continue;
        }
        let found = repository.manifest(&entry.digest).await;
        let found = found.map_err(|error| file.failed(error))?;
        if found.is_some_and(|found| manifest::holds(&found.body, subject, file)) {
            return Ok(Some(entry.digest));
        }
    }
    Ok(None)
}

/// Sends file and manifest; answers the manifest's digest, and notes it if the registry does not list
/// it by itself.
async fn put(
    repository: &Repository,
    subject: &Descriptor,
    file: &Attachment,
    unlisted: &mut Vec<Descriptor>,
) -> Result<String, Error> {
    let failed = |error| file.failed(error);
    let empty = digest(manifest::EMPTY);
    if repository.blob_size(&empty).await.map_err(failed)?.is_none() {
        let put = repository.put_blob(&empty, Bytes::from_static(manifest::EMPTY)).await;
        put.map_err(failed)?;
    }
    let mut tries = 1;
    while let Err(error) = send(repository, file).await {
        if !error.transient() || tries >= UPLOADS {
            return Err(error);
        }
        tries += 1;
    }
    let body = manifest::body(subject, file).map_err(failed)?;
    let of = digest(&body);
    let size = body.len() as u64;
    if !repository.put_referrer(&of, body).await.map_err(failed)? {
        unlisted.push(Descriptor {
            artifact_type: Some(file.media_type().to_owned()),
            annotations: manifest::annotations(file),
            ..Descriptor::new(MediaType::OCI_MANIFEST, of.clone(), size)
        });
    }
    Ok(of)
}

/// Sends the file itself, one part in memory at a time.
async fn send(repository: &Repository, file: &Attachment) -> Result<(), Error> {
    let failed = |error| file.failed(error);
    let of = &file.content.digest;
    if repository.blob_size(of).await.map_err(failed)?.is_some() {
        return Ok(());
    }
    let mut upload = repository.begin().await.map_err(failed)?;
    let (mut digester, mut sent) = (Digester::default(), 0);
    while sent < file.content.size {
        let part = file.read(sent, upload.part()).await?;
        digester.update(&part);
        sent += part.len() as u64;
        if sent == file.content.size && digester.clone().finish() != *of {
            return Err(FileError::Changed { path: file.path.clone() }.into());
        }
        upload.send(part).await.map_err(failed)?;
    }
    upload.finish(of).await.map_err(failed)
}

impl Attachment {
    /// Says which file a registry's error is about.
    fn failed(&self, source: slipway_registry::Error) -> Error {
        Error::Attach { file: self.path.as_str().into(), source }
    }

    /// Reads the part that begins there, of this length at most.
    async fn read(&self, begin: u64, length: usize) -> Result<Bytes, Error> {
        let content = Arc::clone(&self.content);
        let read = tokio::task::spawn_blocking(move || content.part(begin, length)).await;
        let why = match read {
            Ok(Ok(part)) => return Ok(part),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(FileError::Changed { path: self.path.clone() }.into());
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Err(FileError::Unreadable { path: self.path.clone(), why }.into())
    }
}
