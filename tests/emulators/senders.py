"""The services that call us: their bodies, signed as they sign.

By hand: `python -m tests.emulators.senders stripe http://127.0.0.1:8080/v1/webhooks/SECRET`, which sends the service's
sample event signed with the secret below (`--secret` for another) and prints the answer.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import time

import aiohttp

from b3os.detect.sample_calls import CALLS

NOW = 1_700_000_000
SECRETS = {
    "stripe": "whsec_stripe_demo",
    "pipedream": "whsk_demo",
    "coinbase": "coinbase-demo-secret",
    "shopify": "shpss_demo_secret",
    "github": "It's a Secret to Everybody",
    "slack": "8f742231b10e8888abcd99yyyzzz85a5",
    "standard": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "telegram": "telegram_secret-token",
    "farcaster": "neynar-demo-secret",
}


def sign(scheme: str, body: bytes, *, secret: str = "", at: int = NOW) -> dict[str, str]:
    """Return the headers that a service sends with a body."""
    secret = secret or SECRETS[scheme]

    def mac(message: bytes, algorithm: str = "sha256") -> bytes:
        return hmac.new(secret.encode(), message, algorithm).digest()

    match scheme:
        case "stripe":
            return {"stripe-signature": f"t={at},v1={mac(f'{at}.'.encode() + body).hex()},v0=ignored"}
        case "pipedream":
            return {"x-pd-signature": f"t={at},v1={mac(f'{at}.'.encode() + body).hex()}"}
        case "coinbase":
            bound = {"content-type": "application/json", "x-event-id": "e-1"}
            names, values = " ".join(bound), ".".join(bound.values())
            first, second = mac(f"{at}.".encode() + body), mac(f"{at}.{names}.{values}.".encode() + body)
            return {**bound, "x-hook0-signature": f"t={at},v0={first.hex()},h={names},v1={second.hex()}"}
        case "shopify":
            return {
                "x-shopify-hmac-sha256": base64.b64encode(mac(body)).decode(),
                "x-shopify-topic": "orders/create",
                "x-shopify-shop-domain": "mine.myshopify.com",
            }
        case "github":
            return {"x-hub-signature-256": "sha256=" + mac(body).hex(), "x-github-event": "push"}
        case "slack":
            given = "v0=" + mac(f"v0:{at}:".encode() + body).hex()
            return {"x-slack-request-timestamp": str(at), "x-slack-signature": given}
        case "standard":
            key = base64.b64decode(secret.removeprefix("whsec_"))
            digest = hmac.new(key, f"msg_1.{at}.".encode() + body, hashlib.sha256).digest()
            given = "v1," + base64.b64encode(digest).decode()
            return {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": given}
        case "telegram":
            return {"x-telegram-bot-api-secret-token": secret}
        case "farcaster":
            return {"x-neynar-signature": mac(body, "sha512").hex()}
        case _:
            raise ValueError(f"nobody signs as {scheme}")


async def main(arguments: argparse.Namespace) -> None:
    body = json.dumps(CALLS[arguments.service]).encode()
    headers = {"content-type": "application/json"}
    headers |= sign(arguments.service, body, secret=arguments.secret, at=int(time.time()))
    async with aiohttp.ClientSession() as session, session.post(arguments.url, data=body, headers=headers) as answer:
        print(answer.status, await answer.text())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Send a service's webhook.")
    parser.add_argument("service", choices=sorted(CALLS))
    parser.add_argument("url")
    parser.add_argument("--secret", default="")
    asyncio.run(main(parser.parse_args()))
