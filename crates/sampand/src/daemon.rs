//! The daemon's life: open the engine, serve the doors, end on a signal. Containers go on without it.

use crate::api::docker::{self, Door};
use crate::config::Settings;
use crate::socket::Socket;
use crate::{embedded, notify};
use engine::Engine;
use oci::{Context, Error, Result};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Threads that carry requests: they only wait and copy.
const WORKERS: usize = 2;
/// Threads for storage and network: as many blocking calls at a time.
const BLOCKING: usize = 64;
/// A thread that did nothing for so long ends, and its stack with it.
const IDLE: Duration = Duration::from_secs(5);
/// How long the engine may take to end.
const ENDING: Duration = Duration::from_secs(20);

/// Sends the daemon's own log to standard error.
///
/// # Errors
/// For a level that can't be read.
pub fn start_log(settings: &Settings) -> Result<()> {
    let targets: Targets = settings
        .log_level
        .parse()
        .map_err(|error| Error::invalid(format!("log-level {:?}: {error}", settings.log_level)))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(lines).with(targets).init();
    Ok(())
}

/// Runs until a signal asks for the end.
///
/// # Errors
/// If the daemon can't start.
pub fn run(settings: Settings) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(IDLE)
        .thread_name("sampand")
        .enable_all()
        .build()
        .context(|| "start the runtime's threads")?;
    let result = runtime.block_on(serve(settings));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve(settings: Settings) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context(|| "watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context(|| "watch for SIGINT")?;
    private_directory(&settings.root)?;
    private_directory(&settings.state)?;
    let engine = Engine::open(engine_config(&settings)?).await?;
    let namespace = engine.namespace(docker::NAMESPACE);
    let door = Arc::new(Door::new(namespace.clone())?);
    let (socket, listener) = Socket::listen(&settings.docker_socket, settings.docker_group.as_deref())?;
    let (stop, stopped) = watch::channel(false);
    let doors = tokio::spawn(docker::serve(door, listener, stopped));
    tracing::info!("serving the Docker API at {}", settings.docker_socket.display());
    notify::notify("READY=1");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(
        "ending; {}",
        if settings.ephemeral { "everything that was made is removed" } else { "containers go on" }
    );
    notify::notify("STOPPING=1");
    let _ = stop.send(true);
    let _ = doors.await;
    drop(socket);
    let result = if settings.ephemeral { remove_everything(&namespace).await } else { Ok(()) };
    if tokio::time::timeout(ENDING, engine.shutdown()).await.is_err() {
        tracing::warn!("the engine did not end within {} seconds", ENDING.as_secs());
    }
    result
}

/// Makes a directory that only root can enter.
fn private_directory(path: &Path) -> Result<()> {
    let make = || -> std::io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))
    };
    make().context(|| format!("make {} for root alone", path.display()))
}

fn engine_config(settings: &Settings) -> Result<engine::Config> {
    Ok(engine::Config {
        root: settings.root.clone(),
        state: settings.state.clone(),
        shim: settings.shim.clone(),
        runtimes: settings.runtimes.clone(),
        default_runtime: settings.default_runtime.clone(),
        net_helper: settings.net_helper.clone(),
        snapshotter: settings.snapshotter.clone(),
        cgroup_parent: settings.cgroup_parent.clone(),
        init_binary: Some(embedded::install_init(&settings.root)?),
        builtin_hello: Some(embedded::HELLO),
        bridge: settings.bridge.clone(),
        log_options: settings.log_options.clone(),
        registry: settings.registry.clone(),
        debug: settings.log_level.contains("debug") || settings.log_level.contains("trace"),
    })
}

/// Removes what was made, and goes on past errors; the first is told.
async fn remove_everything(namespace: &engine::Namespace) -> Result<()> {
    let mut first = Ok(());
    let mut note = |result: Result<()>| {
        if let Err(error) = result {
            tracing::warn!("clean up: {error}");
            if first.is_ok() {
                first = Err(error);
            }
        }
    };
    let containers = namespace.containers();
    for record in containers.list() {
        note(containers.remove(&record.id, true, true).await);
    }
    note(namespace.volumes().prune(&|_| true).await.map(drop));
    let networks = namespace.networks();
    match networks.list().await {
        Ok(list) => {
            for network in list.iter().filter(|network| !network.builtin) {
                note(networks.remove(&network.name).await);
            }
        }
        Err(error) => note(Err(error)),
    }
    note(namespace.engine().give_networks_back().await);
    first
}
