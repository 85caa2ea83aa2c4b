//! What a runtime says of itself (`features`): read by engines to learn what they may ask for.

use std::collections::BTreeMap;

object! {
    /// The features structure of the specification.
    pub struct Features {
        /// Oldest `ociVersion` understood.
        pub oci_version_min: String,
        /// Newest `ociVersion` understood.
        pub oci_version_max: String,
        /// Hook kinds.
        pub hooks: Vec<String>,
        /// Mount options.
        pub mount_options: Vec<String>,
        /// What is particular to Linux.
        pub linux: Option<LinuxFeatures>,
        /// Free key-value pairs.
        pub annotations: BTreeMap<String, String>,
        /// Annotations that change unspecified behaviour.
        pub potentially_unsafe_config_annotations: Vec<String>,
    }
}

object! {
    /// The `linux` object of the features structure.
    pub struct LinuxFeatures {
        /// Namespace kinds.
        pub namespaces: Vec<String>,
        /// Capability names.
        pub capabilities: Vec<String>,
        /// Cgroup support.
        pub cgroup: Option<CgroupFeatures>,
        /// Filter support.
        pub seccomp: Option<SeccompFeatures>,
        /// AppArmor support.
        pub apparmor: Option<Enabled>,
        /// SELinux support.
        pub selinux: Option<Enabled>,
        /// Cache allocation support.
        pub intel_rdt: Option<IntelRdtFeatures>,
        /// NUMA policy support.
        pub memory_policy: Option<MemoryPolicyFeatures>,
        /// Mount extensions.
        pub mount_extensions: Option<MountExtensions>,
        /// Moving of network devices.
        pub net_devices: Option<Enabled>,
    }
}

object! {
    /// Cgroup support.
    pub struct CgroupFeatures {
        /// v1 hierarchies.
        pub v1: Option<bool>,
        /// The v2 hierarchy.
        pub v2: Option<bool>,
        /// Through systemd's manager.
        pub systemd: Option<bool>,
        /// Through a user's systemd.
        pub systemd_user: Option<bool>,
        /// The RDMA controller.
        pub rdma: Option<bool>,
    }
}

object! {
    /// Filter support.
    pub struct SeccompFeatures {
        /// Whether there is any.
        pub enabled: Option<bool>,
        /// Actions.
        pub actions: Vec<String>,
        /// Comparisons.
        pub operators: Vec<String>,
        /// Architectures.
        pub archs: Vec<String>,
        /// Flags known.
        pub known_flags: Vec<String>,
        /// Flags that this kernel takes.
        pub supported_flags: Vec<String>,
    }
}

object! {
    /// Support with nothing more to say.
    pub struct Enabled {
        /// Whether there is any.
        pub enabled: Option<bool>,
    }
}

object! {
    /// Cache allocation support.
    pub struct IntelRdtFeatures {
        /// Whether there is any.
        pub enabled: Option<bool>,
        /// The `schemata` field.
        pub schemata: Option<bool>,
        /// The `enableMonitoring` field.
        pub monitoring: Option<bool>,
    }
}

object! {
    /// NUMA policy support.
    pub struct MemoryPolicyFeatures {
        /// Modes.
        pub modes: Vec<String>,
        /// Flags.
        pub flags: Vec<String>,
    }
}

object! {
    /// Mount extensions.
    pub struct MountExtensions {
        /// Id-mapped mounts.
        pub idmap: Option<Enabled>,
    }
}
