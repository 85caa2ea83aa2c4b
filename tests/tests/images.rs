//! The images that other tests use can be made here.

#[test]
fn the_test_images_are_valid_layouts() {
    for layout in [sampan_tests::images::busybox(), sampan_tests::images::debian()] {
        let reference = format!("oci:{}:{}", layout.display(), sampan_tests::images::tag_of(&layout));
        let mut skopeo = std::process::Command::new("skopeo");
        let config = sampan_tests::run(skopeo.args(["inspect", "--config", &reference]), b"").ok();
        let config: serde_json::Value = serde_json::from_str(&config).expect("a configuration");
        assert_eq!(config["os"], "linux");
        assert!(!config["rootfs"]["diff_ids"].as_array().expect("layers").is_empty());
    }
}
