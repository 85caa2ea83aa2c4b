//! Serving what the container's process asks of the runtime, until it is ready.

use std::os::fd::{AsFd, OwnedFd};

use oci::runtime::{Hook, IdMapping};
use oci::{Error, Result};

use super::process::{adopt, died};
use super::undo::Undo;
use crate::channel::{Channel, Report};
use crate::hooks::{self, Place};
use crate::init::{self, MountMaps, transform};
use crate::mappings;
use crate::plan::net_devices::PlannedNetDevice;
use crate::plan::process::PlannedRlimit;
use crate::seccomp::Listener;
use crate::state::{Container, Status};

/// The container's process, and the line to it.
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) line: Channel,
}

/// What the configuration wants done from the outside.
pub(super) struct Wishes {
    /// Of users and groups, for a new user namespace.
    pub(super) id_mappings: Option<(Vec<IdMapping>, Vec<IdMapping>)>,
    pub(super) oom_score_adj: Option<i32>,
    pub(super) rlimits: Vec<PlannedRlimit>,
    pub(super) net_devices: Vec<PlannedNetDevice>,
    pub(super) mount_maps: MountMaps,
    pub(super) prestart: Vec<Hook>,
    pub(super) create_runtime: Vec<Hook>,
    pub(super) listener: Option<Listener>,
}

impl Process {
    /// A second handle of it.
    pub(super) fn handle(&self) -> Result<OwnedFd> {
        Ok(self.pidfd.as_fd().try_clone_to_owned()?)
    }

    fn next(&self) -> Result<Report> {
        self.line
            .next()
            .map_err(|error| error.prefixed("error during container init"))?
            .ok_or_else(|| died(&self.pidfd))
    }

    /// Waits until it asks for its cgroup, of which systemd has to be told. Whoever is first asks; what that one makes
    /// is born there.
    pub(super) fn wait_for_cgroup(&self) -> Result<()> {
        match self.next()? {
            Report::EnterCgroup => Ok(()),
            other => Err(Error::internal(format!("unexpected report {other:?}"))),
        }
    }

    /// The one in between has made it, and ends.
    fn replace(&mut self, pid: i32, undo: &mut Undo) -> Result<()> {
        (self.pid, self.pidfd) = (pid, adopt(pid, &self.pidfd)?);
        undo.process = Some(self.handle()?);
        Ok(())
    }

    /// Serves until it is ready. Where it is made by a process `in_between`, that one is what there is so far.
    pub(super) fn serve(
        &mut self,
        in_between: bool,
        wishes: &Wishes,
        container: &mut Container,
        undo: &mut Undo,
    ) -> Result<()> {
        let mut known = !in_between;
        loop {
            let report = self.next()?;
            if !known {
                // Sent by two processes, so they can arrive in either order.
                known = true;
                if let Report::Pid(number) = report {
                    self.replace(number, undo)?;
                    continue;
                }
                let Report::Pid(number) = self.next()? else { return Err(died(&self.pidfd)) };
                self.replace(number, undo)?;
            }
            if matches!(report, Report::Ready) {
                return Ok(());
            }
            self.answer(report, wishes, container, undo)?;
        }
    }

    fn answer(&mut self, report: Report, wishes: &Wishes, container: &mut Container, undo: &mut Undo) -> Result<()> {
        let pid = self.pid;
        match report {
            Report::MapIds => {
                if let Some((uids, gids)) = &wishes.id_mappings {
                    mappings::write(pid, uids, gids)?;
                }
            }
            Report::SetLimits => {
                transform::set_oom_score(&pid.to_string(), wishes.oom_score_adj)?;
                transform::set_rlimits(rustix::process::Pid::from_raw(pid), &wishes.rlimits)?;
            }
            Report::MoveDevices => undo.devices.move_to_process(pid, &wishes.net_devices)?,
            Report::RunHooks => {
                container.store_init(pid)?;
                let state = container.state(Status::Creating, pid)?;
                hooks::run(hooks::PRESTART, &wishes.prestart, &state, Place::Host)?;
                hooks::run(hooks::CREATE_RUNTIME, &wishes.create_runtime, &state, Place::Host)?;
            }
            Report::MapMount(index, number) => {
                let unknown = || Error::internal("a mount without an id mapping");
                let map = wishes.mount_maps.iter().find(|(of, ..)| *of == index).ok_or_else(unknown)?;
                let tree = self.line.take(self.pidfd.as_fd(), number, "tree of an id-mapped mount")?;
                init::map_ids(tree.as_fd(), map.1.as_fd(), map.2)?;
            }
            Report::Listener(number) => {
                let without = || Error::internal("a descriptor without a listener");
                let listener = wishes.listener.as_ref().ok_or_else(without)?;
                let state = container.state(Status::Creating, pid)?;
                return listener.deliver(&self.line, number, self.pidfd.as_fd(), pid, state);
            }
            Report::EnterCgroup | Report::Pid(_) | Report::Ready => {
                return Err(Error::internal(format!("unexpected report {report:?}")));
            }
        }
        self.line.answer()
    }
}
