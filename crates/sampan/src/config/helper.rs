//! Credential helpers: `docker-credential-NAME get|store|erase`, the server or a JSON object on standard input, the
//! answer on standard output.

use crate::failure::{Failure, Result};
use serde::{Deserialize, Serialize};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use wire::docker::auth::AuthConfig;

/// A helper may have to ask a person.
const LIMIT: Duration = Duration::from_secs(120);
/// The user name by which helpers mark an identity token.
const TOKEN_USER: &str = "<token>";
/// What helpers print where they know nothing of the server.
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "ServerURL", default)]
    server: String,
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Asks for the credentials of a server; none are an empty answer.
pub(super) async fn get(helper: &str, server: &str) -> Result<AuthConfig> {
    let output = call(helper, "get", server.as_bytes()).await?;
    let Some(output) = output else { return Ok(AuthConfig::default()) };
    let stored: Stored = serde_json::from_slice(&output)
        .map_err(|_| Failure::new(format!("docker-credential-{helper} gave no JSON credentials for {server}")))?;
    let mut auth = AuthConfig { server_address: server.to_owned(), ..AuthConfig::default() };
    if stored.username == TOKEN_USER {
        auth.identity_token = stored.secret;
    } else {
        auth.username = stored.username;
        auth.password = stored.secret;
    }
    Ok(auth)
}

/// Hands credentials over.
pub(super) async fn store(helper: &str, server: &str, auth: &AuthConfig) -> Result<()> {
    let (username, secret) = match auth.identity_token.as_str() {
        "" => (auth.username.clone(), auth.password.clone()),
        token => (TOKEN_USER.to_owned(), token.to_owned()),
    };
    let stored = Stored { server: server.to_owned(), username, secret };
    call(helper, "store", &serde_json::to_vec(&stored).unwrap_or_default()).await.map(drop)
}

/// Has credentials forgotten.
pub(super) async fn erase(helper: &str, server: &str) -> Result<()> {
    call(helper, "erase", server.as_bytes()).await.map(drop)
}

/// The helper's answer; `None` where it knows nothing.
async fn call(helper: &str, verb: &str, input: &[u8]) -> Result<Option<Vec<u8>>> {
    let program = format!("docker-credential-{helper}");
    if helper.contains('/') {
        return Err(Failure::new(format!("{helper:?} in credsStore or credHelpers is not a helper's name")));
    }
    let fail = |why: String| Failure::new(format!("{program} {verb}: {why}"));
    let mut child = Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| fail(format!("{error}; install the helper or take it out of config.json")))?;
    let mut stdin = child.stdin.take();
    let work = async {
        if let Some(stdin) = &mut stdin {
            // A helper that doesn't read its input still has its say by its exit code.
            let _ = stdin.write_all(input).await;
            let _ = stdin.shutdown().await;
        }
        drop(stdin.take());
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(LIMIT, work)
        .await
        .map_err(|_| fail(format!("no answer within {} seconds", LIMIT.as_secs())))?
        .map_err(|error| fail(error.to_string()))?;
    if output.status.success() {
        return Ok(Some(output.stdout));
    }
    let said = String::from_utf8_lossy(&output.stdout);
    if said.trim() == NOT_FOUND {
        return Ok(None);
    }
    Err(fail(format!("{}: {}", output.status, said.trim().chars().take(300).collect::<String>())))
}
