"""Reading the invite code from what people type or paste: the code alone, a link of this site, or a message with one of them.

Input that is not clearly one code is refused: an activation cannot be undone, and a wrong code costs an attempt.

"Ours" means this site: a link of ours begins with `HAMMER_PUBLIC_URL`.
"""

import re
import string
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import zip_longest
from typing import Final
from urllib.parse import unquote, urlsplit

from hammer.codes import INVITE_ALPHABET
from hammer.parsing.characters import visible
from hammer.refusals import N_, InvalidFields

NOT_AN_INVITE: Final = N_("An invite code has six letters or digits, like Q9UK59.")
UNSURE: Final = N_(
    "We could not tell for sure which invite code is meant. Enter its six letters or digits alone, or the whole link."
)
NOT_LATIN: Final = N_("The letters of an invite code are Latin. Please enter it in Latin letters.")
LONGEST: Final = 2048
"""Longest input that is read. A longer one is refused, not cut: a part of it could mean something else."""

LONGEST_ALONE: Final = 12
"""Longest input without a code that is answered like a mistyped code. A longer one is answered like a message."""

_LOOK_ALIKES: Final = str.maketrans("АВЕКМНОРСТУХЅІЈавекмнорстухѕіј", "ABEKMHOPCTYXSIJabekmhopctyxsij")
"""Cyrillic letters -> the Latin letters that they look like."""
_GAP: Final = r"[\s\-\u2010-\u2015]"
_SIGNS_OF_ADDRESSES: Final = r"#@/\\=&+%$\u00a2-\u00a5\u20a0-\u20cf"
"""Characters of addresses, tags, telephone numbers and prices. A word of prose with one of them contains no code."""
_SIGN: Final = re.compile(rf"[{_SIGNS_OF_ADDRESSES}]|[^\W_]\.[^\W_]")
_LETTER: Final = "[A-Za-z0-9" + "".join(map(chr, _LOOK_ALIKES)) + "]"
_AROUND: Final = rf"(?:[^\w\0{_SIGNS_OF_ADDRESSES}]|_)*"
_ALONE: Final = re.compile(rf"{_AROUND}({_LETTER}(?:(?:(?![\r\n]){_GAP}){{0,3}}{_LETTER}){{5}}){_AROUND}")
_SIX: Final = re.compile(rf"{_AROUND}[^\W_](?:{_GAP}?[^\W_]){{5}}{_AROUND}")
_WAYS: Final = r"i/+|login/*\?(?:[^\s#?/]*?&)??invite="
"""What comes before the code in a link of ours: the landing page `/i/`, or the login page with `invite=`."""
_BARE_PATH: Final = re.compile(rf"\s*/*(?:{_WAYS})(\S.*)", re.DOTALL | re.IGNORECASE)
_IN_PATH: Final = re.compile(rf"[\s/]*({_LETTER}{{3}}){_GAP}?({_LETTER}{{3}})(.*)", re.DOTALL)
_WITH_MORE: Final = re.compile(rf"(?<![^\W_]){_LETTER}{{3}}{_GAP}?{_LETTER}{{3}}(?![^\W_])")
"""Six characters that may be a code, with other words around them."""
_BEGINS, _ENDS = r"(?<![^\W_])(?<![^\W_][-_.'’])", r"(?![^\W_])(?![-_'’][^\W_])"
"""The edges of a code in prose: no letter or digit of any script before or after it, also not with a hyphen between."""
_GLUED: Final = re.compile(rf"{_BEGINS}([{INVITE_ALPHABET}]{{6}}){_ENDS}")
_GROUPED: Final = re.compile(
    rf"{_BEGINS}(?=([{INVITE_ALPHABET}]{{3}})([^\S\r\n]|[-\u2010-\u2015])([{INVITE_ALPHABET}]{{3}}){_ENDS})"
)
"""A code in two groups, as it is shown on pages. The lookahead also finds groups that overlap."""
_AS_PRINTED: Final = "\N{NO-BREAK SPACE}"
_INTRODUCES: Final = re.compile(r"(?:[:\u2013\u2014]|(?:код|code|инвайт|invit|приглаш|hammer)\w*)\W*\Z", re.IGNORECASE)
_NEAR: Final = 40
"""Characters before a code in which a word that introduces it is looked for."""
_NO_LETTERS: Final = string.digits + "+.-"
"""What the scheme of an address contains besides letters."""
_LINK_BEGINS: Final = re.compile(r"(?<=[^\w=/?&%])(?=https?://)", re.IGNORECASE)


