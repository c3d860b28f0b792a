"""A client's session goes on over its servers, and it knows of one."""

import json

import pytest

from lessee.mcp.session import machine as module
from lessee.mcp.session.messages import SERVER_GONE
from support.models.mcp_session import HELLO, Talk, begun, error_of, line

URI = "file:///a"


@pytest.fixture
def talk():
    return begun()


def methods(messages):
    return [message["method"] for message in messages]


def test_what_one_says_the_other_hears_byte_for_byte():
    session = Talk().session
    session.server_started(0.0)
    asked = b'{"id":  1, "jsonrpc": "2.0", "method": "tools/call", "params": {"a":1.0}, "more": true}\r'
    [action] = session.from_client(asked)
    assert action.line == asked
    answer = b' {"jsonrpc":"2.0","result":{"x":"\\u00e4"},"id":1}'
    heard = session.from_server(answer)
    assert [one.line for one in heard if hasattr(one, "line")] == [answer]


def test_the_first_answer_shows_that_the_server_works_and_no_other_does():
    talk = Talk()
    talk.starts()
    talk.asks(1)
    talk.asks(2)
    talk.answers(1)
    talk.answers(2)
    assert talk.works == 1


def test_another_server_is_told_what_the_session_was_told_and_its_answers_are_kept_from_the_client(talk):
    talk.asks(1, "logging/setLevel", level="info")
    talk.asks(2, "resources/subscribe", uri=URI)
    talk.asks(3, "resources/subscribe", uri="file:///b")
    talk.asks(4, "resources/unsubscribe", uri="file:///b")
    talk.asks(5, "resources/subscribe", uri="file:///refused")
    talk.asks(6, "resources/subscribe")
    for identity in (1, 2, 3, 4, 6):
        talk.answers(identity)
    talk.hears(id=5, error={"code": 1, "message": "no"})
    talk.got()
    told = talk.another()
    expected = ["initialize", "notifications/initialized", "logging/setLevel", "resources/subscribe"]
    assert methods(told) == expected
    assert told[0]["params"] == {"protocolVersion": "2025-06-18", "clientInfo": {"name": "c"}}
    assert (told[2]["params"], told[3]["params"]) == ({"level": "info"}, {"uri": URI})
    talk.answers(told[2]["id"])
    talk.hears(id=told[3]["id"], error={"code": 1, "message": "none of that"})
    # It may have changed while nobody looked.
    assert talk.got() == [{"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": URI}}]
    assert (
        "server started anew refuses a part",
        {"method": "resources/subscribe", "reason": "none of that"},
    ) in talk.log
    talk.asks(7)
    assert [message["id"] for message in talk.took()] == [7]


def test_before_the_client_is_ready_no_server_is_told_that_it_is():
    talk = begun(initialized=False)
    assert methods(talk.another()) == ["initialize"]
    talk.tells("notifications/initialized")
    assert methods(talk.took()) == ["notifications/initialized"]


def test_that_it_is_ready_is_told_with_the_rest_where_the_client_says_it_meanwhile():
    talk = begun(initialized=False)
    talk.drains()
    talk.leaves()
    talk.tells("notifications/initialized")
    talk.ends()
    talk.starts()
    [hello] = talk.took()
    talk.answers(hello["id"], HELLO)
    assert methods(talk.took()) == ["notifications/initialized"]


def test_a_session_without_initialize_has_nothing_to_be_told():
    talk = Talk()
    talk.starts()
    talk.asks(1, "server/discover")
    talk.answers(1)
    talk.took()
    assert talk.another() == []
    assert talk.log[-1] == ("session goes on", {"streams": 0, "held": 0})


def test_lists_that_a_server_tells_of_may_be_others_now():
    some = {"tools": {"listChanged": True}, "prompts": {"listChanged": False}, "resources": {"subscribe": True}}
    talk = begun(HELLO | {"capabilities": some})
    talk.another(HELLO | {"capabilities": some})
    assert methods(talk.got()) == ["notifications/tools/list_changed"]
    talk = begun(HELLO | {"capabilities": []})
    talk.another()
    assert talk.got() == []


