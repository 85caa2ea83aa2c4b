//! Addresses of one subnet and who has them, on disk.
//!
//! ```text
//! <dir>/lock                 locked (flock) while anything is changed
//! <dir>/<ip>                 "<owner>\r\n<interface>": this address is taken
//! <dir>/last_reserved_ip.0   where the search for a free one goes on
//! <dir>/.new                 a file on its way to its name
//! ```
//! This is the layout of CNI's host-local plugin, so one of ours can serve from it. A name appears
//! by rename, so no file is ever half written, and killing the writer loses nothing.

use crate::subnet::Subnet;
use oci::{Context, Error, Result};
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

const LAST: &str = "last_reserved_ip.0";
const NEW: &str = ".new";
/// Longer lease files aren't ours.
const MAX_LEASE: usize = 4096;

/// Which addresses may be given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    /// The subnet; its first and last addresses are never given out.
    pub(crate) subnet: Subnet,
    /// The part to choose from, where it isn't all.
    pub(crate) part: Option<Subnet>,
    /// The bridge's own.
    pub(crate) gateway: Ipv4Addr,
}

impl Range {
    fn bounds(&self) -> (u32, u32) {
        let part = self.part.unwrap_or(self.subnet);
        (part.network().to_bits(), part.broadcast().to_bits())
    }

    fn allows(&self, ip: Ipv4Addr) -> bool {
        self.subnet.contains_host(ip) && ip != self.gateway
    }
}

/// A taken address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) owner: String,
    pub(crate) interface: String,
}

/// The addresses of one network.
pub(crate) struct Pool {
    dir: PathBuf,
}

impl Pool {
    /// The pool in `dir`, which is made when first needed.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Takes `wanted`, or the next free address after the one taken last.
    pub(crate) fn allocate(&self, range: &Range, wanted: Option<Ipv4Addr>, lease: &Lease) -> Result<Ipv4Addr> {
        std::fs::create_dir_all(&self.dir).context(|| format!("create {}", self.dir.display()))?;
        let _guard = self.lock()?;
        let taken = self.taken()?;
        let ip = match wanted {
            Some(ip) => {
                if !range.subnet.contains(ip) {
                    return Err(Error::invalid(format!(
                        "invalid address {ip}: it does not belong to the network's subnet {}",
                        range.subnet
                    )));
                }
                if !range.allows(ip) || taken.contains(&ip) {
                    return Err(Error::conflict(format!("address {ip} is already in use")));
                }
                ip
            }
            None => self.next(range, &taken)?,
        };
        self.write(&ip.to_string(), &format!("{}\r\n{}", lease.owner, lease.interface))?;
        if wanted.is_none() {
            self.write(LAST, &ip.to_string())?;
        }
        Ok(ip)
    }

    /// Gives an address back if `lease` is who has it.
    pub(crate) fn release(&self, ip: Ipv4Addr, lease: &Lease) -> Result<()> {
        if !self.dir.exists() {
            return Ok(());
        }
        let _guard = self.lock()?;
        match self.read_lease(&self.dir.join(ip.to_string()))? {
            Some(found) if found == *lease => self.remove(ip),
            _ => Ok(()),
        }
    }

    /// Gives back every address whose lease `live` doesn't know; returns how many.
    pub(crate) fn retain(&self, live: impl Fn(Ipv4Addr, &Lease) -> bool) -> Result<usize> {
        if !self.dir.exists() {
            return Ok(0);
        }
        let _guard = self.lock()?;
        let mut count = 0;
        for ip in self.taken()? {
            let lease = self.read_lease(&self.dir.join(ip.to_string()))?;
            if lease.is_some_and(|lease| !live(ip, &lease)) {
                self.remove(ip)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Removes the pool with all leases.
    pub(crate) fn destroy(&self) -> Result<()> {
        match std::fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::from(error).prefixed(format!("remove {}", self.dir.display())))
            }
            _ => Ok(()),
        }
    }

    fn next(&self, range: &Range, taken: &BTreeSet<Ipv4Addr>) -> Result<Ipv4Addr> {
        let (first, last) = range.bounds();
        let previous =
            std::fs::read_to_string(self.dir.join(LAST)).ok().and_then(|t| t.trim().parse::<Ipv4Addr>().ok());
        let start = match previous.map(Ipv4Addr::to_bits) {
            Some(at) if (first..last).contains(&at) => at + 1,
            _ => first,
        };
        (start..=last)
            .chain(first..start)
            .map(Ipv4Addr::from_bits)
            .find(|ip| range.allows(*ip) && !taken.contains(ip))
            .ok_or_else(|| {
                Error::exhausted(format!("no available IPv4 addresses in {}", range.part.unwrap_or(range.subnet)))
            })
    }

