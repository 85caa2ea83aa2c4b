//! `checkpoint`: saves a running container to image files, with criu.

use std::path::{Path, PathBuf};

use oci::{Context, Error, Result};

use super::Command;
use super::delete::{destroy, end_init};
use crate::cli::{Args, Count, Failure, Flag, Global, number, switch, value};
use crate::criu::dump::{Dump, checkpoint};
use crate::criu::proto::field;
use crate::criu::{self, Options};
use crate::log;
use crate::plan::namespaces;
use crate::state::{Container, Status};

static FLAGS: [Flag; 17] = [
    value(&["image-path"], "path for saving criu image files"),
    value(&["work-path"], "path for saving work files and logs"),
    value(&["parent-path"], "path for previous criu image files in pre-dump"),
    switch(&["leave-running"], "leave the process running after checkpointing"),
    switch(&["tcp-established"], "allow open tcp connections"),
    switch(&["tcp-skip-in-flight"], "skip in-flight tcp connections"),
    switch(&["link-remap"], "allow one to link unlinked files back when possible"),
    switch(&["ext-unix-sk"], "allow external unix sockets"),
    switch(&["shell-job"], "allow shell jobs"),
    switch(&["lazy-pages"], "use userfaultfd to lazily restore memory pages"),
    number(&["status-fd"], "criu writes \\0 to this FD once lazy-pages is ready"),
    value(&["page-server"], "ADDRESS:PORT of the page server"),
    switch(&["file-locks"], "handle file locks, for safety"),
    switch(&["pre-dump"], "dump container's memory information only, leave the container running after this"),
    value(&["manage-cgroups-mode"], "cgroups mode: soft|full|strict|ignore (default: soft)"),
    value(&["empty-ns"], "create a namespace, but don't restore its properties (network)"),
    switch(&["auto-dedup"], "enable auto deduplication of memory images"),
];

pub(super) static COMMAND: Command = Command {
    name: "checkpoint",
    about: "checkpoint a running container",
    usage: "<container-id>",
    flags: &FLAGS,
    arguments: Count::Exactly(1),
    command_after: None,
    makes: true,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    let id = args.id("checkpoint")?;
    warn_of_rootless();
    let container = Container::open_locked(&global.root, id)?;
    match container.status() {
        Status::Running | Status::Paused => {}
        status => {
            return Err(Error::conflict(format!("Container cannot be checkpointed in {} state", status.word())).into());
        }
    }
    let dump = dump(args)?;
    let stays = args.on("leave-running") || dump.pre_dump;
    checkpoint(&container, dump)?;
    if !stays {
        // It is saved; what cannot be removed is for `delete`.
        if let Err(error) = end_init(&container).and_then(|()| destroy(&container)) {
            log::warn(format_args!("{error}"));
        }
    }
    Ok(0)
}

/// criu needs rights that a user does not have; whoever tries is told why it fails.
pub(super) fn warn_of_rootless() {
    if !rustix::process::geteuid().is_root() {
        log::warn(format_args!("checkpoint and restore are untested with rootless containers"));
    }
}

/// Options that `restore` has too.
pub(super) fn options(args: &Args, switches: &[(&str, u32)]) -> Result<Options> {
    let path = |name: &str| args.get(name).filter(|p| !p.is_empty()).map(PathBuf::from);
    for name in args.all("empty-ns") {
        if name != "network" {
            return Err(Error::invalid(format!("namespace {name:?} is not supported: --empty-ns knows network")));
        }
    }
    Ok(Options {
        images: path("image-path").unwrap_or_else(|| "checkpoint".into()),
        work: path("work-path"),
        switches: switches.iter().map(|(name, field)| (*field, args.on(name))).collect(),
        cgroups_mode: criu::cgroups_mode(args.get("manage-cgroups-mode").unwrap_or_default())?,
        // Whoever made the container's network makes it again: it is never saved.
        empty: namespaces::NETWORK as u32,
    })
}

fn dump(args: &Args) -> Result<Dump> {
    let options = options(
        args,
        &[
            ("leave-running", field::LEAVE_RUNNING),
            ("tcp-established", field::TCP_ESTABLISHED),
            ("tcp-skip-in-flight", field::TCP_SKIP_IN_FLIGHT),
            ("link-remap", field::LINK_REMAP),
            ("ext-unix-sk", field::EXT_UNIX_SK),
            ("shell-job", field::SHELL_JOB),
            ("file-locks", field::FILE_LOCKS),
            ("auto-dedup", field::AUTO_DEDUP),
        ],
    )?;
    let parent = args.get("parent-path").filter(|p| !p.is_empty());
    if let Some(parent) = parent {
        check_parent(&options.images, parent)?;
    }
    let status = match args.number::<i32>("status-fd")?.filter(|fd| *fd != -1) {
        Some(fd) => Some(status_fd(fd)?),
        None => None,
    };
    Ok(Dump {
        pre_dump: args.on("pre-dump"),
        parent: parent.map(String::from),
        lazy_pages: args.on("lazy-pages"),
        status,
        page_server: args.get("page-server").filter(|p| !p.is_empty()).map(page_server).transpose()?,
        options,
    })
}

/// criu makes a link of this name beside the images.
fn check_parent(images: &Path, parent: &str) -> Result<()> {
    if Path::new(parent).is_absolute() {
        return Err(Error::invalid(format!("--parent-path must be relative: {parent:?} is not")));
    }
    let real = images.join(parent);
    let found = std::fs::metadata(&real).context(|| format!("invalid --parent-path: stat {}", real.display()))?;
    if !found.is_dir() {
        return Err(Error::invalid(format!("invalid --parent-path: {}: not a directory", real.display())));
    }
    Ok(())
}

fn status_fd(fd: i32) -> Result<std::os::fd::OwnedFd> {
    let bad = |why: &str| Error::invalid(format!("invalid --status-fd argument {fd}: {why}"));
    if fd < 3 {
        return Err(bad("a standard descriptor is no status descriptor"));
    }
    let owned = sys::process::adopt_inherited(fd).map_err(|e| bad(&Error::from(e).to_string()))?;
    let flags = rustix::fs::fcntl_getfl(&owned).map_err(|e| bad(&Error::from(std::io::Error::from(e)).to_string()))?;
    if !flags.intersects(rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::RDWR) {
        return Err(bad("not writable"));
    }
    Ok(owned)
}

/// `host:port`, `[v6]:port`.
fn page_server(text: &str) -> Result<(String, i32)> {
    let usage = || Error::invalid(format!("Use --page-server ADDRESS:PORT to specify page server: {text:?} is not"));
    let (host, port) = text.rsplit_once(':').ok_or_else(usage)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(usage)?,
        None if host.contains(':') => return Err(usage()),
        None => host,
    };
    if host.is_empty() || port.is_empty() {
        return Err(usage());
    }
    let port = port.parse::<u16>().ok().filter(|p| *p != 0);
    let port = port.ok_or_else(|| Error::invalid(format!("Invalid port number in --page-server {text:?}")))?;
    Ok((host.to_owned(), port.into()))
}

#[cfg(test)]
mod tests {
    use super::page_server;

    #[test]
    fn page_servers() {
        assert_eq!(page_server("0.0.0.0:27277").expect("v4"), ("0.0.0.0".into(), 27277));
        assert_eq!(page_server("[::1]:1").expect("v6"), ("::1".into(), 1));
        for bad in ["", "x", ":1", "x:", "::1:5", "[::1:5", "x:y", "x:0", "x:70000"] {
            assert!(page_server(bad).is_err(), "{bad}");
        }
    }
}
