//! What values there are: ranges and words. Whoever reads specs, and their documentation, both take
//! them from here.

/// Most replicas of one instance: a machine starts no more containers than this in reasonable
/// time, and what is above it is a slip of the fingers.
pub const REPLICAS_MAX: u64 = 1000;

/// The numbers that a port can have: 0 would be any, and what is declared is held.
pub const PORTS: (u64, u64) = (1, 65535);

/// Most failed checks in a row that can be waited for; more would be days.
pub const RETRIES_MAX: u64 = 1000;

/// Most processes: the kernel's own limit on process ids.
pub const PIDS_MAX: u64 = 4_194_304;

/// The weights that the kernel takes.
pub const CPU_SHARES: (u64, u64) = (2, 262_144);

/// The weights that block IO schedulers take.
pub const IO_WEIGHTS: (u64, u64) = (10, 1000);

/// Rates that are told apart from none.
pub const IO_RATES: (u64, u64) = (1, i64::MAX as u64);

/// Most of anything that is counted; guards the arithmetic.
pub const COUNT_MAX: u64 = 1_000_000_000;

/// So many projects can be in each other. Each is a control group around those inside it, and the
/// kernel accounts for all of them; organisations are not deeper than this.
pub const PROJECT_DEPTH_MAX: usize = 8;

/// Ways to share memory and semaphores.
pub const IPC: [&str; 4] = ["private", "shareable", "host", "none"];

/// Ways to share processes, or the host name.
pub const PRIVATE_OR_HOST: [&str; 2] = ["private", "host"];

/// Ways to share users.
pub const USER_NAMESPACES: [&str; 1] = ["host"];

/// All capabilities of the kernel, and the word for all of them.
pub const CAPABILITIES: [&str; 42] = [
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYSLOG",
    "WAKE_ALARM",
];

/// The limits of a process that engines know, by the names of `ulimit`.
pub const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// The signals that a program can be asked to end with, by the names of `kill -l`.
pub const SIGNALS: [&str; 30] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR",
];
