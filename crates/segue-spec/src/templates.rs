//! Looks into the text of templates for what minijinja does not tell: filters, literal
//! subscripts, and where a name stands.
//!
//! These readers are lenient: they serve diagnostics, and what they miss is found when the
//! template is rendered.

use std::ops::Range;

/// The insides of `{{ … }}` and `{% … %}`.
fn blocks(source: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = source[at..].find(['{']).map(|offset| at + offset) {
        let close = match &source.as_bytes()[start..] {
            [b'{', b'{', ..] => "}}",
            [b'{', b'%', ..] => "%}",
            [b'{', b'#', ..] => "#}",
            _ => {
                at = start + 1;
                continue;
            }
        };
        let inside = start + 2;
        let end = source[inside..].find(close).map_or(source.len(), |offset| inside + offset);
        if close != "#}" {
            found.push(inside..end);
        }
        at = (end + 2).min(source.len());
    }
    found
}

/// The code of an expression or of a template's blocks with every string blanked out.
fn code(source: &str, is_expression: bool) -> String {
    let all = 0..source.len();
    let blocks = if is_expression { Vec::from([all]) } else { blocks(source) };
    let mut code: Vec<u8> = vec![b' '; source.len()];
    for block in blocks {
        let mut quote = None;
        for at in block {
            let byte = source.as_bytes()[at];
            match quote {
                Some(open) if byte == open => quote = None,
                Some(_) => {}
                None if byte == b'"' || byte == b'\'' => quote = Some(byte),
                None if byte.is_ascii() => code[at] = byte,
                None => {}
            }
        }
    }
    String::from_utf8(code).expect("only ASCII was copied")
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn word_end(bytes: &[u8], start: usize) -> usize {
    start + bytes[start..].iter().take_while(|byte| is_word(**byte)).count()
}

fn skip_spaces(bytes: &[u8], start: usize) -> usize {
    start + bytes[start..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// The filters that are applied, and where their names stand.
pub(crate) fn filters(source: &str, is_expression: bool) -> Vec<(&str, Range<usize>)> {
    if !source.contains('|') {
        return Vec::new();
    }
    let code = code(source, is_expression);
    let mut found = Vec::new();
    for (bar, _) in code.match_indices('|') {
        let start = skip_spaces(code.as_bytes(), bar + 1);
        let end = word_end(code.as_bytes(), start);
        if end > start {
            found.push((&source[start..end], start..end));
        }
    }
    found
}

/// The ids in `tasks['id']`, and whether `tasks` is used in any other way than `tasks.id`.
pub(crate) fn bracketed(source: &str) -> (Vec<String>, bool) {
    let bytes = source.as_bytes();
    let mut names = Vec::new();
    let mut dynamic = false;
    for (at, _) in source.match_indices("tasks") {
        let before = at.checked_sub(1).map(|at| bytes[at]);
        if before.is_some_and(|byte| is_word(byte) || byte == b'.') {
            continue;
        }
        let next = skip_spaces(bytes, at + 5);
        match bytes.get(next) {
            Some(b'.') => {}
            Some(byte) if is_word(*byte) && next == at + 5 => {}
            Some(b'[') => {
                let quote = skip_spaces(bytes, next + 1);
                let open = bytes.get(quote).copied();
                let literal = source[quote..].get(1..).and_then(|rest| {
                    let open = open.filter(|byte| *byte == b'\'' || *byte == b'"')?;
                    rest.split_once(char::from(open)).map(|(name, _)| name.to_owned())
                });
                match literal {
                    Some(name) => names.push(name),
                    None => dynamic = true,
                }
            }
            _ => dynamic = true,
        }
    }
    (names, dynamic)
}

/// Where a dotted path stands in a text, as whole words.
pub(crate) fn find_path(text: &str, path: &str) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    text.match_indices(path).map(|(at, _)| at..at + path.len()).find(|found| {
        let before = found.start.checked_sub(1).map(|at| bytes[at]);
        let after = bytes.get(found.end);
        !before.is_some_and(|byte| is_word(byte) || byte == b'.')
            && !after.is_some_and(|byte| is_word(*byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_found_outside_strings_only() {
        let names = |source, bare| -> Vec<String> {
            filters(source, bare).into_iter().map(|(name, _)| name.to_owned()).collect()
        };
        assert_eq!(names("ls | wc {{ a | limit(3) | fence }}", false), ["limit", "fence"]);
        assert_eq!(names("{{ 'a | b' | upper }}{# x | y #}", false), ["upper"]);
        assert_eq!(names("a | length > 3", true), ["length"]);
        assert_eq!(names("{{ 'é|x' | lower", false), ["lower"]);
    }

    #[test]
    fn tasks_are_found_in_brackets() {
        assert_eq!(bracketed("tasks['a-b'].result"), (vec!["a-b".to_owned()], false));
        assert_eq!(bracketed("tasks.a.x"), (vec![], false));
        assert!(bracketed("tasks[params.x]").1 && bracketed("tasks | length").1);
        assert!(!bracketed("subtasks.x").1);
        assert!(bracketed("tasks[").1 && bracketed("tasks['").1);
    }
}
