use super::*;
use crate::tar::write;
use proptest::prelude::*;

/// Keeps what came: each entry with its data, holes filled with zeros.
#[derive(Default)]
struct Kept {
    entries: Vec<(Entry, Vec<u8>)>,
    ended: usize,
}

impl Visitor for Kept {
    fn entry(&mut self, entry: &Entry) -> Result<()> {
        let room = if entry.sparse.is_some() { entry.size as usize } else { 0 };
        self.entries.push((entry.clone(), vec![0; room]));
        Ok(())
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let data = &mut self.entries.last_mut().unwrap().1;
        let end = offset as usize + bytes.len();
        data.resize(data.len().max(end), 0);
        data[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.ended += 1;
        Ok(())
    }
}

fn parse(bytes: &[u8], piece: usize) -> Result<Vec<(Entry, Vec<u8>)>> {
    let mut kept = Kept::default();
    let mut parser = Parser::new(1000);
    for part in bytes.chunks(piece.max(1)) {
        parser.push(part, &mut kept)?;
    }
    parser.finish()?;
    assert_eq!(kept.ended, kept.entries.len());
    Ok(kept.entries)
}

fn file(path: &[u8], size: u64) -> Entry {
    Entry {
        kind: Kind::File,
        path: path.to_vec(),
        link: Vec::new(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        size,
        mtime: (1_700_000_000, 0),
        atime: None,
        major: 0,
        minor: 0,
        xattrs: Vec::new(),
        sparse: None,
    }
}

fn stream(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (entry, data) in entries {
        out.extend_from_slice(&write::header(entry));
        out.extend_from_slice(data);
        out.resize(out.len() + write::padding(data.len() as u64), 0);
    }
    out.extend_from_slice(&write::END);
    out
}

fn arbitrary_entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let name = prop_oneof![
        "[a-z]{1,20}(/[a-z]{1,60}){0,6}".prop_map(String::into_bytes),
        proptest::collection::vec(1u8..=255, 1..300),
    ]
    .prop_map(|mut name: Vec<u8>| {
        // A slash at the end makes a directory of any file.
        name.push(b'x');
        name
    });
    let xattrs = proptest::collection::vec(("user\\.[a-z]{1,9}", proptest::collection::vec(any::<u8>(), 0..50)), 0..3);
    let kind = prop_oneof![
        Just(Kind::File),
        Just(Kind::Directory),
        Just(Kind::Symlink),
        Just(Kind::HardLink),
        Just(Kind::Fifo),
        Just(Kind::Char)
    ];
    (
        name,
        kind,
        0u32..0o10000,
        any::<u32>(),
        any::<u32>(),
        (any::<i32>(), 0u32..1_000_000_000),
        proptest::collection::vec(any::<u8>(), 0..2000),
        xattrs,
        proptest::collection::vec(1u8..=255, 1..200),
    )
        .prop_map(|(path, kind, mode, uid, gid, mtime, data, xattrs, link)| {
            let is_link = matches!(kind, Kind::Symlink | Kind::HardLink);
            let data = if kind == Kind::File { data } else { Vec::new() };
            let mut seen = std::collections::BTreeMap::new();
            for (name, value) in xattrs {
                seen.insert(name.into_bytes(), value);
            }
            let entry = Entry {
                kind,
                mode,
                uid: uid.into(),
                gid: gid.into(),
                mtime: (mtime.0.into(), mtime.1),
                size: data.len() as u64,
                link: if is_link { link } else { Vec::new() },
                major: if kind == Kind::Char { 5 } else { 0 },
                minor: if kind == Kind::Char { 1 } else { 0 },
                xattrs: seen.into_iter().collect(),
                ..file(&path, 0)
            };
            (entry, data)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_written_is_read_back(entries in proptest::collection::vec(arbitrary_entry(), 0..6), piece in 1usize..3000) {
        let bytes = stream(&entries);
        prop_assert_eq!(parse(&bytes, piece).unwrap(), entries);
    }

    #[test]
    fn damage_never_panics_or_runs_away(
        entries in proptest::collection::vec(arbitrary_entry(), 1..4),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        fix_sum in any::<bool>(),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = stream(&entries);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
            if fix_sum {
                let block = at / BLOCK * BLOCK;
                let field = block + 148..block + 156;
                bytes[field.clone()].fill(b' ');
                let sum: u64 = bytes[block..block + BLOCK].iter().map(|b| u64::from(*b)).sum();
                bytes[field].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        let _ = parse(&bytes[..cut.index(bytes.len())], 700);
        let _ = parse(&bytes, 1 << 20);
    }
}

#[test]
fn an_end_within_an_entry_is_an_error_that_names_it() {
    let bytes = stream(&[(file(b"etc/passwd", 1000), vec![b'x'; 1000])]);
    let error = parse(&bytes[..700], 64).unwrap_err();
    assert!(error.to_string().contains("etc/passwd"), "{error}");
    assert_eq!(error.kind(), oci::Kind::Corrupt);
    assert!(parse(&bytes[..100], 64).is_err());
    // Without an end mark it is complete all the same.
    assert_eq!(parse(&bytes[..512 + 1024], 64).unwrap().len(), 1);
}

#[test]
fn limits_are_kept() {
    let many: Vec<_> = (0..1001).map(|n| (file(format!("{n}").as_bytes(), 0), Vec::new())).collect();
    assert_eq!(parse(&stream(&many), 4096).unwrap_err().kind(), oci::Kind::ResourceExhausted);
    let mut long = file(&[b'a'; 4096], 0);
    assert!(parse(&stream(&[(long.clone(), Vec::new())]), 4096).unwrap_err().to_string().contains("4096 bytes"));
    long.path.pop();
    assert_eq!(parse(&stream(&[(long, Vec::new())]), 4096).unwrap().len(), 1);
    let mut block: [u8; BLOCK] = write::header(&file(b"x", 1 << 30)).try_into().unwrap();
    block[156] = b'x';
    let mut sealed = block;
    sealed[148..156].fill(b' ');
    let sum: u64 = sealed.iter().map(|b| u64::from(*b)).sum();
    sealed[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert!(parse(&sealed, 512).unwrap_err().to_string().contains("extended header"));
}

#[test]
fn unknown_types_are_refused_by_name() {
    let mut block = write::header(&file(b"odd", 0));
    block[156] = b'M';
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let error = parse(&block, 512).unwrap_err();
    assert_eq!(error.kind(), oci::Kind::Unsupported);
    assert!(error.to_string().contains("odd") && error.to_string().contains("'M'"), "{error}");
}
