"""Health checks, as probes and people ask for them."""

from pathlib import Path

from minipod.server.health import HealthChecks

from .harness import Api, serve

CHECKS = {"readyz": {"ping": lambda: "", "store": lambda: "the disk is full"}}


def test_a_failing_check_fails_the_whole_and_is_named() -> None:
    found = HealthChecks(CHECKS).answer("/readyz", False, set())
    assert found is not None
    assert found.code == 500
    assert found.text == "[+]ping ok\n[-]store failed: reason withheld\nreadyz check failed\n"


def test_a_check_can_be_left_out_or_asked_for_alone() -> None:
    checks = HealthChecks(CHECKS)
    found = checks.answer("/readyz", True, {"store", "other"})
    assert found is not None
    assert (found.code, found.text) == (
        200,
        "[+]ping ok\n[+]store excluded: ok\n"
        'warn: some health checks cannot be excluded: no matches for "other"\nreadyz check passed\n',
    )
    alone, broken = (
        checks.answer("/readyz/ping", False, set()),
        checks.answer("/readyz/store", False, set()),
    )
    assert alone is not None
    assert broken is not None
    assert ((alone.code, alone.text), broken.code) == ((200, "ok"), 500)
    assert checks.answer("/readyz/other", False, set()) is None
    assert checks.answer("/other", False, set()) is None


def test_the_server_answers_them(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        for path in ("/healthz", "/livez", "/readyz", "/readyz/store"):
            assert (await api("GET", path)).body == b"ok"
        verbose = (await api("GET", "/readyz?verbose")).body.decode()
        assert "[+]store ok\n" in verbose
        assert verbose.endswith("readyz check passed\n")

    serve(tmp_path, body)


def test_figures_are_in_prometheus_format(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        found = await api("GET", "/metrics")
        assert found.headers["Content-Type"].startswith("text/plain")
        text = found.body.decode()
        assert "\napiserver_storage_objects " in text
        assert 'kubernetes_build_info{git_version="v1.36' in text

    serve(tmp_path, body)
