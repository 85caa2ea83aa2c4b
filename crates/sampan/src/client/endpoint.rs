//! Where the daemon is: `unix:///path` or `tcp://host:port`.

use crate::failure::{Failure, Result};
use hyper::header::HeaderValue;
use std::fmt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// The daemon of this project, where neither a flag nor the environment names another.
const DEFAULT: &str = "unix:///run/sampan/docker.sock";

/// A two-way stream to the daemon.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
/// Any of them.
pub(crate) type Io = Box<dyn Duplex>;

/// The address of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// The path of a Unix socket.
    Unix(String),
    /// `host:port`, without encryption.
    Tcp(String),
}

impl Endpoint {
    /// From the flag, else `SAMPAN_HOST`, else `DOCKER_HOST`, else sampand's own socket.
    pub(crate) fn choose(flag: Option<&str>) -> Result<Self> {
        let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let text = flag
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .or_else(|| set("SAMPAN_HOST"))
            .or_else(|| set("DOCKER_HOST"))
            .unwrap_or_else(|| DEFAULT.to_owned());
        Self::parse(&text)
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| Failure::new(format!("the daemon's address {text:?} {why}")).with_code(125);
        match text.split_once("://") {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.to_owned())),
            Some(("tcp" | "http", rest)) => {
                let authority = rest.split('/').next().unwrap_or_default();
                if authority.is_empty() {
                    return Err(refuse("names no host"));
                }
                if rest.trim_end_matches('/') != authority {
                    return Err(refuse("has a path after the host, which is not supported"));
                }
                let port_given = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
                Ok(Self::Tcp(if port_given { authority.to_owned() } else { format!("{authority}:2375") }))
            }
            Some(("unix", _)) => Err(refuse("names no path")),
            Some((scheme @ ("ssh" | "npipe" | "fd" | "https"), _)) => {
                Err(refuse(&format!("uses {scheme}, which is not supported; use unix:// or tcp://")))
            }
            Some((scheme, _)) => Err(refuse(&format!("uses {scheme}, which is not known; use unix:// or tcp://"))),
            None if text.starts_with('/') => Ok(Self::Unix(text.to_owned())),
            None => Err(refuse("has no scheme; write unix:///path or tcp://host:port")),
        }
    }

    pub(super) async fn connect(&self) -> Result<Io> {
        match self {
            Self::Unix(path) => match UnixStream::connect(path).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(error) => Err(self.refused(&error)),
            },
            Self::Tcp(address) => match TcpStream::connect(address.as_str()).await {
                Ok(stream) => {
                    // Keys are typed one at a time.
                    let _ = stream.set_nodelay(true);
                    Ok(Box::new(stream))
                }
                Err(error) => Err(self.refused(&error)),
            },
        }
    }

    fn refused(&self, error: &std::io::Error) -> Failure {
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            return Failure::new(format!(
                "permission denied while trying to connect to the daemon's socket at {self}: only root and the socket's \
                 group may use it"
            ));
        }
        self.unreachable(&error.to_string())
    }

    /// That the daemon can't be reached, and `why`.
    pub(crate) fn unreachable(&self, why: &str) -> Failure {
        Failure::new(format!("Cannot connect to the daemon at {self}: {why}. Is the daemon running?"))
    }

    pub(super) fn host_header(&self) -> HeaderValue {
        match self {
            // What the socket is called says nothing; dockerd asks for a valid name.
            Self::Unix(_) => HeaderValue::from_static("api.moby.localhost"),
            Self::Tcp(address) => {
                HeaderValue::from_str(address).unwrap_or_else(|_| HeaderValue::from_static("localhost"))
            }
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{path}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(Endpoint::parse("unix:///a/b").unwrap(), Endpoint::Unix("/a/b".into()));
        assert_eq!(Endpoint::parse("/a/b").unwrap(), Endpoint::Unix("/a/b".into()));
        assert_eq!(Endpoint::parse("tcp://h:1").unwrap(), Endpoint::Tcp("h:1".into()));
        assert_eq!(Endpoint::parse("tcp://h/").unwrap(), Endpoint::Tcp("h:2375".into()));
        assert_eq!(Endpoint::parse("tcp://[::1]").unwrap(), Endpoint::Tcp("[::1]:2375".into()));
        for bad in ["ssh://h", "x", "unix://", "tcp://", "tcp://h:1/path", "wat://x"] {
            assert_eq!(Endpoint::parse(bad).unwrap_err().code, 125, "{bad}");
        }
    }
}
