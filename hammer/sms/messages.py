"""What a text says, in the person's language, and in how many parts it travels."""

import string
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from babel.support import NullTranslations, Translations

from config import CODE_LENGTHS, Settings
from hammer.refusals import N_

TRANSLATIONS: Final = Path(__file__).parent.parent / "translations"
"""A folder for each language; only English, that of the source, has none."""
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
"""From the longer to the shorter one."""
TEST_MESSAGE: Final = "Hammer: this text was sent to try the gateway."
"""What `flask texts try` sends."""
SENTENCES: Final = (LOGIN, ANY_PURPOSE, FOR_YOU, BARE, SHORTEST)
"""From the one that says most to the one that leaves most room for the host. Each says in the person's language that it is a code:
phones look for the word."""
IN_TWO_PARTS: Final = "texts of eight digits travel, and cost, as two"

GSM_7: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà" + string.ascii_letters + string.digits
)
GSM_7_IN_TWO: Final = frozenset("^{}\\[~]|€\f")
"""Letters that take the room of two (3GPP TS 23.038 §6.2.1.1)."""
LONGEST: Final = 140
"""Characters of a text that offers its code to a page, in letters of 7 bits; such a text in one part could have 160."""
LONGEST_UCS_2: Final = 70


def of_code(settings: Settings, code: str, language: str, *, for_login: bool = True) -> str:
    """The sentence that says most and still fits in one part, and the line that lets a phone offer the code to our origin alone
    (WICG SMS one-time codes). With a host that is too long for any, the shortest sentence, in two parts."""
    origin = f"\n@{urlsplit(settings.public_url).hostname} #{code}"
    choices = [_in(language, sentence) % {"code": code} + origin for sentence in SENTENCES[not for_login :]]
    return next((words for words in choices if fits(words)), choices[-1])


def notice(settings: Settings, language: str) -> str:
    """The message to the old number after a change of number. It has no code and no link, which would teach people to follow links.

    It names the address of HAMMER_SUPPORT when that is an e-mail address for which one part has room.
    """
    mail = settings.support.removeprefix("mailto:") if settings.support.startswith("mailto:") else ""
    choices = [_in(language, sentence) % {"mail": mail} for sentence in NOTICES_WITH_MAIL] if mail else []
    general = _in(language, NOTICE_WITH_SUPPORT if settings.support else NOTICE)
    return next((content for content in choices if fits(content)), general)


def fits(words: str) -> bool:
    """Whether the words travel in one part, and are no longer than phones read for a code."""
    return len(words) <= LONGEST_UCS_2 if _needs_ucs_2(words) else _length_in_gsm_7(words) <= LONGEST


def kannel_coding(words: str) -> str:
    """How these letters travel, as Kannel numbers it: `0` for 7 bits each, `2` for UCS-2."""
    return "2" if _needs_ucs_2(words) else "0"


def shortcomings(settings: Settings) -> dict[str, str]:
    """Language -> what a long host in our address does to its texts, at the longest code: empty sentences are left out."""
    found = {}
    for language in languages():
        words = of_code(settings, "0" * max(CODE_LENGTHS), language)
        if not fits(words):
            found[language] = IN_TWO_PARTS
        elif words.partition("\n")[0] in {_in(language, bare) % {"code": "0" * max(CODE_LENGTHS)} for bare in (BARE, SHORTEST)}:
            found[language] = "texts of eight digits have no room to say that nobody may be told"
    return found


def languages() -> list[str]:
    """Those that we speak: the source's, and one for each folder of translations."""
    return ["en", *sorted(place.parent.name for place in TRANSLATIONS.glob("*/LC_MESSAGES"))]


def _needs_ucs_2(words: str) -> bool:
    return not set(words) <= GSM_7 | GSM_7_IN_TWO


def _length_in_gsm_7(words: str) -> int:
    return sum(2 if letter in GSM_7_IN_TWO else 1 for letter in words)


def _in(language: str, sentence: str) -> str:
    return str(_catalogue(language).gettext(sentence))


@cache
def _catalogue(language: str) -> NullTranslations:
    return Translations.load(TRANSLATIONS, [language])
