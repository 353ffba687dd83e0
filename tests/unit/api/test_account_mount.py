"""Who is given a service account's token, and where."""

from typing import Any

import pytest

from minipod.api.account_mount import PLACE, mount_token, wants_token

Object = dict[str, Any]


def _pod(**spec: Any) -> Object:
    return {"spec": {"containers": [{"name": "a"}, {"name": "b"}], **spec}}


@pytest.mark.parametrize(
    ("pod", "account", "wanted"),
    [
        (None, None, True),
        (None, False, False),
        (True, False, True),
        (False, True, False),
        (False, None, False),
    ],
)
def test_the_pods_word_goes_before_the_accounts(
    pod: bool | None, account: bool | None, wanted: bool
) -> None:
    fields = [
        {} if each is None else {"automountServiceAccountToken": each} for each in (pod, account)
    ]
    assert wants_token(_pod(**fields[0]), fields[1]) is wanted


def test_every_container_is_given_the_volume_once() -> None:
    pod = _pod(initContainers=[{"name": "i"}])
    pod["spec"]["containers"][1]["volumeMounts"] = [{"name": "own", "mountPath": PLACE}]
    mount_token(pod, "kube-api-access-x7k2p")
    spec = pod["spec"]
    mount = {"name": "kube-api-access-x7k2p", "readOnly": True, "mountPath": PLACE}
    assert spec["initContainers"][0]["volumeMounts"] == [mount]
    assert spec["containers"][0]["volumeMounts"] == [mount]
    assert [each["name"] for each in spec["containers"][1]["volumeMounts"]] == ["own"]
    [volume] = spec["volumes"]
    kinds = [next(iter(each)) for each in volume["projected"]["sources"]]
    assert kinds == ["serviceAccountToken", "configMap", "downwardAPI"]


def test_no_volume_without_a_mount() -> None:
    pod = _pod()
    for each in pod["spec"]["containers"]:
        each["volumeMounts"] = [{"name": "own", "mountPath": PLACE}]
    mount_token(pod, "kube-api-access-x7k2p")
    assert "volumes" not in pod["spec"]
