//! Create: mounts the root filesystem, opens the streams, and has the runtime make the container.

use crate::exits;
use crate::server::args::check_id;
use crate::server::cgroup::Cgroups;
use crate::server::connection::Reply;
use crate::server::process::{Container, Key, Process, Status};
use crate::server::rootfs;
use crate::server::runtime::Runtime;
use crate::server::shim::{Shim, Source};
use crate::server::stdio::{ConsoleSocket, Streams};
use oci::{Context, Error, Result};
use prost::Message;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wire::runc_options::Options;
use wire::task::{CreateTaskRequest, CreateTaskResponse};

pub(super) fn call(shim: &mut Shim, reply: Reply, request: CreateTaskRequest) {
    let id = request.id.clone();
    match prepare(shim, &request) {
        // There is no process before start restores it.
        Ok(_) if !request.checkpoint.is_empty() => {
            if let Ok(process) = shim.process(&Key::new(&id, "")) {
                process.status = Status::Created;
            }
            shim.publish_create(&id);
            shim.answer(reply, Ok(CreateTaskResponse { pid: 0 }));
        }
        Ok((command, runtime, log, console)) => {
            shim.run("create", runtime, command, log, move |shim, outcome| {
                let made = outcome.and_then(|()| created(shim, &id, console.as_ref()));
                if let Err(error) = &made {
                    shim.note(&format!("create {id}: {error}"));
                    undo(shim, &id);
                }
                let made = made.map_err(|error| error.prefixed("OCI runtime create failed"));
                shim.answer(reply, made.map(|pid| CreateTaskResponse { pid }));
            });
        }
        Err(error) => shim.answer::<CreateTaskResponse>(reply, Err(error)),
    }
}

fn options(request: &CreateTaskRequest) -> Result<Options> {
    let Some(any) = &request.options else { return Ok(Options::default()) };
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    match name {
        "containerd.runc.v1.Options" => Options::decode(&*any.value)
            .map_err(|error| Error::invalid("malformed containerd.runc.v1.Options").with_source(error)),
        "" => Ok(Options::default()),
        other => Err(Error::unsupported(format!("runtime options of type {other}"))),
    }
}

