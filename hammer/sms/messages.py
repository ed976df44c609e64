"""What messages say, in the language of the person, and whether they fit into one part of an SMS."""

import string
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from babel.support import NullTranslations, Translations

from config import CODE_LENGTHS, Settings
from hammer.refusals import N_

TRANSLATIONS: Final = Path(__file__).parent.parent / "translations"
"""The catalogues: a folder for each language. English is the language of the source and has none."""
LOGIN: Final = N_("Hammer: %(code)s is your login code. Do not tell it to anybody.")
ANY_PURPOSE: Final = N_("Hammer: code %(code)s. Do not tell it to anybody.")
FOR_YOU: Final = N_("Hammer: code %(code)s, for you alone.")
BARE: Final = N_("Hammer: code %(code)s")
SHORTEST: Final = N_("Code %(code)s")
NOTICE: Final = N_("Hammer: another number opens your account now.")
NOTICE_WITH_SUPPORT: Final = N_("Hammer: another number opens your account now. Was it not you? Contact our support.")
NOTICES_WITH_MAIL: Final = (
    N_("Hammer: another number opens your account now. Was it not you? Write to %(mail)s"),
    N_("Hammer: another number opens your account. Not you? %(mail)s"),
)
"""The longer one first."""
TEST_MESSAGE: Final = "Hammer: this text was sent to try the gateway."
"""What `flask texts try` sends."""
SENTENCES: Final = (LOGIN, ANY_PURPOSE, FOR_YOU, BARE, SHORTEST)
"""From the most informative to the shortest, which leaves most characters for the host. Each has the word for "code" in its
language, since phones search for it."""
IN_TWO_PARTS: Final = "texts with eight digits need two parts, and cost twice"
NO_WARNING: Final = "texts with eight digits have no space for the warning not to pass the code on"

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
    """The message with a code: the most informative sentence that fits into one part, and the line for origin-bound codes.

    That last line makes a phone offer the code only to pages of our host (WICG SMS one-time codes). If the host is too long for any
    sentence, the result is the shortest one, in two parts.
    """
    origin = f"\n@{urlsplit(settings.public_url).hostname} #{code}"
    choices = [_in(language, sentence) % {"code": code} + origin for sentence in SENTENCES[not for_login :]]
    return next((text for text in choices if fits(text)), choices[-1])


def notice(settings: Settings, language: str) -> str:
    """The message to the old number after a change of number. It has no code and no link, which would teach people to follow links.

    It names the address of HAMMER_SUPPORT when that is an e-mail address which fits into one part.
    """
    mail = settings.support.removeprefix("mailto:") if settings.support.startswith("mailto:") else ""
    choices = [_in(language, sentence) % {"mail": mail} for sentence in NOTICES_WITH_MAIL] if mail else []
    general = _in(language, NOTICE_WITH_SUPPORT if settings.support else NOTICE)
    return next((text for text in choices if fits(text)), general)


def fits(text: str) -> bool:
    """Whether the text fits into one part, and is short enough for phones to find a code in it."""
    return len(text) <= LONGEST_UCS_2 if _needs_ucs_2(text) else _length_in_gsm_7(text) <= LONGEST


def kannel_coding(text: str) -> str:
    """The encoding of the text by Kannel's numbers: `0` for GSM 7, `2` for UCS-2."""
    return "2" if _needs_ucs_2(text) else "0"


def shortcomings(settings: Settings) -> dict[str, str]:
    """Language -> what its messages lack because the host in our address is long. Checked with the longest code."""
    found = {}
    for language in languages():
        text = of_code(settings, "0" * max(CODE_LENGTHS), language)
        if not fits(text):
            found[language] = IN_TWO_PARTS
        elif text.partition("\n")[0] in {_in(language, bare) % {"code": "0" * max(CODE_LENGTHS)} for bare in (BARE, SHORTEST)}:
            found[language] = NO_WARNING
    return found


def languages() -> list[str]:
    """The languages of the program: English, and one for each folder of translations."""
    return ["en", *sorted(place.parent.name for place in TRANSLATIONS.glob("*/LC_MESSAGES"))]


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
