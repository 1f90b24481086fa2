"""Refused requests, in the body that OpenAI sends ("Error codes"; schema ``ErrorResponse``: all four keys are required)."""

from __future__ import annotations

from unspool.sim.frames import JSONObject


class RequestError(Exception):
    """A request the API refuses. ``param`` is the path of the wrong field, ``code`` OpenAI's machine-readable reason."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code

    def body(self) -> JSONObject:
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}
