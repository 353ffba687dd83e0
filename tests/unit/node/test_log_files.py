"""The links to logs, and logs that go: with their attempts, and with their Pods."""

import asyncio
from pathlib import Path

from minipod.node.log_files import link_log, log_link, remove_dead_links, remove_log
from minipod.node.observed import LABEL_CONTAINER, LABEL_NAME, LABEL_NAMESPACE
from minipod.runtime.spec import ContainerStatus

from .pods import container, make_pod, world


def ended(root: Path, attempt: int = 0, name: str = "web") -> ContainerStatus:
    path = root / "pods" / "app" / f"{attempt}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    labels = {LABEL_NAME: name, LABEL_NAMESPACE: "default", LABEL_CONTAINER: "app"}
    return ContainerStatus(
        id=f"id{attempt}",
        sandbox_id="s",
        state="exited",
        pid=0,
        created_at=0,
        started_at=0,
        labels=labels,
        log_path=str(path),
    )


def test_a_link_leads_to_the_log_and_both_go_with_their_rotated_parts(tmp_path: Path) -> None:
    links, first, second = tmp_path / "containers", ended(tmp_path), ended(tmp_path, 10)
    for each in (first, second):
        link_log(links, each)
    assert sorted(each.name for each in links.iterdir()) == [
        "web_default_app-id0.log",
        "web_default_app-id10.log",
    ]
    assert log_link(links, first).read_text() == "x"
    (tmp_path / "pods/app/0.log.20260101-000000").write_text("older")
    remove_log(links, first)
    assert [each.name for each in (tmp_path / "pods/app").iterdir()] == ["10.log"]
    assert [each.name for each in links.iterdir()] == ["web_default_app-id10.log"]


def test_links_that_lead_nowhere_go(tmp_path: Path) -> None:
    links, status = tmp_path / "containers", ended(tmp_path)
    remove_dead_links(links)
    link_log(links, status)
    link_log(links, status)  # twice is once
    remove_dead_links(links)
    assert log_link(links, status).exists()
    Path(status.log_path).unlink()
    remove_dead_links(links, "other_")
    assert log_link(links, status).is_symlink()
    remove_dead_links(links, "web_default_")
    assert not log_link(links, status).is_symlink()


def test_a_long_name_is_cut(tmp_path: Path) -> None:
    assert len(log_link(tmp_path, ended(tmp_path, name="n" * 253)).name) == 255


def test_the_logs_of_attempts_that_are_forgotten_go(tmp_path: Path) -> None:
    async def whole() -> None:
        async with world(tmp_path) as made:
            await made.create(make_pod("web", container("app")))
            place = made.config.log_directory("default", "web", "uid-web") / "app"
            place.mkdir(parents=True, exist_ok=True)
            for attempt in range(3):
                (place / f"{attempt}.log").write_text("x")
                made.runtime.exit("app", 1)
                await made.settle()
                await made.pass_time(300)
            assert sorted(each.name for each in place.iterdir()) == ["2.log"]
            links = made.config.layout.container_logs
            assert len(list(links.iterdir())) == 2

    asyncio.run(whole())
