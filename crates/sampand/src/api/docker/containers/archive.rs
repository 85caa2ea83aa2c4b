//! `/containers/{id}/archive` (docker cp), `/export`, `/changes`

use crate::api::docker::call::Call;
use crate::api::docker::reply::{self, Mode, Reply};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use engine::model::{ArchivePut, ByteStream, ChangeKind, PathStat};
use http::{HeaderValue, StatusCode};
use oci::{Error, Result};
use wire::docker::container::{Change, PathStat as Shown};

const STAT: &str = "X-Docker-Container-Path-Stat";

fn path(call: &Call) -> Result<&str> {
    call.query.get("path").ok_or_else(|| Error::invalid("bad parameter: the parameter \"path\" is empty"))
}

fn stat_header(stat: &PathStat) -> Result<HeaderValue> {
    let shown = Shown {
        name: stat.name.clone(),
        size: i64::try_from(stat.size).unwrap_or(i64::MAX),
        mode: stat.mode,
        mtime: stat.mtime.to_string(),
        link_target: stat.link_target.clone(),
    };
    let json = serde_json::to_vec(&shown).map_err(|error| Error::internal(error.to_string()))?;
    HeaderValue::try_from(STANDARD.encode(json)).map_err(|error| Error::internal(error.to_string()))
}

/// What is at a path.
pub async fn archive_stat(call: Call) -> Result<Reply> {
    let stat = call.engine().containers().archive_stat(call.param("id"), path(&call)?).await?;
    let mut reply = reply::empty(StatusCode::OK);
    reply.headers_mut().insert(STAT, stat_header(&stat)?);
    Ok(reply)
}

/// A tar of what is at a path.
pub async fn archive_get(call: Call) -> Result<Reply> {
    let (stat, bytes) = call.engine().containers().archive_get(call.param("id"), path(&call)?).await?;
    let mut reply = tar(bytes).await?;
    reply.headers_mut().insert(STAT, stat_header(&stat)?);
    Ok(reply)
}

/// Unpacks a tar at a path.
pub async fn archive_put(mut call: Call) -> Result<Reply> {
    let path = path(&call)?.to_owned();
    let options = ArchivePut {
        no_overwrite_dir_non_dir: call.query.flag("noOverwriteDirNonDir"),
        copy_uid_gid: call.query.flag("copyUIDGID"),
    };
    let body = call.stream();
    call.engine().containers().archive_put(call.param("id"), &path, options, body).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// A tar of a container's root filesystem.
pub async fn export(call: Call) -> Result<Reply> {
    tar(call.engine().containers().export(call.param("id")).await?).await
}

/// Streams a tar.
pub async fn tar(mut bytes: ByteStream) -> Result<Reply> {
    reply::stream("application/x-tar", Mode::Data, |sender| async move {
        while let Some(piece) = bytes.recv().await {
            sender.bytes(piece?).await?;
        }
        Ok(())
    })
    .await
}

/// What differs from the image.
pub async fn changes(call: Call) -> Result<Reply> {
    let changes = call.engine().containers().changes(call.param("id")).await?;
    let shown: Vec<Change> = changes
        .into_iter()
        .map(|change| Change {
            path: change.path,
            kind: match change.kind {
                ChangeKind::Modified => 0,
                ChangeKind::Added => 1,
                ChangeKind::Deleted => 2,
            },
        })
        .collect();
    Ok(reply::json(&(!shown.is_empty()).then_some(shown)))
}
