//! `-v [source:]target[:options]`.

use crate::failure::{Failure, Result};

/// Volumes by what becomes of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Volumes {
    /// With a source: host paths and named volumes.
    pub(crate) binds: Vec<String>,
    /// Targets of anonymous volumes.
    pub(crate) anonymous: Vec<String>,
}

/// Sorts volumes; a relative host path becomes an absolute one.
pub(crate) fn split(texts: &[String]) -> Result<Volumes> {
    let mut volumes = Volumes::default();
    for text in texts {
        let Some(source) = source_of(text).map_err(|why| Failure::new(why).with_code(125))? else {
            volumes.anonymous.push(text.clone());
            continue;
        };
        let rest = &text[source.len()..];
        let bind = if source.starts_with('.') { format!("{}{rest}", absolute(source)?) } else { text.clone() };
        if !volumes.binds.contains(&bind) {
            volumes.binds.push(bind);
        }
    }
    Ok(volumes)
}

/// The absolute form of a path, made by its words alone (as Go's `filepath.Abs`).
pub(crate) fn absolute(path: &str) -> Result<String> {
    let here = std::env::current_dir().map_err(|error| Failure::new(format!("the working directory: {error}")))?;
    let mut clean = std::path::PathBuf::new();
    for part in here.join(path).components() {
        match part {
            std::path::Component::ParentDir => drop(clean.pop()),
            std::path::Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean.into_os_string().into_string().map_err(|path| Failure::new(format!("the path {path:?} is not UTF-8")))
}

fn source_of(text: &str) -> Result<Option<&str>, String> {
    if text.is_empty() {
        return Err("invalid empty volume spec".into());
    }
    // Too short for anything but a target.
    if text.chars().count() <= 2 {
        return Ok(None);
    }
    let parts: Vec<&str> = text.split(':').collect();
    let fail = |why: &str| Err(format!("invalid spec: {text}: {why}"));
    if parts.iter().any(|part| part.is_empty()) {
        return fail("empty section between colons");
    }
    match parts.as_slice() {
        [_] => Ok(None),
        // More options than there are is the daemon's to say.
        [source, ..] => Ok(Some(source)),
        [] => fail("empty section between colons"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        let here = std::env::current_dir().unwrap();
        let here = here.to_str().unwrap();
        let all = ["/a:/b:ro", "name:/c", "/anonymous", "./rel:/d"].map(str::to_owned);
        let volumes = split(&all).unwrap();
        assert_eq!(volumes.binds, ["/a:/b:ro".to_owned(), "name:/c".into(), format!("{here}/rel:/d")]);
        assert_eq!(volumes.anonymous, ["/anonymous"]);
    }

    #[test]
    fn mistakes() {
        for (text, why) in
            [("", "invalid empty volume spec"), ("/a::ro", "invalid spec: /a::ro: empty section between colons")]
        {
            let failure = split(&[text.to_owned()]).unwrap_err();
            assert_eq!((failure.message.as_str(), failure.code), (why, 125));
        }
    }
}
