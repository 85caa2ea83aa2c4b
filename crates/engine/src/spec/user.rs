//! Users and groups, looked up in the container's own `/etc/passwd` and `/etc/group`.

use oci::{Error, Result};

/// Whom a process runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResolvedUser {
    /// User id.
    pub(crate) uid: u32,
    /// Group id.
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
}

/// The largest id that Docker takes.
const MAX_ID: u32 = i32::MAX as u32;

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn passwd(text: &str) -> impl Iterator<Item = Passwd<'_>> {
    text.lines().filter_map(|line| {
        let mut parts = line.trim().split(':');
        let name = parts.next().filter(|n| !n.is_empty() && !n.starts_with('#'))?;
        let (_, uid, gid) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Passwd { name, uid: uid.parse().ok()?, gid: gid.parse().ok()? })
    })
}

fn group(text: &str) -> impl Iterator<Item = Group<'_>> {
    text.lines().filter_map(|line| {
        let mut parts = line.trim().split(':');
        let name = parts.next().filter(|n| !n.is_empty() && !n.starts_with('#'))?;
        let (_, gid) = (parts.next()?, parts.next()?);
        Some(Group { name, gid: gid.parse().ok()?, members: parts.next().unwrap_or("") })
    })
}

/// Resolves `user[:group]`. Names must be in the files; numbers need not. Without a group the user's own applies, with
/// the groups that list the user. `extra`: more groups, by name or number.
pub(crate) fn resolve(spec: &str, extra: &[String], passwd_file: &str, group_file: &str) -> Result<ResolvedUser> {
    let (user, wanted_group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (spec, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = |text: &str| -> Result<Option<u32>> {
        match text.parse::<u32>() {
            Ok(n) if n <= MAX_ID => Ok(Some(n)),
            _ if text.bytes().all(|b| b.is_ascii_digit()) => {
                Err(Error::invalid(format!("uids and gids must be in range 0-{MAX_ID}: {text}")))
            }
            _ => Ok(None),
        }
    };
    let as_number = number(user)?;
    // A name wins over a number that looks the same.
    let entry = passwd(passwd_file)
        .find(|p| p.name == user)
        .or_else(|| passwd(passwd_file).find(|p| as_number.is_some_and(|n| p.uid == n)));
    let (uid, own_gid, name) = match (entry, as_number) {
        (Some(p), _) => (p.uid, p.gid, Some(p.name)),
        (None, Some(n)) => (n, 0, None),
        (None, None) => {
            return Err(Error::invalid(format!("unable to find user {user}: no matching entries in passwd file")));
        }
    };
    let find_group = |text: &str| -> Result<u32> {
        match (group(group_file).find(|g| g.name == text), number(text)?) {
            (Some(g), _) => Ok(g.gid),
            (None, Some(n)) => Ok(n),
            (None, None) => {
                Err(Error::invalid(format!("unable to find group {text}: no matching entries in group file")))
            }
        }
    };
    let (gid, mut groups) = match wanted_group {
        Some(text) => (find_group(text)?, Vec::new()),
        None => {
            let lists = |g: &Group<'_>| name.is_some_and(|n| g.members.split(',').any(|m| m.trim() == n));
            (own_gid, group(group_file).filter(lists).map(|g| g.gid).collect())
        }
    };
    for text in extra {
        groups.push(find_group(text)?);
    }
    let mut seen = std::collections::BTreeSet::new();
    groups.retain(|g| seen.insert(*g));
    Ok(ResolvedUser { uid, gid, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\n# note\nann:x:1000:100::/home/ann:/bin/sh\n55:x:7:8::/:\nbad\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:\nwheel:x:10:root,ann\naudio:x:29:ann\n";

    #[test]
    fn names_and_numbers() {
        let ok = |spec: &str| resolve(spec, &[], PASSWD, GROUP).unwrap();
        assert_eq!(ok(""), ResolvedUser { uid: 0, gid: 0, groups: vec![10] });
        assert_eq!(ok("ann"), ResolvedUser { uid: 1000, gid: 100, groups: vec![10, 29] });
        assert_eq!(ok("1000"), ok("ann"));
        assert_eq!(ok("ann:wheel"), ResolvedUser { uid: 1000, gid: 10, groups: vec![] });
        assert_eq!(ok("4000:77"), ResolvedUser { uid: 4000, gid: 77, groups: vec![] });
        assert_eq!(ok("55").uid, 7, "a name wins over a number");
    }

    #[test]
    fn refusals_name_the_culprit() {
        for (spec, word) in [("bob", "user bob"), ("ann:staff", "group staff"), ("4294967295", "4294967295")] {
            assert!(resolve(spec, &[], PASSWD, GROUP).unwrap_err().to_string().contains(word));
        }
    }

    #[test]
    fn without_files_numbers_still_work() {
        let user = resolve("5:6", &["9".into()], "", "").unwrap();
        assert_eq!(user, ResolvedUser { uid: 5, gid: 6, groups: vec![9] });
    }
}
