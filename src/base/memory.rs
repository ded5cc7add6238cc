//! Memory that this process may have, and may still allocate, under every limit: the machine, its
//! control groups (containers, cluster jobs) and `ulimit`. Known on Linux only.

/// Returns how many bytes can be allocated before the system refuses or kills the process, or
/// `None` if that isn't known (on systems other than Linux). Page cache counts as available, swap
/// doesn't.
pub fn available_bytes() -> Option<u64> {
    smallest(Amount::Available, &read)
}

/// Returns how many bytes the process could have at most with nothing else running, or `None` if
/// that isn't known (on systems other than Linux). Unlike [`available_bytes`], it is the same from
/// run to run.
pub fn total_bytes() -> Option<u64> {
    smallest(Amount::Total, &read)
}

/// Returns the most memory that the process has had at one time, in bytes, or `None` if the system
/// doesn't tell.
#[cfg(target_os = "linux")]
pub fn peak_bytes() -> Option<u64> {
    // `getrusage` would also count the program that started this one, up to its `exec`.
    Some(field(&read("/proc/self/status")?, "VmHWM:")? * 1024)
}

/// Returns the most memory that the process has had at one time, in bytes, or `None` if the system
/// doesn't tell.
#[cfg(all(unix, not(target_os = "linux")))]
pub fn peak_bytes() -> Option<u64> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).ok()?;
    // In KiB, on Apple's systems in bytes.
    let unit = if cfg!(target_vendor = "apple") {
        1
    } else {
        1024
    };
    Some(u64::try_from(usage.max_rss()).ok()? * unit)
}

/// Returns the most memory that the process has had at one time, in bytes, or `None` if the system
/// doesn't tell.
#[cfg(not(unix))]
pub fn peak_bytes() -> Option<u64> {
    None
}

/// Returns the content of a system file, or `None` if it can't be read: then there is no such
/// limit.
fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// What is asked of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Amount {
    /// What it leaves.
    Available,
    /// What it allows.
    Total,
}

impl Amount {
    /// Returns this amount of a limit of which so much is taken.
    fn of(self, limit: u64, taken: impl FnOnce() -> Option<u64>) -> Option<u64> {
        match self {
            Self::Available => Some(limit.saturating_sub(taken()?)),
            Self::Total => Some(limit),
        }
    }
}

/// Returns the smallest amount of any limit. `read` returns the content of a system file.
fn smallest(amount: Amount, read: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let name = if amount == Amount::Available {
        "MemAvailable:"
    } else {
        "MemTotal:"
    };
    let machine = field(&read("/proc/meminfo")?, name)? * 1024;
    // Each limit applies on its own, so the smallest counts.
    let limits = [machine]
        .into_iter()
        .chain(by_ulimit(amount, read))
        .chain(by_groups(amount, read));
    limits.min()
}

/// Returns the first number after `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    })
}

/// Returns the amounts of `ulimit -v` (address space) and `ulimit -d` (data), in bytes.
fn by_ulimit(amount: Amount, read: &dyn Fn(&str) -> Option<String>) -> Vec<u64> {
    let (limits, taken) = (
        read("/proc/self/limits").unwrap_or_default(),
        read("/proc/self/status").unwrap_or_default(),
    );
    let of = |(limit, taken_as): (&str, &str)| {
        amount.of(field(&limits, limit)?, || {
            Some(field(&taken, taken_as)? * 1024)
        })
    };
    [
        ("Max address space", "VmSize:"),
        ("Max data size", "VmData:"),
    ]
    .into_iter()
    .filter_map(of)
    .collect()
}

/// Files of one version of control groups.
struct Groups {
    root: &'static str,
    limit: &'static str,
    taken: &'static str,
    /// Names in `memory.stat` of page cache, which the kernel reclaims under pressure.
    cached: [&'static str; 2],
}

const V1: Groups = Groups {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    taken: "memory.usage_in_bytes",
    cached: ["total_inactive_file ", "total_active_file "],
};

const V2: Groups = Groups {
    root: "/sys/fs/cgroup",
    limit: "memory.max",
    taken: "memory.current",
    cached: ["inactive_file ", "active_file "],
};

/// Returns the amount of each control group of this process, from the innermost to the root: a
/// limit of any of them applies. In a container, the root is the container's own group.
fn by_groups(amount: Amount, read: &dyn Fn(&str) -> Option<String>) -> Vec<u64> {
    let mut found = Vec::new();
    for line in read("/proc/self/cgroup").unwrap_or_default().lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let groups = match controllers {
            "" => V2,
            _ if controllers.split(',').any(|name| name == "memory") => V1,
            _ => continue,
        };
        let mut path = path.trim_end_matches('/');
        loop {
            found.extend(groups.amount(amount, read, &format!("{}{path}", groups.root)));
            let Some((parent, _)) = path.rsplit_once('/') else {
                break;
            };
            path = parent;
        }
    }
    found
}

