"""What is said of a registry that cannot be reached."""

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from minipod.image.names import parse_reference
from minipod.image.registry import RegistryClient, RegistryError
from minipod.pki import Authority


async def _ask(port: int) -> None:
    async with aiohttp.ClientSession() as session:
        reference = parse_reference(f"127.0.0.1:{port}/team/app:v1")
        client = RegistryClient(session, f"https://127.0.0.1:{port}", reference)
        await client.manifest("v1", 1 << 20)


def _said(context: ssl.SSLContext | None) -> str:
    """Return what is told of a registry that speaks TLS so, or none."""

    async def scene() -> str:
        def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        async with server:
            with pytest.raises(RegistryError) as caught:
                await _ask(server.sockets[0].getsockname()[1])
        return str(caught.value)

    return asyncio.run(scene())


def test_a_certificate_of_nobody_we_trust_is_told_of(tmp_path: Path) -> None:
    authority, now = Authority(tmp_path / "pki"), datetime.now(UTC)
    authority.ensure(now)
    authority.ensure_server(("localhost",), ("127.0.0.1",), now)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server_paths)
    said = _said(context)
    assert ": certificate verify failed: " in said
    assert "_ssl.c" not in said


def test_a_registry_without_tls_is_told_of() -> None:
    said = _said(None)
    assert said.endswith(('": wrong version number', '": record layer failure'))