def meant(typed: str, public_url: str) -> str:
    """The code that was typed. It is not looked up. Refuses with `InvalidFields` input that is not clearly one code."""
    code, why_not = _read(typed, public_url)
    if code is None:
        raise InvalidFields({"invite_code": [why_not]})
    return code


def read(typed: str, public_url: str) -> str | None:
    """The code in `q9uk59`, `Q9U K59`, `«Q9U-K59».`, a link below `public_url`, or a message with one of them.

    None if there is no code, or more than one. Alone or in a link of ours, any six of A-Z and 0-9 are a code (other systems may
    have issued it); among other words, only a code that we could have issued. Links of other sites contain no code.
    """
    return _read(typed, public_url)[0]


def read_path(rest: str) -> str | None:
    """The code in what follows `/i/` in a link of ours, which may end in characters that a messenger added; None if it is not
    clear."""
    found = _IN_PATH.fullmatch(visible(rest))
    if found is None:
        return None
    six, tail = found[1] + found[2], re.split(r"[?#&]", found[3], maxsplit=1)[0]
    code = _latin(six)
    if code is None or (tail and not _parts_from(six, tail)) or set(_GLUED.findall(tail)) - {code}:
        return None
    return code


def _read(typed: str, public_url: str) -> tuple[str | None, str]:
    """The code and an empty string; or None and the reason, as a sentence."""
    text = visible(typed)
    if len(typed) > LONGEST or "\0" in text:
        return None, NOT_AN_INVITE
    if alone := _ALONE.fullmatch(text):
        code = _alone(alone[1])
        return code, NOT_LATIN if not alone[1].isascii() else UNSURE
    if _SIX.fullmatch(text):
        return None, NOT_AN_INVITE if text.isascii() else NOT_LATIN
    if path := _BARE_PATH.fullmatch(text):
        return read_path(path[1]), NOT_AN_INVITE
    links, prose = _apart(text, public_url)
    said, looks_like = _said(prose), _said(prose.translate(_LOOK_ALIKES))
    found = {code for code in links if code} | said | looks_like
    if len(found) == 1 and not (looks_like - said) and None not in links:
        return found.pop(), ""
    if not said and (looks_like or _apart(text.translate(_LOOK_ALIKES), public_url)[0] != links):
        return None, NOT_LATIN
    return None, UNSURE if len(text.strip()) > LONGEST_ALONE or _WITH_MORE.search(text) else NOT_AN_INVITE


def _latin(six: str) -> str | None:
    """The six characters as capital Latin letters and digits; None for what may be a Cyrillic word or a price.

    Cyrillic letters are read as the Latin ones that they look like if there is a Latin letter too, or if we could have issued the
    result.
    """
    code = six.translate(_LOOK_ALIKES).upper()
    price = re.fullmatch(r"[0-9]+[^\W0-9]+", six)  # `25999р`
    unambiguous = six.isascii() or re.search("[A-Za-z]", six) or (_could_be_issued(code) and not price)
    return code if unambiguous else None


def _could_be_issued(code: str) -> bool:
    return set(code) <= set(INVITE_ALPHABET)


def _alone(typed: str) -> str | None:
    """The code that is the whole input; None for groups that may be two short words, a price or a date."""
    groups = re.split(f"{_GAP}+", typed)
    six = "".join(groups)
    code = _latin(six)
    if code is None or len(groups) == 1:
        return code
    halves = [len(group) for group in groups] == [3, 3]
    if _could_be_issued(code) and six.isascii():
        return code if halves or not code.isdigit() else None
    uniform = six.isupper() or (six.islower() and not six.isalpha())
    return code if halves and uniform else None


def _parts_from(six: str, tail: str) -> bool:
    """Whether `tail`, which follows the six characters in a link, is clearly not part of the code."""
    if not tail[0].isalnum():
        return re.match(r"[-_'’][^\W_]", tail) is None
    if not tail[0].isascii():
        return six.isascii()
    return tail[0].islower() and six.isascii() and six.isupper()


