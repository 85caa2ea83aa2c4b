//! Taking back what a launch has made so far.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use oci::Result;

use super::process::end;
use crate::cgroups::systemd::Unit;
use crate::cgroups::{self, Location};
use crate::net_devices::Moved;
use crate::{host_mounts, log, resctrl};

/// What was made so far.
#[derive(Default)]
pub(crate) struct Undo {
    pub(crate) location: Location,
    /// Present once the cgroup exists.
    pub(crate) made: Option<cgroups::Made>,
    /// Present once systemd has made it.
    pub(crate) unit: Option<Unit>,
    pub(crate) process: Option<OwnedFd>,
    pub(crate) devices: Moved,
    pub(crate) resctrl: Option<resctrl::Group>,
    /// Whether the process was ready; what fails afterwards is not its fault.
    pub(crate) started: bool,
    /// The rootfs of a container without a mount namespace, and what it was on.
    pub(crate) host_mounts: Option<(PathBuf, host_mounts::Before)>,
}

impl Undo {
    pub(crate) fn run(mut self) {
        if let Some(process) = self.process {
            end(&process);
        }
        self.devices.give_back();
        if let Some((rootfs, before)) = &self.host_mounts
            && let Err(error) = host_mounts::remove(rootfs, before)
        {
            log::warn(format_args!("{error}"));
        }
        if let Some(made) = self.made {
            // Hooks and half-made processes may be in it.
            let killed = self.location.kill_all();
            let stopped = self.unit.map_or(Ok(()), |unit| unit.stop());
            let removed = if killed.is_ok() { self.location.remove() } else { Ok(()) };
            for error in [killed, stopped, removed].into_iter().filter_map(Result::err) {
                log::warn(format_args!("{error}"));
            }
            cgroups::remove_made(&made);
        }
        if let Some(Err(error)) = self.resctrl.map(|group| group.remove()) {
            log::warn(format_args!("{error}"));
        }
    }
}
