//! Reads a request of Gemini's `generateContent`: its contents.
//!
//! Gemini's older clients give calls no ids: they get ids by their number, and a function's results find its
//! calls in order. Both spellings of members are read, `inlineData` and `inline_data`, and an object where a
//! list of one is meant, as Google's examples have it.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet, VecDeque},
};

use super::{
    RequestError, content,
    conversation::{Arguments, Conversation, Part, PastReasoning, Speaker, ToolCall, ToolResult},
    place::MemberPlace,
    read_gemini_tools as tools,
    read_responses_tools::sent_name,
};
use crate::dialect::reasoning::{self, SignedReasoning};

/// Calls that have no results yet.
#[derive(Debug, Default)]
struct OpenCalls<'t> {
    count: usize,
    by_name: HashMap<&'t str, VecDeque<Cow<'t, str>>>,
    /// Ids that have their results; they leave the lists when they are met.
    closed: HashSet<&'t str>,
    /// The ids that calls have themselves.
    own: HashSet<&'t str>,
}

impl<'t> OpenCalls<'t> {
    fn open(&mut self, name: &'t str, id: Option<&'t str>) -> Cow<'t, str> {
        self.count += 1;
        if let Some(id) = id {
            self.closed.remove(id);
            self.own.insert(id);
        }
        let id = id.map_or_else(|| Cow::Owned(format!("call_{}", self.count)), Cow::Borrowed);
        self.by_name.entry(name).or_default().push_back(id.clone());
        id
    }

    /// The id of the call that a result answers: its own, or the function's first open call's. Clients make
    /// ids up for calls without one, and give them to the results alone.
    fn close(&mut self, name: &str, id: Option<&'t str>) -> Option<Cow<'t, str>> {
        if let Some(id) = id {
            let made_up = (!self.own.contains(id)).then(|| self.close_unnamed(name)).flatten();
            return Some(made_up.unwrap_or_else(|| {
                self.closed.insert(id);
                Cow::Borrowed(id)
            }));
        }
        let open = self.by_name.get_mut(name)?;
        std::iter::from_fn(|| open.pop_front()).find(|known| !self.closed.contains(&**known))
    }

    /// The function's first open call without an id of its own.
    fn close_unnamed(&mut self, name: &str) -> Option<Cow<'t, str>> {
        let open = self.by_name.get_mut(name)?;
        let at = open.iter().position(|known| matches!(known, Cow::Owned(_)))?;
        open.remove(at)
    }
}

pub(super) fn read<'t>(root: &MemberPlace<'_, 't>, talk: &mut Conversation<'t>) -> Result<(), RequestError> {
    if let Some(system) = root.either("systemInstruction", "system_instruction") {
        if let Some(text) = system.value.as_str() {
            talk.say(Speaker::System, Part::Text(Cow::Borrowed(text)));
        } else {
            for part in system.required("parts")?.one_or_elements()? {
                talk.say(Speaker::System, Part::Text(Cow::Borrowed(part.required_text("text")?)));
            }
        }
    }
    tools::read_tools(root, talk)?;
    let contents = root.required("contents")?;
    let mut calls = OpenCalls::default();
    for content in contents.one_or_elements()? {
        read_content(&content, &mut calls, talk)?;
    }
    tools::read_settings(root, talk)
}

fn read_content<'t>(
    content: &MemberPlace<'_, 't>,
    calls: &mut OpenCalls<'t>,
    talk: &mut Conversation<'t>,
) -> Result<(), RequestError> {
    content.object()?;
    let role = content.member("role");
    let speaker = match role.as_ref().map_or(Ok("user"), MemberPlace::string)? {
        // Older clients give results the role `function`.
        "user" | "function" => Speaker::User,
        "model" => Speaker::Assistant,
        "system" => Speaker::System,
        _ => return Err(content.required("role")?.invalid("expected `user` or `model`")),
    };
    talk.begin(speaker);
    let Some(parts) = content.member("parts") else { return Ok(()) };
    for part in parts.one_or_elements()? {
        read_part(&part, speaker, calls, talk)?;
    }
    Ok(())
}

