//! Each documented member of each dialect, sent alone to each other dialect. The outcome is the table of
//! `docs/TRANSLATION.md`: carried, refused by its path, dropped under a name, or without effect there.

use super::*;
use ApiDialect::{ChatCompletions, Gemini, Messages, Responses};

/// A member by its path, and the members of a request that has it.
type MemberRow<'a> = (&'a str, Value);

/// The members of a chat completions request, one a line.
const CHAT_MEMBERS: &str = r##"
messages: system | {"messages":[{"content":"s","role":"system"},{"content":"Hi","role":"user"}]}
messages: developer | {"messages":[{"content":"s","role":"developer"},{"content":"Hi","role":"user"}]}
messages: function | {"messages":[{"content":"s","name":"f","role":"function"}]}
messages.name | {"messages":[{"content":"Hi","name":"n","role":"user"}]}
messages.content: text | {"messages":[{"content":[{"text":"a","type":"text"}],"role":"user"}]}
messages.content: image_url | {"messages":[{"content":[{"image_url":{"url":"data:image/png;base64,AAAA"},"type":"image_url"}],"role":"user"}]}
messages.content.image_url.detail | {"messages":[{"content":[{"image_url":{"detail":"low","url":"data:image/png;base64,AAAA"},"type":"image_url"}],"role":"user"}]}
messages.content: input_audio | {"messages":[{"content":[{"input_audio":{"data":"AAAA","format":"wav"},"type":"input_audio"}],"role":"user"}]}
messages.content: file by its data | {"messages":[{"content":[{"file":{"file_data":"data:application/pdf;base64,AAAA","filename":"a.pdf"},"type":"file"}],"role":"user"}]}
messages.content: file by its id | {"messages":[{"content":[{"file":{"file_id":"file-1"},"type":"file"}],"role":"user"}]}
messages.content.cache_control | {"messages":[{"content":[{"cache_control":{"type":"ephemeral"},"text":"a","type":"text"}],"role":"user"}]}
messages: assistant, tool | {"messages":[{"content":"Hi","role":"user"},{"role":"assistant","tool_calls":[{"function":{"arguments":"{}","name":"f"},"id":"c","type":"function"}]},{"content":[{"text":"a","type":"text"}],"role":"tool","tool_call_id":"c"}]}
messages.tool_calls: custom | {"messages":[{"content":"Hi","role":"user"},{"role":"assistant","tool_calls":[{"custom":{"input":"x","name":"f"},"id":"c","type":"custom"}]},{"content":[{"text":"a","type":"text"}],"role":"tool","tool_call_id":"c"}]}
messages.function_call | {"messages":[{"content":"Hi","role":"user"},{"content":"a","function_call":{"arguments":"{}","name":"f"},"role":"assistant"},{"content":"b","role":"user"}]}
messages.refusal | {"messages":[{"content":"Hi","role":"user"},{"content":null,"refusal":"no","role":"assistant"},{"content":"b","role":"user"}]}
messages.audio | {"messages":[{"content":"Hi","role":"user"},{"audio":{"id":"a"},"content":"a","role":"assistant"},{"content":"b","role":"user"}]}
messages.reasoning_content | {"messages":[{"content":"Hi","role":"user"},{"content":"a","reasoning_content":"t","role":"assistant"},{"content":"b","role":"user"}]}
messages.reasoning_details, signed elsewhere | {"messages":[{"content":"Hi","role":"user"},{"content":"a","reasoning_details":[{"signature":"x","text":"t","type":"reasoning.text"}],"role":"assistant"},{"content":"b","role":"user"}]}
max_tokens | {"max_tokens":99}
max_completion_tokens | {"max_completion_tokens":99}
temperature | {"temperature":0.5}
top_p | {"top_p":0.5}
top_k | {"top_k":5}
stop | {"stop":["x"]}
stop: white space | {"stop":["\n"]}
seed | {"seed":1}
presence_penalty | {"presence_penalty":0.5}
frequency_penalty | {"frequency_penalty":0.5}
logit_bias | {"logit_bias":{"1":1}}
guided_json, guided_regex, structured_outputs, grammar | {"guided_json":{"type":"object"}}
n above 1 | {"n":2}
logprobs | {"logprobs":true}
top_logprobs | {"logprobs":true,"top_logprobs":2}
response_format: json_object | {"response_format":{"type":"json_object"}}
response_format: json_schema | {"response_format":{"json_schema":{"name":"s","schema":{"type":"object"}},"type":"json_schema"}}
response_format: json_schema, open | {"response_format":{"json_schema":{"name":"s","schema":{"additionalProperties":true,"properties":{},"type":"object"}},"type":"json_schema"}}
response_format: json_schema with bounds | {"response_format":{"json_schema":{"name":"s","schema":{"properties":{"n":{"minimum":1,"type":"integer"}},"type":"object"}},"type":"json_schema"}}
reasoning_effort | {"reasoning_effort":"low"}
reasoning.effort | {"reasoning":{"effort":"low"}}
reasoning.max_tokens | {"max_tokens":9000,"reasoning":{"max_tokens":2000}}
reasoning_effort above high | {"reasoning_effort":"xhigh"}
reasoning.enabled | {"reasoning":{"enabled":true}}
reasoning.exclude | {"reasoning":{"exclude":true}}
verbosity | {"verbosity":"low"}
tools: function | {"tools":[{"function":{"name":"f","parameters":{"type":"object"}},"type":"function"}]}
tools.function.strict | {"tools":[{"function":{"name":"f","parameters":{"type":"object"},"strict":true},"type":"function"}]}
tools: custom | {"tools":[{"custom":{"name":"f"},"type":"custom"}]}
tools: custom with a grammar | {"tools":[{"custom":{"format":{"grammar":{"definition":"d","syntax":"lark"},"type":"grammar"},"name":"f"},"type":"custom"}]}
tool_choice: required | {"tool_choice":"required","tools":[{"function":{"name":"f","parameters":{"type":"object"}},"type":"function"}]}
tool_choice: none | {"tool_choice":"none","tools":[{"function":{"name":"f","parameters":{"type":"object"}},"type":"function"}]}
tool_choice: a function | {"tool_choice":{"function":{"name":"f"},"type":"function"},"tools":[{"function":{"name":"f","parameters":{"type":"object"}},"type":"function"}]}
tool_choice: allowed_tools | {"tool_choice":{"allowed_tools":{"mode":"required","tools":[{"function":{"name":"f"},"type":"function"}]},"type":"allowed_tools"},"tools":[{"function":{"name":"f","parameters":{"type":"object"}},"type":"function"}]}
parallel_tool_calls | {"parallel_tool_calls":false,"tools":[{"function":{"name":"f","parameters":{"type":"object"}},"type":"function"}]}
functions | {"functions":[{"name":"f"}]}
stream | {"stream":true}
stream_options | {"stream_options":{"include_usage":true}}
user | {"user":"u"}
user, a mail address | {"user":"joe@a.example"}
safety_identifier | {"safety_identifier":"u"}
prompt_cache_key | {"prompt_cache_key":"k"}
prompt_cache_retention | {"prompt_cache_retention":"24h"}
metadata | {"metadata":{"a":"b"}}
store | {"store":true}
service_tier | {"service_tier":"flex"}
prediction | {"prediction":{"content":"a","type":"content"}}
modalities: audio | {"modalities":["text","audio"]}
audio | {"audio":{"format":"wav","voice":"v"}}
web_search_options | {"web_search_options":{}}
models | {"models":["m","n"]}
x_use_asgi_streaming | {"x_use_asgi_streaming":true}
"##;

