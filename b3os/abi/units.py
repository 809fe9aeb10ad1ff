"""Base units and decimal numbers."""


def units(amount: int, decimals: int) -> str:
    """Write base units as a decimal number: units(1500000, 6) is 1.5."""
    if decimals <= 0:
        return str(amount)
    whole, part = divmod(amount, 10**decimals)
    digits = str(part).rjust(decimals, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
