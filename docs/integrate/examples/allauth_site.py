"""A site that signs people in with Hammer. Run: python allauth_site.py migrate, then python allauth_site.py runserver 8000"""

import os
import sys
from urllib.parse import urlencode

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application

LOGIN_URL, SITE_URL = os.environ["LOGIN_URL"], os.environ["SITE_URL"]

settings.configure(  # in a real project: its settings.py
    SECRET_KEY=os.environ["SITE_SECRET"],
    DEBUG=True,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.sqlite3"}},
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
        }
    ],
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "allauth",
        "allauth.account",
        "allauth.socialaccount",
        "allauth.socialaccount.providers.openid_connect",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "allauth.account.middleware.AccountMiddleware",
    ],
    AUTHENTICATION_BACKENDS=["allauth.account.auth_backends.AuthenticationBackend"],
    SOCIALACCOUNT_ONLY=True,  # no passwords here
    ACCOUNT_EMAIL_VERIFICATION="none",  # there is no address to verify
    SOCIALACCOUNT_EMAIL_REQUIRED=False,
    SOCIALACCOUNT_PROVIDERS={
        "openid_connect": {
            "APPS": [
                {
                    "provider_id": "hammer",
                    "name": "Hammer",
                    "client_id": os.environ["LOGIN_CLIENT_ID"],
                    "secret": os.environ["LOGIN_CLIENT_SECRET"],
                    "settings": {
                        "server_url": LOGIN_URL,
                        "oauth_pkce_enabled": True,
                        "fetch_userinfo": True,
                        "scope": ["openid", "profile", "phone"],
                    },
                }
            ]
        }
    },
    LOGIN_REDIRECT_URL="/",
    ACCOUNT_LOGOUT_REDIRECT_URL=f"{LOGIN_URL}/oauth/logout?"
    + urlencode({"client_id": os.environ["LOGIN_CLIENT_ID"], "post_logout_redirect_uri": f"{SITE_URL}/"}),
)
application = get_wsgi_application()

from allauth.socialaccount.models import SocialAccount  # noqa: E402  # models need the settings
from django.http import HttpResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.utils.html import format_html  # noqa: E402


def home(request):
    account = SocialAccount.objects.filter(user_id=request.user.pk, provider="hammer").first()
    if account is None:
        return HttpResponse('<p><a href="/accounts/oidc/hammer/login/">Sign in with Hammer</a></p>')
    phone = account.extra_data["userinfo"]["phone_number"]
    words = '<p>You are {}, with the id {}. <a href="/accounts/logout/">Sign out</a></p>'
    return HttpResponse(format_html(words, phone, account.uid))


urlpatterns = [path("", home), path("accounts/", include("allauth.urls"))]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
