"""Which addresses an operator can register for an app, and what is said about the others."""

import pytest

from hammer.outgoing import uris


def fault(uri: str, *, public: bool = False) -> str:
    return uris.fault_of_redirect_uri(uri, public=public)


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example.com/callback",
        "https://app.example.com",
        "https://app.example.com:8443/",
        "https://app.example.com:443/callback",
        "https://App.Example.com/callback",
        "https://app.example.com/oauth2/callback?next=/../x&of=a%20b",
        "https://app.example.com/@anna/.well-known/a.b/...",
        "https://my_app.example.com/callback",
        "https://xn--e1afmkfd.example/callback",
        "https://192.0.2.7/callback",
        "https://[2001:db8::7]/callback",
        "https://localhost/callback",
        "http://localhost:3000/callback",
        "http://127.0.0.1/callback",
        "http://[::1]:8080/callback",
        "https://app.example.com/" + "a" * (uris.LONGEST - 24),
    ],
)
def test_what_browsers_read_as_it_is_written_can_be_registered(uri: str) -> None:
    assert fault(uri) == fault(uri, public=True) == ""


@pytest.mark.parametrize("uri", ["com.example.app:/callback", "com.example.app://callback", "app.x-1.example+a:/"])
def test_a_public_client_may_have_a_scheme_of_its_own(uri: str) -> None:
    assert fault(uri, public=True) == ""
    assert fault(uri) == uris.NO_ADDRESS


@pytest.mark.parametrize("rest", ["//[x/", "//a:80x/", "//a:99999/", "//[::1"])
def test_what_cannot_be_split_into_parts_is_no_address_of_an_app_either(rest: str) -> None:
    assert fault(f"com.example.app:{rest}", public=True) == uris.NO_ADDRESS
    assert uris.split(f"com.example.app:{rest}").geturl() == ""  # one that was stored breaks no page


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("", uris.NO_ADDRESS),
        ("app.example.com/callback", uris.NO_ADDRESS),
        ("//app.example.com/callback", uris.NO_ADDRESS),
        ("/callback", uris.NO_ADDRESS),
        ("https:app.example.com", uris.NO_ADDRESS),
        ("https:/app.example.com", uris.NO_ADDRESS),
        ("https:///app.example.com", uris.NO_ADDRESS),
        ("https://", uris.NO_ADDRESS),
        ("https://?x", uris.NO_ADDRESS),
        ("HTTPS://app.example.com/callback", uris.NO_ADDRESS),
        ("https://app.example.com:0/", uris.NO_ADDRESS),
        ("https://app.example.com:65536/", uris.NO_ADDRESS),
        ("https://app.example.com:80x/", uris.NO_ADDRESS),
        ("https://[::1/", uris.NO_ADDRESS),
        ("https://app%2eexample.com/", uris.NO_ADDRESS),
        ("https://127.1/", uris.NO_ADDRESS),
        ("https://2130706433/", uris.NO_ADDRESS),
        ("https://0x7f000001/", uris.NO_ADDRESS),
        ("https://127.0.0.0x1./", uris.NO_ADDRESS),
        ("https://app.example.010/", uris.NO_ADDRESS),
        ("javascript:alert(1)", uris.NO_ADDRESS),
        ("javascript:/x", uris.NO_ADDRESS),
        ("data:text/html,x", uris.NO_ADDRESS),
        ("ftp://app.example.com/", uris.NO_ADDRESS),
        ("myapp:/callback", uris.NO_ADDRESS),
        ("com.example.app:callback", uris.NO_ADDRESS),
        ("Com.Example.App:/callback", uris.NO_ADDRESS),
        ("com.example.:/callback", uris.NO_ADDRESS),
        ("com.example.app:/a/../b", uris.NOT_AS_SENT),
        ("com.example.app:/callback#x", uris.HAS_FRAGMENT),
        ("com.example.app:/*", uris.HAS_WILDCARD),
        ("http://app.example.com/callback", uris.NEEDS_HTTPS),
        ("http://localhost.example.com/", uris.NEEDS_HTTPS),
        ("http://app.localhost/", uris.NEEDS_HTTPS),
        ("http://127.0.0.2/", uris.NEEDS_HTTPS),
        ("http://[::2]/", uris.NEEDS_HTTPS),
        ("http://192.168.1.7/", uris.NEEDS_HTTPS),
        ("https://app.example.com/callback#", uris.HAS_FRAGMENT),
        ("https://app.example.com/#/callback", uris.HAS_FRAGMENT),
        ("https://*.example.com/callback", uris.HAS_WILDCARD),
        ("https://app.example.com/*", uris.HAS_WILDCARD),
        ("https://anna@app.example.com/", uris.HAS_USER),
        ("https://app.example.com:x@evil.example/", uris.HAS_USER),
        ("https://app.example.com/a/../b", uris.NOT_AS_SENT),
        ("https://app.example.com/a/..", uris.NOT_AS_SENT),
        ("https://app.example.com/./b", uris.NOT_AS_SENT),
        ("https://app.example.com/a/%2e%2E/b", uris.NOT_AS_SENT),
        ("https://app.example.com/a/.%2e/b", uris.NOT_AS_SENT),
        ("https://app.example.com\\@evil.example/", uris.NOT_AS_SENT),
        ("https:\\\\app.example.com/", uris.NOT_AS_SENT),
        ("https://app.example.com/a b", uris.NOT_AS_SENT),
        (" https://app.example.com/", uris.NOT_AS_SENT),
        ("https://app.example.com/\n", uris.NOT_AS_SENT),
        ("java\tscript:alert(1)", uris.NOT_AS_SENT),
        ("https://app.example.com/\0", uris.NOT_AS_SENT),
        ("https://app.example.com/\x7f", uris.NOT_AS_SENT),
        ("https://app.example.com/%zz", uris.NOT_AS_SENT),
        ("https://app.example.com/обратно", uris.NOT_AS_SENT),
        ("https://приложение.example/", uris.NOT_AS_SENT),
        ("https://app.example。com/", uris.NOT_AS_SENT),
        ('https://app.example.com/"><script>', uris.NOT_AS_SENT),
        ("https://app.example.com/" + "a" * (uris.LONGEST - 23), uris.TOO_LONG),
    ],
)
def test_each_other_address_is_refused_with_what_to_type_instead(uri: str, sentence: str) -> None:
    assert fault(uri, public=True) == sentence
    assert fault(uri) == sentence


@pytest.mark.parametrize("uri", ["https://app.example.com/logout?of=hammer", "http://app.internal:8080/logout", "http://10.0.0.7/"])
def test_the_server_of_an_app_may_have_any_host(uri: str) -> None:
    assert uris.fault_of_server(uri) == ""


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("", uris.NO_SERVER),
        ("app.example.com", uris.NO_SERVER),
        ("file:///etc/passwd", uris.NO_SERVER),
        ("com.example.app:/logout", uris.NO_SERVER),
        ("http://2130706433/", uris.NO_SERVER),
        ("https://app.example.com/#logout", uris.HAS_FRAGMENT),
        ("https://anna:secret@app.example.com/", uris.HAS_USER),
        ("https://app.example.com/a/../b", uris.NOT_AS_SENT),
    ],
)
def test_the_server_of_an_app_has_an_address_of_http(uri: str, sentence: str) -> None:
    assert uris.fault_of_server(uri) == sentence
