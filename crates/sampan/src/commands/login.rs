//! `login`: checks credentials with the daemon's help, and keeps them.

use crate::args::{Arity, Flags, flag, value, verb};
use crate::client::Call;
use crate::config::ConfigFile;
use crate::failure::{Failure, Result};
use crate::terminal::{self, Silent};
use crate::{Context, output};
use clap::{Arg, ArgMatches};
use std::io::Read;
use wire::docker::auth::{AuthConfig, AuthResponse};

verb!("login", "[OPTIONS] [SERVER]", "Authenticate to a registry", Arity::AtMost(1));

fn flags() -> Vec<Arg> {
    vec![
        value(Some('p'), "password", "string", "Password or Personal Access Token (PAT)"),
        flag(None, "password-stdin", "Take the Password or Personal Access Token (PAT) from stdin"),
        value(Some('u'), "username", "string", "Username"),
    ]
}

/// No password is longer than this.
const PASSWORD_LIMIT: u64 = 1 << 20;

/// A server's name as the API and the configuration know it.
pub(super) fn domain(server: Option<&String>) -> String {
    let server = server.map_or("docker.io", String::as_str);
    let bare = server.strip_prefix("https://").or_else(|| server.strip_prefix("http://")).unwrap_or(server);
    bare.split('/').next().unwrap_or_default().to_owned()
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let domain = domain(m.arguments().first());
    let from_stdin = m.on("password-stdin");
    if m.given("password").is_some() {
        if from_stdin {
            return Err(Failure::new("conflicting options: cannot specify both --password and --password-stdin"));
        }
        output::error("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    if from_stdin && m.text("username").is_empty() {
        return Err(Failure::new("the --password-stdin option requires --username to be set"));
    }
    let stored = cx.config.credentials(&domain).await?;
    let known = !stored.username.is_empty() || !stored.identity_token.is_empty();
    let mut auth = if m.given("username").is_none() && m.given("password").is_none() && known {
        output::line(&format!("Authenticating with existing credentials... [Username: {}]", stored.username));
        stored.clone()
    } else {
        let username = match m.text("username") {
            "" => ask("Username", &stored.username, false)?,
            name => name.to_owned(),
        };
        let password = match (m.given("password"), from_stdin) {
            (Some(password), _) => password.to_owned(),
            (None, true) => {
                let mut text = String::new();
                let read = std::io::stdin().take(PASSWORD_LIMIT).read_to_string(&mut text);
                read.map_err(|error| Failure::new(format!("read the password: {error}")))?;
                text.strip_suffix('\n').map(|t| t.strip_suffix('\r').unwrap_or(t)).unwrap_or(&text).to_owned()
            }
            (None, false) => ask("Password", "", true)?,
        };
        if password.is_empty() {
            return Err(Failure::new("Error: Password Required"));
        }
        AuthConfig { username, password, ..AuthConfig::default() }
    };
    auth.server_address = match domain.as_str() {
        "docker.io" => crate::config::HUB.to_owned(),
        other => other.to_owned(),
    };
    let answer: AuthResponse = cx.client.ask(Call::post("/auth").json(&auth)?).await?;
    if !answer.identity_token.is_empty() {
        auth.password = String::new();
        auth.identity_token = answer.identity_token;
    }
    // Another login may have written meanwhile.
    let directory = cx.config.path().parent().and_then(|p| p.to_str()).map(str::to_owned);
    let mut config = ConfigFile::load(directory.as_deref())?;
    if let Some(warning) = config.store(&auth, &domain).await? {
        output::error(&format!("\n{warning}\n"));
    }
    output::line(if answer.status.is_empty() { "Login Succeeded" } else { &answer.status });
    Ok(0)
}

fn ask(what: &str, default: &str, secret: bool) -> Result<String> {
    if !terminal::stdin_is_terminal() {
        return Err(Failure::new("Error: Cannot perform an interactive login from a non TTY device"));
    }
    let hint = if default.is_empty() { String::new() } else { format!(" ({default})") };
    output::print(&format!("{what}{hint}: "));
    let silent = if secret { Silent::enter() } else { None };
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    drop(silent);
    if secret {
        output::line("");
    }
    read.map_err(|error| Failure::new(format!("read the {}: {error}", what.to_lowercase())))?;
    let answer = answer.trim_end_matches(['\n', '\r']);
    let answer = if answer.is_empty() { default } else { answer };
    if answer.is_empty() {
        return Err(Failure::new(format!("Error: Non-null {what} Required")));
    }
    Ok(answer.to_owned())
}
