//! What is typed, and what is meant by it.

use super::*;

#[track_caller]
fn check(typed: &str, meant: &str) {
    let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
    assert_eq!(without_resume(words(typed)), words(meant));
}

#[test]
fn a_parameters_value_is_not_the_file_arg() {
    let file = |text: &str| {
        let words: Vec<OsString> = text.split(' ').map(OsString::from).collect();
        file_of(&words, &command()).map(|path| path.display().to_string())
    };
    assert_eq!(file("segue run --topic X f.yaml").as_deref(), Some("f.yaml"));
    assert_eq!(file("segue run --only t f.yml X").as_deref(), Some("f.yml"));
    assert_eq!(file("segue run nowhere X --topic Y").as_deref(), Some("nowhere"));
    assert_eq!(file("segue run --force"), None);
}

#[test]
fn a_run_with_resume_is_a_resume() {
    check("segue run --resume latest --json", "segue resume latest --json");
    check("segue run --restore=ep-1", "segue resume ep-1");
    check("segue run file.yaml -- --resume x", "segue run file.yaml -- --resume x");
    check("segue show --resume x", "segue show --resume x");
}
