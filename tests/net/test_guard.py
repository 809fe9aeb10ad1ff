"""The address table and the URL rules."""

import pytest

from b3os.errors import BadInput
from b3os.net.guard import AllowList, check_url

REFUSED = "127.0.0.1 10.1.1.1 100.64.0.1 169.254.169.254 168.63.129.16 224.0.0.1 ::1 :: ::ffff:10.0.0.1"
REFUSED += " 64:ff9b::7f00:1 2002:7f00:1::1 fd00::1 fe80::1%eth0 ff02::1 0.0.0.0 255.255.255.255"


@pytest.mark.parametrize("address", REFUSED.split())
def test_address_off_the_public_internet_is_refused(address: str) -> None:
    assert not AllowList().permits(address, 80)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_address_is_permitted(address: str) -> None:
    assert AllowList().permits(address, 443)


def test_allow_list_opens_ranges_and_single_ports() -> None:
    allow = AllowList("10.0.0.0/8, 127.0.0.1:9000")
    assert allow.permits("10.2.3.4", 80)
    assert allow.permits("127.0.0.1", 9000)
    assert not allow.permits("127.0.0.1", 9001)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://a:b@x.org/", "http://x.org:22/", "http://x:99999/"])
def test_url_outside_the_rules_is_refused(url: str) -> None:
    with pytest.raises(BadInput):
        check_url(url, AllowList())