/// The members of a messages request, one a line.
const MESSAGES_MEMBERS: &str = r##"
system | {"system":"s"}
system.cache_control | {"system":[{"cache_control":{"type":"ephemeral"},"text":"s","type":"text"}]}
cache_control | {"cache_control":{"type":"ephemeral"}}
messages.content: text | {"messages":[{"content":[{"text":"a","type":"text"}],"role":"user"}]}
messages.content.cache_control | {"messages":[{"content":[{"cache_control":{"type":"ephemeral"},"text":"a","type":"text"}],"role":"user"}]}
messages.content.citations | {"messages":[{"content":"Hi","role":"user"},{"content":[{"citations":[{"type":"char_location"}],"text":"c","type":"text"},{"text":"a","type":"text"}],"role":"assistant"},{"content":"b","role":"user"}]}
messages.content: image by its data | {"messages":[{"content":[{"source":{"data":"AAAA","media_type":"image/png","type":"base64"},"type":"image"}],"role":"user"}]}
messages.content: image by its address | {"messages":[{"content":[{"source":{"type":"url","url":"https://a.example/a.png"},"type":"image"}],"role":"user"}]}
messages.content: image by its id | {"messages":[{"content":[{"source":{"file_id":"f","type":"file"},"type":"image"}],"role":"user"}]}
messages.content: document by its data | {"messages":[{"content":[{"source":{"data":"AAAA","media_type":"application/pdf","type":"base64"},"title":"t","type":"document"}],"role":"user"}]}
messages.content: document by its address | {"messages":[{"content":[{"source":{"type":"url","url":"https://a.example/a.pdf"},"title":"t","type":"document"}],"role":"user"}]}
messages.content: document of text | {"messages":[{"content":[{"source":{"data":"d","media_type":"text/plain","type":"text"},"title":"t","type":"document"}],"role":"user"}]}
messages.content: document of blocks | {"messages":[{"content":[{"source":{"content":"d","type":"content"},"title":"t","type":"document"}],"role":"user"}]}
messages.content: document with citations | {"messages":[{"content":[{"citations":{"enabled":true},"source":{"data":"d","media_type":"text/plain","type":"text"},"type":"document"}],"role":"user"}]}
messages.content: search_result | {"messages":[{"content":[{"content":[{"text":"a","type":"text"}],"source":"s","title":"t","type":"search_result"}],"role":"user"}]}
messages.content: tool_use, tool_result | {"messages":[{"content":"Hi","role":"user"},{"content":[{"id":"t","input":{},"name":"f","type":"tool_use"}],"role":"assistant"},{"content":[{"content":"r","tool_use_id":"t","type":"tool_result"}],"role":"user"}]}
messages.content.is_error | {"messages":[{"content":"Hi","role":"user"},{"content":[{"id":"t","input":{},"name":"f","type":"tool_use"}],"role":"assistant"},{"content":[{"content":"r","is_error":true,"tool_use_id":"t","type":"tool_result"}],"role":"user"}]}
messages.content: tool_result with an image | {"messages":[{"content":"Hi","role":"user"},{"content":[{"id":"t","input":{},"name":"f","type":"tool_use"}],"role":"assistant"},{"content":[{"content":[{"source":{"data":"AAAA","media_type":"image/png","type":"base64"},"type":"image"}],"tool_use_id":"t","type":"tool_result"}],"role":"user"}]}
messages.content: tool_reference | {"messages":[{"content":"Hi","role":"user"},{"content":[{"id":"t","input":{},"name":"f","type":"tool_use"}],"role":"assistant"},{"content":[{"content":[{"tool_name":"f","type":"tool_reference"}],"tool_use_id":"t","type":"tool_result"}],"role":"user"}]}
messages.content: thinking, signed elsewhere | {"messages":[{"content":"Hi","role":"user"},{"content":[{"signature":"x","thinking":"t","type":"thinking"},{"text":"a","type":"text"}],"role":"assistant"},{"content":"b","role":"user"}]}
messages.content: redacted_thinking, sealed elsewhere | {"messages":[{"content":"Hi","role":"user"},{"content":[{"data":"x","type":"redacted_thinking"},{"text":"a","type":"text"}],"role":"assistant"},{"content":"b","role":"user"}]}
messages.content: server_tool_use | {"messages":[{"content":"Hi","role":"user"},{"content":[{"id":"s","input":{},"name":"web_search","type":"server_tool_use"},{"text":"a","type":"text"}],"role":"assistant"},{"content":"b","role":"user"}]}
messages.content: web_search_tool_result | {"messages":[{"content":"Hi","role":"user"},{"content":[{"content":[],"tool_use_id":"s","type":"web_search_tool_result"},{"text":"a","type":"text"}],"role":"assistant"},{"content":"b","role":"user"}]}
messages.content: container_upload | {"messages":[{"content":[{"text":"a","type":"text"},{"file_id":"f","type":"container_upload"}],"role":"user"}]}
messages.content: mcp_tool_use | {"messages":[{"content":"Hi","role":"user"},{"content":[{"id":"s","input":{},"name":"n","server_name":"m","type":"mcp_tool_use"},{"text":"a","type":"text"}],"role":"assistant"},{"content":"b","role":"user"}]}
messages.content: compaction | {"messages":[{"content":"Hi","role":"user"},{"content":[{"content":"s","type":"compaction"}],"role":"assistant"},{"content":"b","role":"user"}]}
max_tokens | {"max_tokens":98}
temperature | {"temperature":0.5}
top_p | {"top_p":0.5}
top_k | {"top_k":5}
stop_sequences | {"stop_sequences":["x"]}
stream | {"stream":true}
thinking: enabled | {"max_tokens":9000,"thinking":{"budget_tokens":2000,"type":"enabled"}}
thinking: adaptive | {"thinking":{"type":"adaptive"}}
thinking: disabled | {"thinking":{"type":"disabled"}}
thinking: between_tools | {"thinking":{"type":"between_tools"}}
thinking.display | {"thinking":{"display":"omitted","type":"adaptive"}}
output_config.effort | {"output_config":{"effort":"low"}}
output_config.format | {"output_config":{"format":{"schema":{"additionalProperties":false,"properties":{"a":{"type":"string"}},"required":["a"],"type":"object"},"type":"json_schema"}}}
output_config.format beyond OpenAI's strict schemas | {"output_config":{"format":{"schema":{"type":"object"},"type":"json_schema"}}}
output_config.task_budget | {"output_config":{"task_budget":{"total":9,"type":"tokens"}}}
output_format | {"output_format":{"schema":{"additionalProperties":false,"properties":{"a":{"type":"string"}},"required":["a"],"type":"object"},"type":"json_schema"}}
tools | {"tools":[{"input_schema":{"type":"object"},"name":"f"}]}
tools.strict | {"tools":[{"input_schema":{"additionalProperties":false,"properties":{"a":{"type":"string"}},"required":["a"],"type":"object"},"name":"f","strict":true}]}
tools.strict beyond OpenAI's strict schemas | {"tools":[{"input_schema":{"type":"object"},"name":"f","strict":true}]}
tools.cache_control | {"tools":[{"cache_control":{"type":"ephemeral"},"input_schema":{"type":"object"},"name":"f"}]}
tools.defer_loading | {"tools":[{"defer_loading":true,"input_schema":{"type":"object"},"name":"f"}]}
tools.input_examples | {"tools":[{"input_examples":[{}],"input_schema":{"type":"object"},"name":"f"}]}
tools.eager_input_streaming | {"tools":[{"eager_input_streaming":true,"input_schema":{"type":"object"},"name":"f"}]}
tools.allowed_callers | {"tools":[{"allowed_callers":["direct"],"input_schema":{"type":"object"},"name":"f"}]}
tools: of Anthropic's own, alone | {"tools":[{"name":"web_search","type":"web_search_20250305"}]}
tools: of Anthropic's own, beside others | {"tools":[{"input_schema":{"type":"object"},"name":"f"},{"name":"web_search","type":"web_search_20250305"}]}
tool_choice: auto | {"tool_choice":{"type":"auto"},"tools":[{"input_schema":{"type":"object"},"name":"f"}]}
tool_choice: any | {"tool_choice":{"type":"any"},"tools":[{"input_schema":{"type":"object"},"name":"f"}]}
tool_choice: none | {"tool_choice":{"type":"none"},"tools":[{"input_schema":{"type":"object"},"name":"f"}]}
tool_choice: tool | {"tool_choice":{"name":"f","type":"tool"},"tools":[{"input_schema":{"type":"object"},"name":"f"}]}
tool_choice.disable_parallel_tool_use | {"tool_choice":{"disable_parallel_tool_use":true,"type":"auto"},"tools":[{"input_schema":{"type":"object"},"name":"f"}]}
metadata.user_id | {"metadata":{"user_id":"u"}}
metadata.user_id of Claude Code | {"metadata":{"user_id":"user_1_account__session_abc"}}
service_tier | {"service_tier":"auto"}
inference_geo | {"inference_geo":"eu"}
speed | {"speed":"fast"}
container | {"container":"c"}
context_management | {"context_management":{"edits":[]}}
mcp_servers | {"mcp_servers":[{"name":"s","type":"url","url":"https://a.example"}]}
betas | {"betas":["b"]}
"##;

