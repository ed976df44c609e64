"""What messages say, in the language of the person, and whether they fit into one part of an SMS."""

import string
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from babel.languages import get_official_languages
from babel.support import NullTranslations, Translations

from config import CODE_LENGTHS, Settings
from hammer.parsing import phones
from hammer.refusals import N_

TRANSLATIONS: Final = Path(__file__).parent.parent / "translations"
"""The catalogues: a folder for each language. English is the language of the source and has none."""
LOGIN: Final = N_("%(name)s: %(code)s is your login code. Do not tell it to anybody.")
ANY_PURPOSE: Final = N_("%(name)s: code %(code)s. Do not tell it to anybody.")
FOR_YOU: Final = N_("%(name)s: code %(code)s, for you alone.")
NAMELESS: Final = N_("Code %(code)s, for you alone.")
BARE: Final = N_("%(name)s: code %(code)s")
SHORTEST: Final = N_("Code %(code)s")
NOTICE: Final = N_("%(name)s: another number opens your account now.")
NOTICE_WITH_SUPPORT: Final = N_("%(name)s: another number opens your account now. Was it not you? Contact our support.")
NOTICE_IN_SHORT: Final = N_("%(name)s: another number opens your account.")
NOTICES_WITH_MAIL: Final = (
    N_("%(name)s: another number opens your account now. Was it not you? Write to %(mail)s"),
    N_("%(name)s: another number opens your account. Not you? %(mail)s"),
)
"""The longer one first."""
TEST_MESSAGE: Final = "%(name)s: this text was sent to try the gateway."
SENTENCES: Final = (LOGIN, ANY_PURPOSE, FOR_YOU, NAMELESS, BARE, SHORTEST)
"""From the most informative to the shortest, which leaves most characters for the host. The warning not to pass the code on comes
before the name, since the last line names the host. Each has the word for "code" in its language, since phones search for it."""
IN_TWO_PARTS: Final = "need two parts, and cost twice"
NO_WARNING: Final = "have no space for the warning not to pass the code on"
NO_NAME: Final = "have no space for the name"
_LACKS: Final = {NAMELESS: NO_NAME, BARE: NO_WARNING, SHORTEST: NO_WARNING}

GSM_7: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà" + string.ascii_letters + string.digits
)
GSM_7_IN_TWO: Final = frozenset("^{}\\[~]|€\f")
"""Characters that are encoded as two (3GPP TS 23.038 §6.2.1.1)."""
LONGEST: Final = 140
"""The maximum length in GSM 7. One part has 160 characters, but phones look for a code only in shorter messages."""
LONGEST_UCS_2: Final = 70
"""The maximum length in UCS-2: one part."""


def of_code(settings: Settings, code: str, language: str, *, for_login: bool = True) -> str:
    """The message with a code: the most informative sentence that fits into one part, and the line for phones.

    That last line makes a phone offer the code only to pages of our host (WICG SMS one-time codes). If it is too long for any
    sentence, the result is the shortest one, in two parts.
    """
    return _of_code(settings, code, language, for_login)[1]


def _of_code(settings: Settings, code: str, language: str, for_login: bool = True) -> tuple[str, str]:
    """The sentence that is used, and the message."""
    # The format of the WICG ignores what follows the code in the last line, and Android looks for the hash of the app at the end of
    # the message. A line of its own for the hash would be the last one, and browsers would find no code.
    for_phones = " ".join(filter(None, (f"@{urlsplit(settings.public_url).hostname} #{code}", settings.android_app_hash)))
    values = {"name": settings.name, "code": code}
    choices = [(each, f"{_in(language, each) % values}\n{for_phones}") for each in SENTENCES[not for_login :]]
    return next((choice for choice in choices if fits(choice[1])), choices[-1])


def notice(settings: Settings, language: str) -> str:
    """The message to the old number after a change of number. It has no code and no link, which would teach people to follow links.

    It names the address of HAMMER_SUPPORT when that is an e-mail address which fits into one part.
    """
    mail = settings.support.removeprefix("mailto:") if settings.support.startswith("mailto:") else ""
    general = (NOTICE_WITH_SUPPORT,) if settings.support else ()
    sentences = (*(NOTICES_WITH_MAIL if mail else ()), *general, NOTICE, NOTICE_IN_SHORT)
    choices = [_in(language, sentence) % {"name": settings.name, "mail": mail} for sentence in sentences]
    return next((text for text in choices if fits(text)), choices[-1])


def test_message(settings: Settings) -> str:
    """What `flask texts try` sends."""
    return TEST_MESSAGE % {"name": settings.name}


def fits(text: str) -> bool:
    """Whether the text fits into one part, and is short enough for phones to find a code in it."""
    return len(text) <= LONGEST_UCS_2 if _needs_ucs_2(text) else _length_in_gsm_7(text) <= LONGEST


def kannel_coding(text: str) -> str:
    """The encoding of the text by Kannel's numbers: `0` for GSM 7, `2` for UCS-2."""
    return "2" if _needs_ucs_2(text) else "0"


def shortcomings(settings: Settings) -> dict[str, str]:
    """Language -> what its messages lack, from which number of digits on, because the host or the name is long."""
    found = {}
    for language in languages():
        lacks = {length: _lack(settings, length, language) for length in CODE_LENGTHS}
        worst = lacks[max(CODE_LENGTHS)]  # a longer code never lacks less
        least = min(length for length in CODE_LENGTHS if lacks[length] == worst)
        if worst:
            found[language] = f"texts with {least} digits{'' if least == max(CODE_LENGTHS) else ' or more'} {worst}"
    return found


def _lack(settings: Settings, length: int, language: str) -> str:
    sentence, text = _of_code(settings, "0" * length, language)
    return _LACKS.get(sentence, "") if fits(text) else IN_TWO_PARTS


def languages() -> list[str]:
    """The languages of the program: English, and one for each folder of translations."""
    return ["en", *sorted(place.parent.name for place in TRANSLATIONS.glob("*/LC_MESSAGES"))]


def language_of(number: str) -> str:
    """The first of our languages that is official in the country of this number, or English."""
    official = get_official_languages(phones.country(number), de_facto=True)
    return next((language for language in official if language in languages()), languages()[0])


def _needs_ucs_2(text: str) -> bool:
    return not set(text) <= GSM_7 | GSM_7_IN_TWO


def _length_in_gsm_7(text: str) -> int:
    return sum(2 if character in GSM_7_IN_TWO else 1 for character in text)


def _in(language: str, sentence: str) -> str:
    """The sentence in this language."""
    return str(_catalogue(language).gettext(sentence))


@cache
def _catalogue(language: str) -> NullTranslations:
    return Translations.load(TRANSLATIONS, [language])
