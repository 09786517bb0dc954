//! Small mappings that several keys share: retry, gates, outputs, agents, channels.

use super::{FileUse, Key, Kind, MapKey, Object, Place, key};

pub(super) const TEXT: Kind = Kind::Template(Place::Text);
pub(super) const DURATION: Kind = Kind::Late(&Kind::Duration);
pub(super) const MONEY: Kind = Kind::Late(&Kind::Money);
pub(super) const COUNT: Kind = Kind::Late(&Kind::Count);
pub(super) const NUMBER: Kind = Kind::Late(&Kind::Number);

/// The words of the failure classes, in the order of the glossary.
pub(super) const CLASSES: &[&str] = &[
    "budget",
    "auth",
    "rate_limit",
    "overloaded",
    "network",
    "timeout",
    "stall",
    "memory",
    "quality",
    "permission",
    "precheck",
    "output",
    "invalid_request",
    "spawn",
    "lost",
    "cancelled",
    "conflict",
    "no_progress",
    "execution",
    "unknown",
];

const ATTEMPTS: Kind = Kind::Late(&Kind::Integer(1, 1000));

const RETRY_TIMES: &[Key] = &[
    key("attempts", ATTEMPTS, "Tries in all, at least 1."),
    key("delay", DURATION, "Before the second try; 5s unless given."),
    key("backoff", Kind::Word(&["fixed", "linear", "exponential"]), "How the delay grows."),
    key("max_delay", DURATION, "What the delay grows to; 60s unless given."),
    key("jitter", Kind::Bool, "Shorten each delay by up to half."),
];

const RETRY_CLASS: Object =
    Object { what: "a retry of one class", keys: &[RETRY_TIMES], one_of: &[] };

const RETRY: Object = Object {
    what: "a retry",
    keys: &[
        RETRY_TIMES,
        &[
            key("on", Kind::List(&Kind::Word(CLASSES)), "Failure classes that are retried."),
            key(
                "by",
                Kind::Map(&Kind::Object(&RETRY_CLASS), MapKey::Name),
                "Other delays for a failure class.",
            )
            .later(),
            key("then", Kind::Word(&["fail", "ask"]), "What happens after the last try.")
                .later_words(&["ask"]),
            key("feedback", Kind::Bool, "Tell the next try why the one before failed.").later(),
        ],
    ],
    one_of: &[],
};

pub(super) const RETRY_KIND: Kind = Kind::OneOf(&[Kind::Word(&["never"]), Kind::Object(&RETRY)]);

const OUTPUT: Object = Object {
    what: "an output",
    keys: &[&[
        key("file", Kind::Path(Place::Text), "A file that must be there and be new."),
        key("json", Kind::Pointer, "A JSON pointer into the task's result."),
        key("regex", Kind::OneOrMany(&Kind::Regex), "The first pattern that matches; group 1."),
        key("from", Kind::Word(&["stdout", "stderr"]), "Which stream `regex` reads."),
    ]],
    one_of: &["file", "json", "regex"],
};

pub(super) const OUTPUTS: Kind = Kind::Map(&Kind::Object(&OUTPUT), MapKey::Name);

const FAILURES: Object = Object {
    what: "a list of failures",
    keys: &[&[
        key("junit", Kind::Path(Place::Text), "A JUnit XML file."),
        key("regex", Kind::Regex, "Lines that match name a failure; group 1."),
    ]],
    one_of: &["junit", "regex"],
};

const VERIFY: Object = Object {
    what: "a verify gate",
    keys: &[&[
        key("run", Kind::Shell(Place::Gate), "A script that must end with 0.").required(),
        key("failures", Kind::Object(&FAILURES), "How its failures are told."),
        key("timeout", DURATION, "How long it may take; 10m unless given."),
    ]],
    one_of: &[],
};

const JUDGE: Object = Object {
    what: "a judge",
    keys: &[&[
        key("agent", Kind::Name, "The agent that judges.").required(),
        key("model", TEXT, "Its model."),
        key("rubric", Kind::File(FileUse::Other), "A file that says what is good."),
    ]],
    one_of: &[],
};

const GATE: Object = Object {
    what: "a gate",
    keys: &[&[
        key("score", Kind::Expression(Place::Gate), "A number that must be at least `min`."),
        key("verify", Kind::Object(&VERIFY), "A script that must end with 0."),
        key(
            "schema",
            Kind::OneOf(&[Kind::File(FileUse::Schema), Kind::Schema]),
            "A JSON Schema that the result must fit; a file or written out.",
        ),
        key("files", Kind::OneOrMany(&Kind::Glob(Place::Gate)), "Each must match a file."),
        key("judge", Kind::Object(&JUDGE), "An agent that scores the result.").later(),
        key("min", NUMBER, "The least score that passes."),
        key("fresh", Kind::Bool, "The files must have changed since the task's first attempt."),
        key("feedback", Kind::Bool, "A failure is followed by a feedback round, at once."),
        key("rounds", Kind::Late(&Kind::Integer(1, 100)), "How many, beyond `attempts`."),
    ]],
    one_of: &["score", "verify", "schema", "files", "judge"],
};