fn read_part<'t>(
    part: &MemberPlace<'_, 't>,
    speaker: Speaker,
    calls: &mut OpenCalls<'t>,
    talk: &mut Conversation<'t>,
) -> Result<(), RequestError> {
    part.object()?;
    let signature = part.either("thoughtSignature", "thought_signature");
    let signature = signature.as_ref().map_or(Ok(None), |place| place.string().map(Some))?;
    let signed = signature.and_then(reasoning::decode);
    let is_thought = part.flag("thought")?.unwrap_or(false);
    if is_thought || signed.is_some() {
        // A signature may stand at the call or the text that the thought came before.
        let text = part.text("text")?.filter(|_| is_thought).unwrap_or_default();
        if is_thought {
            add_thought(text, signed, talk);
        } else {
            seal_thought(signed, talk);
        }
    } else if signature.is_some() {
        talk.dropped.note("contents.parts.thoughtSignature");
    }
    if is_thought {
        return Ok(());
    }
    if let Some(text) = part.text("text")? {
        talk.say(speaker, Part::Text(Cow::Borrowed(text)));
    } else if let Some(blob) = part.either("inlineData", "inline_data") {
        let media = inline(&blob)?;
        talk.say(speaker, media);
    } else if let Some(file) = part.either("fileData", "file_data") {
        let media = by_address(&file)?;
        talk.say(speaker, media);
    } else if let Some(call) = part.either("functionCall", "function_call") {
        let call = function_call(&call, calls, talk)?;
        // Thoughts and calls are the model's, whatever the role beside them says.
        talk.say(Speaker::Assistant, Part::Call(call));
    } else if let Some(response) = part.either("functionResponse", "function_response") {
        let result = function_response(&response, calls)?;
        talk.say(Speaker::User, Part::Result(result));
    } else if part.either("executableCode", "executable_code").is_some()
        || part.either("codeExecutionResult", "code_execution_result").is_some()
    {
        talk.dropped.note("contents.parts:codeExecution");
    } else if signature.is_none() {
        return Err(part.unsayable("it has no such part"));
    }
    Ok(())
}

/// Thoughts come in pieces.
fn add_thought<'t>(text: &'t str, signed: Option<SignedReasoning>, talk: &mut Conversation<'t>) {
    match talk.turns.last_mut().and_then(|turn| turn.parts.last_mut()) {
        Some(Part::Reasoning(past)) if past.signed.is_none() => {
            past.text.to_mut().push_str(text);
            past.signed = signed;
        }
        _ => {
            let thought = PastReasoning { text: Cow::Borrowed(text), signed };
            talk.say(Speaker::Assistant, Part::Reasoning(thought));
        }
    }
}

/// The signature at a call is that of the thought before the text that goes ahead of the call, which the
/// client may have left out.
fn seal_thought<'t>(signed: Option<SignedReasoning>, talk: &mut Conversation<'t>) {
    let parts = talk.turns.last_mut().map(|turn| &mut turn.parts);
    let texts = parts.iter().flat_map(|parts| parts.iter().rev()).take_while(|part| part.words().is_some());
    let texts = texts.count();
    let before = parts.and_then(|parts| parts.len().checked_sub(texts + 1).and_then(|at| parts.get_mut(at)));
    let moved = match before {
        Some(Part::Reasoning(past)) if past.signed.is_none() => {
            past.signed = signed;
            return;
        }
        // The text has a thought of its own before it.
        Some(Part::Reasoning(_)) => 0,
        _ => texts,
    };
    talk.say(Speaker::Assistant, Part::Reasoning(PastReasoning { text: Cow::Borrowed(""), signed }));
    if let Some(turn) = talk.turns.last_mut() {
        let from = turn.parts.len().saturating_sub(moved + 1);
        turn.parts.get_mut(from..).unwrap_or_default().rotate_right(1);
    }
}

