//! The engine, and one door's view of it.

use crate::config::Config;
use crate::containers::{Containers, Directory};
use crate::events::{Event, Events, Subject};
use crate::execs::{ExecTable, Execs};
use crate::images::{Hooks, ImageConfig, ImageService, ImageUser, Images};
use crate::model::{ContainerRecord, Info, Phase};
use crate::net::Net;
use crate::networks::Networks;
use crate::spec::Host;
use crate::volumes::{VolumeLocks, Volumes};
use crate::{bundle, gc, recover};
use oci::{Digest, Error, Result, Timestamp};
use shim_options::Options as RuntimeOptions;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use storage::Store;
use tokio::sync::{Notify, watch};
use wire::runc_options as shim_options;

/// Kind of the containers' records in the metadata database.
pub(crate) const CONTAINER: &str = "container";
/// Kind of the volumes' records.
pub(crate) const VOLUME: &str = "volume";

/// What everything in the engine shares.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) host: Host,
    pub(crate) store: Arc<Store>,
    pub(crate) images: Arc<ImageService>,
    pub(crate) net: Net,
    pub(crate) events: Events,
    pub(crate) containers: Directory,
    pub(crate) execs: ExecTable,
    pub(crate) volume_locks: VolumeLocks,
    pub(crate) garbage: Notify,
    /// Set once, to true: everyone ends.
    pub(crate) shutdown: watch::Sender<bool>,
}

impl Core {
    /// `<state>/bundles/<namespace>/<id>`
    pub(crate) fn bundle_dir(&self, record: &ContainerRecord) -> PathBuf {
        self.bundles_dir().join(&record.namespace).join(&record.id)
    }

    pub(crate) fn bundles_dir(&self) -> PathBuf {
        self.config.state.join("bundles")
    }

    /// `<root>/containers/<namespace>/<id>`: log, hosts, resolv.conf, hostname.
    pub(crate) fn container_dir(&self, record: &ContainerRecord) -> PathBuf {
        self.containers_dir().join(&record.namespace).join(&record.id)
    }

    pub(crate) fn containers_dir(&self) -> PathBuf {
        self.config.root.join("containers")
    }

    /// Writes a record.
    pub(crate) async fn save(self: &Arc<Self>, record: &ContainerRecord) -> Result<()> {
        let (core, record) = (self.clone(), record.clone());
        crate::blocking(move || core.store.meta().put(&record.namespace, CONTAINER, &record.id, &record)).await
    }

    /// Removes a directory of the engine's own; gone already is fine.
    pub(crate) async fn remove_dir(&self, path: PathBuf) -> Result<()> {
        crate::blocking(move || match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::from(error).prefixed(format!("remove {}", path.display())))
            }
            _ => Ok(()),
        })
        .await
    }

    /// The shim's options for a container's OCI runtime.
    pub(crate) fn runtime_of(&self, record: &ContainerRecord) -> Result<RuntimeOptions> {
        let name = record.spec.runtime.as_deref().unwrap_or(&self.config.default_runtime);
        let runtime = self
            .config
            .runtimes
            .get(name)
            .ok_or_else(|| Error::invalid(format!("unknown or invalid runtime name: {name}")))?;
        Ok(RuntimeOptions {
            binary_name: runtime.path.to_string_lossy().into_owned(),
            root: self.config.state.join("runtime").join(name).to_string_lossy().into_owned(),
            systemd_cgroup: runtime.systemd_cgroup,
            ..Default::default()
        })
    }

    /// The container's cgroup, in the form that its runtime's cgroup driver wants.
    pub(crate) fn cgroup_of(&self, record: &ContainerRecord) -> Result<String> {
        let parent = record.spec.cgroup_parent.as_deref().filter(|p| !p.is_empty());
        let parent = parent.unwrap_or(&self.config.cgroup_parent);
        if parent.split('/').any(|part| part == "..") {
            return Err(Error::invalid(format!("invalid cgroup parent {parent:?}: it must not contain ..")));
        }
        if self.runtime_of(record)?.systemd_cgroup {
            let slice = if parent.ends_with(".slice") { parent } else { "system.slice" };
            return Ok(format!("{slice}:sampan:{}", record.id));
        }
        Ok(format!("/{}/{}", parent.trim_matches('/'), record.id))
    }

    /// Publishes an event about a network.
    pub(crate) fn network_event(&self, name: &str, id: &str, action: &str, container: &str) {
        let mut attributes: BTreeMap<String, String> = [("name".to_owned(), name.to_owned())].into();
        attributes.insert("type".into(), "bridge".into());
        if !container.is_empty() {
            attributes.insert("container".into(), container.into());
        }
        self.publish(String::new(), Subject::Network, action, id, attributes);
    }

    pub(crate) fn publish(
        &self,
        namespace: String,
        subject: Subject,
        action: &str,
        id: &str,
        attributes: BTreeMap<String, String>,
    ) {
        let time = Timestamp::now();
        self.events.publish(Event { namespace, subject, action: action.into(), id: id.into(), attributes, time });
    }

    /// Lets the collector run before long.
    pub(crate) fn collect_garbage_soon(&self) {
        self.garbage.notify_one();
    }

    /// Containers that use an image, in one namespace.
    pub(crate) fn image_users(&self, namespace: &str, image: &Digest) -> Vec<ImageUser> {
        let records = self.containers.list(namespace).into_iter().map(|handle| handle.record());
        records
            .filter(|record| record.image.id == *image)
            .map(|record| ImageUser { container: record.id.clone(), running: record.phase.is_running() })
            .collect()
    }
}

/// Everything on one root directory. There is one per daemon; its root is locked while it is open.
pub struct Engine {
    pub(crate) core: Arc<Core>,
}