def _apart(text: str, public_url: str) -> tuple[set[str | None], str]:
    """The codes in links of ours (None for a link without a clear code), and the text with every address replaced by NUL."""
    links: set[str | None] = set()
    prose: list[str] = []
    broken = False  # whether the word before is another site's address that may continue after the space
    for part in re.split(r"(\s+)", _LINK_BEGINS.sub(" ", text)):
        address = _SIGN.search(part) is not None
        ours = list(_ours(unquote(unquote(part)), public_url)) if address else []
        links |= set(ours)
        prose.append("\0" if address or (broken and not part.isspace()) else part)
        if not part.isspace():
            broken = address and part.endswith(("/", "=", "-")) and not _is_ours(part, public_url)
    return links, "".join(prose)


def _ours(address: str, public_url: str) -> Iterator[str | None]:
    """The code of each link of ours in an address, also in the query of another site: `https://t.me/share/url?url=…`."""
    found = list(_invite_links(public_url).finditer(address))
    if any(_begins_there(address[: link.start()]) for link in found):
        for link, following in zip_longest(found, found[1:]):
            yield read_path(address[link.end() : following.start() if following else None])


def _begins_there(lead: str) -> bool:
    """Whether an address begins after `lead`. If it only continues there, it is the path of another site."""
    before = _without_scheme(lead)
    return before.endswith("=") or _SIGN.search(before) is None


def _without_scheme(lead: str) -> str:
    """`lead` without the `https://` or `//` at its end."""
    before = lead.removesuffix("//")
    if before == lead or not before.endswith(":"):
        return before
    others = before[:-1].rstrip(string.ascii_letters + _NO_LETTERS)
    scheme = before[len(others) :].lstrip(_NO_LETTERS)
    return before.removesuffix(scheme) if scheme != ":" else before


def _is_ours(address: str, public_url: str) -> bool:
    host = _hosts(public_url)
    return re.match(rf"(?:[a-z][a-z0-9+.-]*://)?(?:{host})(?:[:/]|\Z)", address, re.IGNORECASE) is not None


@cache
def _invite_links(public_url: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.@-])(?:{_hosts(public_url)})\.?(?::\d{{1,5}})?/+(?:{_WAYS})", re.IGNORECASE)


def _hosts(public_url: str) -> str:
    """A pattern for the host of this site, as browsers send it (Punycode) and as people read it."""
    host = urlsplit(public_url).hostname or ""
    names = {f"[{host}]" if ":" in host else host}
    with suppress(UnicodeError):
        names.add(host.encode().decode("idna"))
    return "|".join(map(re.escape, sorted(names)))


def _said(prose: str) -> set[str]:
    """The codes among other words: in capitals, as we show them, and such that we could have issued them. Several if it is not
    clear which is meant.

    Digits alone are no code (a telephone number), nor are letters alone that include a Y (a word, like `RHYTHM`).
    """
    glued = {code for code in _GLUED.findall(prose) if not code.isdigit() and not (code.isalpha() and "Y" in code)}
    pairs = {pair[1] + pair[3]: pair for pair in _GROUPED.finditer(prose) if not (pair[1] + pair[3]).isdigit()}
    printed = {code for code, pair in pairs.items() if pair[2] == _AS_PRINTED}
    possible = {code for code, pair in pairs.items() if code not in printed and _may_be_one_code(pair[1], pair[3])}
    near = {code: prose[max(0, pairs[code].start() - _NEAR) : pairs[code].start()] for code in possible}
    sure = {code for code in possible if _is_one_code(near[code], pairs[code][1], pairs[code][3])}
    if sure:  # then any other pair of groups could be the code that is meant, too
        return glued | set(pairs)
    return glued | printed | (possible if glued else set())


def _may_be_one_code(one: str, other: str) -> bool:
    """Whether two groups can be the halves of a code: not two words (`SMS PDF`), measures (`2GB 4GB`) or numbers."""
    return _shape(one) != _shape(other) and not all(group.isalpha() or group.isdigit() for group in (one, other))


def _is_one_code(before: str, one: str, other: str) -> bool:
    """Whether two groups that can be a code are one: each has a letter and a digit; or one of them has, and a word like "code"
    comes before."""
    mixed = [group for group in (one, other) if not group.isalpha() and not group.isdigit()]
    measured = re.fullmatch("[0-9]+[A-Z]+", mixed[0]) is not None
    return len(mixed) == 2 or (not measured and _INTRODUCES.search(before) is not None)


def _shape(group: str) -> str:
    return re.sub("[A-Z]", "A", re.sub("[0-9]", "0", group))
