"""Pulling from a real registry, through fair weather and foul."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipod.image import registry as registry_client
from minipod.image.archive import load
from minipod.image.errors import ImageError
from minipod.image.progress import Progress
from minipod.image.pull import pull
from minipod.image.store import ImageStore
from minipod.image.stream import Limits

from . import registries
from .archives import file, tar
from .registries import PASSWORD, USER, FaultyProxy
from .test_archive import digest, docker_archive

pytestmark = pytest.mark.kernel
QUIET = Progress(quiet=True)
NAME = "team/app:v1"


@pytest.fixture(scope="module", autouse=True)
def at_once(outer_namespace: int) -> Iterator[None]:
    """Pause for moments between attempts."""
    patch = pytest.MonkeyPatch()
    patch.setattr(registry_client, "FIRST_PAUSE", 0.001)
    for name in [each for each in os.environ if each.lower().endswith("_proxy")]:
        patch.delenv(name)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def layers() -> list[bytes]:
    """Three layers whose bytes no compression shrinks."""
    return [tar(file(f"file{n}", os.urandom(200_000)), file("same", b"%d" % n)) for n in range(3)]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, layers: list[bytes]) -> Iterator[str]:
    """A registry that has NAME."""
    place = tmp_path_factory.mktemp("registry")
    archive = docker_archive(place / "app.tar", layers, ["app:v1"])
    with registries.registry(place) as address:
        registries.push(archive, f"{address}/{NAME}")
        yield address


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


@pytest.fixture
def proxy(host: str) -> Iterator[FaultyProxy]:
    with registries.faulty_proxy(host) as made:
        yield made


def get(store: ImageStore, name: str, tmp_path: Path, **more: object) -> bool:
    return pull(store, name, tmp_path, QUIET, **more).changed  # type: ignore[arg-type]


def test_an_image_comes_whole_and_once(store: ImageStore, host: str, tmp_path: Path) -> None:
    name = f"{host}/{NAME}"
    assert get(store, name, tmp_path)
    image = store.require(name)
    assert [Path(layer, "same").read_text() for layer in image.layers] == ["2", "1", "0"]
    assert image.config.cmd == ("/bin/tool",)
    assert store.pulled_digest(name) == image.manifest_digest
    assert not get(store, name, tmp_path)
    assert os.listdir(store.scratch) == []


def test_a_digest_names_the_image_too(store: ImageStore, host: str, tmp_path: Path) -> None:
    get(store, f"{host}/{NAME}", tmp_path)
    pinned = f"{host}/team/app@{store.require(f'{host}/{NAME}').manifest_digest}"
    assert get(store, pinned, tmp_path)
    assert store.require(pinned).id == store.require(f"{host}/{NAME}").id


def test_what_is_made_here_under_a_pulled_name_is_no_pulled_image(
    store: ImageStore, host: str, tmp_path: Path
) -> None:
    name = f"{host}/{NAME}"
    get(store, name, tmp_path)
    archive = docker_archive(tmp_path / "own.tar", [tar(file("own"))], [name])
    load(store, archive, QUIET)
    assert store.pulled_digest(name) == ""
    assert get(store, name, tmp_path)  # asked for by hand, the registry's comes back
    assert store.pulled_digest(name)


@pytest.mark.parametrize(
    "faults", [["cut", "cut", "cut"], ["cut", "whole"], ["busy", "sick", "cut"], ["wrong"]]
)
def test_bad_weather_is_borne(
    store: ImageStore, proxy: FaultyProxy, tmp_path: Path, layers: list[bytes], faults: list[str]
) -> None:
    proxy.faults = list(faults)
    assert get(store, f"{proxy.address}/{NAME}", tmp_path)
    image = store.require(f"{proxy.address}/{NAME}")
    assert sorted(os.listdir(image.layers[0])) == ["file2", "same"]
    assert proxy.faults == []


def test_a_cut_download_goes_on_where_it_ended(
    store: ImageStore, proxy: FaultyProxy, tmp_path: Path
) -> None:
    proxy.faults = ["", "cut"]  # the configuration, then a layer
    get(store, f"{proxy.address}/{NAME}", tmp_path)
    ranges = [headers["Range"] for _, _, headers in proxy.seen if "Range" in headers]
    assert len(ranges) == 1
    asked = [headers["Accept"] for _, path, headers in proxy.seen if "/manifests/" in path]
    assert all("image.index" in each for each in asked)
    assert int(ranges[0].removeprefix("bytes=").removesuffix("-")) > 50_000


@pytest.mark.parametrize(
    ("faults", "complaint"),
    [
        (["", *["wrong"] * 9], "its content is .*, twice"),
        (["", *["long"] * 9], "longer than the [0-9]+ bytes announced"),
        (["", *["sick"] * 20], r"HTTP 503 Service Unavailable \(5 attempts\)"),
    ],
)
def test_what_stays_bad_is_refused_and_leaves_nothing(
    store: ImageStore, proxy: FaultyProxy, tmp_path: Path, faults: list[str], complaint: str
) -> None:
    proxy.faults = list(faults)
    with pytest.raises(ImageError, match=complaint):
        get(store, f"{proxy.address}/{NAME}", tmp_path)
    assert store.list() == []
    assert os.listdir(store.scratch) == []


def test_a_registry_that_is_not_there_is_told_in_the_kernels_word(
    store: ImageStore, tmp_path: Path
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and nobody listens
        place = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ImageError) as caught:
            get(store, f"{place}/{NAME}", tmp_path)
    assert f'cannot connect to "{place}": connection refused' in str(caught.value)
    assert "('" not in str(caught.value)


def test_a_failed_update_leaves_the_old_image(
    store: ImageStore, proxy: FaultyProxy, host: str, tmp_path: Path
) -> None:
    name = f"{proxy.address}/team/moves:latest"
    for number, content in enumerate((b"old", b"new")):
        archive = docker_archive(tmp_path / f"{number}.tar", [tar(file("f", content))], ["m:1"])
        registries.push(archive, f"{host}/team/moves:latest")
        if not number:
            get(store, name, tmp_path)
    proxy.faults = ["", *["sick"] * 9]
    with pytest.raises(ImageError, match="503"):
        get(store, name, tmp_path)
    assert Path(store.require(name).layers[0], "f").read_text() == "old"
    proxy.faults = []
    assert get(store, name, tmp_path)
    assert Path(store.require(name).layers[0], "f").read_text() == "new"


def _authfile(path: Path, host: str, password: str) -> Path:
    entry = {"username": USER, "password": password}
    path.write_text(json.dumps({"auths": {host: entry}}))
    return path


def test_basic_authentication(store: ImageStore, tmp_path: Path) -> None:
    archive = docker_archive(tmp_path / "a.tar", [tar(file("f"))], ["a:1"])
    with registries.registry(tmp_path, auth=True) as host:
        registries.push(archive, f"{host}/{NAME}", credentials=f"{USER}:{PASSWORD}")
        with pytest.raises(ImageError, match="accepts none of the credentials"):
            get(store, f"{host}/{NAME}", tmp_path)
        wrong = str(_authfile(tmp_path / "wrong.json", host, "guess"))
        with pytest.raises(ImageError, match="accepts none") as refused:
            get(store, f"{host}/{NAME}", tmp_path, authfile=wrong)
        assert "guess" not in str(refused.value)
        _authfile(tmp_path / "config.json", host, PASSWORD)  # where the daemon's own lies
        assert get(store, f"{host}/{NAME}", tmp_path)


def test_token_authentication_shows_the_password_to_the_token_service_alone(
    store: ImageStore, host: str, tmp_path: Path
) -> None:
    with registries.faulty_proxy(host, token="let-me-in") as proxy:
        name = f"{proxy.address}/{NAME}"
        authfile = str(_authfile(tmp_path / "auth.json", f"{proxy.address}/team", PASSWORD))
        assert get(store, name, tmp_path, authfile=authfile)
        shown = {p for _, p, h in proxy.seen if h.get("Authorization", "").startswith("Basic")}
        assert shown == {"/token"}


def test_each_credential_is_tried_though_the_token_service_refuses_the_first(
    store: ImageStore, host: str, tmp_path: Path
) -> None:
    with registries.faulty_proxy(host, token="let-me-in") as proxy:
        wrong, right = (
            {"username": USER, "password": "old"},
            {"username": USER, "password": PASSWORD},
        )
        auths = {f"{proxy.address}/team": wrong, proxy.address: right}
        authfile = tmp_path / "auth.json"
        authfile.write_text(json.dumps({"auths": auths}))
        assert get(store, f"{proxy.address}/{NAME}", tmp_path, authfile=str(authfile))


def test_nothing_is_shown_to_where_a_token_service_redirects(
    store: ImageStore, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password in-netrc\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with (
        registries.faulty_proxy(host) as other,
        registries.faulty_proxy(host, token="x", moved=f"http://{other.address}/token") as proxy,
    ):
        for number, entry in enumerate(({"identitytoken": "tell-nobody"}, {"auth": "dTpw"})):
            authfile = tmp_path / f"{number}.json"
            authfile.write_text(json.dumps({"auths": {proxy.address: entry}}))
            with pytest.raises(ImageError) as refused:
                get(store, f"{proxy.address}/{NAME}", tmp_path, authfile=str(authfile))
            assert "tell-nobody" not in str(refused.value)
        assert b"refresh_token=tell-nobody" in b"".join(proxy.bodies)
        assert not any("Authorization" in headers for _, _, headers in other.seen)
        assert b"tell-nobody" not in b"".join(other.bodies)


@pytest.mark.parametrize("realm", ["http://[", "file:///etc/passwd", "http://", "x"])
def test_a_token_service_that_is_none_is_named(
    store: ImageStore, host: str, tmp_path: Path, realm: str
) -> None:
    with (
        registries.faulty_proxy(host, token="x", realm=realm) as proxy,
        pytest.raises(ImageError, match=r"its token service .* is no URL"),
    ):
        get(store, f"{proxy.address}/{NAME}", tmp_path)


def test_a_mirror_is_shown_its_own_credentials_only(
    store: ImageStore, host: str, tmp_path: Path
) -> None:
    with registries.faulty_proxy(host, token="let-me-in") as mirror:
        text = f'["registry.example.com"]\nmirrors = ["http://{mirror.address}"]\nonly_mirrors = true\n'
        (tmp_path / "registries.toml").write_text(text)
        name = f"registry.example.com/{NAME}"
        authfile = _authfile(tmp_path / "auth.json", "registry.example.com", PASSWORD)
        with pytest.raises(ImageError, match="authentication required"):
            get(store, name, tmp_path, authfile=str(authfile))
        assert not any("Authorization" in headers for _, _, headers in mirror.seen)
        _authfile(authfile, mirror.address, PASSWORD)
        assert get(store, name, tmp_path, authfile=str(authfile))


def test_a_mirror_goes_before_the_registry_itself(
    store: ImageStore, host: str, tmp_path: Path
) -> None:
    text = f'["registry.example.com"]\nmirrors = ["http://{host}"]\nonly_mirrors = true\n'
    (tmp_path / "registries.toml").write_text(text)
    assert get(store, f"registry.example.com/{NAME}", tmp_path)
    with pytest.raises(ImageError, match=r"registry\.example\.com/team/none:v1 at .*: not found"):
        get(store, "registry.example.com/team/none:v1", tmp_path)


def test_an_index_leads_to_this_hosts_image_and_no_other(
    store: ImageStore, host: str, tmp_path: Path
) -> None:
    get(store, f"{host}/{NAME}", tmp_path)
    manifest = store.require(f"{host}/{NAME}").manifest_digest
    data = store.read_blob(manifest)
    kind = json.loads(data)["mediaType"]
    for tag, arch, accepted in (("multi", None, True), ("foreign", "s390x", False)):
        from minipod.image.model import architecture

        platform = {"os": "linux", "architecture": arch or architecture()}
        entry = {"mediaType": kind, "digest": manifest, "size": len(data), "platform": platform}
        _put_index(host, tag, [entry])
        if accepted:
            assert get(store, f"{host}/team/app:{tag}", tmp_path)
            assert store.pulled_digest(f"{host}/team/app:{tag}") != manifest
        else:
            with pytest.raises(ImageError, match="it has no image for linux/"):
                get(store, f"{host}/team/app:{tag}", tmp_path)


def _put_index(host: str, tag: str, manifests: list[object]) -> None:
    import urllib.request

    kind = "application/vnd.oci.image.index.v1+json"
    body = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}).encode()
    url = f"http://{host}/v2/team/app/manifests/{tag}"
    request = urllib.request.Request(url, body, {"Content-Type": kind}, method="PUT")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        assert answer.headers["Docker-Content-Digest"] == digest(body)


def test_documents_have_bounds(store: ImageStore, host: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="the document exceeds 100 bytes"):
        get(store, f"{host}/{NAME}", tmp_path, limits=Limits(document_bytes=100))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[", "registries.toml"),
        ('["docker.io"]\nca = "/none.pem"\n', '"/none.pem"'),
        ('["docker.io"]\nmirror = "x"\n', 'has no "mirror"; it has mirrors'),
        ('["docker.io"]\nmirrors = ["x"]\n', 'mirror "x" is no http'),
        ('["docker.io"]\nplain_http = "yes"\n', "plain_http is not a bool"),
    ],
)
def test_a_wrong_configuration_is_named(
    store: ImageStore, tmp_path: Path, text: str, complaint: str
) -> None:
    (tmp_path / "registries.toml").write_text(text)
    with pytest.raises(ImageError, match=complaint):
        get(store, "nginx", tmp_path)