/// The members of a responses request, one a line.
const RESPONSES_MEMBERS: &str = r##"
instructions | {"instructions":"s"}
input: a text | {"input":"Hello"}
input: message | {"input":[{"content":"d","role":"developer"},{"content":"Hi","role":"user"}]}
input.content: input_text | {"input":[{"content":[{"text":"a","type":"input_text"}],"role":"user"}]}
input.content: input_image | {"input":[{"content":[{"image_url":"data:image/png;base64,AAAA","type":"input_image"}],"role":"user"}]}
input.content.detail | {"input":[{"content":[{"detail":"low","image_url":"data:image/png;base64,AAAA","type":"input_image"}],"role":"user"}]}
input.content: input_image by its id | {"input":[{"content":[{"file_id":"f","type":"input_image"}],"role":"user"}]}
input.content: input_file | {"input":[{"content":[{"file_data":"data:application/pdf;base64,AAAA","filename":"a.pdf","type":"input_file"}],"role":"user"}]}
input.content: input_file by its address | {"input":[{"content":[{"file_url":"https://a.example/a.pdf","type":"input_file"}],"role":"user"}]}
input.content: input_audio | {"input":[{"content":[{"input_audio":{"data":"AAAA","format":"wav"},"type":"input_audio"}],"role":"user"}]}
input: function_call, function_call_output | {"input":[{"content":"Hi","role":"user"},{"arguments":"{}","call_id":"c","name":"f","type":"function_call"},{"call_id":"c","output":"r","type":"function_call_output"}]}
input: custom_tool_call, its output | {"input":[{"content":"Hi","role":"user"},{"call_id":"c","input":"x","name":"f","type":"custom_tool_call"},{"call_id":"c","output":"r","type":"custom_tool_call_output"}]}
input: local_shell_call, its output | {"input":[{"content":"Hi","role":"user"},{"action":{"command":["ls"],"type":"exec"},"call_id":"c","type":"local_shell_call"},{"call_id":"c","output":"r","type":"local_shell_call_output"}]}
input: reasoning, sealed elsewhere | {"input":[{"content":"Hi","role":"user"},{"encrypted_content":"x","id":"rs_1","summary":[],"type":"reasoning"},{"content":"b","role":"user"}]}
input: web_search_call | {"input":[{"content":"Hi","role":"user"},{"id":"w","status":"completed","type":"web_search_call"},{"content":"b","role":"user"}]}
input: mcp_call | {"input":[{"content":"Hi","role":"user"},{"id":"w","type":"mcp_call"},{"content":"b","role":"user"}]}
input: item_reference | {"input":[{"content":"Hi","role":"user"},{"id":"w","type":"item_reference"},{"content":"b","role":"user"}]}
input: compaction | {"input":[{"content":"Hi","role":"user"},{"encrypted_content":"x","type":"compaction"},{"content":"b","role":"user"}]}
input: computer_call | {"input":[{"content":"Hi","role":"user"},{"call_id":"c","type":"computer_call"},{"content":"b","role":"user"}]}
max_output_tokens | {"max_output_tokens":99}
temperature | {"temperature":0.5}
top_p | {"top_p":0.5}
top_logprobs | {"top_logprobs":2}
include: message.output_text.logprobs | {"include":["message.output_text.logprobs"]}
include: reasoning.encrypted_content | {"include":["reasoning.encrypted_content"]}
include: web_search_call.action.sources | {"include":["web_search_call.action.sources"]}
reasoning.effort | {"reasoning":{"effort":"low"}}
reasoning.effort above high | {"reasoning":{"effort":"xhigh"}}
reasoning.summary | {"reasoning":{"summary":"auto"}}
text.format: json_object | {"text":{"format":{"type":"json_object"}}}
text.format: json_schema | {"text":{"format":{"name":"s","schema":{"type":"object"},"type":"json_schema"}}}
text.verbosity | {"text":{"verbosity":"low"}}
tools: function | {"tools":[{"name":"f","parameters":{"type":"object"},"type":"function"}]}
tools: custom | {"tools":[{"name":"f","parameters":{"type":"object"},"type":"function"},{"name":"g","type":"custom"}]}
tools: local_shell | {"tools":[{"name":"f","parameters":{"type":"object"},"type":"function"},{"type":"local_shell"}]}
tools: namespace with a description | {"tools":[{"description":"d","name":"n","tools":[{"name":"g","parameters":{"type":"object"},"type":"function"}],"type":"namespace"}]}
tools: namespace | {"tools":[{"name":"f","parameters":{"type":"object"},"type":"function"},{"name":"n","tools":[{"name":"g","parameters":{"type":"object"},"type":"function"}],"type":"namespace"}]}
tools.defer_loading | {"tools":[{"defer_loading":true,"name":"f","parameters":{"type":"object"},"type":"function"}]}
tools: of OpenAI's own, alone | {"tools":[{"type":"web_search"}]}
tools: of OpenAI's own, beside others | {"tools":[{"name":"f","parameters":{"type":"object"},"type":"function"},{"type":"web_search"}]}
tool_choice: required | {"tool_choice":"required","tools":[{"name":"f","parameters":{"type":"object"},"type":"function"}]}
tool_choice: none | {"tool_choice":"none","tools":[{"name":"f","parameters":{"type":"object"},"type":"function"}]}
tool_choice: a function | {"tool_choice":{"name":"f","type":"function"},"tools":[{"name":"f","parameters":{"type":"object"},"type":"function"}]}
tool_choice: allowed_tools | {"tool_choice":{"mode":"auto","tools":[{"name":"f","type":"function"}],"type":"allowed_tools"},"tools":[{"name":"f","parameters":{"type":"object"},"type":"function"}]}
tool_choice: of OpenAI's own | {"tool_choice":{"type":"web_search"},"tools":[{"name":"f","parameters":{"type":"object"},"type":"function"}]}
parallel_tool_calls | {"parallel_tool_calls":false,"tools":[{"name":"f","parameters":{"type":"object"},"type":"function"}]}
max_tool_calls | {"max_tool_calls":3}
stream | {"stream":true}
stream_options.include_obfuscation | {"stream_options":{"include_obfuscation":false}}
store | {"store":true}
previous_response_id | {"previous_response_id":"r"}
conversation | {"conversation":"c"}
prompt | {"prompt":{"id":"p"}}
background | {"background":true}
truncation | {"truncation":"auto"}
context_management | {"context_management":[{"type":"compaction"}]}
metadata | {"metadata":{"a":"b"}}
user | {"user":"u"}
user, a mail address | {"user":"joe@a.example"}
safety_identifier | {"safety_identifier":"u"}
prompt_cache_key | {"prompt_cache_key":"k"}
prompt_cache_retention | {"prompt_cache_retention":"24h"}
service_tier | {"service_tier":"flex"}
"##;

