//! Writes the settings of a Messages request.
//!
//! An effort becomes adaptive thinking or a budget, as the model takes it. Anthropic refuses a sampling
//! temperature beside thinking, and scales it to 1.

use super::{
    EffortForm, RequestError, RequestOptions,
    closed_schema::write_closed,
    conversation::Conversation,
    value::JsonValue,
    wishes::{AnswerFormat, ReasoningEffort, ToolChoice},
    write::ObjectWriter,
    write_chat_settings::effort_of,
};
use crate::dialect::json::JsonWrite;

/// Members that have no place and change the meaning.
pub(super) fn refuse(talk: &Conversation<'_>) -> Result<(), RequestError> {
    let settings = &talk.settings;
    let cases = [
        ("n", settings.choices.is_some(), "it gives one answer"),
        ("logprobs", settings.logprobs || settings.top_logprobs.is_some(), "it gives no log probabilities"),
        ("logit_bias", settings.logit_bias.is_some(), "it has no such setting"),
        (
            "response_format",
            matches!(settings.format, Some(AnswerFormat::Json)),
            "it has no JSON mode without a schema; say `json_schema`",
        ),
        (
            "stop",
            settings.stop.iter().any(|word| !word.is_empty() && word.trim().is_empty()),
            "it does not stop at white space alone",
        ),
    ];
    match cases.iter().find(|(_, is_said, _)| *is_said) {
        Some((name, _, reason)) => Err(RequestError::unsayable_member(name, reason)),
        None => Ok(()),
    }
}

pub(super) fn write_settings(
    talk: &mut Conversation<'_>,
    options: &RequestOptions<'_>,
    may_think: bool,
    root: &mut ObjectWriter<'_>,
) {
    let settings = &talk.settings;
    let default = options.max_tokens_limit.unwrap_or(u64::MAX).min(options.default_max_tokens);
    let limit = settings.max_tokens.unwrap_or(default);
    let is_forced = matches!(talk.choice, Some(ToolChoice::Required | ToolChoice::Named(_)));
    let (effort, budget) = match (options.effort, settings.effort) {
        (EffortForm::Never, _) | (_, None | Some(ReasoningEffort::Off)) => (None, None),
        (EffortForm::Named, Some(wish)) => (effort_name(wish), None),
        (EffortForm::Structured, Some(wish)) => {
            (None, budget_of(wish, limit).filter(|_| may_think && !is_forced))
        }
    };
    let thinks = budget.is_some() || (effort.is_some() && !is_forced);
    root.number("max_tokens", limit);
    let mut lost = Vec::new();
    if !thinks && options.takes_sampling {
        write_sampling(talk, root, &mut lost);
    } else {
        // Anthropic refuses them beside thinking. 1 is what it takes in any case.
        let is_set = |number: Option<JsonValue<'_>>| number.is_some_and(|n| n.as_f64() != Some(1.0));
        let cases = [
            ("temperature", is_set(settings.temperature)),
            ("top_p", is_set(settings.top_p)),
            ("top_k", settings.top_k.is_some()),
        ];
        lost.extend(cases.iter().filter(|(_, is_said)| *is_said).map(|(name, _)| *name));
    }
    if thinks {
        let mut thinking = root.object("thinking");
        thinking.text("type", if budget.is_some() { "enabled" } else { "adaptive" });
        if let Some(budget) = budget {
            thinking.number("budget_tokens", budget);
        } else if options.hides_thinking {
            thinking.text("display", "summarized");
        }
        thinking.close();
    } else if matches!(settings.effort, Some(ReasoningEffort::Named(_) | ReasoningEffort::Budget(_)))
        && effort.is_none()
    {
        lost.push("reasoning_effort");
    }
    if (effort.is_some() || budget.is_some())
        && matches!(settings.effort, Some(ReasoningEffort::Named("xhigh" | "max")))
    {
        lost.push("reasoning_effort");
    }
    write_config(talk, effort, root);
    write_rest(talk, root, &mut lost);
    lost.into_iter().for_each(|name| talk.dropped.note(name));
}

