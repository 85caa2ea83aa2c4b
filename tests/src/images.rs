//! Images made from Debian's packages, once per checkout, as OCI layouts under `target/test-images`.

use crate::proc::run;
use crate::{workspace, world};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds `name` with `script` if it isn't there yet, and gives the layout's path. Test processes
/// run side by side, so one builds under a lock while the others wait.
fn build(name: &str, script: &str) -> PathBuf {
    let base = workspace().join("target/test-images");
    std::fs::create_dir_all(&base).expect("a directory for images");
    let lock = std::fs::File::create(base.join(format!("{name}.lock"))).expect("a lock file");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("lock");
    let done = base.join(name);
    if !done.exists() {
        let work = base.join(format!("{name}.work"));
        let _ = std::fs::remove_dir_all(&work);
        std::fs::create_dir(&work).expect("a work directory");
        world::on_host_network(|| run(Command::new("bash").args(["-euc", script]).current_dir(&work), b"")).ok();
        std::fs::rename(work.join("oci"), &done).expect("publish the layout");
        let _ = std::fs::remove_dir_all(&work);
    }
    done
}

/// busybox with links for its applets and a user `alice` (1000:1000); tag `latest`.
pub fn busybox() -> PathBuf {
    build(
        "busybox",
        r#"
        umoci init --layout oci; umoci new --image oci:latest
        umoci unpack --image oci:latest bundle
        cd bundle/rootfs; mkdir -p bin etc tmp root var/www home/alice; chmod 1777 tmp
        cp /bin/busybox bin/busybox
        for applet in $(bin/busybox --list); do [ "$applet" = busybox ] || ln -s busybox "bin/$applet"; done
        printf 'root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n' > etc/passwd
        printf 'root:x:0:\nstaff:x:50:alice\nalice:x:1000:\n' > etc/group
        cd ../..
        umoci repack --image oci:latest bundle
        umoci config --image oci:latest --config.cmd /bin/sh --config.env PATH=/bin:/usr/bin:/sbin --config.label made=here
        "#,
    )
}

/// A minimal Debian in four layers: the base, a package, files with odd names, and removals; tag `12`.
pub fn debian() -> PathBuf {
    build(
        "debian",
        r#"
        # A mirror can be out of reach for a moment.
        for pause in 5 20 60 0; do
          mmdebstrap --quiet --variant=essential --include=ca-certificates --aptopt='Acquire::Retries "5"' \
            bookworm base.tar 2>mmdebstrap.log && break
          [ $pause != 0 ] || { cat mmdebstrap.log >&2; exit 1; }
          sleep $pause
        done
        umoci init --layout oci; umoci new --image oci:12
        umoci unpack --image oci:12 bundle
        tar -C bundle/rootfs --numeric-owner --exclude=./dev/* -xf base.tar
        umoci repack --refresh-bundle --image oci:12 bundle
        mkdir -p bundle/rootfs/opt/one/sub bundle/rootfs/opt/gone; echo 1 > bundle/rootfs/opt/one/a; echo g > bundle/rootfs/opt/gone/g
        ln bundle/rootfs/opt/one/a bundle/rootfs/opt/one/hard; ln -s ../one bundle/rootfs/opt/link
        printf x > "bundle/rootfs/opt/$(printf 'n%.0s' {1..200})"
        printf x > "bundle/rootfs/opt/$(printf 'latin-\351')"
        cp bundle/rootfs/bin/true bundle/rootfs/opt/suid; chmod 4755 bundle/rootfs/opt/suid
        umoci repack --refresh-bundle --image oci:12 bundle
        rm -r bundle/rootfs/opt/gone bundle/rootfs/opt/one; mkdir bundle/rootfs/opt/one; echo 2 > bundle/rootfs/opt/one/b
        umoci repack --refresh-bundle --image oci:12 bundle
        rm bundle/rootfs/opt/link; mkdir bundle/rootfs/opt/link; echo 3 > bundle/rootfs/opt/link/c
        umoci repack --image oci:12 bundle
        umoci config --image oci:12 --config.cmd /bin/bash --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        "#,
    )
}

/// The only tag of a layout made here.
pub fn tag_of(layout: &Path) -> &'static str {
    if layout.ends_with("debian") { "12" } else { "latest" }
}
