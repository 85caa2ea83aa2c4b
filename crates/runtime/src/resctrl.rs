//! Cache and memory bandwidth: groups of the resctrl filesystem (`linux.intelRdt`).
//!
//! ```text
//! <resctrl>/schemata, tasks           the root group, closID "/"
//!          /info/L3, MB, L3_MON       what the processor can do; last_cmd_status: why the last write failed
//!          /<closID or container id>/schemata, tasks
//!                                    /mon_groups/<container id>/tasks      with enableMonitoring
//! ```
//! A process enters by writing `0` into `tasks`, as it does for a cgroup. A group named by a closID is shared and stays;
//! what carries the container's id goes with the container.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use oci::runtime::IntelRdt;
use oci::{Context, Error, Result};
use serde::{Deserialize, Serialize};

use crate::mountinfo;

/// What is asked for; checked, nothing made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The filesystem's root.
    tree: PathBuf,
    clos: Option<String>,
    /// Lines for `schemata`.
    schemata: Vec<String>,
    monitoring: bool,
}

/// A container's groups; kept in its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    path: PathBuf,
    /// Monitoring group, the container's own.
    monitor: Option<PathBuf>,
    /// Whether the group itself is the container's own.
    own: bool,
}

impl Plan {
    /// Checks the configuration against the filesystem that is mounted.
    pub(crate) fn from_spec(spec: &IntelRdt) -> Result<Self> {
        let tree = mounted()?.ok_or_else(|| {
            Error::unsupported(
                "linux.intelRdt: Intel RDT resctrl mount point not found; mount it with `mount -t resctrl resctrl \
                 /sys/fs/resctrl` on a machine that has it",
            )
        })?;
        Self::checked(spec, tree)
    }

    fn checked(spec: &IntelRdt, tree: PathBuf) -> Result<Self> {
        let given = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
        let clos = given(&spec.clos_id);
        if let Some(clos) = clos.as_deref().filter(|c| *c != "/")
            && (matches!(clos, "." | "..") || of_the_kernel(clos) || clos.contains(['/', '\n', '\0']))
        {
            return Err(Error::invalid(format!("linux.intelRdt.closID: invalid intelRdt.ClosID {clos:?}")));
        }
        let (cache, bandwidth) = (given(&spec.l3_cache_schema), given(&spec.mem_bw_schema));
        for (field, schema, feature, name) in
            [("l3CacheSchema", &cache, "L3", "CAT"), ("memBwSchema", &bandwidth, "MB", "MBA")]
        {
            if schema.is_some() && !knows(&tree, feature) {
                return Err(Error::unsupported(format!(
                    "linux.intelRdt.{field}: intelRdt.{field} is specified in config, but Intel RDT/{name} is not enabled"
                )));
            }
        }
        let monitored = fs::read_to_string(tree.join("info/L3_MON/mon_features")).unwrap_or_default();
        for (field, wanted, feature) in [
            ("enableMonitoring", spec.enable_monitoring, ""),
            ("enableCMT", spec.enable_cmt, "llc_occupancy"),
            ("enableMBM", spec.enable_mbm, "mbm_"),
        ] {
            if wanted == Some(true) && (monitored.is_empty() || !monitored.contains(feature)) {
                return Err(Error::unsupported(format!(
                    "linux.intelRdt.{field}: this machine's resctrl has no such monitoring"
                )));
            }
        }
        let mut schemata: Vec<String> = Vec::new();
        let cache_lines = cache.iter().flat_map(|text| text.lines());
        schemata.extend(cache_lines.filter(|l| bandwidth.is_none() || !l.starts_with("MB:")).map(String::from));
        schemata.extend(bandwidth.iter().flat_map(|text| text.lines()).map(String::from));
        schemata.extend(spec.schemata.iter().cloned());
        Ok(Self { tree, clos, schemata, monitoring: spec.enable_monitoring == Some(true) })
    }

