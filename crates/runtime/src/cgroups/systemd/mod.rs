//! The systemd driver: the cgroup belongs to a scope that systemd makes (`--systemd-cgroup`).
//!
//! ```text
//! Systemd::find ──► clone ──► the process waits ──► Systemd::start: StartTransientUnit(PIDs), JobRemoved,
//! names, bus                  (Report::EnterCgroup)  then the files that systemd has no property for ──► go on
//! Unit (in the record) ──► update: SetUnitProperties and files · stop: StopUnit, ResetFailedUnit
//! ```
//! A scope needs a process at its birth, so the process comes first here, and systemd moves it. Freezing, killing and
//! looking are done in the cgroup itself, whoever made it.

mod names;
mod properties;

use std::fs;
use std::path::Path;
use std::time::Duration;

use oci::runtime::Resources;
use oci::{Context, Error, Kind, Result};
use serde::{Deserialize, Serialize};

use super::{Location, ROOT};
use crate::dbus::value::Value;
use crate::dbus::{self, Connection, Failure, Target};
use crate::log;
pub(crate) use properties::Property;

const MANAGER: Target = Target {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};
const PROPERTIES: Target = Target { interface: "org.freedesktop.DBus.Properties", ..MANAGER };

/// Which systemd is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Manager {
    System,
    /// The user's own, for containers without the machine's root.
    User,
}

/// A container's unit, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unit {
    name: String,
    manager: Manager,
}

/// The driver, for one launch.
#[derive(Debug)]
pub(crate) struct Systemd {
    pub(crate) unit: Unit,
    pub(crate) location: Location,
    slice: String,
    description: String,
    /// From annotations `org.systemd.property.*`.
    extra: Vec<Property>,
    bus: Bus,
}

/// A connection and what is known of the other side.
#[derive(Debug)]
pub(super) struct Bus {
    connection: Connection,
    version: Option<u32>,
}

impl Manager {
    /// Root's containers are the system's business, all others the user's; `--rootless` can say otherwise.
    pub(crate) fn of_caller() -> Self {
        match crate::rootless::given() {
            Some(true) => Self::User,
            Some(false) => Self::System,
            None if !rustix::process::geteuid().is_root() => Self::User,
            // Root of a user namespace: who is it outside?
            None => match outer_uid() {
                Some(uid) if uid != 0 => Self::User,
                _ => Self::System,
            },
        }
    }

    fn connect(self) -> Result<Bus> {
        let connection = match self {
            Self::System => {
                let address = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").ok().filter(|a| !a.is_empty());
                let address = address.as_deref().unwrap_or("unix:path=/var/run/dbus/system_bus_socket");
                match patiently(|| dbus::connect(address)).and_then(|stream| Connection::new(stream, true)) {
                    // A machine without a message bus: root can talk to systemd directly.
                    Err(error) if rustix::process::geteuid().is_root() => {
                        log::debug(format_args!("{error}; trying systemd's private socket"));
                        patiently(|| dbus::connect("unix:path=/run/systemd/private"))
                            .and_then(|stream| Connection::new(stream, false))
                    }
                    result => result,
                }
            }
            Self::User => user_bus_address()
                .and_then(|address| patiently(|| dbus::connect(&address)))
                .and_then(|stream| Connection::new(stream, true)),
        };
        let connection = connection.context(|| {
            "failed to connect to dbus (hint: for rootless containers, maybe you need to install dbus-user-session \
             package)"
        })?;
        Ok(Bus { connection, version: None })
    }
}

/// A bus whose queue of callers is full says "try again".
fn patiently<T>(mut dial: impl FnMut() -> Result<T>) -> Result<T> {
    let mut pause = Duration::from_millis(100);
    for _ in 0..6 {
        match dial() {
            Err(error) if error.to_string().ends_with("resource temporarily unavailable") => {
                std::thread::sleep(pause);
                pause *= 2;
            }
            result => return result,
        }
    }
    dial()
}

fn user_bus_address() -> Result<String> {
    if let Some(address) = std::env::var("DBUS_SESSION_BUS_ADDRESS").ok().filter(|a| !a.is_empty()) {
        return Ok(address);
    }
    if let Some(directory) = std::env::var("XDG_RUNTIME_DIR").ok().filter(|d| !d.is_empty()) {
        let path = format!("{directory}/bus");
        if Path::new(&path).exists() {
            let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/' | b'\\' | b'*' | b'.');
            let escape = |b: u8| if fine(b) { char::from(b).to_string() } else { format!("%{b:02x}") };
            return Ok(format!("unix:path={}", path.bytes().map(escape).collect::<String>()));
        }
    }
    Err(Error::not_found(
        "could not detect DBUS_SESSION_BUS_ADDRESS from the environment; make sure you have installed the \
         dbus-user-session or dbus-daemon package; note you may need to re-login",
    ))
}

