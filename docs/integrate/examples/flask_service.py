from functools import wraps

import jwt
from check_token import person
from flask import Flask, g, jsonify, request

app = Flask(__name__)


def signed_in(view):
    @wraps(view)
    def checked(*args, **kwargs):
        try:
            g.sub = person(request.headers.get("Authorization", ""))
        except jwt.PyJWTError:
            return jsonify(error="Sign in first."), 401, {"WWW-Authenticate": "Bearer"}
        return view(*args, **kwargs)

    return checked


@app.get("/orders")
@signed_in
def orders():
    return jsonify(orders_of=g.sub)
