//! Cleaning up after crashes, and giving everything back.

use super::{Endpoint, Manager};
use crate::ipam::Pool;
use crate::plan::Request;
use crate::ports::PortReservation;
use oci::{Error, Result};
use std::collections::BTreeSet;

/// What a sweep found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Endpoints of containers that aren't live.
    pub endpoints: usize,
    /// Addresses that nobody had.
    pub leases: usize,
    /// Names of interfaces removed.
    pub interfaces: Vec<String>,
    /// Firewall rules removed.
    pub rules: usize,
    /// Firewall rules put back.
    pub restored_rules: usize,
    /// What went wrong without stopping the rest, in sentences.
    pub problems: Vec<String>,
}

impl Manager {
    /// Removes everything of ours that none of the `live` containers owns: interfaces, rules,
    /// addresses, records, bridges of removed networks. Puts missing rules of live containers
    /// back, and takes their published ports again after a restart. Call it once after opening,
    /// before the first attach, and whenever something may have been lost.
    ///
    /// # Errors
    /// If the helper can't run. Single failures are in the report.
    pub fn sweep(&self, live: &[impl AsRef<str>]) -> Result<SweepReport> {
        let live: BTreeSet<&str> = live.iter().map(AsRef::as_ref).collect();
        let mut report = SweepReport::default();
        // Held throughout: what an attach makes meanwhile would look like an orphan.
        let mut state = self.lock();
        let dead: Vec<Endpoint> =
            state.endpoints.values().filter(|e| !live.contains(e.container.as_str())).cloned().collect();
        let mut plan = self.sweep_plan(&state);
        plan.endpoints.retain(|e| live.contains(e.container.as_str()));
        plan.dead = dead.iter().map(Endpoint::plan).collect();
        plan.restore_forwarding = self.options.restore_forwarding;
        let done = self.call(&Request::Sweep(plan))?;
        (report.interfaces, report.rules) = (done.removed_interfaces, done.removed_rules);
        (report.restored_rules, report.problems) = (done.restored_rules, done.problems);
        // Without the kernel's side gone, the records of the dead are needed for the next try.
        if report.problems.is_empty() {
            for endpoint in &dead {
                match self.forget(&mut state, endpoint) {
                    Ok(()) => report.endpoints += 1,
                    Err(error) => report.problems.push(error.to_string()),
                }
            }
        }
        for id in self.directory.leased_networks()? {
            let pool = Pool::new(self.directory.leases(&id));
            if !state.networks.contains_key(&id) {
                pool.destroy()?;
                continue;
            }
            let swept = pool.retain(|ip, lease| {
                let endpoint = state.endpoints.get(&(lease.owner.clone(), id.clone()));
                endpoint.is_some_and(|e| e.ip == ip && e.interface == lease.interface)
            });
            match swept {
                Ok(count) => report.leases += count,
                Err(error) => report.problems.push(error.to_string()),
            }
        }
        let missing: Vec<Endpoint> =
            state.endpoints.values().filter(|e| !state.reservations.contains_key(&e.key())).cloned().collect();
        for endpoint in missing {
            let mut held = Vec::new();
            for port in &endpoint.ports {
                match PortReservation::bind(port.host_ip, port.host_port, port.protocol) {
                    Ok(reservation) => held.push(reservation),
                    // The rules redirect the port all the same.
                    Err(error) => report.problems.push(format!("container {}: {error}", endpoint.container)),
                }
            }
            state.reservations.insert(endpoint.key(), held);
        }
        Ok(report)
    }

    /// Removes the bridges and the table, and gives `ip_forward` its value back. Networks stay
    /// known; their bridges come back with their next container.
    ///
    /// # Errors
    /// `Conflict` while containers are connected; the helper's.
    pub fn teardown(&self) -> Result<()> {
        let state = self.lock();
        if !state.endpoints.is_empty() {
            return Err(Error::conflict(format!("{} endpoints are connected", state.endpoints.len())));
        }
        let mut plan = self.sweep_plan(&state);
        plan.networks.clear();
        plan.restore_forwarding = true;
        let done = self.call(&Request::Sweep(plan))?;
        match done.problems.first() {
            Some(problem) => Err(Error::internal(format!("tear networking down: {problem}"))),
            None => Ok(()),
        }
    }
}
