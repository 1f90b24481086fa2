"""Named faults of real servers, written out as data. ``unspool faults`` prints them after the faults.

A name is used like a fault without a value. In the table, the endpoints at which one makes sense are in brackets, where it is not all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(slots=True)
class Quirk:
    """A fault seen at a real server, and the faults that it is made of. ``where`` are the endpoints at which it makes sense."""

    name: str
    does: str
    faults: str
    where: tuple[str, ...]


_ALL = ("responses", "chat", "completions")
_ENTRY = re.compile(r"(?m)^([\w-]+)(?: \(([\w, ]+)\))?: (.*)\n    (.*)$")
_TABLE = r"""
# Framing
one-newline: separate events by a single line end (GLM, Kimi)
    framing=lines
doubled-data: write `data: data: {…}` (gateways that wrap a stream twice)
    framing=doubled
json-lines: send JSON lines without `data:`
    framing=bare
heartbeat-words: send `data: ping` before each event
    insert=each,"data: ping\n\n"
empty-data: send `data:` without content before each event
    insert=each,"data:\n\n"
sse-error: send an error in a field `error:` after four events (llama.cpp)
    error=4,field
error-line: send an error as a JSON line without a field after four events
    error=4,line
# Endings
done-instead (responses): end a response with `[DONE]` and no terminal event
    no-finish; done=on
done-alone: send nothing but `[DONE]`
    drop=each; done=on
other-api: send the events of another API, and `[DONE]`
    drop=each; insert=end,{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}; done=on
choice-cut (chat, completions): leave out what the second choice sends after ten events, and its finish reason
    drop=>10&choices.index=1
held-open: send no `[DONE]`, and hold the connection open after the finish reason, with comments
    done=off; stall=end,,": ping\n\n"
comments-for-ever: after six events, send nothing but comments
    stall=6,,": ping\n\n"
completed-at-limit (responses): call a response that the limit cut `completed`
    set=response.incomplete,{"type":"response.completed","response":{"status":"completed","incomplete_details":null}}
llamacpp-limit (responses): the same, with `Server: llama.cpp`
    completed-at-limit; header=server:llama.cpp
native-finish (chat, completions): give the provider's reason only in `native_finish_reason` (OpenRouter)
    set=finish,{"choices":{"native_finish_reason":"MAX_TOKENS"}}
sensitive (chat, completions): finish as Zhipu does when it filters
    finish=sensitive
safety (chat, completions): finish as Gemini does when it filters
    finish=SAFETY
network-error (chat, completions): finish as Zhipu does when it fails
    finish=network_error
out-of-resources (chat, completions): finish as DeepSeek does when it fails
    finish=insufficient_system_resource
window-full (chat, completions): finish as Zhipu does at the end of its context
    finish=model_context_window_exceeded
eos (chat, completions): finish as text-generation-inference does
    finish=eos_token
end-turn (chat, completions): finish as Anthropic does
    finish=end_turn
unknown-finish (chat, completions): finish for an unknown reason
    finish=qwertz
# Texts that contradict each other, or are not in the deltas
final-text (responses): send a different text in the last event than in the deltas
    set=response.completed,{"response":{"output":{"content":{"text":"Something else."}}}}
done-text (responses): send a different text in the `done` event than in the deltas
    set=response.output_text.done,{"text":"Something else."}
no-deltas (responses): send a text without its deltas
    drop=response.output_text.delta
items-alone (responses): send the text only in `output_item.done` and the last event
    drop=response.output_text.delta; drop=response.output_text.done; drop=response.content_part.added; drop=response.content_part.done
snapshot-alone (responses): send the text only in the last event
    items-alone; drop=response.output_item.added; drop=response.output_item.done
hole (responses): leave out one event of a response, with its number
    drop=sequence_number=7
# Numbers
nan: count the tokens with NaN
    usage=finish; set=usage,{"usage":{"tokens_per_second":NaN}}; set=response.completed,{"response":{"usage":{"tokens_per_second":NaN}}}
infinity: count the tokens with 1e400
    usage=finish; set=usage,{"usage":{"total_tokens":1e400}}; set=response.completed,{"response":{"usage":{"total_tokens":1e400}}}
huge-integer: count the tokens with 5,000 digits
    usage=finish; set=usage,{"usage":{"total_tokens":HUGE}}; set=response.completed,{"response":{"usage":{"total_tokens":HUGE}}}
nan-logprobs (chat): send log probabilities that are not valid JSON
    set=text,{"choices":{"logprobs":{"content":[{"token":"x","logprob":-Infinity,"bytes":null,"top_logprobs":[]}]}}}
# Errors, in the shapes and with the codes that providers use
limited-first: send a rate limit as the first event of a 200
    error=0,nested,rate_limit_exceeded
overloaded-first: send an overload as the first event of a 200
    error=0,nested,server_is_overloaded
too-long-first: send `context_length_exceeded` as the first event of a 200
    error=0,nested,context_length_exceeded
wrong-key-later: send `invalid_api_key` after four events
    error=4,nested,invalid_api_key
minimax-error: refuse with 200 and a `base_resp` (MiniMax)
    status=200,body:{"base_resp":{"status_code":1004,"status_msg":"login fail: Please carry the API secret key"}}
minimax-limit (chat, completions): send a rate limit as a `base_resp` in an event (MiniMax)
    error=0,{"id":"m","choices":null,"base_resp":{"status_code":1002,"status_msg":"rate limit exceeded"}}
code-msg: refuse with 400 and `{"code","msg"}`
    status=400,body:{"code":20012,"msg":"Model does not exist. Please check it carefully."}
