//! Inputs to start from; `fuzz/targets/seeds.rs` writes them into a corpus.

use serde_json::Value;

/// Words that random changes would not find.
pub(crate) const WORDS: [&str; 24] = [
    "\"SCMP_ACT_NOTIFY\"",
    "\"SCMP_ACT_TRACE\"",
    "\"SCMP_CMP_MASKED_EQ\"",
    "\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"",
    "18446744073709551615",
    "-9223372036854775808",
    "4294967296",
    "-1",
    "1e400",
    "null",
    "[]",
    "{}",
    "\"\"",
    "\"/\"",
    "\"..\"",
    "\"/../../..\"",
    "\"\\u0000\"",
    "\"idmap\"",
    "\"rbind\"",
    "\"tmpcopyup\"",
    "\"rshared\"",
    "\"time\"",
    "\"system.slice:a:b\"",
    ",\"rootfsPropagation\":\"unbindable\"",
];

fn whole() -> Value {
    serde_json::from_str(include_str!("config.json")).expect("JSON")
}

/// Removes one thing at a time.
fn without_each(value: &Value, at: &mut Vec<String>, root: &Value, out: &mut Vec<Value>) {
    let keys: Vec<String> = match value {
        Value::Object(map) => map.keys().cloned().collect(),
        _ => return,
    };
    for key in keys {
        let mut copy = root.clone();
        let parent = at.iter().fold(&mut copy, |v, k| &mut v[k.as_str()]);
        parent.as_object_mut().expect("an object").remove(&key);
        out.push(copy);
        at.push(key.clone());
        without_each(&value[key.as_str()], at, root, out);
        at.pop();
    }
}

/// A configuration with everything in it; then without what may be refused as a whole; each also without one thing.
pub(crate) fn config() -> Vec<Vec<u8>> {
    let whole = whole();
    let mut plain = whole.clone();
    let linux = plain["linux"].as_object_mut().expect("linux");
    for name in ["intelRdt", "memoryPolicy", "netDevices"] {
        linux.remove(name);
    }
    plain["mounts"].as_array_mut().expect("mounts").remove(3);
    plain["process"].as_object_mut().expect("process").remove("execCPUAffinity");
    let mut all = vec![whole, plain.clone()];
    without_each(&plain, &mut Vec::new(), &plain, &mut all);
    all.iter().map(|v| serde_json::to_vec(v).expect("JSON")).collect()
}

/// The seccomp target makes its policy of bytes; these spread over what each of them chooses.
pub(crate) fn seccomp() -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    for step in [1u8, 7, 31, 41, 97, 131] {
        for length in [8, 40, 200, 700] {
            all.push((0..length).map(|i: u32| (i as u8).wrapping_mul(step).wrapping_add((i >> 5) as u8)).collect());
        }
    }
    all
}
