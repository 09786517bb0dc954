//! Secrets out of a stream of bytes.
//!
//! Owns the forms a secret is looked for in, and the few bytes held back between two reads because
//! a secret may go on in the next. Holds back nothing else, so output is never delayed by it.

/// What stands in place of a secret.
pub(crate) const MASK: &[u8] = b"***";

/// Replaces secrets by `***`, across any cut of the stream.
#[derive(Debug)]
pub struct Masker {
    /// Longest first, so that a secret that contains another is masked whole.
    patterns: Vec<Vec<u8>>,
    begins_pattern: Box<[bool; 256]>,
    held: Vec<u8>,
}

/// What stands at one position of the stream.
enum Here {
    Plain,
    Secret { bytes: usize },
    Undecided,
}

impl Masker {
    /// A masker of these secrets, or `None` without any.
    #[must_use]
    pub fn new(secrets: &[Vec<u8>]) -> Option<Self> {
        let mut patterns: Vec<Vec<u8>> = secrets.iter().flat_map(|secret| forms(secret)).collect();
        patterns.retain(|pattern| !pattern.is_empty());
        patterns.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        patterns.dedup();
        if patterns.is_empty() {
            return None;
        }
        let mut begins_pattern = Box::new([false; 256]);
        for pattern in &patterns {
            begins_pattern[usize::from(pattern[0])] = true;
        }
        Some(Self { patterns, begins_pattern, held: Vec::new() })
    }

    /// Takes the next bytes of the stream, appends to `out` what is decided.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        self.decide(false, out);
    }

    /// The stream is over: appends what was held back.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.decide(true, out);
    }

    /// Masks a whole text: for what is said of an attempt besides its output.
    pub fn mask_text(&mut self, text: &str) -> String {
        let mut out = Vec::with_capacity(text.len());
        self.push(text.as_bytes(), &mut out);
        self.finish(&mut out);
        // Whole for whole: a secret that is text begins and ends with a character.
        String::from_utf8_lossy(&out).into_owned()
    }

    fn decide(&mut self, is_last: bool, out: &mut Vec<u8>) {
        let bytes = std::mem::take(&mut self.held);
        let mut plain_from = 0;
        let mut at = 0;
        while at < bytes.len() {
            if !self.begins_pattern[usize::from(bytes[at])] {
                at += 1;
                continue;
            }
            match self.look(&bytes[at..], is_last) {
                Here::Plain => at += 1,
                Here::Secret { bytes: length } => {
                    out.extend_from_slice(&bytes[plain_from..at]);
                    out.extend_from_slice(MASK);
                    at += length;
                    plain_from = at;
                }
                Here::Undecided => break,
            }
        }
        out.extend_from_slice(&bytes[plain_from..at]);
        self.held.extend_from_slice(&bytes[at..]);
    }

    fn look(&self, rest: &[u8], is_last: bool) -> Here {
        for pattern in &self.patterns {
            if rest.starts_with(pattern) {
                return Here::Secret { bytes: pattern.len() };
            }
            if !is_last && pattern.starts_with(rest) {
                return Here::Undecided;
            }
        }
        Here::Plain
    }
}

/// A secret as it is, and as JSON writers put it into a string: with and without escaped slashes,
/// in UTF-8 and in ASCII.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.to_vec()];
    if let Ok(text) = std::str::from_utf8(secret) {
        for ascii in [false, true] {
            for escape_slash in [false, true] {
                forms.push(json_escaped(text, ascii, escape_slash).into_bytes());
            }
        }
    }
    forms
}

fn json_escaped(text: &str, ascii: bool, escape_slash: bool) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '/' if escape_slash => out.push_str("\\/"),
            c if (c as u32) < 0x20 || (ascii && !c.is_ascii()) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").expect("a string takes every write");
                }
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(secrets: &[&str], stream: &[u8], expected: &str) {
        let secrets: Vec<Vec<u8>> = secrets.iter().map(|s| s.as_bytes().to_vec()).collect();
        // Cut into pieces of every size: the result must not depend on the cuts.
        for size in 1..=stream.len().max(1) {
            let mut masker = Masker::new(&secrets).expect("there are secrets");
            let mut out = Vec::new();
            for piece in stream.chunks(size) {
                masker.push(piece, &mut out);
            }
            masker.finish(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected, "cut at every {size}");
        }
    }

    #[test]
    fn raw_and_escaped_forms_are_masked() {
        check(&["hunter2hunter2"], b"a hunter2hunter2 b", "a *** b");
        check(&["p\"ss\nw/rd"], b"[\"p\\\"ss\\nw/rd\"] p\"ss\nw/rd", "[\"***\"] ***");
        check(&["p\"ss\nw/rd"], b"p\\\"ss\\nw\\/rd", "***");
        check(&["gr\u{fc}\u{df}gott"], b"gr\\u00fc\\u00dfgott", "***");
    }

    #[test]
    fn nothing_else_is_touched() {
        check(&["aaaaaaab"], b"aaaaaaaaaab aaaaaaa", "aaa*** aaaaaaa");
        check(&["abcdefgh", "abcdefghij"], b"abcdefghij abcdefghi", "*** ***i");
        check(&["12345678"], b"1234567", "1234567");
        check(&["12345678"], b"1234567812345678", "******");
    }

    #[test]
    fn what_cannot_be_a_secret_is_not_held_back() {
        let mut masker = Masker::new(&[b"secretsecret".to_vec()]).expect("there is one");
        let mut out = Vec::new();
        masker.push(b"progress 10%", &mut out);
        assert_eq!(out, b"progress 10%");
        masker.finish(&mut out);
        assert_eq!(masker.mask_text("a secretsecret, a secret"), "a ***, a secret");
        assert!(Masker::new(&[]).is_none());
    }
}
