"""One request for each thing that the simulator can answer with, for tests that hold for all of them."""

CHAT, RESPONSES, COMPLETIONS = "/chat/completions", "/responses", "/completions"

WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
    },
    "required": ["city", "unit", "days"],
    "additionalProperties": False,
}
DICE = {"type": "object", "properties": {"sides": {"type": "integer", "minimum": 2}}}
GRAMMAR = {"syntax": "regex", "definition": r"SELECT [a-z]{3,5} FROM t[0-9]+"}

CHAT_TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER, "strict": True}},
    {"type": "function", "function": {"name": "roll_dice", "description": "Roll them.", "parameters": DICE}},
    {"type": "custom", "custom": {"name": "query", "format": {"type": "grammar", "grammar": GRAMMAR}}},
]
TOOLS = [
    {"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": True},
    {"type": "function", "name": "roll_dice", "description": "Roll them.", "parameters": DICE, "strict": False},
    {"type": "custom", "name": "query", "format": {"type": "grammar", **GRAMMAR}},
]

PEOPLE = {
    "type": "object",
    "properties": {
        "people": {
            "type": "array",
            "items": {"$ref": "#/$defs/person"},
            "minItems": 2,
        },
        "at": {"type": "string", "format": "date-time"},
        "score": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "either": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    },
    "required": ["people", "at", "score", "either"],
    "additionalProperties": False,
    "$defs": {
        "person": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/person"}},
            },
            "required": ["name", "code", "children"],
            "additionalProperties": False,
        }
    },
}

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg=="


def said(text):
    return [{"role": "user", "content": text}]


def _results(*outputs):
    calls = [
        {"id": f"call_{number}", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
        for number in range(len(outputs))
    ]
    answers = [
        {"role": "tool", "tool_call_id": f"call_{number}", "content": output} for number, output in enumerate(outputs)
    ]
    return [*said("get weather"), {"role": "assistant", "content": None, "tool_calls": calls}, *answers]


_CHAT = {
    "text": {"messages": said("What is Python?")},
    "three": {"messages": said("Hello"), "n": 3},
    "limit": {"messages": said("Hello"), "max_completion_tokens": 5},
    "call": {"messages": said("get weather"), "tools": CHAT_TOOLS},
    "calls": {"messages": said("get_weather, then roll dice"), "tools": CHAT_TOOLS, "n": 2},
    "custom": {"messages": said("Now query"), "tools": CHAT_TOOLS},
    "required": {"messages": said("Hello"), "tools": CHAT_TOOLS, "tool_choice": "required"},
    "function": {"messages": said("roll"), "functions": [{"name": "roll", "parameters": DICE}]},
    "results": {"messages": _results("19 degrees", "rain"), "tools": CHAT_TOOLS},
    "logprobs": {"messages": said("Hello"), "logprobs": True, "top_logprobs": 3},
    "json": {"messages": said("As JSON"), "response_format": {"type": "json_object"}},
    "schema": {
        "messages": said("Who?"),
        "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": PEOPLE, "strict": True}},
    },
    "refusal": {"messages": said("[refuse]"), "logprobs": True},
    "filter": {"messages": said("[filter] Hello")},
    "thinking": {"model": "o3", "messages": said("Hello")},
    "cut thinking": {"model": "o3", "messages": said("Hello"), "max_completion_tokens": 7},
    "attachments": {
        "messages": said(
            [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
            ]
        )
    },
}
_RESPONSES = {
    "text": {"input": "What is Python?"},
    "limit": {"input": "Hello", "max_output_tokens": 5},
    "background": {"input": "Hello", "background": True},
    "call": {"input": "get weather", "tools": TOOLS},
    "calls": {"input": "get_weather, then roll dice", "tools": TOOLS},
    "cut call": {"input": "get weather", "tools": TOOLS, "max_output_tokens": 3},
    "custom": {"input": "Now query", "tools": TOOLS},
    "required": {"input": "Hello", "tools": TOOLS, "tool_choice": {"type": "function", "name": "roll_dice"}},
    "results": {
        "input": [
            *said("get weather"),
            {"type": "function_call", "call_id": "call_0", "name": "get_weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_0", "output": "19 degrees"},
        ],
    },
    "logprobs": {"input": "Hello", "include": ["message.output_text.logprobs"], "top_logprobs": 3},
    "json": {"input": "As JSON", "text": {"format": {"type": "json_object"}}},
    "schema": {
        "input": "Who?",
        "text": {"format": {"type": "json_schema", "name": "p", "schema": PEOPLE, "strict": True}},
    },
    "refusal": {"input": "[refuse]"},
    "filter": {"input": "[filter] Hello"},
    "thinking": {"model": "o3", "input": "Hello"},
    "summary": {
        "model": "gpt-5.4",
        "input": "Hello",
        "reasoning": {"effort": "high", "summary": "detailed"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
    },
    "cut thinking": {"model": "o3", "input": "Hello", "max_output_tokens": 7},
    "attachments": {
        "input": said(
            [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": PIXEL, "detail": "low"},
                {"type": "input_image", "file_id": "file-1", "detail": "auto"},
                {"type": "input_file", "file_url": "https://example.com/a.pdf"},
            ]
        )
    },
}
_COMPLETIONS = {
    "text": {"prompt": "What is Python?", "max_tokens": 50},
    "several": {"prompt": ["One", "Two"], "n": 2},
    "best": {"prompt": "Hello", "n": 2, "best_of": 2},
    "suffix": {"prompt": "def f():", "suffix": "return 1"},
    "logprobs": {"prompt": "Hello", "logprobs": 3},
    "echo": {"prompt": "Hello there", "echo": True, "logprobs": 1, "max_tokens": 0},
    "filter": {"prompt": "[filter] Hello"},
}

#: Name, path and body of each.
ALL = [
    (f"{path[1:].partition('/')[0]} {name}", path, {"model": "sim-1", **body})
    for path, bodies in ((CHAT, _CHAT), (RESPONSES, _RESPONSES), (COMPLETIONS, _COMPLETIONS))
    for name, body in bodies.items()
]


def of(path):
    """The bodies of the requests to one path, by name."""
    return {name.partition(" ")[2]: body for name, where, body in ALL if where == path}