/// Whether the kernel kills all processes of the container with its first one.
fn has_own_pid_namespace(bundle: &Path) -> Result<bool> {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Config {
        linux: Linux,
    }
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Linux {
        namespaces: Vec<Namespace>,
    }
    #[derive(serde::Deserialize)]
    struct Namespace {
        r#type: String,
        #[serde(default)]
        path: String,
    }
    let path = bundle.join("config.json");
    let bytes = std::fs::read(&path).context(|| format!("read {}", path.display()))?;
    let config: Config = serde_json::from_slice(&bytes)
        .map_err(|error| Error::invalid(format!("read {}", path.display())).with_source(error))?;
    Ok(config.linux.namespaces.iter().any(|n| n.r#type == "pid" && n.path.is_empty()))
}

type Prepared = (Command, String, PathBuf, Option<ConsoleSocket>);

fn prepare(shim: &mut Shim, request: &CreateTaskRequest) -> Result<Prepared> {
    check_id(&request.id)?;
    if shim.containers.contains_key(&request.id) {
        return Err(Error::already_exists(format!("container {} exists already in this shim", request.id)));
    }
    let checkpoint = (!request.checkpoint.is_empty()).then(|| PathBuf::from(&request.checkpoint));
    if let Some(path) = checkpoint.as_ref().filter(|path| !path.is_absolute()) {
        return Err(Error::invalid(format!("checkpoint path {}: must be absolute", path.display())));
    }
    let options = options(request)?;
    for (name, set) in [
        ("shim_cgroup", !options.shim_cgroup.is_empty()),
        ("io_uid", options.io_uid != 0),
        ("io_gid", options.io_gid != 0),
    ] {
        if set {
            return Err(Error::unsupported(format!("runtime option {name}")));
        }
    }
    let bundle = PathBuf::from(&request.bundle);
    let kill_rest = !has_own_pid_namespace(&bundle)?;
    let runtime = Runtime::new(&options, &shim.args.address, &shim.args.namespace);
    runtime.save(&bundle)?;
    exits::remove(&bundle, "")?;
    let key = Key::new(&request.id, "");
    let uris = [request.stdin.clone(), request.stdout.clone(), request.stderr.clone()];
    let mut streams = shim.open_streams(&key, &uris, request.terminal)?;
    let root = bundle.join("rootfs");
    let mounted = if request.rootfs.is_empty() {
        Ok(())
    } else {
        std::fs::create_dir_all(&root).context(|| format!("make {}", root.display())).and_then(|()| {
            // What a crash left mounted would hide the new root filesystem's changes.
            rootfs::unmount_all(&root)?;
            rootfs::mount_all(&request.rootfs, &root)
        })
    };
    let prepared = mounted.and_then(|()| match &checkpoint {
        None => command(&runtime, request, &bundle, &mut streams),
        Some(_) => Ok((Command::new(&runtime.binary), PathBuf::new(), None)),
    });
    match prepared {
        Ok((command, log, console)) => {
            let name = runtime.name();
            let init = Process {
                pid: 0,
                status: Status::Creating,
                terminal: request.terminal,
                uris,
                ended: None,
                exit: None,
                waiters: Vec::new(),
                streams,
                starting: false,
                oom_kills_before: 0,
            };
            let container = Container {
                bundle,
                runtime,
                init,
                execs: Default::default(),
                cgroups: Cgroups::default(),
                paused: false,
                kill_rest,
                oom: None,
                checkpoint,
                oom_kills: 0,
            };
            shim.containers.insert(request.id.clone(), container);
            Ok((command, name, log, console))
        }
        Err(error) => {
            shim.close_streams(streams);
            if !request.rootfs.is_empty() {
                let _ = rootfs::unmount_all(&root);
            }
            Err(error)
        }
    }
}

fn command(
    runtime: &Runtime,
    request: &CreateTaskRequest,
    bundle: &Path,
    streams: &mut Streams,
) -> Result<(Command, PathBuf, Option<ConsoleSocket>)> {
    let log = bundle.join("log.json");
    let mut command = runtime.command(bundle, &log);
    command.arg("create").arg("--bundle").arg(bundle).arg("--pid-file").arg(bundle.join("init.pid"));
    if runtime.no_pivot {
        command.arg("--no-pivot");
    }
    if runtime.no_new_keyring {
        command.arg("--no-new-keyring");
    }
    let console = if request.terminal { Some(ConsoleSocket::new(bundle, "console.sock")?) } else { None };
    if let Some(console) = &console {
        command.arg("--console-socket").arg(&console.path);
    }
    give_streams(&mut command, streams);
    command.arg(&request.id);
    Ok((command, log, console))
}

/// Hands the process's ends of its streams to the runtime, which passes them on.
pub(super) fn give_streams(command: &mut Command, streams: &mut Streams) {
    let child = std::mem::take(&mut streams.child);
    let end = |fd: Option<std::os::fd::OwnedFd>| fd.map_or_else(Stdio::null, Stdio::from);
    command.stdin(end(child.stdin)).stdout(end(child.stdout)).stderr(end(child.stderr));
}

/// The pid that the runtime wrote.
pub(super) fn read_pid(file: &Path) -> Result<u32> {
    let what = || format!("read {}", file.display());
    let text = std::fs::read_to_string(file).context(what)?;
    text.trim().parse().map_err(|error| Error::corrupt(what()).with_source(error))
}

fn created(shim: &mut Shim, id: &str, console: Option<&ConsoleSocket>) -> Result<u32> {
    let container = shim.container(id)?;
    let pid = read_pid(&container.bundle.join("init.pid"))?;
    container.init.status = Status::Created;
    begun(shim, id, pid, console)?;
    shim.publish_create(id);
    Ok(pid)
}

/// The container's first process exists: its terminal and its memory are watched.
pub(super) fn begun(shim: &mut Shim, id: &str, pid: u32, console: Option<&ConsoleSocket>) -> Result<()> {
    let container = shim.container(id)?;
    container.cgroups = Cgroups::of(pid);
    container.init.oom_kills_before = container.cgroups.oom_kills();
    container.oom_kills = container.init.oom_kills_before;
    let watch = container.cgroups.oom_watch();
    container.init.pid = pid;
    if let Some(console) = console {
        let master = console.receive()?;
        shim.adopt_console(&Key::new(id, ""), master)?;
    }
    match watch {
        Ok(None) => {}
        Ok(Some((fd, flags))) => {
            let token = shim.poll.add(&fd, Source::Memory(id.into()), flags)?;
            shim.container(id)?.oom = Some((fd, token));
        }
        // Exits tell of it all the same.
        Err(error) => shim.note(&format!("watch the memory of {id}: {error}")),
    }
    shim.let_flow(&Key::new(id, ""));
    Ok(())
}

/// Removes what a failed create has made.
fn undo(shim: &mut Shim, id: &str) {
    let Some(mut container) = shim.containers.remove(id) else { return };
    if let Some((fd, token)) = container.oom.take() {
        shim.poll.remove(&fd, token);
    }
    let streams = std::mem::take(&mut container.init.streams);
    shim.close_streams(streams);
    let root = container.bundle.join("rootfs");
    if container.init.pid == 0 {
        if let Err(error) = rootfs::unmount_all(&root) {
            shim.note(&error.to_string());
        }
        return;
    }
    // The runtime had made the container before something else failed.
    let log = container.bundle.join("undo-log.json");
    let mut command = container.runtime.command(&container.bundle, &log);
    command.args(["delete", "--force", id]);
    shim.run("delete", container.runtime.name(), command, log, move |shim, outcome| {
        for error in [outcome, rootfs::unmount_all(&root)].into_iter().filter_map(Result::err) {
            shim.note(&error.to_string());
        }
    });
}
