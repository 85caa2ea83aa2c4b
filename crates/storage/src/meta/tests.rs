use super::*;
use serde_json::json;

fn open() -> (tempfile::TempDir, Meta) {
    let dir = tempfile::tempdir().unwrap();
    let meta = Meta::open(&dir.path().join("meta.redb")).unwrap();
    (dir, meta)
}

#[test]
fn records_survive_reopening_and_namespaces_are_apart() {
    let (dir, meta) = open();
    meta.put("default", "container", "a", &json!({"n": 1})).unwrap();
    meta.put("k8s.io", "container", "a", &json!({"n": 2})).unwrap();
    meta.put("default", "containers", "b", &json!(3)).unwrap();
    drop(meta);
    let meta = Meta::open(&dir.path().join("meta.redb")).unwrap();
    assert_eq!(
        meta.list::<serde_json::Value>("default", "container").unwrap(),
        vec![("a".to_owned(), json!({"n": 1}))]
    );
    assert_eq!(meta.get::<serde_json::Value>("k8s.io", "container", "a").unwrap(), Some(json!({"n": 2})));
    assert_eq!(meta.get::<serde_json::Value>("other", "container", "a").unwrap(), None);
    assert_eq!(meta.namespaces().unwrap(), ["default", "k8s.io"]);
    assert_eq!(meta.list_all::<serde_json::Value>("container").unwrap().len(), 2);
}

#[test]
fn create_refuses_a_second_one_and_delete_says_whether() {
    let (_dir, meta) = open();
    meta.create("default", "volume", "data", &1).unwrap();
    let error = meta.create("default", "volume", "data", &2).unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    assert_eq!(meta.get::<i32>("default", "volume", "data").unwrap(), Some(1));
    assert!(meta.delete("default", "volume", "data").unwrap());
    assert!(!meta.delete("default", "volume", "data").unwrap());
}

#[test]
fn a_failed_transaction_changes_nothing() {
    let (_dir, meta) = open();
    meta.put("default", "x", "kept", &1).unwrap();
    let result: Result<()> = meta.transaction(|txn| {
        txn.put("default", "x", "new", &2)?;
        assert_eq!(txn.get::<i32>("default", "x", "new")?, Some(2));
        assert_eq!(txn.list::<i32>("default", "x")?.len(), 2);
        txn.delete("default", "x", "kept")?;
        Err(Error::conflict("no"))
    });
    assert_eq!(result.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(meta.list::<i32>("default", "x").unwrap(), vec![("kept".to_owned(), 1)]);
}

#[test]
fn update_reads_and_writes_in_one_step_from_many_threads() {
    let (dir, meta) = open();
    meta.put("default", "counter", "c", &0u64).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    meta.update("default", "counter", "c", |n: &mut u64| {
                        *n += 1;
                        Ok(())
                    })
                    .unwrap();
                }
            });
        }
    });
    drop(meta);
    let meta = Meta::open(&dir.path().join("meta.redb")).unwrap();
    assert_eq!(meta.get::<u64>("default", "counter", "c").unwrap(), Some(200));
    let missing = meta.update("default", "counter", "d", |_: &mut u64| Ok(())).unwrap_err();
    assert_eq!(missing.kind(), Kind::NotFound);
}

#[test]
fn a_newer_format_is_refused_by_number() {
    let (dir, meta) = open();
    let txn = meta.db.begin_write().unwrap();
    txn.open_table(ABOUT).unwrap().insert("format", 9).unwrap();
    txn.commit().unwrap();
    drop(meta);
    let error = Meta::open(&dir.path().join("meta.redb")).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("format is 9"), "{error}");
}

#[test]
fn the_stores_own_namespaces_and_nul_are_refused() {
    let (_dir, meta) = open();
    for (namespace, kind, id) in
        [(".own", "x", "y"), ("", "x", "y"), ("a", "b\0c", "y"), ("a", "b", ""), ("a", "b", "\0")]
    {
        assert_eq!(meta.put(namespace, kind, id, &1).unwrap_err().kind(), Kind::InvalidArgument, "{namespace:?}");
    }
    assert!(meta.get::<i32>(".own", "x", "y").is_err());
}
