"""How many decimals a currency has: money is kept in minor units, so this decides what they are.

Source: ISO 4217, active codes of circulating currencies; requirement A17.
"""

_TWO_DIGITS = frozenset(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF
    CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD
    HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK
    MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD
    RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS
    UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
    """.split()  # noqa: SIM905 - a table reads best as text
)
_NO_DIGITS = frozenset(
    "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split()  # noqa: SIM905
)
_THREE_DIGITS = frozenset("BHD IQD JOD KWD LYD OMR TND".split())  # noqa: SIM905


CODE_WORDS = "the ISO 4217 code of a currency in circulation"
CODES = tuple(sorted(_TWO_DIGITS | _NO_DIGITS | _THREE_DIGITS))


def minor_digits(code: str) -> int:
    """Return the number of decimals of a currency: KRW 0, USD 2, KWD 3.

    Raises:
        ValueError: no such currency; a mistyped code must not silently mean two decimals.
    """
    if code in _TWO_DIGITS:
        return 2
    if code in _NO_DIGITS:
        return 0
    if code in _THREE_DIGITS:
        return 3
    raise ValueError(f"{code!r} is not the code of a currency in circulation")
