use super::*;

#[test]
fn versions_are_numbers() {
    for (text, number) in [("v245.4-1.fc32", 245), ("245", 245), ("\"252.38-1~deb12u1\"", 252), ("", 0), ("x", 0)] {
        assert_eq!(version_number(text), number, "{text}");
    }
}