    /// The addresses that have a file.
    fn taken(&self) -> Result<BTreeSet<Ipv4Addr>> {
        let mut taken = BTreeSet::new();
        let what = || format!("list {}", self.dir.display());
        for entry in std::fs::read_dir(&self.dir).context(what)? {
            taken.extend(entry.context(what)?.file_name().to_str().and_then(|name| name.parse::<Ipv4Addr>().ok()));
        }
        Ok(taken)
    }

    fn read_lease(&self, path: &Path) -> Result<Option<Lease>> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::from(error).prefixed(format!("read {}", path.display()))),
        };
        // After a power cut a file may be empty: then it is taken by nobody known, until a sweep.
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_LEASE)]).into_owned();
        let mut lines = text.lines();
        let (owner, interface) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        Ok(Some(Lease { owner: owner.trim().to_owned(), interface: interface.trim().to_owned() }))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let (new, path) = (self.dir.join(NEW), self.dir.join(name));
        std::fs::write(&new, text).context(|| format!("write {}", new.display()))?;
        std::fs::rename(&new, &path).context(|| format!("rename to {}", path.display()))
    }

    fn remove(&self, ip: Ipv4Addr) -> Result<()> {
        let path = self.dir.join(ip.to_string());
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::from(error).prefixed(format!("remove {}", path.display())))
            }
            _ => Ok(()),
        }
    }

    fn lock(&self) -> Result<File> {
        let path = self.dir.join("lock");
        let what = || format!("lock {}", path.display());
        let file = File::options().create(true).truncate(false).write(true).open(&path).context(what)?;
        // Whoever holds it only touches a few files, and the kernel frees it when they die.
        flock(&file, FlockOperation::LockExclusive).map_err(std::io::Error::from).context(what)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Kind;

    fn lease(owner: &str) -> Lease {
        Lease { owner: owner.into(), interface: "eth0".into() }
    }

    fn range(subnet: &str) -> Range {
        let subnet: Subnet = subnet.parse().unwrap();
        Range { subnet, part: None, gateway: subnet.first_host() }
    }

    #[test]
    fn addresses_rotate_and_then_run_out() {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::new(dir.path().join("net"));
        let range = range("10.1.2.0/29");
        let take = |owner| pool.allocate(&range, None, &lease(owner)).map(|ip| ip.octets()[3]);
        assert_eq!(take("a").unwrap(), 2);
        assert_eq!(take("b").unwrap(), 3);
        pool.release(Ipv4Addr::new(10, 1, 2, 2), &lease("a")).unwrap();
        assert_eq!(take("c").unwrap(), 4, "an address just given back is not the next one");
        assert_eq!((take("d").unwrap(), take("e").unwrap(), take("f").unwrap()), (5, 6, 2));
        let full = take("g").unwrap_err();
        assert_eq!(full.kind(), Kind::ResourceExhausted);
        assert!(full.to_string().contains("10.1.2.0/29"));
        // A new process sees the same.
        let again = Pool::new(dir.path().join("net"));
        assert_eq!(again.allocate(&range, None, &lease("g")).unwrap_err().kind(), Kind::ResourceExhausted);
        assert_eq!(again.retain(|_, lease| lease.owner == "f").unwrap(), 4);
        assert_eq!(again.allocate(&range, None, &lease("g")).unwrap().octets()[3], 3);
    }

    #[test]
    fn a_wanted_address_must_be_free_and_inside() {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::new(dir.path().into());
        let range = range("10.1.2.0/24");
        let want = |ip: [u8; 4], owner| pool.allocate(&range, Some(ip.into()), &lease(owner));
        assert_eq!(want([10, 1, 2, 9], "a").unwrap().octets()[3], 9);
        assert_eq!(want([10, 1, 2, 9], "b").unwrap_err().kind(), Kind::Conflict);
        assert_eq!(want([10, 1, 2, 1], "b").unwrap_err().kind(), Kind::Conflict, "the gateway's");
        assert_eq!(want([10, 1, 2, 255], "b").unwrap_err().kind(), Kind::Conflict, "broadcast");
        assert_eq!(want([10, 1, 3, 9], "b").unwrap_err().kind(), Kind::InvalidArgument);
        pool.release(Ipv4Addr::new(10, 1, 2, 9), &lease("b")).unwrap();
        assert_eq!(want([10, 1, 2, 9], "b").unwrap_err().kind(), Kind::Conflict, "only its owner gives it back");
    }

    #[test]
    fn a_part_of_the_subnet_bounds_the_choice() {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::new(dir.path().into());
        let range = Range { part: Some("10.1.2.128/31".parse().unwrap()), ..range("10.1.2.0/24") };
        let take = || pool.allocate(&range, None, &lease("x")).map(|ip| ip.octets()[3]);
        assert_eq!((take().unwrap(), take().unwrap()), (128, 129));
        assert!(take().is_err());
    }
}
