"""A client's session continues over restarts of its server, which the client does not see."""

import json

import pytest

from lessee.mcp.session import machine as module
from lessee.mcp.session.messages import SERVER_ENDED
from support.models.mcp_session import INITIALIZE_RESULT, SessionDriver, error_parts, initialized_session, line

URI = "file:///a"


@pytest.fixture
def driver():
    return initialized_session()


def methods(messages):
    return [message["method"] for message in messages]


def test_messages_are_forwarded_byte_for_byte():
    session = SessionDriver().session
    session.server_started(0.0)
    request = b'{"id":  1, "jsonrpc": "2.0", "method": "tools/call", "params": {"a":1.0}, "more": true}\r'
    [action] = session.from_client(request)
    assert action.line == request
    response = b' {"jsonrpc":"2.0","result":{"x":"\\u00e4"},"id":1}'
    actions = session.from_server(response)
    assert [action.line for action in actions if hasattr(action, "line")] == [response]


def test_only_the_first_response_is_reported():
    driver = SessionDriver()
    driver.start_server()
    driver.send_request(1)
    driver.send_request(2)
    driver.server_responds(1)
    driver.server_responds(2)
    assert driver.responded == 1


def test_the_state_of_the_session_is_replayed_and_the_client_does_not_see_the_responses(driver):
    driver.send_request(1, "logging/setLevel", level="info")
    driver.send_request(2, "resources/subscribe", uri=URI)
    driver.send_request(3, "resources/subscribe", uri="file:///b")
    driver.send_request(4, "resources/unsubscribe", uri="file:///b")
    driver.send_request(5, "resources/subscribe", uri="file:///refused")
    driver.send_request(6, "resources/subscribe")
    for identity in (1, 2, 3, 4, 6):
        driver.server_responds(identity)
    driver.server_sends(id=5, error={"code": 1, "message": "no"})
    driver.client_received()
    message = driver.restart_server()
    expected = ["initialize", "notifications/initialized", "logging/setLevel", "resources/subscribe"]
    assert methods(message) == expected
    assert message[0]["params"] == {"protocolVersion": "2025-06-18", "clientInfo": {"name": "c"}}
    assert (message[2]["params"], message[3]["params"]) == ({"level": "info"}, {"uri": URI})
    driver.server_responds(message[2]["id"])
    driver.server_sends(id=message[3]["id"], error={"code": 1, "message": "none of that"})
    # The resource may have changed while there was no server.
    assert driver.client_received() == [
        {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": URI}}
    ]
    assert (
        "replayed request failed",
        {"method": "resources/subscribe", "reason": "none of that"},
    ) in driver.log
    driver.send_request(7)
    assert [message["id"] for message in driver.server_received()] == [7]


def test_initialized_is_not_sent_before_the_client_sent_it():
    driver = initialized_session(initialized=False)
    assert methods(driver.restart_server()) == ["initialize"]
    driver.send_notification("notifications/initialized")
    assert methods(driver.server_received()) == ["notifications/initialized"]


def test_initialized_during_a_restart_is_sent_with_the_replay():
    driver = initialized_session(initialized=False)
    driver.drain()
    driver.close_input()
    driver.send_notification("notifications/initialized")
    driver.end_server()
    driver.start_server()
    [initialize_result] = driver.server_received()
    driver.server_responds(initialize_result["id"], INITIALIZE_RESULT)
    assert methods(driver.server_received()) == ["notifications/initialized"]


def test_a_session_without_initialize_has_no_replay():
    driver = SessionDriver()
    driver.start_server()
    driver.send_request(1, "server/discover")
    driver.server_responds(1)
    driver.server_received()
    assert driver.restart_server() == []
    assert driver.log[-1] == ("session resumed", {"subscriptions": 0, "pending": 0})


def test_the_client_is_notified_of_lists_that_may_have_changed():
    some = {"tools": {"listChanged": True}, "prompts": {"listChanged": False}, "resources": {"subscribe": True}}
    driver = initialized_session(INITIALIZE_RESULT | {"capabilities": some})
    driver.restart_server(INITIALIZE_RESULT | {"capabilities": some})
    assert methods(driver.client_received()) == ["notifications/tools/list_changed"]
    driver = initialized_session(INITIALIZE_RESULT | {"capabilities": []})
    driver.restart_server()
    assert driver.client_received() == []


def test_a_different_server_is_logged(driver):
    driver.restart_server(INITIALIZE_RESULT | {"protocolVersion": "2024-11-05"})
    assert ("server changed", "protocolVersion") in [(e, f.get("differences")) for e, f in driver.log]


def test_a_server_that_rejects_initialize_is_unusable(driver):
    [initialize_result] = driver.restart_server(answered=False)
    driver.server_sends(id=initialize_result["id"], error={"code": -1, "message": "no key"})
    assert driver.unusable == ["initialize failed: no key"]
    [initialize_result] = driver.restart_server(answered=False)
    driver.server_sends(id=initialize_result["id"], error="invalid")
    assert driver.unusable[1:] == ["initialize failed: invalid"]


def test_a_server_that_does_not_respond_to_initialize_is_unusable(driver):
    driver.restart_server(answered=False)
    driver.wait(module.INITIALIZE_TIMEOUT - 1)
    assert driver.unusable == []
    driver.wait(1)
    assert driver.unusable == ["no response to initialize within 60 s"]
    assert driver.session.wake_at == float("inf")


def test_a_late_response_of_a_closed_server_is_ignored(driver):
    [initialize_result] = driver.restart_server(answered=False)
    driver.drain()
    assert driver.drained == 2
    driver.close_input()
    driver.server_responds(initialize_result["id"], INITIALIZE_RESULT)
    assert (driver.server_received(), driver.client_received()) == ([], [])


# Draining.


def test_a_drain_completes_pending_requests_and_new_messages_wait_in_order(driver):
    driver.send_request(1)
    driver.drain()
    driver.send_request(2)
    driver.send_notification("notifications/roots/list_changed")
    driver.send_request(3)
    assert (methods(driver.server_received()), driver.drained) == (["tools/call"], 0)
    driver.server_responds(1)
    assert driver.drained == 1
    driver.close_input()
    assert driver.closed == 1
    driver.send_request(4)
    driver.end_server()
    driver.send_request(5)
    driver.start_server()
    driver.send_request(6)
    [initialize_result] = driver.server_received()
    driver.server_responds(initialize_result["id"], INITIALIZE_RESULT)
    message = driver.server_received()
    assert [message.get("id", message["method"]) for message in message] == [
        "notifications/initialized", 2, "notifications/roots/list_changed", 3, 4, 5, 6,
    ]  # fmt: skip
    assert [message["id"] for message in driver.client_received()] == [1]


def test_a_server_without_pending_requests_is_drained_immediately(driver):
    driver.drain()
    assert driver.drained == 1
    driver.drain()
    assert driver.drained == 1
    driver.close_input()
    driver.drain()
    driver.end_server()
    driver.drain()
    assert driver.drained == 3


def test_a_drain_times_out_and_later_responses_are_still_forwarded(driver):
    driver.send_request(1)
    driver.send_request(2)
    driver.drain(within=5.0)
    driver.wait(4.9)
    assert driver.drained == 0
    driver.wait(0.1)
    assert driver.drained == 1
    assert driver.log == [("drain timed out", {"requests": "tools/call"})]
    driver.close_input()
    driver.server_responds(1)
    driver.end_server()
    first, second = driver.client_received()
    assert (first["id"], second["id"], error_parts(second)[0]) == (1, 2, SERVER_ENDED)
    assert "before this request was complete" in error_parts(second)[1]
    driver.wait(1)


def test_after_a_crash_pending_requests_get_an_error(driver):
    driver.send_request("a")
    driver.send_request("b")
    driver.end_server()
    assert [(message["id"], error_parts(message)[0]) for message in driver.client_received()] == [
        ("a", SERVER_ENDED),
        ("b", SERVER_ENDED),
    ]
    driver.start_server()
    assert methods(driver.server_received())[-1] == "initialize"


@pytest.mark.parametrize("method", ["initialize", "server/discover"])
def test_a_request_that_starts_a_session_is_repeated_to_the_next_server(method):
    driver = SessionDriver()
    driver.start_server()
    driver.send_request(0, method)
    driver.end_server()
    driver.send_notification("notifications/initialized")
    driver.start_server()
    assert methods(driver.server_received()) == [method, method, "notifications/initialized"]
    driver.server_responds(0, INITIALIZE_RESULT)
    assert [message["id"] for message in driver.client_received()] == [0]


def test_a_cancelled_request_that_starts_a_session_is_not_repeated():
    driver = SessionDriver()
    driver.start_server()
    driver.send_request(0, "server/discover")
    driver.send_notification("notifications/cancelled", requestId=0)
    driver.server_received()
    driver.end_server()
    driver.start_server()
    assert driver.server == []


def test_a_rejected_initialize_is_not_replayed():
    driver = SessionDriver()
    driver.start_server()
    driver.send_request(0, "initialize")
    driver.server_sends(id=0, error={"code": 1, "message": "no"})
    driver.server_received()
    assert driver.restart_server() == []


# Cancellation.


def test_a_drain_does_not_wait_for_a_cancelled_request(driver):
    driver.send_request(1)
    driver.drain()
    driver.send_notification("notifications/cancelled", requestId=1)
    assert (methods(driver.server_received()), driver.drained) == (["tools/call", "notifications/cancelled"], 1)
    driver.close_input()
    driver.end_server()
    assert driver.client_received() == []


def test_a_response_to_a_cancelled_request_is_forwarded(driver):
    driver.send_request(1)
    driver.send_notification("notifications/cancelled", requestId=1)
    driver.server_responds(1)
    assert [message["id"] for message in driver.client_received()] == [1]


def test_a_waiting_request_is_cancelled_without_a_message(driver):
    driver.drain()
    driver.send_request(1)
    driver.send_notification("notifications/cancelled", requestId=1)
    driver.send_notification("notifications/cancelled", requestId="unknown")
    driver.send_notification("notifications/cancelled")
    assert (driver.server_received(), driver.session.pending_bytes) == ([], 0)


def test_a_server_with_closed_input_receives_nothing(driver):
    driver.send_request(1)
    driver.drain()
    driver.server_sends(id=9, method="roots/list", params={"_meta": {"progressToken": 9}})
    driver.close_input()
    driver.server_received()
    driver.send_notification("notifications/cancelled", requestId=1)
    driver.send_notification("notifications/progress", progressToken=9, progress=1)
    driver.send(id=9, result={})
    assert driver.server_received() == []


def test_a_response_to_a_server_with_closed_input_is_dropped_and_its_request_not_cancelled(driver):
    driver.server_sends(id=9, method="roots/list")
    driver.client_received()
    driver.drain()
    driver.close_input()
    driver.send(id=9, result={"roots": []})
    driver.end_server()
    assert (driver.server_received(), driver.client_received()) == ([], [])


def test_a_duplicate_request_id_is_ignored(driver):
    driver.send_request(1)
    driver.send_request(1)
    driver.drain()
    driver.send_request(2)
    driver.send_request(2)
    assert [message["id"] for message in driver.server_received()] == [1]
    assert [event for event, _ in driver.log] == ["duplicate request id"] * 2
    assert [message["id"] for message in driver.restart_server() if message["method"] == "tools/call"] == [2]


# Requests of servers.


def test_the_first_servers_requests_are_unchanged(driver):
    driver.server_sends(id=0, method="sampling/createMessage", params={"_meta": {"progressToken": 0}})
    [request] = driver.client_received()
    assert (request["id"], request["params"]) == (0, {"_meta": {"progressToken": 0}})
    driver.send_notification("notifications/progress", progressToken=0, progress=1)
    driver.send(id=0, result={"role": "user"})
    assert [message.get("id", message.get("method")) for message in driver.server_received()] == [
        "notifications/progress",
        0,
    ]
    # The server already has its response.
    driver.send(id=0, result={})
    driver.send(id=None, error={"code": 1, "message": "m"})
    driver.send_notification("notifications/progress", progressToken=0, progress=2)
    driver.send_notification("notifications/progress", progress=2)
    driver.server_sends(method="notifications/cancelled", params={"requestId": 0})
    assert (driver.server_received(), driver.client_received()) == ([], [])


def test_the_same_id_of_two_servers_is_different_for_the_client(driver):
    driver.server_sends(id=0, method="elicitation/create", params={"message": "first"})
    driver.client_received()
    driver.restart_server()
    assert driver.client_received() == [
        {
            "jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": {"requestId": 0, "reason": "the server was restarted"},
        }
    ]  # fmt: skip
    driver.server_sends(id=0, method="elicitation/create", params={"message": "second", "_meta": {"progressToken": 0}})
    [request] = driver.client_received()
    assert (request["id"] != 0, request["params"]["message"]) == (True, "second")
    driver.send(id=0, result={"action": "of the first"})
    driver.send_notification("notifications/progress", progressToken=0, progress=1)
    assert driver.server_received() == []
    driver.send_notification(
        "notifications/progress", progressToken=request["params"]["_meta"]["progressToken"], progress=1
    )
    driver.send(id=request["id"], result={"action": "of the second"})
    progress, answer = driver.server_received()
    assert (progress["params"]["progressToken"], answer["id"], answer["result"]) == (0, 0, {"action": "of the second"})


def test_a_later_servers_requests_can_be_cancelled_and_get_errors(driver):
    driver.restart_server()
    driver.server_sends(id=3, method="roots/list")
    driver.server_sends(id=4, method="roots/list")
    first, second = driver.client_received()
    driver.server_sends(method="notifications/cancelled", params={"requestId": 3})
    [message] = driver.client_received()
    assert message["params"]["requestId"] == first["id"]
    driver.send(id=second["id"], error={"code": -1, "message": "no"})
    assert driver.server_received() == [{"jsonrpc": "2.0", "id": 4, "error": {"code": -1, "message": "no"}}]


def test_a_draining_server_still_receives_responses(driver):
    driver.send_request(1)
    driver.drain()
    driver.server_sends(id=5, method="roots/list")
    driver.send(id=5, result={"roots": []})
    assert [message["id"] for message in driver.server_received()] == [1, 5]


def test_an_initializing_server_may_send_requests(driver):
    [initialize_result] = driver.restart_server(answered=False)
    driver.server_sends(id=5, method="ping")
    [request] = driver.client_received()
    driver.send(id=request["id"], result={})
    assert driver.server_received() == [{"jsonrpc": "2.0", "id": 5, "result": {}}]
    driver.server_responds(initialize_result["id"], INITIALIZE_RESULT)


# Invalid messages.


def test_other_output_of_a_server_is_counted_in_the_log_and_not_forwarded(driver):
    for send_raw in (b"", b"\r", b"listening", b"\xff", b"x" * 10_000):
        driver.server_sends_raw(send_raw)
    driver.server_responds("unknown")
    assert driver.client_received() == []
    event = "invalid message from server"
    assert driver.log == [
        *((event, {"length": length}) for length in (9, 1, 10_000)),
        ("unexpected response from server", {}),
    ]
    driver.server_sends(id=None, error={"code": -32700, "message": "what?"})
    assert [message["id"] for message in driver.client_received()] == [None]


def test_a_too_long_line_is_invalid(driver, monkeypatch):
    monkeypatch.setattr(module, "MAX_LINE", 50)
    driver.send_raw(b"x" * 50)
    [message] = driver.client_received()
    assert (message["id"], error_parts(message)) == (None, (-32700, "a message must not exceed 50 bytes"))
    driver.server_sends_raw(b"x" * 50)
    assert driver.unusable == ["it sent a line of more than 50 bytes"]


def test_invalid_lines_of_a_client_are_forwarded(driver):
    driver.send_raw(b"invalid")
    assert driver.server_received() == [b"invalid"]
    driver.send_raw(b"  ")
    driver.drain()
    driver.send_raw(b"more")
    driver.close_input()
    driver.end_server()
    driver.start_server()
    driver.server_responds(driver.server_received()[0]["id"], INITIALIZE_RESULT)
    assert driver.server_received()[1:] == [b"more"]


# Batches.


def test_a_batch_is_forwarded_whole_and_split_if_it_must_wait(driver):
    both = [{"jsonrpc": "2.0", "id": 1, "method": "a"}, {"jsonrpc": "2.0", "method": "b"}]
    [action] = driver.session.from_client(json.dumps(both).encode())
    assert json.loads(action.line) == both
    driver.drain()
    driver.send_raw(json.dumps([{"jsonrpc": "2.0", "id": 2, "method": "c"}]).encode())
    assert 500 < driver.session.pending_bytes < 600
    driver.server_sends_raw(b"[" + line(id=1, result={}) + b"," + line(id=7, method="ping") + b"]")
    assert [message["id"] for message in driver.client_received()] == [1, 7]
    assert driver.drained == 1
    driver.close_input()
    driver.end_server()
    driver.start_server()
    driver.server_responds(driver.server_received()[-1]["id"], INITIALIZE_RESULT)
    assert [message.get("id") for message in driver.server_received()] == [None, 2]


# The end.


def test_a_closed_client_closes_the_servers_input_and_receives_its_last_output(driver):
    driver.send_request(1)
    driver.close_client()
    assert driver.closed == 1
    driver.server_responds(1)
    assert [message["id"] for message in driver.client_received()] == [1]
    driver.send_request(2)
    driver.end_server()
    driver.finish()
    assert [message["id"] for message in driver.client_received()] == [2]


def test_requests_of_a_closed_client_are_sent_to_the_next_server(driver):
    driver.end_server()
    driver.send_request(1)
    driver.close_client()
    assert driver.closed == 0
    driver.start_server()
    driver.server_responds(driver.server_received()[-1]["id"], INITIALIZE_RESULT)
    assert ([message.get("id") for message in driver.server_received()], driver.closed) == ([None, 1], 1)
    driver.end_server()
    [message] = driver.client_received()
    assert (message["id"], error_parts(message)[0]) == (1, SERVER_ENDED)


def test_at_the_end_all_requests_get_an_error(driver):
    driver.end_server()
    driver.send_request(1)
    driver.send_notification("notifications/roots/list_changed")
    driver.finish()
    [message] = driver.client_received()
    assert (message["id"], error_parts(message)[0]) == (1, SERVER_ENDED)
    assert driver.session.pending_bytes == 0


# Subscriptions of revision 2026-07-28.

SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
ALL = {"toolsListChanged": True, "promptsListChanged": False, "resourceSubscriptions": [URI, 1]}


def acknowledge(driver, identity="l", granted=ALL):
    params = {"_meta": {SUBSCRIPTION: identity}, "notifications": granted}
    driver.server_sends(method="notifications/subscriptions/acknowledged", params=params)


@pytest.fixture
def subscribed():
    driver = SessionDriver()
    driver.start_server()
    driver.send_request("l", "subscriptions/listen", notifications=ALL)
    acknowledge(driver)
    assert methods(driver.client_received()) == ["notifications/subscriptions/acknowledged"]
    driver.server_received()
    return driver


def test_a_drain_does_not_wait_for_a_subscription_and_the_next_server_continues_it(subscribed):
    subscribed.drain()
    assert subscribed.drained == 1
    subscribed.close_input()
    subscribed.server_responds("l")  # a server ends its subscriptions when it stops
    subscribed.end_server()
    subscribed.start_server()
    [request] = subscribed.server_received()
    assert (request["id"], request["method"]) == ("l", "subscriptions/listen")
    assert subscribed.client_received() == []
    acknowledge(subscribed)
    tools, resource = subscribed.client_received()
    assert (tools["method"], tools["params"]) == ("notifications/tools/list_changed", {"_meta": {SUBSCRIPTION: "l"}})
    assert resource["params"] == {"uri": URI, "_meta": {SUBSCRIPTION: "l"}}
    acknowledge(subscribed, granted={})
    assert methods(subscribed.client_received()) == ["notifications/subscriptions/acknowledged"]


def test_a_first_acknowledgment_is_forwarded(subscribed):
    subscribed.send_request("m", "subscriptions/listen", notifications={})
    subscribed.restart_server()
    acknowledge(subscribed, "m", {})
    acknowledge(subscribed, "unknown", {})
    assert len(subscribed.client_received()) == 2


def test_a_subscription_survives_a_crash_and_ends_with_an_error(subscribed):
    subscribed.end_server()
    assert subscribed.client_received() == []
    subscribed.start_server()
    subscribed.server_sends(id="l", error={"code": 1, "message": "no"})
    assert [message["id"] for message in subscribed.client_received()] == ["l"]
    subscribed.server_received()
    assert subscribed.restart_server() == []


def test_a_cancelled_subscription_is_not_repeated(subscribed):
    subscribed.send_notification("notifications/cancelled", requestId="l")
    subscribed.server_received()
    assert subscribed.restart_server() == []
    assert subscribed.client_received() == []


def test_subscriptions_get_an_error_at_the_end(subscribed):
    subscribed.end_server()
    subscribed.finish()
    assert [error_parts(message)[0] for message in subscribed.client_received()] == [SERVER_ENDED]
