// Draws the document with Swagger UI. `validatorUrl` would send the document's address to another host.
const place = document.getElementById("document");
SwaggerUIBundle({
  url: place.dataset.url,
  domNode: place,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  deepLinking: true,
  tryItOutEnabled: true,
});