def test_that_another_server_is_another_is_said(talk):
    talk.another(HELLO | {"protocolVersion": "2024-11-05"})
    assert ("server started anew is another", "protocolVersion") in [(e, f.get("differs")) for e, f in talk.log]


def test_a_server_that_refuses_to_begin_is_of_no_use(talk):
    [hello] = talk.another(answered=False)
    talk.hears(id=hello["id"], error={"code": -1, "message": "no key"})
    assert talk.unusable == ["it refuses initialize: no key"]
    [hello] = talk.another(answered=False)
    talk.hears(id=hello["id"], error="rubbish")
    assert talk.unusable[1:] == ["it refuses initialize: rubbish"]


def test_and_so_is_one_that_says_nothing(talk):
    talk.another(answered=False)
    talk.waits(module.OPENING - 1)
    assert talk.unusable == []
    talk.waits(1)
    assert talk.unusable == ["it has not answered initialize within 60 s"]
    assert talk.session.wake_at == float("inf")


def test_a_late_hello_of_one_that_was_told_to_leave_is_nobodys(talk):
    [hello] = talk.another(answered=False)
    talk.drains()
    assert talk.drained == 2
    talk.leaves()
    talk.answers(hello["id"], HELLO)
    assert (talk.took(), talk.got()) == ([], [])


# Draining.


def test_what_was_begun_is_answered_and_what_comes_meanwhile_waits_for_the_next_in_order(talk):
    talk.asks(1)
    talk.drains()
    talk.asks(2)
    talk.tells("notifications/roots/list_changed")
    talk.asks(3)
    assert (methods(talk.took()), talk.drained) == (["tools/call"], 0)
    talk.answers(1)
    assert talk.drained == 1
    talk.leaves()
    assert talk.closed == 1
    talk.asks(4)
    talk.ends()
    talk.asks(5)
    talk.starts()
    talk.asks(6)
    [hello] = talk.took()
    talk.answers(hello["id"], HELLO)
    told = talk.took()
    assert [message.get("id", message["method"]) for message in told] == [
        "notifications/initialized", 2, "notifications/roots/list_changed", 3, 4, 5, 6,
    ]  # fmt: skip
    assert [message["id"] for message in talk.got()] == [1]


def test_who_waits_for_nothing_is_drained_at_once(talk):
    talk.drains()
    assert talk.drained == 1
    talk.drains()
    assert talk.drained == 1
    talk.leaves()
    talk.drains()
    talk.ends()
    talk.drains()
    assert talk.drained == 3


def test_what_takes_too_long_is_not_waited_for_but_may_still_be_answered_until_the_end(talk):
    talk.asks(1)
    talk.asks(2)
    talk.drains(within=5.0)
    talk.waits(4.9)
    assert talk.drained == 0
    talk.waits(0.1)
    assert talk.drained == 1
    assert talk.log == [("server is not waited for any longer", {"requests": "tools/call"})]
    talk.leaves()
    talk.answers(1)
    talk.ends()
    first, second = talk.got()
    assert (first["id"], second["id"], error_of(second)[0]) == (1, 2, SERVER_GONE)
    assert "longer than it had" in error_of(second)[1]
    talk.waits(1)


def test_a_crash_is_an_error_for_who_waits(talk):
    talk.asks("a")
    talk.asks("b")
    talk.ends()
    assert [(message["id"], error_of(message)[0]) for message in talk.got()] == [("a", SERVER_GONE), ("b", SERVER_GONE)]
    talk.starts()
    assert methods(talk.took())[-1] == "initialize"


@pytest.mark.parametrize("method", ["initialize", "server/discover"])
def test_what_begins_a_session_is_asked_again_where_it_was_not_answered(method):
    talk = Talk()
    talk.starts()
    talk.asks(0, method)
    talk.ends()
    talk.tells("notifications/initialized")
    talk.starts()
    assert methods(talk.took()) == [method, method, "notifications/initialized"]
    talk.answers(0, HELLO)
    assert [message["id"] for message in talk.got()] == [0]


