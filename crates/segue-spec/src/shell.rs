//! Where a shell script holds a template that its own quotes undo, for a warning.
//!
//! It reads a script as a shell does, no further than quotes, substitutions, comments and
//! here-documents go. It is lenient: what it cannot tell it does not speak of.

use std::ops::Range;

/// What a template stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Around {
    /// `'…'`
    Single,
    /// `"…"`
    Double,
    /// The lines after `<<EOF`.
    HereDocument,
    /// Nothing, but a `$` is right before it.
    Dollar,
}

impl Around {
    /// What is wrong, what stands there, and what to do about it.
    pub(crate) const fn words(self) -> [&'static str; 3] {
        match self {
            Self::Single | Self::Double => [
                "a template stands within the script's own quotes",
                "its value brings quotes, which end these",
                "end the quotes before it, as in `\"Hello, \"{{ params.who }}\"!\"`, or hand the \
                 value over by `env`",
            ],
            Self::HereDocument => [
                "a template stands within a here-document",
                "its value brings quotes, which are text here",
                "hand the value over by `env: {NAME: …}` and write `$NAME` here",
            ],
            Self::Dollar => [
                "a `$` stands right before a template",
                "the shell will interpret both together",
                "write `{{ … }}` alone",
            ],
        }
    }
}

/// The `{{ … }}` of a script that would come out of its quotes, with what is around them.
pub(crate) fn undone(script: &str) -> Vec<(Range<usize>, Around)> {
    let (open, heredocs, found) = (Vec::new(), Vec::new(), Vec::new());
    let mut reader = Reader { text: script, at: 0, open, heredocs, found };
    while reader.at < script.len() {
        reader.step();
    }
    reader.found
}

/// What is open at a place of the script, the innermost last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Single,
    Double,
    /// `(` or `$(`: within it, quotes begin anew.
    Parenthesis,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    open: Vec<Open>,
    /// The words that end the here-documents of this line, and whether tabs go before them.
    heredocs: Vec<(String, bool)>,
    found: Vec<(Range<usize>, Around)>,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// Takes one thing in: a template, a quote, a character.
    fn step(&mut self) {
        if let Some(block) = self.template() {
            let around = self.around(block.start);
            return self.note(block, around);
        }
        let Some(next) = self.rest().chars().next() else { return };
        match (self.open.last().copied(), next) {
            (Some(Open::Single), '\'') => drop(self.open.pop()),
            (Some(Open::Single), _) => {}
            // What it quotes is taken below, however long it is.
            (_, '\\') => self.at += 1,
            (Some(Open::Double), '"') => drop(self.open.pop()),
            (_, '$') if self.rest().starts_with("$(") => {
                self.open.push(Open::Parenthesis);
                self.at += 1;
            }
            (Some(Open::Double), _) => {}
            (_, '\'') => self.open.push(Open::Single),
            (_, '"') => self.open.push(Open::Double),
            (_, '(') => self.open.push(Open::Parenthesis),
            (Some(Open::Parenthesis), ')') => drop(self.open.pop()),
            (_, '#') if self.begins_word() => self.at += self.rest().find('\n').unwrap_or(0),
            (_, '<') => return self.heredoc(),
            (_, '\n') if !self.heredocs.is_empty() => return self.body(),
            _ => {}
        }
        self.at += self.rest().chars().next().map_or(0, char::len_utf8);
    }

    fn note(&mut self, block: Range<usize>, around: Option<Around>) {
        if self.text[block.clone()].starts_with("{{") {
            self.found.extend(around.map(|around| (block, around)));
        }
    }

    /// Passes over `{{ … }}`, `{% … %}` or `{# … #}`, if one begins here.
    fn template(&mut self) -> Option<Range<usize>> {
        let open = self.rest().get(..2)?;
        let close = match open {
            "{{" => "}}",
            "{%" => "%}",
            "{#" => "#}",
            _ => return None,
        };
        let start = self.at;
        let end = self.rest().find(close).map_or(self.text.len(), |end| start + end + 2);
        self.at = end;
        Some(start..end)
    }

    fn around(&self, start: usize) -> Option<Around> {
        match self.open.last() {
            Some(Open::Single) => Some(Around::Single),
            Some(Open::Double) => Some(Around::Double),
            _ => self.text[..start].ends_with('$').then_some(Around::Dollar),
        }
    }

    fn begins_word(&self) -> bool {
        let before = self.text[..self.at].chars().next_back();
        before.is_none_or(|before| before.is_whitespace() || ";&|(".contains(before))
    }

    /// `<<WORD`, `<<-WORD`, or some other `<`.
    fn heredoc(&mut self) {
        let all = self.rest();
        let less = all.len() - all.trim_start_matches('<').len();
        let rest = &all[less..];
        let tabs = rest.starts_with('-');
        let word = rest.strip_prefix('-').unwrap_or(rest).trim_start_matches([' ', '\t']);
        let word = word.strip_prefix(['\'', '"', '\\']).unwrap_or(word);
        let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let word = &word[..end.unwrap_or(word.len())];
        if less == 2 && word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            self.heredocs.push((word.to_owned(), tabs));
        }
        self.at += less;
    }

    /// A line of the first here-document that is open; the newline before it is at hand.
    fn body(&mut self) {
        self.at += 1;
        let start = self.at;
        while self.at < self.text.len() && !self.rest().starts_with('\n') {
            match self.template() {
                Some(block) => self.note(block, Some(Around::HereDocument)),
                None => self.at += self.rest().chars().next().map_or(0, char::len_utf8),
            }
        }
        let line = &self.text[start..self.at];
        let (word, tabs) = self.heredocs.first().cloned().unwrap_or_default();
        let line = if tabs { line.trim_start_matches('\t') } else { line };
        if line == word {
            self.heredocs.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(script: &str, expected: &[(&str, Around)]) {
        let found = undone(script);
        let found: Vec<_> = found.iter().map(|(at, how)| (&script[at.clone()], *how)).collect();
        assert_eq!(found, expected, "{script}");
    }

    #[test]
    fn templates_within_quotes_are_found() {
        check(
            "echo '{{ a }}' \"x {{ b }}\" {{ c }}",
            &[("{{ a }}", Around::Single), ("{{ b }}", Around::Double)],
        );
        check("echo ${{ a }} $X", &[("{{ a }}", Around::Dollar)]);
        check("echo \\é'{{ a }}' \\", &[("{{ a }}", Around::Single)]);
        check(
            "cat <<-'EOF' > f\n  it's {{ a }} {{ b }}\n\tEOF\necho {{ c }}",
            &[("{{ a }}", Around::HereDocument), ("{{ b }}", Around::HereDocument)],
        );
    }

    #[test]
    fn templates_outside_of_quotes_are_not() {
        for script in [
            "echo \"Hello, \"{{ a }}\"!\"",
            "x=\"$(cat {{ a }})\" y=\"$(echo \"$(cat {{ b }})\")\"",
            "# don't {{ a }}\necho {{ b }}",
            "echo \"it's\" {{ a }} \\' {{ b }}",
            "tr a b <<< {{ a }}; [ 1 -lt {{ b }} ]",
            "if (echo 'a'); then {% if x == 'it' %}echo {{ a }}{% endif %}; fi",
            "echo é {{ a }} ${#x} a#b'c' {{ b }}",
            "cat <<A <<B\nit's\nA\n\"\nB\necho {{ a }}",
        ] {
            check(script, &[]);
        }
    }
}