impl Engine {
    /// Opens root and state directories, finds every container again, undoes what was half made, and starts what its
    /// policy wants running.
    ///
    /// # Errors
    /// If a directory can't be used or is used by another engine. Trouble with one container is no error here: it is
    /// told by that container's record.
    pub async fn open(config: Config) -> Result<Arc<Self>> {
        if !config.runtimes.contains_key(&config.default_runtime) {
            return Err(Error::invalid(format!(
                "default runtime {:?} is not among the configured runtimes",
                config.default_runtime
            )));
        }
        let opened = config.clone();
        let (store, net) = crate::blocking(move || {
            for dir in [&opened.root, &opened.state, &opened.state.join("bundles"), &opened.root.join("containers")] {
                bundle::private_dir(dir)?;
            }
            let store = Store::open(&opened.root, storage::Options::default())?;
            // Refuse a snapshotter that isn't there now rather than at the first container.
            store.snapshotter(&opened.snapshotter)?;
            Ok((Arc::new(store), Net::open(&opened)?))
        })
        .await?;
        let images = ImageService::new(ImageConfig {
            store: store.clone(),
            registry: registry::Registry::new(config.registry.clone()),
            snapshotter: config.snapshotter.clone(),
            builtin_hello: config.builtin_hello,
        });
        let core = Arc::new(Core {
            host: Host::read(),
            config,
            store,
            images,
            net,
            events: Events::new(),
            containers: Directory::default(),
            execs: ExecTable::default(),
            volume_locks: VolumeLocks::default(),
            garbage: Notify::new(),
            shutdown: watch::Sender::new(false),
        });
        connect_images(&core);
        recover::all(&core).await?;
        tokio::spawn(gc::run(core.clone()));
        Ok(Arc::new(Self { core }))
    }

    /// Ends the engine's tasks. Containers go on running.
    pub async fn shutdown(&self) {
        self.core.shutdown.send_replace(true);
        // Supervisors that are in the middle of a flow finish it first; they hold the shared part.
        for _ in 0..100 {
            if Arc::strong_count(&self.core) == 1 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        tracing::warn!("some containers' tasks are still busy; their next start will find them");
    }

    /// Gives back what the host got for networks: bridges, firewall rules, IP forwarding. They come back with the next
    /// container.
    ///
    /// # Errors
    /// `Conflict` while containers are connected.
    pub async fn give_networks_back(&self) -> Result<()> {
        self.core.net.with(|manager| manager.teardown()).await
    }

    /// The view of one containerd namespace: `moby` for docker, `k8s.io` for CRI, `default` for ctr.
    pub fn namespace(self: &Arc<Self>, name: &str) -> Namespace {
        Namespace { engine: self.clone(), name: name.into() }
    }

    /// What it was opened with.
    pub fn config(&self) -> &Config {
        &self.core.config
    }

    /// Events of all namespaces.
    pub fn events(&self) -> &Events {
        &self.core.events
    }
}

/// Gives the image service what only the engine knows. By weak references: the service is part of the engine.
fn connect_images(core: &Arc<Core>) {
    let (users, collect, event) = (Arc::downgrade(core), Arc::downgrade(core), Arc::downgrade(core));
    core.images.connect(Hooks {
        users: Box::new(move |ns, id| users.upgrade().map_or_else(Vec::new, |core| core.image_users(ns, id))),
        collect: Box::new(move || {
            let core = collect.upgrade();
            Box::pin(async move {
                match core {
                    Some(core) => gc::collect(&core).await,
                    None => Ok(0),
                }
            })
        }),
        event: Box::new(move |ns, action, id, attributes| {
            if let Some(core) = event.upgrade() {
                core.publish(ns.to_owned(), Subject::Image, action, id, attributes);
            }
        }),
    });
}

/// One door's view: names and records of one namespace. Cheap to clone.
#[derive(Clone)]
pub struct Namespace {
    pub(crate) engine: Arc<Engine>,
    pub(crate) name: Arc<str>,
}

impl Namespace {
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.engine.core
    }

    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Images.
    pub fn images(&self) -> Images {
        self.core().images.namespace(&self.name)
    }

    /// Containers.
    pub fn containers(&self) -> Containers {
        Containers { ns: self.clone() }
    }

    /// Added processes.
    pub fn execs(&self) -> Execs {
        Execs { ns: self.clone() }
    }

    /// Volumes.
    pub fn volumes(&self) -> Volumes {
        Volumes { ns: self.clone() }
    }

    /// Networks.
    pub fn networks(&self) -> Networks {
        Networks { ns: self.clone() }
    }

    /// Numbers about this namespace and the engine.
    ///
    /// # Errors
    /// None so far.
    pub async fn info(&self) -> Result<Info> {
        let core = self.core();
        let phases: Vec<Phase> = core.containers.list(&self.name).iter().map(|h| h.record().phase).collect();
        let count = |wanted: fn(&Phase) -> bool| phases.iter().filter(|p| wanted(p)).count();
        Ok(Info {
            id: core.net.owner().to_owned(),
            containers: count(|p| *p != Phase::Creating),
            running: count(|p| *p == Phase::Running),
            paused: count(|p| *p == Phase::Paused),
            stopped: count(|p| !p.is_running() && *p != Phase::Creating),
            root: core.config.root.clone(),
            snapshotter: core.config.snapshotter.clone(),
            runtimes: core.config.runtimes.iter().map(|(name, r)| (name.clone(), r.path.clone())).collect(),
            default_runtime: core.config.default_runtime.clone(),
            cgroup_v2: core.host.cgroup_v2,
            seccomp: core.host.seccomp,
            apparmor: core.host.apparmor,
        })
    }
}