def test_what_begins_a_session_is_not_asked_again_where_it_was_cancelled():
    talk = Talk()
    talk.starts()
    talk.asks(0, "server/discover")
    talk.tells("notifications/cancelled", requestId=0)
    talk.took()
    talk.ends()
    talk.starts()
    assert talk.server == []


def test_a_refused_initialize_is_no_session():
    talk = Talk()
    talk.starts()
    talk.asks(0, "initialize")
    talk.hears(id=0, error={"code": 1, "message": "no"})
    talk.took()
    assert talk.another() == []


# What is cancelled.


def test_what_is_cancelled_is_not_waited_for(talk):
    talk.asks(1)
    talk.drains()
    talk.tells("notifications/cancelled", requestId=1)
    assert (methods(talk.took()), talk.drained) == (["tools/call", "notifications/cancelled"], 1)
    talk.leaves()
    talk.ends()
    assert talk.got() == []


def test_an_answer_to_what_was_cancelled_passes_on(talk):
    talk.asks(1)
    talk.tells("notifications/cancelled", requestId=1)
    talk.answers(1)
    assert [message["id"] for message in talk.got()] == [1]


def test_what_has_not_begun_is_cancelled_without_a_word(talk):
    talk.drains()
    talk.asks(1)
    talk.tells("notifications/cancelled", requestId=1)
    talk.tells("notifications/cancelled", requestId="never asked")
    talk.tells("notifications/cancelled")
    assert (talk.took(), talk.session.held) == ([], 0)


def test_who_leaves_is_told_of_nothing(talk):
    talk.asks(1)
    talk.drains()
    talk.hears(id=9, method="roots/list", params={"_meta": {"progressToken": 9}})
    talk.leaves()
    talk.took()
    talk.tells("notifications/cancelled", requestId=1)
    talk.tells("notifications/progress", progressToken=9, progress=1)
    talk.says(id=9, result={})
    assert talk.took() == []


def test_one_id_asks_once(talk):
    talk.asks(1)
    talk.asks(1)
    talk.drains()
    talk.asks(2)
    talk.asks(2)
    assert [message["id"] for message in talk.took()] == [1]
    assert [event for event, _ in talk.log] == ["client asked twice by one id"] * 2
    assert [message["id"] for message in talk.another() if message["method"] == "tools/call"] == [2]


# What servers ask.


def test_the_first_servers_requests_are_as_they_are(talk):
    talk.hears(id=0, method="sampling/createMessage", params={"_meta": {"progressToken": 0}})
    [asked] = talk.got()
    assert (asked["id"], asked["params"]) == (0, {"_meta": {"progressToken": 0}})
    talk.tells("notifications/progress", progressToken=0, progress=1)
    talk.says(id=0, result={"role": "user"})
    assert [message.get("id", message.get("method")) for message in talk.took()] == ["notifications/progress", 0]
    # It has its answer.
    talk.says(id=0, result={})
    talk.says(id=None, error={"code": 1, "message": "m"})
    talk.tells("notifications/progress", progressToken=0, progress=2)
    talk.tells("notifications/progress", progress=2)
    talk.hears(method="notifications/cancelled", params={"requestId": 0})
    assert (talk.took(), talk.got()) == ([], [])


def test_an_id_that_two_servers_use_is_two_for_the_client(talk):
    talk.hears(id=0, method="elicitation/create", params={"message": "first"})
    talk.got()
    talk.another()
    assert talk.got() == [
        {
            "jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": {"requestId": 0, "reason": "the server was started anew"},
        }
    ]  # fmt: skip
    talk.hears(id=0, method="elicitation/create", params={"message": "second", "_meta": {"progressToken": 0}})
    [asked] = talk.got()
    assert (asked["id"] != 0, asked["params"]["message"]) == (True, "second")
    talk.says(id=0, result={"action": "of the first"})
    talk.tells("notifications/progress", progressToken=0, progress=1)
    assert talk.took() == []
    talk.tells("notifications/progress", progressToken=asked["params"]["_meta"]["progressToken"], progress=1)
    talk.says(id=asked["id"], result={"action": "of the second"})
    progress, answer = talk.took()
    assert (progress["params"]["progressToken"], answer["id"], answer["result"]) == (0, 0, {"action": "of the second"})


