//! The inside of a JSON string: its end, and its text without escapes.

use super::json::plain_length;

/// The length of the string's inside at the start of `rest`, up to its closing quote, and whether it has
/// escapes. Their form and the UTF-8 are not checked.
pub fn string_length(rest: &[u8]) -> Option<(usize, bool)> {
    let (mut at, mut has_escape) = (0, false);
    loop {
        at += plain_length(rest.get(at..)?);
        match rest.get(at)? {
            b'"' => return Some((at, has_escape)),
            b'\\' => {
                has_escape = true;
                at += 2;
            }
            _ => return None,
        }
    }
}

/// Appends the text of `inside`. `None`: an escape is wrong, or half of a surrogate pair.
pub fn unescape(inside: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = inside;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(rest.get(..at)?);
        let (character, length) = escaped(rest.get(at..)?)?;
        match u8::try_from(character) {
            Ok(byte) if byte.is_ascii() => out.push(byte),
            Ok(_) | Err(_) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        rest = rest.get(at + length..)?;
    }
    out.extend_from_slice(rest);
    Some(())
}

/// The character of the escape at the start of `text`, or of a pair of them, and the length. `None`: it is
/// wrong, or half of a surrogate pair.
pub fn escaped(text: &[u8]) -> Option<(char, usize)> {
    let character = match text.get(1)? {
        byte @ (b'"' | b'\\' | b'/') => char::from(*byte),
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => return escaped_unit(text),
        _ => return None,
    };
    Some((character, 2))
}

fn escaped_unit(escapes: &[u8]) -> Option<(char, usize)> {
    let high = unit(escapes)?;
    let (code, length) = match high {
        0xd800..0xdc00 => {
            let low = unit(escapes.get(6..)?).filter(|low| (0xdc00..0xe000).contains(low))?;
            (0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00), 12)
        }
        _ => (high, 6),
    };
    Some((char::from_u32(code)?, length))
}

/// The UTF-16 unit of an escape like `\u00e9` at the start of `text`.
pub fn unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
}

/// The characters of escapes but `\\u`.
pub const SIMPLE_ESCAPES: [u8; 256] = {
    let mut simple = [0; 256];
    simple[b'"' as usize] = b'"';
    simple[b'\\' as usize] = b'\\';
    simple[b'/' as usize] = b'/';
    simple[b'n' as usize] = b'\n';
    simple[b't' as usize] = b'\t';
    simple[b'r' as usize] = b'\r';
    simple[b'b' as usize] = 0x08;
    simple[b'f' as usize] = 0x0c;
    simple
};

/// Bytes that are searched word by word. A vector search pays behind them.
pub const NEAR: usize = 32;

/// The length of the run of bytes that are no quote, no backslash and no control character.
pub fn plain_run(rest: &[u8]) -> usize {
    let (near, far) = rest.split_at(rest.len().min(NEAR));
    let length = plain_length(near);
    if length < NEAR { length } else { NEAR + far_run(far) }
}

/// The same, of a run that is long.
pub fn far_run(rest: &[u8]) -> usize {
    let length = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    let run = rest.get(..length).unwrap_or_default();
    let has_control = run.iter().fold(false, |has, byte| has | (*byte < 0x20));
    if has_control { run.iter().position(|byte| *byte < 0x20).unwrap_or(length) } else { length }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &[u8]) -> Option<String> {
        let (length, has_escape) = string_length(json.get(1..)?)?;
        assert_eq!(length + 2, json.len());
        let mut out = Vec::new();
        unescape(json.get(1..=length)?, &mut out)?;
        assert_eq!(has_escape, json.contains(&b'\\'));
        String::from_utf8(out).ok()
    }

    proptest! {
        #[test]
        fn a_string_is_read_as_serde_json_reads_it(text in any::<String>(), is_ascii in any::<bool>()) {
            let mut json = serde_json::to_string(&text).unwrap();
            if is_ascii {
                let escaped = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04X}")).collect();
                json = json.chars().map(|c| if c.is_ascii() { c.to_string() } else { escaped(c) }).collect();
            }
            prop_assert_eq!(read(json.as_bytes()), Some(text));
        }

        #[test]
        fn wrong_strings_are_none(inside in "([a-z\\\\/\"\n]|\\\\u[0-9a-fA-Fx]{3,4}|\\\\ud[89ad][0-9a-f]{2}){0,8}") {
            let json = format!("\"{inside}\"");
            let expected = serde_json::from_str::<String>(&json).ok();
            let is_one = string_length(&json.as_bytes()[1..]).is_some_and(|(length, _)| length + 2 == json.len());
            prop_assert_eq!(is_one.then(|| read(json.as_bytes())).flatten(), expected);
        }
    }
}
