//! `POST /images/{name}/tag`, and patterns of names.

use crate::api::docker::call::Call;
use crate::api::docker::reply::{self, Reply};
use http::StatusCode;
use oci::{Error, ImageRef, Result};

/// Gives an image one more name.
pub async fn tag(call: Call) -> Result<Reply> {
    let repository = call.query.get("repo").ok_or_else(|| Error::invalid("the parameter repo is empty"))?;
    let mut name: ImageRef = repository.parse()?;
    if let Some(tag) = call.query.get("tag") {
        name = name.with_tag(tag)?;
    }
    if name.digest().is_some() {
        return Err(Error::invalid("refusing to create a tag with a digest reference"));
    }
    call.engine().images().tag(call.param("name"), &name).await?;
    Ok(reply::empty(StatusCode::CREATED))
}

/// Whether a name matches a pattern of the filter `reference`: shell wildcards within path components, with the tag or
/// without, in the form that people write.
pub fn matches(pattern: &str, name: &ImageRef) -> bool {
    [name.familiar(), name.familiar_repository(), name.to_string(), name.repository()]
        .iter()
        .any(|text| glob(pattern.as_bytes(), text.as_bytes()))
}

/// `*` and `?`, neither of which matches a slash. Linear back-tracking: only the last `*` is tried again, which is
/// enough within a component.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let parts = |bytes: &[u8]| bytes.iter().filter(|b| **b == b'/').count();
    parts(pattern) == parts(text)
        && pattern.split(|b| *b == b'/').zip(text.split(|b| *b == b'/')).all(|(p, t)| component(p, t))
}

fn component(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_names() {
        let name: ImageRef = "busybox:1.36".parse().unwrap();
        for pattern in ["busybox", "busy*", "busybox:1.*", "b?sybox:*", "*", "docker.io/library/busybox:1.36"] {
            assert!(matches(pattern, &name), "{pattern}");
        }
        for pattern in ["busy", "busybox:2*", "*/busybox", "a*"] {
            assert!(!matches(pattern, &name), "{pattern}");
        }
        let far: ImageRef = "host:5000/a/b:c".parse().unwrap();
        assert!(matches("host:5000/*/b", &far) && !matches("host:5000/*", &far));
    }
}