    /// Makes the groups. On failure nothing is left of them.
    pub(crate) fn make(&self, id: &str) -> Result<Group> {
        let (group, made) = self.directories(id)?;
        self.fill(&group, made).inspect_err(|_| {
            if let Err(second) = group.remove() {
                crate::log::warn(format_args!("{second}"));
            }
        })?;
        Ok(group)
    }

    /// The directories; true where the group is new.
    fn directories(&self, id: &str) -> Result<(Group, bool)> {
        let path = match self.clos.as_deref() {
            Some("/") => self.tree.clone(),
            Some(clos) => self.tree.join(clos),
            None => own_directory(&self.tree, id)?,
        };
        if let Some(clos) = &self.clos
            && self.schemata.is_empty()
            && !path.is_dir()
        {
            return Err(Error::not_found(format!(
                "linux.intelRdt.closID: clos group {clos:?} does not exist, and there is no schema to make it with"
            )));
        }
        let made = make_directory(&path).map_err(|e| self.explain(e.into()))?;
        let mut group = Group { path, monitor: None, own: self.clos.is_none() };
        if self.monitoring {
            let monitor = group.path.join("mon_groups").join(id);
            if let Err(error) = make_directory(&monitor) {
                let _ = group.remove();
                return Err(self.explain(error.into()));
            }
            group.monitor = Some(monitor);
        }
        Ok((group, made))
    }

    /// Writes the schemata, or compares them with those of a group that exists by a closID.
    fn fill(&self, group: &Group, made: bool) -> Result<()> {
        if self.schemata.is_empty() {
            return Ok(());
        }
        let file = group.path.join("schemata");
        if let Some(clos) = &self.clos
            && !made
        {
            let present = fs::read_to_string(&file).context(|| format!("read {}", file.display()))?;
            let present = parse(present.lines());
            let wanted = parse(self.schemata.iter().map(String::as_str));
            if let Some(((resource, domain), value)) = wanted.iter().find(|(key, v)| present.get(*key) != Some(*v)) {
                return Err(Error::invalid(format!(
                    "linux.intelRdt.closID: clos group {clos:?} exists with other schemata: {resource}:{domain} is {}, \
                     and {value} is wanted",
                    present.get(&(resource.clone(), domain.clone())).map_or("not there", String::as_str)
                )));
            }
            return Ok(());
        }
        write_schemata(&group.path, &(self.schemata.join("\n") + "\n")).map_err(|e| self.explain(e))
    }

    fn explain(&self, error: Error) -> Error {
        explain(&self.tree, error).prefixed("linux.intelRdt")
    }
}

/// With the kernel's own words on what it did not like.
fn explain(tree: &Path, error: Error) -> Error {
    match fs::read_to_string(tree.join("info/last_cmd_status")) {
        Ok(status) => Error::new(error.kind(), format!("{error}, last_cmd_status: {}", status.trim())),
        Err(_) => error,
    }
}

fn write_schemata(group: &Path, text: &str) -> Result<()> {
    let file = group.join("schemata");
    File::options()
        .write(true)
        .open(&file)
        .and_then(|mut f| f.write_all(text.as_bytes()))
        .context(|| format!("write {:?} to {}", text.trim_end(), file.display()))
}

impl Group {
    /// That of a container which was made without; not made yet, so that it can be recorded before.
    pub(crate) fn late(tree: &Path, id: &str) -> Result<Self> {
        Ok(Self { path: own_directory(tree, id)?, monitor: None, own: true })
    }

    /// Makes the group and gives it its schemata and the container's first process: those that follow from it, and added
    /// ones, are in it too. On failure nothing is left.
    pub(crate) fn take_in(&self, pid: i32, schemata: &[&str]) -> Result<()> {
        let tree = self.tree();
        let made = make_directory(&self.path).map_err(|e| explain(tree, e.into()).prefixed("make a resctrl group"))?;
        let tasks = self.path.join("tasks");
        self.update(schemata)
            .and_then(|()| {
                let enter = |mut file: File| file.write_all(pid.to_string().as_bytes());
                File::options().write(true).open(&tasks).and_then(enter).map_err(|e| explain(tree, e.into()))
            })
            .map_err(|error| error.prefixed(format!("put process {pid} into {}", self.path.display())))
            .inspect_err(|_| {
                if made && let Err(second) = self.remove() {
                    crate::log::warn(format_args!("{second}"));
                }
            })
    }

