"""Profiles: the servers that unspool knows by name.

Each entry follows the provider's own documentation: its base URL, the variable its examples keep the key in, and the endpoint
it recommends. Models come and go, so only OpenAI's has a default.
"""

from __future__ import annotations

from unspool.value import EMPTY, Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.config.target import Route
    from unspool.jsontext import JsonObject

DEFAULT_PROFILE = "openai"
DEFAULT_MODEL = "gpt-5.4-mini"

#: OpenAI's own hosts: the usual one, then those of its data residency regions. One key is good for all.
OPENAI_HOSTS = (
    "api.openai.com",
    "us.api.openai.com",
    "eu.api.openai.com",
    "ae.api.openai.com",
    "au.api.openai.com",
    "in.api.openai.com",
    "jp.api.openai.com",
)


class Profile(Fields):
    """What is known about a server before the environment and the command line are asked.

    ``${NAME}`` in ``base_url`` and in the values of ``headers`` and ``query`` stands for an environment variable. ``api`` is None where
    the host decides: ``responses`` at OpenAI, ``chat`` elsewhere. ``key_env`` are the variables that may hold the key, and
    ``token_env`` one whose value is sent as a bearer token whatever ``auth`` says. ``key_cmd`` is a command that prints the key.
    ``base_url_env`` names a variable that overrides the URL and ``header_env`` the variables of further headers, by header.
    ``hosts`` are further hosts at which the same keys are good. ``parent`` is the built-in profile that one in the
    configuration file started from; such a profile has ``key_env`` only if the file says so. ``options`` are fields of each request
    that says nothing else about them.
    """

    name: str
    base_url: str
    api: str | None = None
    key_env: tuple[str, ...] = ()
    model: str | None = None
    token_env: str | None = None
    key_cmd: tuple[str, ...] = ()
    auth: str = "bearer"
    headers: dict[str, str] = EMPTY
    query: dict[str, str] = EMPTY
    paths: dict[str, str] = EMPTY
    options: JsonObject = EMPTY
    needs_key: bool = True
    base_url_env: str | None = None
    header_env: dict[str, str] = EMPTY
    hosts: tuple[str, ...] = ()
    parent: Profile | None = None
    network: Route | None = None

    def __repr__(self) -> str:
        # Headers, query and command may hold secrets.
        return f"Profile(name={self.name!r}, base_url={self.base_url!r}, api={self.api!r})"

    def __hash__(self) -> int:
        return hash((self.name, self.base_url))


BUILT_IN = {
    profile.name: profile
    for profile in (
        Profile(
            DEFAULT_PROFILE,
            "https://api.openai.com/v1",
            None,
            ("OPENAI_API_KEY",),
            model=DEFAULT_MODEL,
            base_url_env="OPENAI_BASE_URL",
            header_env={"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"},
            hosts=OPENAI_HOSTS,
        ),
        Profile(
            "azure",
            "${AZURE_OPENAI_ENDPOINT}/openai/v1",
            "responses",
            ("AZURE_OPENAI_API_KEY",),
            token_env="AZURE_OPENAI_AD_TOKEN",
            auth="api-key",
        ),
        # The older scheme, in which the model is a deployment in the path and the version is mandatory.
        Profile(
            "azure-legacy",
            "${AZURE_OPENAI_ENDPOINT}/openai",
            "chat",
            ("AZURE_OPENAI_API_KEY",),
            token_env="AZURE_OPENAI_AD_TOKEN",
            auth="api-key",
            query={"api-version": "${OPENAI_API_VERSION}"},
            paths={
                "/chat/completions": "/deployments/{model}/chat/completions",
                "/completions": "/deployments/{model}/completions",
            },
        ),
        Profile("openrouter", "https://openrouter.ai/api/v1", "chat", ("OPENROUTER_API_KEY",)),
        Profile("groq", "https://api.groq.com/openai/v1", "chat", ("GROQ_API_KEY",)),
        Profile("mistral", "https://api.mistral.ai/v1", "chat", ("MISTRAL_API_KEY",)),
        Profile("deepseek", "https://api.deepseek.com/v1", "chat", ("DEEPSEEK_API_KEY",)),
        Profile("together", "https://api.together.xyz/v1", "chat", ("TOGETHER_API_KEY",)),
        Profile("fireworks", "https://api.fireworks.ai/inference/v1", "chat", ("FIREWORKS_API_KEY",)),
        Profile("xai", "https://api.x.ai/v1", "responses", ("XAI_API_KEY",)),  # xAI calls chat deprecated
        Profile(
            "gemini",
            "https://generativelanguage.googleapis.com/v1beta/openai",
            "chat",
            ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        ),
        Profile("anthropic", "https://api.anthropic.com/v1", "chat", ("ANTHROPIC_API_KEY",)),
        Profile("ollama", "http://localhost:11434/v1", "chat", needs_key=False),
        Profile("lmstudio", "http://localhost:1234/v1", "chat", ("LM_API_TOKEN",), needs_key=False),
        # llama-server reads LLAMA_API_KEY, but so do clients of Meta's hosted models: it may be a key for those.
        Profile("llamacpp", "http://localhost:8080/v1", "chat", needs_key=False),
        Profile("vllm", "http://localhost:8000/v1", "chat", ("VLLM_API_KEY",), needs_key=False),
    )
}
