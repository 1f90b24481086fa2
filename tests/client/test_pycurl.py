"""Only pycurl's core is imported until somebody wants the rest, who then gets all of it."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


LEFT_OUT = "import sys, unspool.client.http.transport; assert 'pycurl.async_multi' not in sys.modules; import pycurl\n"


def test_the_asyncio_half_is_not_imported() -> None:
    run(
        "import sys, unspool.client.http.transport\n"
        "assert not {'pycurl', 'pycurl.async_multi', 'asyncio', 'dataclasses'} & set(sys.modules)"
    )


@pytest.mark.parametrize(
    "use",
    [
        "Multi = pycurl.AsyncCurlMulti",
        "from pycurl import AsyncCurlMulti as Multi",
        "import pycurl.async_multi; Multi = pycurl.async_multi.AsyncCurlMulti",
        "from pycurl.async_multi import AsyncCurlMulti as Multi",
        "Multi = pycurl.async_multi.AsyncCurlMulti",
    ],
)
def test_whoever_asks_for_it_gets_the_real_class(use: str) -> None:
    check = "assert type(Multi) is type and Multi.__module__ == 'pycurl.async_multi', Multi\n"
    same = "assert pycurl.AsyncCurlMulti is Multi is sys.modules['pycurl.async_multi'].AsyncCurlMulti"
    run(f"{LEFT_OUT}{use}\n{check}{same}")


def test_what_the_core_got_of_datetime_is_the_real_thing() -> None:
    run(
        "import sys, unspool.client.http.transport as transport\n"
        "assert 'datetime' not in sys.modules\n"
        "import datetime, pickle\n"
        "assert datetime.UTC and datetime.__file__ and datetime.datetime is sys.modules['_datetime'].datetime\n"
        "now = datetime.datetime.now(datetime.UTC)\n"
        "assert pickle.loads(pickle.dumps(now)) == now\n"
        "curl = transport.pycurl.Curl()\n"
        "curl.setopt(transport.pycurl.HSTSREADFUNCTION, lambda: (b'localhost', now, True))"
    )


def test_a_program_that_imported_datetime_first_keeps_it() -> None:
    run("import datetime as before, unspool.client.http.transport, sys; assert sys.modules['datetime'] is before")


def test_the_core_is_the_same_for_both() -> None:
    run(
        "import unspool.client.http.transport as transport, pycurl\n"
        "assert transport.pycurl.error is pycurl.error and transport.pycurl.Curl is pycurl.Curl\n"
        "assert pycurl._pycurl is transport.pycurl"
    )


def test_a_program_that_imported_pycurl_first_keeps_it() -> None:
    run(
        "import pycurl; before = pycurl, pycurl.AsyncCurlMulti\n"
        "import unspool.client.http.transport as transport\n"
        "assert transport.pycurl is pycurl and before == (pycurl, pycurl.AsyncCurlMulti)"
    )


def test_a_name_that_pycurl_does_not_have_is_still_an_error() -> None:
    run(LEFT_OUT + "assert not hasattr(pycurl, 'Nonsense')")


def test_streaming_with_asyncio_after_without_works_in_one_process() -> None:
    run("import unspool; unspool.Answer; unspool.AsyncAnswer; import pycurl; assert pycurl.AsyncCurlMulti")