/// The members of a Gemini request, one a line.
const GEMINI_MEMBERS: &str = r##"
systemInstruction | {"systemInstruction":{"parts":[{"text":"s"}]}}
contents.parts.text | {"contents":[{"parts":[{"text":"a"},{"text":"b"}],"role":"user"}]}
contents.parts.inlineData: image | {"contents":[{"parts":[{"inlineData":{"data":"AAAA","mimeType":"image/png"}}],"role":"user"}]}
contents.parts.inlineData: PDF | {"contents":[{"parts":[{"inlineData":{"data":"AAAA","mimeType":"application/pdf"}}],"role":"user"}]}
contents.parts.inlineData: WAV, MP3 | {"contents":[{"parts":[{"inlineData":{"data":"AAAA","mimeType":"audio/wav"}}],"role":"user"}]}
contents.parts.inlineData: other sound, film | {"contents":[{"parts":[{"inlineData":{"data":"AAAA","mimeType":"video/mp4"}}],"role":"user"}]}
contents.parts.fileData by its address | {"contents":[{"parts":[{"fileData":{"fileUri":"https://a.example/a.png","mimeType":"image/png"}}],"role":"user"}]}
contents.parts.fileData of Google's files | {"contents":[{"parts":[{"fileData":{"fileUri":"https://generativelanguage.googleapis.com/v1beta/files/a","mimeType":"image/png"}}],"role":"user"}]}
contents.parts.functionCall, functionResponse | {"contents":[{"parts":[{"text":"Hi"}],"role":"user"},{"parts":[{"functionCall":{"args":{},"name":"f"}}],"role":"model"},{"parts":[{"functionResponse":{"name":"f","response":{"output":"r"}}}],"role":"user"}]}
contents.parts.thoughtSignature of Google's | {"contents":[{"parts":[{"text":"Hi"}],"role":"user"},{"parts":[{"text":"t","thoughtSignature":"AAAA"},{"text":"a"}],"role":"model"},{"parts":[{"text":"b"}],"role":"user"}]}
contents.parts.executableCode | {"contents":[{"parts":[{"text":"Hi"}],"role":"user"},{"parts":[{"executableCode":{"code":"1","language":"PYTHON"}},{"text":"a"}],"role":"model"},{"parts":[{"text":"b"}],"role":"user"}]}
tools.functionDeclarations.parameters | {"tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"OBJECT"}}]}]}
tools.functionDeclarations.parametersJsonSchema | {"tools":[{"functionDeclarations":[{"name":"f","parametersJsonSchema":{"type":"object"}}]}]}
tools.functionDeclarations.response | {"tools":[{"functionDeclarations":[{"name":"f","response":{"type":"OBJECT"}}]}]}
tools.functionDeclarations.behavior | {"tools":[{"functionDeclarations":[{"behavior":"BLOCKING","name":"f"}]}]}
tools: googleSearch, alone | {"tools":[{"googleSearch":{}}]}
tools: googleSearch, beside functions | {"tools":[{"functionDeclarations":[{"name":"f"}]},{"googleSearch":{}}]}
toolConfig: ANY | {"toolConfig":{"functionCallingConfig":{"mode":"ANY"}},"tools":[{"functionDeclarations":[{"name":"f"},{"name":"g"}]}]}
toolConfig: NONE | {"toolConfig":{"functionCallingConfig":{"mode":"NONE"}},"tools":[{"functionDeclarations":[{"name":"f"},{"name":"g"}]}]}
toolConfig.allowedFunctionNames | {"toolConfig":{"functionCallingConfig":{"allowedFunctionNames":["f"],"mode":"ANY"}},"tools":[{"functionDeclarations":[{"name":"f"},{"name":"g"}]}]}
safetySettings | {"safetySettings":[{"category":"c","threshold":"BLOCK_NONE"}]}
cachedContent | {"cachedContent":"c"}
labels | {"labels":{"a":"b"}}
generationConfig.temperature | {"generationConfig":{"temperature":0.5}}
generationConfig.topP | {"generationConfig":{"topP":0.5}}
generationConfig.topK | {"generationConfig":{"topK":5}}
generationConfig.maxOutputTokens | {"generationConfig":{"maxOutputTokens":99}}
generationConfig.stopSequences | {"generationConfig":{"stopSequences":["x"]}}
generationConfig.seed | {"generationConfig":{"seed":1}}
generationConfig.presencePenalty | {"generationConfig":{"presencePenalty":0.5}}
generationConfig.frequencyPenalty | {"generationConfig":{"frequencyPenalty":0.5}}
generationConfig.candidateCount above 1 | {"generationConfig":{"candidateCount":2}}
generationConfig.responseLogprobs | {"generationConfig":{"logprobs":2,"responseLogprobs":true}}
generationConfig.responseMimeType: JSON | {"generationConfig":{"responseMimeType":"application/json"}}
generationConfig.responseMimeType: a word | {"generationConfig":{"responseMimeType":"text/x.enum","responseSchema":{"enum":["a"],"type":"STRING"}}}
generationConfig.responseSchema | {"generationConfig":{"responseMimeType":"application/json","responseSchema":{"type":"OBJECT"}}}
generationConfig.responseJsonSchema | {"generationConfig":{"responseJsonSchema":{"type":"object"},"responseMimeType":"application/json"}}
generationConfig.thinkingConfig.thinkingBudget | {"generationConfig":{"maxOutputTokens":9000,"thinkingConfig":{"thinkingBudget":2000}}}
generationConfig.thinkingConfig.thinkingLevel | {"generationConfig":{"thinkingConfig":{"thinkingLevel":"LOW"}}}
generationConfig.thinkingConfig.includeThoughts | {"generationConfig":{"thinkingConfig":{"includeThoughts":true}}}
generationConfig.responseModalities: others than TEXT | {"generationConfig":{"responseModalities":["IMAGE"]}}
generationConfig.speechConfig | {"generationConfig":{"speechConfig":{}}}
generationConfig.mediaResolution | {"generationConfig":{"mediaResolution":"MEDIA_RESOLUTION_LOW"}}
"##;

fn rows(members: &str) -> Vec<MemberRow<'_>> {
    let lines = members.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (path, json) = line.split_once(" | ").unwrap();
            (path, serde_json::from_str(json).unwrap())
        })
        .collect()
}

