//! `POST /images/create`: pull and import.

use super::progress::report;
use crate::api::docker::call::Call;
use crate::api::docker::reply::{self, Mode, Reply};
use crate::api::docker::stream::stream_of;
use engine::images::{ImportOptions, PullOptions};
use oci::{Context, Digest, Error, ImageRef, Platform, Result};
use wire::docker::auth::AuthConfig;
use wire::docker::progress::Message;

/// Pulls `fromImage`, or makes an image from the body (`fromSrc=-`).
pub async fn create(call: Call) -> Result<Reply> {
    let platform = match call.query.get("platform") {
        Some(text) => Some(text.parse::<Platform>().context(|| "invalid platform")?),
        None => None,
    };
    match (call.query.get("fromImage"), call.query.get("fromSrc")) {
        (Some(_), _) => pull(call, platform).await,
        (None, Some("-")) => import(call, platform).await,
        (None, Some(_)) => Err(Error::unsupported("not implemented: import from a URL; fetch it and use \"-\"")),
        (None, None) => Err(Error::invalid("one of the parameters fromImage and fromSrc is needed")),
    }
}

/// What is to be pulled.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    One(ImageRef),
    /// Every tag of the repository.
    All(ImageRef),
}

fn wanted(image: &str, tag: &str) -> Result<Wanted> {
    let last = image.rsplit('/').next().unwrap_or(image);
    let complete = last.contains(':') || image.contains('@');
    let reference: ImageRef = image.parse()?;
    if tag.contains(':') {
        return Ok(Wanted::One(reference.with_digest(tag.parse::<Digest>()?)));
    }
    match (tag, complete) {
        ("", true) => Ok(Wanted::One(reference)),
        ("", false) => Ok(Wanted::All(reference)),
        (tag, _) => Ok(Wanted::One(reference.with_tag(tag)?)),
    }
}

async fn pull(call: Call, platform: Option<Platform>) -> Result<Reply> {
    let query = &call.query;
    let wanted = wanted(query.get("fromImage").unwrap_or_default(), query.get("tag").unwrap_or_default())?;
    let credentials = super::credentials(call.header_json::<AuthConfig>("X-Registry-Auth")?)?;
    let images = call.engine().images();
    reply::stream("application/json", Mode::Progress, |sender| async move {
        let names = match wanted {
            Wanted::One(name) => vec![name],
            Wanted::All(repository) => {
                let tags = images.remote_tags(&repository, &credentials).await?;
                tags.iter().map(|tag| repository.with_tag(tag)).collect::<Result<_>>()?
            }
        };
        for name in names {
            let options = PullOptions { platform: platform.clone(), credentials: credentials.clone() };
            report(&sender, |sink| images.pull(&name, options, sink)).await?;
        }
        Ok(())
    })
    .await
}

async fn import(mut call: Call, platform: Option<Platform>) -> Result<Reply> {
    let query = &call.query;
    let reference = match query.get("repo") {
        None => None,
        Some(repository) => {
            let name: ImageRef = repository.parse()?;
            Some(match query.get("tag") {
                Some(tag) => name.with_tag(tag)?,
                None => name,
            })
        }
    };
    let options = ImportOptions {
        reference,
        message: query.get("message").unwrap_or_default().to_owned(),
        platform,
        changes: query.all("changes").map(Into::into).collect(),
    };
    let images = call.engine().images();
    let body = stream_of(call.stream());
    reply::stream("application/json", Mode::Progress, |sender| async move {
        let made = images.import(body, options).await?;
        Ok(sender.json(&Message::status("", made.id.to_string())).await?)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_tags() {
        let one = |text: &str| Wanted::One(text.parse().unwrap());
        assert_eq!(wanted("busybox", "1").unwrap(), one("busybox:1"));
        assert_eq!(wanted("host:5000/a", "1").unwrap(), one("host:5000/a:1"));
        assert_eq!(wanted("busybox:2", "").unwrap(), one("busybox:2"));
        assert!(matches!(wanted("host:5000/a", "").unwrap(), Wanted::All(_)));
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(wanted("busybox", &digest).unwrap(), one(&format!("busybox@{digest}")));
        assert!(wanted("Bad Name", "1").is_err());
        assert!(wanted("busybox", "sha256:xyz").is_err());
    }
}
