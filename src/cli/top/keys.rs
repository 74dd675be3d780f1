//! The effect of each key. Control-C quits whatever has the focus, because the terminal does not send it as
//! a signal.

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::state::{Focus, SortKey, TopState};

/// Letters of a filter.
const MAX_FILTER: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyOutcome {
    Quit,
    /// The screen is to be drawn again.
    Changed,
    Nothing,
}

impl TopState {
    pub(super) fn press(&mut self, event: &Event) -> KeyOutcome {
        let key = match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => key,
            Event::Resize(..) => return KeyOutcome::Changed,
            Event::Key(_) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_) => {
                return KeyOutcome::Nothing;
            }
        };
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control {
            return if key.code == KeyCode::Char('c') { KeyOutcome::Quit } else { KeyOutcome::Nothing };
        }
        match self.focus {
            Focus::List => self.press_in_list(key),
            Focus::Filter => {
                self.press_in_filter(key);
                KeyOutcome::Changed
            }
            Focus::Detail => self.press_in_detail(key),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all other keys do nothing")]
    fn press_in_list(&mut self, key: &KeyEvent) -> KeyOutcome {
        match key.code {
            KeyCode::Char('q') => return KeyOutcome::Quit,
            KeyCode::Char('/') => self.focus = Focus::Filter,
            KeyCode::Char('s') => self.sort_by(self.sort.next(1)),
            KeyCode::Char('S') => self.sort_by(self.sort.next(SortKey::ALL.len() - 1)),
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Up | KeyCode::Char('k') => self.choose(self.chosen.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.choose(self.chosen + 1),
            KeyCode::PageUp => self.choose(self.chosen.saturating_sub(self.page)),
            KeyCode::PageDown => self.choose(self.chosen + self.page),
            KeyCode::Home | KeyCode::Char('g') => self.choose(0),
            KeyCode::End | KeyCode::Char('G') => self.choose(usize::MAX),
            KeyCode::Enter => self.open(),
            KeyCode::Esc => self.filter.clear(),
            _ => return KeyOutcome::Nothing,
        }
        self.follow_choice();
        KeyOutcome::Changed
    }

    fn sort_by(&mut self, key: SortKey) {
        (self.sort, self.is_reversed) = (key, false);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all other keys do nothing")]
    fn press_in_filter(&mut self, key: &KeyEvent) {
        match key.code {
            KeyCode::Char(letter) if !letter.is_control() && self.filter.len() < MAX_FILTER => {
                self.filter.push(letter);
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Enter => self.focus = Focus::List,
            KeyCode::Esc => {
                self.filter.clear();
                self.focus = Focus::List;
            }
            _ => {}
        }
        self.follow_choice();
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all other keys do nothing")]
    fn press_in_detail(&mut self, key: &KeyEvent) -> KeyOutcome {
        match key.code {
            KeyCode::Char('q') => return KeyOutcome::Quit,
            KeyCode::Esc | KeyCode::Enter | KeyCode::Backspace | KeyCode::Left => {
                (self.detail, self.focus) = (None, Focus::List);
            }
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            _ => return KeyOutcome::Nothing,
        }
        KeyOutcome::Changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::{feed::FeedNews, state::tests::view};

    fn type_in(state: &mut TopState, keys: &str) -> KeyOutcome {
        let mut last = KeyOutcome::Nothing;
        for letter in keys.chars() {
            let code = match letter {
                '\n' => KeyCode::Enter,
                '\u{1b}' => KeyCode::Esc,
                '\u{8}' => KeyCode::Backspace,
                other => KeyCode::Char(other),
            };
            last = state.press(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        }
        last
    }

    #[tokio::test]
    async fn keys_sort_filter_open_and_quit() {
        let mut state = TopState::new(String::new(), "");
        state.take(FeedNews::View(view(&[("a", "stalled", "m-1", 1), ("b", "running", "m-2", 2)])));
        assert_eq!(type_in(&mut state, "sss"), KeyOutcome::Changed);
        assert_eq!((state.sort, state.shown()[0].request_id.as_str()), (SortKey::Tokens, "b"));
        type_in(&mut state, "r");
        assert_eq!(state.shown()[0].request_id, "a");
        // Letters of the filter are no commands.
        type_in(&mut state, "/m-2q\u{8}");
        assert_eq!((state.filter.as_str(), state.shown().len(), &state.focus), ("m-2", 1, &Focus::Filter));
        type_in(&mut state, "\n\n");
        assert_eq!(state.detail.as_ref().map(|(row, _)| row.request_id.as_str()), Some("b"));
        type_in(&mut state, "\u{1b}\u{1b}");
        assert_eq!((&state.focus, state.filter.as_str(), state.shown().len()), (&Focus::List, "", 2));
        type_in(&mut state, "p");
        state.take(FeedNews::View(view(&[])));
        assert_eq!(state.shown().len(), 2, "a paused view stays");
        let control_c = Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        type_in(&mut state, "/");
        assert_eq!(state.press(&control_c), KeyOutcome::Quit);
        type_in(&mut state, "\n");
        assert_eq!(type_in(&mut state, "q"), KeyOutcome::Quit);
    }
}
