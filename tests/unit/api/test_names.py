import pytest

from minipod.api import names


@pytest.mark.parametrize("value", ["a", "my-name", "123-abc", "a" * 63])
def test_labels_that_are_fine(value):
    assert names.dns1123_label(value) == []


@pytest.mark.parametrize("value", ["", "A", "-a", "a-", ".a", "a_b", "ä", "a\n"])
def test_labels_that_are_not(value):
    [problem] = names.dns1123_label(value)
    assert problem == (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
        "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    )


def test_lengths():
    assert names.dns1123_label("a" * 64) == ["must be no more than 63 characters"]
    assert names.dns1123_subdomain("a" * 254) == ["must be no more than 253 characters"]
    assert names.label_value("a" * 64) == ["must be no more than 63 bytes"]
    assert names.port_name("a" * 16) == ["must be no more than 15 characters"]


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (names.dns1123_subdomain, ["example.com", "a.b-c.d"], ["a..b", ".a", "a.", "A.b"]),
        (names.dns1035_label, ["a1"], ["1a", ""]),
        (
            names.qualified_name,
            ["a", "A.b_c-d", "example.com/Name"],
            ["", "/a", "a/", "a/b/c", "Ex.com/a", "-a"],
        ),
        (names.label_value, ["", "a", "MyValue", "1.2_3"], ["-a", "a b", "a/b"]),
        (names.environment_name, ["A", "a.b-c", "1x", "with blank"], ["", "a=b", "ä", "a\tb"]),
        (names.config_key, ["a.b", "_x-1", ".hidden"], ["", "a/b", "..", ".", "..data"]),
        (names.port_name, ["http", "web-2"], ["", "HTTP", "80", "a--b", "-a", "a-", "a.b"]),
        (names.port_number, [1, 65535], [0, 65536, -1]),
        (names.user_id, [0, 2**31 - 1], [-1, 2**31]),
        (names.http_header, ["X-Header"], ["", "a b", "a:"]),
        (names.ip, ["10.1.2.3", "::1"], ["", "10.1.2", "a", "10.1.2.3/8"]),
        (names.path_segment, ["a:b", "x"], [".", "..", "a/b", "a%b"]),
    ],
)
def test_rules(rule, good, bad):
    assert [each for each in good if rule(each)] == []
    assert [each for each in bad if not rule(each)] == []


def test_sysctl_names_take_dots_and_slashes():
    assert names.is_sysctl("net.ipv4.ip_forward")
    assert names.is_sysctl("net/ipv4/conf/eth0/x")
    assert not names.is_sysctl("net..ipv4")
    assert not names.is_sysctl("Net.a")


def test_the_dash_at_the_end_of_a_generate_name_does_not_matter():
    assert names.object_name("dns1123_subdomain", "web-", prefix=True) == []
    assert names.object_name("dns1123_subdomain", "web-") != []


def test_generated_names_stay_labels():
    assert names.generated("web-", "x7k2p") == "web-x7k2p"
    assert len(names.generated("a" * 80, "x7k2p")) == 63
