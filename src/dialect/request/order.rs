//! The order of turns that providers ask for.
//!
//! Chat completions and messages want the results of tools right after the turn that calls. A client may
//! answer in several messages, after words of its own, or with a system message between. Messages, and the
//! chat templates of some servers, want speakers that alternate, after the system's words.

use std::{borrow::Cow, collections::HashMap};

use super::{
    conversation::{Arguments, Part, Speaker, Turn},
    talk_record::TurnSource,
};

/// The calls of one turn that have one id, as some servers give it to all of an answer.
#[derive(Clone, Copy, Debug, Default)]
struct Callers {
    turn: usize,
    count: usize,
    answered: usize,
    is_custom: bool,
}

/// Each call gets an id of its own, and the results theirs in the same order: clients and providers pair them
/// by it.
fn own_id(id: &mut Cow<'_, str>, number: usize) {
    if number > 1 {
        id.to_mut().push_str(&format!("-{number}"));
    }
}

/// `false`: a result has no call before it.
pub(super) fn results_follow_calls(turns: &mut Vec<Turn<'_>>) -> bool {
    let mut answers: HashMap<usize, Turn<'_>> = HashMap::new();
    let mut has_all_calls = true;
    let mut calls: HashMap<String, Callers> = HashMap::new();
    for (at, turn) in turns.iter_mut().enumerate() {
        for part in &mut turn.parts {
            if let Part::Call(call) = part {
                let known = calls.entry(call.id.clone().into_owned()).or_default();
                if known.count == 0 || known.turn != at {
                    *known = Callers { turn: at, ..Callers::default() };
                }
                known.count += 1;
                known.is_custom |= matches!(call.arguments, Arguments::Input(_));
                own_id(&mut call.id, known.count);
            }
        }
        if turn.speaker != Speaker::User || !turn.parts.iter().any(|part| matches!(part, Part::Result(_))) {
            continue;
        }
        for mut part in std::mem::take(&mut turn.parts) {
            let caller = if let Part::Result(result) = &mut part {
                let caller = calls.get_mut(&*result.id);
                caller.map(|caller| {
                    result.is_custom |= caller.is_custom;
                    caller.answered += 1;
                    if caller.answered <= caller.count {
                        own_id(&mut result.id, caller.answered);
                    }
                    caller.turn
                })
            } else {
                None
            };
            match caller {
                Some(caller) => {
                    let source = TurnSource { is_answer: true, ..turn.source };
                    let new = || Turn { speaker: Speaker::User, parts: Vec::new(), source };
                    let answer = answers.entry(caller).or_insert_with(new);
                    answer.parts.push(part);
                    answer.source.join(source);
                }
                None => {
                    has_all_calls &= !matches!(part, Part::Result(_));
                    turn.parts.push(part);
                }
            }
        }
    }
    let mut ordered: Vec<Turn<'_>> = Vec::with_capacity(turns.len());
    for (at, mut turn) in std::mem::take(turns).into_iter().enumerate() {
        if turn.parts.is_empty() {
            continue;
        }
        match ordered.last_mut() {
            Some(last) if last.source.is_answer && turn.speaker == Speaker::User => {
                last.parts.append(&mut turn.parts);
                last.source.join(turn.source);
            }
            _ => ordered.push(turn),
        }
        ordered.extend(answers.remove(&at));
    }
    *turns = ordered;
    has_all_calls
}

/// Joins the turns of a speaker in a row. System messages in mid-conversation become marked texts of the user
/// in their place.
pub(super) fn alternate(turns: &mut Vec<Turn<'_>>) {
    let mut joined: Vec<Turn<'_>> = Vec::with_capacity(turns.len());
    for mut turn in std::mem::take(turns) {
        let has_begun = joined.last().is_some_and(|last| last.speaker != Speaker::System);
        if matches!(turn.speaker, Speaker::System | Speaker::Developer) {
            turn.speaker = if has_begun { Speaker::User } else { Speaker::System };
            if has_begun {
                turn.parts = turn.parts.into_iter().filter_map(marked).collect();
            }
        }
        match joined.last_mut() {
            Some(last) if last.speaker == turn.speaker => {
                let is_text = |part: Option<&Part<'_>>| part.is_some_and(|part| part.words().is_some());
                if turn.speaker == Speaker::Assistant
                    && is_text(last.parts.last())
                    && is_text(turn.parts.first())
                {
                    last.parts.push(Part::Text(Cow::Borrowed("\n\n")));
                }
                last.parts.append(&mut turn.parts);
                last.source.join(turn.source);
            }
            _ => joined.push(turn),
        }
    }
    *turns = joined;
}

fn marked(part: Part<'_>) -> Option<Part<'_>> {
    match part.words() {
        None => Some(part),
        Some(words) if words.trim().is_empty() => None,
        Some(words) => Some(Part::Text(Cow::Owned(format!("<system>\n{words}\n</system>")))),
    }
}
