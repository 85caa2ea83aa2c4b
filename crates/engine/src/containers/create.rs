//! Making a container: name, image, volumes, snapshot, record. Nothing runs yet.
//!
//! ```text
//! checks ─► name reserved, Creating noted ─► image ready ─► volumes ─► snapshot ─► copy-up ─► Created noted
//!             any failure: what was made is undone as by remove, and the record goes last
//! ```

use super::supervisor::Supervisor;
use super::{Containers, mounts};
use crate::engine::{CONTAINER, Core};
use crate::model::*;
use crate::{bundle, logs, names, signals, spec};
use oci::{Context, Error, Kind, Result, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a made-up name is tried.
const NAME_TRIES: u32 = 8;

impl Containers {
    /// Makes a container: reserves the name, prepares snapshot and volumes. The image must be there already.
    ///
    /// # Errors
    /// `Conflict` for a name in use; `NotFound` for image, network or another container; `InvalidArgument` and
    /// `Unsupported` by name of what is wrong. Nothing is left behind.
    pub async fn create(&self, spec: ContainerSpec) -> Result<Created> {
        let ns = self.ns.clone();
        // In a task of its own: a caller that goes away must not leave a container half made.
        tokio::spawn(async move { create(&ns, spec).await })
            .await
            .map_err(|e| Error::internal("the creation of the container broke off").with_source(e))?
    }
}

async fn create(ns: &crate::Namespace, mut spec: ContainerSpec) -> Result<Created> {
    let core = ns.core().clone();
    let mut warnings = check(&core, ns.name(), &mut spec)?;
    let image = ns.images().ready(&spec.image).await?;
    if let Some(wanted) = &spec.platform
        && wanted.rank(&image.image.config.platform).is_none()
    {
        // Not found, so that clients pull the one that is wanted.
        return Err(Error::not_found(format!(
            "image with reference {} was found but its platform ({}) does not match the specified platform ({wanted})",
            spec.image, image.image.config.platform
        )));
    }
    let declared = image.image.config.config.as_ref().and_then(|c| c.other.get("Healthcheck"));
    if declared.is_some_and(|check| !check.is_null()) && spec.healthcheck.is_none() {
        warnings.push("The image's health check is not carried out: health checks are not supported yet.".into());
    }
    let id = names::new_id()?;
    let process = spec::resolve_process(&id, &spec, &image.image.config)?;
    let name = reserve_name(&core, ns.name(), spec.name.as_deref(), &id)?;
    let mut timeline = Vec::new();
    for (stage, took) in
        [("resolve", image.timeline.resolve), ("fetch", image.timeline.fetch), ("unpack", image.timeline.unpack)]
    {
        if took > Duration::ZERO {
            timeline.push(Stage { stage: stage.into(), ms: (took.as_secs_f64() * 1e6).round() / 1e3 });
        }
    }
    let mut record = ContainerRecord {
        id: id.clone(),
        namespace: ns.name().to_owned(),
        name,
        created: Timestamp::now(),
        image: ImageUsed {
            given: spec.image.clone(),
            reference: image.reference.clone(),
            id: image.image.id.clone(),
            manifest: image.image.manifest.digest.clone(),
            chain: image.image.chain.clone(),
        },
        process,
        mounts: Vec::new(),
        phase: Phase::Creating,
        pid: 0,
        started_at: Timestamp::ZERO,
        finished_at: Timestamp::ZERO,
        exit_code: 0,
        oom_killed: false,
        error: String::new(),
        restart_count: 0,
        stopped_by_hand: false,
        stopping: false,
        exits: 0,
        endpoints: BTreeMap::new(),
        ports: Vec::new(),
        timeline,
        snapshotter: core.config.snapshotter.clone(),
        shim: None,
        log_path: String::new(),
        spec,
    };
    if record.spec.log.driver != "none" {
        let path = core.container_dir(&record).join(format!("{id}-json.log"));
        record.log_path = path.to_string_lossy().into_owned();
    }
    let config = image.image.config.clone();
    match make(&core, &mut record, &config).await {
        Ok(()) => {}
        Err(error) => {
            let mut errors = Vec::new();
            core.destroy(&record, true, &mut errors).await;
            for cleanup in errors {
                tracing::warn!(container = %id, error = %cleanup, "undoing a failed create");
            }
            core.containers.release(&record.namespace, &record.name, &id);
            return Err(error);
        }
    }
    let supervisor = Supervisor::new(core.clone(), record.clone());
    core.containers.insert(ns.name(), supervisor.handle().clone());
    tokio::spawn(supervisor.run());
    core.container_event(&record, "create", &[]);
    Ok(Created { id, warnings })
}

fn reserve_name(core: &Core, ns: &str, wanted: Option<&str>, id: &str) -> Result<String> {
    if let Some(name) = wanted.filter(|n| !n.is_empty()) {
        let name = name.strip_prefix('/').unwrap_or(name);
        names::check(name, "container")?;
        core.containers.reserve(ns, name, id)?;
        return Ok(name.to_owned());
    }
    for attempt in 0..NAME_TRIES {
        let name = names::made_up(attempt)?;
        match core.containers.reserve(ns, &name, id) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == Kind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::exhausted(format!("no free name found in {NAME_TRIES} tries; give one with --name")))
}

async fn make(core: &Arc<Core>, record: &mut ContainerRecord, config: &oci::image::ImageConfig) -> Result<()> {
    {
        let (core, record) = (core.clone(), record.clone());
        crate::blocking(move || {
            core.store.meta().create(&record.namespace, CONTAINER, &record.id, &record).context(|| "note the container")
        })
        .await?;
    }
    let volumes = config.config.as_ref().and_then(|c| c.volumes.clone()).unwrap_or_default();
    let declared: Vec<String> = volumes.into_keys().collect();
    mounts::resolve(core, record, &declared).await?;
    // The anonymous volumes' names are in the record before a crash can orphan them... they carry the container's id,
    // so the sweep finds them in any case.
    let since = Instant::now();
    core.prepare_snapshot(record).await?;
    let ms = (since.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    record.timeline.push(Stage { stage: "snapshot".into(), ms });
    for (name, endpoint) in core.planned_endpoints(record).await? {
        record.endpoints.insert(name, endpoint);
    }
    let (shared, copied) = (core.clone(), record.clone());
    crate::blocking(move || {
        bundle::private_dir(&shared.container_dir(&copied))?;
        // Everything that would make a start fail for sure is said now, where nothing has been made yet.
        let user = shared.look_up_user(&copied).map(|_| ());
        if let Err(error) = user {
            tracing::debug!(container = %copied.id, %error, "user look-up at create");
        }
        shared.copy_up(&copied)
    })
    .await?;
    record.phase = Phase::Created;
    core.save(record).await
}

/// Refuses what can't be carried out, completes defaults, and puts ids in place of other containers' names.
fn check(core: &Core, ns: &str, spec: &mut ContainerSpec) -> Result<Vec<String>> {
    let mut warnings = spec::check_resources(&mut spec.resources, &core.host)?;
    let find = |given: &str| core.containers.find(ns, given).map(|handle| handle.id.clone());
    if let NetworkMode::Container(given) = &spec.network {
        if !spec.ports.is_empty() || spec.publish_all {
            return Err(Error::invalid("conflicting options: port publishing and the container type network mode"));
        }
        if !spec.hostname.is_empty() {
            return Err(Error::invalid("conflicting options: hostname and the network mode"));
        }
        if !spec.extra_hosts.is_empty() {
            return Err(Error::invalid("conflicting options: custom host-to-IP mapping and the network mode"));
        }
        spec.network = NetworkMode::Container(find(given)?);
    }
    for mode in [&mut spec.pid_mode, &mut spec.ipc_mode, &mut spec.uts_mode] {
        if let NamespaceMode::Container(given) = mode {
            *mode = NamespaceMode::Container(find(given)?);
        }
    }
    if let NamespaceMode::Container(_) | NamespaceMode::Shareable = spec.ipc_mode {
        return Err(Error::unsupported(
            "ipc modes container:<id> and shareable: /dev/shm can't be shared between containers yet; use private, host \
             or none",
        ));
    }
    if spec.network == NetworkMode::Host && (!spec.ports.is_empty() || spec.publish_all) {
        warnings.push("Published ports are discarded when using host network mode".into());
        spec.ports.clear();
        spec.publish_all = false;
    }
    if spec.network == NetworkMode::None && (!spec.ports.is_empty() || spec.publish_all) {
        spec.ports.clear();
        spec.publish_all = false;
    }
    if spec.auto_remove && spec.restart != RestartPolicy::No {
        return Err(Error::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    if let Some(signal) = spec.stop_signal.as_deref().filter(|s| !s.is_empty()) {
        signals::parse(signal)?;
    }
    if let Some(check) = &spec.healthcheck
        && !check.test.is_empty()
        && check.test != ["NONE"]
    {
        return Err(Error::unsupported("health checks; use --no-healthcheck"));
    }
    if spec.init && core.config.init_binary.is_none() {
        return Err(Error::unsupported("--init: no init program is configured"));
    }
    if let Some(name) = &spec.runtime
        && !core.config.runtimes.contains_key(name)
    {
        return Err(Error::invalid(format!("unknown or invalid runtime name: {name}")));
    }
    if spec.log.options.is_empty() && spec.log.driver == "json-file" {
        spec.log.options = core.config.log_options.clone();
    }
    if spec.log.driver.is_empty() {
        spec.log.driver = "json-file".into();
    }
    logs::check(&spec.log)?;
    if spec.endpoints.len() > 1 {
        return Err(Error::unsupported("connecting a container to more than one network"));
    }
    for endpoint in spec.endpoints.values() {
        if endpoint.ipv6.is_some() {
            return Err(Error::unsupported("fixed IPv6 addresses"));
        }
    }
    for (host, _) in &spec.extra_hosts {
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(Error::invalid(format!("bad format for add-host: {host:?}")));
        }
    }
    // Values that would only fail at the start are tried now, on a record that is not complete yet.
    spec::capabilities(spec, &core.host)?;
    Ok(warnings)
}
