//! Prompts: what a program is asked to do, and what of earlier tasks it is told.
//!
//! Data only. It is put together when an attempt is prepared, from files of the run, so that no
//! output of a program ever goes through the scheduler.

use serde::{Deserialize, Serialize};

use crate::TaskIndex;

/// What a program is asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// The words themselves; no template. NUL bytes are left out when it is told.
    pub text: String,
    /// Where in `argv` it goes while it is at most [`Prompt::ARGUMENT_BYTES_MAX`]; `None` is
    /// always by stdin.
    pub argument: Option<PromptArgument>,
    /// What earlier tasks printed, put before it.
    pub context: Option<PromptContext>,
}

/// A prompt's place among the arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptArgument {
    /// How many words of `argv` stand before it.
    pub at: usize,
    /// Words that stand before it only when it is an argument, such as `-p`.
    pub flags: Vec<String>,
}

/// What the tasks before print, as part of a prompt: `header` + outputs + `footer` + the prompt.
/// Where there is no output nothing is put before the prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptContext {
    /// Stands before it.
    pub header: String,
    /// Stands between it and the prompt.
    pub footer: String,
    /// The stdouts of the tasks before this place in the plan, in the plan's order. All of them
    /// have ended when the prompt is put together.
    pub until: TaskIndex,
    /// So many neighbours make a group, at least 1; between groups nothing stands.
    pub group: usize,
    /// Stands between the outputs of one group.
    pub joint: String,
    /// Leave out what failed.
    pub successful_only: bool,
    /// Of more bytes than this the oldest are cut off.
    pub bytes_max: u64,
}

impl Prompt {
    /// A longer prompt goes by stdin: the kernel takes 128 KiB for one argument at most.
    pub const ARGUMENT_BYTES_MAX: usize = 100_000;
}

impl PromptContext {
    /// The largest context: with its prompt it has to fit into what a start may carry.
    pub const BYTES_MAX: u64 = 32 << 20;
}

#[cfg(test)]
mod tests {
    use crate::Stdin;

    #[test]
    fn a_kept_prompt_of_the_first_version_is_read() {
        let golden = concat!(
            r#"{"kind":"prompt","prompt":{"text":"do","argument":{"at":1,"flags":["-p"]},"#,
            r#""context":{"header":"h","footer":"f","until":2,"group":1,"joint":"j","#,
            r#""successful_only":true,"bytes_max":9}}}"#
        );
        let stdin: Stdin = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string(&stdin).unwrap(), golden);
    }
}
