"""Which addresses outgoing requests may reach. Pure: it is given addresses and never resolves or connects."""

import ipaddress
from urllib.parse import urlsplit

from b3os.errors import BadInput

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Everything that is not the public internet, plus forms that can carry such an address inside.
REFUSED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    ]
)


def parse_address(text: str) -> Address:
    """Read an address without its zone; an IPv4-mapped IPv6 address becomes the IPv4 one."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


class AllowList:
    """Hosts, host:port pairs and CIDRs that the operator opened although they are not public."""

    def __init__(self, text: str = "") -> None:
        entries = [part.strip().lower() for part in text.split(",") if part.strip()]
        self._networks: list[Network] = []
        self._hosts: set[str] = set()
        for entry in entries:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                self._hosts.add(entry)

    def has_host(self, host: str, port: int) -> bool:
        """Say whether the host, or this port of it, was opened by name."""
        return host.lower() in self._hosts or f"{host.lower()}:{port}" in self._hosts

    def permits(self, address_text: str, port: int) -> bool:
        """Say whether a connection to this resolved address may be opened."""
        address = parse_address(address_text)
        if self.has_host(str(address), port) or any(address in network for network in self._networks):
            return True
        return not any(address in network for network in REFUSED)


def check_url(url: str, allow: AllowList) -> tuple[str, int]:
    """Return host and port of a URL that may be tried; raises BadInput. Its addresses are checked later."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise BadInput("The URL is not valid: correct its host and port.") from error
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host:
        raise BadInput("Only http and https URLs with a host can be requested.")
    if parts.username is not None:
        raise BadInput("The URL holds a user name: send credentials in a header.")
    if port not in (80, 443, 8080, 8443) and not allow.has_host(host, port):
        raise BadInput(f"Port {port} is not allowed: ask the operator to add {host}:{port} to the allow list.")
    return host, port


def check_target(url: str, allow: AllowList) -> None:
    """Raise BadInput for an address that a webhook can never be sent to; a name is judged when it is resolved."""
    try:
        host, port = check_url(url, allow)
    except BadInput as error:
        raise BadInput(f"`url`: {error.message}", code=400365) from error
    is_opened = allow.has_host(host, port) or (
        _may_be_tried(host, port, allow) and not _may_be_tried(host, port, AllowList())
    )
    if not _may_be_tried(host, port, allow):
        raise BadInput("`url` names a private or reserved address: use a public one", code=400365)
    if urlsplit(url).scheme != "https" and not is_opened:
        raise BadInput("`url` begins with https://, unless the operator opened its host for http", code=400365)


def _may_be_tried(host: str, port: int, allow: AllowList) -> bool:
    try:
        return allow.permits(host, port)
    except ValueError:
        return True