code-msg-200: the same with status 200
    status=200,body:{"code":500,"msg":"Internal error","success":false}
detail: refuse as FastAPI does
    status=422,body:{"detail":[{"type":"missing","loc":["body","model"],"msg":"Field required"}]}
errors: refuse with a list of `errors`
    status=400,body:{"errors":[{"message":"unsupported parameter","code":7003}]}
text-error: refuse with an error that is a string (Ollama)
    status=404,body:{"error":"model 'm' not found"}
gemini-key: refuse a wrong key with 400, in a list (Gemini)
    status=400,body:[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}]
gemini-limit: refuse with 429 and when to try again in the details (Gemini)
    status=429,body:[{"error":{"code":429,"message":"You exceeded your current quota. Please retry in 34s.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}}]
payment-required: refuse with 402 (DeepSeek)
    status=402,body:{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}
no-credits: refuse with 402 and a number for a code (OpenRouter)
    status=402,body:{"error":{"code":402,"message":"Insufficient credits. Add more using https://openrouter.ai/credits"}}
azure-filter: refuse a filtered prompt with 400 (Azure)
    status=400,body:{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"violence":{"filtered":true,"severity":"high"}}}}}
moderated: refuse a filtered prompt with 403 (OpenRouter)
    status=403,body:{"error":{"code":403,"message":"Your input was flagged","metadata":{"reasons":["violence"],"flagged_input":"x","provider_name":"p"}}}
zhipu-filter: refuse a filtered prompt with 400 and Zhipu's code
    status=400,body:{"contentFilter":[{"level":1,"role":"user"}],"error":{"code":"1301","message":"The system detected potentially unsafe or sensitive content."}}
dashscope-filter: refuse a filtered prompt with 400 (Qwen)
    status=400,body:{"error":{"code":"data_inspection_failed","param":null,"message":"Input text data may contain inappropriate content.","type":"data_inspection_failed"}}
unverified: refuse to stream to an organization that is not verified (OpenAI)
    status=400,body:{"error":{"message":"Your organization must be verified to stream this model.","type":"invalid_request_error","param":"stream","code":"unsupported_value"}}
no-stream-options (chat, completions): refuse `stream_options`
    status=400,body:{"error":{"message":"Unknown parameter: 'stream_options'.","type":"invalid_request_error","param":"stream_options","code":"unknown_parameter"}}
# What answers hold besides text, and requests must hold
commentary (responses): send a message with the phase `commentary` first
    item={"id":"msg_c","type":"message","role":"assistant","status":"completed","phase":"commentary","content":[{"type":"output_text","text":"Let me look that up.","annotations":[],"logprobs":[]}]}
computer-call (responses): send a `computer_call` first
    item={"id":"cu_1","type":"computer_call","call_id":"call_1","status":"completed","action":{"type":"click","x":10,"y":20,"button":"left"},"pending_safety_checks":[]}
custom-item (responses): send an item of an unknown type first
    item={"id":"x_1","type":"acme:search","status":"completed","query":"q"}
image-item (responses): send a picture first
    item={"id":"ig_1","type":"image_generation_call","status":"completed","result":"iVBORw0KGgo="}
annotations (responses): cite a page (Responses)
    insert=response.output_text.done,{"type":"response.output_text.annotation.added","output_index":0,"content_index":0,"annotation_index":0,"item_id":"m","annotation":{"type":"url_citation","start_index":0,"end_index":3,"url":"https://example.com/a","title":"A"}}
chat-annotations (chat): cite a page in a delta (OpenRouter, OpenAI's search models)
    insert=finish,{"choices":[{"index":0,"delta":{"annotations":[{"type":"url_citation","url_citation":{"start_index":0,"end_index":3,"url":"https://example.com/a","title":"A"}}]},"finish_reason":null}]}
citations (chat): cite pages in fields of each chunk (Perplexity)
    set=each,{"citations":["https://example.com/a"],"search_results":[{"title":"A","url":"https://example.com/a"}]}
images (chat): send a picture in a delta (OpenRouter, Gemini)
    insert=finish,{"choices":[{"index":0,"delta":{"images":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]},"finish_reason":null}]}
audio (chat): send sound in a delta
    insert=finish,{"choices":[{"index":0,"delta":{"audio":{"id":"a","data":"AAAA","transcript":"Hi"}},"finish_reason":null}]}
signature (chat): send a thought signature with the text (Gemini)
    set=text,{"choices":{"delta":{"extra_content":{"google":{"thought_signature":"c2ln"}}}}}
needs-signature (chat): send a thought signature with each tool call, and refuse a conversation without it (Gemini)
    set=tool,{"choices":{"delta":{"tool_calls":{"extra_content":{"google":{"thought_signature":"c2ln"}}}}}}; needs=messages.tool_calls,each,extra_content.google.thought_signature
needs-reasoning (chat): send `reasoning_content` first, and refuse a conversation in which a tool call has none (DeepSeek, Kimi)
    insert=role,{"choices":[{"index":0,"delta":{"role":"assistant","reasoning_content":"Let me think."},"finish_reason":null}]}; needs=messages,tool_calls.type=function,reasoning_content
needs-type (responses): refuse items without a `type` (llama.cpp)
    needs=input,role=assistant,type,Cannot determine type of 'item'
nothing-said (chat, completions): finish without text
    drop=text&>0
"""

#: By their names.
QUIRKS = {
    name: Quirk(name, does, faults.replace("HUGE", "9" * 5000), tuple(where.split(", ") if where else _ALL))
    for name, where, does, faults in _ENTRY.findall(_TABLE)
}
