//! Where the two differ on purpose.

/// Scenario, reason.
pub(crate) const DIFFERENCES: &[(&str, &str)] = &[
    ("usage: delete without id", "ours takes several ids, as runc after 1.4 does"),
    ("help: options of create", "`--pidfd-socket` came with runc 1.2"),
    ("help: options of run", "`--pidfd-socket` came with runc 1.2"),
    ("help: options of exec", "`--pidfd-socket` came with runc 1.2"),
    ("root: named, and not there", "runc 1.1 makes it; since 1.2 `list` says that it is missing"),
    ("rootless: a word that is none", "a value that means nothing is refused, also where it is not used"),
    ("bundle: bad version", "runc 1.1 does not look at the version; the specification has it checked"),
    (
        "bundle: keys in other letters",
        "to Go, and so to runc, letters are the same in both sizes; ours reads the names of the specification",
    ),
    ("bundle: a key given twice", "Go takes the last; ours refuses what can be read in two ways"),
    ("bundle: something behind the configuration", "Go stops reading; ours refuses what cannot be meant"),
    ("end: the program is a directory", "runc built with a newer Go says the same as ours"),
    (
        "end: a program in the current directory",
        "Go finds none by a relative `PATH`; ours and crun do, as a shell does",
    ),
    ("exec: what is missing", "a directory: runc built with a newer Go says the same as ours"),
    ("exec: working directory", "ours names the field before the same words"),
    ("exec: process file and options beside it", "runc ignores the options; ours applies them to what the file says"),
    ("exec: mask of the caller", "runc leaves it; ours gives the process the container's"),
    (
        "exec: interpreter that is missing",
        "ours tells the caller, with the status of a failed exec; under runc 1.1 the process itself prints it",
    ),
    ("signal: real-time", "ours knows the real-time signals by name, as crun does"),
    ("signal: KILL without a PID namespace ends all", "runc 1.1 leaves the others running; 1.2 and newer end all"),
    ("caller: descriptor that is missing", "runc takes a descriptor of its own for the missing one"),
    (
        "caller: its mask and directories that are made",
        "runc makes them with what the mask leaves; ours as the container's own",
    ),
    ("kernel: limit given twice", "the specification: must be an error; runc takes the last one"),
    ("kernel: umask with more than permissions", "a mask of other bits means nothing; runc drops them"),
    ("kernel: a device rule without an access", "to the specification it is optional; ours means all of it"),
    ("kernel: a tmpfs", "runc 1.1 overrides the given mode by the directory's; 1.2 and newer do as ours"),
    ("kernel: ordinary files for devices", "runc leaves the files; ours binds the devices that every container has"),
    ("kernel: pids limit of none", "runc 1.1 reads 0 as unlimited; to 1.4 it is a limit, kept as 1"),
];
