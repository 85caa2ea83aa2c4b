//! The tags of a repository.

use crate::Registry;
use crate::address::join;
use crate::credentials::Credentials;
use crate::errors::{Asked, Failure, Refusal};
use crate::limits;
use crate::session::{Place, Session, Wanted};
use http::{Method, Uri, header};
use oci::{ImageRef, Result};
use serde::Deserialize;

#[derive(Deserialize)]
struct Page {
    /// Some registries say `null` for an empty repository.
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Registry {
    /// All tags of the repository of `image`, following the pages of the list.
    ///
    /// # Errors
    /// `NotFound` for an unknown repository; `Corrupt` for a list that does not end.
    pub async fn tags(&self, image: &ImageRef, credentials: &Credentials) -> Result<Vec<String>> {
        let mut tries = self.pulling(image, credentials)?;
        loop {
            match list(&tries.session(), image).await {
                Ok(tags) => return Ok(tags),
                Err(failure) => tries.failed(failure).await?,
            }
        }
    }
}

async fn list(session: &Session<'_>, image: &ImageRef) -> Result<Vec<String>, Failure> {
    let path = format!("/v2/{}/tags/list", image.path());
    let asked = Asked::Tags(image);
    let endless = || Failure::broken(format!("{}: the list of tags does not end", image.familiar_repository()));
    let mut tags = Vec::new();
    let mut next: Option<Uri> = None;
    for _ in 0..limits::TAG_PAGES {
        let mut wanted = Wanted::new(Method::GET, &path);
        if let Some(url) = &next {
            wanted.place = Place::Url(url);
        }
        let answer = session.call(wanted, asked).await?;
        if !answer.status.is_success() {
            return Err(Refusal::read(answer).await.failure(asked));
        }
        next = answer.header(header::LINK).and_then(|link| next_page(&answer.uri, link));
        let body = answer.body.whole(limits::TAG_PAGE, "list of tags").await?;
        let page: Page = serde_json::from_slice(&body).map_err(|e| Failure::broken(format!("list of tags: {e}")))?;
        tags.extend(page.tags.unwrap_or_default());
        if tags.len() > limits::TAGS {
            return Err(endless());
        }
        if next.is_none() {
            return Ok(tags);
        }
    }
    Err(endless())
}

/// The URL of `<url>; rel="next"` (RFC 8288), if it stays at the same host.
fn next_page(base: &Uri, link: &str) -> Option<Uri> {
    let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let next = parameters.split(';').any(|p| matches!(p.trim(), r#"rel="next""# | "rel=next"));
    join(base, url).filter(|uri| next && uri.authority() == base.authority())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_next_page() {
        let base: Uri = "http://r/v2/a/tags/list".parse().unwrap();
        let next = next_page(&base, r#"</v2/a/tags/list?last=b&n=2>; rel="next""#).unwrap();
        assert_eq!(next.to_string(), "http://r/v2/a/tags/list?last=b&n=2");
        for bad in ["", "</x>", r#"<http://other/>; rel="next""#, r#"</x>; rel="prev""#] {
            assert!(next_page(&base, bad).is_none());
        }
    }
}