/// A request with these members, whose limit no dialect refuses.
fn asked(from: ApiDialect, members: &Value) -> Value {
    let mut request = request(from, if from == Messages { json!({"max_tokens": 99}) } else { json!({}) });
    for (name, value) in members.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

/// The outcome of a request with the member, beside one without.
fn outcome(from: ApiDialect, to: ApiDialect, members: &Value) -> String {
    if from == to {
        return "–".to_owned();
    }
    let way = Way { from, to };
    let plain = way.body(&asked(from, &json!({})));
    match way.try_with(&asked(from, members), &OPTIONS) {
        Err(error) if error.kind == RequestErrorKind::Unsayable => match error.param {
            Some(path) => format!("refused: `{path}`"),
            None => "refused".to_owned(),
        },
        Err(error) => panic!("{from:?} to {to:?} {members}: {error}"),
        Ok(translated) if translated.dropped.is_empty() => {
            let is_same = serde_json::from_slice::<Value>(&translated.body.concat()).unwrap() == plain;
            if is_same { "no effect" } else { "carried" }.to_owned()
        }
        Ok(translated) => format!("dropped: `{}`", translated.dropped.join("`, `")),
    }
}

fn table(name: &str, from: ApiDialect, rows: &[MemberRow<'_>]) -> String {
    let mut table = format!("## {name}\n\n| member | chat | messages | responses |\n|---|---|---|---|\n");
    for (path, members) in rows {
        let [chat, messages, responses] =
            [ChatCompletions, Messages, Responses].map(|to| outcome(from, to, members));
        table.push_str(&format!("| `{path}` | {chat} | {messages} | {responses} |\n"));
    }
    table
}

/// A pair that treats a member in another way than the documents say fails here. With `THALWEG_WRITE_TABLES`
/// set, the tables are written.
#[test]
fn the_document_has_each_member_of_each_pair() {
    let tables = [
        table("Chat completions", ChatCompletions, &rows(CHAT_MEMBERS)),
        table("Messages", Messages, &rows(MESSAGES_MEMBERS)),
        table("Responses", Responses, &rows(RESPONSES_MEMBERS)),
        table("Gemini", Gemini, &rows(GEMINI_MEMBERS)),
    ]
    .join("\n");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/TRANSLATION.md");
    let document = std::fs::read_to_string(path).unwrap();
    let (before, rest) = document.split_once("<!-- members -->\n\n").unwrap();
    let (written, after) = rest.split_once("\n<!-- end -->").unwrap();
    if std::env::var_os("THALWEG_WRITE_TABLES").is_some() {
        std::fs::write(path, format!("{before}<!-- members -->\n\n{tables}\n<!-- end -->{after}")).unwrap();
        return;
    }
    for (line, expected) in written.lines().zip(tables.lines()) {
        assert_eq!(line, expected);
    }
    assert_eq!(written.lines().count(), tables.lines().count());
}

/// All members that are dropped, in one request: each is named.
#[test]
fn all_dropped_members_of_a_request_are_named() {
    for (from, rows) in [
        (ChatCompletions, rows(CHAT_MEMBERS)),
        (Messages, rows(MESSAGES_MEMBERS)),
        (Responses, rows(RESPONSES_MEMBERS)),
        (Gemini, rows(GEMINI_MEMBERS)),
    ] {
        for to in [ChatCompletions, Messages, Responses].into_iter().filter(|to| *to != from) {
            let (mut all, mut names) = (json!({}), Vec::new());
            for (_, members) in &rows {
                let Ok(translated) = (Way { from, to }).try_with(&asked(from, members), &OPTIONS) else {
                    continue;
                };
                let is_plain = members.as_object().unwrap().values().all(|value| !value.is_array());
                let is_free = members.as_object().unwrap().keys().all(|name| all.get(name).is_none());
                if !translated.dropped.is_empty() && is_plain && is_free {
                    names.extend(translated.dropped);
                    all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
                }
            }
            let mut dropped = Way { from, to }.whole(&asked(from, &all)).1.dropped;
            names.sort();
            names.dedup();
            dropped.sort();
            assert_eq!(dropped, names, "{from:?} to {to:?}");
        }
    }
}

/// A provider that refuses the members of OpenAI alone does not get them, and the client is informed.
#[test]
fn members_of_openai_alone_are_dropped_by_name() {
    let options = RequestOptions { openai_members: false, ..OPTIONS };
    let dropped = |from, members: Value| {
        let way = Way { from, to: ChatCompletions };
        way.try_with(&asked(from, &members), &options).unwrap().dropped
    };
    let session = json!({"metadata": {"user_id": "user_1_account__session_abc"}});
    assert_eq!(dropped(Messages, session), ["metadata"]);
    let wishes = json!({"prompt_cache_key": "k", "text": {"verbosity": "low"}, "service_tier": "flex"});
    assert_eq!(dropped(Responses, wishes), ["text.verbosity", "prompt_cache_key", "service_tier"]);
}
