//! `create`: a container that isn't started. `run` begins with it.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, verb};
use crate::client::{ApiVersion, Call, Query};
use crate::failure::{Failure, Result};
use crate::progress::Place;
use crate::{options, output};
use clap::{Arg, ArgMatches};
use std::io::Write;
use wire::docker::config::CreateRequest;
use wire::docker::container::CreateResponse;

verb!("create", "[OPTIONS] IMAGE [COMMAND] [ARG...]", "Create a new container", Arity::Command(1));

fn flags() -> Vec<Arg> {
    options::flags()
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let body = options::container(m).map_err(|f| with_help(cx, f))?;
    let created = create(cx, m, body, Place::Stderr).await?;
    output::line(&created);
    Ok(0)
}

/// A failure of `run` or `create` itself, in docker's form, with 125 unless something better is known.
pub(super) fn with_help(cx: &Context, mut failure: Failure) -> Failure {
    // What is wrong with a flag gets the usage instead.
    if !failure.message.starts_with('\u{1}') && !failure.message.is_empty() {
        let message = failure.message.trim_end();
        failure.message = format!("{}: {message}\n\nRun '{} --help' for more information", crate::PROGRAM, cx.path);
    }
    if failure.code == 1 {
        failure.code = 125;
    }
    failure
}

/// Makes the container, and pulls its image first where `--pull` says so. Gives the container's id.
pub(super) async fn create(cx: &Context, m: &ArgMatches, mut body: CreateRequest, place: Place) -> Result<String> {
    let pull = m.given("pull").unwrap_or("missing");
    if !matches!(pull, "always" | "missing" | "never") {
        return Err(Failure::new(format!(
            "invalid pull option: '{pull}': must be one of \"always\", \"missing\" or \"never\""
        )));
    }
    let place = if m.on("quiet") { Place::Nowhere } else { place };
    let id_file = IdFile::reserve(m.text("cidfile"))?;
    // An image may also be named by its id, which is no reference.
    let is_id = body.config.image.len() == 64 && body.config.image.bytes().all(|b| b.is_ascii_hexdigit());
    let name = if is_id { None } else { Some(shared::reference(&body.config.image)?) };
    if let Some(name) = &name {
        let name = shared::tagged(name)?;
        if pull == "always" {
            super::pull::fetch(cx, &name, m.text("platform"), place).await?;
        }
    }
    adapt(&mut body, cx.client.version().await?);
    let query = Query::new().text("name", m.text("name")).text("platform", m.text("platform"));
    let call = || Call::post("/containers/create").query(query.clone()).json(&body);
    let answer: Result<CreateResponse> = cx.client.ask(call()?).await;
    let created = match (answer, &name) {
        (Err(failure), Some(name)) if pull == "missing" && is_missing_image(&failure) => {
            let name = shared::tagged(name)?;
            if place != Place::Nowhere {
                output::error(&format!("Unable to find image '{}' locally", name.familiar()));
            }
            super::pull::fetch(cx, &name, m.text("platform"), place).await?;
            cx.client.ask(call()?).await?
        }
        (answer, _) => answer?,
    };
    for warning in &created.warnings {
        output::error(&format!("WARNING: {warning}"));
    }
    id_file.write(&created.id)?;
    Ok(created.id)
}

/// Whether an image is what wasn't found.
fn is_missing_image(failure: &Failure) -> bool {
    failure.is_not_found() && failure.message.to_ascii_lowercase().contains("image")
}

/// Puts what moved between API versions where the daemon looks for it.
fn adapt(body: &mut CreateRequest, version: ApiVersion) {
    let networks = body.networking_config.as_mut().and_then(|n| n.endpoints_config.as_mut());
    let mode = body.host_config.as_ref().map(|h| h.network_mode.clone()).unwrap_or_default();
    if version < ApiVersion(1, 44) {
        if let Some(networks) = networks {
            // Before 1.44 the address stood with the container, and only one network was known at creation.
            for endpoint in networks.values_mut().flatten() {
                endpoint.mac_address.clear();
            }
            let plain = wire::docker::config::EndpointSettings::default();
            networks.retain(|name, endpoint| *name == mode && endpoint.as_ref().is_some_and(|e| *e != plain));
        }
    } else {
        body.config.mac_address.clear();
    }
    if let Some(host) = &mut body.host_config
        && version < ApiVersion(1, 42)
    {
        // These daemons take no swappiness of -1 for "not set".
        if host.resources.memory_swappiness == Some(-1) && version < ApiVersion(1, 40) {
            host.resources.memory_swappiness = None;
        }
    }
}

/// The file of `--cidfile`: made before the container, so that two can't share it, and gone again without one.
struct IdFile(Option<(std::fs::File, String)>);

impl IdFile {
    fn reserve(path: &str) -> Result<Self> {
        if path.is_empty() {
            return Ok(Self(None));
        }
        match std::fs::OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => Ok(Self(Some((file, path.to_owned())))),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Failure::new(format!(
                "container ID file found, make sure the other container isn't running or delete {path}"
            ))),
            Err(error) => Err(Failure::new(format!("failed to create the container ID file: {path}: {error}"))),
        }
    }

    fn write(mut self, id: &str) -> Result<()> {
        let Some((mut file, path)) = self.0.take() else { return Ok(()) };
        file.write_all(id.as_bytes())
            .map_err(|error| Failure::new(format!("failed to write the container ID to the file {path}: {error}")))
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}
