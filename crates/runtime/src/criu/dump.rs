//! A running container to image files.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use oci::{Context, Error, Result};
use rustix::fs::{Mode, OFlags};
use sys::signal::Held;

use super::client::{Program, Session, Setup};
use super::proto::{Feature, Kind, Message, field, request_with};
use super::{DESCRIPTORS, EXTERNAL_NAMESPACES, Options, common, directories, hold_signals, oldest_for, quote_log};
use crate::cgroups::Location;
use crate::init::criu_root::real_path;
use crate::plan::namespaces;
use crate::state::{Container, Record};

/// criu's log.
const LOG: &str = "dump.log";

/// What a checkpoint has beside the options of both commands.
#[derive(Debug, Default)]
pub(crate) struct Dump {
    pub(crate) options: Options,
    /// Only memory is saved, and the container goes on.
    pub(crate) pre_dump: bool,
    /// An earlier pre-dump, relative to the images.
    pub(crate) parent: Option<String>,
    pub(crate) lazy_pages: bool,
    /// Gets a zero byte when pages can be asked for.
    pub(crate) status: Option<OwnedFd>,
    /// Host and port of a page server.
    pub(crate) page_server: Option<(String, i32)>,
}

/// Saves the container. Unless it is left running, its processes are gone afterwards.
pub(crate) fn checkpoint(container: &Container, mut dump: Dump) -> Result<()> {
    let record = container.record()?;
    let (pid, _handle) = container.init().ok_or_else(|| Error::conflict("container not running"))?;
    if let Some(lost) = &record.external.lost {
        return Err(Error::unsupported(lost.clone()));
    }
    let program = Program::find()?;
    if dump.pre_dump {
        program.require_feature(Feature::MemTrack)?;
    }
    if dump.lazy_pages {
        program.require_feature(Feature::LazyPages)?;
    }
    let in_user_namespace = record.namespaces & namespaces::USER != 0;
    make_directory(&dump.options.images, in_user_namespace.then_some(pid))?;
    let (images, work) = directories(&dump.options)?;
    let mut message = Message::default();
    common(&mut message, &dump.options, &images, work.as_ref(), LOG, &record.annotations);
    message
        .number(field::PID, pid)
        .string(field::ROOT, &record.rootfs.to_string_lossy())
        .number(field::LAZY_PAGES, dump.lazy_pages);
    name_namespaces(&mut message, record, pid, &program)?;
    // Without a freezer criu stops process by process. It knows v2's since 3.14.
    if let Some(freezer) = record.cgroup.freezer_directory()
        && (!matches!(record.cgroup, Location::V2 { .. }) || program.version >= 31_400)
    {
        message.string(field::FREEZE_CGROUP, &freezer.to_string_lossy());
    }
    if let Some((host, port)) = &dump.page_server {
        message.named_number(field::PAGE_SERVER, host, *port);
    }
    if let Some(parent) = &dump.parent {
        message.string(field::PARENT_IMG, parent).number(field::TRACK_MEM, true);
    }
    // Since 3.15 there is a notification.
    if program.version < 31_500
        && let Some(status) = &dump.status
    {
        message.number(field::STATUS_FD, std::os::fd::AsRawFd::as_raw_fd(status));
    }
    if !dump.pre_dump {
        name_mounts(&mut message, record, pid)?;
        write_descriptors(&dump.options.images, pid)?;
    }
    let kind = if dump.pre_dump { Kind::PRE_DUMP } else { Kind::DUMP };
    let held = hold_signals()?;
    let paused = record.cgroup.frozen();
    let setup = Setup { own_group: true, ..Default::default() };
    let result = program.start(setup).and_then(|session| talk(session, kind, &message, &held, &mut dump.status));
    if result.is_err() {
        quote_log(&dump.options, LOG);
        // A criu that was killed leaves the cgroup as it was in that moment.
        if record.cgroup.frozen() != paused
            && let Err(error) = record.cgroup.set_frozen(paused)
        {
            crate::log::warn(format_args!("{error}"));
        }
    }
    result
}