    /// The filesystem's root, which can be the group itself.
    fn tree(&self) -> &Path {
        if self.path.join("info").is_dir() { &self.path } else { self.path.parent().unwrap_or(&self.path) }
    }

    /// The files by which a process enters.
    pub(crate) fn entrance(&self) -> Result<Vec<File>> {
        std::iter::once(&self.path)
            .chain(&self.monitor)
            .map(|group| {
                let tasks = group.join("tasks");
                File::options().write(true).open(&tasks).context(|| format!("linux.intelRdt: open {}", tasks.display()))
            })
            .collect()
    }

    /// Changes what the group may use; lines of `schemata` for cache and for bandwidth.
    pub(crate) fn update(&self, schemata: &[&str]) -> Result<()> {
        let text = schemata.join("\n") + "\n";
        write_schemata(&self.path, &text).map_err(|e| explain(self.tree(), e))
    }

    /// Removes what is the container's own. Processes that are still in it go to the parent.
    pub(crate) fn remove(&self) -> Result<()> {
        for path in self.monitor.iter().chain(self.own.then_some(&self.path)) {
            match fs::remove_dir(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).context(|| format!("remove resctrl group {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// True where it was not there.
fn make_directory(path: &Path) -> std::io::Result<bool> {
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Where resctrl is mounted, if it is.
pub(crate) fn mounted() -> Result<Option<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context(|| "read /proc/self/mountinfo")?;
    Ok(find(&mounts))
}

/// Whether the processor has a resource: `L3` or `MB`. With code and data apart there are L3CODE and L3DATA in place of
/// L3.
pub(crate) fn knows(tree: &Path, resource: &str) -> bool {
    let has = |what: &str| tree.join("info").join(what).exists();
    has(resource) || (resource == "L3" && has("L3CODE"))
}

/// The group that carries the container's id.
fn own_directory(tree: &Path, id: &str) -> Result<PathBuf> {
    if of_the_kernel(id) {
        return Err(Error::unsupported(format!(
            "linux.intelRdt: a container with the id {id:?} would have its resctrl group where the kernel has its own \
             files; give it another id, or a closID"
        )));
    }
    Ok(tree.join(id))
}

/// Directories in a resctrl filesystem's root that are no groups.
fn of_the_kernel(name: &str) -> bool {
    matches!(name, "info" | "mon_groups" | "mon_data")
}

fn find(text: &str) -> Option<PathBuf> {
    text.lines().filter_map(mountinfo::parse).find(|mount| mount.kind == "resctrl").map(|mount| mount.point)
}

/// Values by resource and domain: `L3:0=ff;1=f` and, as the kernel writes it, `    L3:0=00ff;1=000f` are the same.
fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<(String, String), String> {
    let mut values = BTreeMap::new();
    for line in lines {
        let Some((resource, domains)) = line.split_once(':') else { continue };
        for domain in domains.split(';') {
            if let Some((domain, value)) = domain.split_once('=') {
                let value = value.trim().trim_start_matches('0').to_ascii_lowercase();
                values.insert((resource.trim().to_owned(), domain.trim().to_owned()), value);
            }
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_writes_the_groups_schemata() {
        let tree = tree();
        let plan = Plan::checked(&spec("", "L3:0=f", ""), tree.path().into()).expect("plan");
        let make = || -> Result<Group> {
            // The kernel makes the file with the directory.
            fs::create_dir(tree.path().join("c")).expect("mkdir");
            fs::write(tree.path().join("c/schemata"), "").expect("write");
            plan.make("c")
        };
        let group = make().expect("group");
        group.update(&["L3:0=3", "MB:0=20"]).expect("update");
        assert_eq!(fs::read_to_string(tree.path().join("c/schemata")).expect("read"), "L3:0=3\nMB:0=20\n");
        fs::remove_file(tree.path().join("c/schemata")).expect("remove");
        let error = group.update(&["L3:0=3"]).expect_err("no file").to_string();
        assert!(error.contains("c/schemata") && error.ends_with("last_cmd_status: ok"), "{error}");
    }

    #[test]
    fn a_container_that_was_made_without_gets_a_group() {
        let tree = tree();
        let group = Group::late(tree.path(), "c").expect("group");
        let dir = tree.path().join("c");
        // No kernel fills the directory, so nothing can be written, and nothing is left.
        let error = group.take_in(42, &["L3:0=3"]).expect_err("no files").to_string();
        assert!(error.starts_with("put process 42 into ") && error.ends_with("last_cmd_status: ok"), "{error}");
        assert!(!dir.exists());
        // One that is there is used, and stays when it cannot be.
        fs::create_dir(&dir).expect("mkdir");
        assert!(group.take_in(42, &["L3:0=3"]).is_err() && dir.exists());
        for name in ["schemata", "tasks"] {
            fs::write(dir.join(name), "").expect("write");
        }
        group.take_in(42, &["L3:0=3", "MB:0=20"]).expect("group");
        assert_eq!(fs::read_to_string(dir.join("schemata")).expect("read"), "L3:0=3\nMB:0=20\n");
        assert_eq!(fs::read_to_string(dir.join("tasks")).expect("read"), "42");
        assert!(group.own && group.entrance().expect("tasks").len() == 1);
        let error = Group::late(tree.path(), "info").expect_err("the kernel's").to_string();
        assert!(error.contains("give it another id"), "{error}");
    }

    /// A directory that looks like resctrl.
    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().expect("tempdir");
        for name in ["info/L3", "info/MB", "info/L3_MON", "mon_groups", "gold/mon_groups"] {
            fs::create_dir_all(tree.path().join(name)).expect("mkdir");
        }
        let write = |name: &str, text: &str| fs::write(tree.path().join(name), text).expect("write");
        write("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\n");
        write("info/last_cmd_status", "ok\n");
        write("schemata", "    L3:0=fffff\n");
        write("gold/schemata", "    MB:0=100;1=050\n    L3:0=000ff;1=0000F\n");
        for name in ["tasks", "gold/tasks"] {
            write(name, "");
        }
        tree
    }

    fn spec(clos: &str, cache: &str, bandwidth: &str) -> IntelRdt {
        let some = |text: &str| Some(text.to_owned());
        IntelRdt {
            clos_id: some(clos),
            l3_cache_schema: some(cache),
            mem_bw_schema: some(bandwidth),
            ..Default::default()
        }
    }

    fn plan(tree: &tempfile::TempDir, spec: &IntelRdt) -> Result<Plan> {
        Plan::checked(spec, tree.path().to_owned())
    }

    #[test]
    fn the_filesystem_is_found() {
        let mounts =
            "22 1 0:20 / /proc rw - proc proc rw\n31 22 0:27 / /sys/fs/resctrl rw,relatime - resctrl resctrl rw\n";
        assert_eq!(find(mounts), Some("/sys/fs/resctrl".into()));
        assert_eq!(find("22 1 0:20 / /sys/fs/resctrl rw - tmpfs resctrl rw\n"), None);
    }

    #[test]
    fn a_group_of_its_own_comes_and_goes() {
        let tree = tree();
        let mut wanted = spec("", "L3:0=f;1=f\nMB:0=90", "MB:0=20;1=70");
        wanted.schemata = vec!["L2:0=1".into()];
        let plan = plan(&tree, &wanted).expect("plan");
        let (group, made) = plan.directories("c1").expect("made");
        assert!(made && group.own && group.path == tree.path().join("c1"));
        // The kernel's part.
        for name in ["schemata", "tasks"] {
            fs::write(group.path.join(name), "").expect("write");
        }
        plan.fill(&group, made).expect("written");
        let text = fs::read_to_string(group.path.join("schemata")).expect("schemata");
        assert_eq!(text, "L3:0=f;1=f\nMB:0=20;1=70\nL2:0=1\n", "one line for bandwidth, then the rest as it is");
        assert_eq!(group.entrance().expect("tasks").len(), 1);
        for name in ["schemata", "tasks"] {
            fs::remove_file(group.path.join(name)).expect("remove");
        }
        group.remove().expect("removed");
        assert!(!group.path.exists());
        group.remove().expect("removed twice");
    }

    #[test]
    fn a_failure_leaves_no_group() {
        let tree = tree();
        // No kernel fills the directory, so the write fails.
        let error =
            plan(&tree, &spec("", "L3:0=f", "")).expect("plan").make("c1").expect_err("no schemata").to_string();
        assert!(error.starts_with("linux.intelRdt: write") && error.ends_with("last_cmd_status: ok"), "{error}");
        assert!(!tree.path().join("c1").exists());
    }

    #[test]
    fn a_shared_group_is_joined_and_stays() {
        let tree = tree();
        let mut wanted = spec("gold", "", "");
        wanted.enable_monitoring = Some(true);
        let group = plan(&tree, &wanted).expect("plan").make("c1").expect("joined");
        let monitor = tree.path().join("gold/mon_groups/c1");
        assert_eq!((group.own, group.monitor.as_deref()), (false, Some(monitor.as_path())));
        fs::write(monitor.join("tasks"), "").expect("write");
        assert_eq!(group.entrance().expect("tasks").len(), 2);
        fs::remove_file(monitor.join("tasks")).expect("remove");
        group.remove().expect("removed");
        assert!(!monitor.exists() && tree.path().join("gold/schemata").exists());
        // With schemata they must be the same, however they are written.
        plan(&tree, &spec("gold", "L3:0=ff", "MB:1=50")).expect("plan").make("c1").expect("the same");
        let other = plan(&tree, &spec("gold", "L3:0=f", "")).expect("plan").make("c1").expect_err("others").to_string();
        assert!(other.contains("exists with other schemata: L3:0 is ff, and f is wanted"), "{other}");
        assert!(tree.path().join("gold/schemata").exists());
        let root = plan(&tree, &spec("/", "", "")).expect("plan").make("c1").expect("root group");
        assert_eq!((root.path.as_path(), root.own), (tree.path(), false));
        let missing = plan(&tree, &spec("lead", "", "")).expect("plan").make("c1").expect_err("missing").to_string();
        assert!(missing.contains("clos group \"lead\" does not exist"), "{missing}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let tree = tree();
        for clos in [".", "..", "a/b", "info", "mon_groups"] {
            let error = plan(&tree, &spec(clos, "", "")).expect_err(clos).to_string();
            assert!(error.contains("invalid intelRdt.ClosID"), "{error}");
        }
        fs::remove_dir(tree.path().join("info/L3")).expect("remove");
        fs::remove_dir(tree.path().join("info/MB")).expect("remove");
        fs::write(tree.path().join("info/L3_MON/mon_features"), "llc_occupancy\n").expect("write");
        let refused = |s: &IntelRdt| plan(&tree, s).expect_err("refused").to_string();
        assert!(refused(&spec("", "L3:0=f", "")).contains("but Intel RDT/CAT is not enabled"));
        assert!(refused(&spec("", "", "MB:0=9")).contains("but Intel RDT/MBA is not enabled"));
        let bandwidth = IntelRdt { enable_mbm: Some(true), ..Default::default() };
        assert!(refused(&bandwidth).starts_with("linux.intelRdt.enableMBM: "));
        fs::remove_dir_all(tree.path().join("info/L3_MON")).expect("remove");
        let monitoring = IntelRdt { enable_monitoring: Some(true), ..Default::default() };
        assert!(refused(&monitoring).starts_with("linux.intelRdt.enableMonitoring: "));
    }
}
