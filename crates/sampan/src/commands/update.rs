//! `update`: other limits and another restart policy for containers that exist.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, bad_flag, value, verb};
use crate::client::Call;
use crate::failure::{Failure, Failures, Result};
use crate::options::{self, resources};
use crate::output;
use clap::{Arg, ArgMatches};
use wire::docker::container::{UpdateRequest, UpdateResponse};
use wire::docker::host_config::Resources;

verb!(
    "update",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Update configuration of one or more containers",
    Arity::AtLeast(1)
);

fn flags() -> Vec<Arg> {
    vec![
        value(None, "blkio-weight", "uint16", "Block IO (relative weight), between 10 and 1000, or 0 to disable"),
        value(None, "cpu-period", "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
        value(None, "cpu-quota", "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
        value(None, "cpu-rt-period", "int", "Limit the CPU real-time period in microseconds"),
        value(None, "cpu-rt-runtime", "int", "Limit the CPU real-time runtime in microseconds"),
        value(Some('c'), "cpu-shares", "int", "CPU shares (relative weight)"),
        value(None, "cpus", "decimal", "Number of CPUs"),
        value(None, "cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)"),
        value(None, "cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)"),
        value(Some('m'), "memory", "bytes", "Memory limit"),
        value(None, "memory-reservation", "bytes", "Memory soft limit"),
        value(None, "memory-swap", "bytes", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
        value(None, "pids-limit", "int", "Tune container pids limit (set -1 for unlimited)"),
        value(None, "restart", "string", "Restart policy to apply when a container exits"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    if !(flags)().iter().any(|flag| m.given(flag.get_id().as_str()).is_some()) {
        return Err(Failure::new("you must provide one or more flags when using this command"));
    }
    let number = |name: &str| m.integer(name).map(Option::unwrap_or_default);
    let weight = m.text("blkio-weight");
    let resources = Resources {
        blkio_weight: match weight {
            "" => 0,
            text => text.parse().map_err(|_| {
                bad_flag("blkio-weight", text, &format!("strconv.ParseUint: parsing {text:?}: invalid syntax"))
            })?,
        },
        cpu_period: number("cpu-period")?,
        cpu_quota: number("cpu-quota")?,
        cpu_realtime_period: number("cpu-rt-period")?,
        cpu_realtime_runtime: number("cpu-rt-runtime")?,
        cpu_shares: number("cpu-shares")?,
        nano_cpus: resources::cpus(m)?,
        cpuset_cpus: m.text("cpuset-cpus").to_owned(),
        cpuset_mems: m.text("cpuset-mems").to_owned(),
        memory: resources::size(m, "memory")?,
        memory_reservation: resources::size(m, "memory-reservation")?,
        memory_swap: resources::size(m, "memory-swap")?,
        pids_limit: m.integer("pids-limit")?,
        ..Resources::default()
    };
    let restart_policy = m.given("restart").map(options::restart_policy).transpose()?.unwrap_or_default();
    let body = UpdateRequest { restart_policy, resources, ..UpdateRequest::default() };
    let mut failures = Failures::default();
    for name in m.arguments() {
        match cx.client.ask::<UpdateResponse>(Call::post(shared::container(&name, "update")).json(&body)?).await {
            Ok(answer) => {
                output::line(&name);
                for warning in answer.warnings.iter().flatten() {
                    output::error(warning);
                }
            }
            Err(failure) => failures.push(failure),
        }
    }
    failures.finish()
}
