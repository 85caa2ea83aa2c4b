//! `POST /auth` (docker login)

use crate::api::docker::call::Call;
use crate::api::docker::images;
use crate::api::docker::reply::{self, Reply};
use oci::Result;
use wire::docker::auth::{AuthConfig, AuthResponse};

/// Tries credentials at their registry.
pub async fn auth(mut call: Call) -> Result<Reply> {
    let request: AuthConfig = call.json().await?;
    let domain = domain(&request.server_address).to_owned();
    let credentials = images::credentials(request)?;
    let login = call.engine().images().login(&domain, &credentials).await?;
    Ok(reply::json(&AuthResponse {
        status: "Login Succeeded".into(),
        identity_token: login.identity_token.map(|token| token.expose().to_owned()).unwrap_or_default(),
    }))
}

/// The registry's domain in a server address, which may be a URL; Docker Hub's where empty.
fn domain(address: &str) -> &str {
    let bare = address.split_once("://").map_or(address, |(_, rest)| rest);
    match bare.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" => "docker.io",
        domain => domain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains() {
        for (address, wanted) in [
            ("", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("http://host:5000/v2/", "host:5000"),
            ("reg.example", "reg.example"),
        ] {
            assert_eq!(domain(address), wanted);
        }
    }
}
