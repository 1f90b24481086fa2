"""A page that asks a model: the answer streams, survives a reload and a lost connection, and can be stopped.

pip install unspool fastapi uvicorn
OPENAI_API_KEY=… uvicorn --app-dir examples/fastapi app:app
"""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

import unspool

PAGE = Path(__file__).with_name("page.html").read_text("utf-8")


def ask(body: dict) -> unspool.AsyncAnswer:
    """Begin the answer to what the page sent."""
    question = body.get("question") if isinstance(body, dict) else None
    if not isinstance(question, str) or not 0 < len(question) <= 4000:
        raise ValueError("a question has 1 to 4000 characters")
    return unspool.astream(question)


relay = unspool.Relay(abandon_after=60)
app = FastAPI(lifespan=relay.lifespan)
app.mount("/answers", relay.app(ask))


@app.get("/", response_class=HTMLResponse)
async def page() -> str:
    return PAGE