/// The machine's number for this process's user; its own where it is in no user namespace.
fn outer_uid() -> Option<u32> {
    if let Some(uid) = std::env::var("ROOTLESSKIT_PARENT_EUID").ok().and_then(|u| u.parse().ok()) {
        return Some(uid);
    }
    let own = rustix::process::geteuid().as_raw();
    let map = fs::read_to_string("/proc/self/uid_map").ok()?;
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(|n| n.parse::<u32>().ok());
        let (inside, outside, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let offset = own.checked_sub(inside).filter(|o| *o < count)?;
        outside.checked_add(offset)
    })
}

impl Systemd {
    /// Decides on the unit and finds the bus. Nothing is made.
    pub(crate) fn find(
        manager: Manager,
        id: &str,
        cgroups_path: Option<&str>,
        annotations: &std::collections::BTreeMap<String, String>,
    ) -> Result<Self> {
        let wanted = names::wanted(cgroups_path, id)?;
        let default = if manager == Manager::User { "user.slice" } else { "system.slice" };
        let slice = if wanted.slice.is_empty() { default } else { &wanted.slice };
        let mut directory = names::expand(slice)?;
        directory.push(&wanted.unit);
        let extra = properties::from_annotations(annotations)?;
        if !fs::symlink_metadata("/run/systemd/system").is_ok_and(|m| m.is_dir()) {
            return Err(Error::unavailable("systemd not running on this host, cannot use systemd cgroups manager"));
        }
        let unified = super::unified();
        if manager == Manager::User && !unified {
            return Err(Error::unsupported("cannot use rootless systemd cgroups manager on cgroup v1"));
        }
        let mut bus = manager.connect()?;
        if manager == Manager::User {
            // The user's slices are below the user's systemd.
            let own = bus.manager_property("ControlGroup").context(|| "find the user's systemd")?;
            directory = Path::new(own.trim_start_matches('/')).join(directory);
        }
        let location = if unified {
            Location::V2 { path: Path::new(ROOT).join(directory) }
        } else {
            let own = fs::read_to_string("/proc/self/cgroup").context(|| "read /proc/self/cgroup")?;
            let directory = directory.to_str().ok_or_else(|| Error::internal("a cgroup path that is not UTF-8"))?;
            super::v1::locate(&own, directory, true)
        };
        Ok(Self {
            unit: Unit { name: wanted.unit, manager },
            location,
            slice: slice.to_owned(),
            // In the words of runc, by which people look for containers in the journal.
            description: format!("libcontainer container {}", wanted.name),
            extra,
            bus,
        })
    }

    /// Makes the unit with a process that waits, and sets all limits. On failure nothing is left.
    pub(crate) fn start(&mut self, pid: i32, resources: &mut Resources) -> Result<super::Made> {
        let limits = self.bus.limits(&self.location, resources, true)?;
        let mut all = vec![
            Property::new("Description", Value::str(&self.description)),
            Property::new("Slice", Value::str(&self.slice)),
            Property::new("Delegate", Value::Bool(true)),
            Property::new("PIDs", Value::Array("u".into(), vec![Value::Uint32(pid.cast_unsigned())])),
        ];
        let io = if matches!(self.location, Location::V2 { .. }) { "IOAccounting" } else { "BlockIOAccounting" };
        for name in ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"] {
            all.push(Property::new(name, Value::Bool(true)));
        }
        all.push(Property::new("DefaultDependencies", Value::Bool(false)));
        all.append(&mut self.extra);
        all.extend(limits);
        self.bus.start(&self.unit.name, &all)?;
        self.location.fill(pid, resources).inspect_err(|_| {
            // The process is the launch's to end; here it must not keep systemd waiting.
            let _ = self.location.kill_all();
            if let Err(second) = self.bus.stop(&self.unit.name) {
                log::warn(format_args!("{second}"));
            }
            let _ = self.location.remove();
        })
    }
}

impl Unit {
    /// Changes limits.
    pub(crate) fn update(&self, location: &Location, resources: &mut Resources) -> Result<()> {
        location.prepare_update(resources)?;
        let mut bus = self.manager.connect()?;
        let limits = bus.limits(location, resources, false)?;
        if !limits.is_empty() {
            let list = Value::Array("(sv)".into(), limits.into_iter().map(Value::from).collect());
            bus.connection
                .call(&MANAGER, "SetUnitProperties", &[Value::str(&self.name), Value::Bool(true), list])
                .map_err(Error::from)
                .context(|| "unable to set unit properties")?;
        }
        location.update(resources)
    }

    /// Puts one more process into the unit, for a user who may not do so alone.
    pub(crate) fn attach(&self, pid: i32) -> Result<()> {
        let pids = Value::Array("u".into(), vec![Value::Uint32(pid.cast_unsigned())]);
        self.manager
            .connect()?
            .connection
            .call(&MANAGER, "AttachProcessesToUnit", &[Value::str(&self.name), Value::str(""), pids])
            .map(drop)
            .map_err(|failure| Error::from(failure).prefixed(format!("attach process {pid} to unit {:?}", self.name)))
    }

