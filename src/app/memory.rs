//! How much memory there is for this process: what its control group allows it, or what the machine has.

use std::{fs, path::Path};

/// In bytes; `None` where nobody says.
#[must_use]
pub fn available() -> Option<u64> {
    available_in(Path::new("/"))
}

/// Of control groups those of version 2; each is bound by all it lies in.
fn available_in(root: &Path) -> Option<u64> {
    let read = |path: &Path| fs::read_to_string(root.join(path)).ok();
    let groups = read(Path::new("proc/self/cgroup")).unwrap_or_default();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let limit = |group: &Path| read(&Path::new("sys/fs/cgroup").join(group).join("memory.max"))?.trim().parse().ok();
    let limits = Path::new(group).ancestors().filter_map(limit);
    let machine = read(Path::new("proc/meminfo")).unwrap_or_default();
    let kib = machine.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    limits.chain(kib.map(|kib| kib << 10)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_of_machine_and_control_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let found = || available_in(root.path());
        assert_eq!(found(), None);
        write("proc/meminfo", "MemTotal:        8000000 kB\nMemFree:          100000 kB\n");
        assert_eq!(found(), Some(8_000_000 << 10));
        write("proc/self/cgroup", "0::/system.slice/keygate.service\n");
        write("sys/fs/cgroup/system.slice/keygate.service/memory.max", "max\n");
        assert_eq!(found(), Some(8_000_000 << 10));
        write("sys/fs/cgroup/system.slice/memory.max", "268435456\n");
        assert_eq!(found(), Some(256 << 20));
        // As a container sees its own group.
        write("proc/self/cgroup", "0::/\n");
        write("sys/fs/cgroup/memory.max", "134217728\n");
        assert_eq!(found(), Some(128 << 20));
    }
}