fn write_sampling(talk: &Conversation<'_>, root: &mut ObjectWriter<'_>, lost: &mut Vec<&str>) {
    let settings = &talk.settings;
    // Anthropic's scale ends at 1.
    match settings.temperature {
        Some(value) if value.as_f64().is_some_and(|degree| degree > 1.0) => {
            root.number("temperature", 1);
            lost.push("temperature");
        }
        temperature => root.maybe_value("temperature", temperature),
    }
    match settings.top_p {
        // Newer models refuse both.
        Some(value) if settings.temperature.is_some() => {
            if value.as_f64() != Some(1.0) {
                lost.push("top_p");
            }
        }
        top_p => root.maybe_value("top_p", top_p),
    }
    if let Some(top_k) = settings.top_k {
        root.number("top_k", top_k);
    }
}

fn write_config(talk: &mut Conversation<'_>, effort: Option<&str>, root: &mut ObjectWriter<'_>) {
    if effort.is_none() && talk.settings.format.is_none() {
        return;
    }
    let mut config = root.object("output_config");
    config.maybe_text("effort", effort);
    if let Some(AnswerFormat::Schema { schema, is_gemini, .. }) = &talk.settings.format {
        let mut format = config.object("format");
        format.text("type", "json_schema");
        write_closed(*schema, *is_gemini, &mut talk.dropped, format.key("schema"));
        format.close();
    }
    config.close();
}

fn write_rest(talk: &Conversation<'_>, root: &mut ObjectWriter<'_>, lost: &mut Vec<&str>) {
    let settings = &talk.settings;
    let words: Vec<&str> = settings.stop.iter().copied().filter(|word| !word.is_empty()).collect();
    if !words.is_empty() {
        let mut stop = root.array("stop_sequences");
        words.iter().for_each(|word| _ = stop.element().string(word));
        stop.close();
    }
    let is_personal = settings.user.is_some_and(is_personal);
    if let Some(user) = settings.user.filter(|_| !is_personal) {
        let mut metadata = root.object("metadata");
        metadata.text("user_id", user);
        metadata.close();
    }
    if settings.streams {
        root.flag("stream", true);
    }
    let is_set = |penalty: Option<JsonValue<'_>>| penalty.is_some_and(|p| p.as_f64() != Some(0.0));
    let cases = [
        ("stop", words.len() < settings.stop.len()),
        ("user", is_personal),
        ("seed", settings.seed.is_some()),
        ("presence_penalty", is_set(settings.presence_penalty)),
        ("frequency_penalty", is_set(settings.frequency_penalty)),
        ("verbosity", settings.verbosity.is_some()),
        ("prompt_cache_key", settings.cache_key.is_some()),
    ];
    lost.extend(cases.iter().filter(|(_, is_said)| *is_said).map(|(name, _)| *name));
    lost.extend(settings.shared.iter().map(|(name, _)| *name));
}

/// A mail address or a telephone number, which Anthropic refuses as the name of a user.
fn is_personal(user: &str) -> bool {
    let is_mail =
        user.split_once('@').is_some_and(|(name, host)| !name.trim().is_empty() && host.contains('.'));
    let is_dialled = |byte: u8| byte.is_ascii_digit() || b" +-.()".contains(&byte);
    let digits = user.bytes().filter(u8::is_ascii_digit).count();
    is_mail || ((7..=15).contains(&digits) && user.bytes().all(is_dialled))
}

fn effort_name(wish: ReasoningEffort<'_>) -> Option<&'static str> {
    match wish {
        ReasoningEffort::Named("minimal" | "low") => Some("low"),
        ReasoningEffort::Named("medium") => Some("medium"),
        ReasoningEffort::Named("none") | ReasoningEffort::Off => None,
        ReasoningEffort::Named(_) => Some("high"),
        ReasoningEffort::Budget(budget) => Some(effort_of(budget)),
    }
}

/// Anthropic's least budget.
const MIN_BUDGET: u64 = 1024;

/// A budget below the limit of the whole answer, if there is room for one.
fn budget_of(wish: ReasoningEffort<'_>, limit: u64) -> Option<u64> {
    let budget = match wish {
        ReasoningEffort::Budget(budget) => budget,
        ReasoningEffort::Named(_) | ReasoningEffort::Off => match effort_name(wish)? {
            "low" => 2048,
            "medium" => 8192,
            _ => 24_576,
        },
    };
    let room = limit.saturating_sub(limit / 4);
    (room >= MIN_BUDGET).then(|| budget.clamp(MIN_BUDGET, room))
}
