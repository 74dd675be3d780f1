//! A picture under construction: elements are put below each other at a moving height. All text is escaped,
//! and cut where it would leave the picture.

use std::fmt::Write;

/// The share of its size that a letter is wide, more than most fonts need; other scripts' letters take more.
const LETTER: f64 = 0.58;
const WIDE_LETTER: f64 = 1.05;
/// Lines of a leg's figures, which may be an error of any length.
const MAX_LINES: usize = 3;

/// The styles of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextStyle {
    Title,
    Heading,
    Strong,
    Quiet,
    Small,
}

/// The side of a text that its place names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

#[derive(Debug)]
pub(super) struct Canvas {
    body: String,
    width: f64,
    margin: f64,
    y: f64,
}

impl TextStyle {
    #[cfg(test)]
    pub(super) const ALL: [Self; 5] = [Self::Title, Self::Heading, Self::Strong, Self::Quiet, Self::Small];

    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Heading => "heading",
            Self::Strong => "strong",
            Self::Quiet => "quiet",
            Self::Small => "small",
        }
    }

    /// As the style sheet has it.
    const fn size(self) -> f64 {
        match self {
            Self::Title => 18.0,
            Self::Heading | Self::Strong => 13.0,
            Self::Quiet => 12.0,
            Self::Small => 11.0,
        }
    }

    const fn is_bold(self) -> bool {
        matches!(self, Self::Title | Self::Heading | Self::Strong)
    }
}

/// The most that a text is wide.
pub(super) fn width_of(text: &str, style: TextStyle) -> f64 {
    let weight = if style.is_bold() { 1.07 } else { 1.0 };
    let letter = |letter: char| if letter < '\u{250}' || letter == '–' { LETTER } else { WIDE_LETTER };
    text.chars().map(letter).sum::<f64>() * style.size() * weight
}

/// The text, or its beginning with an ellipsis, within this width.
fn cut(text: &str, style: TextStyle, width: f64) -> String {
    if width_of(text, style) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for letter in text.chars() {
        kept.push(letter);
        if width_of(&kept, style) + width_of("…", style) > width {
            kept.pop();
            break;
        }
    }
    kept.push('…');
    kept
}

/// The text in lines of this width; a word that is longer has a line of its own.
fn lines(text: &str, style: TextStyle, width: f64) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && width_of(&format!("{line} {word}"), style) > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML has none of these.
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// A number of pixels, to a tenth.
fn px(value: f64) -> f64 {
    if value.is_finite() { (value * 10.0).round() / 10.0 } else { 0.0 }
}

impl Canvas {
    pub(super) fn new(width: f64, margin: f64) -> Self {
        Self { body: String::new(), width, margin, y: margin }
    }

    pub(super) const fn left(&self) -> f64 {
        self.margin
    }

    pub(super) fn right(&self) -> f64 {
        self.width - self.margin
    }

    pub(super) const fn y(&self) -> f64 {
        self.y
    }

    pub(super) fn skip(&mut self, height: f64) {
        self.y += height;
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        // A string takes all text.
        let _ = self.body.write_fmt(element);
    }

    /// One line of text, cut to the width.
    pub(super) fn text_line(&mut self, style: TextStyle, text: &str) {
        self.y += style.size() + 2.0;
        let (at, width) = ((self.left(), self.y), self.right() - self.left());
        self.text_at(at, Anchor::Start, style, &cut(text, style, width));
        self.y += style.size() * 0.4;
    }

    /// Text in as many lines as it needs.
    pub(super) fn paragraph(&mut self, style: TextStyle, text: &str) {
        for line in lines(text, style, self.right() - self.left()) {
            self.text_line(style, &line);
        }
    }

    /// A name and its figures on one line; the figures go below it where there is no room beside.
    pub(super) fn name_and_figures(&mut self, class: &str, name: &str, figures: &str) {
        let (left, right) = (self.left() + 14.0, self.right());
        self.y += 15.0;
        let square = self.y - 9.0;
        self.rectangle(&format!("fill {class}"), (self.left(), square), (9.0, 9.0));
        self.text_at(
            (left, self.y),
            Anchor::Start,
            TextStyle::Strong,
            &cut(name, TextStyle::Strong, right - left),
        );
        let room = right - left - width_of(name, TextStyle::Strong) - 12.0;
        if width_of(figures, TextStyle::Quiet) <= room {
            self.text_at((right, self.y), Anchor::End, TextStyle::Quiet, figures);
        } else {
            for line in lines(figures, TextStyle::Quiet, right - left).iter().take(MAX_LINES) {
                self.y += 15.0;
                let line = cut(line, TextStyle::Quiet, right - left);
                self.text_at((left, self.y), Anchor::Start, TextStyle::Quiet, &line);
            }
        }
        self.y += 6.0;
    }

    pub(super) fn text_at(&mut self, (x, y): (f64, f64), anchor: Anchor, style: TextStyle, text: &str) {
        let side = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let (class, size) = (style.class(), style.size());
        self.put(format_args!(
            "<text x=\"{}\" y=\"{}\" class=\"{class}\" font-size=\"{size}\"{side}>{}</text>\n",
            px(x),
            px(y),
            escape(text)
        ));
    }

    pub(super) fn rectangle(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n",
            px(x),
            px(y),
            px(width.max(0.0)),
            px(height.max(0.0))
        ));
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.put(format_args!(
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>\n",
            px(from.0),
            px(from.1),
            px(to.0),
            px(to.1)
        ));
    }

    /// An upright mark of this height.
    pub(super) fn mark(&mut self, class: &str, (x, y): (f64, f64), height: f64) {
        self.put(format_args!("<path class=\"mark {class}\" d=\"M{} {}v{}\"/>\n", px(x), px(y), px(height)));
    }

    pub(super) fn circle(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        self.put(format_args!(
            "<circle class=\"{class}\" cx=\"{}\" cy=\"{}\" r=\"{radius}\"/>\n",
            px(x),
            px(y)
        ));
    }

    pub(super) fn curve(&mut self, class: &str, points: impl Iterator<Item = (f64, f64)>) {
        self.put(format_args!("<polyline class=\"{class}\" points=\""));
        for (x, y) in points {
            self.put(format_args!("{},{} ", px(x), px(y)));
        }
        self.put(format_args!("\"/>\n"));
    }

    /// The whole picture; `name` and `description` are for readers that do not see it.
    pub(super) fn finish(self, name: &str, description: &str, style: &str) -> String {
        let (width, height) = (px(self.width), px(self.y + self.margin));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"comparison\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{}\">\n<title>{}</title>\n\
             <desc>{}</desc>\n<style>{style}</style>\n\
             <rect class=\"ground\" x=\"0\" y=\"0\" width=\"{width}\" height=\"{height}\"/>\n{}</svg>\n",
            escape(name),
            escape(name),
            escape(description),
            self.body
        )
    }
}
