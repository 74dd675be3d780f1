//! Sizes as settings write them: a bare number is bytes, a string has a unit (`"32MiB"`). Durations belong to
//! [`crate::base::time`].
//!
//! A unit is accepted in any letter case; an unknown one gives `None`.

use crate::base::time::duration::split_number;

/// Reads `512`, `64KiB`, `10 MB`, `1.5GiB`: decimal units by 1000, binary ones by 1024.
pub(super) fn size(text: &str) -> Option<f64> {
    let (number, unit) = split_number(text.trim());
    let scale = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "ki" | "kib" => 1024.0,
        "mi" | "mib" => 1024.0 * 1024.0,
        "gi" | "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn reads_sizes() {
        for (text, bytes) in
            [("512", 512.0), ("64KiB", 65_536.0), ("10 MB", 1e7), ("1.5kib", 1536.0), ("1g", 1e9)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "10 Mbit", "0x10"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
