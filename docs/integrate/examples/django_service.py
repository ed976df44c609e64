import sys
from functools import wraps

import jwt
from check_token import person
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import JsonResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"])  # in a real project: its settings.py


def signed_in(view):
    @wraps(view)
    def checked(request, *args, **kwargs):
        try:
            request.sub = person(request.headers.get("Authorization", ""))
        except jwt.PyJWTError:
            return JsonResponse({"error": "Sign in first."}, status=401, headers={"WWW-Authenticate": "Bearer"})
        return view(request, *args, **kwargs)

    return checked


@signed_in
def orders(request):
    return JsonResponse({"orders_of": request.sub})


urlpatterns = [path("orders", orders)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
