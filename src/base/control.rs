//! Characters that change how a text is shown instead of being shown: text from outside may forge lines with
//! them, command a terminal, or turn the order of a line around.

/// Whether the character is a control character (C0, DEL, C1), a line or paragraph separator, or a control of
/// the direction of text (Unicode's `Bidi_Control`).
#[must_use]
pub const fn is_display_control(letter: char) -> bool {
    matches!(
        letter,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}
