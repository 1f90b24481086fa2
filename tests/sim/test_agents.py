"""Agents and libraries that call a model until it answers: each ends, with the answer that a script gives it.

They are heavy, and exclude each other: ``.ci/run`` makes two environments for them, from ``.ci/agents-1.txt`` and ``.ci/agents-2.txt``. Each
test says when its package is not installed.
"""

import asyncio
import json
from collections.abc import Iterable

import pytest

from unspool.sim.running import Simulator
from unspool.sim.script import ScriptedCall

from . import node

# Their own deprecations are not this project's.
pytestmark = pytest.mark.filterwarnings("ignore")

QUESTION = "Where is order 7?"
ANSWER = "Your order was sent 7."


@pytest.fixture
def sim():
    with Simulator() as simulator:
        simulator.answers.strict = True
        yield simulator
        # None comes where the test is skipped.
        if simulator.requests:
            simulator.assert_all_used()


@pytest.fixture
def scripted(sim):
    """A simulator that has the tool called, and answers with its result."""
    sim.when(user=r"/order (?P<id>\d+)/").answer(ScriptedCall("lookup", {"id": "{id}"}))
    sim.when(result_of="lookup").answer("Your order was {result}.")
    return sim


def lookup(id: str) -> str:
    """Look an order up.

    Args:
        id: The number of the order.
    """
    return f"sent {id}"


def test_the_agents_of_javascript_end(scripted, tmp_path):
    packages = node.modules("@openai/agents", "ai", "@ai-sdk/openai")
    (tmp_path / "node_modules").symlink_to(packages, target_is_directory=True)
    (tmp_path / "agents.mjs").write_bytes((node.NODE / "agents.mjs").read_bytes())
    done = node.run(tmp_path, "node", "--preserve-symlinks", "agents.mjs", scripted.url)
    results = json.loads(done.stdout or "{}")
    assert (len(results), set(results.values())) == (6, {ANSWER}), done.stderr


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_pydantic_ai_ends(scripted, endpoint):
    pydantic_ai = pytest.importorskip("pydantic_ai")
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    provider = OpenAIProvider(base_url=scripted.url, api_key="any")
    model = (OpenAIChatModel if endpoint == "chat" else OpenAIResponsesModel)("any", provider=provider)
    agent = pydantic_ai.Agent(model, tools=[lookup])
    assert asyncio.run(agent.run(QUESTION)).output == ANSWER


def test_pydantic_ai_s_structured_output_ends_without_a_script():
    pydantic_ai = pytest.importorskip("pydantic_ai")
    from pydantic import BaseModel
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    class Order(BaseModel):
        number: int

    with Simulator() as simulator:
        model = OpenAIChatModel("any", provider=OpenAIProvider(base_url=simulator.url, api_key="any"))
        agent = pydantic_ai.Agent(model, tools=[lookup], output_type=Order)
        assert isinstance(asyncio.run(agent.run("lookup, please")).output, Order)
        assert len(simulator.requests) == 2


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_openai_agents_end(scripted, endpoint):
    agents = pytest.importorskip("agents")
    import openai

    async def run():
        async with openai.AsyncOpenAI(base_url=scripted.url, api_key="any") as client:
            kind = agents.OpenAIChatCompletionsModel if endpoint == "chat" else agents.OpenAIResponsesModel
            model = kind(model="any", openai_client=client)
            agents.set_tracing_disabled(True)
            agent = agents.Agent(name="Bot", model=model, tools=[agents.function_tool(lookup)])
            return (await agents.Runner.run(agent, QUESTION)).final_output

    assert asyncio.run(run()) == ANSWER


# All that its OpenAI provider has.
INSTRUCTOR_MODES = [
    "FUNCTIONS",
    "TOOLS",
    "TOOLS_STRICT",
    "PARALLEL_TOOLS",
    "JSON",
    "JSON_O1",
    "JSON_SCHEMA",
    "MD_JSON",
    "RESPONSES_TOOLS",
    "RESPONSES_TOOLS_WITH_INBUILT_TOOLS",
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("mode", INSTRUCTOR_MODES)
def test_instructor_gets_its_model_in_each_mode(sim, mode, streamed):
    instructor = pytest.importorskip("instructor")
    import openai
    from pydantic import BaseModel

    class Order(BaseModel):
        number: int

    if mode == "PARALLEL_TOOLS" and streamed:
        pytest.skip("instructor does not stream parallel tools")
    if mode == "FUNCTIONS" or "TOOLS" in mode:
        sim.answer(ScriptedCall("Order", {"number": 7}))
    elif mode == "MD_JSON":
        sim.answer('```json\n{"number": 7}\n```')
    else:
        sim.answer(json={"number": 7})
    with openai.OpenAI(base_url=sim.url, api_key="any") as client:
        patched = instructor.from_openai(client, mode=instructor.Mode[mode])
        asked = {"model": "any", "messages": [{"role": "user", "content": QUESTION + " As JSON."}]}
        if mode == "PARALLEL_TOOLS":
            (made,) = patched.create(response_model=Iterable[Order], stream=streamed, **asked)
        elif streamed:
            *_, made = patched.create_partial(response_model=Order, **asked)
        else:
            made = patched.create(response_model=Order, **asked)
    assert made.number == 7


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_langchain_s_agent_ends(scripted, endpoint):
    agents = pytest.importorskip("langchain.agents")
    langchain_openai = pytest.importorskip("langchain_openai")
    model = langchain_openai.ChatOpenAI(
        model="any", base_url=scripted.url, api_key="any", use_responses_api=endpoint == "responses"
    )
    state = agents.create_agent(model, [lookup]).invoke({"messages": [("user", QUESTION)]})
    assert state["messages"][-1].text == ANSWER


def test_smolagents_end_without_a_script():
    smolagents = pytest.importorskip("smolagents")
    with Simulator() as simulator:
        model = smolagents.OpenAIModel(model_id="any", api_base=simulator.url, api_key="any")
        agent = smolagents.ToolCallingAgent(
            tools=[smolagents.tool(lookup)], model=model, max_steps=4, verbosity_level=0
        )
        agent.run("lookup, please")
        assert len(simulator.requests) == 2


def test_llama_index_s_agent_ends(scripted):
    pytest.importorskip("llama_index.llms.openai_like")
    pytest.importorskip("llama_index.core.agent.workflow")
    from llama_index.core.agent.workflow import FunctionAgent
    from llama_index.llms.openai_like import OpenAILike

    model = OpenAILike(
        model="any", api_base=scripted.url, api_key="any", is_chat_model=True, is_function_calling_model=True
    )

    async def run():
        return await FunctionAgent(tools=[lookup], llm=model).run(QUESTION)

    assert str(asyncio.run(run())) == ANSWER