def test_a_later_server_may_be_asked_to_forget_and_answered_with_an_error(talk):
    talk.another()
    talk.hears(id=3, method="roots/list")
    talk.hears(id=4, method="roots/list")
    first, second = talk.got()
    talk.hears(method="notifications/cancelled", params={"requestId": 3})
    [told] = talk.got()
    assert told["params"]["requestId"] == first["id"]
    talk.says(id=second["id"], error={"code": -1, "message": "no"})
    assert talk.took() == [{"jsonrpc": "2.0", "id": 4, "error": {"code": -1, "message": "no"}}]


def test_while_it_is_drained_a_server_still_has_its_answers(talk):
    talk.asks(1)
    talk.drains()
    talk.hears(id=5, method="roots/list")
    talk.says(id=5, result={"roots": []})
    assert [message["id"] for message in talk.took()] == [1, 5]


def test_while_it_begins_a_server_may_ask(talk):
    [hello] = talk.another(answered=False)
    talk.hears(id=5, method="ping")
    [asked] = talk.got()
    talk.says(id=asked["id"], result={})
    assert talk.took() == [{"jsonrpc": "2.0", "id": 5, "result": {}}]
    talk.answers(hello["id"], HELLO)


# What is no message.


def test_what_a_server_says_beside_goes_to_the_log_and_not_to_the_client(talk):
    for raw in (b"", b"\r", b"listening", b"\xff", b"x" * (module.ALSO_SHOWN + 1)):
        talk.from_server(raw)
    talk.answers("nobody's")
    assert talk.got() == []
    said = "server said what is no message"
    assert talk.log == [
        (said, {"line": "listening"}),
        (said, {"line": "\N{REPLACEMENT CHARACTER}"}),
        (said, {"length": module.ALSO_SHOWN + 1}),
        ("server answered what nobody asks", {}),
    ]
    talk.hears(id=None, error={"code": -32700, "message": "what?"})
    assert [message["id"] for message in talk.got()] == [None]


def test_what_is_too_long_is_no_message(talk, monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 50)
    talk.raw(b"x" * 50)
    [told] = talk.got()
    assert (told["id"], error_of(told)) == (None, (-32700, "no message may be longer than 50 bytes"))
    talk.from_server(b"x" * 50)
    assert talk.unusable == ["a line of it is longer than 50 bytes"]


def test_what_a_client_says_beside_is_the_servers_matter(talk):
    talk.raw(b"rubbish")
    assert talk.took() == [b"rubbish"]
    talk.raw(b"  ")
    talk.drains()
    talk.raw(b"more")
    talk.leaves()
    talk.ends()
    talk.starts()
    talk.answers(talk.took()[0]["id"], HELLO)
    assert talk.took()[1:] == [b"more"]


# Batches.


def test_a_batch_stays_one_and_is_taken_apart_where_it_has_to_wait(talk):
    both = [{"jsonrpc": "2.0", "id": 1, "method": "a"}, {"jsonrpc": "2.0", "method": "b"}]
    [action] = talk.session.from_client(json.dumps(both).encode())
    assert json.loads(action.line) == both
    talk.drains()
    talk.raw(json.dumps([{"jsonrpc": "2.0", "id": 2, "method": "c"}]).encode())
    assert 500 < talk.session.held < 600
    talk.from_server(b"[" + line(id=1, result={}) + b"," + line(id=7, method="ping") + b"]")
    assert [message["id"] for message in talk.got()] == [1, 7]
    assert talk.drained == 1
    talk.leaves()
    talk.ends()
    talk.starts()
    talk.answers(talk.took()[-1]["id"], HELLO)
    assert [message.get("id") for message in talk.took()] == [None, 2]


