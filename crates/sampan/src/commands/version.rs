//! `version`: this program's and the daemon's.

use crate::Context;
use crate::args::{Arity, Flags, value, verb};
use crate::client::{Call, NEWEST};
use crate::failure::Result;
use crate::output;
use crate::template::Template;
use crate::value::{self, Val};
use clap::{Arg, ArgMatches};
use wire::docker::system::Version;

verb!("version", "[OPTIONS]", "Show the version information", Arity::None);

fn flags() -> Vec<Arg> {
    vec![value(Some('f'), "format", "string", "Format output using a Go template, or 'json'")]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let server = cx.client.ask::<Version>(Call::get("/version")).await;
    let api = cx.client.version().await.map_or_else(|_| NEWEST.to_string(), |version| version.to_string());
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let format = m.text("format");
    if !format.is_empty() {
        let text = |text: &str| Val::Str(text.to_owned());
        let client = [
            ("Version", text(env!("CARGO_PKG_VERSION"))),
            ("ApiVersion", text(&api)),
            ("DefaultAPIVersion", text(&NEWEST.to_string())),
            ("APIVersion", text(&api)),
            ("Os", text("linux")),
            ("Arch", text(arch)),
            ("Context", text("default")),
        ];
        let client = Val::Map(client.map(|(k, v)| (k.to_owned(), v)).into());
        let told = server.as_ref().map_or(Val::Null, value::of);
        let whole = Val::Map(vec![("Client".into(), client), ("Server".into(), told)]);
        let template = if format == "json" { "{{json .}}" } else { format };
        output::line(&Template::parse(template)?.render(&whole)?);
        return server.map(|_| 0);
    }
    let downgraded = if api == NEWEST.to_string() { String::new() } else { format!(" (downgraded from {NEWEST})") };
    output::print(&format!(
        "Client: Sampan\n Version:           {}\n API version:       {api}{downgraded}\n OS/Arch:           linux/{arch}\n",
        env!("CARGO_PKG_VERSION")
    ));
    let server = server?;
    let platform = if server.platform.name.is_empty() { String::new() } else { format!(" {}", server.platform.name) };
    let mut text = format!("\nServer:{platform}\n");
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("  {:<16} {value}\n", format!("{name}:")));
        }
    };
    let mut components = server.components.iter();
    // Daemons before the components tell of themselves only.
    if server.components.is_empty() {
        line("Version", &server.version);
        line("API version", &format!("{} (minimum version {})", server.api_version, server.min_api_version));
        line("OS/Arch", &format!("{}/{}", server.os, server.arch));
    } else if let Some(engine) = components.next() {
        let empty = wire::docker::Map::new();
        let details = engine.details.as_ref().unwrap_or(&empty);
        let detail = |key: &str| details.get(key).map(String::as_str).unwrap_or_default();
        text.push_str(&format!(" {}:\n", engine.name));
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                text.push_str(&format!("  {:<16} {value}\n", format!("{name}:")));
            }
        };
        line("Version", &engine.version);
        line("API version", &format!("{} (minimum version {})", server.api_version, server.min_api_version));
        line("Go version", detail("GoVersion"));
        line("Git commit", detail("GitCommit"));
        line("Built", detail("BuildTime"));
        line("OS/Arch", &format!("{}/{}", server.os, server.arch));
        line("Experimental", &server.experimental.to_string());
    }
    for component in components {
        text.push_str(&format!(" {}:\n  {:<16} {}\n", component.name, "Version:", component.version));
        if let Some(commit) = component.details.as_ref().and_then(|d| d.get("GitCommit")) {
            text.push_str(&format!("  {:<16} {commit}\n", "GitCommit:"));
        }
    }
    output::print(&text);
    Ok(0)
}