pub(super) const GATES: Kind = Kind::List(&Kind::Object(&GATE));

const RESULT_FILE: Object = Object {
    what: "a result",
    keys: &[&[key("file", Kind::Path(Place::Text), "A file with the result.").required()]],
    one_of: &[],
};

pub(super) const RESULT: Kind =
    Kind::OneOf(&[Kind::Word(&["auto", "json", "text"]), Kind::Object(&RESULT_FILE)]);

const GROUP: Object = Object {
    what: "a concurrency group",
    keys: &[&[
        key("key", Kind::Expression(Place::Control), "Gives the group's key.").required(),
        key("max", Kind::Late(&Kind::Integer(1, 100_000)), "How many may run at once."),
        key("on_busy", Kind::Word(&["queue", "reject", "cancel"]), "What a full group does.")
            .later_words(&["cancel"]),
    ]],
    one_of: &[],
};

pub(super) const GROUP_KIND: Kind = Kind::Object(&GROUP);

const ENV_VALUE: Kind = Kind::Nullable(&Kind::Template(Place::Secret));
pub(super) const ENV: Kind = Kind::Map(&ENV_VALUE, MapKey::Env);
pub(super) const ENV_FILE: Kind = Kind::OneOrMany(&Kind::File(FileUse::Env));

const STDIN_TEXT: Object = Object {
    what: "a standard input",
    keys: &[&[key("text", Kind::Template(Place::Secret), "The text it reads.").required()]],
    one_of: &[],
};

pub(super) const STDIN: Kind =
    Kind::OneOf(&[Kind::Word(&["none", "prompt", "pty"]), Kind::Object(&STDIN_TEXT)]);

const PERMISSIONS: Object = Object {
    what: "permissions",
    keys: &[&[
        key("mode", Kind::Word(&["plan", "ask", "accept_edits", "bypass"]), "What is allowed."),
        key("allow", Kind::List(&Kind::Text), "Tools that are allowed."),
        key("deny", Kind::List(&Kind::Text), "Tools that are denied."),
        key("on_prompt", Kind::Word(&["deny", "escalate", "answer"]), "What a question gets."),
    ]],
    one_of: &[],
};

pub(super) const PERMISSIONS_KIND: Kind = Kind::Object(&PERMISSIONS);

const SESSION: Object = Object {
    what: "a session",
    keys: &[&[
        key("continue", Kind::Name, "The task whose session goes on."),
        key("key", Kind::Expression(Place::Control), "One session per key, across runs."),
        key("turns", Kind::Integer(1, 10_000), "How many turns are kept."),
    ]],
    one_of: &["continue", "key"],
};

pub(super) const SESSION_KIND: Kind = Kind::OneOf(&[Kind::Word(&["new"]), Kind::Object(&SESSION)]);

const FALLBACK: Object = Object {
    what: "an alternative",
    keys: &[&[
        key("agent", Kind::Name, "Another agent."),
        key("model", TEXT, "Another model."),
        key("retry", RETRY_KIND, "Its own tries."),
        key("timeout", DURATION, "Its own time."),
        key("budget", MONEY, "Its own money."),
    ]],
    one_of: &[],
};

pub(super) const FALLBACKS: Kind = Kind::List(&Kind::Object(&FALLBACK));

const MONITOR: Object = Object {
    what: "a monitor",
    keys: &[&[
        key("every", DURATION, "The time between two samples."),
        key("files", Kind::OneOrMany(&Kind::Glob(Place::Text)), "Files that are counted."),
    ]],
    one_of: &[],
};

pub(super) const MONITOR_KIND: Kind = Kind::Object(&MONITOR);

const CLASSIFY: Object = Object {
    what: "a classification",
    keys: &[&[
        key("stderr", Kind::Regex, "Matches the last lines of stderr."),
        key("stdout", Kind::Regex, "Matches the last lines of stdout."),
        key("exit", Kind::OneOrMany(&Kind::Integer(0, 255)), "Exit codes."),
        key("class", Kind::Word(CLASSES), "What such a failure is.").required(),
    ]],
    one_of: &[],
};

pub(super) const CLASSIFY_KIND: Kind = Kind::List(&Kind::Object(&CLASSIFY));