fn inline<'t>(blob: &MemberPlace<'_, 't>) -> Result<Part<'t>, RequestError> {
    let mime = match blob.either("mimeType", "mime_type") {
        Some(mime) => content::mime(&mime)?,
        None => return Err(blob.missing("mimeType")),
    };
    let data = content::standard_base64(blob.required_text("data")?);
    match mime {
        "audio/wav" | "audio/x-wav" => Ok(Part::Audio { data, format: "wav", path: blob.path() }),
        "audio/mp3" | "audio/mpeg" => Ok(Part::Audio { data, format: "mp3", path: blob.path() }),
        _ if mime.starts_with("audio/") || mime.starts_with("video/") => {
            Err(blob.unsayable("it takes no such sound or film"))
        }
        _ => content::by_mime(blob, content::inline(blob, mime, data)),
    }
}

fn by_address<'t>(file: &MemberPlace<'_, 't>) -> Result<Part<'t>, RequestError> {
    let Some(uri) = file.either("fileUri", "file_uri") else { return Err(file.missing("fileUri")) };
    let mime = file.either("mimeType", "mime_type");
    let mime = mime.as_ref().map_or_else(|| uri.string().map(mime_of), MemberPlace::string)?;
    if uri.string()?.starts_with("https://generativelanguage.googleapis.com/") {
        return Err(uri.unsayable("the file is stored at Google"));
    }
    let media = content::by_url(&uri).map_err(|_| uri.unsayable("it takes web addresses only"))?;
    match mime {
        "application/pdf" => Ok(Part::Document(media)),
        _ if mime.starts_with("image/") => Ok(Part::Image(media)),
        _ => Err(uri.unsayable("it takes pictures and PDF files by their address")),
    }
}

/// The media type of an address without one. Google looks at the thing itself.
fn mime_of(uri: &str) -> &'static str {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        // A film, mostly.
        _ => "",
    }
}

fn function_call<'t>(
    call: &MemberPlace<'_, 't>,
    calls: &mut OpenCalls<'t>,
    talk: &Conversation<'t>,
) -> Result<ToolCall<'t>, RequestError> {
    let name = call.required_text("name")?;
    let id = call.text("id")?.filter(|id| !id.is_empty());
    let arguments = match call.member("args") {
        None => Arguments::Text("{}"),
        Some(args) => {
            args.object()?;
            Arguments::Value(args.value)
        }
    };
    Ok(ToolCall { id: calls.open(name, id), name: sent_name(talk, None, name), arguments })
}

/// A result's text is its `output` or `error` if that is all it has, else its JSON.
fn function_response<'t>(
    response: &MemberPlace<'_, 't>,
    calls: &mut OpenCalls<'t>,
) -> Result<ToolResult<'t>, RequestError> {
    let name = response.required_text("name")?;
    let id = response.text("id")?.filter(|id| !id.is_empty());
    let id = calls
        .close(name, id)
        .ok_or_else(|| response.invalid("there is no call that this is a response to"))?;
    let body = response.required("response")?;
    body.object()?;
    let mut members = body.value.members();
    let only = members.next().filter(|_| members.next().is_none());
    let is_error = only.is_some_and(|(name, value)| name == "error" && !value.is_null());
    let mut parts = vec![Part::Text(match only {
        Some(("output" | "result" | "error", value)) => {
            value.as_str().map_or_else(|| Cow::Borrowed(value.to_text()), Cow::Borrowed)
        }
        _ => Cow::Borrowed(body.value.to_text()),
    })];
    if let Some(media) = response.member("parts") {
        for part in media.one_or_elements()? {
            match part.either("inlineData", "inline_data") {
                Some(blob) => parts.push(inline(&blob)?),
                None => {
                    return Err(part.unsayable("it takes pictures and files in a result by their content"));
                }
            }
        }
    }
    Ok(ToolResult { id, parts, is_error, is_custom: false })
}
