"""Whose credentials brought an image here (KEP-2535): a Pod without them may not use it behind its owner's back.

The kubelet's default policy, NeverVerifyPreloadedImages: what was built, loaded or pulled here by hand is everybody's,
and so is what a registry gave without a credential, or for the host's own. An image that a Pod's Secret has brought is
for Pods that have that Secret, or one with the same credential; others are sent to the registry, which decides.

The records are ImagePulledRecord and ImagePullIntent of kubelet.config.k8s.io/v1beta1, in a file each. The intent is
written before the pull and removed after the record, so that a kill -9 between the two leaves no image that is
everybody's by mistake.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from minipod.image.names import Reference, parse_reference

_VERSION = "kubelet.config.k8s.io/v1beta1"


@dataclass(frozen=True)
class PullSecret:
    """One of a Pod's pull secrets, by its identity and by what it shows a registry."""

    namespace: str
    name: str
    uid: str
    credential: str  # its fingerprint

    @property
    def coordinates(self) -> tuple[str, str, str]:
        """Which Secret it is, whatever it holds now."""
        return self.namespace, self.name, self.uid


class PullRecords:
    """The records of one image store. `exists` says of a manifest's digest whether the store has it."""

    def __init__(
        self, directory: Path, exists: Callable[[str], bool] = lambda digest: True
    ) -> None:
        self._directory = directory
        self._records: dict[str, dict[str, Any]] = {}  # by manifest digest
        self._intents: set[str] = set()
        self._load(exists)

    def is_open(self, reference: str, digest: str) -> bool:
        """Return whether every Pod may use an image that is here under this name."""
        record = self._records.get(digest)
        if record is None:
            return reference not in self._intents
        entry = record["credentialMapping"].get(_name(reference)) or {}
        return bool(entry.get("nodePodsAccessible"))

    def admits(self, reference: str, digest: str, secrets: Sequence[PullSecret]) -> bool:
        """Return whether a Pod with these secrets may use it; a Secret whose credential has changed is known still."""
        if self.is_open(reference, digest):
            return True
        for each in secrets:
            known = list(self._secrets(reference, digest))
            same = any(each.credential and each.credential == other.credential for other in known)
            if same or any(each.coordinates == other.coordinates for other in known):
                self._add(reference, digest, each)
                return True
        return False

    def intend(self, reference: str) -> None:
        """Note that a pull begins: until it is recorded, what is here under the name is nobody's."""
        if reference not in self._intents:
            self._intents.add(reference)
            kind = {"apiVersion": _VERSION, "kind": "ImagePullIntent", "image": reference}
            self._write(self._intent_path(reference), kind)

    def failed(self, reference: str) -> None:
        """Note that a pull has failed."""
        self._intents.discard(reference)
        self._intent_path(reference).unlink(missing_ok=True)

    def pulled(self, reference: str, digest: str, secrets: Sequence[PullSecret]) -> None:
        """Note with whose credential an image was pulled; none: with the host's, or without any."""
        if secrets:
            for each in secrets:
                self._add(reference, digest, each)
        else:
            entry = self._entry(reference, digest)
            if not entry.get("nodePodsAccessible"):
                entry.clear()
                entry["nodePodsAccessible"] = True
                self._store(digest)
        self.failed(reference)  # the intent has come true

    # -- files -----------------------------------------------------------------------------------

    def _add(self, reference: str, digest: str, secret: PullSecret) -> None:
        entry = self._entry(reference, digest)
        if entry.get("nodePodsAccessible") or secret in self._secrets(reference, digest):
            return
        found = [
            each
            for each in entry.get("kubernetesSecrets") or ()
            if (each["namespace"], each["name"], each["uid"]) != secret.coordinates
        ]
        made = {"namespace": secret.namespace, "name": secret.name, "uid": secret.uid}
        entry["kubernetesSecrets"] = [*found, {**made, "credentialHash": secret.credential}]
        self._store(digest)

    def _entry(self, reference: str, digest: str) -> dict[str, Any]:
        record = self._records.setdefault(
            digest,
            {
                "apiVersion": _VERSION,
                "kind": "ImagePulledRecord",
                "imageRef": digest,
                "credentialMapping": {},
            },
        )
        entry: dict[str, Any] = record["credentialMapping"].setdefault(_name(reference), {})
        return entry

    def _secrets(self, reference: str, digest: str) -> Iterator[PullSecret]:
        mapping = (self._records.get(digest) or {}).get("credentialMapping") or {}
        for each in (mapping.get(_name(reference)) or {}).get("kubernetesSecrets") or ():
            yield PullSecret(each["namespace"], each["name"], each["uid"], each["credentialHash"])

    def _store(self, digest: str) -> None:
        self._write(self._directory / "pulled" / quote(digest, safe=""), self._records[digest])

    def _intent_path(self, reference: str) -> Path:
        return self._directory / "pulling" / quote(reference, safe="")

    def _write(self, path: Path, content: dict[str, Any]) -> None:
        """Write a file whole or not at all, on the disk before this returns: it is about who may see what."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f".{path.name[:200]}.new")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
            json.dump(content, opened)
            opened.flush()
            os.fsync(opened.fileno())
        fresh.rename(path)

    def _load(self, exists: Callable[[str], bool]) -> None:
        """Read what a predecessor wrote. A damaged record has no credentials; of a lost image, none stays."""
        for path in self._files("pulled"):
            content = _read(path)
            digest = content.get("imageRef") or path.name.replace("%3A", ":")
            if not exists(digest):
                path.unlink(missing_ok=True)
                continue
            self._records[digest] = {
                **content,
                "credentialMapping": content.get("credentialMapping") or {},
            }
        for path in self._files("pulling"):
            reference = _read(path).get("image")
            if reference:
                self._intents.add(reference)

    def _files(self, name: str) -> list[Path]:
        directory = self._directory / name
        found = directory.iterdir() if directory.exists() else ()
        return [path for path in found if not path.name.startswith(".")]


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _name(reference: str) -> str:
    """Return an image's name without tag and digest, as upstream keys credentials; "" for an ID, which is no name."""
    try:
        parsed: Reference = parse_reference(reference)
    except ValueError:
        return ""
    return parsed.name
