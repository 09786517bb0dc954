//! Environment, secrets, standard input, parameters.

use crate::lab::Lab;

const SECRET: &str = "s3cr3t-\"quoted\"-value";

#[test]
fn the_environment_is_layered() {
    let lab = Lab::with(
        r#"
name: env
env: {BASE: workflow, GONE: null, WHICH: workflow}
env_file: .env
tasks:
  show:
    env: {WHICH: task, FROM: "{{ env.FILED }}-{{ params.p }}"}
    run: |
      echo "$BASE|${GONE-unset}|$WHICH|$FILED|$FROM|$OUTER|${CLAUDECODE-unset}" > shown
      env | grep ^SEGUE_ | sort | cut -d= -f1 >> shown
params: {p: {type: integer, default: 3}}
"#,
    );
    lab.write(".env", "# a comment\nFILED='from file'\nWHICH=file\n");
    let mut command = lab.segue(&["run", "flow.segue.yaml"]);
    command.env("OUTER", "outer").env("GONE", "here").env("CLAUDECODE", "1");
    assert_eq!(lab.finish(command).code, 0);
    let shown = lab.read("shown");
    let (first, own) = shown.split_once('\n').expect("lines");
    assert_eq!(first, "workflow|unset|task|from file|from file-3|outer|unset");
    for name in ["SEGUE_ATTEMPT", "SEGUE_OUTPUT", "SEGUE_RESULT", "SEGUE_RUN", "SEGUE_TASK"] {
        assert!(own.lines().any(|line| line == name), "{own}");
    }
}

#[test]
fn a_run_with_an_env_file_can_be_resumed() {
    let lab = Lab::with(
        r#"
name: filed
env_file: settings.env
tasks:
  a: {run: '[ "$MODE" = right ]'}
"#,
    );
    lab.write("settings.env", "MODE=wrong\n");
    assert_eq!(lab.run(&["run", "flow.segue.yaml"]).code, 1);
    lab.write("settings.env", "MODE=right\n");
    let resumed = lab.run(&["resume", "latest"]);
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
}

#[test]
fn a_secret_goes_only_to_its_task_and_is_masked_everywhere() {
    let lab = Lab::with(
        r#"
name: secrets
secrets: [API_KEY]
tasks:
  has:
    secrets: [API_KEY]
    stdin: {text: "in {{ secrets.API_KEY }}"}
    env: {AUTH: "Bearer {{ secrets.API_KEY }}"}
    run: |
      cat; echo; echo "$AUTH"; echo "$API_KEY" >&2
      printf '%s' "$API_KEY" | sha256sum > sum
      printf '{"key": "%s"}\n' "$(printf %s "$API_KEY" | sed 's/"/\\"/g')"
      exit 9
    outputs: {key: {json: /key}}
    optional: true
  has_not:
    run: echo "${API_KEY-unset} ${AUTH-unset}" > other
outputs: {key: tasks.has.outputs.key | default('none')}
"#,
    );
    let mut command = lab.segue(&["run", "flow.segue.yaml", "--json=events"]);
    command.env("API_KEY", SECRET);
    let done = lab.finish(command);
    assert_eq!(done.code, 0, "{done:#?}");
    assert_eq!(lab.read("other"), "unset unset\n");
    let mut sum = lab.command("sh");
    sum.args(["-c", &format!("printf '%s' '{SECRET}' | sha256sum")]);
    assert_eq!(lab.read("sum"), lab.finish(sum).stdout, "the task itself had it whole");
    let logs = lab.expect(0, &["logs", "latest", "has"]).stdout;
    assert!(logs.contains("in ***") && logs.contains("Bearer ***"), "{logs}");
    let escaped = SECRET.replace('"', "\\\"");
    let twice = escaped.replace('\\', "\\\\");
    let mut grep = lab.command("grep");
    grep.args(["-rlF", "-e", SECRET, "-e", &escaped, "-e", &twice]).arg(lab.store());
    let found = lab.finish(grep);
    assert_eq!(found.stdout, "", "it is on disk");
    for text in [&done.stdout, &done.stderr] {
        assert!(!text.contains(SECRET) && !text.contains(&escaped), "{text}");
    }
}

#[test]
fn short_and_missing_secrets_are_named_before_anything_starts() {
    let lab = Lab::with(
        "name: s\nsecrets: [ONE, TWO]\ntasks: {t: {run: touch made, secrets: [ONE, TWO]}}\n",
    );
    let done = lab.expect(2, &["run", "flow.segue.yaml"]);
    assert!(done.stderr.contains("ONE, TWO"), "{done:#?}");
    let mut command = lab.segue(&["run", "flow.segue.yaml"]);
    command.env("ONE", "long enough").env("TWO", "short");
    let done = lab.finish(command);
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("TWO") && !done.stderr.contains("short\""), "{done:#?}");
    assert!(!lab.work().join("made").exists());
}

#[test]
fn standard_input_is_a_text_or_nothing() {
    let long = "x".repeat(300 << 10);
    let lab = Lab::with(&format!(
        "name: stdin\ntasks:\n  none: {{run: wc -c > none}}\n\
         \x20 text: {{stdin: {{text: \"{long}\"}}, \
         run: wc -c > text}}\n  pty: {{stdin: pty, run: \"test -t 0 && echo yes > pty\"}}\n"
    ));
    lab.expect(0, &["run", "flow.segue.yaml"]);
    assert_eq!(lab.read("none").trim(), "0");
    assert_eq!(lab.read("text").trim(), long.len().to_string());
    assert_eq!(lab.read("pty"), "yes\n");
}

#[test]
fn parameters_are_typed_and_quoted() {
    let lab = Lab::with(
        r#"
name: params
params:
  n: {type: integer, default: 1, min: 1, max: 9, env: THE_N}
  loud: {type: boolean, default: false}
  tags: {type: list, default: []}
  name: {type: string, default: it's, aliases: [who]}
tasks:
  show:
    run: echo {{ params.n }} {{ params.loud }} {{ params.tags | join('+') }} {{ params.name }} > shown
"#,
    );
    let shown = |arguments: &[&str], n: Option<&str>| {
        let mut command = lab.segue(&[&["run", "flow.segue.yaml"], arguments].concat());
        command.envs(n.map(|n| ("THE_N", n)));
        (lab.finish(command).code, lab.read("shown").trim().to_owned())
    };
    assert_eq!(shown(&[], None), (0, "1 false  it's".to_owned()));
    assert_eq!(shown(&[], Some("4")).1, "4 false  it's");
    let flags = ["--n", "5", "--loud", "--tags", "a", "--tags", "b c", "--who", "$HOME `x`"];
    assert_eq!(shown(&flags, Some("4")).1, "5 true a+b c $HOME `x`");
    assert_eq!(shown(&["--n", "10"], None).0, 2);
    assert_eq!(shown(&[], Some("many")).0, 2);
}
