"""``unspool chat`` as data. Apart from `unspool.cli.options.ask`, whose start it would slow down."""

from __future__ import annotations

from unspool.cli import commands
from unspool.cli.options import Command, Words
from unspool.cli.options.ask import CONVERSATION_OPTIONS, NO_LOG_OPTION, SERVER_SIDE_OPTIONS, AskOptions
from unspool.cli.options.shared import (
    FILE_OPTIONS,
    LIMIT_OPTIONS,
    MODEL_OPTIONS,
    OUTPUT_OPTIONS,
    SCHEMA_OPTIONS,
    SERVER_OPTIONS,
    TOOL_OPTIONS,
    TOOL_RUN_OPTIONS,
    TOOL_SOURCE_OPTIONS,
)


class ChatOptions(AskOptions):
    """The options of ``unspool chat``; those of ``ask`` that it does not take keep their defaults."""


CHAT = Command(
    "chat",
    "have a conversation",
    lambda options: commands.chat.run(options),
    ChatOptions,
    (
        *MODEL_OPTIONS,
        *FILE_OPTIONS,
        *SCHEMA_OPTIONS,
        *TOOL_OPTIONS[:2],
        *TOOL_SOURCE_OPTIONS,
        *TOOL_RUN_OPTIONS,
        *CONVERSATION_OPTIONS,
        *OUTPUT_OPTIONS,
        NO_LOG_OPTION,
        *SERVER_OPTIONS,
        *SERVER_SIDE_OPTIONS,
        *LIMIT_OPTIONS,
    ),
    (Words("prompt", "PROMPT", "what to ask first; words are joined with spaces", most=None),),
    description="Have a conversation with a model. Type /help in the chat to list its commands. If stdin is a pipe, each line is a prompt,"
    " and the exit code is that of the first answer that failed.",
    examples="""\
unspool chat
unspool chat -m gpt-5.4-mini -s "Answer briefly" "What is a monad?"
unspool chat -c                               continues the last conversation
unspool chat --cid 7F3K9Q                     continues another conversation
unspool chat --sim                            no key, no network
printf 'Hi\\nAnd in French?\\n' | unspool chat  one prompt per line\
""",
)

COMMANDS = (CHAT,)
