//! Where in a file's text something is: byte offsets to lines and dotted keys.
//!
//! Used only to word an error, so it reads lines, not TOML: a key broken over lines is not found
//! and the message then has no line.

use std::ops::Range;

/// Line (from 1) and dotted key of a place in a text.
pub fn locate(text: &str, span: Range<usize>) -> (usize, String) {
    let mut end = span.start.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let line = text[..end].matches('\n').count();
    let mut header = String::new();
    for content in text.lines().take(line + 1) {
        if let Some(name) = header_of(content) {
            header = name.to_string();
        }
    }
    let content = text.lines().nth(line).unwrap_or_default();
    let key = match key_of(content) {
        Some(key) if header.is_empty() => key.to_string(),
        Some(key) => format!("{header}.{key}"),
        None if header.is_empty() => "the file".into(),
        None => header,
    };
    (line + 1, key)
}

/// The line on which a dotted key stands.
pub fn line_of(text: &str, dotted: &str) -> Option<usize> {
    let mut header = "";
    for (i, content) in text.lines().enumerate() {
        if let Some(name) = header_of(content) {
            header = name;
            if name == dotted {
                return Some(i + 1);
            }
        } else if let Some(key) = key_of(content) {
            let rest = match header {
                "" => Some(dotted),
                _ => dotted.strip_prefix(header).and_then(|rest| rest.strip_prefix('.')),
            };
            if rest == Some(key) {
                return Some(i + 1);
            }
        }
    }
    None
}

fn header_of(line: &str) -> Option<&str> {
    let inner = line.trim_start().strip_prefix('[')?;
    Some(inner.strip_prefix('[').unwrap_or(inner).split(']').next()?.trim())
}

fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    (!key.is_empty() && !key.starts_with('#')).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name = \"x\"\n\n[phy]\nlanes = { v = 8 }\n[memory.dram]\nkind = \"dram\"\n";

    #[test]
    fn offsets_become_lines_and_dotted_keys_and_back() {
        let offset = TEXT.find("v = 8").unwrap();
        assert_eq!(locate(TEXT, offset..offset + 1), (4, "phy.lanes".into()));
        assert_eq!(locate(TEXT, 0..1), (1, "name".into()));
        assert_eq!(locate(TEXT, 9999..10_000).0, 7);
        assert_eq!(line_of(TEXT, "phy.lanes"), Some(4));
        assert_eq!(line_of(TEXT, "memory.dram.kind"), Some(6));
        assert_eq!(line_of(TEXT, "memory.dram"), Some(5));
        assert_eq!(line_of(TEXT, "name"), Some(1));
        assert_eq!(line_of(TEXT, "phy.lane"), None);
    }
}
