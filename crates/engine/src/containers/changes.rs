//! What `diff` leaves out: the places that only exist, or only differ, because something is mounted there.

use crate::model::Change;

/// Where every container has something mounted.
const ALWAYS: [&str; 6] = ["/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// `changes` without mount points, and without the directories above them in which nothing else changed.
pub(super) fn without_mount_points(changes: Vec<Change>, targets: &[&str]) -> Vec<Change> {
    let is_point = |path: &str| ALWAYS.iter().chain(targets).any(|point| *point == path);
    let (points, mut kept): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| is_point(&change.path));
    for point in points {
        let mut above = point.path.as_str();
        while let Some((parent, _)) = above.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) {
            let inside = format!("{parent}/");
            if kept.iter().any(|change| change.path.starts_with(&inside)) {
                break;
            }
            kept.retain(|change| change.path != parent);
            above = parent;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ChangeKind;

    fn left(paths: &[&str], targets: &[&str]) -> Vec<String> {
        let change = |path: &&str| Change { path: (*path).into(), kind: ChangeKind::Modified };
        without_mount_points(paths.iter().map(change).collect(), targets).into_iter().map(|c| c.path).collect()
    }

    #[test]
    fn mount_points_and_their_empty_parents_are_left_out() {
        assert_eq!(left(&["/dev", "/etc", "/etc/hosts", "/new"], &[]), ["/new"]);
        assert_eq!(left(&["/etc", "/etc/hosts", "/etc/passwd"], &[]), ["/etc", "/etc/passwd"]);
        assert_eq!(left(&["/a", "/a/b", "/a/b/data", "/ab"], &["/a/b/data"]), ["/ab"]);
    }
}
