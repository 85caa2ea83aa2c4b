//! Docker's default system call policy as data: which calls a container may make, and on what condition.
//! Facts as published in the Moby project's default profile; everything not named fails with `EPERM`.

/// When a rule holds. All parts that are not empty must.
#[derive(Debug, Clone, Copy)]
pub(super) struct When {
    /// Architectures in Go's names, one of which must be the machine's.
    pub(super) arches: &'static [&'static str],
    /// Capability that the container must have.
    pub(super) cap: &'static str,
    /// Capability that it must not have.
    pub(super) without_cap: &'static str,
    /// Architectures, none of which may be the machine's.
    pub(super) not_arches: &'static [&'static str],
    /// Kernel at least.
    pub(super) kernel: (u32, u32),
}

const ALWAYS: When = When { arches: &[], cap: "", without_cap: "", not_arches: &[], kernel: (0, 0) };

const fn arches(arches: &'static [&'static str]) -> When {
    When { arches, ..ALWAYS }
}

const fn cap(cap: &'static str) -> When {
    When { cap, ..ALWAYS }
}

/// One rule: calls, an action, at most one condition on an argument.
pub(super) struct Row {
    pub(super) when: When,
    pub(super) calls: &'static [&'static str],
    /// `None` allows, otherwise the error number that the call fails with.
    pub(super) errno: Option<u32>,
    /// Index, value, second value, operator.
    pub(super) arg: Option<(u32, u64, u64, &'static str)>,
}

const fn allow(when: When, calls: &'static [&'static str]) -> Row {
    Row { when, calls, errno: None, arg: None }
}

const fn allow_if(when: When, calls: &'static [&'static str], arg: (u32, u64, u64, &'static str)) -> Row {
    Row { when, calls, errno: None, arg: Some(arg) }
}

/// Flags of clone(2) that make namespaces: all but `CLONE_NEWTIME`, which shares its bit with the exit signal.
const CLONE_NAMESPACES: u64 = 0x7E02_0000;
const AF_VSOCK: u64 = 40;
const ENOSYS: u32 = 38;
const EQ: &str = "SCMP_CMP_EQ";

