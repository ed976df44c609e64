from typing import Annotated

import jwt
from check_token import person
from fastapi import Depends, FastAPI, Header, HTTPException

app = FastAPI()


def signed_in(authorization: Annotated[str, Header()] = "") -> str:  # not `async`: it may fetch keys, in a thread
    try:
        return person(authorization)
    except jwt.PyJWTError:
        raise HTTPException(401, "Sign in first.", {"WWW-Authenticate": "Bearer"}) from None


@app.get("/orders")
def orders(sub: Annotated[str, Depends(signed_in)]) -> dict[str, str]:
    return {"orders_of": sub}