    /// Whether it belongs to a user.
    pub(crate) fn of_user(&self) -> bool {
        self.manager == Manager::User
    }

    /// Ends the unit, whose processes are dead already; a unit that is gone is no error.
    pub(crate) fn stop(&self) -> Result<()> {
        self.manager.connect()?.stop(&self.name)
    }
}

impl From<Property> for Value {
    fn from(property: Property) -> Self {
        Self::Struct(vec![Self::Str(property.name), property.value.variant()])
    }
}

impl Bus {
    fn manager_property(&mut self, name: &str) -> Result<String> {
        let answer = self.connection.call(&PROPERTIES, "Get", &[Value::str(MANAGER.interface), Value::str(name)])?;
        let text = answer.first().and_then(Value::as_str);
        text.map(str::to_owned).ok_or_else(|| Error::corrupt(format!("systemd's property {name} is no string")))
    }

    /// systemd's version; 0 where it does not say.
    pub(super) fn version(&mut self) -> u32 {
        if let Some(version) = self.version {
            return version;
        }
        let version = match self.manager_property("Version") {
            Ok(text) => version_number(&text),
            Err(error) => {
                log::warn(format_args!("unable to get systemd version: {error}"));
                0
            }
        };
        *self.version.insert(version)
    }

    fn limits(&mut self, location: &Location, resources: &mut Resources, new: bool) -> Result<Vec<Property>> {
        match location {
            Location::V1 { .. } => properties::for_v1(self, resources, new),
            _ => properties::for_v2(self, resources, new),
        }
    }

    fn start(&mut self, name: &str, properties: &[Property]) -> Result<()> {
        let names: Vec<&str> = properties.iter().map(|p| p.name.as_str()).collect();
        let unable = |error: Error| error.prefixed(format!("unable to start unit {name:?} (properties {names:?})"));
        let list = Value::Array("(sv)".into(), properties.iter().cloned().map(Value::from).collect());
        let body = [Value::str(name), Value::str("replace"), list, Value::Array("(sa(sv))".into(), Vec::new())];
        self.connection.subscribe(&MANAGER, "JobRemoved").map_err(unable)?;
        let mut answer = self.connection.call(&MANAGER, "StartTransientUnit", &body);
        if matches!(&answer, Err(Failure::Refused { name, .. }) if name.ends_with(".UnitExists")) {
            // It may be one that has failed and is only remembered.
            self.reset(name);
            answer = self.connection.call(&MANAGER, "StartTransientUnit", &body);
        }
        let job = answer.map_err(|failure| unable(failure.into()))?;
        let result = self.job_result(&job).inspect_err(|_| self.reset(name));
        let result = result.map_err(|error| match error.kind() {
            Kind::DeadlineExceeded => Error::deadline(format!("Timeout waiting for systemd to create {name}")),
            _ => unable(error),
        })?;
        if result != "done" {
            self.reset(name);
            return Err(Error::internal(format!("error creating systemd unit `{name}`: got `{result}`")));
        }
        Ok(())
    }

    fn stop(&mut self, name: &str) -> Result<()> {
        self.connection.subscribe(&MANAGER, "JobRemoved")?;
        match self.connection.call(&MANAGER, "StopUnit", &[Value::str(name), Value::str("replace")]) {
            Ok(job) => match self.job_result(&job) {
                Ok(result) if result != "done" => {
                    log::warn(format_args!("error removing unit `{name}`: got `{result}`. Continuing..."));
                }
                Err(error) if error.kind() == Kind::DeadlineExceeded => {
                    return Err(Error::deadline(format!("Timed out while waiting for systemd to remove {name}")));
                }
                result => drop(result?),
            },
            // Gone with its last process, which is the ordinary case.
            Err(Failure::Refused { .. }) => {}
            Err(Failure::Line(error)) => return Err(error.prefixed(format!("stop unit {name:?}"))),
        }
        self.reset(name);
        Ok(())
    }

    /// Lets systemd forget a unit that failed; one that it does not know is forgotten already.
    fn reset(&mut self, name: &str) {
        if let Err(Failure::Line(error)) = self.connection.call(&MANAGER, "ResetFailedUnit", &[Value::str(name)]) {
            log::warn(format_args!("unable to reset failed unit {name:?}: {error}"));
        }
    }

    /// Waits until systemd has done with a job: `done`, `failed`, `canceled`, ...
    fn job_result(&mut self, job: &[Value]) -> Result<String> {
        let path = job.first().and_then(Value::as_str).map(str::to_owned);
        let path = path.ok_or_else(|| Error::corrupt("systemd names no job"))?;
        self.connection.signal(MANAGER.interface, "JobRemoved", |body| match body {
            [_, Value::Path(job), _, Value::Str(result)] if *job == path => Some(result.clone()),
            _ => None,
        })
    }
}

/// `v252.38-1~deb12u1`, `"245"`: the first number.
fn version_number(text: &str) -> u32 {
    let digits = text.trim_start_matches(['"', 'v']);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests;
