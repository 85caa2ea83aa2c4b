//! The numbers of a v2 cgroup, under v1's names.

use std::path::Path;

use oci::Result;

use super::{
    Blkio, BlkioEntry, Cpu, Hugetlb, Memory, MemoryEntry, Pids, Psi, Stats, number, page_sizes, parse, psi, table, text,
};

pub(super) fn stats(path: &Path) -> Result<Stats> {
    let mut stats =
        Stats { cpu: cpu(path)?, memory: memory(path)?, pids: pids(path)?, blkio: blkio(path)?, ..Default::default() };
    for size in page_sizes() {
        let reserved = format!("hugetlb.{size}.rsvd");
        let prefix =
            if path.join(format!("{reserved}.current")).exists() { reserved } else { format!("hugetlb.{size}") };
        let Some(usage) = text(path, &format!("{prefix}.current"))? else { continue };
        let events = table(path, &format!("hugetlb.{size}.events"))?;
        let entry = Hugetlb { usage: parse(usage.trim()), max: 0, failcnt: events.get("max").copied().unwrap_or(0) };
        stats.hugetlb.insert(size, entry);
    }
    Ok(stats)
}

fn pressure(path: &Path, file: &str) -> Result<Option<Psi>> {
    Ok(text(path, file)?.map(|text| psi(&text)))
}

fn cpu(path: &Path) -> Result<Cpu> {
    // This one is there without its controller too.
    let table = table(path, "cpu.stat")?;
    let get = |name: &str| table.get(name).copied().unwrap_or(0);
    let nanoseconds = |name: &str| get(name).saturating_mul(1000);
    let mut cpu = Cpu { psi: pressure(path, "cpu.pressure")?, ..Default::default() };
    cpu.usage.total = nanoseconds("usage_usec");
    cpu.usage.user = nanoseconds("user_usec");
    cpu.usage.kernel = nanoseconds("system_usec");
    cpu.throttling.periods = get("nr_periods");
    cpu.throttling.throttled_periods = get("nr_throttled");
    cpu.throttling.throttled_time = nanoseconds("throttled_usec");
    Ok(cpu)
}

fn memory(path: &Path) -> Result<Memory> {
    let raw = table(path, "memory.stat")?;
    let entry = |kind: &str| -> Result<MemoryEntry> {
        Ok(MemoryEntry {
            limit: number(path, &format!("memory{kind}.max"))?,
            usage: number(path, &format!("memory{kind}.current"))?,
            max: number(path, &format!("memory{kind}.peak"))?,
            failcnt: 0,
        })
    };
    let usage = entry("")?;
    let mut swap = entry(".swap")?;
    // v1 counts both together, and has no peak of the sum that could be made of two.
    swap.usage += usage.usage;
    swap.limit = swap.limit.saturating_add(usage.limit);
    swap.max = 0;
    Ok(Memory {
        cache: raw.get("file").copied().unwrap_or(0),
        usage,
        swap,
        raw,
        psi: pressure(path, "memory.pressure")?,
        ..Default::default()
    })
}

fn pids(path: &Path) -> Result<Pids> {
    let limit = number(path, "pids.max")?;
    let current = match text(path, "pids.current")? {
        Some(text) => parse(text.trim()),
        // Without the controller the processes can still be counted.
        None => text(path, "cgroup.procs")?.map_or(0, |text| text.lines().count() as u64),
    };
    Ok(Pids { current, limit: if limit == u64::MAX { 0 } else { limit } })
}

fn blkio(path: &Path) -> Result<Blkio> {
    let mut blkio = Blkio { psi: pressure(path, "io.pressure")?, ..Default::default() };
    for line in text(path, "io.stat")?.unwrap_or_default().lines() {
        entries(line, &mut blkio);
    }
    Ok(blkio)
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`
fn entries(line: &str, blkio: &mut Blkio) {
    let mut words = line.split_whitespace();
    let Some((major, minor)) = words.next().and_then(|device| device.split_once(':')) else { return };
    for (name, value) in words.filter_map(|word| word.split_once('=')) {
        let (op, target) = match name {
            "rbytes" => ("Read", &mut blkio.io_service_bytes_recursive),
            "wbytes" => ("Write", &mut blkio.io_service_bytes_recursive),
            "rios" => ("Read", &mut blkio.io_serviced_recursive),
            "wios" => ("Write", &mut blkio.io_serviced_recursive),
            _ => continue,
        };
        target.push(BlkioEntry { major: parse(major), minor: parse(minor), op: op.into(), value: parse(value) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_io_is_four_entries() {
        let mut blkio = Blkio::default();
        entries("8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=9 dios=9", &mut blkio);
        entries("garbage", &mut blkio);
        let shown = |list: &[BlkioEntry]| {
            list.iter().map(|e| format!("{}:{} {} {}", e.major, e.minor, e.op, e.value)).collect::<Vec<_>>()
        };
        assert_eq!(shown(&blkio.io_service_bytes_recursive), ["8:16 Read 1", "8:16 Write 2"]);
        assert_eq!(shown(&blkio.io_serviced_recursive), ["8:16 Read 3", "8:16 Write 4"]);
    }
}
