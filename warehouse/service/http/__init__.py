"""HTTP: the app, who asks, the scope in a path, errors in one shape, the log; and the API with its OpenAPI page."""