/// The policy.
#[rustfmt::skip]
pub(super) const DEFAULT: &[Row] = &[
    allow(ALWAYS, PLAIN),
    allow(When { kernel: (4, 8), ..ALWAYS }, &["process_vm_readv", "process_vm_writev", "ptrace"]),
    allow_if(ALWAYS, &["socket"], (0, AF_VSOCK, 0, "SCMP_CMP_NE")),
    allow_if(ALWAYS, &["personality"], (0, 0x0, 0, EQ)),
    allow_if(ALWAYS, &["personality"], (0, 0x0008, 0, EQ)),
    allow_if(ALWAYS, &["personality"], (0, 0x2_0000, 0, EQ)),
    allow_if(ALWAYS, &["personality"], (0, 0x2_0008, 0, EQ)),
    allow_if(ALWAYS, &["personality"], (0, 0xffff_ffff, 0, EQ)),
    allow(arches(&["ppc64le"]), &["sync_file_range2", "swapcontext"]),
    allow(arches(&["arm", "arm64"]), &[
        "arm_fadvise64_64", "arm_sync_file_range", "sync_file_range2", "breakpoint", "cacheflush", "set_tls",
    ]),
    allow(arches(&["amd64", "x32"]), &["arch_prctl"]),
    allow(arches(&["amd64", "x32", "x86", "386"]), &["modify_ldt"]),
    allow(arches(&["s390", "s390x"]), &["s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr"]),
    allow(arches(&["riscv64"]), &["riscv_flush_icache"]),
    allow(cap("CAP_DAC_READ_SEARCH"), &["open_by_handle_at"]),
    allow(cap("CAP_SYS_ADMIN"), &[
        "bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount",
        "mount_setattr", "move_mount", "open_tree", "perf_event_open", "quotactl", "quotactl_fd", "setdomainname",
        "sethostname", "setns", "syslog", "umount", "umount2", "unshare",
    ]),
    allow_if(
        When { without_cap: "CAP_SYS_ADMIN", not_arches: &["s390", "s390x"], ..ALWAYS },
        &["clone"], (0, CLONE_NAMESPACES, 0, "SCMP_CMP_MASKED_EQ"),
    ),
    allow_if(
        When { without_cap: "CAP_SYS_ADMIN", arches: &["s390", "s390x"], ..ALWAYS },
        &["clone"], (1, CLONE_NAMESPACES, 0, "SCMP_CMP_MASKED_EQ"),
    ),
    // Its flags lie in memory, where a filter can't look; libraries fall back to clone on ENOSYS.
    Row { when: When { without_cap: "CAP_SYS_ADMIN", ..ALWAYS }, calls: &["clone3"], errno: Some(ENOSYS), arg: None },
    allow(cap("CAP_SYS_BOOT"), &["reboot"]),
    allow(cap("CAP_SYS_CHROOT"), &["chroot"]),
    allow(cap("CAP_SYS_MODULE"), &["delete_module", "init_module", "finit_module"]),
    allow(cap("CAP_SYS_PACCT"), &["acct"]),
    allow(cap("CAP_SYS_PTRACE"), &[
        "kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
    ]),
    allow(cap("CAP_SYS_RAWIO"), &["iopl", "ioperm"]),
    allow(cap("CAP_SYS_TIME"), &["settimeofday", "stime", "clock_settime", "clock_settime64"]),
    allow(cap("CAP_SYS_TTY_CONFIG"), &["vhangup"]),
    allow(cap("CAP_SYS_NICE"), &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    allow(cap("CAP_SYSLOG"), &["syslog"]),
    allow(cap("CAP_BPF"), &["bpf"]),
    allow(cap("CAP_PERFMON"), &["perf_event_open"]),
];

/// Calls that every container may make.
#[rustfmt::skip]
const PLAIN: &[&str] = &[
    "_llseek", "_newselect", "accept", "accept4", "access", "adjtimex", "alarm", "bind", "brk", "cachestat", "capget",
    "capset", "chdir", "chmod", "chown", "chown32", "clock_adjtime", "clock_adjtime64", "clock_getres",
    "clock_getres_time64", "clock_gettime", "clock_gettime64", "clock_nanosleep", "clock_nanosleep_time64", "close",
    "close_range", "connect", "copy_file_range", "creat", "dup", "dup2", "dup3", "epoll_create", "epoll_create1",
    "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2",
    "execve", "execveat", "exit", "exit_group", "faccessat", "faccessat2", "fadvise64", "fadvise64_64", "fallocate",
    "fanotify_mark", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchown32", "fchownat", "fcntl", "fcntl64",
    "fdatasync", "fgetxattr", "flistxattr", "flock", "fork", "fremovexattr", "fsetxattr", "fstat", "fstat64",
    "fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate", "ftruncate64", "futex", "futex_requeue", "futex_time64",
    "futex_wait", "futex_waitv", "futex_wake", "futimesat", "get_robust_list", "get_thread_area", "getcpu", "getcwd",
    "getdents", "getdents64", "getegid", "getegid32", "geteuid", "geteuid32", "getgid", "getgid32", "getgroups",
    "getgroups32", "getitimer", "getpeername", "getpgid", "getpgrp", "getpid", "getppid", "getpriority", "getrandom",
    "getresgid", "getresgid32", "getresuid", "getresuid32", "getrlimit", "getrusage", "getsid", "getsockname",
    "getsockopt", "gettid", "gettimeofday", "getuid", "getuid32", "getxattr", "getxattrat", "inotify_add_watch",
    "inotify_init", "inotify_init1", "inotify_rm_watch", "io_cancel", "io_destroy", "io_getevents", "io_pgetevents",
    "io_pgetevents_time64", "io_setup", "io_submit", "ioctl", "ioprio_get", "ioprio_set", "ipc", "kill",
    "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "lchown", "lchown32", "lgetxattr", "link",
    "linkat", "listen", "listmount", "listxattr", "listxattrat", "llistxattr", "lremovexattr", "lseek", "lsetxattr",
    "lstat", "lstat64", "madvise", "map_shadow_stack", "membarrier", "memfd_create", "memfd_secret", "mincore", "mkdir",
    "mkdirat", "mknod", "mknodat", "mlock", "mlock2", "mlockall", "mmap", "mmap2", "mprotect", "mq_getsetattr",
    "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64",
    "mq_unlink", "mremap", "mseal", "msgctl", "msgget", "msgrcv", "msgsnd", "msync", "munlock", "munlockall", "munmap",
    "name_to_handle_at", "nanosleep", "newfstatat", "open", "openat", "openat2", "pause", "pidfd_open",
    "pidfd_send_signal", "pipe", "pipe2", "pkey_alloc", "pkey_free", "pkey_mprotect", "poll", "ppoll", "ppoll_time64",
    "prctl", "pread64", "preadv", "preadv2", "prlimit64", "process_mrelease", "pselect6", "pselect6_time64", "pwrite64",
    "pwritev", "pwritev2", "read", "readahead", "readlink", "readlinkat", "readv", "recv", "recvfrom", "recvmmsg",
    "recvmmsg_time64", "recvmsg", "remap_file_pages", "removexattr", "removexattrat", "rename", "renameat", "renameat2",
    "restart_syscall", "riscv_hwprobe", "rmdir", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask",
    "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64",
    "rt_tgsigqueueinfo", "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr",
    "sched_getparam", "sched_getscheduler", "sched_rr_get_interval", "sched_rr_get_interval_time64",
    "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield", "seccomp", "select",
    "semctl", "semget", "semop", "semtimedop", "semtimedop_time64", "send", "sendfile", "sendfile64", "sendmmsg",
    "sendmsg", "sendto", "set_robust_list", "set_thread_area", "set_tid_address", "setfsgid", "setfsgid32", "setfsuid",
    "setfsuid32", "setgid", "setgid32", "setgroups", "setgroups32", "setitimer", "setpgid", "setpriority", "setregid",
    "setregid32", "setresgid", "setresgid32", "setresuid", "setresuid32", "setreuid", "setreuid32", "setrlimit",
    "setsid", "setsockopt", "setuid", "setuid32", "setxattr", "setxattrat", "shmat", "shmctl", "shmdt", "shmget",
    "shutdown", "sigaltstack", "signalfd", "signalfd4", "sigprocmask", "sigreturn", "socketcall", "socketpair",
    "splice", "stat", "stat64", "statfs", "statfs64", "statmount", "statx", "symlink", "symlinkat", "sync",
    "sync_file_range", "syncfs", "sysinfo", "tee", "tgkill", "time", "timer_create", "timer_delete", "timer_getoverrun",
    "timer_gettime", "timer_gettime64", "timer_settime", "timer_settime64", "timerfd_create", "timerfd_gettime",
    "timerfd_gettime64", "timerfd_settime", "timerfd_settime64", "times", "tkill", "truncate", "truncate64",
    "ugetrlimit", "umask", "uname", "unlink", "unlinkat", "uretprobe", "utime", "utimensat", "utimensat_time64",
    "utimes", "vfork", "vmsplice", "wait4", "waitid", "waitpid", "write", "writev",
];
