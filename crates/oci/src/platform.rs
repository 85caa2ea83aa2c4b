//! Platforms (image-spec, image-index.md, "platform") and the choice of a manifest for this machine.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An operating system and processor that an image is made for, in Go's names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `GOARCH`, as in `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// `GOOS`, as in `linux`.
    #[serde(default)]
    pub os: String,
    /// The version of the operating system (Windows).
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// The processor's variant, as in `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// The platform of this machine.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", Some("v8")),
            "x86" => ("386", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Self {
            architecture: architecture.into(),
            os: "linux".into(),
            os_version: None,
            variant: variant.map(Into::into),
        }
    }

    /// The same platform in canonical names: `x86_64` becomes `amd64`, `arm64` gets its `v8`.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let os = self.os.to_ascii_lowercase();
        let arch = self.architecture.to_ascii_lowercase();
        let variant = self.variant.as_deref().map(str::to_ascii_lowercase).filter(|v| !v.is_empty());
        let (architecture, variant) = match (arch.as_str(), variant.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", v) => ("amd64", v.filter(|v| *v != "v1")),
            ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64", Some("v8")),
            ("aarch64" | "arm64", v) => ("arm64", v),
            ("i386" | "i686" | "386", _) => ("386", None),
            ("armhf", _) => ("arm", Some("v7")),
            ("armel", _) => ("arm", Some("v6")),
            ("arm", None | Some("7")) => ("arm", Some("v7")),
            ("arm", Some("6")) => ("arm", Some("v6")),
            ("arm", Some("5")) => ("arm", Some("v5")),
            (other, v) => (other, v),
        };
        Self {
            architecture: architecture.into(),
            os,
            os_version: self.os_version.clone(),
            variant: variant.map(Into::into),
        }
    }

    /// How well an image for `candidate` suits a request for this platform: `None` if it cannot
    /// run, otherwise the smaller the better. 32-bit ARM variants run on newer ones.
    pub fn rank(&self, candidate: &Self) -> Option<u32> {
        let (want, have) = (self.normalized(), candidate.normalized());
        if want.os != have.os || want.architecture != have.architecture {
            return None;
        }
        let level = |p: &Self| p.variant.as_deref().and_then(|v| v.trim_start_matches('v').parse::<u32>().ok());
        match (want.architecture.as_str(), level(&want), level(&have)) {
            _ if want.variant == have.variant => Some(0),
            ("arm" | "amd64", want, have) => want.unwrap_or(1).checked_sub(have.unwrap_or(1)),
            (_, _, None) => Some(1),
            _ => None,
        }
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// `os/arch[/variant]`, `os`, or `arch`, as docker's `--platform` takes it.
    fn from_str(text: &str) -> Result<Self> {
        let host = Self::host();
        let parts: Vec<&str> = text.split('/').collect();
        let known_os = |s: &str| matches!(s.to_ascii_lowercase().as_str(), "linux" | "windows" | "darwin" | "freebsd");
        let ok = |s: &&str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !parts.iter().all(ok) || parts.len() > 3 {
            return Err(Error::invalid(format!("invalid platform {text:?}: expected os/arch or os/arch/variant")));
        }
        let new = |os: &str, arch: &str, variant: Option<&str>| Self {
            architecture: arch.into(),
            os: os.into(),
            os_version: None,
            variant: variant.map(Into::into),
        };
        let platform = match parts[..] {
            [one] if known_os(one) => new(one, &host.architecture, host.variant.as_deref()),
            [one] => new("linux", one, None),
            [os, arch] => new(os, arch, None),
            [os, arch, variant] => new(os, arch, Some(variant)),
            _ => return Err(Error::invalid(format!("invalid platform {text:?}"))),
        };
        Ok(platform.normalized())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) if !(self.architecture == "arm64" && variant == "v8") => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_the_best_that_runs() {
        let want: Platform = "linux/arm/v7".parse().unwrap();
        let v6: Platform = "linux/arm/v6".parse().unwrap();
        let v8: Platform = "linux/arm/v8".parse().unwrap();
        assert_eq!(want.rank(&v6), Some(1));
        assert_eq!(want.rank(&v8), None);
        assert_eq!("linux/x86_64".parse::<Platform>().unwrap().to_string(), "linux/amd64");
        assert!("linux/a b".parse::<Platform>().is_err());
        assert!("a/b/c/d".parse::<Platform>().is_err());
    }
}