fn talk(mut session: Session, kind: Kind, options: &Message, held: &Held, status: &mut Option<OwnedFd>) -> Result<()> {
    let answer = session.converse(&request_with(kind, options), Some(held), |notify, _| {
        // Whoever waits for the byte sees the end of the file too.
        if notify.script == "status-ready"
            && let Some(fd) = status.take()
            && let Err(error) = rustix::io::write(&fd, &[0])
        {
            crate::log::warn(format_args!("can't write \\0 to status fd: {error}"));
        }
        Ok(())
    })?;
    if answer.kind() != kind {
        return Err(Error::corrupt(format!("criu answers {} to {kind}", answer.kind())));
    }
    let ended = session.end()?;
    // After a pre-dump criu expects another request, and calls it a failure when none comes.
    if kind == Kind::DUMP && ended.exit_status() != Some(0) {
        return Err(Error::internal(format!("criu failed: {}", super::client::describe(&ended))));
    }
    Ok(())
}

/// Makes the directory of the images. criu opens them at a restore as the root of the container's user namespace, which
/// is nobody special on the host: a directory that is made here lets that group through, and nobody else.
fn make_directory(path: &Path, for_process: Option<i32>) -> Result<()> {
    let there = path.exists();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).context(|| format!("make {}", path.display()))?;
    let Some(pid) = for_process.filter(|_| !there) else { return Ok(()) };
    let map = format!("/proc/{pid}/gid_map");
    let text = fs::read_to_string(&map).context(|| format!("read {map}"))?;
    let group = text.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (inside, outside) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        (inside == 0).then_some(outside)
    });
    std::os::unix::fs::chown(path, None, group)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o710)))
        .context(|| format!("let the container's root into {}", path.display()))
}

/// Namespaces that were joined are there at a restore too; criu shall not save them.
fn name_namespaces(message: &mut Message, record: &Record, pid: i32, program: &Program) -> Result<()> {
    for (bit, name, key) in EXTERNAL_NAMESPACES {
        if record.external.joined & bit == 0 {
            continue;
        }
        if program.version < oldest_for(bit) {
            return Err(Error::unsupported(format!(
                "criu lacks support for external {name} namespace during checkpointing process (old criu version?)"
            )));
        }
        let path = format!("/proc/{pid}/ns/{name}");
        let inode = fs::metadata(&path).context(|| format!("stat {path}"))?.ino();
        message.string(field::EXTERNAL, &format!("{name}[{inode}]:{key}"));
    }
    Ok(())
}

/// Mounts whose contents are not the container's.
fn name_mounts(message: &mut Message, record: &Record, pid: i32) -> Result<()> {
    let path = format!("/proc/{pid}/root");
    let root = rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::from(std::io::Error::from(e)))
        .context(|| format!("open {path}"))?;
    let external = &record.external;
    let mut name = |path: &str, key: Option<&str>| -> Result<()> {
        let real = real_path(&root, path)?;
        message.pair(field::EXT_MNT, &real, key.unwrap_or(&real));
        Ok(())
    };
    for path in external.binds.iter().chain(&external.devices) {
        name(path, None)?;
    }
    // Without a cgroup namespace, v1 hierarchies are bind mounts, each in a directory of its own. The v2 hierarchy of a
    // hybrid machine is none of them.
    if let Location::V1 { paths } = &record.cgroup
        && record.namespaces & namespaces::CGROUP == 0
    {
        for path in &external.cgroups {
            for (controllers, _) in paths.iter().filter(|(controllers, _)| !controllers.is_empty()) {
                name(&format!("{path}/{}", controllers.strip_prefix("name=").unwrap_or(controllers)), None)?;
            }
        }
    }
    let inside = crate::init::root::Root::new(root.try_clone()?);
    for path in &external.masked {
        // Directories are masked by a filesystem of their own, which is saved as others are.
        let Ok(file) = inside.resolve(path) else { continue };
        if !crate::init::root::is_directory(std::os::fd::AsFd::as_fd(&file))? {
            name(path, Some("/dev/null"))?;
        }
    }
    Ok(())
}

/// Notes what the standard descriptors are: pipes are replaced by the restorer's.
fn write_descriptors(images: &Path, pid: i32) -> Result<()> {
    let names: Vec<String> = (0..3)
        .map(|fd| fs::read_link(format!("/proc/{pid}/fd/{fd}")).map_or(String::new(), |l| l.to_string_lossy().into()))
        .collect();
    let text = serde_json::to_vec(&names).map_err(|e| Error::internal(e.to_string()))?;
    let path = images.join(DESCRIPTORS);
    fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut f| std::io::Write::write_all(&mut f, &text))
        .context(|| format!("write {}", path.display()))
}
