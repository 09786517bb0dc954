//! The command line: what is refused and how, what every verb prints, what signals do.

mod disk;
mod live;
mod looking;
mod previews;
mod refusals;
mod retention;
mod store;

/// Two tasks in a row that end at once.
pub(crate) const SMALL: &str = r#"
name: small
params:
  who: {type: string, default: nobody, positional: true}
tasks:
  greet:
    run: |
      echo hello {{ params.who }}
      echo '{"length": 7}'
    outputs: {length: {json: /length}}
  keep:
    needs: [greet]
    run: echo kept; echo grumble >&2
outputs: {length: tasks.greet.outputs.length}
display: "It took {{ tasks.greet.attempts }} attempt."
"#;