impl Groups {
    /// Returns the amount of the group in `folder`, or `None` without a limit.
    fn amount(
        &self,
        amount: Amount,
        read: &dyn Fn(&str) -> Option<String>,
        folder: &str,
    ) -> Option<u64> {
        let number = |file: &str| {
            read(&format!("{folder}/{file}"))?
                .trim()
                .parse::<u64>()
                .ok()
        };
        amount.of(number(self.limit)?, || {
            let stat = read(&format!("{folder}/memory.stat")).unwrap_or_default();
            let cached: u64 = self
                .cached
                .iter()
                .filter_map(|name| field(&stat, name))
                .sum();
            Some(number(self.taken)?.saturating_sub(cached))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: f64 = (1u64 << 30) as f64;

    /// A name, system files with their content, and GiB available and in all.
    type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, Option<[f64; 2]>);

    fn found(amount: Amount, files: &[(&str, &str)]) -> Option<u64> {
        smallest(amount, &|path| {
            files
                .iter()
                .find(|(name, _)| *name == path)
                .map(|(_, text)| (*text).to_owned())
        })
    }

    /// A machine of which 8 GiB are available.
    const MACHINE: (&str, &str) = (
        "/proc/meminfo",
        "MemTotal:       16777216 kB\n\
         MemFree:         1048576 kB\n\
         MemAvailable:    8388608 kB\n",
    );

    #[track_caller]
    fn assert_found(cases: &[Case<'_>]) {
        for (name, files, expected) in cases {
            for (amount, at) in [(Amount::Available, 0), (Amount::Total, 1)] {
                assert_eq!(
                    found(amount, files),
                    expected.map(|gib| (gib[at] * GIB) as u64),
                    "{name}, {amount:?}"
                );
            }
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_peak_has_what_was_touched_and_nothing_of_the_program_that_started_this_one() {
        let block = std::hint::black_box(vec![1u8; 80 << 20]);
        let peak = peak_bytes().expect("known");
        let status = read("/proc/self/status").expect("there");
        let mapped = field(&status, "VmPeak:").expect("there") * 1024;
        assert!((80 << 20..=mapped).contains(&peak), "{peak} of {mapped}");
        drop(block);
        // The kernel counts pages by CPU, so that what it tells is right to some hundred pages.
        assert!(peak_bytes() >= Some(peak - (2 << 20)));
    }

    #[test]
    fn a_limit_of_the_process_counts_where_it_is_tighter_than_the_machine() {
        let limits = |most: &str| {
            [("Max data size", "unlimited"), ("Max address space", most)]
                .map(|(name, soft)| {
                    format!("{name:<25} {soft:<20} {:<20} bytes     \n", "unlimited")
                })
                .concat()
        };
        let [unlimited, limited] = [limits("unlimited"), limits("6442450944")];
        let taken = (
            "/proc/self/status",
            "VmPeak:\t 2097152 kB\nVmSize:\t 1048576 kB\nVmData:\t 10 kB\n",
        );
        assert_found(&[
            ("another system", vec![], None),
            (
                "the machine alone",
                vec![MACHINE, ("/proc/self/limits", &unlimited), taken],
                Some([8.0, 16.0]),
            ),
            (
                "ulimit -v, of which some is taken",
                vec![MACHINE, ("/proc/self/limits", &limited), taken],
                Some([5.0, 6.0]),
            ),
        ]);
    }

    #[test]
    fn the_tightest_limit_of_the_groups_of_a_process_counts() {
        let v2 = "/sys/fs/cgroup/a/b";
        let stat = "anon 100\ninactive_file 1073741824\nactive_file 0\n";
        let v2_files = [
            (format!("{v2}/memory.max"), "4294967296\n"),
            (format!("{v2}/memory.current"), "2147483648\n"),
        ];
        let group = [
            ("/proc/self/cgroup", "0::/a/b\n"),
            (v2_files[0].0.as_str(), v2_files[0].1),
            (v2_files[1].0.as_str(), v2_files[1].1),
            ("/sys/fs/cgroup/a/b/memory.stat", stat),
        ];
        let around = ("/sys/fs/cgroup/a/memory.max", "3221225472");
        let around_taken = ("/sys/fs/cgroup/a/memory.current", "1073741824");
        let none = ("/sys/fs/cgroup/a/memory.max", "max\n");
        let v1 = [
            (
                "/proc/self/cgroup",
                "5:cpu,cpuacct:/job\n4:memory:/docker/1234\n0::/\n",
            ),
            // A container sees its own group as the root.
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "805306368"),
            (
                "/sys/fs/cgroup/memory/memory.stat",
                "total_inactive_file 268435456\ntotal_active_file 268435456\n",
            ),
        ];
        assert_found(&[
            (
                "a group of 4 GiB with 2 taken, of which 1 is cache",
                [vec![MACHINE], group.to_vec()].concat(),
                Some([3.0, 4.0]),
            ),
            (
                "a tighter one around it",
                [vec![MACHINE, around, around_taken], group.to_vec()].concat(),
                Some([2.0, 3.0]),
            ),
            (
                "none around it",
                [vec![MACHINE, none, around_taken], group.to_vec()].concat(),
                Some([3.0, 4.0]),
            ),
            (
                "version 1 in a container",
                [vec![MACHINE], v1.to_vec()].concat(),
                Some([0.75, 1.0]),
            ),
        ]);
    }

    #[test]
    fn this_machine_has_some_where_it_can_be_known() {
        assert_eq!(
            available_bytes().is_some_and(|bytes| bytes > 1 << 20),
            cfg!(target_os = "linux")
        );
        assert!(total_bytes() >= available_bytes());
    }
}