const PRECHECK: Object = Object {
    what: "a precheck",
    keys: &[&[
        key("http", Kind::Template(Place::Check), "An address that must answer a GET with 2xx."),
        key("run", Kind::Shell(Place::Check), "A script that must end with 0."),
        key("file", Kind::Path(Place::Check), "A file that must be there."),
        key("wait", DURATION, "How long to look for it; 60s unless given."),
        key("every", DURATION, "The time between two looks; 2s unless given, 100ms at least."),
        key("hint", Kind::Text, "What a person can do about it; failures end with it."),
    ]],
    one_of: &["http", "run", "file"],
};

pub(super) const PRECHECK_KIND: Kind = Kind::Object(&PRECHECK);

const ITEM_COUNT: Kind = Kind::Late(&Kind::Integer(1, 100_000));

const FOR_EACH: Object = Object {
    what: "a for_each",
    keys: &[&[
        key("items", Kind::Expression(Place::Control), "Gives the list of items."),
        key("list", Kind::List(&Kind::Any), "The items."),
        key("glob", Kind::Glob(Place::Text), "The files that match are the items, sorted."),
        key("matrix", Kind::Map(&Kind::List(&Kind::Any), MapKey::Name), "All combinations."),
        key("exclude", Kind::List(&Kind::Any), "Items that are left out; globs for a glob."),
        key("as", Kind::Name, "What templates call an item besides `item`."),
        key("key", Kind::Expression(Place::Control), "Gives an item's key."),
        key("max_parallel", ITEM_COUNT, "How many items are under way at once."),
        key("batch", ITEM_COUNT, "How many items end before the next ones begin."),
        key("on_item_failure", Kind::Word(&["continue", "stop"]), "What a failed item does."),
    ]],
    one_of: &["items", "list", "glob", "matrix"],
};

pub(super) const FOR_EACH_KIND: Kind = Kind::Object(&FOR_EACH);

const APPROVE: Object = Object {
    what: "an approval",
    keys: &[&[
        key("message", Kind::Template(Place::Control), "What the person is asked.").required(),
        key("timeout", DURATION, "How long to wait; as long as the run may take unless given."),
        key("default", Kind::Word(&["approve", "reject"]), "The answer after `timeout`."),
    ]],
    one_of: &[],
};

pub(super) const APPROVE_KIND: Kind = Kind::Object(&APPROVE);

const CHANNEL_TEXT: Kind = Kind::Template(Place::Channel);

const SLACK: Object = Object {
    what: "a Slack channel",
    keys: &[&[
        key("webhook", CHANNEL_TEXT, "Where messages are posted.").required(),
        key("message", CHANNEL_TEXT, "The message."),
    ]],
    one_of: &[],
};
const WEBHOOK: Object = Object {
    what: "a webhook channel",
    keys: &[&[
        key("url", CHANNEL_TEXT, "Where events are posted.").required(),
        key("hmac", CHANNEL_TEXT, "The secret that signs them."),
    ]],
    one_of: &[],
};
const EMAIL: Object = Object {
    what: "an email channel",
    keys: &[&[
        key("smtp", CHANNEL_TEXT, "The server, as a URL."),
        key("webhook", CHANNEL_TEXT, "A service that sends mail."),
        key("to", Kind::OneOrMany(&CHANNEL_TEXT), "Who gets it."),
        key("from", CHANNEL_TEXT, "Who sends it."),
    ]],
    one_of: &["smtp", "webhook"],
};
const ISSUE: Object = Object {
    what: "a GitHub channel",
    keys: &[&[
        key("repo", CHANNEL_TEXT, "OWNER/NAME.").required(),
        key("title", CHANNEL_TEXT, "The issue's title."),
        key("labels", Kind::List(&CHANNEL_TEXT), "Its labels."),
        key("api_url", CHANNEL_TEXT, "The server's address."),
        key("token", CHANNEL_TEXT, "The token, a secret."),
    ]],
    one_of: &[],
};

const CHANNEL: Object = Object {
    what: "a channel",
    keys: &[&[
        key("github_issue", Kind::Object(&ISSUE), "Opens an issue."),
        key("slack", Kind::Object(&SLACK), "Posts to Slack."),
        key("email", Kind::Object(&EMAIL), "Sends mail."),
        key("webhook", Kind::Object(&WEBHOOK), "Posts the event as JSON."),
        key("command", Kind::OneOrMany(&CHANNEL_TEXT), "Runs a command."),
    ]],
    one_of: &["github_issue", "slack", "email", "webhook", "command"],
};

pub(super) const CHANNEL_KIND: Kind = Kind::Object(&CHANNEL);
