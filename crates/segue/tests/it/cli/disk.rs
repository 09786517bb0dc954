//! A disk that is full: the run stops gracefully, and what was done is kept.

use std::os::unix::fs::MetadataExt;

use crate::lab::{Lab, SEGUE, count};

/// `first` succeeds; `fill` then takes the whole disk, so that nothing can be recorded.
const FILLS: &str = r#"
name: fills
limits: {min_free_disk: 1KiB}
defaults: {kill_grace: 1s, retry: {attempts: 1}}
tasks:
  first: {run: echo first >> "$OUT"}
  fill:
    needs: [first]
    run: |
      if [ ! -e "$OUT.full" ]; then
        touch "$OUT.full"
        dd if=/dev/zero of="$DISK/filler" bs=4096 2>/dev/null || true
      fi
      echo fill >> "$OUT"
  last: {needs: [fill], run: echo last >> "$OUT"}
"#;

#[test]
fn heavy_a_full_disk_loses_nothing_that_was_recorded() {
    let lab = Lab::with(FILLS);
    let disk = lab.root().join("disk");
    std::fs::create_dir(&disk).expect("a folder");
    // A mount of its own needs a namespace of its own, as root or as a user.
    let script = format!(
        "set -e; mount -t tmpfs -o size=3m tmpfs \"$DISK\"; export SEGUE_HOME=\"$DISK/store\"; \
         code=0; {SEGUE} run flow.segue.yaml || code=$?; echo first ended with $code; \
         rm \"$DISK/filler\"; cat \"$DISK\"/store/runs/*/events.jsonl; \
         code=0; {SEGUE} resume latest || code=$?; echo resume ended with $code; \
         {SEGUE} show latest"
    );
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let mut command = lab.command("unshare");
    command.args(if is_root { &["--mount"][..] } else { &["--mount", "--map-root-user"] });
    command.args(["sh", "-c", &script]);
    command.env("DISK", &disk).env("OUT", lab.work().join("out"));
    let done = lab.finish(command);
    assert_eq!(done.code, 0, "{done:#?}");
    assert!(!done.stdout.contains("first ended with 0"), "{done:#?}");
    assert!(done.stdout.contains("resume ended with 0"), "{done:#?}");
    assert!(!done.stderr.contains("panicked"), "{done:#?}");
    let out = lab.read("out");
    assert_eq!(out.matches("first\n").count(), 1, "{out}");
    assert_eq!(out.matches("last\n").count(), 1, "{out}");
}

#[test]
fn a_limit_on_the_size_of_files_is_as_a_full_disk() {
    // The plan takes 41 KB and the journal 48.
    let tasks: String = (0..60).map(|n| format!("  t{n}: {{argv: [\"true\"]}}\n")).collect();
    let lab = Lab::with(&format!("name: many\ntasks:\n{tasks}"));
    let mut command = lab.command("bash");
    command.args(["-c", &format!("ulimit -f 44; exec {SEGUE} run flow.segue.yaml")]);
    let done = lab.finish(command);
    assert_eq!(done.code, 70, "{done:#?}");
    assert!(done.stderr.contains("File too large"), "{done:#?}");
    let before = count(&lab.events(), "attempt_dispatched", "t0");
    lab.expect(0, &["resume", "latest"]);
    assert_eq!(lab.state()["metrics"]["succeeded"], 60);
    assert_eq!(count(&lab.events(), "attempt_dispatched", "t0"), before, "it is not run twice");
}
