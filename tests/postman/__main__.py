"""Makes the Postman collection from the OpenAPI document on standard input:

curl -s http://localhost:5000/api/v1/openapi.json | python -m tests.postman > collection.json
"""

import json
import sys

from tests.postman.collection import collection

sys.stdout.write(json.dumps(collection(json.load(sys.stdin)), ensure_ascii=False, indent=2) + "\n")
