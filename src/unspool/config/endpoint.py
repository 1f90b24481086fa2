"""Where a request goes and as whom."""

from __future__ import annotations

from unspool.value import Value


class Endpoint(Value):
    """A server that speaks the API, with the key for it.

    ``base_url`` has no trailing slash and includes ``/v1`` where the server wants it. ``api`` is the default endpoint there:
    ``responses``, ``chat`` or ``completions``. ``key`` is secret and belongs to this URL's origin alone; it is sent as
    ``auth`` says: ``"bearer"`` (``Authorization: Bearer``) or a header's name (``"api-key"`` for Azure). ``headers`` are further ones,
    sent only to that origin too, since people put secrets there. ``query`` is added to each URL. ``model`` is the default. ``key_hint`` names the environment variable or
    command that would give the key, for error messages; ``needs_key`` is False for local servers. ``paths`` overrides
    an endpoint's path, where ``{model}`` stands for the model (Azure's deployments).
    """

    __slots__ = (
        "name",
        "base_url",
        "api",
        "key",
        "auth",
        "headers",
        "query",
        "model",
        "needs_key",
        "key_hint",
        "paths",
    )

    def __init__(
        self,
        name: str,
        base_url: str,
        api: str,
        *,
        key: str | None = None,
        auth: str = "bearer",
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
        model: str | None = None,
        needs_key: bool = True,
        key_hint: str = "OPENAI_API_KEY",
        paths: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self.base_url = base_url.rstrip("/")
        self.api = api
        self.key = key
        self.auth = auth
        self.headers = headers or {}
        self.query = query or {}
        self.model = model
        self.needs_key = needs_key
        self.key_hint = key_hint
        self.paths = paths or {}

    def __repr__(self) -> str:
        # A key must not reach a log or a traceback.
        return f"Endpoint(name={self.name!r}, base_url={self.base_url!r}, api={self.api!r}, key={'***' if self.key else None})"

    def auth_headers(self) -> dict[str, str]:
        """The headers that carry the key; empty without one."""
        if not self.key:
            return {}
        return {"Authorization": f"Bearer {self.key}"} if self.auth == "bearer" else {self.auth: self.key}

    def url(self, path: str, model: str = "") -> str:
        """The whole URL of an endpoint's path, for a model."""
        path = self.paths.get(path, path).replace("{model}", model)
        query = "&".join(f"{name}={value}" for name, value in self.query.items())
        return f"{self.base_url}{path}?{query}" if query else f"{self.base_url}{path}"
