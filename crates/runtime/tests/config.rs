//! `config.json` as a document: what is wrong is refused before anything is made, by its path.

mod common;

use common::{Bench, bench, text};

/// The configuration with one value replaced, written as it is.
fn with(b: &Bench, pointer: &str, value: serde_json::Value) {
    let mut config = serde_json::to_value(&b.spec).expect("JSON");
    let (parent, name) = pointer.rsplit_once('/').expect("pointer");
    let parent = config.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
    match parent {
        serde_json::Value::Array(list) => list[name.parse::<usize>().expect("index")] = value,
        object => object[name] = value,
    }
    std::fs::write(b.bundle().join("config.json"), config.to_string()).expect("config");
}

fn create(b: &Bench) -> std::process::Output {
    let bundle = b.bundle();
    b.call(&["create", "--bundle", bundle.to_str().expect("path"), &b.id])
}

#[test]
fn values_of_a_wrong_type_are_refused_by_their_path() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    let json = |text: &str| serde_json::from_str(text).expect("JSON");
    for (pointer, value, words) in [
        ("/process/user/uid", json("\"x\""), "process.user.uid: invalid type: string \"x\", expected u32"),
        ("/process/user/gid", json("-1"), "process.user.gid: invalid value: integer `-1`, expected u32"),
        ("/process/args", json("\"sh\""), "process.args: invalid type: string \"sh\", expected a sequence"),
        ("/process/args/2", json("{}"), "process.args[2]: invalid type: map, expected a string"),
        ("/mounts/1/options", json("[1]"), "mounts[1].options[0]: invalid type: integer `1`, expected a string"),
        ("/linux/namespaces/0/type", json("[]"), "linux.namespaces[0].type: invalid type: sequence, expected a string"),
        ("/root/readonly", json("1"), "root.readonly: invalid type: integer `1`, expected a boolean"),
        ("/annotations", json("{\"a.b\":7}"), "annotations[\"a.b\"]: invalid type: integer `7`, expected a string"),
    ] {
        with(&b, pointer, value);
        let output = create(&b);
        let error = String::from_utf8_lossy(&output.stderr).replace("\\\"", "\"");
        assert!(!output.status.success() && error.contains(&format!("config.json: {words}")), "{error}");
        b.assert_nothing_left();
    }
    for broken in ["", "{", "{\"process\":", "\0"] {
        std::fs::write(b.bundle().join("config.json"), broken).expect("config");
        let error = String::from_utf8_lossy(&create(&b).stderr).into_owned();
        assert!(error.contains("config.json: ") && error.contains("line 1"), "{error}");
        b.assert_nothing_left();
    }
    std::fs::remove_file(b.bundle().join("config.json")).expect("remove");
    let error = String::from_utf8_lossy(&create(&b).stderr).into_owned();
    assert!(error.contains("config.json not found"), "{error}");
    b.assert_nothing_left();
}

#[test]
fn unknown_fields_are_ignored_and_nulls_are_nothing() {
    let Some(mut b) = bench() else { return };
    b.script("echo runs");
    let mut config = serde_json::to_value(&b.spec).expect("JSON");
    config["future"] = serde_json::json!({"a": [1, {"b": null}]});
    config["process"]["future"] = "x".into();
    config["linux"]["namespaces"][0]["future"] = 1.into();
    config["hooks"] = serde_json::Value::Null;
    config["process"]["rlimits"] = serde_json::Value::Null;
    config["linux"]["seccomp"] = serde_json::Value::Null;
    std::fs::write(b.bundle().join("config.json"), config.to_string()).expect("config");
    let bundle = b.bundle();
    let output = b.call(&["run", "--bundle", bundle.to_str().expect("path"), &b.id]);
    assert_eq!(text(&output), "runs\n", "{output:?}");
}

#[test]
fn configurations_for_other_platforms_are_refused() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    for platform in ["solaris", "windows", "vm", "zos", "freebsd"] {
        let mut config = serde_json::to_value(&b.spec).expect("JSON");
        config[platform] = serde_json::json!({"x": [1]});
        // Beside a section for Linux it is somebody else's.
        std::fs::write(b.bundle().join("config.json"), config.to_string()).expect("config");
        let bundle = b.bundle();
        let args = ["run", "--bundle", bundle.to_str().expect("path"), &b.id];
        assert!(b.call(&args).status.success(), "{platform}");
        config.as_object_mut().expect("object").remove("linux");
        std::fs::write(b.bundle().join("config.json"), config.to_string()).expect("config");
        let error = String::from_utf8_lossy(&create(&b).stderr).into_owned();
        assert!(error.contains(&format!("{platform}: this is a configuration for another platform")), "{error}");
        b.assert_nothing_left();
    }
}

#[test]
fn annotations_are_kept() {
    let Some(mut b) = bench() else { return };
    b.spec.annotations = [("org.example.one".to_owned(), "1".to_owned()), ("empty".to_owned(), String::new())].into();
    b.started("exec sleep 100");
    assert_eq!(b.state()["annotations"], serde_json::json!({"org.example.one": "1", "empty": ""}));
}

#[test]
fn versions_of_the_specification() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    for fine in ["1.0.0", "1.0.2-dev", "1.3.0", "1.99.0", ""] {
        b.spec.oci_version = fine.into();
        assert!(b.run().status.success(), "{fine}");
    }
    for wrong in ["2.0.0", "0.9.0", "x"] {
        b.spec.oci_version = wrong.into();
        let error = b.failure();
        assert!(error.contains(&format!("ociVersion: \"{wrong}\" is not supported; 1.0.0 to 1.x are")), "{error}");
    }
    b.spec.oci_version = "1.2.0".into();
    b.started("exec sleep 100");
    assert_eq!(b.state()["ociVersion"], "1.2.0");
}
