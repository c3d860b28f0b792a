"""Histories for the whole state machine: three apps with slow polls, and all that can happen to them."""

from hypothesis import strategies as st

from support.models.world import app_spec, folder, ref

A, B, C, D = ref("p/db/a"), ref("p/db/b"), ref("p/key/c"), ref("p/db/d")
SLOW = {
    "one": app_spec(A, B, C, refresh_interval=10.0, keeps_files=True),
    "two": app_spec(A, compiled_app="r2", notifies=False, refresh_interval=5.0),
    "all": app_spec(folder("p/db/"), compiled_app="r3", refresh_interval=10.0),
}
REFS = st.sampled_from([A, B, C, D])
ACTIONS = st.one_of(
    st.tuples(st.just("run"), st.sampled_from([0.01, 0.3, 1.0, 7.0, 65.0])),
    st.tuples(st.just("write"), REFS),
    st.tuples(st.just("delete"), REFS),
    st.tuples(st.just("deny"), REFS),
    st.tuples(st.just("allow"), REFS),
    st.tuples(st.just("vault"), st.sampled_from(["available", "refuses", "hangs"])),
    st.tuples(st.just("revoke"), st.none()),
    st.tuples(st.just("disk_full"), st.booleans()),
    st.tuples(st.just("app_running"), st.booleans()),
    st.tuples(st.just("crash"), st.none()),
    st.tuples(st.just("compiled_app"), st.sampled_from(["r1", "r4"])),
    st.tuples(st.just("refresh"), st.none()),
    st.tuples(st.just("event_source"), st.booleans()),
    st.tuples(st.just("report_change"), REFS),
    st.tuples(st.just("touch"), st.tuples(st.sampled_from(["one", "two"]), st.booleans(), st.booleans())),
)