# The end.


def test_a_client_that_hangs_up_closes_the_servers_input_and_hears_its_last_words(talk):
    talk.asks(1)
    talk.hangs_up()
    assert talk.closed == 1
    talk.answers(1)
    assert [message["id"] for message in talk.got()] == [1]
    talk.asks(2)
    talk.ends()
    talk.is_over()
    assert [message["id"] for message in talk.got()] == [2]


def test_who_hangs_up_while_there_is_no_server_still_has_what_it_asked(talk):
    talk.ends()
    talk.asks(1)
    talk.hangs_up()
    assert talk.closed == 0
    talk.starts()
    talk.answers(talk.took()[-1]["id"], HELLO)
    assert ([message.get("id") for message in talk.took()], talk.closed) == ([None, 1], 1)
    talk.ends()
    [told] = talk.got()
    assert (told["id"], error_of(told)[0]) == (1, SERVER_GONE)


def test_when_all_is_over_nobody_waits_any_more(talk):
    talk.ends()
    talk.asks(1)
    talk.tells("notifications/roots/list_changed")
    talk.is_over()
    [told] = talk.got()
    assert (told["id"], error_of(told)[0]) == (1, SERVER_GONE)
    assert talk.session.held == 0


# Streams, of the revision 2026-07-28.

SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
ALL = {"toolsListChanged": True, "promptsListChanged": False, "resourceSubscriptions": [URI, 1]}


def acknowledge(talk, identity="l", granted=ALL):
    params = {"_meta": {SUBSCRIPTION: identity}, "notifications": granted}
    talk.hears(method="notifications/subscriptions/acknowledged", params=params)


@pytest.fixture
def listening():
    talk = Talk()
    talk.starts()
    talk.asks("l", "subscriptions/listen", notifications=ALL)
    acknowledge(talk)
    assert methods(talk.got()) == ["notifications/subscriptions/acknowledged"]
    talk.took()
    return talk


def test_a_stream_is_not_waited_for_and_another_server_goes_on_with_it(listening):
    listening.drains()
    assert listening.drained == 1
    listening.leaves()
    listening.answers("l")  # it ends it in good order, as it should
    listening.ends()
    listening.starts()
    [asked] = listening.took()
    assert (asked["id"], asked["method"]) == ("l", "subscriptions/listen")
    assert listening.got() == []
    acknowledge(listening)
    tools, resource = listening.got()
    assert (tools["method"], tools["params"]) == ("notifications/tools/list_changed", {"_meta": {SUBSCRIPTION: "l"}})
    assert resource["params"] == {"uri": URI, "_meta": {SUBSCRIPTION: "l"}}
    acknowledge(listening, granted={})
    assert methods(listening.got()) == ["notifications/subscriptions/acknowledged"]


def test_a_stream_that_was_not_acknowledged_is_when_it_is(listening):
    listening.asks("m", "subscriptions/listen", notifications={})
    listening.another()
    acknowledge(listening, "m", {})
    acknowledge(listening, "nobody's", {})
    assert len(listening.got()) == 2


def test_a_stream_goes_on_after_a_crash_and_ends_with_a_refusal(listening):
    listening.ends()
    assert listening.got() == []
    listening.starts()
    listening.hears(id="l", error={"code": 1, "message": "no"})
    assert [message["id"] for message in listening.got()] == ["l"]
    listening.took()
    assert listening.another() == []


def test_a_stream_that_is_cancelled_is_not_asked_for_again(listening):
    listening.tells("notifications/cancelled", requestId="l")
    listening.took()
    assert listening.another() == []
    assert listening.got() == []


def test_a_stream_is_over_when_all_is(listening):
    listening.ends()
    listening.is_over()
    assert [error_of(message)[0] for message in listening.got()] == [SERVER_GONE]
